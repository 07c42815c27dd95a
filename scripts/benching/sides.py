"""A server under its load, and what each of its rounds cost.

Rules: a round's cost is the server's processor time from the event until everything is acknowledged and a while after,
so that what a server puts off is counted too; what it spends anyway, measured between the rounds, is taken off. Rounds
of all sides take turns, so that what else the machine does hits all alike.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benching import yardsticks
from benching.processes import LOAD, SETTINGS, Process, start_gateway

SETTLING: Final = 1.0
"""Seconds after the last acknowledgement that still belong to a round: checkpoints and collections are put off less."""
WARM_UP: Final = 2
"""Rounds that do not count."""


@dataclass(frozen=True)
class Turn:
    """One round: what its load saw, and what the server spent until it was quiet, in seconds."""

    seen: dict[str, Any]
    spent: float
    seconds: float


@dataclass
class Side:
    """One server, its load, and its rounds so far."""

    title: str
    server: Process
    load: Process
    sessions: int
    notices: int = 1
    """How many each session is told in a round."""
    settling: float = SETTLING
    turns: list[Turn] = field(default_factory=list)
    memory: float = 0.0
    _since: tuple[float, float] = (0.0, 0.0)
    _busy: tuple[float, float] = (0.0, 0.0)

    def connect(self) -> None:
        """All sessions in; how many bytes of memory each took."""
        self.load.hear()
        before = self.server.resident()
        self.load.go()
        self.load.hear()
        time.sleep(self.settling)
        self.memory = (self.server.resident() - before) / self.sessions
        self._since = self.server.cpu(), time.perf_counter()

    def turn(self, *, count: bool) -> None:
        """One round."""
        began, before = time.perf_counter(), self.server.cpu()
        self.load.go()
        seen = self.load.hear()
        time.sleep(self.settling)
        turn = Turn(seen, self.server.cpu() - before, time.perf_counter() - began)
        self._busy = self._busy[0] + turn.spent, self._busy[1] + turn.seconds
        if count:
            self.turns.append(turn)

    def idle(self) -> float:
        """Which part of a core the server takes between rounds."""
        spent = self.server.cpu() - self._since[0] - self._busy[0]
        return spent / (time.perf_counter() - self._since[1] - self._busy[1])

    def costs(self) -> list[float]:
        """Seconds of processor time per notice, of each round, beyond what the server takes anyway."""
        idle = self.idle()
        return [(each.spent - idle * each.seconds) / self.sessions / self.notices for each in self.turns]

    def cost(self) -> float:
        """The median of that."""
        return statistics.median(self.costs())

    def median(self, name: str) -> float:
        """The median of what the load says under `name`."""
        return float(statistics.median(each.seen[name] for each in self.turns))


class Stand:
    """Where sides are put up: the cores, a directory, and what ends them all."""

    def __init__(self, cores: tuple[int | None, int | None], directory: Path, stack: ExitStack) -> None:
        self._server_core, self._load_core = cores
        self._directory, self._stack = directory, stack
        self._count = 0

    def gateway(self, title: str, sessions: int, *, calls: int = 1, notices: int = 1) -> Side:
        """A fresh gateway and its load."""
        place = self._place()
        server = self._kept(start_gateway(place, self._server_core))
        server.hear()
        return self._loaded(
            title, server, sessions, ["--config", place / "gateway.toml", "--calls", str(calls)], notices
        )

    def websockets(self, sessions: int) -> Side:
        """websockets' own server and the gateway's load."""
        process, url = yardsticks.websockets(self._server_core, self._place())
        return self._loaded("websockets", self._kept(process), sessions, ["--yardstick", url])

    def node(self, sessions: int) -> Side:
        """node's `ws` and its load."""
        process, url = yardsticks.node(self._server_core)
        return self._peered("node ws", self._kept(process), sessions, "text", url)

    def mosquitto(self, sessions: int) -> Side:
        """mosquitto and its load."""
        process, url = yardsticks.mosquitto(self._server_core, self._place())
        return self._peered("mosquitto", self._kept(process), sessions, "mqtt", url)

    def _place(self) -> Path:
        self._count += 1
        place = self._directory / str(self._count)
        place.mkdir()
        return place

    def _kept(self, process: Process) -> Process:
        self._stack.callback(process.stop)
        return process

    def _loaded(
        self, title: str, server: Process, sessions: int, arguments: Sequence[str | Path], notices: int = 1
    ) -> Side:
        command = [*LOAD, "--sessions", str(sessions), *arguments]
        load = self._kept(Process(f"the load on {title}", command, core=self._load_core, **SETTINGS))
        return Side(title, server, load, sessions, notices)

    def _peered(self, title: str, server: Process, sessions: int, kind: str, url: str) -> Side:
        command = [sys.executable, "-m", "benching.peers", kind, url, "--sessions", str(sessions)]
        load = self._kept(Process(f"the load on {title}", command, core=self._load_core, **SETTINGS))
        return Side(title, server, load, sessions)


def take_turns(sides: Sequence[Side], rounds: int, pause: float, step: Callable[[str], None]) -> None:
    """Connect all sides, then so many rounds of each in turn; `step` is told what is being done."""
    for side in sides:
        step(f"connecting {side.sessions:,} sessions to {side.title}")
        side.connect()
    for number in range(rounds + WARM_UP):
        for side in sides:
            step(f"round {number + 1} of {rounds + WARM_UP}, {side.title}")
            side.turn(count=number >= WARM_UP)
            time.sleep(pause)
    for side in sides:
        side.load.finish()
