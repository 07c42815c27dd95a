"""Which versions were measured: ours, the libraries' that matter, and those of the yardsticks.

Rules: asked of the programs themselves, not of what was wished for.
"""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from collections.abc import Iterator

import msgspec

from benching import yardsticks
from benching.processes import SCRIPTS


def _first_line(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=SCRIPTS)
    return (done.stdout.splitlines() or [""])[0].strip()


def _beside() -> Iterator[tuple[str, str]]:
    node, mosquitto = yardsticks.found("node"), yardsticks.found("mosquitto")
    if node:
        locked = msgspec.json.decode((yardsticks.NODE / "package-lock.json").read_bytes())
        yield "node", _first_line(node, "--version").removeprefix("v")
        yield "ws", locked["packages"]["node_modules/ws"]["version"]
    if mosquitto:
        yield "mosquitto", _first_line(mosquitto, "-h").removeprefix("mosquitto version ")


def all_of(*, beside: bool) -> dict[str, str]:
    """By program; those of the yardsticks only where they stood `beside` the gateway."""
    ours = _first_line("git", "describe", "--always", "--dirty") or importlib.metadata.version("notification-gateway")
    named = {each: importlib.metadata.version(each) for each in ("uvloop", "websockets")}
    return {"gateway": ours, "Python": platform.python_version(), **named, **(dict(_beside()) if beside else {})}
