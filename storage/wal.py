"""SQLite's write-ahead log as bytes: whether there is anything in it.

Rules: reads, and never writes; the format is SQLite's, https://sqlite.org/fileformat2.html#the_write_ahead_log.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

_HEADER: Final = struct.Struct(">8I")
_FRAME: Final = struct.Struct(">6I")
_MAGIC: Final = 0x377F0682
_VERSION: Final = 3007000

_Sums = tuple[int, int]


def _add(sums: _Sums, data: bytes, order: str) -> _Sums:
    """The two running sums that SQLite keeps over header and frames."""
    first, second = sums
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return first, second


def holds_a_commit(log: Path) -> bool:
    """Whether SQLite would read anything from this log: a whole transaction, after a header that is whole.

    Raises OSError.
    """
    with log.open("rb") as file:
        head = file.read(_HEADER.size)
        if len(head) < _HEADER.size:
            return False
        magic, version, page, _, salt, pepper, *sums = _HEADER.unpack(head)
        order = ">" if magic & 1 else "<"
        running = _add((0, 0), head[:24], order)
        if magic & ~1 != _MAGIC or version != _VERSION or list(running) != sums:
            return False
        while len(frame := file.read(_FRAME.size + page)) == _FRAME.size + page:
            _, pages, *salts, first, second = _FRAME.unpack_from(frame)
            running = _add(_add(running, frame[:8], order), frame[_FRAME.size :], order)
            if salts != [salt, pepper] or running != (first, second):
                return False
            if pages:  # the frame that ends a transaction says how long the file is then
                return True
    return False
