"""The migrations of a region's file: what brings its tables (`storage.tables`) up to date.

Rules: each migration is one transaction; a migration is never edited once released, the next one adds.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from storage.engine import connect_writer, sqlite3
from storage.spans import lay
from storage.tables import BOOK, FIRST, LEDGER, RETENTION, SET, SPANS
from storage.tree import plant

if TYPE_CHECKING:
    from sqlite_utils import Database


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


_BOOK: Final = "_sqlite_migrations"
_MIGRATIONS: Final = {"first": _first, "ledger": _ledger, "retention": _retention, "spans": _spans}
"""What a file must have had, in this order."""


def migrate(path: Path) -> None:
    """Bring the tables of `path` up to date; each migration is one transaction. Raises sqlite3.Error."""
    with contextlib.closing(connect_writer(path)) as connection:
        if _MIGRATIONS.keys() - _applied(connection) or not _has_book(connection):
            _apply(connection)


def _has_book(connection: sqlite3.Connection) -> bool:
    """Whether the library's own table is whole: a file of before may have been cut off between it and its index."""
    rows = connection.execute("SELECT name FROM sqlite_master WHERE tbl_name = '_sqlite_migrations'").fetchall()
    return len(rows) >= len(BOOK)


def _applied(connection: sqlite3.Connection) -> set[str]:
    """The migrations that the file has had, read without the library: to load it is a tenth of every start."""
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = '_sqlite_migrations'").fetchone() is None:
        return set()
    rows = connection.execute("SELECT name FROM _sqlite_migrations WHERE migration_set = ?", (SET,))
    return {name for (name,) in rows}


def _apply(connection: sqlite3.Connection) -> None:
    from sqlite_utils import Database  # noqa: PLC0415  # see `_applied`
    from sqlite_utils.migrations import Migrations  # noqa: PLC0415

    migrations = Migrations(SET)
    for name, migration in _MIGRATIONS.items():
        migrations(name=name)(migration)
    database = Database(connection)
    with database.atomic():
        # Left to itself the library makes the two one by one, and never the second once the first is there.
        migrations.ensure_migrations_table(database)
        database.table(_BOOK).create_index(["migration_set", "name"], unique=True, if_not_exists=True)
    migrations.apply(database)
