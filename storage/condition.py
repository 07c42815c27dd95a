"""Whether a region's file, as it lies there, is of one piece: a log beside it may be older, newer or another file's.

Rules: reads, and never writes; looks at the end of the ledger, at what was signed last, and at how many entries the
calls at the end have: every entry, span and index is the verifier's work (`storage.audit`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from storage.engine import sqlite3
from storage.merkle import TILE_WIDTH, leaf_hash, root_at
from storage.note import parse_checkpoint, parse_note
from storage.spans import Tail
from storage.tree import read_head, tiles


class _Place(msgspec.Struct):
    """Where an entry says that it stands; entries from before there were stamps say nothing."""

    ahead: int | None = None


_LAST: Final = "SELECT seq, call, leaf FROM entries NOT INDEXED WHERE seq >= ? ORDER BY seq"
_FOUND: Final = "SELECT seq FROM entries INDEXED BY entries_call WHERE call = ? ORDER BY seq"


def is_whole(connection: sqlite3.Connection) -> bool:
    """Whether the last entries, the tree over them and the newest checkpoint are those of one ledger.

    A file from before there was a tree is whole. Raises sqlite3.Error where it cannot be read.
    """
    if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'head'").fetchone() is None:
        return True
    head = read_head(connection.execute)
    size = head.edge.size
    rows = connection.execute(
        "SELECT seq, leaf, hash FROM entries WHERE seq >= ? ORDER BY seq", (max(0, size - TILE_WIDTH),)
    ).fetchall()
    if [seq for seq, _, _ in rows] != list(range(max(0, size - TILE_WIDTH), size)):
        return False
    if any(leaf_hash(leaf) != found for _, leaf, found in rows) or head.edge.root() != head.root:
        return False
    signed = connection.execute("SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1").fetchone()
    tree = tiles(connection.execute)
    try:
        newest = None if signed is None else parse_checkpoint(parse_note(signed[0]).body)
        if newest is not None and (newest.size > size or root_at(newest.size, tree.node) != newest.root):
            return False
        return root_at(size, tree.node) == head.root
    except ValueError:  # a tile is missing or short, or the note is none
        return False


def is_indexed(connection: sqlite3.Connection) -> bool:
    """Whether the last entries are found by their calls, and each of these calls has as many as its last one says.

    The writer counts by what is found there, and reports of a call read by it. Raises sqlite3.Error where it cannot
    be read.
    """
    (size,) = connection.execute("SELECT coalesce(max(seq) + 1, 0) FROM entries").fetchone()
    last: dict[int, list[tuple[int, bytes]]] = {}
    for seq, call, leaf in connection.execute(_LAST, (max(0, size - TILE_WIDTH),)):
        if call is not None:
            last.setdefault(call, []).append((seq, leaf))
    try:
        found = _found(connection, list(last))
        return all(_is_found(entries, found[call]) for call, entries in last.items())
    except ValueError:
        return False


def _is_found(entries: Sequence[tuple[int, bytes]], found: Sequence[int]) -> bool:
    ahead = msgspec.json.decode(entries[-1][1], type=_Place).ahead
    numbers = [seq for seq, _ in entries]
    return list(found[-len(entries) :]) == numbers and ahead in (None, len(found) - 1)


def _found(connection: sqlite3.Connection, calls: Sequence[int]) -> dict[int, list[int]]:
    """The entries about each of these calls, by the spans; in a file from before there were any, by the index."""
    execute = connection.execute
    if execute("SELECT 1 FROM sqlite_schema WHERE name = 'spans'").fetchone() is None:
        return {call: [seq for (seq,) in execute(_FOUND, (call,))] for call in calls}
    tail = Tail()
    tail.follow(execute)
    return {call: tail.numbers(execute, (call,)) for call in calls}
