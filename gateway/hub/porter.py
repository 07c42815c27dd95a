"""The porter: whether a person's data may be here, and what is kept of those whose may not.

Rules: who has no place here is refused at the door where they were named, and the refusal recorded without saying who;
a flood of refusals at one door is counted rather than written one by one. Owned by the loop.
"""

from __future__ import annotations

import asyncio
from typing import Final

from gateway.core.residency import Placement, Residency, Unserved
from gateway.hub.enactment import Enactment
from gateway.metrics import Metrics

AT_ONCE: Final = 100
"""Refusals at one door that are recorded at once."""
PER_SECOND: Final = 1.0
"""Refusals at one door that are recorded in the long run; the next one says how many were not."""


class Porter:
    """Places people, or refuses and records them at a door: `hello`, `token`, `message`."""

    def __init__(self, residency: Residency, enactment: Enactment, metrics: Metrics) -> None:
        self._residency: Final = residency
        self._enactment: Final = enactment
        self._metrics: Final = metrics
        self._full_at: Final[dict[str, float]] = {}
        self._left_out: Final[dict[str, int]] = {}
        self._loop: Final = asyncio.get_running_loop()

    def place(self, participant: str, door: str) -> Placement:
        """Where the participant's data lives. Raises `Unserved` where that is not here, and has it recorded."""
        try:
            return self._residency.place(participant)
        except Unserved as unserved:
            self.turn_away(door, unserved.code)
            raise

    def turn_away(self, door: str, reason: str) -> None:
        """Somebody was refused at `door`: recorded and counted, or in a flood counted only."""
        self._metrics.turned_away(door)
        left_out = self._left_out.pop(door, 0)
        if self._is_flooded(door):
            self._left_out[door] = left_out + 1
        else:
            self._enactment.refuse(door, reason, left_out=left_out)

    def _is_flooded(self, door: str) -> bool:
        """Whether this door has had its share of entries; if not, one more is spent."""
        # A token bucket as one number: the time at which it will be full again.
        now = self._loop.time()
        full_at = max(self._full_at.get(door, now), now) + 1 / PER_SECOND
        if full_at - now > AT_ONCE / PER_SECOND:
            return True
        self._full_at[door] = full_at
        return False
