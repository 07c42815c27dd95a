"""What a disk may hold after the power went.

Rules: a write is on the disk for sure once a sync of its file succeeded; until then it may be there, be missing, or be
torn between sectors of 512 bytes, whatever became of the writes around it. A file's name is there for sure once its
directory was synced; until then the names of a directory change in order. A write whose sync failed may be there or
not for ever: no later sync covers it. Names are not adrift: file systems keep them in a journal, so that after a sync
of a directory that failed they wait for the next. A change of a kind not known here is refused.
"""

from __future__ import annotations

import hashlib
import itertools
import random
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final, Literal, NamedTuple

from tests.storage.strace import Step

SECTOR: Final = 512
"""Bytes that a disk writes whole or not at all."""

Way = Literal["none", "all", "prefix", "some", "torn"]
"""Which of the writes that no sync covers are on the disk: none, all, the first few, any, the first few and part of
the next."""

WAYS: Final[tuple[Way, ...]] = ("none", "all", "prefix", "some", "torn")


class Image(NamedTuple):
    """One state of the disk: each directory, and each file's content, by path below the root."""

    directories: tuple[str, ...]
    files: dict[str, bytes]

    @classmethod
    def of(cls, root: Path) -> Image:
        """What lies below `root` now."""
        below = sorted(root.rglob("*"))
        directories = tuple(str(each.relative_to(root)) for each in below if each.is_dir())
        return cls(directories, {str(each.relative_to(root)): each.read_bytes() for each in below if each.is_file()})

    def digest(self) -> bytes:
        """Equal images have equal digests, others have not."""
        digest = hashlib.sha256(repr(self.directories).encode())
        for path in sorted(self.files):
            digest.update(b"%s\0%d\0" % (path.encode(), len(self.files[path])) + self.files[path])
        return digest.digest()

    def write(self, root: Path) -> None:
        """Make `root` hold this and nothing else, private to us."""
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        for directory in self.directories:
            (root / directory).mkdir(mode=0o700, parents=True)
        for path, content in self.files.items():
            (root / path).write_bytes(content)
            (root / path).chmod(0o600)


@dataclass(slots=True)
class _Change:
    """A write, or without data a cut: pending a sync, sure after it, or adrift because the sync failed."""

    number: int
    offset: int
    data: bytes | None
    state: Literal["pending", "adrift", "sure"] = "pending"

    def apply(self, content: bytearray) -> None:
        if self.data is None:
            if self.offset < len(content):
                del content[self.offset :]
            else:
                content.extend(bytes(self.offset - len(content)))
            return
        if len(content) < self.offset:
            content.extend(bytes(self.offset - len(content)))
        content[self.offset : self.offset + len(self.data)] = self.data

    def torn(self, chance: random.Random) -> Iterator[_Change]:
        """Some of its sectors."""
        if self.data is None:
            return
        end = self.offset + len(self.data)
        edges = [self.offset, *range(self.offset - self.offset % SECTOR + SECTOR, end, SECTOR), end]
        for first, last in itertools.pairwise(edges):
            if chance.random() < 0.5:
                yield _Change(self.number, first, self.data[first - self.offset : last - self.offset])


@dataclass(slots=True, eq=False)
class _File:
    sure: bytearray = field(default_factory=bytearray)
    live: bytearray = field(default_factory=bytearray)
    changes: list[_Change] = field(default_factory=list)

    def change(self, change: _Change) -> None:
        change.apply(self.live)
        self.changes.append(change)

    def sync(self, *, failed: bool) -> None:
        for change in self.changes:
            if change.state == "pending":
                change.state = "adrift" if failed else "sure"
        settled = 0
        while settled < len(self.changes) and self.changes[settled].state == "sure":
            self.changes[settled].apply(self.sure)
            settled += 1
        del self.changes[:settled]

    def image(self, kept: Mapping[int, list[_Change]]) -> bytes:
        """What is on the disk; `kept` holds for the number of a change that may be there what is there of it."""
        content = bytearray(self.sure)
        for change in self.changes:
            for part in [change] if change.state == "sure" else kept.get(change.number, ()):
                part.apply(content)
        return bytes(content)


@dataclass(slots=True)
class _Directory:
    sure: dict[str, _File] = field(default_factory=dict)
    live: dict[str, _File] = field(default_factory=dict)
    changes: list[dict[str, _File]] = field(default_factory=list)

    def change(self, name: str, file: _File | None, *, gone: str = "") -> None:
        """`name` now means `file`, or nothing; `gone` is a name that goes at the same moment."""
        if file is None:
            del self.live[name]
        else:
            self.live[name] = file
        self.live.pop(gone, None)
        self.changes.append(dict(self.live))

    def sync(self) -> None:
        self.sure = dict(self.live)
        self.changes.clear()


