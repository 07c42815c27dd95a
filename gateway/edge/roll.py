"""The roll of open sessions: who is here, how often, and on which device.

Rules: one device of a participant has one session, the newest; a session that was replaced or has ended never takes
its successor off the roll. Owned by the loop.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from gateway.core.errors import Bye
from gateway.core.session import Session
from gateway.edge.limits import Limits


class Roll:
    """The open sessions by participant, who has few."""

    def __init__(self) -> None:
        self._sessions: dict[str, tuple[Session, ...]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Session]:
        return chain.from_iterable(self._sessions.values())

    def __contains__(self, session: Session) -> bool:
        return session in self._sessions.get(session.participant, ())

    def count(self, participant: str) -> int:
        """How many sessions the participant has."""
        return len(self._sessions.get(participant, ()))

    def full(self, participant: str, limits: Limits) -> Bye | None:
        """Why the participant gets no further session; None where there is room."""
        if self.count(participant) >= limits.sessions_per_participant:
            return Bye(4429, "too many sessions of this participant")
        return Bye(4013, "too many sessions") if len(self) >= limits.sessions else None

    def on_device(self, participant: str, device: str | None) -> Session | None:
        """The participant's session on that device; None too where the client names no device."""
        if device is None:
            return None
        return next((each for each in reversed(self._sessions.get(participant, ())) if each.device == device), None)

    def enter(self, session: Session) -> None:
        """Put a session on the roll; its participant and device no longer change."""
        self._sessions[session.participant] = (*self._sessions.get(session.participant, ()), session)
        self._count += 1

    def strike(self, session: Session) -> bool:
        """Take a session off the roll; False if it is not on it."""
        here = self._sessions.get(session.participant, ())
        if session not in here:
            return False
        if len(here) == 1:
            del self._sessions[session.participant]
        else:
            self._sessions[session.participant] = tuple(each for each in here if each is not session)
        self._count -= 1
        return True
