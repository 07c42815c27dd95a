"""Whether the schema of a region's file is what its migrations make.

Rules: every object is compared word for word, none may be missing and none be there besides, but the two tables that
litestream makes: a view, a trigger, a virtual table or a generated column would say what is in the file without being
in it. The schema is read before any table is, and nothing of a foreign one is repeated but a plain name.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Sequence
from itertools import chain
from typing import Final, NamedTuple

from storage.engine import sqlite3
from storage.tables import BOOK, MIGRATIONS, SET

_Object = tuple[object, object, object, object]
"""Type, name, table and statement."""

_GUESTS: Final = (
    "CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER)",
    "CREATE TABLE _litestream_lock (id INTEGER)",
)
"""What litestream puts into a file that it replicates: one row that it counts up, and none. Nobody else reads them."""

_PLAIN: Final = re.compile(r"[A-Za-z0-9_]{1,64}")
_TYPES: Final = ("table", "index", "view", "trigger")


class Shape(NamedTuple):
    """What the schema of a file is like."""

    ledger: bool
    """Whether there is anything of a signed ledger."""
    fault: str | None
    """The first thing that is not as the applied migrations make it."""


def read_shape(connection: sqlite3.Connection) -> Shape:
    """The shape of this file; a file that is not made yet, or not to the end, has no fault. Raises sqlite3.Error."""
    try:
        there = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema").fetchall()
    except UnicodeDecodeError:  # what SQLite says of a broken schema repeats it
        return Shape(True, "the schema is damaged")
    for guest in _made(_GUESTS):
        if guest in there:
            there.remove(guest)
    if sorted(there, key=repr) in [sorted(_made(BOOK[:count]), key=repr) for count in range(len(BOOK) + 1)]:
        return Shape(False, None)
    stages = [_made((*BOOK, *chain(*list(MIGRATIONS.values())[: count + 1]))) for count in range(len(MIGRATIONS))]
    applied = _reached(stages, {name for _, name, _, _ in there})
    fault = _difference(there, stages[applied])
    return Shape(applied > 0, fault or _misbooked(connection, list(MIGRATIONS)[: applied + 1]))


def _reached(stages: Sequence[tuple[_Object, ...]], there: set[object]) -> int:
    """The last of these stages of which there is anything that none before it has."""
    reached, before = 0, set[object]()
    for stage, made in enumerate(stages):
        names = {name for _, name, _, _ in made}
        if not there.isdisjoint(names - before):
            reached = stage
        before |= names
    return reached


@functools.cache
def _made(statements: tuple[str, ...]) -> tuple[_Object, ...]:
    """The schema that these statements make."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)
        return tuple(connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema"))


def _difference(there: Sequence[_Object], made: Sequence[_Object]) -> str | None:
    names = [name for _, name, _, _ in there]
    for each in made:
        kind, name, _, _ = each
        if name not in names:
            return f"{kind} {name} is missing"
        if each not in there:
            return f"{kind} {name} is not as it was made"
    for kind, name, table, _ in there:
        if names.count(name) > 1 or not any(name == known for _, known, _, _ in made):
            shown = name if isinstance(name, str) and _PLAIN.fullmatch(name) else "of a strange name"
            place = f" on {table}" if isinstance(table, str) and _PLAIN.fullmatch(table) and table != name else ""
            return f"{kind if kind in _TYPES else 'an object'} {shown}{place} does not belong there"
    return None


def _misbooked(connection: sqlite3.Connection, applied: list[str]) -> str | None:
    rows = connection.execute("SELECT name FROM _sqlite_migrations WHERE migration_set = ? ORDER BY id", (SET,))
    if [name for (name,) in rows] != applied:
        return "the migrations that were applied are not those that are noted"
    return None
