"""A server under its load, and what each of its rounds cost.

Rules: a round's cost is the server's processor time from the event until everything is acknowledged and a while after;
what it takes anyway, measured while nothing happens, is taken off, and what it puts off beyond the rounds is put on.
Rounds of all sides take turns, so that what else the machine does hits all alike.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from benching.processes import Process

SETTLING: Final = 1.0
"""Seconds after the last acknowledgement that still belong to a round; checkpoints come after half of that."""
WARM_UP: Final = 2
"""Rounds that do not count."""

Step = Callable[[str], None]
"""What is told of each step that is taken."""


class Turn(NamedTuple):
    """One round: what its load saw, and what the server spent until it was quiet, in seconds."""

    seen: dict[str, Any]
    spent: float
    seconds: float


@dataclass
class Side:
    """One server, its load, and its rounds so far. `place` is where a gateway has its configuration."""

    title: str
    server: Process
    load: Process
    sessions: int
    place: Path
    repeat: int = 1
    """Rounds taken as one, where one alone is too little to measure."""
    settling: float = SETTLING
    turns: list[Turn] = field(default_factory=list)
    memory: float = 0.0
    calm: float = 0.0
    """Which part of a core the server takes while nothing happens."""
    _mark: tuple[float, float] = (0.0, 0.0)
    _first: tuple[float, float] = (0.0, 0.0)

    def say(self, word: str) -> dict[str, Any]:
        """Have the load do something, and hear what came of it."""
        self.load.go(word)
        return self.load.hear()

    def connect(self) -> None:
        """All sessions in; how many bytes of memory each took."""
        self.load.hear()
        before = self.server.resident()
        self.say("go")
        time.sleep(self.settling)
        self.memory = (self.server.resident() - before) / self.sessions

    def mark(self) -> None:
        """From now on nothing happens, until `rested` or a round."""
        self._mark = self.server.cpu(), time.perf_counter()

    def rested(self) -> float:
        """Which part of a core the server took since `mark`; that is what it takes anyway."""
        spent, seconds = self.server.cpu() - self._mark[0], time.perf_counter() - self._mark[1]
        self.calm = spent / seconds
        return self.calm

    def turn(self, *, count: bool) -> None:
        """One round."""
        began, before = time.perf_counter(), self.server.cpu()
        if count and not self.turns:
            self._first = before, began
        seen = [self.say("go") for _ in range(self.repeat)][-1]
        time.sleep(self.settling)
        if count:
            self.turns.append(Turn(seen, self.server.cpu() - before, time.perf_counter() - began))

    def put_off(self) -> float:
        """Seconds of processor time that the server took between the rounds, beyond what it takes anyway."""
        spent = self.server.cpu() - self._first[0] - sum(each.spent for each in self.turns)
        seconds = time.perf_counter() - self._first[1] - sum(each.seconds for each in self.turns)
        return max(0.0, spent - self.calm * seconds)

    def costs(self) -> list[float]:
        """Seconds of processor time per notice, of each round, beyond what the server takes anyway."""
        more = self.put_off() / len(self.turns)
        return [(each.spent - self.calm * each.seconds + more) / self.sessions / self.repeat for each in self.turns]

    def cost(self) -> float:
        """The median of that."""
        return statistics.median(self.costs())

    def median(self, name: str) -> float:
        """The median of what the load says under `name`."""
        return float(statistics.median(each.seen[name] for each in self.turns))


def connect(sides: Sequence[Side], step: Step) -> None:
    """Everyone in, side by side."""
    for side in sides:
        step(f"connecting {side.sessions:,} sessions to {side.title}")
        side.connect()


def rest(sides: Sequence[Side], seconds: float, step: Step) -> None:
    """What all of them take while nothing happens, for so long."""
    step(f"nothing, for {seconds:.0f} s")
    for side in sides:
        side.mark()
    time.sleep(seconds)
    for side in sides:
        side.rested()


def take_turns(sides: Sequence[Side], rounds: int, pause: float, step: Step) -> None:
    """So many rounds of each in turn, after a few that do not count."""
    for number in range(rounds + WARM_UP):
        for side in sides:
            step(f"round {number + 1} of {rounds + WARM_UP}, {side.title}")
            side.turn(count=number >= WARM_UP)
            time.sleep(pause)


def finish(sides: Sequence[Side], step: Step) -> None:
    """Every load ends, which it does well only if the server agrees with what it saw."""
    for side in sides:
        step(f"asking {side.title} what was proved")
        side.load.finish()
