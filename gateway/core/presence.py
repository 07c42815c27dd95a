"""Presence: one participant in one call, from join to leave, kept open by sessions and by rosters.

Rules: a lost connection does not end a presence, for the person may still sit in the meeting; it ends when the
participant leaves, when a roster that named it no longer does and no session holds it, when nobody came back
in time, or with the call. The phases stand in one table.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from gateway.core.types import Role


class Phase(StrEnum):
    """Where a presence is: known from a roster only, connected, away after a lost connection, or over."""

    LISTED = "listed"
    CONNECTED = "connected"
    AWAY = "away"
    CLOSED = "closed"


class Input(StrEnum):
    """What can happen to a presence."""

    JOINED = "joined"
    LOST = "lost"
    LEFT = "left"
    UNLISTED = "unlisted"
    EXPIRED = "expired"
    ENDED = "ended"


NEXT: Final[dict[tuple[Phase, Input], Phase]] = {
    (Phase.LISTED, Input.JOINED): Phase.CONNECTED,
    (Phase.LISTED, Input.LEFT): Phase.CLOSED,
    (Phase.LISTED, Input.UNLISTED): Phase.CLOSED,
    (Phase.LISTED, Input.ENDED): Phase.CLOSED,
    (Phase.CONNECTED, Input.JOINED): Phase.CONNECTED,
    (Phase.CONNECTED, Input.LOST): Phase.AWAY,
    (Phase.CONNECTED, Input.LEFT): Phase.CLOSED,
    (Phase.CONNECTED, Input.UNLISTED): Phase.CONNECTED,
    (Phase.CONNECTED, Input.ENDED): Phase.CLOSED,
    (Phase.AWAY, Input.JOINED): Phase.CONNECTED,
    (Phase.AWAY, Input.LEFT): Phase.CLOSED,
    (Phase.AWAY, Input.UNLISTED): Phase.CLOSED,
    (Phase.AWAY, Input.EXPIRED): Phase.CLOSED,
    (Phase.AWAY, Input.ENDED): Phase.CLOSED,
}
"""The phase after an input; a pair that is missing here changes nothing."""

_CLOSED: Final = Phase.CLOSED
_PARTICIPANT: Final = Role.PARTICIPANT
CLOSING_REASON: Final = {
    Input.LEFT: "left",
    Input.UNLISTED: "left",
    Input.EXPIRED: "disconnected",
    Input.ENDED: "ended",
}


@dataclass(slots=True, eq=False)
class Presence:
    """One participant in one call. Owned by its call; times are the gateway's.

    `participant` is None once erased. `sessions` are the ids of those that hold it open: a tuple, for there are few.
    `durable` is set by the commit of its entry.
    """

    id: str
    who: str
    region: str
    participant: str | None
    name: str | None
    role: Role
    opened_at: datetime
    listed: bool
    phase: Phase
    durable: bool = False
    reached: bool = False
    sessions: tuple[str, ...] = ()
    gone_at: datetime | None = None
    closed_at: datetime | None = None
    closed_reason: str | None = None

    @property
    def open(self) -> bool:
        """Whether the participant is in the call as far as anyone knows."""
        return self.phase is not _CLOSED

    @property
    def departed_at(self) -> datetime | None:
        """When the participant was last seen: the last session lost, else the end; None while one is here."""
        return self.gone_at or self.closed_at

    @property
    def owes(self) -> bool:
        """Observers owe nothing."""
        return self.role is _PARTICIPANT

    def join(self, session: str) -> None:
        """A session holds the presence open."""
        if session not in self.sessions:
            self.sessions += (session,)
        self.reached = True
        self.gone_at = None
        self.phase = NEXT.get((self.phase, Input.JOINED), self.phase)

    def promote(self, at: datetime) -> None:
        """Who only observed takes part from now on, and owes what is on."""
        self.role, self.opened_at = Role.PARTICIPANT, at

    def absorb(self, other: Presence) -> None:
        """`other` turns out to be the same participant in the same call."""
        self.opened_at = min(self.opened_at, other.opened_at)
        self.role = Role.PARTICIPANT if self.owes or other.owes else self.role
        self.sessions = _united(self.sessions, other.sessions)
        self.listed |= other.listed
        self.reached |= other.reached
        self.durable |= other.durable
        lost = [each.gone_at for each in (self, other) if each.gone_at is not None]
        self.gone_at = None if self.sessions else max(lost, default=None)
        if self.sessions:
            self.phase = Phase.CONNECTED
        elif lost:
            self.phase = Phase.AWAY

    def lose(self, session: str, at: datetime) -> None:
        """A session is gone; with the last one the presence is away."""
        self.sessions = tuple(each for each in self.sessions if each != session)
        if not self.sessions and self.open:
            self.gone_at = at
            self.phase = NEXT.get((self.phase, Input.LOST), self.phase)

    def close(self, reason: str, at: datetime) -> None:
        """The presence is over."""
        self.phase = Phase.CLOSED
        self.closed_at, self.closed_reason = at, reason
        self.sessions = ()


def _united(ours: tuple[str, ...], theirs: tuple[str, ...]) -> tuple[str, ...]:
    return (*ours, *(each for each in theirs if each not in ours))


def closing(presence: Presence, event: Input) -> str | None:
    """The reason for which `event` closes the presence, None when it does not."""
    if NEXT.get((presence.phase, event)) is not Phase.CLOSED or not presence.open:
        return None
    if event is Input.EXPIRED and presence.listed:
        return None
    return CLOSING_REASON[event]
