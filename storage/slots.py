"""The file of key slots: 32 random bytes each, at fixed offsets, overwritten in place to destroy what they opened.

Rules: slot 0 is the header that ties the file to its master key; a slot is handed out only after its secret is synced,
and only once: what was taken comes back by being overwritten. Only the writer takes and overwrites; any thread reads.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from storage.errors import StorageUnavailable

SIZE: Final = 32
"""Bytes in a slot."""

_AHEAD: Final = 1024


def _runs(slots: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Neighbouring slots as (first, count), so that one write covers them."""
    first = count = 0
    for slot in sorted(slots):
        if count and slot == first + count:
            count += 1
            continue
        if count:
            yield first, count
        first, count = slot, 1
    if count:
        yield first, count


def _write_whole(descriptor: int, data: bytes, offset: int) -> None:
    while data:
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written


class Slots:
    """An open slot file. Owned by the writer's thread, except `read`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        # A torn tail is a slot that was never handed out.
        self.count = os.fstat(self._descriptor).st_size // SIZE
        self._free: deque[int] = deque()

    def read(self, slot: int) -> bytes:
        """The secret in `slot`; empty if there is no such slot. Raises StorageUnavailable."""
        try:
            return os.pread(self._descriptor, SIZE, slot * SIZE)
        except OSError as error:
            raise _unavailable(error) from error

    def take(self) -> tuple[int, bytes]:
        """A free slot and its secret. Raises StorageUnavailable when the file cannot grow."""
        if not self._free:
            self._grow()
        slot = self._free[0]
        secret = self.read(slot)
        self._free.popleft()
        return slot, secret

    def _grow(self) -> None:
        """Fill ahead, so that a seal costs no sync of its own."""
        try:
            _write_whole(self._descriptor, os.urandom(SIZE * _AHEAD), self.count * SIZE)
            os.fsync(self._descriptor)
        except OSError as error:
            self.reopen()
            raise _unavailable(error) from error
        self._free.extend(range(self.count, self.count + _AHEAD))
        self.count += _AHEAD

    def overwrite(self, slots: Iterable[int]) -> None:
        """Destroy these secrets, sync, and make the slots free. Works on a full disk; raises StorageUnavailable.

        After a failure call it again with the same slots: everything is written anew, since a page whose sync failed
        may count as clean.
        """
        doomed = sorted(set(slots))
        self.destroy(doomed)
        self._free.extend(doomed)

    def destroy(self, slots: Iterable[int]) -> None:
        """As `overwrite`, but the slots stay taken: somebody still refers to them."""
        try:
            for first, count in _runs(slots):
                _write_whole(self._descriptor, os.urandom(SIZE * count), first * SIZE)
            os.fsync(self._descriptor)
        except OSError as error:
            self.reopen()
            raise _unavailable(error) from error

    def reclaim(self, used: set[int]) -> None:
        """At open: overwrite every slot that no row refers to, and make it free."""
        self.overwrite(slot for slot in range(1, self.count) if slot not in used)

    def reopen(self) -> None:
        """Take a fresh descriptor: the old one may have swallowed a write error. Readers never notice."""
        try:
            fresh = os.open(self._path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise _unavailable(error) from error
        os.dup2(fresh, self._descriptor, inheritable=False)
        os.close(fresh)

    def close(self) -> None:
        """Give the file back."""
        os.close(self._descriptor)


def _unavailable(error: OSError) -> StorageUnavailable:
    return StorageUnavailable(f"the key slots cannot be used: {error.strerror}")
