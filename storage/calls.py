"""Calls, their merges and aliases, and the events already taken: how operations write them.

Rules: runs inside the writer's transaction; aliases may name threads and people's meetings, so they are sealed.
"""

from __future__ import annotations

import msgspec

from storage.moment import microseconds
from storage.operations import CloseCall, MarkEvents, MoveCall, NameCall, OpenCall
from storage.rows import call_row
from storage.rulebook import begin_review
from storage.transaction import Transaction


def open_call(transaction: Transaction, operation: OpenCall) -> None:
    """Mark a call as on."""
    transaction.execute("UPDATE calls SET open = 1 WHERE id = ?", (transaction.call_id(operation.call),))


def close_call(transaction: Transaction, operation: CloseCall) -> None:
    """Mark a call as over."""
    transaction.execute("UPDATE calls SET open = 0 WHERE id = ?", (transaction.call_id(operation.call),))


def name_call(transaction: Transaction, operation: NameCall) -> None:
    """Replace the sealed list of a call's aliases."""
    identity = transaction.call_id(operation.call)
    (former,) = transaction.execute("SELECT slot FROM calls WHERE id = ?", (identity,)).fetchone()
    slot: int | None = None
    box: bytes | None = None
    if operation.aliases:
        clear = msgspec.json.encode(operation.aliases)
        slot, box = transaction.seal("calls", call_row(operation.call), clear)
    transaction.execute("UPDATE calls SET slot = ?, box = ? WHERE id = ?", (slot, box, identity))
    transaction.free(former)
    transaction.note_calls()
    if transaction.rules.by_call:
        # A thread that the call goes by no more is held no more.
        begin_review(transaction, 0)


def move_call(transaction: Transaction, operation: MoveCall) -> None:
    """Let one call's entries and presences be found under another."""
    source, target = transaction.call_id(operation.source), transaction.call_id(operation.target)
    if source != target:
        transaction.execute("INSERT OR IGNORE INTO merges(target, source) VALUES (?, ?)", (target, source))
        transaction.note_calls()


def mark_events(transaction: Transaction, operation: MarkEvents) -> None:
    """Remember events as taken; a longer memory wins."""
    until = microseconds(operation.until)
    transaction.connection.executemany(
        "INSERT INTO events(digest, until) VALUES (?, ?)"
        " ON CONFLICT (digest) DO UPDATE SET until = max(until, excluded.until)",
        [(digest, until) for digest in operation.digests],
    )
