"""The pulse: every session is asked in turn whether it is there.

Rules: one ping is framed for all whose turn it is; a session that was sent none owes no pong. Owned by the loop.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from gateway.core import wire
from gateway.core.framing import frame
from gateway.core.session import Session
from gateway.edge.limits import Limits
from gateway.edge.wheel import Ring


class Pulse:
    """The open sessions, evenly spread over `Limits.ping_seconds`."""

    def __init__(self, limits: Limits) -> None:
        self._pong_seconds = limits.pong_seconds
        self._ring = Ring[Session](limits.ping_seconds)

    def __len__(self) -> int:
        return len(self._ring)

    def __contains__(self, session: Session) -> bool:
        return session in self._ring

    def __iter__(self) -> Iterator[Session]:
        return iter(self._ring)

    def add(self, session: Session) -> None:
        """Ask this session too from now on."""
        self._ring.add(session)

    def discard(self, session: Session) -> None:
        """Forget the session, if it is here."""
        self._ring.discard(session)

    def silent(self) -> list[Session]:
        """Before a tick: who was asked `Limits.pong_seconds` ago and has not answered."""
        return [session for session in self._ring.ago(self._pong_seconds) if session.awaits_pong]

    def tick(self, now: datetime) -> None:
        """A tick has passed: ask whose turn it is."""
        if turn := self._ring.tick():
            ping = frame(wire.ping(now))
            for session in turn:
                session.awaits_pong = session.send_framed(ping)
