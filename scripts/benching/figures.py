"""What must be reached: the figures of the bench, their bounds, and whether what was measured is within them.

Rules: a figure is bound by what must be and by what is aimed at, in the unit it is shown in; where it is a ratio, both
of its sides are shown too; a figure without bounds is shown for what it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

import msgspec

Verdict = Literal["aim", "must", "missed", ""]


class Bound(NamedTuple):
    """What is asked of one figure; `least` where more is better."""

    key: str
    workload: str
    title: str
    unit: str
    must: float | None
    aim: float | None
    least: bool = False

    def judge(self, value: float) -> Verdict:
        """Whether `value` is what was aimed at, what must be, or neither."""
        if self.must is None or self.aim is None:
            return ""
        if self.least:
            return "aim" if value >= self.aim else "must" if value >= self.must else "missed"
        return "aim" if value <= self.aim else "must" if value <= self.must else "missed"


BOUNDS: Final[Sequence[Bound]] = (
    Bound(
        "node",
        "call",
        "CPU per proved notice, 10,000 in one call, against node's `ws` that keeps nothing",
        "×",
        1.6,
        1.2,
    ),
    Bound("mosquitto", "call", "the same against mosquitto, QoS 1", "×", 0.95, 0.7),
    Bound("websockets", "call", "the same against websockets' own server", "×", None, None),
    Bound("bare", "call", "the same against the event loop and the kernel alone, receipts included", "×", None, None),
    Bound("rate", "rate", "proved notices a second on one core", "1/s", 25_000, 40_000, least=True),
    Bound("last_frame", "call", "event to the last of 10,000 clients' frames", "ms", 250, 150),
    Bound("last_receipt", "call", "event to the last of 10,000 durable receipts", "ms", 450, 280),
    Bound("meeting", "meeting", "a meeting of 10 on an idle gateway: event to all receipts", "ms", 5, 2),
    Bound(
        "meetings", "meetings", "1,000 meetings of 10 at once: CPU per proved notice against one call", "×", 1.4, 1.15
    ),
    Bound("memory", "idle", "memory per idle joined session", "KiB", 6, 3.5),
    Bound("storm", "storm", "19,500 sessions dropped at once: all back with their states", "s", 8, 4),
    Bound("lag", "lag", "loop's lag while 10,000 are told, p99.9", "ms", 50, 25),
    Bound("idle", "idle", "CPU of 10,000 idle sessions with heartbeats", "% of a core", 2, 1),
    Bound("growth", "growth", "growth: CPU per proved notice, 19,500 sessions against 1,000", "×", 1.4, 1.15),
    Bound("stalled", "stalled", "500 stalled readers among 10,000: p99 of the others, against none", "×", 1.5, 1.2),
    Bound("coverage", "coverage", "coverage by API, 10,000 participants and 10 notices", "ms", 250, 100),
    Bound("coverage_stall", "coverage", "longest the loop was blocked meanwhile", "ms", 20, 20),
    Bound("workers", "workers", "36,000 sessions on two workers: CPU per proved notice", "µs", None, None),
)
"""In the order in which they are shown."""


class Figure(msgspec.Struct, frozen=True):
    """One measured figure; `detail` says what it was made of."""

    key: str
    value: float
    detail: str = ""


class Result(msgspec.Struct):
    """What one workload gave, and the circumstances."""

    workload: str
    at: str
    command: str
    machine: str
    load_average: float
    versions: dict[str, str]
    seconds: float
    figures: list[Figure]
    raw: dict[str, list[float]] = {}
    """The rounds behind the figures: by side and what was measured, seconds or seconds per notice."""


def shown(value: float, unit: str) -> str:
    """A value as people read it."""
    digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f} {unit}"
