#!/usr/bin/env python3
"""The bench: a real gateway next to websockets' own asyncio server, the same load on both, told and proved.

Rules: each server and each load is a process of its own; rounds of both interleave, so that what else the machine
does hits both alike; medians are printed, with the machine's name; every notice of every round was confirmed by a
receipt that followed a sync to disk, and the gateway's own coverage agrees, or the bench fails.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import track
from rich.table import Table

HERE: Final = Path(__file__).parent
GATEWAY: Final = Path(sys.executable).with_name("gateway")
LOAD: Final = (sys.executable, "-m", "load", "--lockstep")
SETTINGS: Final = {
    "GATEWAY_LISTEN__ADDRESS": "127.0.0.1:0",
    "GATEWAY_CONTROL__ADDRESS": "127.0.0.1:0",
    "GATEWAY_LOG__LEVEL": "warning",
}


class Process:
    """A child that says lines of JSON."""

    def __init__(self, name: str, command: Sequence[str | Path], *, core: int | None, **environment: str) -> None:
        self._name = name
        self._child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        if core is not None:
            os.sched_setaffinity(self._child.pid, {core})  # before it has threads; they inherit it

    def hear(self) -> dict[str, Any]:
        """The next line; ends the bench if the child has ended."""
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            raise SystemExit(f"bench: {self._name} ended with {self._child.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def go(self) -> None:
        """Let it take its next step."""
        assert self._child.stdin is not None
        self._child.stdin.write("go\n")
        self._child.stdin.flush()

    def cpu(self) -> float:
        """Seconds of processor time so far, all threads, by the process's own clock (`clock_getcpuclockid`)."""
        return time.clock_gettime((~self._child.pid << 3) | 2)

    def waited(self) -> float:
        """Seconds so far in which its first thread could have run and had no core (proc(5), `schedstat`)."""
        return int(Path(f"/proc/{self._child.pid}/schedstat").read_text().split()[1]) / 1e9

    def resident(self) -> int:
        """Bytes of memory in RAM now."""
        pages = Path(f"/proc/{self._child.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def finish(self) -> None:
        """Let it end by itself; ends the bench if it fails."""
        assert self._child.stdin is not None
        self._child.stdin.close()
        if self._child.wait(60) != 0:
            raise SystemExit(f"bench: {self._name} found a fault")

    def stop(self) -> None:
        """End it."""
        self._child.terminate()
        try:
            self._child.wait(15)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()


@dataclass
class Side:
    """One of the two servers under its load, and what was measured."""

    title: str
    server: Process
    load: Process
    sessions: int
    frames: list[float] = field(default_factory=list)
    receipts: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    memory: float = 0.0

    def connect(self) -> None:
        """All sessions in; how much memory each took."""
        self.load.hear()
        before = self.server.resident()
        self.load.go()
        self.load.hear()
        self.memory = (self.server.resident() - before) / self.sessions

    def turn(self, *, count: bool) -> None:
        """One round; the first ones warm up and do not count."""
        before = self.server.cpu()
        self.load.go()
        result = self.load.hear()
        spent = self.server.cpu() - before
        if count:
            self.frames.append(result["last_frame"])
            self.receipts.append(result["last_receipt"])
            self.cpu.append(spent / self.sessions)


def start_gateway(directory: Path, core: int | None) -> Process:
    """A fresh gateway as `gateway init` makes it, listening."""
    subprocess.run([GATEWAY, "init", directory], check=True, stdout=subprocess.DEVNULL)
    return Process("gateway", [GATEWAY, "serve", "--config", directory / "gateway.toml"], core=core, **SETTINGS)


def measure(options: argparse.Namespace, stack: ExitStack) -> list[Side]:
    """Both servers, their loads, and the interleaved rounds."""
    cores = sorted(os.sched_getaffinity(0))
    server_core, load_core = (cores[0], cores[1]) if len(cores) > 1 and not options.free else (None, None)
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", dir=options.directory)))

    def side(title: str, server: Process, aim: Callable[[dict[str, Any]], list[str | Path]]) -> Side:
        stack.callback(server.stop)
        command = [*LOAD, "--sessions", str(options.sessions), *aim(server.hear())]
        load = Process(f"the load on {title}", command, core=load_core, PYTHONPATH=str(HERE), **SETTINGS)
        stack.callback(load.stop)
        return Side(title, server, load, options.sessions)

    gateway = start_gateway(directory / "gateway", server_core)
    yardstick = Process("yardstick", [sys.executable, HERE / "yardstick.py"], core=server_core, TMPDIR=str(directory))
    sides = [
        side("gateway", gateway, lambda _: ["--config", directory / "gateway" / "gateway.toml"]),
        side("websockets", yardstick, lambda found: ["--yardstick", found["websocket"]]),
    ]
    for each in sides:
        each.connect()
    for number in track(
        range(options.rounds + options.warm_up), "rounds", console=Console(stderr=True), transient=True
    ):
        for each in sides:
            each.turn(count=number >= options.warm_up)
            time.sleep(options.pause)
    for each in sides:
        each.load.finish()
    return sides


def machine(options: argparse.Namespace) -> str:
    """What it was measured on."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    model = models[0].partition(": ")[2] if models else platform.processor()
    cores = len(os.sched_getaffinity(0))
    pinned = "no process pinned" if options.free or cores < 2 else "servers on one core, loads on another"
    return (
        f"{model}, {cores} cores, Linux {platform.release()}, Python {platform.python_version()}, "
        f"load average {os.getloadavg()[0]:.1f}; {pinned}"
    )


def show(sides: Sequence[Side], options: argparse.Namespace) -> None:
    """The figures next to each other, for a person."""
    title = f"{options.sessions} sessions in one call, medians of {options.rounds} interleaved rounds"
    table = Table(title=title, caption=machine(options))
    table.add_column("")
    for each in sides:
        table.add_column(each.title, justify="right")
    table.add_column("ratio", justify="right")
    rows: list[tuple[str, Callable[[Side], float], str]] = [
        ("event to the last client's frame", lambda side: statistics.median(side.frames) * 1e3, "ms"),
        ("event to the last durable receipt", lambda side: statistics.median(side.receipts) * 1e3, "ms"),
        ("server CPU per notice told and proved", lambda side: statistics.median(side.cpu) * 1e6, "µs"),
        ("server memory per session", lambda side: side.memory / 1024, "KiB"),
    ]
    for name, figure, unit in rows:
        left, right = (figure(each) for each in sides)
        table.add_row(name, f"{left:.1f} {unit}", f"{right:.1f} {unit}", f"{left / right:.2f}" if right else "-")
    Console().print(table)


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=str(__doc__).partition("\n")[0])
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--warm-up", type=int, default=3, help="rounds before those that count")
    parser.add_argument("--pause", type=float, default=0.2, help="seconds between rounds")
    parser.add_argument("--directory", type=Path, help="where the servers write (the system's temporary directory)")
    parser.add_argument("--free", action="store_true", help="pin no process to a core")
    options = parser.parse_args()
    with ExitStack() as stack:
        sides = measure(options, stack)
    show(sides, options)


if __name__ == "__main__":
    main()
