"""The sweep: delete the messages that are due, by what the rules say of each at that very moment.

Rules: nothing is deleted before its moment, and everything due at that very moment is; what is held is passed over, and
found again when no hold keeps it any more. How a batch is destroyed and certified is `storage.certificates`'s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from storage.certificates import Certifiable, announce
from storage.copies import Copy, Judge, copies
from storage.messages import mark
from storage.moment import from_microseconds, microseconds, rfc3339
from storage.retention import Decision, Principle
from storage.rulebook import settle
from storage.transaction import Transaction

_FORGOTTEN_AT_ONCE: Final = 5_000
_LONG_AGO: Final = -(1 << 63)


class Due(NamedTuple):
    """A copy that is to go, and what decided that."""

    copy: Copy
    decision: Decision


def delete_due(transaction: Transaction, now: datetime, limit: int, clock: datetime) -> tuple[Certifiable | None, bool]:
    """Delete up to `limit` due messages inside the open transaction: the batch if any, and whether to go on.

    Marks are forgotten by the `clock`: a sweep of a time to come must not let what was taken be taken again.
    """
    moment = microseconds(now)
    forgotten = _forget(transaction, microseconds(clock))
    where = "WHERE held = 0 AND due_at <= ? ORDER BY due_at LIMIT ?"
    found = copies(transaction.connection, where, (moment, limit))
    remaining = len(found) == limit or forgotten >= _FORGOTTEN_AT_ONCE
    judge = Judge(transaction.connection, transaction.rules, transaction.vault)
    due = judged(judge, found, moment)
    gone = {each.copy.row for each in due}
    for copy in found:
        if copy.row not in gone:
            settle(transaction, copy, judge)
    if not due:
        return None, remaining
    batch = announce(transaction, _fields(due, now), [each.copy.slot for each in due])
    transaction.connection.executemany("DELETE FROM messages WHERE id = ?", [(row,) for row in gone])
    _keep_out(transaction, due)
    return batch, remaining


def judged(judge: Judge, found: Sequence[Copy], moment: int) -> list[Due]:
    """Those of these copies that may go at `moment`."""
    due: list[Due] = []
    for copy in found:
        decision, holds = judge.copy(copy)
        if not holds and microseconds(decision.due_at) <= moment:
            due.append(Due(copy, decision))
    return due


def due_slots(transaction: Transaction, now: datetime, limit: int, passed: Collection[int]) -> Iterator[list[int]]:
    """The key slots of due messages but those `passed`, up to `limit` at a time, for where nothing can be written.

    Reads only, so what is found and may not go is met again and again: each is looked at once.
    """
    moment, judge = microseconds(now), Judge(transaction.connection, transaction.rules, transaction.vault)
    where = "WHERE held = 0 AND due_at <= ? AND (due_at, id) > (?, ?) ORDER BY due_at, id LIMIT ?"
    due_at, row = _LONG_AGO, 0
    while found := copies(transaction.connection, where, (moment, due_at, row, limit)):
        due_at, row = found[-1].due_at, found[-1].row
        left = [copy for copy in found if copy.slot not in passed]
        if due := judged(judge, left, moment):
            yield [each.copy.slot for each in due]


def _fields(due: Sequence[Due], now: datetime) -> dict[str, object]:
    """What intent and certificate say of a batch."""
    times = [each.decision.due_at for each in due]
    decided = Counter((each.decision.policies, each.decision.principle) for each in due)
    return {
        "class": "message",
        "count": len(due),
        "due_from": rfc3339(min(times)),
        "due_until": rfc3339(max(times)),
        "at": rfc3339(now),
        "late_ms": (microseconds(now) - microseconds(min(times))) // 1000,
        "decided": [
            {"policies": list(policies), "principle": principle.value, "count": count}
            for (policies, principle), count in sorted(decided.items())
        ],
    }


def _keep_out(transaction: Transaction, due: Sequence[Due]) -> None:
    """What a policy deleted early would still be taken by default, should the policy go: it must not come back."""
    default = transaction.terms.default
    for copy, decision in due:
        until = microseconds(from_microseconds(copy.sent_at) + default)
        if decision.principle is not Principle.DEFAULT and copy.gone is None and until > microseconds(decision.due_at):
            mark(transaction, copy.ident, copy.version, until)


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
