"""The Merkle tree over a ledger's leaf hashes: its growing edge, its root, and proofs made and checked.

Rules: RFC 6962 §2.1 (leaves 0x00, nodes 0x01), checked as RFC 9162 §2.1.3.2 and §2.1.4.2 say; hashes are 32 bytes and
sizes count leaves; whatever comes from outside is checked before it is hashed, and nothing here reads or keeps it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

HASH_SIZE: Final = 32
"""Bytes in a hash."""

EMPTY_ROOT: Final = hashlib.sha256(b"").digest()
"""The root of the tree without leaves (RFC 6962 §2.1)."""

TILE_HEIGHT: Final = 8
TILE_WIDTH: Final = 1 << TILE_HEIGHT
"""A tile holds this many hashes of one level; the next level's hash stands for a whole tile (C2SP tlog-tiles)."""

_KEPT_TILES: Final = 256

Node = Callable[[int, int], bytes]
"""(height, index) -> the root of the perfect subtree of 2**height leaves, index counted in such subtrees."""


def leaf_hash(leaf: bytes) -> bytes:
    """The Merkle leaf hash of `leaf`: SHA-256 of 0x00 and the leaf (RFC 6962 §2.1)."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash above two hashes: SHA-256 of 0x01, the left and the right (RFC 6962 §2.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def _above(nodes: Sequence[bytes]) -> list[bytes]:
    """The nodes above `nodes`, taken in pairs; an odd last one has none."""
    # Spelled out rather than by `node_hash`: a call per node would cost as much as the hash.
    sha256 = hashlib.sha256
    return [sha256(b"\x01" + left + right).digest() for left, right in zip(nodes[::2], nodes[1::2], strict=False)]


def _folded(hashes: Sequence[bytes]) -> bytes:
    """The root over perfect subtrees, largest first."""
    root = hashes[-1]
    for left in reversed(hashes[:-1]):
        root = node_hash(left, root)
    return root


class Edge(NamedTuple):
    """The right edge of a tree: all that its root and its growth need."""

    size: int
    """Leaves so far."""
    hashes: tuple[bytes, ...]
    """The roots of the perfect subtrees, largest first: one for each bit of `size`."""

    def extend(self, leaves: Iterable[bytes]) -> tuple[Edge, list[tuple[int, int, bytes]]]:
        """The edge after these leaf hashes, and the full tiles this completes.

        A full tile is (level, index, hash): level >= 1, hash the root of the index-th subtree of 256**level leaves;
        lower levels first, each in order. Raises ValueError if the edge has not one hash for each bit of its size.
        """
        start = self.size
        if len(self.hashes) != start.bit_count():
            raise ValueError("an edge has one hash for each bit of its size")
        nodes = list(leaves)
        size = start + len(nodes)
        old, fresh = list(self.hashes), []
        completed: list[tuple[int, int, bytes]] = []
        height = 0
        # One height at a time: a batch costs one list per height, not a loop per leaf.
        while nodes:
            if start & 1:
                nodes.insert(0, old.pop())
            if len(nodes) & 1:
                fresh.append(nodes.pop())
            nodes = _above(nodes)
            start >>= 1
            height += 1
            if height % TILE_HEIGHT == 0:
                level = height // TILE_HEIGHT
                completed += [(level, index, node) for index, node in enumerate(nodes, start)]
        return Edge(size, (*old, *reversed(fresh))), completed

    def root(self) -> bytes:
        """The tree's root."""
        return _folded(self.hashes) if self.hashes else EMPTY_ROOT


class Tiles:
    """The perfect subtrees of a tree that does not change meanwhile, by its tiles. For one thread."""

    def __init__(self, read: Callable[[int, int], Sequence[bytes]]) -> None:
        """`read(level, tile)` gives the hashes of a tile: 256, fewer where the tree ends, none beyond."""
        self._read = read
        self._tiles: dict[tuple[int, int], list[Sequence[bytes]]] = {}

    def _tile(self, level: int, tile: int) -> list[Sequence[bytes]]:
        """A tile's hashes and those above them inside the tile, by height."""
        rows = self._tiles.get((level, tile))
        if rows is None:
            rows = [self._read(level, tile)]
            while len(rows) < TILE_HEIGHT:
                rows.append(_above(rows[-1]))
            if len(self._tiles) >= _KEPT_TILES:
                del self._tiles[next(iter(self._tiles))]
            self._tiles[level, tile] = rows
        return rows

    def node(self, height: int, index: int) -> bytes:
        """The root of the `index`-th perfect subtree of 2**height leaves. Raises ValueError if there is none."""
        level, above = divmod(height, TILE_HEIGHT)
        tile, place = divmod(index, TILE_WIDTH >> above)
        row = self._tile(level, tile)[above]
        if place >= len(row):
            raise ValueError("the tree has no such subtree")
        return row[place]


