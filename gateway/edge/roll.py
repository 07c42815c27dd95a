"""The roll of open sessions: who is here, how often, and on which device.

Rules: one device of a participant has one session, the newest; a session that was replaced or has ended never takes
its successor off the roll. Owned by the loop.
"""

from __future__ import annotations

from collections.abc import Iterator

from gateway.core.session import Session


class Roll:
    """The open sessions by participant and by device."""

    def __init__(self) -> None:
        self._sessions: set[Session] = set()
        self._counts: dict[str, int] = {}
        self._devices: dict[tuple[str, str], Session] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[Session]:
        return iter(self._sessions)

    def __contains__(self, session: Session) -> bool:
        return session in self._sessions

    def count(self, participant: str) -> int:
        """How many sessions the participant has."""
        return self._counts.get(participant, 0)

    def on_device(self, participant: str, device: str | None) -> Session | None:
        """The participant's session on that device; None too where the client names no device."""
        return None if device is None else self._devices.get((participant, device))

    def enter(self, session: Session) -> None:
        """Put a session on the roll; its participant and device no longer change."""
        self._sessions.add(session)
        self._counts[session.participant] = self.count(session.participant) + 1
        if session.device is not None:
            self._devices[session.participant, session.device] = session

    def strike(self, session: Session) -> bool:
        """Take a session off the roll; False if it is not on it."""
        if session not in self._sessions:
            return False
        self._sessions.remove(session)
        self._counts[session.participant] -= 1
        if not self._counts[session.participant]:
            del self._counts[session.participant]
        if session.device is not None:
            holder = (session.participant, session.device)
            if self._devices.get(holder) is session:
                del self._devices[holder]
        return True
