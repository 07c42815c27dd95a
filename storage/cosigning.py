"""Witnessing as a region's writer carries it out: others' checkpoints cosigned, cosignatures and time stamps kept.

Rules: runs inside the writer's transaction, so that what is vouched for is remembered by the commit that gives the
cosignature away; what contradicts what was seen is an answer, never an exception; what came before is not seen again.
"""

from __future__ import annotations

from storage.moment import microseconds, rfc3339
from storage.note import Checkpoint, parse_verifiers
from storage.operations import Cosign, CosignOutcome, KeepCosignature, KeepTimestamp, ResetWitness
from storage.signing import ForeignKey, NoteRefused, opened
from storage.transaction import Transaction
from storage.witness import Forked, RolledBack, Seen, check_growth


def cosign(transaction: Transaction, operation: Cosign) -> CosignOutcome:
    """Vouch for another ledger's checkpoint, or say why not. Raises ValueError for what is no verifier key."""
    (verifier,) = parse_verifiers(operation.vkey)
    seen = _seen(transaction, operation.origin)
    size = 0 if seen is None else seen.size
    if seen is not None and seen.vkey != verifier.text():
        return CosignOutcome("foreign key", size)
    try:
        checkpoint, note = opened(operation.note, [verifier])
    except NoteRefused as error:
        return CosignOutcome("foreign key" if isinstance(error, ForeignKey) else "not signed", size)
    if checkpoint.origin != operation.origin:
        return CosignOutcome("foreign key", size)
    if seen is not None:
        try:
            if checkpoint.size > size != operation.old:
                return CosignOutcome("other start", size)
            check_growth(seen, checkpoint, operation.hashes)
        except RolledBack:
            return CosignOutcome("rolled back", size)
        except Forked:
            return CosignOutcome("forked", size)
    _remember(transaction, verifier.text(), checkpoint)
    line = transaction.witness.cosign(note.body, microseconds(operation.at) // 1_000_000).text()
    return CosignOutcome("cosigned", checkpoint.size, transaction.witness.verifier.name, line)


def _seen(transaction: Transaction, origin: str) -> Seen | None:
    row = transaction.execute("SELECT vkey, size, root FROM witnessed WHERE origin = ?", (origin,)).fetchone()
    return None if row is None else Seen(*row)


def _remember(transaction: Transaction, vkey: str, checkpoint: Checkpoint) -> None:
    transaction.execute(
        "INSERT INTO witnessed(origin, vkey, size, root) VALUES (?, ?, ?, ?)"
        " ON CONFLICT(origin) DO UPDATE SET size = excluded.size, root = excluded.root",
        (checkpoint.origin, vkey, checkpoint.size, checkpoint.root),
    )


def reset_witness(transaction: Transaction, operation: ResetWitness) -> int | None:
    """Forget the last checkpoint seen of this ledger; how many entries it had, None if none was seen."""
    seen = _seen(transaction, operation.origin)
    if seen is None:
        return None
    transaction.execute("DELETE FROM witnessed WHERE origin = ?", (operation.origin,))
    transaction.append_entry(
        {"kind": "witness.reset", "at": rfc3339(operation.at), "origin": operation.origin, "seen": seen.size}
    )
    return seen.size


def keep_cosignature(transaction: Transaction, operation: KeepCosignature) -> bool:
    """Keep a witness's line beside our checkpoint of that size, in place of its line before; False without one."""
    if not _has_checkpoint(transaction, operation.size):
        return False
    transaction.execute(
        "INSERT INTO cosignatures(size, name, line) VALUES (?, ?, ?)"
        " ON CONFLICT(size, name) DO UPDATE SET line = excluded.line",
        (operation.size, operation.name, operation.line),
    )
    return True


def keep_timestamp(transaction: Transaction, operation: KeepTimestamp) -> bool:
    """Keep the first time stamp of our checkpoint of that size; False without one."""
    if not _has_checkpoint(transaction, operation.size):
        return False
    # The first is the earliest, and so says the most.
    transaction.execute(
        "INSERT INTO timestamps(size, token) VALUES (?, ?) ON CONFLICT(size) DO NOTHING",
        (operation.size, operation.token),
    )
    return True


def _has_checkpoint(transaction: Transaction, size: int) -> bool:
    return transaction.execute("SELECT 1 FROM checkpoints WHERE size = ?", (size,)).fetchone() is not None
