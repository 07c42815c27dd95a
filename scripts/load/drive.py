"""A load's phases: everyone comes, notices flow, everyone is cut off and comes back.

Rules: events are sent when they are due, whether or not the ones before were answered; a phase ends when everyone has
caught up, or when nothing has changed for a minute; what is measured belongs to its phase.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Final

from .crew import Crew, Sum
from .metrics import since
from .orders import Churn, Connect, Event, Order, Read, Settle, Storm
from .plan import Plan
from .server import Server
from .targets import PATIENCE
from .telling import Telling
from .watching import Watching

_APART: Final = 0.005
"""Seconds from one request with events to the next, at least; what is due meanwhile goes in one."""


@dataclass
class Phase:
    """One phase and what was measured in it; times in seconds, memory in bytes."""

    name: str
    seconds: float = 0.0
    told: int = 0
    server_cpu: float = 0.0
    busiest: float = 0.0
    """Greatest share of a core that a process of the load used over the whole order, where there was one."""
    resident_before: int = 0
    resident_after: int = 0
    lag: dict[float, int] = field(default_factory=dict)
    sum: Sum = field(default_factory=Sum)


class Drive:
    """Carries out a plan, phase after phase; `run` raises LoadFailed where it cannot go on."""

    def __init__(self, plan: Plan, crew: Crew, telling: Telling, server: Server, watching: Watching) -> None:
        self.phases: list[Phase] = []
        self._plan, self._crew, self._telling = plan, crew, telling
        self._server, self._watching = server, watching

    async def run(self) -> None:
        """All phases."""
        plan = self._plan
        await self._measure("ramp", self._do(Connect(plan.ramp)))
        if plan.notices:
            await self._measure("steady", self._steady())
        for number in range(plan.storms):
            await self._measure("storm" if plan.storms == 1 else f"storm {number + 1}", self._do(Storm()))

    async def _measure(self, name: str, work: Coroutine[None, None, None]) -> None:
        phase = Phase(name, resident_before=self._server.resident())
        self.phases.append(phase)
        self._watching.phase = name
        reading, told = await self._watching.reading(), self._telling.told
        server_cpu, began_at = self._server.cpu(), time.perf_counter()
        await work
        phase.seconds = time.perf_counter() - began_at
        phase.server_cpu = self._server.cpu() - server_cpu
        await self._crew.do(Settle(PATIENCE))
        phase.resident_after = self._server.resident()
        phase.told = self._telling.told - told
        phase.lag = since(reading.lag, (await self._watching.reading()).lag)
        phase.sum = await self._crew.take()

    async def _do(self, order: Order) -> None:
        self.phases[-1].busiest = max(each.cpu / each.seconds for each in await self._crew.do(order))

    async def _steady(self) -> None:
        plan = self._plan
        if plan.drops:
            await self._crew.do(Churn(plan.drops, plan.back))
        if plan.slow:
            await self._crew.do(Read(on=False))
        began_at, requests = time.perf_counter(), list[asyncio.Task[None]]()
        for due, places in self._schedule():
            await asyncio.sleep(max(0.0, began_at + due - time.perf_counter()))
            requests.append(self._tell(places))
        # The last notice has its time, too, before those who are away or do not read must be there.
        await asyncio.sleep(max(0.0, began_at + plan.notices * plan.every - time.perf_counter()))
        await asyncio.gather(*requests)
        if plan.drops:
            await self._crew.do(Churn(0.0, 0.0))
        if plan.slow:
            await self._crew.do(Read(on=True))
        await self._crew.do(Settle(PATIENCE))

    def _tell(self, places: list[int]) -> asyncio.Task[None]:
        at = self._telling.moment()
        self._crew.say(Event(at, time.perf_counter(), places))
        calls = [self._telling.calls[place] for place in places]
        return asyncio.create_task(self._telling.tell(calls, at), name=f"events of {at}")

    def _schedule(self) -> Iterator[tuple[float, list[int]]]:
        """When, in seconds from the start, something happens in which calls."""
        plan = self._plan
        if plan.together:
            for number in range(plan.notices):
                yield number * plan.every, list(range(plan.calls))
            return
        waiting, last = list[int](), 0.0
        for number in range(plan.notices * plan.calls):
            due = plan.every * number / plan.calls
            if waiting and due - last >= _APART:
                yield last, waiting
                waiting = []
            if not waiting:
                last = due
            waiting.append(number % plan.calls)
        if waiting:
            yield last, waiting
