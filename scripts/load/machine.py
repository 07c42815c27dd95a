"""On what a load ran: the machine, the versions of everything that counts, and the exact command.

Rules: no name of a user or a host; what cannot be found out is left out.
"""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

_PACKAGES: Final = ("notification-gateway", "uvloop", "websockets", "msgspec", "pysqlite3", "hdrhistogram")


def command(program: str) -> str:
    """What was typed, for a shell."""
    return shlex.join([program, *sys.argv[1:]])


def machine(server_cores: Sequence[int]) -> dict[str, Any]:
    """The machine, and the cores that load and server may use."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "processor": models[0].partition(": ")[2] if models else platform.machine(),
        "cores": os.cpu_count(),
        "cores of the load": sorted(os.sched_getaffinity(0)),
        "cores of the server": list(server_cores),
        "kernel": platform.release(),
        "load average before": round(os.getloadavg()[0], 1),
    }


def versions() -> dict[str, str]:
    """Python, the packages, and the commit of this clone."""
    found = {"python": platform.python_version()}
    for each in _PACKAGES:
        try:
            found[each] = version(each)
        except PackageNotFoundError:
            continue
    here = Path(__file__).parent
    said = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"], cwd=here, capture_output=True, text=True, check=False
    )
    if said.returncode == 0:
        found["commit"] = said.stdout.strip()
    return found
