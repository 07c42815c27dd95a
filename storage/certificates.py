"""Certificates: that a batch was deleted, by what decision, how late, and that its keys are gone.

Rules: the intent and the list of key slots go in the commit that deletes the rows; then the slots are overwritten,
synced and read back; only then is the certificate written and the list cleared. A crash at any point is finished from
the list. Nothing here says whose it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from storage.entry import given
from storage.errors import StorageUnavailable
from storage.transaction import Transaction
from storage.vault import Vault


@dataclass(frozen=True, slots=True)
class Certifiable:
    """A batch whose rows are gone: what its certificate will say, and its slots, each with the fingerprint of what was
    there; a slot from before there were fingerprints has None.
    """

    intent: int
    slots: Mapping[int, bytes | None]
    fields: Mapping[str, object]


def announce(transaction: Transaction, fields: Mapping[str, object], slots: Iterable[int]) -> Certifiable:
    """Write the intent of a batch and list its slots, inside the transaction that deletes its rows."""
    intent = transaction.append_entry({"kind": "retention.intent", **fields})
    transaction.flush()
    prints: dict[int, bytes | None] = {slot: transaction.vault.fingerprint(slot) for slot in slots}
    transaction.connection.executemany(
        "INSERT INTO shredding(slot, intent, digest) VALUES (?, ?, ?)",
        [(slot, intent, digest) for slot, digest in prints.items()],
    )
    return Certifiable(intent, prints, fields)


def destroy(vault: Vault, batch: Certifiable) -> None:
    """Overwrite the slots of a batch and read them back. Raises StorageUnavailable, also where one is as it was."""
    vault.shred(batch.slots)
    if any(digest == vault.fingerprint(slot) for slot, digest in batch.slots.items()):
        raise StorageUnavailable("key slots were overwritten and read as before: check the disk")


def certify(transaction: Transaction, batch: Certifiable) -> int:
    """Write the certificate of a batch whose slots are destroyed, inside the open transaction; its sequence."""
    checked = sum(digest is not None for digest in batch.slots.values())
    fields = {"intent": batch.intent, "slots": len(batch.slots), "checked": checked}
    seq = transaction.append_entry({"kind": "retention.certificate", **fields, **batch.fields})
    transaction.flush()
    transaction.execute("INSERT INTO certificates(seq) VALUES (?)", (seq,))
    transaction.execute("DELETE FROM shredding WHERE intent = ?", (batch.intent,))
    return seq


def leftovers(transaction: Transaction) -> Iterator[Certifiable]:
    """Batches that a crash left without their certificate."""
    intents = transaction.execute("SELECT DISTINCT intent FROM shredding ORDER BY intent").fetchall()
    for (intent,) in intents:
        (leaf,) = transaction.execute("SELECT leaf FROM entries WHERE seq = ?", (intent,)).fetchone()
        fields: dict[str, object] = given(leaf)
        del fields["kind"]
        slots = transaction.execute("SELECT slot, digest FROM shredding WHERE intent = ?", (intent,)).fetchall()
        yield Certifiable(int(intent), dict(slots), fields)
