"""The migrations of a region's file: what brings its tables (`storage.tables`) up to date.

Rules: each migration is one transaction; a migration is never edited once released, the next one adds.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

from storage.engine import connect_writer
from storage.spans import lay
from storage.tables import FIRST, LEDGER, RETENTION, SET, SPANS
from storage.tree import plant


def _create(database: Database, statements: Iterable[str]) -> None:
    for statement in statements:
        database.execute(statement)


def _first(database: Database) -> None:
    _create(database, FIRST)


def _ledger(database: Database) -> None:
    """The tree over what was written before there was one; without a clock state, time begins with the next entry."""
    _create(database, LEDGER)
    plant(database.conn)


def _retention(database: Database) -> None:
    """What policies need to know of the messages that were kept before is filled in by the first review."""
    _create(database, RETENTION)


def _spans(database: Database) -> None:
    """The entries there are are listed by their calls, and the index that did so goes."""
    _create(database, SPANS)
    lay(database.conn)


def migrate(path: Path) -> None:
    """Bring the tables of `path` up to date; each migration is one transaction. Raises sqlite3.Error."""
    migrations = Migrations(SET)
    migrations(name="first")(_first)
    migrations(name="ledger")(_ledger)
    migrations(name="retention")(_retention)
    migrations(name="spans")(_spans)
    with contextlib.closing(connect_writer(path)) as connection:
        database = Database(connection)
        if migrations.pending(database):
            migrations.apply(database)
