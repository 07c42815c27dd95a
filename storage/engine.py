"""The engine of a region's file: which SQLite, and how a connection to it is set up.

Rules: the only module that names the SQLite engine; one connection writes and checkpoints a file, the others only
read; every connection distrusts the file's schema and keeps temporary data in memory.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from storage.wal import holds_a_commit

if TYPE_CHECKING:
    import sqlite3  # for its types: the wheel is the same module under another name, without stubs
else:
    from pysqlite3 import dbapi2 as sqlite3

__all__ = [
    "OLDEST",
    "STORAGE_FAILURES",
    "connect_copy",
    "connect_reader",
    "connect_resting",
    "connect_writer",
    "is_storage_failure",
    "sqlite3",
]

OLDEST: Final = (3, 51, 3)
"""Earlier SQLite can corrupt a file when two connections reset its write-ahead log at once."""

STORAGE_FAILURES: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_NOTADB,
    }
)
"""Primary result codes that say something about the file or the disk, not about the statement."""

_SAFE: Final = (
    "PRAGMA busy_timeout = 5000",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
    "PRAGMA mmap_size = 0",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA foreign_keys = ON",
)
_WRITER: Final = (
    "PRAGMA auto_vacuum = INCREMENTAL",  # counts only before the first table exists
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA secure_delete = ON",
    "PRAGMA journal_size_limit = 16777216",
)


_COPY: Final = (
    # One who fails begins anew with another file, so nothing has to be taken back, and it is synced once.
    "PRAGMA locking_mode = EXCLUSIVE",
    "PRAGMA journal_mode = OFF",
    "PRAGMA synchronous = OFF",
)


def is_storage_failure(error: BaseException) -> bool:
    """Whether `error` is the engine's and says that the file or the disk failed, rather than the statement."""
    if not isinstance(error, sqlite3.Error):
        return False
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in STORAGE_FAILURES


def _connect(uri: str, pragmas: tuple[str, ...]) -> sqlite3.Connection:
    # Explicit BEGIN and COMMIT: the driver's own transactions would begin late and as readers.
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, cached_statements=128)
    try:
        for pragma in pragmas:
            connection.execute(pragma).fetchall()
    except BaseException:
        connection.close()
        raise
    return connection


def connect_writer(path: Path) -> sqlite3.Connection:
    """The one connection that writes and checkpoints `path`, which exists. Raises sqlite3.Error."""
    return _connect(f"{path.absolute().as_uri()}?mode=rw", (*_SAFE, *_WRITER))


def connect_copy(path: Path) -> sqlite3.Connection:
    """A connection to the empty file `path` that a whole copy is written by; nothing else appears beside it.

    Whoever closes it syncs the file. Raises sqlite3.Error.
    """
    return _connect(f"{path.absolute().as_uri()}?mode=rw", (*_SAFE, *_COPY))


def connect_reader(path: Path) -> sqlite3.Connection:
    """A connection that only reads `path` and never checkpoints. Raises sqlite3.Error."""
    return _connect(
        f"{path.absolute().as_uri()}?mode=ro", (*_SAFE, "PRAGMA query_only = ON", "PRAGMA wal_autocheckpoint = 0")
    )


def connect_resting(path: Path) -> sqlite3.Connection:
    """A connection that reads a file which nobody has open, its log included, and leaves no trace.

    It takes no locks and needs no right to write: whoever uses it makes sure that nobody writes. Raises sqlite3.Error.
    """
    path = path.resolve()  # the log lies beside the file, not beside a link to it
    uri = f"{path.absolute().as_uri()}?mode=ro"
    log = path.with_name(path.name + "-wal")
    # A log without a commit, as a crash may leave it, says nothing, and SQLite would remove it on closing.
    if log.exists() and holds_a_commit(log):
        # Exclusive, the log's index is kept in memory instead of a file; without locks that needs no right to write.
        return _connect(f"{uri}&vfs=unix-none", ("PRAGMA locking_mode = EXCLUSIVE", *_SAFE, "PRAGMA query_only = ON"))
    return _connect(f"{uri}&immutable=1", (*_SAFE, "PRAGMA query_only = ON"))
