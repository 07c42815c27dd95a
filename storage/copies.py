"""The copies of messages as their table holds them, and what the rules say of each.

Rules: of a participant one copy is the last message, the others are kept by holds alone, or by a period of retention if
their author deleted them; what becomes of a copy is decided here from the rules as they are now, never from what was
written down of it before.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec

from storage.engine import sqlite3
from storage.moment import from_microseconds
from storage.retention import Decision, Gone, Rules
from storage.rules import subject, thread_hash
from storage.vault import Vault

_COPIES: Final = """SELECT
    id, person, ident, version, resource, thread, sent_at, gone, gone_at, due_at, held, copy, slot
    FROM messages """
"""The columns of a `Copy`, in its order."""

LAST: Final = "WHERE person = ? AND gone IS NULL"
"""A person's last message."""
OF_PERSON: Final = "WHERE person = ? AND (gone IS NULL OR gone > '')"
"""All that is kept of a person, by the two indexes that know persons."""


class Body(msgspec.Struct, frozen=True, array_like=True):
    """What is in a message's box."""

    participant: str
    thread: str
    message: str
    content: str


# Made here: two regions' threads that both are the first to decode a type crash the process.
BODY: Final = msgspec.json.Decoder(Body)


class Copy(NamedTuple):
    """A row of `messages` without its box; times in microseconds since 1970, `resource` by its row."""

    row: int
    person: bytes
    ident: bytes
    version: int
    resource: int | None
    thread: bytes | None
    sent_at: int
    gone: Gone | None
    gone_at: int | None
    due_at: int
    held: int
    copy: str
    slot: int


class Judgement(NamedTuple):
    """What is to become of a copy, and the holds that keep it whatever that is."""

    decision: Decision
    holds: tuple[str, ...]


class KeptCopy(NamedTuple):
    """A copy as it is explained: by which random id entries name it, and why it is kept if it is no last message."""

    copy: str
    gone: Gone | None
    sent_at: datetime
    judgement: Judgement


class Retained(NamedTuple):
    """What is kept of a participant, oldest first; what would become of a message sent now, to a thread nobody named.

    `held_by` are the holds that forbid an erasure, `erasure_asked_at` says since when one waits.
    """

    copies: tuple[KeptCopy, ...]
    next: Judgement
    held_by: tuple[str, ...]
    erasure_asked_at: datetime | None


class Judge:
    """Judges copies by the rules as they are. For one transaction, or one snapshot."""

    def __init__(self, connection: sqlite3.Connection, rules: Rules, vault: Vault) -> None:
        self._connection: Final = connection
        self._rules: Final = rules
        self._vault: Final = vault
        self._resources: Final[dict[int | None, str]] = {None: ""}

    def copy(self, copy: Copy) -> Judgement:
        """What is to become of this copy. Raises sqlite3.Error."""
        sent_at = from_microseconds(copy.sent_at)
        gone = None if copy.gone is None or copy.gone_at is None else (copy.gone, from_microseconds(copy.gone_at))
        resource, thread = self.whose(copy)
        return self.message(copy.person, resource, (thread,), sent_at, gone)

    def whose(self, copy: Copy) -> tuple[str, bytes]:
        """A copy's resource and thread. Raises sqlite3.Error, StorageUnavailable."""
        if copy.thread is None:
            return self._opened(copy)
        if copy.resource not in self._resources:
            self._resources.update(self._connection.execute("SELECT id, resource FROM resources"))
        return self._resources[copy.resource], copy.thread

    def _opened(self, copy: Copy) -> tuple[str, bytes]:
        """Of a copy from before there were policies, what its box says; of one that does not open, nothing."""
        (box,) = self._connection.execute("SELECT box FROM messages WHERE id = ?", (copy.row,)).fetchone()
        clear = self._vault.open("messages", copy.copy, copy.slot, box)
        if clear is None:
            return "", b""
        body = BODY.decode(clear)
        return self._rules.terms.resource_of(body.participant) or "", thread_hash(self._vault, body.thread)

    def message(
        self,
        person: bytes,
        resource: str,
        threads: Iterable[bytes],
        sent_at: datetime,
        gone: tuple[Gone, datetime] | None = None,
    ) -> Judgement:
        """What is to become of a message of a person of this resource, sent then to this thread."""
        whose = subject(self._connection, self._rules, person, resource, threads)
        return Judgement(self._rules.decide(whose, sent_at, gone), self._rules.holding(whose))

    def person(self, person: bytes, resource: str) -> tuple[str, ...]:
        """The holds that keep anything of a person: their copies, or what tells who they were in a call."""
        threads = {self.whose(each)[1] for each in copies(self._connection, OF_PERSON, (person,))}
        return self._rules.holding(subject(self._connection, self._rules, person, resource, threads))


def copies(connection: sqlite3.Connection, where: str, parameters: tuple[Any, ...]) -> list[Copy]:
    """The copies that fit; `where` is a constant of ours. Raises sqlite3.Error."""
    return [Copy(*row) for row in connection.execute(_COPIES + where, parameters)]
