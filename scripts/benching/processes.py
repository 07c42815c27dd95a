"""The processes of a bench: started on a core, heard line by line, their processor time and memory read, and ended.

Rules: a child says lines of JSON and takes a step for each line it is given; its times are those of the kernel, of all
its threads and of the processes it started; whoever starts one also stops it.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

SCRIPTS: Final = Path(__file__).parents[1]
GATEWAY: Final = Path(sys.executable).with_name("gateway")
LOAD: Final = (sys.executable, "-m", "load", "--lockstep")
"""The load, as another program drives it."""
SETTINGS: Final = {
    "GATEWAY_LISTEN__ADDRESS": "127.0.0.1:0",
    "GATEWAY_CONTROL__ADDRESS": "127.0.0.1:0",
    "GATEWAY_LOG__LEVEL": "warning",
    "PYTHONPATH": str(SCRIPTS),
}
"""What a child's environment has beyond our own."""


class Process:
    """A child that says lines of JSON."""

    def __init__(self, name: str, command: Sequence[str | Path], *, core: int | None, **environment: str) -> None:
        self._name = name
        mine = os.sched_getaffinity(0)
        if core is not None:
            os.sched_setaffinity(0, {core})  # a child inherits it before it has threads of its own
        try:
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, **environment},
            )
        finally:
            os.sched_setaffinity(0, mine)

    def hear(self) -> dict[str, Any]:
        """The next line; ends the bench if the child has ended."""
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            raise SystemExit(f"bench: {self._name} ended with {self._child.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def go(self, step: str = "go") -> None:
        """Let it take its next step."""
        assert self._child.stdin is not None
        self._child.stdin.write(step + "\n")
        self._child.stdin.flush()

    def cpu(self) -> float:
        """Seconds of processor time so far, all threads, by each process's own clock (`clock_getcpuclockid`)."""
        return sum(time.clock_gettime((~pid << 3) | 2) for pid in self._family())

    def waited(self) -> float:
        """Seconds so far in which its first thread could have run and had no core (proc(5), `schedstat`)."""
        return int(Path(f"/proc/{self._child.pid}/schedstat").read_text().split()[1]) / 1e9

    def resident(self) -> int:
        """Bytes of memory in RAM now."""
        pages = (int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self._family())
        return sum(pages) * os.sysconf("SC_PAGE_SIZE")

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
        for pipe in (self._child.stdin, self._child.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):
                pipe.close()

    def _family(self) -> Iterator[int]:
        """The child and what it started (proc(5), `children`)."""
        found = [self._child.pid]
        while found:
            pid = found.pop()
            for each in Path(f"/proc/{pid}/task").iterdir():
                found += map(int, (each / "children").read_text().split())
            yield pid


def start_gateway(directory: Path, core: int | None, *arguments: str, **environment: str) -> Process:
    """A fresh gateway as `gateway init` makes it, listening."""
    subprocess.run([GATEWAY, "init", directory], check=True, stdout=subprocess.DEVNULL)
    command: list[str | Path] = [GATEWAY, "serve", "--config", directory / "gateway.toml", *arguments]
    return Process("gateway", command, core=core, **SETTINGS, **environment)


def cores(*, free: bool) -> tuple[int | None, int | None]:
    """The core of the servers and that of the loads; None where nothing is pinned."""
    have = sorted(os.sched_getaffinity(0))
    return (have[0], have[1]) if len(have) > 1 and not free else (None, None)


def raise_limit() -> int:
    """Allow this process, and so its children, as many open files as it may have; says how many."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def free_port() -> int:
    """A port that nobody listens on, for a server that cannot choose one itself."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def machine(*, free: bool) -> str:
    """What it is measured on."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    model = models[0].partition(": ")[2] if models else platform.processor()
    count = len(os.sched_getaffinity(0))
    pinned = "no process pinned" if free or count < 2 else "servers on one core, loads on another"
    return (
        f"{model}, {count} cores, Linux {platform.release()}, Python {platform.python_version()}, "
        f"load average {os.getloadavg()[0]:.1f}; {pinned}"
    )
