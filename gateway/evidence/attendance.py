"""Who came, by the entries of one region: each presence with its sessions, line by line as it was written.

Rules: a plain reading of the entries in their order, no fold; what is said of a presence is said of whatever had become
part of it by then; what no entry says stays empty.
"""

from __future__ import annotations

from typing import Any, Final

from gateway.core import facts
from gateway.core.types import rfc3339
from gateway.evidence.story import Part

Row = dict[str, Any]
"""One line of a file, by the names of its fields."""


class Attendance:
    """The presences of one region; `rows` has one of each, in the order of their entries."""

    def __init__(self, part: Part) -> None:
        self.rows: Final[dict[str, Row]] = {}
        self._parts: Final[dict[str, set[str]]] = {}
        for fact, entry in part.recorded:
            if isinstance(fact, facts.PresenceOpened):
                self._open(fact, entry)
            else:
                self._note(fact)

    def _open(self, fact: facts.PresenceOpened, entry: int) -> None:
        self._parts[fact.presence] = {fact.presence}
        self.rows[fact.presence] = {
            "closed_at": None,
            "closed_reason": None,
            "entry": entry,
            "listed": fact.listed,
            "opened_at": rfc3339(fact.at),
            "presence": fact.presence,
            "region": fact.region,
            "role": fact.role.value,
            "sessions": [],
            "who": fact.who,
        }

    def _note(self, fact: facts.AnyFact) -> None:
        match fact:
            case facts.CallMerged():
                for part, whole in fact.united or ():
                    if part in self._parts and whole in self._parts:
                        self._parts[whole] |= self._parts[part]
            case facts.SessionJoined() if fact.presence in self.rows:
                self.rows[fact.presence]["sessions"].append(_session(fact))
            case facts.SessionLeft():
                for row in self._about(fact.presence):
                    _leave(row, fact)
            case facts.PresenceClosed():
                for row in self._about(fact.presence):
                    if row["closed_at"] is None:
                        row |= {"closed_at": rfc3339(fact.at), "closed_reason": fact.reason}

    def _about(self, presence: str) -> list[Row]:
        return [self.rows[name] for name in self._parts.get(presence, ())]


def _session(fact: facts.SessionJoined) -> Row:
    joined_at = rfc3339(fact.at)
    return {"device": fact.device, "joined_at": joined_at, "left_at": None, "reason": None, "session": fact.session}


def _leave(row: Row, fact: facts.SessionLeft) -> None:
    for session in row["sessions"]:
        if session["session"] == fact.session and session["left_at"] is None:
            session |= {"left_at": rfc3339(fact.at), "reason": fact.reason}
