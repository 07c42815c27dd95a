"""Commits under way: what one step writes, and the entries of one turn of the loop that are written together.

Rules: a commit is durable when every region it touches has its part on disk; whoever waits for one hears of it once,
on the loop, which owns everything here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from gateway.core import facts
from gateway.core.types import CallKey

SLICE: Final = 200
"""Commits of one turn that are told they are durable before the loop may turn to something else."""


Leaves = Sequence[tuple[bytes, CallKey]]
"""Entries, each about its call."""


class Commit:
    """What one step writes, in one region or several. `then` runs on the loop once all of it is durable."""

    __slots__ = ("_left", "_then", "confirmed", "regions", "results")

    def __init__(self, regions: Sequence[str], then: Callable[[Commit], None]) -> None:
        self._left = len(regions)
        self._then = then
        self.regions: Final = regions
        self.confirmed: list[tuple[facts.AnyFact, int]] = []
        self.results: list[Any] = []

    @property
    def durable(self) -> bool:
        """Whether every region has it on disk."""
        return self._left == 0

    def part_done(self, results: Sequence[Any], counting: Sequence[facts.AnyFact | None]) -> None:
        """One region has its part on disk."""
        self.results.extend(results)
        self.confirmed.extend((fact, entry) for fact, entry in zip(counting, results, strict=True) if fact is not None)
        self._left -= 1
        if self._left == 0:
            self._then(self)


@dataclass(frozen=True, slots=True)
class Part:
    """One region's part of a commit, and the facts whose entries count there."""

    commit: Commit
    counting: tuple[facts.AnyFact | None, ...]

    def done(self, results: Sequence[Any]) -> None:
        """All of it is durable."""
        self.commit.part_done(results, self.counting)


class Gathering:
    """Entries of one turn of the loop, written to one region together, behind everything submitted before."""

    __slots__ = ("_fill", "_leaves", "_then", "region")

    def __init__(self, region: str, fill: Callable[[], Leaves], then: Callable[[int], None]) -> None:
        """`fill` gives the entries when it closes; `then` gets the first one's number once all are durable, the others
        follow it.
        """
        self.region: Final = region
        self._fill: Callable[[], Leaves] | None = fill
        self._then: Callable[[int], None] | None = then
        self._leaves: Leaves = ()

    @property
    def closed(self) -> bool:
        """Whether it takes no more."""
        return self._fill is None

    def close(self) -> Leaves:
        """The entries; from now on it takes no more."""
        if self._fill is not None:
            self._leaves, self._fill = self._fill(), None
        return self._leaves

    def done(self, results: Sequence[Any]) -> None:
        """All of it is durable."""
        then = self._then
        # It leads to whoever gathered, and from there to here: thousands of facts would wait for the collector.
        self._then = None
        assert then is not None
        then(*results)


class Row:
    """Steps of one turn that are one entry each: sessions come and go by the thousand, and are one submission."""

    def __init__(self, region: str, later: Callable[..., object]) -> None:
        """`later` runs something in a later turn of the loop."""
        self._leaves: Final[list[tuple[bytes, CallKey]]] = []
        self.gathering: Final = Gathering(region, lambda: self._leaves, self._confirm)
        self._later: Final = later
        self._commits: Final[list[tuple[Commit, facts.AnyFact]]] = []

    def add(self, leaf: bytes, fact: facts.AnyFact, then: Callable[[Commit], None]) -> Commit:
        """The commit of `fact`, whose entry is `leaf`; `then` runs once it is durable."""
        commit = Commit((self.gathering.region,), then)
        self._leaves.append((leaf, fact.call))
        self._commits.append((commit, fact))
        return commit

    def _confirm(self, first: int) -> None:
        self._tell(enumerate(self._commits, first))

    def _tell(self, told: Iterator[tuple[int, tuple[Commit, facts.AnyFact]]]) -> None:
        """Tell a slice of them, and the others in later turns; the fault of one does not cost the others theirs."""
        faults: list[Exception] = []
        more = False
        for entry, (commit, fact) in islice(told, SLICE):
            more = True
            try:
                commit.part_done((entry,), (fact,))
            except Exception as fault:  # whatever it is, it is raised below, once the others have heard
                faults.append(fault)
        if more:
            self._later(self._tell, told)
        if faults:
            raise ExceptionGroup("after a commit", faults)
