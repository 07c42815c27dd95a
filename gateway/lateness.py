"""Lateness: how late the loop runs what is due, looked at often enough to see a stall of tens of milliseconds.

Rules: a stall counts for everything that would have been due while it lasted, not once; nobody is kept waiting by the
look itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

INTERVAL: Final = 0.02
"""Seconds between two looks."""


def delays(late: float) -> Iterator[float]:
    """How late each look was, in seconds, when the one that was made came so late: itself, and those left out.

    Without these a second's stall would weigh as much as a millisecond's delay.
    """
    yield max(0.0, late)
    while late > INTERVAL:
        late -= INTERVAL
        yield late


async def watch(
    observe: Callable[[float], None],
    *,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Tell `observe` for ever, in seconds, how late the loop is. `now` is no clock of the loop: that one stands still
    while a turn lasts.
    """
    while True:
        due = now() + INTERVAL
        await sleep(INTERVAL)
        for each in delays(now() - due):
            observe(each)
