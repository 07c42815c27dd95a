"""The engine and the tables of a region's file, and their migrations.

Rules: the only module that names the SQLite engine; every table is STRICT; a migration is never edited once released,
the next one adds. Pages hold personal data only as sealed boxes (`storage.vault`).
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

if TYPE_CHECKING:
    import sqlite3  # for its types: the wheel is the same module under another name, without stubs
else:
    from pysqlite3 import dbapi2 as sqlite3

__all__ = ["OLDEST", "STORAGE_FAILURES", "connect_reader", "connect_writer", "is_storage_failure", "migrate", "sqlite3"]

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

_FIRST: Final = """
CREATE TABLE identity(
    id INTEGER PRIMARY KEY CHECK (id = 1), region TEXT NOT NULL, uuid TEXT NOT NULL, epoch INTEGER NOT NULL,
    key_check BLOB NOT NULL) STRICT;
CREATE TABLE calls(
    id INTEGER PRIMARY KEY, organization TEXT NOT NULL, call TEXT NOT NULL,
    open INTEGER NOT NULL CHECK (open IN (0, 1)), slot INTEGER, box BLOB, UNIQUE (call, organization)) STRICT;
CREATE INDEX calls_open ON calls(id) WHERE open = 1;
CREATE TABLE merges(
    target INTEGER NOT NULL REFERENCES calls(id), source INTEGER NOT NULL REFERENCES calls(id),
    PRIMARY KEY (target, source)) STRICT, WITHOUT ROWID;
CREATE TABLE entries(
    seq INTEGER PRIMARY KEY, call INTEGER REFERENCES calls(id), leaf BLOB NOT NULL, hash BLOB NOT NULL) STRICT;
CREATE INDEX entries_call ON entries(call) WHERE call IS NOT NULL;
CREATE TABLE certificates(seq INTEGER PRIMARY KEY REFERENCES entries(seq)) STRICT;
CREATE TABLE presences(
    id INTEGER PRIMARY KEY, presence TEXT NOT NULL UNIQUE, call INTEGER NOT NULL REFERENCES calls(id),
    person BLOB, slot INTEGER, box BLOB) STRICT;
CREATE INDEX presences_call ON presences(call);
CREATE TABLE events(digest BLOB PRIMARY KEY, until INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX events_until ON events(until);
CREATE TABLE messages(
    id INTEGER PRIMARY KEY, person BLOB NOT NULL UNIQUE, ident BLOB NOT NULL, version INTEGER NOT NULL,
    sent_at INTEGER NOT NULL, due_at INTEGER NOT NULL, copy TEXT NOT NULL, slot INTEGER NOT NULL,
    box BLOB NOT NULL) STRICT;
CREATE INDEX messages_due ON messages(due_at);
CREATE TABLE marks(ident BLOB PRIMARY KEY, version INTEGER NOT NULL, until INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX marks_until ON marks(until);
CREATE TABLE shredding(
    slot INTEGER PRIMARY KEY, intent INTEGER NOT NULL REFERENCES entries(seq)) STRICT;
"""


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


def connect_reader(path: Path) -> sqlite3.Connection:
    """A connection that only reads `path` and never checkpoints. Raises sqlite3.Error."""
    return _connect(
        f"{path.absolute().as_uri()}?mode=ro", (*_SAFE, "PRAGMA query_only = ON", "PRAGMA wal_autocheckpoint = 0")
    )


def _first(database: Database) -> None:
    for statement in _FIRST.split(";\n"):
        if statement.strip():
            database.execute(statement)


def migrate(path: Path) -> None:
    """Bring the tables of `path` up to date; each migration is one transaction. Raises sqlite3.Error."""
    migrations = Migrations("storage")
    migrations(name="first")(_first)
    with contextlib.closing(connect_writer(path)) as connection:
        database = Database(connection)
        if migrations.pending(database):
            migrations.apply(database)
