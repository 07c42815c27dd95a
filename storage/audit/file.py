"""A region's file as an auditor reads it: a copy or the original, at rest or in use, and not a byte of it is changed.

Rules: a file that a gateway has open is read as its other readers read it, in one snapshot; any other is read without
locks, without write permission and without leaving a file beside it. What cannot be read is never sound.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from storage.audit.plain import status
from storage.audit.verdict import TAMPERED, UNVERIFIABLE, Refused
from storage.engine import connect_reader, connect_resting, sqlite3
from storage.shape import read_shape

_DATABASE: Final = "region.db"
_BESIDE: Final = ("-wal", "-shm", "-journal")
"""How the names of the files end that the engine may read with it."""


@contextlib.contextmanager
def reading(source: Path) -> Iterator[sqlite3.Connection]:
    """One snapshot of the ledger in `source`, a region's directory or its file.

    Raises Refused, also for what goes wrong with the file while it is read: 40 where there is no ledger or it cannot
    be read, 20 where there is one and its pages are damaged.
    """
    path = source
    try:
        path = source / _DATABASE if source.is_dir() else source
        # Lock and log lie beside the file itself, not beside a link to it.
        file = Path(os.path.realpath(path)) if path.is_symlink() else path
        before = _statuses(file)
        used = _in_use(file)
        try:
            with contextlib.closing(connect_reader(file) if used else connect_resting(file)) as connection:
                # Text that is not UTF-8 any more is for the checks to find, not for the driver to stumble over.
                connection.text_factory = _text
                connection.execute("BEGIN")
                _check_tables(connection, path)
                yield connection
        finally:
            if not used and _statuses(file) != before:
                raise Refused(UNVERIFIABLE, f"{path}: it was written while it was read; try again")
    except OSError as error:
        raise Refused(UNVERIFIABLE, f"{path}: {error.strerror}") from None
    except MemoryError:
        raise Refused(UNVERIFIABLE, f"{path}: it holds more than fits into memory") from None
    except UnicodeDecodeError:  # what SQLite says of a broken page repeats it
        raise Refused(TAMPERED, f"{path}: the file is damaged") from None
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_CORRUPT:
            raise Refused(TAMPERED, f"{path}: the file is damaged") from None
        raise Refused(UNVERIFIABLE, f"{path}: no ledger, or it cannot be read ({error})") from None


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _in_use(path: Path) -> bool:
    """Whether a gateway holds the region. The lock is only tried, and a copy has none."""
    try:
        descriptor = os.open(path.with_name("lock"), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _statuses(path: Path) -> list[tuple[int, int, int]]:
    """What changes when the file is written. Raises Refused where it, or a file that belongs to it, is none."""
    beside = [path.with_name(path.name + suffix) for suffix in _BESIDE]
    found = [status(each) for each in (path, *beside) if each is path or each.exists()]
    return [(each.st_ino, each.st_size, each.st_mtime_ns) for each in found]


def _check_tables(connection: sqlite3.Connection, path: Path) -> None:
    shape = read_shape(connection)
    if not shape.ledger:
        raise Refused(UNVERIFIABLE, f"{path}: no signed ledger")
    if shape.fault is not None:
        raise Refused(TAMPERED, f"{path}: {shape.fault}")
