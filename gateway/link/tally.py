"""The tally: what an edge counts in a process of its own, until the region service adds it to the metrics.

Rules: nothing is counted twice and nothing is left out while the link holds. Owned by the loop.
"""

from __future__ import annotations

from collections import Counter

from gateway.link.messages import Counted


class Tally:
    """What was counted since `take` was called last; the names are those of `gateway.metrics.Metrics`."""

    def __init__(self) -> None:
        self._frames = 0
        self._closes: Counter[int] = Counter()
        self._lags: list[float] = []

    def closed(self, code: int) -> None:
        """A connection ended with `code`."""
        self._closes[code] += 1

    def frames_sent(self, count: int) -> None:
        """`count` frames were written to sockets."""
        self._frames += count

    def event_loop_lag(self, seconds: float) -> None:
        """The loop ran what was due so much too late."""
        self._lags.append(seconds)

    def take(self) -> Counted:
        """Everything counted, to be counted by others from now on."""
        counted = Counted(self._frames, dict(self._closes), self._lags)
        self._frames, self._closes, self._lags = 0, Counter(), []
        return counted
