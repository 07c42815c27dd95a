"""Last messages: the newest (sent_at, version) of each participant, sealed, and of the others what a hold keeps.

Rules: of one message the highest version counts, a deletion before content of the same version; over all messages of a
participant the newest (sent_at, version) counts. Whatever lost is marked by keyed hash until it would have expired, so
that taking anything a second time, however late, changes nothing. What a hold or a period of retention covers is put
out of sight instead of being destroyed; of what was superseded only a hold keeps a copy.
"""

from __future__ import annotations

import base64
import os

import msgspec

from storage.copies import Body, Copy, Judge, copies
from storage.moment import from_microseconds, microseconds, rfc3339
from storage.operations import KeepMessage, MessageOutcome
from storage.retention import Gone
from storage.rules import thread_hash
from storage.transaction import Transaction

IGNORED = MessageOutcome("ignored", None)


def _new_copy() -> str:
    return "m_" + base64.b32encode(os.urandom(16)).decode("ascii").rstrip("=").lower()


def mark(transaction: Transaction, ident: bytes, version: int, until: int) -> None:
    """Remember that this message must not come back in this version or an earlier one."""
    transaction.execute(
        "INSERT INTO marks(ident, version, until) VALUES (?, ?, ?) ON CONFLICT (ident) DO UPDATE"
        " SET version = max(version, excluded.version), until = max(until, excluded.until)",
        (ident, version, until),
    )


def _marked(transaction: Transaction, ident: bytes, version: int) -> bool:
    row = transaction.execute("SELECT version FROM marks WHERE ident = ?", (ident,)).fetchone()
    return row is not None and version <= int(row[0])


class _Arrival:
    """A message that arrives, with what the rules say of it."""

    def __init__(self, transaction: Transaction, operation: KeepMessage) -> None:
        look_up = transaction.vault.look_up
        self.operation = operation
        self.person = look_up("person", operation.participant)
        self.ident = look_up("message", operation.participant, operation.thread, operation.message)
        self.thread = thread_hash(transaction.vault, operation.thread)
        self.judge = Judge(transaction.connection, transaction.rules, transaction.vault)
        decided, holds = self.judge.message(self.person, operation.resource, (self.thread,), operation.sent_at)
        self.due_at, self.held = decided.due_at, bool(holds)
        where = "WHERE person = ? AND (gone IS NULL OR gone = 'deleted')"
        found = copies(transaction.connection, where, (self.person,))
        self.current = next((each for each in found if each.gone is None), None)
        self.deleted = [each for each in found if each.gone is not None]
        """What this person deleted and is kept all the same."""
        self.same = self.current is not None and self.current.ident == self.ident


def keep_message(transaction: Transaction, operation: KeepMessage) -> MessageOutcome:
    """Take one message, edit or deletion into account. Raises ValueError for content that is missing."""
    if (operation.content is None) is not operation.deleted:
        raise ValueError("a message has content or is deleted")
    arrival = _Arrival(transaction, operation)
    current, same = arrival.current, arrival.same
    if _marked(transaction, arrival.ident, operation.version):
        return IGNORED
    if operation.deleted:
        return _delete(transaction, arrival)
    if current is not None and same and operation.version <= current.version:
        duplicate = operation.version == current.version
        return MessageOutcome("ignored", from_microseconds(current.due_at)) if duplicate else IGNORED
    if arrival.due_at <= operation.at:
        return IGNORED
    age = (microseconds(operation.sent_at), operation.version)
    if current is not None and not same and age <= (current.sent_at, current.version):
        mark(transaction, arrival.ident, operation.version, microseconds(arrival.due_at))
        return IGNORED
    return _store(transaction, arrival)


def _store(transaction: Transaction, arrival: _Arrival) -> MessageOutcome:
    operation, current = arrival.operation, arrival.current
    assert operation.content is not None
    copy = _new_copy()
    body = Body(operation.participant, operation.thread, operation.message, operation.content)
    slot, box = transaction.seal("messages", copy, msgspec.json.encode(body))
    entry: dict[str, object] = {
        "kind": "message.stored",
        "copy": copy,
        "due_at": rfc3339(arrival.due_at),
        "at": rfc3339(operation.at),
    }
    if current is not None:
        entry["superseded"] = current.copy
        if not arrival.same:
            mark(transaction, current.ident, current.version, current.due_at)
        entry |= _let_go(transaction, arrival.judge, current, "superseded", microseconds(operation.at))
    # A copy that its author deleted was the last message for as long as it was kept, too.
    age = (microseconds(operation.sent_at), operation.version)
    for former in [each for each in arrival.deleted if (each.sent_at, each.version) < age]:
        _let_go(transaction, arrival.judge, former, "superseded", microseconds(operation.at))
    transaction.execute(
        "INSERT INTO messages(person, ident, version, resource, thread, sent_at, stored_at, due_at, held, copy, slot,"
        " box) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            arrival.person,
            arrival.ident,
            operation.version,
            transaction.resource_id(operation.resource),
            arrival.thread,
            microseconds(operation.sent_at),
            transaction.erased.after(arrival.person, microseconds(operation.at)),
            microseconds(arrival.due_at),
            int(arrival.held),
            copy,
            slot,
            box,
        ),
    )
    transaction.append_entry(entry)
    return MessageOutcome("stored", arrival.due_at)


def _delete(transaction: Transaction, arrival: _Arrival) -> MessageOutcome:
    """Erase the stored copy if it is this message and no later version; block what the deletion covers."""
    operation, current = arrival.operation, arrival.current if arrival.same else None
    until = microseconds(arrival.due_at)
    if current is None:
        mark(transaction, arrival.ident, operation.version, until)
        return IGNORED
    if operation.version < current.version:
        return IGNORED
    mark(transaction, arrival.ident, operation.version, max(until, current.due_at))
    age = (current.sent_at, current.version)
    later = any((each.sent_at, each.version) > age for each in arrival.deleted)
    gone: Gone = "superseded" if later else "deleted"
    kept = _let_go(transaction, arrival.judge, current, gone, microseconds(operation.at))
    entry = {"kind": "message.deleted", "copy": current.copy, "at": rfc3339(operation.at)}
    transaction.append_entry({**entry, **kept})
    return MessageOutcome("deleted", None)


def _let_go(transaction: Transaction, judge: Judge, copy: Copy, gone: Gone, at: int) -> dict[str, object]:
    """A copy is the last message no longer: it is destroyed, or kept out of sight, and what the entry says of that."""
    gone_at = min(at, copy.gone_at or at)
    decision, holds = judge.copy(copy._replace(gone=gone, gone_at=gone_at))
    due_at = microseconds(decision.due_at)
    if not holds and due_at <= at:
        transaction.execute("DELETE FROM messages WHERE id = ?", (copy.row,))
        transaction.free(copy.slot)
        return {}
    transaction.execute(
        "UPDATE messages SET gone = ?, gone_at = ?, due_at = ?, held = ? WHERE id = ?",
        (gone, gone_at, due_at, int(bool(holds)), copy.row),
    )
    kept: dict[str, object] = {"kept_until": rfc3339(decision.due_at)} if due_at > at else {}
    return kept | ({"held_by": list(holds)} if holds else {})
