"""Which files a gateway touches, by a log of its system calls, and which of them it has no business with.

Rules: what is opened to be written, made, renamed or removed counts whether it succeeded or not, what is only read
where it did; a file that is in no known place is a stray.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tests.scenarios.harness import Gateway
from tests.source import ROOT
from tests.storage.strace import completed

_NAMING: Final = (
    "open,openat,openat2,creat,rename,renameat,renameat2,unlink,unlinkat,rmdir,link,linkat,symlink,symlinkat,mkdir,mkdirat,"
    "mknod,mknodat,truncate,memfd_create"
)
_WRITING: Final = "write,writev,pwrite64,pwritev,pwritev2,ftruncate,fallocate,copy_file_range,sendfile"
_PLACE: Final = re.compile(r'(?:(?:AT_FDCWD|\d+)<([^>]*)>, )?"([^"]*)"')
_DESCRIPTOR: Final = re.compile(r"(\d+)<([^>]*)>")
_CHANGES: Final = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_APPEND|O_TMPFILE")

SAID: Final = "say"
"""The call by which a gateway says on standard output that it is ready."""

_SYSTEM: Final = ("/usr", "/lib", "/lib64", "/etc", "/proc", "/sys", "/dev", "/opt")
"""Where the system's own files lie: libraries, time zones, the machine as seen by programs."""


class Touch(NamedTuple):
    """A file that a thread named, or wrote to by a descriptor (`named` is False)."""

    thread: int
    call: str
    path: str
    changes: bool
    named: bool


def watching(log: Path) -> list[str]:
    """The command that runs what follows it and logs its system calls for `touches`."""
    quick = ["-f", "--seccomp-bpf", "-qq", "-y", "-s", "0", "-e", "signal=none"]
    return ["strace", *quick, "-e", f"trace={_NAMING},{_WRITING}", "-o", str(log)]


def touches(log: Path) -> Iterator[Touch]:
    """Every file that was touched, in order. Raises ValueError for a call that is not understood."""
    for thread, name, arguments, result in completed(log):
        if name in _WRITING.split(","):
            descriptor = _DESCRIPTOR.match(arguments)
            if descriptor is not None and descriptor[2].startswith("/"):
                yield Touch(thread, name, descriptor[2], changes=True, named=False)
            elif descriptor is not None and descriptor[1] == "1":
                yield Touch(thread, SAID, "", changes=False, named=False)
            continue
        changes = name not in ("open", "openat", "openat2") or _CHANGES.search(arguments) is not None
        places = [str(Path(each[1] or "", each[2])) for each in _PLACE.finditer(arguments)]
        if not places:
            raise ValueError(f"{name}({arguments}) names no file")
        if changes or result >= 0:
            for place in places:
                yield Touch(thread, name, place, changes=changes, named=True)


class Grounds:
    """Where the files of one gateway may lie."""

    def __init__(self, gateway: Gateway, regions: Sequence[str]) -> None:
        self._data = gateway.data.resolve()
        self._keys = (gateway.directory / "keys").resolve()
        self._directory = gateway.directory.resolve()
        self._regions = regions
        self._log = gateway.log.resolve()
        programs = {sys.prefix, sys.base_prefix, sys.exec_prefix, str(ROOT)}
        self._read = [*(Path(each).resolve() for each in programs), *map(Path, _SYSTEM)]

    def region(self, path: str) -> str | None:
        """The region in whose directories the file lies."""
        for region in self._regions:
            if any(_within(path, place / region) for place in (self._data, self._keys)):
                return region
        return None

    def is_known(self, touch: Touch) -> bool:
        """Whether that file may be touched in that way."""
        path = touch.path
        if touch.call == SAID or self.region(path) is not None or path.startswith("/dev/") or path == str(self._log):
            return True
        if touch.call == "mkdir" and path == str(self._data):
            return True
        if path in (str(self._data / "ready.json"), str(self._data / "ready.json.new")):
            return True
        if touch.changes:
            return False
        # Settings, secrets of the doors, and directories that are listed or locked.
        own = (self._directory / "gateway.toml", self._data, self._keys, self._directory)
        secrets = [self._keys / name for name in ("control.token", "webhook.secret", "clients.jwks", "clients.key")]
        return path in map(str, (*own, *secrets)) or any(_within(path, place) for place in self._read)

    def strays(self, seen: Iterable[Touch]) -> list[str]:
        """What was touched and lies in no known place, each once."""
        found = dict.fromkeys(f"{each.call} {each.path}" for each in seen if not self.is_known(each))
        return list(found)

    def mixed(self, seen: Iterable[Touch]) -> list[str]:
        """Threads that wrote to files of several regions while the gateway served.

        While it starts and ends one thread may open or close one region after another.
        """
        wrote: dict[int, set[str]] = {}
        serving = False
        for each in seen:
            serving = serving or each.call == SAID
            if each.call == "unlink" and each.path == str(self._data / "ready.json"):
                break
            region = self.region(each.path)
            if serving and region is not None and each.changes:
                wrote.setdefault(each.thread, set()).add(region)
        assert len(wrote) >= len(self._regions), "nothing was written"
        return [f"thread {thread} wrote to {sorted(regions)}" for thread, regions in wrote.items() if len(regions) > 1]


def _within(path: str, place: Path) -> bool:
    return path == str(place) or path.startswith(f"{place}/")
