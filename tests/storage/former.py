"""A region's file as versions before this one wrote it."""

from __future__ import annotations

from storage.engine import sqlite3
from storage.tables import FIRST

_MESSAGES = "id, person, ident, version, sent_at, due_at, copy, slot, box"


def without_spans(connection: sqlite3.Connection) -> None:
    """Make a file what it was before there were spans: entries are found by an index of their calls."""
    for statement in (
        next(each for each in FIRST if each.startswith("CREATE INDEX entries_call")),
        "DROP TABLE spans",
        "ALTER TABLE head DROP COLUMN spanned",
        "DELETE FROM _sqlite_migrations WHERE name = 'spans'",
    ):
        connection.execute(statement)


def without_policies(connection: sqlite3.Connection) -> None:
    """Make a file what it was before there were policies, too: every message is somebody's last, due when it says."""
    without_spans(connection)
    for statement in (
        "DROP TABLE rules",
        "DROP TABLE review",
        "DROP TABLE erasures",
        "ALTER TABLE messages RENAME TO later",
        next(each for each in FIRST if each.startswith("CREATE TABLE messages(")),
        f"INSERT INTO messages({_MESSAGES}) SELECT {_MESSAGES} FROM later",
        "DROP TABLE later",
        "DROP TABLE resources",
        "CREATE INDEX messages_due ON messages(due_at)",
        "DROP INDEX presences_person",
        "ALTER TABLE presences DROP COLUMN sealed_at",
        "ALTER TABLE shredding DROP COLUMN digest",
        "DELETE FROM _sqlite_migrations WHERE name = 'retention'",
    ):
        connection.execute(statement)
