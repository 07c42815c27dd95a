"""What a load is asked to do: everything that its command line says, checked and completed.

Rules: nothing here touches a socket; what cannot be is refused in one line.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from .limits import processes_for
from .orders import Prepare
from .targets import Gateway, LoadFailed, Target, Yardstick

LEVELS: Final = ("received", "displayed", "acknowledged")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The load that is wanted; times in seconds, rates a second."""

    config: Path
    yardstick: str | None = None
    receipts: bool = True
    sessions: int = 1000
    calls: int = 1
    clients: int = 0
    processes: int = 1
    at_once: int = 256
    levels: Sequence[str] = field(default=("acknowledged",))
    think: float = 0.0
    jitter: float = 0.5
    ramp: float = 0.0
    notices: int = 10
    every: float = 1.0
    together: bool = False
    drops: float = 0.0
    back: float = 5.0
    slow: int = 0
    storms: int = 0
    ask_tokens: bool = False
    metrics: bool = True
    lockstep: bool = False
    values: bool = False

    def target(self) -> Target:
        """What it goes to. Raises LoadFailed, or ConfigError where the configuration is refused."""
        return Yardstick(self.yardstick) if self.yardstick else Gateway(self.config, ask=self.ask_tokens)

    def names(self) -> list[str]:
        """The calls, new ones for every load."""
        return [f"load-{os.getpid()}-{number}" for number in range(self.calls)]

    def check(self) -> None:
        """Raises LoadFailed where the sessions cannot be held by so many processes, or make no sense."""
        least = processes_for(self.sessions)
        if self.processes < least:
            raise LoadFailed(
                f"the hard limit of open files (ulimit -Hn) bounds each process; use --processes {least} or raise it"
            )
        if self.calls > self.sessions:
            raise LoadFailed("more calls than sessions")
        if self.slow + self.clients > self.sessions:
            raise LoadFailed("more slow sessions and clients than sessions")

    def orders(self, url: str, calls: Sequence[str], tokens: Sequence[str]) -> list[Prepare]:
        """What each process is to make: its share of the sessions, of the real clients and of the slow ones."""
        made = []
        for number in range(self.processes):
            mine = range(number, self.sessions, self.processes)
            made.append(
                Prepare(
                    url=url,
                    number=number,
                    calls=list(calls),
                    places=[each % self.calls for each in mine],
                    tokens=[tokens[each] for each in mine],
                    levels=list(self.levels),
                    think=self.think,
                    jitter=self.jitter,
                    receipts=self.receipts,
                    clients=share(self.clients, number, self.processes),
                    slow=share(self.slow, number, self.processes),
                    at_once=max(1, self.at_once // self.processes),
                )
            )
        return made


def share(whole: int, number: int, parts: int) -> int:
    """How much of `whole` the part with this number has."""
    return whole // parts + (number < whole % parts)
