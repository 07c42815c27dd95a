"""The tables of a region's file, and their migrations.

Rules: every table is STRICT; a migration is never edited once released, the next one adds. Pages hold personal data
only as sealed boxes (`storage.vault`).
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

from storage.engine import connect_writer
from storage.tree import plant

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
_LEDGER: Final = """
CREATE TABLE tiles(
    level INTEGER NOT NULL CHECK (level > 0), tile INTEGER NOT NULL, hashes BLOB NOT NULL,
    PRIMARY KEY (level, tile)) STRICT, WITHOUT ROWID;
CREATE TABLE head(
    id INTEGER PRIMARY KEY CHECK (id = 1), size INTEGER NOT NULL, root BLOB NOT NULL, edge BLOB NOT NULL,
    boot TEXT NOT NULL, ticks INTEGER NOT NULL, wall INTEGER NOT NULL, sure INTEGER NOT NULL) STRICT;
CREATE TABLE checkpoints(size INTEGER PRIMARY KEY, note TEXT NOT NULL) STRICT;
CREATE TABLE cosignatures(
    size INTEGER NOT NULL REFERENCES checkpoints(size), name TEXT NOT NULL, line TEXT NOT NULL,
    PRIMARY KEY (size, name)) STRICT, WITHOUT ROWID;
CREATE TABLE timestamps(size INTEGER PRIMARY KEY REFERENCES checkpoints(size), token BLOB NOT NULL) STRICT;
CREATE TABLE witnessed(
    origin TEXT PRIMARY KEY, vkey TEXT NOT NULL, size INTEGER NOT NULL, root BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE event_entries(
    digest BLOB PRIMARY KEY,
    seq INTEGER NOT NULL REFERENCES entries(seq) DEFERRABLE INITIALLY DEFERRED) STRICT, WITHOUT ROWID;
"""


def _create(database: Database, tables: str) -> None:
    for statement in tables.split(";\n"):
        if statement.strip():
            database.execute(statement)


def _first(database: Database) -> None:
    _create(database, _FIRST)


def _ledger(database: Database) -> None:
    """The tree over what was written before there was one; without a clock state, time begins with the next entry."""
    _create(database, _LEDGER)
    plant(database.conn)


def migrate(path: Path) -> None:
    """Bring the tables of `path` up to date; each migration is one transaction. Raises sqlite3.Error."""
    migrations = Migrations("storage")
    migrations(name="first")(_first)
    migrations(name="ledger")(_ledger)
    with contextlib.closing(connect_writer(path)) as connection:
        database = Database(connection)
        if migrations.pending(database):
            migrations.apply(database)
