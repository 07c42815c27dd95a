"""Time for ten thousand sessions with one timer: everything due is found by a tick, nothing has a timer of its own.

Rules: time in the wheel is counted in ticks, so a process that was stopped gives everyone the time it stole from
them; only what a token says about the end of its validity is wall clock. Owned by the loop.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from heapq import heappop, heappush
from math import ceil
from typing import Final, Generic, TypeVar

TICK_SECONDS: Final = 0.5

T = TypeVar("T")


def ticks(seconds: float) -> int:
    """The ticks after which at least `seconds` have passed, wherever between two ticks it began."""
    return ceil(seconds / TICK_SECONDS) + 1


class Deadlines(Generic[T]):
    """Things that all have the same time, in the order in which it ends."""

    def __init__(self, seconds: float) -> None:
        self._ticks = ticks(seconds)
        self._now = 0
        self._due: dict[T, int] = {}

    def __len__(self) -> int:
        return len(self._due)

    def __contains__(self, item: T) -> bool:
        return item in self._due

    def __iter__(self) -> Iterator[T]:
        return iter(self._due)

    def add(self, item: T) -> None:
        """Give `item` the full time from now on."""
        self._due.pop(item, None)
        self._due[item] = self._now + self._ticks

    def discard(self, item: T) -> None:
        """Forget `item`, if it is here."""
        self._due.pop(item, None)

    def pop_oldest(self) -> T:
        """Take out what has waited longest. Raises `KeyError` when there is nothing."""
        oldest = next(iter(self._due), None)
        if oldest is None:
            raise KeyError
        del self._due[oldest]
        return oldest

    def tick(self) -> list[T]:
        """A tick has passed: take out what is due."""
        self._now += 1
        due = []
        for item, tick in self._due.items():
            if tick > self._now:
                break
            due.append(item)
        for item in due:
            del self._due[item]
        return due


class Expiries(Generic[T]):
    """Things with an end by the wall clock, found by whole seconds."""

    def __init__(self) -> None:
        # None where nothing ends any more. Each stands once in the heap: at most as many as the longest token lasts.
        self._seconds: dict[int, set[T] | None] = {}
        self._coming: list[int] = []

    def add(self, item: T, end: datetime) -> None:
        """`item` ends at `end`, whose fractions of a second count as a whole one."""
        second = ceil(end.timestamp())
        if second not in self._seconds:
            heappush(self._coming, second)
        ending = self._seconds.get(second)
        if ending is None:
            ending = self._seconds[second] = set()
        ending.add(item)

    def discard(self, item: T, end: datetime) -> None:
        """`item`, which was added with `end`, is gone."""
        second = ceil(end.timestamp())
        ending = self._seconds.get(second)
        if ending is not None:
            ending.discard(item)
            if not ending:
                self._seconds[second] = None

    def tick(self, now: datetime) -> list[T]:
        """Take out what has ended by `now`."""
        passed, over = now.timestamp(), list[T]()
        while self._coming and self._coming[0] <= passed:
            over += self._seconds.pop(heappop(self._coming)) or ()
        return over


class Ring(Generic[T]):
    """Things that want a round every so often, spread evenly over it."""

    def __init__(self, seconds: float) -> None:
        self._slots: list[dict[T, None]] = [{} for _ in range(ceil(seconds / TICK_SECONDS))]
        self._slot_of: dict[T, dict[T, None]] = {}
        self._now = 0
        self._next = 0

    def __len__(self) -> int:
        return len(self._slot_of)

    def __contains__(self, item: T) -> bool:
        return item in self._slot_of

    def __iter__(self) -> Iterator[T]:
        return iter(self._slot_of)

    def add(self, item: T) -> None:
        """Put `item` into the next slot in turn."""
        slot = self._slots[self._next % len(self._slots)]
        self._next += 1
        slot[item] = None
        self._slot_of[item] = slot

    def discard(self, item: T) -> None:
        """Forget `item`, if it is here."""
        slot = self._slot_of.pop(item, None)
        if slot is not None:
            del slot[item]

    def tick(self) -> list[T]:
        """A tick has passed: whose turn it is."""
        self._now += 1
        return list(self._slots[self._now % len(self._slots)])

    def ago(self, seconds: float) -> list[T]:
        """Whose turn it will have been `seconds` ago, or a whole round where that is less, with the next tick."""
        turn = self._now + 1 - ceil(seconds / TICK_SECONDS)
        return list(self._slots[turn % len(self._slots)])
