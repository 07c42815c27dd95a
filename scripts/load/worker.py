"""A process of the load that holds sessions and does what it is ordered, line by line.

Rules: the loop belongs to the sessions; orders come on standard input and reports go to standard output; the process
ends when its input does, so that none is left behind.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections import Counter, deque
from pathlib import Path
from typing import Final

import uvloop

from gateway.lateness import watch

from .clients import Clients
from .connecting import Connecting, Place
from .frames import upgrade
from .limits import raise_limits
from .orders import (
    ORDERS,
    Churn,
    Connect,
    Done,
    Event,
    Leave,
    Order,
    Prepare,
    Pulse,
    Read,
    Report,
    Round,
    Settle,
    Storm,
    Take,
    Taken,
)
from .orders import line as lined
from .sessions import Session
from .tally import Call, Manner, Tally

_LONGEST_LINE: Final = 256 * 1024 * 1024
_LOOK: Final = 0.1
"""Seconds between two looks at who is behind."""
_GENERATIONS: Final = (100_000, 50, 100)
"""When the collector looks: hardly ever, for nothing here makes cycles by the thousand."""


def waited() -> float:
    """Seconds so far in which this process could have run and had no core (proc(5), `schedstat`)."""
    return int(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9


class Worker:
    """The sessions of one process, and what is done with them."""

    def __init__(self, wish: Prepare, tasks: asyncio.TaskGroup) -> None:
        self._tally = Tally(Manner(wish.levels, wish.think, wish.jitter, wish.receipts))
        self._calls = [Call(name) for name in wish.calls]
        request = upgrade(wish.url)
        everyone = list(zip(wish.tokens, wish.places, strict=True))
        self._sessions = [
            Session(request, token, self._calls[place], self._tally, slow=number < wish.slow)
            for number, (token, place) in enumerate(everyone[wish.clients :])
        ]
        self._clients = Clients(
            wish.url, [(token, self._calls[place]) for token, place in everyone[: wish.clients]], self._tally, tasks
        )
        self._connecting = Connecting(Place.of(wish.url, wish.number), wish.at_once, self._tally, tasks)
        for each in self._sessions:
            each.lost = self._connecting.lost
        self._tasks = tasks
        self._whole: Event | None = None
        self._cpu_before = 0.0
        self._tally.done = self._complete
        self._reported = Counter[str](), Counter[str]()

    async def obey(self, orders: asyncio.Queue[Order]) -> None:
        """Carry out one order after the other, for ever."""
        while True:
            await self._do(await orders.get())

    async def _do(self, order: Order) -> None:
        if isinstance(order, Event):
            self._expect(order)
        elif isinstance(order, Take):
            say(self._taken())
        else:
            began_at, cpu = time.perf_counter(), time.process_time()
            await self._carry_out(order)
            say(Done(type(order).__name__, time.perf_counter() - began_at, time.process_time() - cpu))

    def late(self, seconds: float) -> None:
        """The loop ran something so many seconds after it was due."""
        self._tally.lags.append(seconds)

    async def leave(self) -> None:
        """Everyone goes."""
        self._connecting.stop()
        await self._clients.leave()
        for each in self._sessions:
            each.leave()

    async def pulse(self) -> None:
        """Report once a second, for ever."""
        before, cpu, without = time.perf_counter(), time.process_time(), waited()
        while True:
            await asyncio.sleep(1.0)
            late = max(self._tally.lags, default=0.0)
            if self._whole is None:
                self._tally.drain()
            now, cpu_now, without_now = time.perf_counter(), time.process_time(), waited()
            spent = now - before
            say(
                Pulse(
                    dict(self._tally.counts),
                    sum(each.connected for each in self._sessions) + self._clients.connected,
                    sum(each.behind for each in self._sessions) + self._clients.behind,
                    (cpu_now - cpu) / spent,
                    (without_now - without) / spent,
                    late,
                )
            )
            before, cpu, without = now, cpu_now, without_now

    def _expect(self, event: Event) -> None:
        self._tally.event(event.at, event.began_at)
        for call in [self._calls[place] for place in event.calls] or self._calls:
            call.events += 1
        if event.whole:
            self._whole, self._cpu_before = event, time.process_time()
            self._tally.awaited = sum(each.reading for each in self._sessions) + len(self._clients)

    async def _carry_out(self, order: Order) -> None:
        match order:
            case Connect():
                await self._clients.enter()
                await self._connecting.open(deque(self._sessions), order.rate)
                gc.collect()
                gc.freeze()
            case Churn():
                self._connecting.churn(self._sessions, order.rate, order.back)
            case Read():
                for each in self._sessions:
                    if each.slow:
                        each.read(on=order.on)
            case Storm():
                here = [each for each in self._sessions if each.entered]
                for each in here:
                    each.drop()
                await self._connecting.open(deque(here), 0.0)
            case Settle():
                await self._settle(order.patience)

    async def _settle(self, patience: float) -> None:
        left, moved_at = (0, 0), time.perf_counter()
        while time.perf_counter() - moved_at < patience:
            behind = sum(each.behind for each in self._sessions) + self._clients.behind
            away = self._away()
            if not behind and not away:
                return
            if (behind, away) != left:
                left, moved_at = (behind, away), time.perf_counter()
            await asyncio.sleep(_LOOK)

    def _away(self) -> int:
        here = sum(each.entered for each in self._sessions) + self._clients.connected
        return len(self._sessions) + len(self._clients) - here

    def _complete(self) -> None:
        order = self._whole
        assert order is not None
        self._whole = None
        now, cpu = time.perf_counter(), time.process_time()
        times = self._tally.drain()
        values = {kind: times[kind] for kind in ("frame", "receipt", "confirm")} if order.values else {}
        say(Round(now - order.began_at, cpu - self._cpu_before, self._tally.take(), values))

    def _taken(self) -> Taken:
        histograms = self._tally.take()
        counts, faults = self._tally.counts - self._reported[0], self._tally.faults - self._reported[1]
        self._reported = self._tally.counts.copy(), self._tally.faults.copy()
        return Taken(
            dict(counts),
            dict(faults),
            self._away(),
            sum(each.unheard for each in self._sessions),
            sum(each.behind for each in self._sessions) + self._clients.behind,
            histograms,
        )


def say(report: Report) -> None:
    """Report, at once."""
    sys.stdout.buffer.write(lined(report))
    sys.stdout.buffer.flush()


async def listen() -> asyncio.StreamReader:
    """Standard input, line by line."""
    reader = asyncio.StreamReader(limit=_LONGEST_LINE)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


async def run() -> None:
    """Obey until there is nothing more to read."""
    reader = await listen()
    first = ORDERS.decode(await reader.readline())
    assert isinstance(first, Prepare)
    orders: asyncio.Queue[Order] = asyncio.Queue()
    async with asyncio.TaskGroup() as tasks:
        worker = Worker(first, tasks)
        lasting = [
            tasks.create_task(worker.obey(orders), name="orders"),
            tasks.create_task(worker.pulse(), name="pulse"),
            tasks.create_task(watch(worker.late), name="lateness"),
        ]
        say(Done("Prepare", 0.0, 0.0))
        # Read on whatever is being done, for the end must be noticed in the midst of it.
        while (said := await reader.readline()) and not isinstance(order := ORDERS.decode(said), Leave):
            orders.put_nowait(order)
        for each in lasting:
            each.cancel()
        await worker.leave()


def main() -> None:
    """One process's work."""
    raise_limits()
    gc.set_threshold(*_GENERATIONS)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


if __name__ == "__main__":
    main()
