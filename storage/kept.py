"""What is kept of people's messages, and what the rules say of it: the reader's questions about retention.

Rules: owned by the reader's thread; each question is answered in the reader's snapshot, by the rules of that snapshot;
a box whose key is gone is nothing that is kept.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from storage.copies import BODY, LAST, OF_PERSON, Copy, Judge, KeptCopy, Retained, copies
from storage.engine import sqlite3
from storage.moment import from_microseconds
from storage.operations import Rule, StoredMessage
from storage.retention import Rules, Terms
from storage.rules import compile_rules, read_rules
from storage.vault import Vault

_EDITION: Final = "SELECT kind, name, slot FROM rules"
"""Changes with every change of a rule: each time it is written it is sealed in another slot."""


class Kept:
    """The messages of a region, and its rules."""

    def __init__(self, connection: sqlite3.Connection, vault: Vault, terms: Terms) -> None:
        self._connection: Final = connection
        self._vault: Final = vault
        self._terms: Final = terms
        self._compiled: tuple[object, Rules] | None = None

    def last(self, participant: str) -> Copy | None:
        """The row of a participant's last message, None if there is none."""
        found = copies(self._connection, LAST, (self._vault.look_up("person", participant),))
        return found[0] if found else None

    def every(self) -> list[StoredMessage]:
        """Every participant's last message, in the order in which they were stored."""
        rows = copies(self._connection, "WHERE gone IS NULL ORDER BY id", ())
        return [stored for stored in map(self.opened, rows) if stored is not None]

    def opened(self, copy: Copy) -> StoredMessage | None:
        """What a copy holds, and what is to become of it; None if its key is gone."""
        (box,) = self._connection.execute("SELECT box FROM messages WHERE id = ?", (copy.row,)).fetchone()
        clear = self._vault.open("messages", copy.copy, copy.slot, box)
        if clear is None:
            return None
        body = BODY.decode(clear)
        decision = self._judge().copy(copy).decision
        return StoredMessage(
            participant=body.participant,
            thread=body.thread,
            message=body.message,
            version=copy.version,
            sent_at=from_microseconds(copy.sent_at),
            content=body.content,
            hidden_at=decision.hidden_at,
            expires_at=decision.due_at,
        )

    def rules(self) -> list[Rule]:
        """Every policy and hold, by kind and name."""
        return read_rules(self._connection, self._vault)

    def rules_set_at(self) -> datetime:
        """When a rule was set or removed last; 1970 if never."""
        row = self._connection.execute("SELECT set_at FROM review").fetchone()
        return from_microseconds(0 if row is None else row[0])

    def retained(self, participant: str, resource: str, now: datetime) -> Retained:
        """What is kept of a participant, what is to become of it, and what would become of a message sent now."""
        person = self._vault.look_up("person", participant)
        judge = self._judge()
        found = copies(self._connection, OF_PERSON + " ORDER BY id", (person,))
        asked = self._connection.execute("SELECT asked_at FROM erasures WHERE person = ?", (person,)).fetchone()
        return Retained(
            tuple(KeptCopy(each.copy, each.gone, from_microseconds(each.sent_at), judge.copy(each)) for each in found),
            judge.message(person, resource, (), now),
            judge.person(person, resource),
            None if asked is None else from_microseconds(asked[0]),
        )

    def _judge(self) -> Judge:
        edition = self._connection.execute(_EDITION).fetchall()
        # What a hold on calls means changes with calls and their names too.
        if self._compiled is None or self._compiled[0] != edition or self._compiled[1].by_call:
            self._compiled = edition, compile_rules(self._connection, self._vault, self._terms, self.rules())
        return Judge(self._connection, self._compiled[1], self._vault)
