"""The hub as the edge sees it: who is let in, where frames go, and what a client is welcomed with.

Rules: which calls a session may speak about is the hub's to decide, and so is how many sessions there may be, for it
alone knows of those that other processes hold; nothing here waits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from gateway.core import wire
from gateway.core.errors import Bye
from gateway.core.session import Session

Shown = Callable[[str | None, wire.Consistency | None], None]
"""Takes what a welcome shows: the region's newest checkpoint and the proof that it continues the client's."""


End = Callable[[Session, Bye], None]
"""Ends a session with its close code."""


class Counts(Protocol):
    """What the edge counts of itself."""

    def closed(self, code: int) -> None: ...
    def frames_sent(self, count: int) -> None: ...


class Hub(Protocol):
    """What the edge hands frames on to. The first five may raise `Refusal`, which is answered with an error frame.

    A session is `enter`ed once its `hello` is believed: that may `end` another, and raise `Bye` or end it later; who
    was entered is `lost` once. `greet` calls `then` on the loop: at once where the client has `seen` no checkpoint and
    the hub is in this process; the first call counts. `renewed` says that the session's claims have changed.
    """

    def join(self, session: Session, frame: wire.Join) -> None: ...
    def leave(self, session: Session, frame: wire.Leave) -> None: ...
    def acknowledge(self, session: Session, frame: wire.Ack) -> None: ...
    def observed(self, session: Session, frame: wire.Observed) -> None: ...
    def message(self, session: Session, frame: wire.Message) -> None: ...
    def enter(self, session: Session, end: End) -> None: ...
    def greet(self, session: Session, seen: str | None, then: Shown) -> None: ...
    def renewed(self, session: Session) -> None: ...
    def turned_away(self, reason: str) -> None: ...
    def lost(self, session: Session, reason: str) -> None: ...
    def refresh_state(self, session: Session) -> None: ...
