"""The sweep: delete what is due, destroy its keys, certify it.

Rules: intent entry, rows and the list of slots go in one commit; then the slots are overwritten and synced; then the
certificate entry is written and the list cleared. A crash at any point is finished from the list (`leftovers`).
Nothing is deleted before its moment, and everything due at that very moment is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from storage.entry import given
from storage.moment import from_microseconds, microseconds, rfc3339
from storage.transaction import Transaction

_FORGOTTEN_AT_ONCE: Final = 5_000


@dataclass(frozen=True, slots=True)
class Certifiable:
    """A batch whose rows are gone: what its certificate will say, and the slots to overwrite before."""

    intent: int
    slots: tuple[int, ...]
    fields: dict[str, object]


def delete_due(transaction: Transaction, now: datetime, limit: int, clock: datetime) -> tuple[Certifiable | None, bool]:
    """Delete up to `limit` due messages inside the open transaction: the batch if any, and whether to go on.

    Marks are forgotten by the `clock`: a sweep of a time to come must not let what was taken be taken again.
    """
    moment = microseconds(now)
    forgotten = _forget(transaction, microseconds(clock))
    rows = transaction.execute(
        "SELECT id, due_at, slot FROM messages WHERE due_at <= ? ORDER BY due_at LIMIT ?", (moment, limit + 1)
    ).fetchall()
    due, remaining = rows[:limit], len(rows) > limit or forgotten >= _FORGOTTEN_AT_ONCE
    if not due:
        return None, remaining
    fields: dict[str, object] = {
        "class": "message",
        "count": len(due),
        "due_from": rfc3339(from_microseconds(due[0][1])),
        "due_until": rfc3339(from_microseconds(due[-1][1])),
        "at": rfc3339(now),
        "policy": "default",
    }
    intent = transaction.append_entry({"kind": "retention.intent", **fields})
    transaction.flush()
    transaction.connection.executemany("DELETE FROM messages WHERE id = ?", [(row[0],) for row in due])
    slots = tuple(int(row[2]) for row in due)
    transaction.connection.executemany(
        "INSERT INTO shredding(slot, intent) VALUES (?, ?)", [(slot, intent) for slot in slots]
    )
    return Certifiable(intent, slots, fields), remaining


def certify(transaction: Transaction, batch: Certifiable) -> int:
    """Write the certificate of a batch whose slots are overwritten, inside the open transaction; its sequence."""
    seq = transaction.append_entry(
        {
            "kind": "retention.certificate",
            "intent": batch.intent,
            "slots": len(batch.slots),
            **batch.fields,
        }
    )
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
        slots = transaction.execute("SELECT slot FROM shredding WHERE intent = ?", (intent,)).fetchall()
        yield Certifiable(int(intent), tuple(int(slot) for (slot,) in slots), fields)


def _forget(transaction: Transaction, moment: int) -> int:
    """Drop event digests and message marks whose time is over, a bounded number of each; the larger number dropped."""
    events = transaction.execute(
        "DELETE FROM events WHERE digest IN (SELECT digest FROM events WHERE until <= ? LIMIT ?)",
        (moment, _FORGOTTEN_AT_ONCE),
    ).rowcount
    marks = transaction.execute(
        "DELETE FROM marks WHERE ident IN (SELECT ident FROM marks WHERE until <= ? LIMIT ?)",
        (moment, _FORGOTTEN_AT_ONCE),
    ).rowcount
    return max(events, marks)
