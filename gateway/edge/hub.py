"""The hub as the edge sees it: where frames go, and what a client is welcomed with.

Rules: which calls a session may speak about is the hub's to decide; nothing here waits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from gateway.core import wire
from gateway.core.session import Session

Shown = Callable[[str | None, wire.Consistency | None], None]
"""Takes what a welcome shows: the region's newest checkpoint and the proof that it continues the client's."""


class Hub(Protocol):
    """What the edge hands frames on to. The first five may raise `Refusal`, which is answered with an error frame.

    `greet` calls `then` exactly once, at once where the client has `seen` no checkpoint, and on the loop.
    """

    def join(self, session: Session, frame: wire.Join) -> None: ...
    def leave(self, session: Session, frame: wire.Leave) -> None: ...
    def acknowledge(self, session: Session, frame: wire.Ack) -> None: ...
    def observed(self, session: Session, frame: wire.Observed) -> None: ...
    def message(self, session: Session, frame: wire.Message) -> None: ...
    def greet(self, region: str, seen: str | None, then: Shown) -> None: ...
    def turned_away(self, reason: str) -> None: ...
    def lost(self, session: Session, reason: str) -> None: ...
    def refresh_state(self, session: Session) -> None: ...
