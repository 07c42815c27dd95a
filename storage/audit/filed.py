"""Whether a ledger's spans list what its entries say: of each call every entry that they cover, and no other.

Rules: compared while the entries go by in order, with one row of each call in memory; every number is taken off its
row by the entry that it means, and every row is used up, so that nothing can be left out, added or listed twice. What
is wrong first is kept for whoever asks: an entry that was changed is worse, and said before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from storage.engine import sqlite3
from storage.spans import unpack

_ROW: Final = "SELECT first, seqs FROM spans WHERE call = ? AND first <= ? ORDER BY first DESC LIMIT 1"


class Filing:
    """The spans, as far as entries went by."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """In a file from before there were spans nothing is compared; its index is the engine's to check."""
        self.fault: str | None = None
        """The first thing that is wrong."""
        self._connection = connection
        self._rows = self._spanned = 0
        if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'spans'").fetchone() is not None:
            (self._rows,) = connection.execute("SELECT count(*) FROM spans").fetchone()
            (self._spanned,) = connection.execute("SELECT coalesce(max(spanned), 0) FROM head").fetchone()
        self._size = 0
        self._listed: dict[int, list[int]] = {}
        """What is left of the row at which each call is, the next number last."""

    def compare(self, start: int, calls: Sequence[int | None]) -> None:
        """The next entries, from `start` on, are about these calls."""
        self._size = start + len(calls)
        if self.fault is None:
            self.fault = self._difference(start, calls[: max(0, self._spanned - start)])

    def _difference(self, start: int, calls: Sequence[int | None]) -> str | None:
        listed = self._listed
        for number, call in enumerate(calls, start):
            if call is None:
                continue
            left = listed.get(call) or self._next_row(call, number)
            if not left or left[-1] > number:
                return f"entry {number} is not listed under its call"
            if (other := left.pop()) != number:
                return f"entry {other} is listed where it does not belong"
        return None

    def _next_row(self, call: int, number: int) -> list[int]:
        """The row of the call that may begin with the entry `number`; empty where there is none."""
        row = self._connection.execute(_ROW, (call, number)).fetchone()
        if row is None:
            return []
        self._rows -= 1
        try:
            left = unpack(*row)
        except (ValueError, TypeError):
            left = []
        left.reverse()
        if left and left[0] < number:  # the row that was used up by the entry before
            return []
        self._listed[call] = left
        return left

    def end(self) -> str | None:
        """All entries went by: what is wrong."""
        if self.fault is None and self._spanned > self._size:
            self.fault = f"spans cover {self._spanned} entries and {self._size} are there"
        left = [numbers[-1] for numbers in self._listed.values() if numbers]
        if self.fault is None and left:
            self.fault = f"entry {min(left)} is listed where it does not belong"
        if self.fault is None and self._rows:
            self.fault = "spans list more than the entries they cover"
        return self.fault
