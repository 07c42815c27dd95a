"""The tables of a region's file, as the statements that make them, migration by migration.

Rules: every table is STRICT; a statement is never edited once released, the next migration adds. Pages hold personal
data only as sealed boxes (`storage.vault`).
"""

from __future__ import annotations

from typing import Final

BOOK: Final = (
    """CREATE TABLE "_sqlite_migrations" (
   "id" INTEGER PRIMARY KEY,
   "migration_set" TEXT,
   "name" TEXT,
   "applied_at" TEXT
)""",
    """CREATE UNIQUE INDEX "idx__sqlite_migrations_migration_set_name"
    ON "_sqlite_migrations" ("migration_set", "name")""",
)
"""Where sqlite-utils keeps which migrations were applied: it is the one that makes these two."""

SET: Final = "storage"
"""The name of our migrations there."""


def _statements(text: str) -> tuple[str, ...]:
    return tuple(each for each in (part.strip() for part in text.split(";\n")) if each)


FIRST: Final = _statements("""
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
""")
LEDGER: Final = _statements("""
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
""")
RETENTION: Final = _statements("""
ALTER TABLE messages RENAME TO former_messages;
CREATE TABLE resources(id INTEGER PRIMARY KEY, resource TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE messages(
    id INTEGER PRIMARY KEY, person BLOB NOT NULL, ident BLOB NOT NULL, version INTEGER NOT NULL,
    resource INTEGER REFERENCES resources(id), thread BLOB, sent_at INTEGER NOT NULL, stored_at INTEGER NOT NULL,
    gone TEXT CHECK (gone IN ('deleted', 'superseded')), gone_at INTEGER, due_at INTEGER NOT NULL,
    held INTEGER NOT NULL CHECK (held IN (0, 1)), copy TEXT NOT NULL, slot INTEGER NOT NULL, box BLOB NOT NULL) STRICT;
INSERT INTO messages(id, person, ident, version, sent_at, stored_at, due_at, held, copy, slot, box)
    SELECT id, person, ident, version, sent_at, sent_at, due_at, 0, copy, slot, box FROM former_messages;
DROP TABLE former_messages;
CREATE UNIQUE INDEX messages_last ON messages(person) WHERE gone IS NULL;
CREATE INDEX messages_kept ON messages(person) WHERE gone IS NOT NULL;
CREATE INDEX messages_due ON messages(due_at) WHERE held = 0;
ALTER TABLE presences ADD COLUMN sealed_at INTEGER;
CREATE INDEX presences_person ON presences(person) WHERE person IS NOT NULL;
CREATE TABLE rules(
    kind TEXT NOT NULL CHECK (kind IN ('policy', 'hold')), name TEXT NOT NULL, set_at INTEGER NOT NULL, action TEXT,
    days INTEGER, everything INTEGER NOT NULL CHECK (everything IN (0, 1)), organizations TEXT NOT NULL,
    resources TEXT NOT NULL, calls TEXT NOT NULL, slot INTEGER NOT NULL, box BLOB NOT NULL,
    PRIMARY KEY (kind, name)) STRICT, WITHOUT ROWID;
CREATE TABLE review(
    id INTEGER PRIMARY KEY CHECK (id = 1), set_at INTEGER NOT NULL, terms TEXT NOT NULL, next INTEGER) STRICT;
CREATE TABLE erasures(
    person BLOB PRIMARY KEY, resource TEXT NOT NULL, asked_at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
ALTER TABLE shredding ADD COLUMN digest BLOB;
""")
SPANS: Final = _statements("""
CREATE TABLE spans(
    call INTEGER NOT NULL REFERENCES calls(id), first INTEGER NOT NULL, seqs BLOB NOT NULL,
    PRIMARY KEY (call, first)) STRICT, WITHOUT ROWID;
ALTER TABLE head ADD COLUMN spanned INTEGER NOT NULL DEFAULT 0;
DROP INDEX entries_call;
""")
MIGRATIONS: Final = {"first": FIRST, "ledger": LEDGER, "retention": RETENTION, "spans": SPANS}
"""The statements of each migration, in order."""
