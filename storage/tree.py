"""The Merkle tree as the tables hold it: leaf hashes in `entries`, tiles above them, its head in one row.

Rules: RFC 6962 §2.1, tiled as C2SP tlog-tiles: 256 hashes a tile, level 0 is the column `entries.hash`, the last tile
of a level may be partial; the head is the tree's size, its root and the perfect subtrees at its right edge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

from storage.clock import Pace
from storage.engine import sqlite3
from storage.merkle import HASH_SIZE, TILE_WIDTH, Edge, Tiles, root_at

EMPTY: Final = Edge(0, ())
"""The edge of a tree without leaves."""

_PLANTED_AT_ONCE: Final = 65_536

Execute = Callable[..., Any]
"""A connection's `execute`."""


class Head(NamedTuple):
    """The row `head`; `pace` is None before the first entry was stamped."""

    edge: Edge
    root: bytes
    pace: Pace | None


def split(hashes: bytes) -> tuple[bytes, ...]:
    """Hashes that were written one behind the other."""
    return tuple(hashes[start : start + HASH_SIZE] for start in range(0, len(hashes), HASH_SIZE))


def read_head(execute: Execute) -> Head:
    """The head as it is committed."""
    size, root, edge, boot, ticks, wall, sure = execute(
        "SELECT size, root, edge, boot, ticks, wall, sure FROM head"
    ).fetchone()
    return Head(Edge(size, split(edge)), root, Pace(boot, ticks, wall, sure) if boot else None)


def write_head(execute: Execute, head: Head) -> None:
    """Make `head` the head, inside the open transaction."""
    pace = head.pace or Pace("", 0, 0, 0)
    execute(
        "INSERT INTO head(id, size, root, edge, boot, ticks, wall, sure) VALUES (1, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT(id) DO UPDATE SET size = excluded.size, root = excluded.root, edge = excluded.edge,"
        " boot = excluded.boot, ticks = excluded.ticks, wall = excluded.wall, sure = excluded.sure",
        (head.edge.size, head.root, b"".join(head.edge.hashes), *pace),
    )


def grow(execute: Execute, completed: Iterable[tuple[int, int, bytes]]) -> None:
    """Write the hashes of completed subtrees, (level, index, hash) in order, behind those of their tiles."""
    tiles: dict[tuple[int, int], bytes] = {}
    for level, index, found in completed:
        tile = level, index // TILE_WIDTH
        tiles[tile] = tiles.get(tile, b"") + found
    for (level, number), hashes in tiles.items():
        execute(
            "INSERT INTO tiles(level, tile, hashes) VALUES (?, ?, ?)"
            " ON CONFLICT DO UPDATE SET hashes = CAST(hashes || excluded.hashes AS BLOB)",
            (level, number, hashes),
        )


def plant(connection: sqlite3.Connection) -> None:
    """Build tiles and head over the entries there are, inside the open transaction."""
    edge = EMPTY
    rows = connection.execute("SELECT hash FROM entries ORDER BY seq")
    while batch := rows.fetchmany(_PLANTED_AT_ONCE):
        edge, completed = edge.extend([found for (found,) in batch])
        grow(connection.execute, completed)
    write_head(connection.execute, Head(edge, edge.root(), None))


def root_of(execute: Execute, size: int) -> bytes | None:
    """The root over the first `size` entries by the stored tiles; None where they do not give one."""
    try:
        return root_at(size, tiles(execute).node)
    except ValueError:
        return None


def tiles(execute: Execute) -> Tiles:
    """The stored tiles; those of level 0 are read from the entries."""

    def read(level: int, tile: int) -> Sequence[bytes]:
        if level:
            row = execute("SELECT hashes FROM tiles WHERE level = ? AND tile = ?", (level, tile)).fetchone()
            return () if row is None else split(row[0])
        first = tile * TILE_WIDTH
        rows = execute(
            "SELECT hash FROM entries WHERE seq >= ? AND seq < ? ORDER BY seq", (first, first + TILE_WIDTH)
        ).fetchall()
        return [found for (found,) in rows]

    return Tiles(read)