def _span(start: int, end: int, node: Node) -> bytes:
    """The root over the leaves from `start` to `end`, where `start` is a multiple of a power of two >= their number."""
    hashes = []
    for height in range((end - start).bit_length() - 1, -1, -1):
        if (end - start) >> height & 1:
            hashes.append(node(height, start >> height))
            start += 1 << height
    return _folded(hashes)


def root_at(size: int, node: Node) -> bytes:
    """The root the tree had when it had `size` leaves. Raises ValueError if it never had, and what `node` raises."""
    if size < 0:
        raise ValueError("a tree has no fewer leaves than none")
    return _span(0, size, node) if size else EMPTY_ROOT


def _split(start: int, end: int) -> int:
    """Where a subtree of at least two leaves divides: after the largest power of two below their number."""
    return start + (1 << (end - start - 1).bit_length() - 1)


def inclusion_path(index: int, size: int, node: Node) -> list[bytes]:
    """The proof that leaf `index` is in the tree of `size` leaves (RFC 6962 §2.1.1), its sibling first.

    Raises ValueError if there is no such leaf, and what `node` raises.
    """
    if not 0 <= index < size:
        raise ValueError("the tree has no such leaf")
    path = []
    start, end = 0, size
    while end - start > 1:
        middle = _split(start, end)
        if index < middle:
            path.append(_span(middle, end, node))
            end = middle
        else:
            path.append(_span(start, middle, node))
            start = middle
    path.reverse()
    return path


def consistency_path(old: int, new: int, node: Node) -> list[bytes]:
    """The proof that the tree of `new` leaves continues that of `old` (RFC 6962 §2.1.2).

    Empty where there is nothing to prove: from no leaves, or to the same size. Raises ValueError if `old` is negative
    or larger than `new`, and what `node` raises.
    """
    if not 0 <= old <= new:
        raise ValueError("a tree continues a smaller one")
    if old in (0, new):
        return []
    path = []
    start, end = 0, new
    while end != old:
        middle = _split(start, end)
        if old <= middle:
            path.append(_span(middle, end, node))
            end = middle
        else:
            path.append(_span(start, middle, node))
            start = middle
    # The verifier knows the old root; it needs the last piece only where that is not all of the old tree.
    if start:
        path.append(_span(start, end, node))
    path.reverse()
    return path


def _check_hashes(hashes: Iterable[bytes]) -> None:
    # Hashes of other lengths could be cut so that two different pairs give one node.
    if any(len(each) != HASH_SIZE for each in hashes):
        raise ValueError("a hash is 32 bytes")


def _next(left: int, last: int) -> tuple[int, int]:
    """Up to the next height at which the node at place `left` has a sibling to its left, or to the root."""
    while left and not left & 1:
        left >>= 1
        last >>= 1
    return left, last


def root_of_inclusion(index: int, size: int, leaf_hash: bytes, path: Sequence[bytes]) -> bytes:
    """The root that `path` claims for a tree of `size` leaves with this leaf hash at `index` (RFC 9162 §2.1.3.2).

    Raises ValueError if there is no such leaf, a hash is not 32 bytes, or the path is too short or too long.
    """
    if not 0 <= index < size:
        raise ValueError("the tree has no such leaf")
    _check_hashes((leaf_hash, *path))
    place, last = index, size - 1
    root = leaf_hash
    for each in path:
        if not last:
            raise ValueError("the path is too long")
        if place & 1 or place == last:
            root = node_hash(each, root)
            place, last = _next(place, last)
        else:
            root = node_hash(root, each)
        place >>= 1
        last >>= 1
    if last:
        raise ValueError("the path is too short")
    return root


def includes(index: int, size: int, leaf_hash: bytes, path: Sequence[bytes], root: bytes) -> bool:
    """Whether `path` proves that the tree of `size` leaves and this root has this leaf hash at `index`."""
    try:
        return root_of_inclusion(index, size, leaf_hash, path) == root
    except ValueError:
        return False


def is_consistent(old: int, new: int, path: Sequence[bytes], old_root: bytes, new_root: bytes) -> bool:
    """Whether `path` proves that the tree `new`, `new_root` continues `old`, `old_root` (RFC 9162 §2.1.4.2).

    Every tree continues the empty one, and itself; both need the empty path.
    """
    try:
        _check_hashes((old_root, new_root, *path))
    except ValueError:
        return False
    if old == new:
        return old >= 0 and not path and old_root == new_root and (old > 0 or old_root == EMPTY_ROOT)
    if old == 0:
        return new > 0 and not path and old_root == EMPTY_ROOT
    if not 0 < old < new or not path:
        return False
    place, last = old - 1, new - 1
    while place & 1:
        place >>= 1
        last >>= 1
    # A perfect old tree is itself the first piece, which the path leaves out.
    first, *rest = path if place else (old_root, *path)
    before = after = first
    for each in rest:
        if not last:
            return False
        if place & 1 or place == last:
            before, after = node_hash(each, before), node_hash(each, after)
            place, last = _next(place, last)
        else:
            after = node_hash(after, each)
        place >>= 1
        last >>= 1
    return not last and before == old_root and after == new_root
