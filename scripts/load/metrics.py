"""A gateway's own metrics, as far as a load and a bench look at them.

Rules: read from `GET /metrics` in Prometheus' text form; quantiles are interpolated as Prometheus does; samples of one
name are added up over their labels, so that several workers and regions count together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

LAG: Final = "gateway_event_loop_lag_seconds_bucket"
QUEUE: Final = "gateway_writer_queue"


class Reading(NamedTuple):
    """What was read at one moment: how often the loop was late by at most so many seconds, and what waits to be
    written.
    """

    lag: dict[float, int]
    queue: int


def read(text: str) -> Reading:
    """The part that counts of what `/metrics` answered."""
    lag, queue = dict[float, int](), 0.0
    for line in text.splitlines():
        if line.startswith(LAG):
            bound = float(line.partition('le="')[2].partition('"')[0])
            lag[bound] = lag.get(bound, 0) + int(float(line.split()[-1]))
        elif line.startswith(QUEUE):
            queue += float(line.split()[-1])
    return Reading(lag, int(queue))


def since(before: Mapping[float, int], after: Mapping[float, int]) -> dict[float, int]:
    """What has come to a histogram in between."""
    return {bound: count - before.get(bound, 0) for bound, count in after.items()}


def quantile(buckets: Mapping[float, int], part: float) -> float:
    """The quantile of a histogram of cumulated counts, linear within a bucket; of 1 the last bucket's upper bound."""
    wanted, below, before = part * max(buckets.values(), default=0), 0.0, 0
    for bound, count in sorted(buckets.items()):
        if count >= wanted and count > before:
            inside = (wanted - before) / (count - before)
            return bound if part == 1.0 or bound == float("inf") else below + (bound - below) * inside
        below, before = bound, count
    return 0.0
