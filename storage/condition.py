"""Whether a region's file, as it lies there, is of one piece: a log beside it may be older, newer or another file's.

Rules: reads, and never writes; looks at the end of the ledger and at what was signed last, in a time that does not
grow with the ledger: every entry is the verifier's work (`storage.audit`).
"""

from __future__ import annotations

from storage.engine import sqlite3
from storage.merkle import TILE_WIDTH, leaf_hash, root_at
from storage.note import parse_checkpoint, parse_note
from storage.tree import read_head, tiles


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
