"""A step: one decision about one call, with the effects it asks for.

Rules: a fact that is recorded is applied to the call at once, so that the rest of the step decides on what is
true by then; time and ids are given, so the same inputs make the same step; a call's time never runs backwards,
whatever the clock does, because who was there when is told by comparing times.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from gateway.core import fold
from gateway.core.call import Call
from gateway.core.effects import Announce, Effect, Record, Refresh, Resend
from gateway.core.facts import AnyFact, CallOpened
from gateway.core.ids import NewId


class Step:
    """Collects what deciding about `call` at `now` does."""

    __slots__ = ("call", "effects", "new_id", "now")

    def __init__(self, call: Call, now: datetime, new_id: NewId) -> None:
        self.call: Final = call
        self.now: Final = max(now, call.clock)
        self.new_id: Final = new_id
        self.effects: list[Effect] = []

    def record(self, fact: AnyFact) -> None:
        """The fact holds from now on."""
        fold.apply(self.call, fact)
        self.effects.append(Record(fact))

    def announce(self, notice: str) -> None:
        """Tell everyone in the call."""
        self.effects.append(Announce(notice))

    def resend(self, notice: str, presences: tuple[str, ...]) -> None:
        """Tell those who owe it once more."""
        self.effects.append(Resend(notice, presences))

    def refresh(self) -> None:
        """Send everyone in the call its state, once however often it is asked for."""
        if Refresh() not in self.effects:
            self.effects.append(Refresh())

    def open(self) -> None:
        """The call is on: it becomes known, or comes back after it had ended."""
        if self.call.opened_at is None or self.call.ended:
            self.record(CallOpened(call=self.call.key, at=self.now))
