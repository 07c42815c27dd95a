"""The growing end of a region's ledger: entries are stamped and hashed, the tree grows, checkpoints are signed.

Rules: owned by the writer's thread; entries get their number when they are appended and are inserted together; tiles,
head, spans and checkpoint are written in the transaction that appends; nothing is signed outside the transaction that
stores it. Two stamps stand in front of every entry: `after_us`, microseconds since the entry before, and `ahead`, how
many entries about the same call stand before it; both sort before every other key, so that the entry stays canonical.
"""

from __future__ import annotations

import time
from typing import Final, NamedTuple

from storage.clock import Clock, Pace, advance
from storage.engine import sqlite3
from storage.entry import canonical
from storage.many import Insertion
from storage.merkle import Edge, leaf_hash
from storage.moment import from_microseconds, rfc3339
from storage.note import Checkpoint, Note
from storage.signing import Signer
from storage.spans import Tail, count
from storage.tree import Head, grow, read_head, write_head

_REMEMBERED_COUNTS: Final = 50_000
_insert: Final = Insertion("entries", "seq", "call", "leaf", "hash")


class _Mark(NamedTuple):
    """Where a submission began."""

    size: int
    hashes: int
    pace: Pace | None
    after: int | None


class Ledger:
    """The ledger's end on the writer's connection; what is not committed yet is forgotten by `forget`."""

    def __init__(self, connection: sqlite3.Connection, signer: Signer, clock: Clock) -> None:
        """Read where the ledger ends. Raises sqlite3.Error."""
        self._connection = connection
        self._signer = signer
        self._clock = clock
        head = read_head(connection.execute)
        self._edge = head.edge
        self._pace = self._kept_pace = head.pace
        self.size = head.edge.size
        """How many entries there are, those of the open transaction included."""
        self._values: list[int | bytes | None] = []
        self._events: list[tuple[bytes, int]] = []
        self._hashes: list[bytes] = []
        self._abouts: list[int | None] = []
        """The call that each entry of the open transaction is about."""
        self._tail = Tail()
        self._tail.follow(connection.execute)
        self._listed: dict[int, int] = {}
        """How many entries about a call the committed spans list."""
        self._after: int | None = None
        self._signing = False
        self._written: tuple[Edge, str | None, bool] | None = None
        last = connection.execute("SELECT size, note FROM checkpoints ORDER BY size DESC LIMIT 1").fetchone()
        self._signed: int = -1 if last is None else last[0]
        self.checkpoint: str | None = None if last is None else last[1]
        """The newest durable checkpoint's note; any thread may read it."""
        self.signed_at = 0.0
        """When, by the monotonic clock, in seconds; long ago for one from before this process."""

    @property
    def durable(self) -> int:
        """How many entries are committed."""
        return self._edge.size

    @property
    def unsigned(self) -> bool:
        """Whether committed entries are not covered by a checkpoint."""
        return self._signed != self._edge.size

    @property
    def sure(self) -> int:
        """The wall time, in microseconds, that has come even if somebody set the clock ahead."""
        return advance(self._pace, self._clock()).pace.sure

    def sign(self) -> None:
        """Cover everything up to the end of this transaction by a checkpoint signed in it."""
        self._signing = True

    def append(self, leaf: bytes, about: int | None) -> int:
        """Append `leaf`, canonical JSON of an object, about the call of that row or about none; its number.

        Raises ValueError for anything else, and for keys that sort before the stamps.
        """
        if not b'{"ahead"~' < leaf < b"{#":
            raise ValueError("a leaf is an object whose keys sort behind `ahead`")
        after = self._after
        if after is None:
            after = self._measure()
        self._after = 0
        if about is None:
            leaf = b'{"after_us":%d,%b' % (after, leaf[1:])
        else:
            listed = self._listed.get(about)
            if listed is None:
                listed = self._remember(about, count(self._connection.execute, about))
            behind = self._tail.calls[about]
            leaf = b'{"after_us":%d,"ahead":%d,%b' % (after, listed + len(behind), leaf[1:])
            behind.append(self.size)
        self._abouts.append(about)
        seq = self.size
        digest = leaf_hash(leaf)
        self._values += (seq, about, leaf, digest)
        self._hashes.append(digest)
        self.size = seq + 1
        return seq

    def tell_of(self, event: bytes, seq: int) -> None:
        """The entry tells of the event with that digest.

        Written behind the entries: what refers to one that is not there yet has SQLite look through all such rows for
        every entry that comes.
        """
        self._events.append((event, seq))

    def _measure(self) -> int:
        """What passed since the last entry; a jump of the wall clock and a new boot are entries of their own."""
        passed = advance(self._pace, self._clock())
        self._pace = passed.pace
        self._after = passed.elapsed
        at = rfc3339(from_microseconds(passed.pace.wall))
        if passed.rebooted:
            self.append(canonical({"kind": "clock.began", "at": at}), None)
        elif passed.jump:
            self.append(canonical({"kind": "clock.jumped", "at": at, "by_ms": passed.jump // 1000}), None)
        else:
            return passed.elapsed
        return 0

    def expect(self, about: int) -> None:
        """The call of that row is new: nothing was ever written about it, so nobody need look."""
        self._remember(about, 0)

    def _remember(self, about: int, listed: int) -> int:
        if len(self._listed) >= _REMEMBERED_COUNTS:
            self._listed.clear()
        self._listed[about] = listed
        return listed

    def flush(self) -> None:
        """Insert what is buffered."""
        _insert(self._connection.execute, self._values)
        self._values.clear()
        if self._events:
            self._connection.executemany(
                "INSERT INTO event_entries(digest, seq) VALUES (?, ?) ON CONFLICT DO UPDATE SET seq = excluded.seq",
                self._events,
            )
            self._events.clear()

    # -- the transaction ------------------------------------------------------------------------------------------

    def write(self) -> None:
        """Before the commit: insert entries, tiles, head and, where they are due, a span and a checkpoint."""
        self.flush()
        edge, note = self._edge, None
        execute = self._connection.execute
        if self._hashes:
            edge, completed = edge.extend(self._hashes)
            grow(execute, completed)
            write_head(execute, Head(edge, edge.root(), self._pace))
        spanned = self._tail.fills_span(edge.size)
        if spanned:
            self._tail.write_span(execute, edge.size)
        if self._signing and edge.size != self._signed:
            body = Checkpoint(self._signer.verifier.name, edge.size, edge.root()).body()
            note = Note(body, (self._signer.sign(body),)).text()
            execute("INSERT INTO checkpoints(size, note) VALUES (?, ?)", (edge.size, note))
        self._written = edge, note, spanned

    def settle(self) -> None:
        """After the commit: what was written is durable."""
        assert self._written is not None
        self._edge, note, spanned = self._written
        if spanned:
            self._end_tail()
        if note is not None:
            self._signed, self.checkpoint, self.signed_at = self._edge.size, note, time.monotonic()
        self._kept_pace = self._pace
        self._begin_anew()

    def forget(self) -> None:
        """After a rollback: nothing of it was."""
        self._pace = self._kept_pace
        self.size = self._edge.size
        self._values.clear()
        self._events.clear()
        self._unfile(0)
        self._begin_anew()

    def _end_tail(self) -> None:
        for about, behind in self._tail.calls.items():
            if about in self._listed:
                self._listed[about] += len(behind)
        self._tail.begin(self._edge.size)

    def _unfile(self, start: int) -> None:
        """Take the entries of the open transaction from the one at `start` on out of the tail."""
        for about in self._abouts[start:]:
            if about is not None:
                self._tail.calls[about].pop()
        del self._abouts[start:]

    def _begin_anew(self) -> None:
        self._hashes.clear()
        self._abouts.clear()
        self._after = None
        self._signing = False
        self._written = None

    def mark(self) -> _Mark:
        """Where to come back to by `undo`."""
        self.flush()
        return _Mark(self.size, len(self._hashes), self._pace, self._after)

    def undo(self, mark: _Mark) -> None:
        """Forget what was appended since `mark`, whose rows were rolled back."""
        self._values.clear()
        self._events.clear()
        self._unfile(mark.hashes)
        self.size, self._pace, self._after = mark.size, mark.pace, mark.after
        del self._hashes[mark.hashes :]

    def move_to(self, connection: sqlite3.Connection) -> bool:
        """Go on with a fresh connection; whether the file ends where the last confirmed commit left it."""
        self._connection = connection
        return read_head(connection.execute).edge == self._edge
