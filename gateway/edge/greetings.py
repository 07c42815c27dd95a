"""Greetings: sessions between their `hello` and their welcome, and what they say meanwhile.

Rules: what is said is kept in its order and within bounds; the welcome opens the session, whatever it can show; who has
waited `Limits.greeting_seconds` is not kept waiting any longer, for nobody may miss a notice over a proof. Owned by
the loop.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from gateway.core import wire
from gateway.core.errors import Bye
from gateway.core.session import Phase, Session
from gateway.edge.limits import Limits
from gateway.edge.wheel import Deadlines

KEPT_FRAMES: Final = 64
KEPT_BYTES: Final = 256 * 1024
"""What a session may say before its welcome; beyond either it is closed."""


class Greetings:
    """The sessions in phase `GREETING`."""

    def __init__(self, limits: Limits, now: Callable[[], datetime]) -> None:
        self._limits = limits
        self._now = now
        self._due = Deadlines[Session](limits.greeting_seconds)
        self._kept: dict[Session, list[bytes]] = {}

    def begin(self, session: Session) -> None:
        """The session's `hello` was believed; it takes nothing until its welcome."""
        session.phase = Phase.GREETING

    def wait(self, session: Session) -> None:
        """The welcome does not come at once."""
        self._due.add(session)
        self._kept[session] = []

    def keep(self, session: Session, payload: bytes) -> None:
        """Something came in before the welcome. Raises `Bye` (4013) where that is too much."""
        kept = self._kept[session]
        kept.append(payload)
        if len(kept) > KEPT_FRAMES or sum(map(len, kept)) > KEPT_BYTES:
            raise Bye(4013, "too much before the welcome")

    def welcome(self, session: Session, checkpoint: str | None, consistency: wire.Consistency | None) -> list[bytes]:
        """Open the session; what it said meanwhile. Nothing where it is gone or was welcomed already."""
        if session.phase is not Phase.GREETING:
            return []
        session.phase = Phase.OPEN
        session.send(
            wire.welcome(
                session=session.id,
                participant=session.participant,
                region=session.region,
                server_time=self._now(),
                ping_seconds=self._limits.ping_seconds,
                expires_at=session.expires_at,
                checkpoint=checkpoint,
                consistency=consistency,
            )
        )
        return self.forget(session)

    def forget(self, session: Session) -> list[bytes]:
        """The wait is over, one way or another; what came in meanwhile."""
        self._due.discard(session)
        return self._kept.pop(session, [])

    def tick(self) -> list[Session]:
        """A tick has passed: who has waited long enough."""
        return self._due.tick()
