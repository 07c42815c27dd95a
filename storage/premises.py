"""The places of a region: its directories and files, who may see them, and who holds the lock.

Rules: directories 0700, files 0600, ours, no symbolic or hard links; whatever is otherwise is refused, never repaired.
Files are made whole or not at all: written aside, synced, renamed, and the directory synced.
"""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path
from typing import Final

from storage.errors import RegionRefused

RESTORE: Final = "restore it from where the keys are kept"
"""What to do when a part of the keys is missing or foreign."""

_OTHERS: Final = 0o077


class Premises:
    """Paths of region `name`: data in `directory`, keys in `key_directory`."""

    def __init__(self, name: str, directory: Path, key_directory: Path) -> None:
        self.name = name
        self.directory = directory
        self.key_directory = key_directory
        self.database = directory / "region.db"
        self.lock = directory / "lock"
        self.label = directory / "identity.json"
        self.master = key_directory / "master.key"
        self.slots = key_directory / "slots"
        self.signing = key_directory / "signing.key"
        self.witness = key_directory / "witness.key"
        self.verifier = key_directory / "verifier.vkey"
        self.identity = key_directory / "identity.json"
        self.erasures = key_directory / "erasures"
        self.newest = key_directory / "newest"

    def refuse(self, what: str, where: Path, remedy: str) -> RegionRefused:
        """The refusal to raise."""
        return RegionRefused(self.name, what, where, remedy)

    def prepare(self) -> None:
        """Check everything that is there, and make the two directories if they are missing. Raises RegionRefused."""
        has_file = os.path.lexists(self.database)
        if not has_file and (os.path.lexists(self.identity) or os.path.lexists(self.label)):
            raise self.refuse("the region's file is missing", self.database, "restore it, or move its keys away")
        for key in (self.master, self.slots):
            if has_file and not os.path.lexists(key):
                raise self.refuse("there is data but no key", key, RESTORE)
        for directory in (self.directory, self.key_directory):
            self.make(directory)
        place, other = self.directory.resolve(), self.key_directory.resolve()
        if place == other or place in other.parents or other in place.parents:
            raise self.refuse("keys and data lie in one another", self.key_directory, "keep the keys elsewhere")
        keys = (self.master, self.slots, self.signing, self.witness, self.identity, self.erasures, self.newest)
        for path in (self.database, self.lock, self.label, *keys):
            self.has(path)
        for suffix in ("-wal", "-shm"):
            self.has(self.database.with_name(self.database.name + suffix))

    def make(self, directory: Path) -> None:
        """Make the directory if it is missing. Raises RegionRefused if it cannot be, or is not private and our own."""
        try:
            _make_directories(directory)
        except OSError as error:
            raise self.refuse(f"cannot make the directory ({error.strerror})", directory, "check it") from error
        self._check(directory, directory=True)

    def has(self, path: Path) -> bool:
        """Whether the file is there. Raises RegionRefused if it is not a private file of our own."""
        try:
            self._check(path, directory=False)
        except FileNotFoundError:
            return False
        return True

    def _check(self, path: Path, *, directory: bool) -> None:
        found = path.lstat()
        if stat.S_ISLNK(found.st_mode):
            raise self.refuse("symbolic link", path, "put the real one in its place")
        if not (stat.S_ISDIR if directory else stat.S_ISREG)(found.st_mode):
            raise self.refuse("not a directory" if directory else "not a regular file", path, "move it away")
        if found.st_uid != os.geteuid():
            raise self.refuse("belongs to another user", path, "run as its owner or give it over (chown)")
        if found.st_mode & _OTHERS:
            raise self.refuse("open to group or others", path, f"close it: chmod {'0700' if directory else '0600'}")
        if not directory and found.st_nlink != 1:
            raise self.refuse("has a second name (hard link)", path, "remove the other name")

    def take_lock(self) -> int:
        """The descriptor that holds the region until it is closed. Raises RegionRefused if someone else has it."""
        descriptor = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise self.refuse("in use by another process", self.directory, "stop that one first") from None
        except OSError:
            os.close(descriptor)
            raise
        return descriptor


def _make_directories(path: Path) -> None:
    missing = [each for each in (path, *path.parents) if not os.path.lexists(each)]
    for directory in reversed(missing):
        directory.mkdir(mode=0o700)
        sync_directory(directory.parent)


def write_file(path: Path, content: bytes) -> None:
    """Make `path` hold `content`, whole and synced, mode 0600. Raises OSError."""
    aside = path.with_name(path.name + ".new")
    aside.unlink(missing_ok=True)
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    aside.rename(path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
