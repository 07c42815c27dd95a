"""Files as somebody hands them in: each must be a regular file of bearable size, or is refused by its name.

Rules: a file is looked at before it is read and never waited for: a pipe, a device or a directory is none; nothing that
is too large reaches memory. Whatever cannot be read is refused with 40, and never passed over.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from storage.audit.verdict import UNVERIFIABLE, Refused

LARGEST: Final = 1 << 24
"""Bytes of the largest key, checkpoint, proof, certificate or state of a witness."""

_OTHERS: Final = 0o077
_LOOKING: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def status(path: Path) -> os.stat_result:
    """What is known of a regular file without reading it. Raises Refused."""
    try:
        return _regular(path, path.stat())
    except OSError as error:
        raise Refused(UNVERIFIABLE, f"{path}: {error.strerror}") from None


def begins_with(path: Path, magic: bytes) -> bool:
    """Whether these are the file's first bytes. Raises Refused."""
    with _opened(path) as descriptor:
        return os.read(descriptor, len(magic)) == magic


def read_bytes(path: Path, *, largest: int = LARGEST, private: bool = False) -> bytes:
    """All of a file of at most `largest` bytes; if `private`, one that is its owner's alone. Raises Refused."""
    with _opened(path) as descriptor:
        found = os.fstat(descriptor)
        if private and stat.S_IMODE(found.st_mode) & _OTHERS:
            raise Refused(UNVERIFIABLE, f"{path}: open to group or others; run chmod 600 on it")
        if found.st_size > largest:
            raise Refused(UNVERIFIABLE, f"{path}: larger than {largest} bytes")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(found.st_size + 1)
    if len(data) != found.st_size:
        raise Refused(UNVERIFIABLE, f"{path}: it was written while it was read; try again")
    return data


def read_text(path: Path) -> str:
    """A small file of text in UTF-8. Raises Refused."""
    try:
        return read_bytes(path).decode("utf-8")
    except UnicodeDecodeError:
        raise Refused(UNVERIFIABLE, f"{path}: not a text file") from None


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    try:
        descriptor = os.open(path, _LOOKING)
        try:
            _regular(path, os.fstat(descriptor))
            yield descriptor
        finally:
            os.close(descriptor)
    except OSError as error:
        raise Refused(UNVERIFIABLE, f"{path}: {error.strerror}") from None


def _regular(path: Path, found: os.stat_result) -> os.stat_result:
    if not stat.S_ISREG(found.st_mode):
        raise Refused(UNVERIFIABLE, f"{path}: is no file")
    return found
