"""Many rows by one statement.

Rules: each statement lets another thread run, and to wait for one's turn again costs more than a row; so rows go in by
the hundred, and the last few by fewer statements than there are rows. Tables and columns are words of this program.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

_AT_ONCE: Final = (128, 16, 4, 1)


class Insertion:
    """INSERT of rows with these columns into one table."""

    def __init__(self, table: str, *columns: str) -> None:
        self._width = len(columns)
        row = f"({', '.join('?' * self._width)})"
        into = f"INSERT INTO {table}({', '.join(columns)}) VALUES "  # noqa: S608 - words of ours
        self._statements = tuple((count, into + ", ".join([row] * count)) for count in _AT_ONCE)

    def __call__(self, execute: Callable[..., Any], values: Sequence[object]) -> None:
        """Insert `values`, the columns of one row behind those of another. Raises sqlite3.Error."""
        start = 0
        for count, statement in self._statements:
            end = start + count * self._width
            while end <= len(values):
                execute(statement, values[start:end])
                start, end = end, end + count * self._width
