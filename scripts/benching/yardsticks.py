"""The yardsticks: what else there is to tell ten thousand sockets something, started at its best settings.

Rules: pinned versions, from Debian or npm, installed beside the virtual environment and nowhere else; what each does
and does not do is said in its title, so that nobody compares a promise with its absence unawares.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from benching.processes import SCRIPTS, SETTINGS, Process, free_port

NODE: Final = SCRIPTS / "yardsticks" / "node"
CACHE: Final = Path(sys.prefix) / "yardsticks"
"""Where node's packages go: with the virtual environment, and away with it."""

MOSQUITTO: Final = """\
# The broker itself does not start with a listener for WebSocket alone.
listener {plain} 127.0.0.1
listener {port} 127.0.0.1
protocol websockets
allow_anonymous true
persistence false
connection_messages false
log_type error
sys_interval 0
set_tcp_nodelay true
max_connections -1
max_inflight_messages 0
max_queued_messages 0
max_queued_bytes 0
memory_limit 0
"""


def found(name: str) -> str | None:
    """Where a program is; Debian keeps brokers where only root looks."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin")


def _program(name: str, packages: str) -> str:
    """Where a program is, installed from Debian if it is nowhere."""
    if found(name) is None:
        subprocess.run([SCRIPTS / "apt", *packages.split()], check=True)
    program = found(name)
    if program is None:
        raise SystemExit(f"bench: {name} is not there, even after installing {packages}")
    return program


def _node_modules() -> Path:
    """The directory of the yardstick on node with its packages, exactly as locked."""
    npm = _program("npm", "nodejs npm")
    wanted = {each: (NODE / each).read_bytes() for each in ("package.json", "package-lock.json", "server.js")}
    place = CACHE / hashlib.sha256(b"".join(wanted.values())).hexdigest()[:16]
    if not (place / "installed").exists():
        place.mkdir(parents=True, exist_ok=True)
        for name, data in wanted.items():
            (place / name).write_bytes(data)
        # What the packages bring prebuilt is all they need.
        quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        subprocess.run([npm, "ci", *quiet], cwd=place, check=True, stdout=subprocess.DEVNULL)
        (place / "installed").touch()
    return place


def node(core: int | None) -> tuple[Process, str]:
    """node's `ws`, running, and its URL."""
    place = _node_modules()
    program = _program("node", "nodejs npm")
    process = Process(
        "node", [program, "--max-semi-space-size=64", place / "server.js"], core=core, NODE_ENV="production"
    )
    return process, process.hear()["websocket"]


def mosquitto(core: int | None, directory: Path) -> tuple[Process, str]:
    """mosquitto, running, and its URL; it keeps nothing on disk."""
    program, port = _program("mosquitto", "mosquitto"), free_port()
    configuration = directory / "mosquitto.conf"
    configuration.write_text(MOSQUITTO.format(plain=free_port(), port=port))
    process = Process("mosquitto", [program, "-c", configuration], core=core)
    time.sleep(1.0)  # it says nothing when it is ready
    return process, f"ws://127.0.0.1:{port}/mqtt"


def bare(core: int | None) -> tuple[Process, str]:
    """The floor: the event loop, the kernel and nothing else, running, and its URL."""
    process = Process("bare", [sys.executable, SCRIPTS / "yardsticks" / "bare_server.py"], core=core, **SETTINGS)
    return process, process.hear()["websocket"]


def websockets(core: int | None, directory: Path) -> tuple[Process, str]:
    """websockets' own server, running, and its URL; it syncs a line per ack to a file in `directory`."""
    command: list[str | Path] = [sys.executable, SCRIPTS / "yardsticks" / "websockets_server.py"]
    process = Process("websockets", command, core=core, **SETTINGS, TMPDIR=str(directory))
    return process, process.hear()["websocket"]
