"""What a process does to its files, by a log of its system calls that strace wrote.

Rules: a call counts when it ends; calls below one directory are read and no others; a call that changes files in a
way not known here is refused, so that nothing is missed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, Literal, NamedTuple

_CALLS: Final = (
    "openat,creat,write,writev,pwrite64,pwritev,pwritev2,ftruncate,truncate,fallocate,fdatasync,fsync,sync_file_range,"
    "unlink,unlinkat,rename,renameat,renameat2,link,linkat,symlink,symlinkat,mkdir,mkdirat,rmdir"
)
_LINE: Final = re.compile(r"(\d+) +(.*)", re.DOTALL)
_RESUMED: Final = re.compile(r"<\.\.\. \w+ resumed>")
_CALL: Final = re.compile(r"(\w+)\((.*)\) += (-?\d+)(.*)", re.DOTALL)
_TEXT: Final = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')
_DESCRIPTOR: Final = re.compile(r"(\d+)<([^>]*)>")


class Step(NamedTuple):
    """One system call that changed something: what it did, to which path, and with what."""

    kind: Literal["make", "mkdir", "write", "cut", "sync", "fail", "remove", "rename", "say"]
    path: str
    data: bytes = b""
    offset: int = 0


def recording(log: Path, *more: str) -> list[str]:
    """The command that runs what follows it and logs its system calls for `steps`; `more` are options of strace."""
    # By default strace lets nothing through unseen; this lets through what is not asked for, which is most.
    quick = ["-f", "--seccomp-bpf", "-qq", "-y", "-xx", "-s", str(1 << 24), "-e", "signal=none"]
    return ["strace", *quick, "-e", f"trace={_CALLS}", *more, "-o", str(log)]


def _bytes(quoted: str) -> bytes:
    return bytes.fromhex(quoted.replace("\\x", ""))


def completed(log: Path) -> Iterator[tuple[int, str, str, int]]:
    """Each call that ended, in the order of their ends: thread, name, arguments, result."""
    begun: dict[str, str] = {}
    with log.open(encoding="ascii") as lines:
        for line in lines:
            match = _LINE.fullmatch(line.rstrip("\n"))
            assert match is not None, line[:200]
            process, text = match.groups()
            if text.endswith(" <unfinished ...>"):
                begun[process] = text.removesuffix(" <unfinished ...>")
                continue
            if text.startswith("<... "):
                text = begun.pop(process) + _RESUMED.sub("", text, count=1)
            call = _CALL.fullmatch(text)
            # A call that the process did not live to see the end of has no result.
            if call is not None:
                yield int(process), call[1], call[2], int(call[3])


class _Reader:
    """Turns calls into steps; knows which files exist and where plain writes go."""

    def __init__(self, root: str, known: Iterable[str]) -> None:
        self._root = root
        self._known = {root, *known}
        self._cursors: dict[str, int] = {}

    def within(self, path: str) -> bool:
        return path == self._root or path.startswith(self._root + "/")

    def steps(self, name: str, arguments: str, result: int) -> Iterator[Step]:
        descriptor = _DESCRIPTOR.match(arguments)
        here = _bytes(descriptor[2]).decode() if descriptor else ""
        if name == "write" and descriptor and descriptor[1] == "1":
            yield Step("say", "", self._data(arguments)[: max(result, 0)])
        elif name in ("fsync", "fdatasync") and self.within(here):
            yield Step("fail" if result < 0 else "sync", here)
        elif result < 0:
            return
        elif not here:
            yield from self._name(name, arguments)
        elif self.within(here):
            if name not in ("write", "pwrite64", "ftruncate"):
                raise ValueError(f"{name} is not known")
            yield self._change(name, here, arguments, result)

    def _change(self, name: str, path: str, arguments: str, result: int) -> Step:
        if name == "ftruncate":
            return Step("cut", path, offset=int(arguments.rpartition(", ")[2]))
        data = self._data(arguments)[:result]
        if name == "pwrite64":
            return Step("write", path, data, int(arguments.rpartition(", ")[2]))
        offset = self._cursors[path]
        self._cursors[path] += result
        return Step("write", path, data, offset)

    def _name(self, name: str, arguments: str) -> Iterator[Step]:
        paths = [_bytes(each[1]).decode() for each in _TEXT.finditer(_DESCRIPTOR.sub("", arguments))]
        if not any(map(self.within, paths)):
            return
        path = paths[0]
        if name == "openat":
            if any(flag in arguments for flag in ("O_TRUNC", "O_APPEND", "O_TMPFILE")):
                raise ValueError("a file opened in this way is not known")
            self._cursors[path] = 0
            if "O_CREAT" in arguments and path not in self._known:
                self._known.add(path)
                yield Step("make", path)
        elif name == "mkdir":
            self._known.add(path)
            yield Step("mkdir", path)
        elif name == "unlink":
            self._known.remove(path)
            yield Step("remove", path)
        elif name == "rename":
            self._known.remove(path)
            self._known.add(paths[1])
            yield Step("rename", path, paths[1].encode())
        else:
            raise ValueError(f"{name} is not known")

    @staticmethod
    def _data(arguments: str) -> bytes:
        match = _TEXT.search(arguments)
        assert match is not None
        assert match[2] is None, "strace cut the data short"
        return _bytes(match[1])


def steps(log: Path, root: Path, before: Iterable[str] = ()) -> list[Step]:
    """What the logged process did below `root`, and what it said on standard output.

    `before` are the paths that were there when it began, seen from `root`. Raises ValueError for a call that is not
    known.
    """
    reader = _Reader(str(root), (f"{root}/{path}" for path in before))
    return [step for call in completed(log) for step in reader.steps(*call[1:])]
