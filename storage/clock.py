"""The clock of a ledger: what passes between entries is measured, and a wall clock that jumps is noticed.

Rules: order is the writer's, never a clock's; the boot clock counts suspended time and knows no steps, so wall time
that runs away from it has jumped; time that a jump pretends has passed counts as passed for nobody's deletion until
the machine begins anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

SMALLEST_JUMP: Final = 1_000_000
"""Microseconds by which the wall clock must run away from the boot clock to count as having jumped."""


class Reading(NamedTuple):
    """The clocks at one moment: which boot of the machine, microseconds since then, microseconds since 1970."""

    boot: str
    ticks: int
    wall: int


Clock = Callable[[], Reading]
"""Reads the clocks."""


class Pace(NamedTuple):
    """What the last reading was, and `sure`: the wall time that has come by now even if the clock was set ahead."""

    boot: str
    ticks: int
    wall: int
    sure: int


class Passed(NamedTuple):
    """From one pace to the next: microseconds gone by, by how many the wall clock jumped, whether the boot is new."""

    pace: Pace
    elapsed: int
    jump: int
    rebooted: bool


def advance(before: Pace | None, now: Reading) -> Passed:
    """What passed since `before`; None where nothing was ever read."""
    if before is None:
        return Passed(Pace(*now, sure=now.wall), 0, 0, rebooted=False)
    if before.boot != now.boot or now.ticks < before.ticks:
        return Passed(Pace(*now, sure=now.wall), 0, 0, rebooted=True)
    elapsed = now.ticks - before.ticks
    drift = now.wall - before.wall - elapsed
    # What is no jump is the clock being slewed, and to be followed; a step back may show that it was ahead before.
    jump = drift if abs(drift) >= SMALLEST_JUMP else 0
    sure = min(now.wall, before.sure + elapsed + (drift if not jump else 0))
    return Passed(Pace(*now, sure=sure), elapsed, jump, rebooted=False)


@cache
def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def system_clock() -> Reading:
    """The machine's clocks."""
    return Reading(_boot(), time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000, time.time_ns() // 1000)