class Disk:
    """A disk that takes steps in order and can say at any moment what it might hold if the power went now."""

    def __init__(self, root: Path, before: Image, lost: Iterable[str] = ()) -> None:
        """A disk that surely holds `before` below `root`.

        Files whose names end as one of `lost` never survive: memory that only looks like a file.
        """
        self._root = PurePosixPath(root)
        self._lost = tuple(lost)
        self._directories = {self._root / path: _Directory() for path in ("", *before.directories)}
        self._sure_directories = set(self._directories)
        self._numbers = 0
        for path, content in before.files.items():
            place = self._root / path
            directory = self._directories[place.parent]
            directory.live[place.name] = directory.sure[place.name] = _File(bytearray(content), bytearray(content))

    def take(self, step: Step) -> None:
        """One more system call."""
        path = PurePosixPath(step.path)
        if step.kind == "say":
            return
        if step.kind == "mkdir":
            self._directories[path] = _Directory()
        elif step.kind == "sync" and path in self._directories:
            self._directories[path].sync()
            self._sure_directories |= {each for each in self._directories if each.parent == path}
        elif step.kind == "fail" and path in self._directories:
            return
        else:
            self._take_file(step, path, self._directories[path.parent])

    def _take_file(self, step: Step, path: PurePosixPath, directory: _Directory) -> None:
        if step.kind == "make":
            directory.change(path.name, _File())
        elif step.kind == "remove":
            directory.change(path.name, None)
        elif step.kind == "rename":
            target = PurePosixPath(step.data.decode())
            assert target.parent == path.parent, "a move between directories is not modelled"
            directory.change(target.name, directory.live[path.name], gone=path.name)
        elif step.kind in ("sync", "fail"):
            directory.live[path.name].sync(failed=step.kind == "fail")
        else:
            self._numbers += 1
            data = step.data if step.kind == "write" else None
            directory.live[path.name].change(_Change(self._numbers, step.offset, data))

    def content(self, path: str) -> bytes:
        """What the process itself reads in a file below the root."""
        place = self._root / path
        return bytes(self._directories[place.parent].live[place.name].live)

    def image(self, way: Way, chance: random.Random) -> Image:
        """What might be on the disk if the power went now, in this way."""
        directories = [each for each in self._directories if self._survives(each, way)]
        files: dict[str, _File] = {}
        for place in directories:
            for name, file in self._names(self._directories[place], way, chance).items():
                if not name.endswith(self._lost):
                    files[str(place.relative_to(self._root) / name)] = file
        kept = self._kept(files.values(), way, chance)
        made = tuple(sorted(str(each.relative_to(self._root)) for each in directories if each != self._root))
        return Image(made, {path: file.image(kept) for path, file in files.items()})

    def _survives(self, directory: PurePosixPath, way: Way) -> bool:
        whole = way == "all"
        return all(
            whole or each in self._sure_directories for each in (directory, *directory.parents) if self._below(each)
        )

    def _below(self, path: PurePosixPath) -> bool:
        return self._root in path.parents

    @staticmethod
    def _names(directory: _Directory, way: Way, chance: random.Random) -> dict[str, _File]:
        states = [directory.sure, *directory.changes]
        if way == "none":
            return states[0]
        return states[-1] if way == "all" else chance.choice(states)

    @staticmethod
    def _kept(files: Iterable[_File], way: Way, chance: random.Random) -> dict[int, list[_Change]]:
        unsure = [change for file in files for change in file.changes if change.state != "sure"]
        pending = sorted((each for each in unsure if each.state == "pending"), key=lambda change: change.number)
        adrift = [each for each in unsure if each.state == "adrift"]
        kept: list[_Change] = []
        if way == "all":
            kept = pending + adrift
        elif way != "none":
            kept = [each for each in adrift if chance.random() < 0.5]
        if way == "some":
            kept += [each for each in pending if chance.random() < 0.5]
        count = chance.randint(0, len(pending))
        if way == "torn" and pending and chance.random() < 0.5:
            count = len(pending) - 1
        if way in ("prefix", "torn"):
            kept += pending[:count]
        parts = {each.number: [each] for each in kept}
        if way == "torn":
            parts |= {each.number: list(each.torn(chance)) for each in pending[count : count + 1]}
        return parts
