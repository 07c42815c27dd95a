"""The roll of open sessions: how many there are, how many each participant has, and which is on which device.

Rules: one device of a participant has one session, the newest; a session that was replaced or has ended never takes
its successor off the roll; limits hold over all sockets, whichever process holds them. Owned by the loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gateway.core.errors import Bye
from gateway.core.session import Session

MOST: Final = 50_000
"""Sessions at once, unless configured."""
MOST_EACH: Final = 20
"""Sessions of one participant at once."""

End = Callable[[Session, Bye], None]
"""Ends a session with its close code; the hub hears of its loss before this returns."""


class Roll:
    """The open sessions by participant, who has few."""

    def __init__(self, most: int = MOST, most_each: int = MOST_EACH) -> None:
        self._most = most
        self._most_each = most_each
        self._sessions: dict[str, tuple[Session, ...]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, session: Session) -> bool:
        return session in self._sessions.get(session.participant, ())

    def count(self, participant: str) -> int:
        """How many sessions the participant has."""
        return len(self._sessions.get(participant, ()))

    def on_device(self, participant: str, device: str | None) -> Session | None:
        """The participant's session on that device; None too where the client names no device."""
        if device is None:
            return None
        return next((each for each in reversed(self._sessions.get(participant, ())) if each.device == device), None)

    def enter(self, session: Session, end: End) -> None:
        """Put a session on the roll, in place of the one on its device; its participant and device no longer change.

        Raises `Bye` where there are too many: 4429 of this participant, 4013 of all.
        """
        replaced = self.on_device(session.participant, session.device)
        if replaced is not None:
            end(replaced, Bye(4409, "replaced by a newer session of this device"))
        if self.count(session.participant) >= self._most_each:
            raise Bye(4429, "too many sessions of this participant")
        if self._count >= self._most:
            raise Bye(4013, "too many sessions")
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
