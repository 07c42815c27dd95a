"""The clock of a process: wall time in the ledger's precision, which never runs backwards over a small step.

Rules: after the wall clock was set back, by an hour at most, ours runs at half speed until both agree, so that no
entry is older than the one before it and no deadline stands still; a larger step is followed at once, because then
it was the time before that was wrong.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from gateway.core.types import milliseconds

LARGEST_STEP: Final = timedelta(hours=1)
"""What is still taken for a correction of the clock."""


def _wall() -> datetime:
    return datetime.now(UTC)


class SteadyClock:
    """Tells the time: aware UTC, whole milliseconds. Owned by the loop."""

    def __init__(self, wall: Callable[[], datetime] = _wall, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._wall: Final = wall
        self._monotonic: Final = monotonic
        self._told = wall()
        self._at = monotonic()

    def __call__(self) -> datetime:
        """Now."""
        wall, at = self._wall(), self._monotonic()
        if wall < self._told and self._told - wall <= LARGEST_STEP:
            wall = max(wall, self._told + timedelta(seconds=at - self._at) / 2)
        self._told, self._at = wall, at
        return milliseconds(wall)
