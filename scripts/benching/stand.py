"""Where the sides of a bench are put up: servers on one core, loads on another, all of it gone at the end.

Rules: every server starts fresh, in a directory of its own; whatever is started is stopped, the last first.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from benching import yardsticks
from benching.processes import GATEWAY, LOAD, SETTINGS, Process, start_gateway
from benching.sides import Side


class Stand:
    """The cores, a directory, and what ends everything."""

    def __init__(self, cores: tuple[int | None, int | None], directory: Path, stack: ExitStack) -> None:
        self._server_core, self._load_core = cores
        if self._load_core is not None:
            os.sched_setaffinity(0, {self._load_core})  # what the bench itself does is no server's work
        self._directory, self._stack = directory, stack
        self._count = 0

    def gateway(self, title: str, sessions: int, *load: str, **environment: str) -> Side:
        """A fresh gateway, so set, and its load, which takes these arguments too."""
        place = self._place()
        server = self._kept(start_gateway(place, self._server_core, **environment))
        server.hear()
        return self._loaded(title, server, sessions, place, "--config", place / "gateway.toml", *load)

    def more(self, side: Side, title: str, sessions: int, *load: str) -> Side:
        """Another load on the same gateway."""
        return self._loaded(title, side.server, sessions, side.place, "--config", side.place / "gateway.toml", *load)

    def workers(self, count: int, sessions: int) -> Side:
        """A gateway that holds its sessions in so many processes, and a load that does."""
        place = self._place()
        server = self._kept(start_gateway(place, self._server_core, "--workers", str(count)))
        server.hear()
        load = ("--config", place / "gateway.toml", "--processes", str(count))
        return self._loaded(f"{count} workers", server, sessions, place, *load)

    def bare(self, sessions: int) -> Side:
        """The floor and the gateway's load."""
        process, url = yardsticks.bare(self._server_core)
        return self._loaded("bare loop", self._kept(process), sessions, self._place(), "--yardstick", url)

    def websockets(self, sessions: int) -> Side:
        """websockets' own server and the gateway's load."""
        place = self._place()
        process, url = yardsticks.websockets(self._server_core, place)
        return self._loaded("websockets", self._kept(process), sessions, place, "--yardstick", url)

    def node(self, sessions: int) -> Side:
        """node's `ws` and its load."""
        process, url = yardsticks.node(self._server_core)
        return self._peered("node ws", self._kept(process), sessions, "text", url)

    def mosquitto(self, sessions: int) -> Side:
        """mosquitto and its load."""
        process, url = yardsticks.mosquitto(self._server_core, self._place())
        return self._peered("mosquitto", self._kept(process), sessions, "mqtt", url)

    def probe(self, side: Side) -> Process:
        """What asks a gateway one small thing after the other, to see how long its loop is blocked."""
        command = [sys.executable, "-m", "benching.probe", str(side.place / "gateway.toml")]
        return self._kept(Process("the probe", command, core=self._load_core, **SETTINGS))

    def _place(self) -> Path:
        self._count += 1
        place = self._directory / str(self._count)
        place.mkdir()
        return place

    def _kept(self, process: Process) -> Process:
        self._stack.callback(process.stop)
        return process

    def _loaded(self, title: str, server: Process, sessions: int, place: Path, *arguments: str | Path) -> Side:
        command = [*LOAD, "--sessions", str(sessions), *arguments]
        load = self._kept(Process(f"the load on {title}", command, core=self._load_core, **SETTINGS))
        return Side(title, server, load, sessions, place)

    def _peered(self, title: str, server: Process, sessions: int, kind: str, url: str) -> Side:
        command = [sys.executable, "-m", "benching.peers", kind, url, "--sessions", str(sessions)]
        load = self._kept(Process(f"the load on {title}", command, core=self._load_core, **SETTINGS))
        return Side(title, server, load, sessions, self._directory)


def serves_by_workers() -> bool:
    """Whether this build's gateway can be more than one process."""
    shown = subprocess.run([GATEWAY, "serve", "--help"], capture_output=True, text=True, check=True)
    return "--workers" in shown.stdout
