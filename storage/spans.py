"""Where the entries about a call are: spans list them by call, and behind the last span begins the tail.

Rules: a span covers the entries from the end of the one before it; its rows, one for each call that it has entries of,
are written in the transaction that ends it, and never again. Where the tail begins stands in the head, so nobody who
reads needs to know how long spans are. The tail is found by looking at the entries themselves, each once.
"""

from __future__ import annotations

import struct
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import chain
from typing import Any, Final

from storage.engine import sqlite3
from storage.many import Insertion

LENGTH: Final = 32_768
"""How many entries a span has, or more: all of the commit that ends it."""

OFFSET_SIZE: Final = 4
"""Bytes of one entry's number in a row: big-endian, counted from the first entry of the span."""

Execute = Callable[..., Any]
"""A connection's `execute`."""

_insert: Final = Insertion("spans", "call", "first", "seqs")


class Tail:
    """The entries behind the last span, by the calls they are about."""

    def __init__(self) -> None:
        self.first = 0
        """The first entry that no span covers."""
        self.calls: defaultdict[int, array[int]] = defaultdict(partial(array, "Q"))
        """The numbers of the entries about each call, in order."""
        self._seen = 0

    def begin(self, first: int) -> None:
        """Forget what there was: a span covers everything before `first`."""
        self.first = self._seen = first
        self.calls.clear()

    def follow(self, execute: Execute) -> None:
        """Look at the entries that came since, in the snapshot of `execute`. Raises sqlite3.Error."""
        (first,) = execute("SELECT spanned FROM head").fetchone()
        if first != self.first:
            self.begin(first)
        self.add(execute("SELECT seq, call FROM entries WHERE seq >= ? ORDER BY seq", (self._seen,)))

    def add(self, entries: Iterable[tuple[int, int | None]]) -> None:
        """The next entries, each with the call it is about."""
        for seq, call in entries:
            self._seen = seq + 1
            if call is not None:
                self.calls[call].append(seq)

    def numbers(self, execute: Execute, calls: Iterable[int]) -> list[int]:
        """The numbers of all entries about these calls, those of each in order. Raises sqlite3.Error, ValueError."""
        found: list[int] = []
        for call in calls:
            for first, seqs in execute("SELECT first, seqs FROM spans WHERE call = ? ORDER BY first", (call,)):
                found += unpack(first, seqs)
            found += self.calls.get(call, ())
        return found

    def fills_span(self, end: int) -> bool:
        """Whether it is as long as a span, up to the entry before `end`."""
        return end - self.first >= LENGTH

    def write_span(self, execute: Execute, end: int) -> None:
        """Let a span cover it up to the entry before `end`, inside the open transaction. Raises sqlite3.Error.

        It stays as it is until the transaction is committed, and begins anew then.
        """
        first, calls = self.first, self.calls
        # In the order of their keys, so that neighbours share a page; what was rolled back leaves calls without any.
        rows = [(call, first, pack(first, calls[call])) for call in sorted(calls) if calls[call]]
        _insert(execute, list(chain.from_iterable(rows)))
        execute("UPDATE head SET spanned = ?", (end,))


def count(execute: Execute, call: int) -> int:
    """How many entries about this call the spans list. Raises sqlite3.Error."""
    (size,) = execute("SELECT coalesce(sum(length(seqs)), 0) FROM spans WHERE call = ?", (call,)).fetchone()
    return int(size) // OFFSET_SIZE


def pack(first: int, numbers: Sequence[int]) -> bytes:
    """What a row of the span that begins with `first` says of these entries."""
    return struct.pack(f">{len(numbers)}I", *[number - first for number in numbers])


def unpack(first: int, seqs: bytes) -> list[int]:
    """The entries of a row. Raises ValueError for what is no such list."""
    if len(seqs) % OFFSET_SIZE:
        raise ValueError("a row of a span is damaged")
    return [first + offset for (offset,) in struct.iter_unpack(">I", seqs)]


def lay(connection: sqlite3.Connection) -> None:
    """Build spans over the entries there are, inside the open transaction; the rest of them is the tail."""
    tail = Tail()
    rows = connection.execute("SELECT seq, call FROM entries ORDER BY seq")
    while batch := rows.fetchmany(LENGTH):
        end = batch[-1][0] + 1
        tail.add(batch)
        if tail.fills_span(end):
            tail.write_span(connection.execute, end)
            tail.begin(end)
