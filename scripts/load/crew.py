"""The processes with the sessions, as the one that drives them sees them.

Rules: an order goes to all of them and is done when the last has said so; whatever they say of themselves once a
second is kept; one that ends by itself ends the load.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self, TypeVar

from .histogram import Histogram
from .orders import REPORTS, Done, Leave, Order, Prepare, Pulse, Report, Round, Take, Taken, line
from .tally import KINDS
from .targets import LoadFailed

_LONGEST_LINE: Final = 256 * 1024 * 1024
_SCRIPTS: Final = Path(__file__).resolve().parents[1]
_ENDING: Final = 30.0
"""Seconds a process may take to end."""

R = TypeVar("R", Done, Round, Taken)


@dataclass
class Sum:
    """What all processes reported, added up."""

    counts: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    away: int = 0
    unheard: int = 0
    behind: int = 0
    histograms: dict[str, Histogram] = field(default_factory=lambda: {kind: Histogram() for kind in KINDS})

    def add(self, histograms: dict[str, str]) -> None:
        """Take in one process's histograms."""
        for kind, text in histograms.items():
            self.histograms[kind].add(Histogram.decode(text))


class Member:
    """One process with sessions."""

    def __init__(self, process: asyncio.subprocess.Process, number: int, pulse: Callable[[int, Pulse], None]) -> None:
        self._process, self._number, self._pulse = process, number, pulse
        self._reports: asyncio.Queue[Report | None] = asyncio.Queue()
        self._listening = asyncio.create_task(self._listen(), name=f"member {number}")

    def order(self, order: Order) -> None:
        """Have something done."""
        assert self._process.stdin is not None
        self._process.stdin.write(line(order))

    async def hear(self, kind: type[R]) -> R:
        """Its next report, which must be of this kind. Raises LoadFailed if the process has ended."""
        report = await self._reports.get()
        if report is None:
            raise LoadFailed(f"a process of the load ended with {await self._process.wait()}")
        assert isinstance(report, kind), report
        return report

    async def end(self) -> None:
        """Let it leave, and wait until it is gone."""
        assert self._process.stdin is not None
        try:
            if self._process.returncode is None:
                self._process.stdin.close()
            async with asyncio.timeout(_ENDING):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._listening

    async def _listen(self) -> None:
        assert self._process.stdout is not None
        async for said in self._process.stdout:
            report = REPORTS.decode(said)
            if isinstance(report, Pulse):
                self._pulse(self._number, report)
            else:
                self._reports.put_nowait(report)
        self._reports.put_nowait(None)


class Crew:
    """All processes with sessions."""

    def __init__(self) -> None:
        self._members: list[Member] = []
        self.pulses: list[Pulse] = []
        """What each said of itself last."""

    @classmethod
    async def start(cls, wishes: Sequence[Prepare]) -> Self:
        """A process for each of `wishes`, with its sessions made."""
        crew = cls()
        environment = {**os.environ, "PYTHONPATH": str(_SCRIPTS), "PYTHONSAFEPATH": "1"}
        crew.pulses = [Pulse({}, 0, 0, 0.0, 0.0, 0.0) for _ in wishes]
        try:
            for number, wish in enumerate(wishes):
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "load.worker"),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    env=environment,
                    limit=_LONGEST_LINE,
                    start_new_session=True,
                )
                crew._members.append(Member(process, number, crew._keep))
                crew._members[-1].order(wish)
            await crew._all(Done)
        except BaseException:
            await crew.end()
            raise
        return crew

    def __len__(self) -> int:
        """How many processes there are."""
        return len(self._members)

    async def do(self, order: Order) -> list[Done]:
        """Have something done by all, to the end."""
        self.say(order)
        return await self._all(Done)

    def say(self, order: Order) -> None:
        """Have something done by all, without waiting for it."""
        for each in self._members:
            each.order(order)

    async def rounds(self) -> list[Round]:
        """When every session of every process has done its part of the event."""
        return await self._all(Round)

    async def take(self) -> Sum:
        """Everything since the last time."""
        self.say(Take())
        found = Sum()
        for each in await self._all(Taken):
            found.counts.update(each.counts)
            found.faults.update(each.faults)
            found.away += each.away
            found.unheard += each.unheard
            found.behind += each.behind
            found.add(each.histograms)
        return found

    async def end(self) -> None:
        """Everyone leaves; no process is left."""
        self.say(Leave())
        await asyncio.gather(*(each.end() for each in self._members))

    async def _all(self, kind: type[R]) -> list[R]:
        return [await each.hear(kind) for each in self._members]

    def _keep(self, number: int, pulse: Pulse) -> None:
        self.pulses[number] = pulse
