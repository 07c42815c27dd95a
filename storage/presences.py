"""Presences: who each of them is, sealed.

Rules: runs inside the writer's transaction; the person stands in the row only as a keyed hash, for erasure later.
"""

from __future__ import annotations

from storage.moment import microseconds
from storage.operations import SealPresence
from storage.transaction import Transaction


def seal_presence(transaction: Transaction, operation: SealPresence) -> None:
    """Seal who a presence is. Raises sqlite3.IntegrityError if it was sealed before."""
    call = transaction.call_id(operation.call)
    slot, box = transaction.seal("presences", operation.presence, operation.box)
    person = transaction.vault.look_up("person", operation.participant)
    sealed_at = transaction.erased.after(person, microseconds(operation.at))
    transaction.execute(
        "INSERT INTO presences(presence, call, person, slot, box, sealed_at) VALUES (?, ?, ?, ?, ?, ?)",
        (operation.presence, call, person, slot, box, sealed_at),
    )
