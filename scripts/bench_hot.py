#!/usr/bin/env python3
"""The hot path without sockets: what telling, acks and their receipts cost in this process, and what writing costs.

Rules: the house, the edge, the hub and a region's file on disk are the product's own; counters stand where sockets do,
so that neither the kernel nor the event loop's work is in the figures: processor time per notice, medians of rounds.
Pin it to one core to measure as the gateway is measured: `taskset -c 0 scripts/bench_hot`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import uvloop
from rich.console import Console
from rich.table import Table

from benching.processes import machine
from gateway.cli.init import CONFIGURATION, initialise
from gateway.config import load
from gateway.core import cloudevents, events
from gateway.core.claims import Claims
from gateway.core.happenings import Event
from gateway.core.types import Role, rfc3339
from gateway.edge.edge import Edge
from gateway.edge.limits import Limits
from gateway.house import House, build
from gateway.process import random_id, settle

SLICE: Final = 200
"""Acks that come in before the loop turns."""
UNHURRIED: Final = Limits(frames_per_second=1e9, sessions=1_000_000, strangers=1_000_000, connections=1_000_000)


class Counter:
    """Where a socket would be: it takes everything, and keeps what was told last."""

    __slots__ = ("confirmed", "notice", "shown")

    def __init__(self) -> None:
        self.notice = b""
        self.confirmed = 0
        self.shown = 0

    def write(self, framed: bytes) -> bool:
        """Take it."""
        kind = framed[:24]
        if b'"notice"' in kind:
            self.notice = framed
        elif b'"receipt"' in kind:
            self.confirmed += 1
        elif b'"state"' in kind:
            self.shown += 1
        return True

    def finish(self, code: int, reason: str, last: bytes) -> None:
        """Nobody is sent away here."""
        raise SystemExit(f"bench_hot: a session was closed with {code}, {reason}")

    def abort(self) -> None:
        """Nor cut off."""

    def hold(self) -> None:
        """Nor made to wait."""

    def resume(self) -> None:
        """Nor let go on."""


class World:
    """A house, and everybody in their calls."""

    def __init__(self, directory: Path, sessions: int, calls: int) -> None:
        initialise(directory)
        settings = load(directory / CONFIGURATION, {})
        self.house: House = build(settings)
        self._resource, found = next(iter(settings.resources.items()))
        self._organization, self._calls = found.organization, calls
        self._until = self.house.now() + timedelta(hours=1)
        self.counters = [Counter() for _ in range(sessions)]
        self.edge = Edge(
            self.house.hub,
            self.house.residency,
            lambda token, _: self._claims(int(token)),
            now=self.house.now,
            new_id=random_id,
            metrics=self.house.metrics,
            limits=UNHURRIED,
        )

    def _claims(self, number: int) -> Claims:
        calls = frozenset({self._call(number)})
        return Claims(f"8:acs:{self._resource}_{number}", calls, Role.PARTICIPANT, None, self._until)

    def _call(self, number: int) -> str:
        # Neighbours are in one call, as the people of a meeting answer at about the same time.
        return f"call-{number * self._calls // len(self.counters)}"

    async def enter(self) -> None:
        """All of them say hello and join."""
        await self.house.recover()
        self.sessions = []
        for number, counter in enumerate(self.counters):
            self.edge.admit(counter)
            session = self.edge.opened(counter, None)
            self.edge.received(session, json.dumps({"type": "hello", "token": str(number)}).encode())
            join = {"type": "join", "id": "1", "call": self._call(number)}
            self.edge.received(session, json.dumps(join).encode())
            self.sessions.append(session)
            if number % SLICE == 0:
                await asyncio.sleep(0)
        await until(lambda: all(each.shown for each in self.counters))

    def happen(self, number: int) -> list[Event]:
        """The operator's word on every call, as a webhook brings it."""
        at, state = rfc3339(self.house.now()), "paused" if number % 2 else "active"
        about = {"organization": self._organization, "capability": "recording", "state": state, "at": at}
        told = [
            {
                "specversion": "1.0",
                "id": f"{number}-{call}",
                "source": "bench",
                "type": "notices.capability.observed",
                "time": at,
                "data": {"call": f"call-{call}", **about},
            }
            for call in range(self._calls)
        ]
        read = cloudevents.read_http(json.dumps(told).encode(), {"content-type": "application/cloudevents-batch+json"})
        found = events.understand(read, topics={}, received_at=self.house.now(), door="http")
        return [each for each in found if isinstance(each, Event)]

    def acks(self) -> Iterator[tuple[Any, bytes]]:
        """What each client answers to what it was told."""
        for session, counter in zip(self.sessions, self.counters, strict=True):
            told = json.loads(counter.notice[counter.notice.index(b'{"') :])
            ack = {"type": "ack", "notice": told["notice"], "level": "acknowledged", "digest": told["digest"]}
            yield session, json.dumps({**ack, "at": told["issued_at"]}, separators=(",", ":")).encode()


async def until(done: Callable[[], bool]) -> None:
    """Let the loop turn until it is so."""
    while not done():  # noqa: ASYNC110  # nobody says when
        await asyncio.sleep(0.001)


async def one_round(world: World, number: int) -> tuple[float, float, float]:
    """Seconds of the loop's thread for telling everybody and for all acks with their receipts, and of other threads."""
    confirmed = [each.confirmed for each in world.counters]
    for each in world.counters:
        each.notice = b""
    began, whole = time.thread_time(), time.process_time()
    taking = asyncio.create_task(world.house.intake.take(world.happen(number), []), name="events")
    await until(lambda: all(each.notice for each in world.counters))
    told = time.thread_time()
    acks = list(world.acks())
    answering = time.thread_time()
    for place, (session, ack) in enumerate(acks, 1):
        world.edge.received(session, ack)
        if place % SLICE == 0:
            await asyncio.sleep(0)
    await until(lambda: all(each.confirmed > old for each, old in zip(world.counters, confirmed, strict=True)))
    await taking
    ended = time.thread_time()
    others = time.process_time() - whole - (ended - began)
    return told - began, ended - answering, others


async def measure(directory: Path, sessions: int, calls: int, rounds: int) -> list[float]:
    """The medians, in seconds per notice."""
    world = World(directory, sessions, calls)
    await world.enter()
    settle()
    taken = [await one_round(world, number) for number in range(rounds + 1)]
    await world.house.ledgers.close()
    return [statistics.median(column) / sessions for column in zip(*taken[1:], strict=True)]


def show(rows: Sequence[tuple[str, Sequence[float]]]) -> None:
    """The figures, for a person."""
    table = Table(title="µs of processor time per notice, without sockets", caption=machine(free=True))
    for title in ("", "event and telling", "acks and receipts", "writing"):
        table.add_column(title, justify="right")
    for title, row in rows:
        table.add_row(title, *(f"{value * 1e6:.1f}" for value in row))
    Console().print(table)


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(prog="scripts/bench_hot", description=str(__doc__).partition("\n")[0])
    parser.add_argument("--sessions", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    rows = []
    for calls in (1, max(1, options.sessions // 10)):
        running = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        with tempfile.TemporaryDirectory(prefix="bench-") as directory, running as runner:
            row = runner.run(measure(Path(directory), options.sessions, calls, options.rounds))
        rows.append((f"{options.sessions:,} in " + ("one call" if calls == 1 else f"{calls:,} calls"), row))
    show(rows)


if __name__ == "__main__":
    main()
