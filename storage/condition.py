"""Whether a region's file, as it lies there, is of one piece: a log beside it may be older, newer or another file's.

Rules: reads, and never writes; looks at the end of the ledger, at what was signed last, and at how many entries the
calls at the end have: every entry and every index is the verifier's work (`storage.audit`).
"""

from __future__ import annotations

from typing import Final

import msgspec

from storage.engine import sqlite3
from storage.merkle import TILE_WIDTH, leaf_hash, root_at
from storage.note import parse_checkpoint, parse_note
from storage.tree import read_head, tiles


class _Place(msgspec.Struct):
    """Where an entry says that it stands; entries from before there were stamps say nothing."""

    ahead: int | None = None


_LAST: Final = "SELECT seq, call, leaf FROM entries NOT INDEXED WHERE seq >= ? ORDER BY seq"
_FOUND: Final = "SELECT seq FROM entries INDEXED BY entries_call WHERE call = ? ORDER BY seq DESC LIMIT ?"
_COUNT: Final = "SELECT count(*) FROM entries INDEXED BY entries_call WHERE call = ?"


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

    The writer counts by this index, and reports of a call read by it. Raises sqlite3.Error where it cannot be read.
    """
    (size,) = connection.execute("SELECT coalesce(max(seq) + 1, 0) FROM entries").fetchone()
    last: dict[object, list[tuple[int, bytes]]] = {}
    for seq, call, leaf in connection.execute(_LAST, (max(0, size - TILE_WIDTH),)):
        if call is not None:
            last.setdefault(call, []).append((seq, leaf))
    for call, entries in last.items():
        found = [seq for (seq,) in connection.execute(_FOUND, (call, len(entries)))]
        if found[::-1] != [seq for seq, _ in entries]:
            return False
        try:
            ahead = msgspec.json.decode(entries[-1][1], type=_Place).ahead
        except msgspec.MsgspecError:
            return False
        if ahead is not None and connection.execute(_COUNT, (call,)).fetchone() != (ahead + 1,):
            return False
    return True
