"""The server's processes as the kernel sees them: who they are, what they used, how much memory they have.

Rules: Linux only, and only what the user who runs the load may see; found by the sockets that listen where the server
said, with the processes that belong to them; read, never touched.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

_LISTENING: Final = "0A"
_TABLES: Final = ("/proc/net/tcp", "/proc/net/tcp6")
_SERVES: Final = b"\0serve\0"
"""What stands in the command line of a gateway's first process, and of its workers."""


class Server:
    """All processes of a server."""

    def __init__(self, urls: Iterable[str]) -> None:
        ports = {urlsplit(url).port or 80 for url in urls}
        self.pids = sorted(_family(_holders(_sockets(ports))))
        """Their ids; none where they are another user's, or on another machine."""
        self._seen: dict[int, float] = {}

    def cpu(self) -> float:
        """Seconds of processor time so far, all threads of all processes, those that have ended included."""
        for pid in self.pids:
            with suppress(OSError):
                # The kernel's id for the clock of another process (clock_getcpuclockid(3)).
                self._seen[pid] = time.clock_gettime((~pid << 3) | 2)
        return sum(self._seen.values())

    def resident(self) -> int:
        """Bytes of memory in RAM now; what processes share counts for each."""
        pages = 0
        for pid in self.pids:
            with suppress(OSError):
                pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def cores(self) -> list[int]:
        """The cores it may run on."""
        found: set[int] = set()
        for pid in self.pids:
            with suppress(OSError):
                found |= os.sched_getaffinity(pid)
        return sorted(found)


def _sockets(ports: set[int]) -> set[str]:
    """The inodes of the sockets that listen on `ports` (proc(5), `/proc/net/tcp`)."""
    found = set()
    for table in _TABLES:
        with suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) in ports:
                    found.add(f"socket:[{fields[9]}]")
    return found


def _holders(sockets: set[str]) -> Iterator[int]:
    for each in Path("/proc").iterdir():
        if not each.name.isdigit():
            continue
        with suppress(OSError):
            for file in (each / "fd").iterdir():
                # Files come and go while they are looked at.
                with suppress(OSError):
                    if os.readlink(file) in sockets:  # noqa: PTH115 - no path: "socket:[4711]"
                        yield int(each.name)
                        break


def _family(pids: Iterable[int]) -> set[int]:
    """These and all below them, from the highest that serves, too."""
    found: set[int] = set()
    for pid in pids:
        top = pid
        while (above := _parent(top)) > 1 and _SERVES in _command(above):
            top = above
        found |= {pid, *_below(top)}
    return found


def _below(pid: int) -> Iterator[int]:
    yield pid
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from _below(int(child))


def _parent(pid: int) -> int:
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def _command(pid: int) -> bytes:
    with suppress(OSError):
        return b"\0" + Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""
