"""Whom a region erased, and when: remembered beside the keys, so that a backup put back does not bring them back.

Rules: persons stand here as keyed hashes only; a record is on disk before anything of the person goes, and stays for as
long as a backup may; what was sealed of a person up to that moment is theirs that was erased, whatever comes later is
not. Owned by the writer's thread.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from storage.errors import StorageUnavailable

_RECORD: Final = struct.Struct(">32sq")
"""The person, and the moment in microseconds since 1970."""


class Erasures:
    """The journal of a region; the file is made with its first record."""

    def __init__(self, path: Path) -> None:
        """Read what is there; a torn end was never relied on. Raises OSError."""
        self._path = path
        self._at: dict[bytes, int] = {}
        data = path.read_bytes() if path.exists() else b""
        self._whole = len(data) // _RECORD.size * _RECORD.size
        for person, at in _RECORD.iter_unpack(data[: self._whole]):
            self._at[person] = max(at, self._at.get(person, at))

    @property
    def persons(self) -> Mapping[bytes, int]:
        """Everyone who was erased, and up to when, in microseconds since 1970."""
        return self._at

    def add(self, person: bytes, at: int) -> None:
        """Remember that a person is erased up to `at`. Raises StorageUnavailable; nothing may be erased then."""
        if self._at.get(person, at - 1) >= at:
            return
        try:
            self._append(_RECORD.pack(person, at))
        except OSError as error:
            raise StorageUnavailable(f"the journal of erasures cannot be written: {error.strerror}") from error
        self._at[person] = at

    def _append(self, record: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, 0o600)
        try:
            if os.pwrite(descriptor, record, self._whole) != len(record):
                raise OSError(0, "it was written in part")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._whole += len(record)
        directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def after(self, person: bytes, at: int) -> int:
        """`at`, or as little later as it takes to be no part of what was erased: clocks are set back too."""
        erased = self._at.get(person)
        return at if erased is None or at > erased else erased + 1
