"""Who is told what, and when: the events of a load, each with a moment of its own.

Rules: a moment is a time with milliseconds that no other event of this load has; the notice that follows carries it
as `occurred_at`, which is how a session's process knows which event it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from .targets import Target


class Telling:
    """Counts the events of every call; owned by the loop that drives the load."""

    def __init__(self, target: Target, calls: Sequence[str]) -> None:
        self.calls = calls
        self.told = 0
        """Events so far, in all calls."""
        self._target = target
        self._numbers = dict.fromkeys(calls, 0)
        self._last = datetime.now(UTC)

    def moment(self) -> str:
        """A time for the next events: now, to the millisecond."""
        # A gateway takes no time ahead of its own; a millisecond is waited for elsewhere.
        self._last = max(datetime.now(UTC), self._last + timedelta(milliseconds=1))
        return self._last.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    async def tell(self, calls: Sequence[str], at: str) -> None:
        """An event in each of `calls`, at the time `at`. Raises LoadFailed."""
        numbers = [self._numbers[each] for each in calls]
        for each in calls:
            self._numbers[each] += 1
        self.told += len(calls)
        await self._target.tell(calls, numbers, at)
