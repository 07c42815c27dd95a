"""Last messages: the newest (sent_at, version) of each participant, sealed, and nothing of the others.

Rules: of one message the highest version counts, a deletion before content of the same version; over all messages of a
participant the newest (sent_at, version) counts. Whatever lost is marked by keyed hash until it would have expired, so
that taking anything a second time, however late, changes nothing.
"""

from __future__ import annotations

import base64
import os
from typing import NamedTuple

import msgspec

from storage.moment import from_microseconds, microseconds, rfc3339
from storage.operations import KeepMessage, MessageOutcome
from storage.transaction import Transaction

IGNORED = MessageOutcome("ignored", None)


class Body(msgspec.Struct, frozen=True, array_like=True):
    """What is in a message's box."""

    participant: str
    thread: str
    message: str
    content: str


class _Current(NamedTuple):
    """The stored row of a participant."""

    row: int
    ident: bytes
    version: int
    sent_at: int
    due_at: int
    copy: str
    slot: int


def _new_copy() -> str:
    return "m_" + base64.b32encode(os.urandom(16)).decode("ascii").rstrip("=").lower()


def _current(transaction: Transaction, person: bytes) -> _Current | None:
    row = transaction.execute(
        "SELECT id, ident, version, sent_at, due_at, copy, slot FROM messages WHERE person = ?", (person,)
    ).fetchone()
    return None if row is None else _Current(*row)


def _mark(transaction: Transaction, ident: bytes, version: int, until: int) -> None:
    """Remember that this message must not come back in this version or an earlier one."""
    transaction.execute(
        "INSERT INTO marks(ident, version, until) VALUES (?, ?, ?) ON CONFLICT (ident) DO UPDATE"
        " SET version = max(version, excluded.version), until = max(until, excluded.until)",
        (ident, version, until),
    )


def _marked(transaction: Transaction, ident: bytes, version: int) -> bool:
    row = transaction.execute("SELECT version FROM marks WHERE ident = ?", (ident,)).fetchone()
    return row is not None and version <= int(row[0])


def keep_message(transaction: Transaction, operation: KeepMessage) -> MessageOutcome:
    """Take one message, edit or deletion into account. Raises ValueError for content that is missing."""
    if (operation.content is None) is not operation.deleted:
        raise ValueError("a message has content or is deleted")
    person = transaction.vault.look_up("person", operation.participant)
    ident = transaction.vault.look_up("message", operation.participant, operation.thread, operation.message)
    current = _current(transaction, person)
    same = current is not None and current.ident == ident
    if _marked(transaction, ident, operation.version):
        return IGNORED
    if operation.deleted:
        return _delete(transaction, operation, ident, current if same else None)
    due_at = microseconds(operation.due_at)
    if current is not None and same and operation.version <= current.version:
        duplicate = operation.version == current.version
        return MessageOutcome("ignored", from_microseconds(current.due_at)) if duplicate else IGNORED
    if due_at <= microseconds(operation.at):
        return IGNORED
    age = (microseconds(operation.sent_at), operation.version)
    if current is not None and not same and age <= (current.sent_at, current.version):
        _mark(transaction, ident, operation.version, due_at)
        return IGNORED
    return _store(transaction, operation, person, ident, current)


def _store(
    transaction: Transaction, operation: KeepMessage, person: bytes, ident: bytes, current: _Current | None
) -> MessageOutcome:
    assert operation.content is not None
    copy = _new_copy()
    body = Body(operation.participant, operation.thread, operation.message, operation.content)
    slot, box = transaction.seal("messages", copy, msgspec.json.encode(body))
    entry = {
        "kind": "message.stored",
        "copy": copy,
        "due_at": rfc3339(operation.due_at),
        "at": rfc3339(operation.at),
    }
    if current is not None:
        entry["superseded"] = current.copy
        if current.ident != ident:
            _mark(transaction, current.ident, current.version, current.due_at)
        transaction.execute("DELETE FROM messages WHERE id = ?", (current.row,))
        transaction.free(current.slot)
    transaction.execute(
        "INSERT INTO messages(person, ident, version, sent_at, due_at, copy, slot, box)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            person,
            ident,
            operation.version,
            microseconds(operation.sent_at),
            microseconds(operation.due_at),
            copy,
            slot,
            box,
        ),
    )
    transaction.append_entry(entry)
    return MessageOutcome("stored", operation.due_at)


def _delete(transaction: Transaction, operation: KeepMessage, ident: bytes, current: _Current | None) -> MessageOutcome:
    """Erase the stored copy if it is this message and no later version; block what the deletion covers."""
    until = microseconds(operation.due_at)
    if current is None:
        _mark(transaction, ident, operation.version, until)
        return IGNORED
    if operation.version < current.version:
        return IGNORED
    _mark(transaction, ident, operation.version, max(until, current.due_at))
    transaction.execute("DELETE FROM messages WHERE id = ?", (current.row,))
    transaction.free(current.slot)
    transaction.append_entry({"kind": "message.deleted", "copy": current.copy, "at": rfc3339(operation.at)})
    return MessageOutcome("deleted", None)
