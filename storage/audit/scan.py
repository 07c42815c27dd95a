"""One pass over a ledger's entries: numbers, hashes, stamps, calls, and the tree that they make.

Rules: RFC 6962 §2.1 over what is hashed here, never over stored hashes; entries come in order and in batches, and of a
leaf only the stamps and the call are read; entries from before there were stamps can only be the first ones. What is
wrong is said with the entry's number and never with its content.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from storage.audit.filed import Filing
from storage.audit.verdict import TAMPERED, Refused
from storage.engine import sqlite3
from storage.merkle import HASH_SIZE, TILE_WIDTH, Edge

_ROWS: Final = 256
"""Entries in memory at a time; one that many people share is as long as they are many."""


class _Leaf(msgspec.Struct, gc=False):
    """What of a leaf is compared with the columns beside it."""

    after_us: int | None = None
    ahead: int | None = None
    kind: Any = None
    organization: Any = None
    call: Any = None


_UNKNOWN: Final = "recording.found"
"""What may name a call under which it is not filed: a recording of one that nobody knows."""
_decode: Final = msgspec.json.Decoder(_Leaf).decode


class Scan:
    """The entries read so far."""

    def __init__(self, connection: sqlite3.Connection, origin: str, signed: Mapping[int, bytes]) -> None:
        """`signed` are the roots that the ledger's own checkpoints claim, by size."""
        self.edge = Edge(0, ())
        """The tree over the entries."""
        self.levels: dict[int, list[bytes]] = {}
        """The hashes of complete tiles, by the level at which they stand."""
        self.filing: Final = Filing(connection)
        """Whether the spans list the same."""
        self._connection = connection
        self._origin = origin
        self._signed = signed
        self._sound = 0
        self._stamped = False
        self._counts: dict[int, int] = {}
        self._calls = self._read_calls()

    def _read_calls(self) -> dict[int, tuple[object, object]]:
        """The calls by their rows. Raises Refused where one has two: each would be counted by itself."""
        rows = self._connection.execute("SELECT id, organization, call FROM calls")
        calls: dict[int, tuple[object, object]] = {row: (organization, call) for row, organization, call in rows}
        if len(set(calls.values())) != len(calls):
            raise self._refused("a call is there twice")
        return calls

    def run(self, marks: Iterable[int]) -> dict[int, bytes]:
        """Read all entries; the roots of those trees of `marks` leaves that there were. Raises Refused, sqlite3.Error.

        Refused, too, where the root is not the signed one.
        """
        wanted = sorted({*marks, *self._signed}, reverse=True)
        roots: dict[int, bytes] = {}
        cursor = self._connection.execute("SELECT seq, call, leaf, hash FROM entries ORDER BY seq")
        hashes: Sequence[bytes] = ()
        while True:
            start = self.edge.size
            while wanted and wanted[-1] <= start + len(hashes):
                size = wanted.pop()
                self._extend(hashes[self.edge.size - start : size - start])
                roots[size] = self._root(size)
            self._extend(hashes[self.edge.size - start :])
            rows = cursor.fetchmany(_ROWS)
            if not rows:
                return roots
            hashes = self._checked(rows)

    def _extend(self, hashes: Sequence[bytes]) -> None:
        self.edge, completed = self.edge.extend(hashes)
        for level, _, found in completed:
            self.levels.setdefault(level, []).append(found)

    def _root(self, size: int) -> bytes:
        root = self.edge.root()
        if self._signed.get(size, root) != root:
            first, last = self._narrowed(self._sound, size - 1)
            place = f"entry {first} is not what was" if first == last else f"entries {first} to {last} are not those"
            raise self._refused(f"{place} signed" if size else "the first checkpoint is not of an empty ledger")
        if size in self._signed:
            self._sound = size
        return root

    def _narrowed(self, first: int, last: int) -> tuple[int, int]:
        """Where among these entries the stored tiles say that a change is, if whoever made it left them alone."""
        found = self.levels.get(1, [])
        rows = self._connection.execute(
            "SELECT tile, hashes FROM tiles WHERE level = 1 AND tile >= 0"
            " AND typeof(tile) = 'integer' AND typeof(hashes) = 'blob' ORDER BY tile"
        )
        for tile, hashes in rows:
            for place, computed in enumerate(found[tile * TILE_WIDTH : (tile + 1) * TILE_WIDTH]):
                if hashes[place * HASH_SIZE : (place + 1) * HASH_SIZE] != computed:
                    index = tile * TILE_WIDTH + place
                    return max(first, index * TILE_WIDTH), (index + 1) * TILE_WIDTH - 1
        return first, last

    # -- one batch ----------------------------------------------------------------------------------------------------

    def _checked(self, rows: Sequence[tuple[int, int | None, bytes, bytes]]) -> list[bytes]:
        """The leaf hashes of these rows, the next ones. Raises Refused."""
        start = self.edge.size
        numbers, calls, leaves, stored = zip(*rows, strict=True)
        if numbers != tuple(range(start, start + len(rows))):
            self._refuse_numbers(start, numbers)
        sha256 = hashlib.sha256
        try:
            hashes = [sha256(b"\x00" + leaf).digest() for leaf in leaves]
            if tuple(hashes) != stored:
                self._refuse_hashes(start, hashes, stored)
            self._check_leaves(start, calls, [_decode(leaf) for leaf in leaves])
            self.filing.compare(start, calls)
        except (TypeError, RecursionError, msgspec.MsgspecError):
            self._refuse_leaves(start, leaves)
            raise
        return hashes

    def _check_leaves(self, start: int, calls: Sequence[int | None], leaves: Sequence[_Leaf]) -> None:
        counts, names, stamped = self._counts, self._calls, self._stamped
        for number, (call, leaf) in enumerate(zip(calls, leaves, strict=True), start):
            if leaf.after_us is None:
                if stamped or leaf.ahead is not None:
                    raise self._refused(f"entry {number} does not say when it was written")
            elif leaf.after_us < 0:
                raise self._refused(f"entry {number} was written before the one before it")
            else:
                stamped = True
            if call is None:
                if leaf.ahead is not None:
                    raise self._refused(f"entry {number} is filed under no call")
                named = leaf.organization is not None and leaf.call is not None
                if named and leaf.after_us is not None and leaf.kind != _UNKNOWN:
                    raise self._refused(f"entry {number} is about a call and filed under none")
                continue
            ahead = counts.get(call, 0)
            if leaf.ahead != ahead and (stamped or leaf.ahead is not None):
                raise self._refused(f"entry {number} does not stand where it says among those of its call")
            name = names.get(call)
            if name is None or leaf.organization != name[0] or leaf.call != name[1]:
                raise self._refused(f"entry {number} is filed under another call")
            counts[call] = ahead + 1
        self._stamped = stamped

    # -- what is wrong in a batch -------------------------------------------------------------------------------------

    def _refused(self, found: str) -> Refused:
        return Refused(TAMPERED, f"{self._origin}: {found}")

    def _refuse_numbers(self, start: int, numbers: Sequence[object]) -> None:
        for expected, number in enumerate(numbers, start):
            if number != expected:
                raise self._refused(f"entry {expected} is missing")

    def _refuse_hashes(self, start: int, hashes: Sequence[bytes], stored: Sequence[object]) -> None:
        for number, (computed, found) in enumerate(zip(hashes, stored, strict=True), start):
            if computed != found:
                raise self._refused(f"entry {number} was changed")

    def _refuse_leaves(self, start: int, leaves: Sequence[object]) -> None:
        for number, leaf in enumerate(leaves, start):
            try:
                if type(leaf) is bytes and _decode(leaf):
                    continue
            except (RecursionError, msgspec.MsgspecError):
                pass
            raise self._refused(f"entry {number} is no entry")
