"""A pack's outer form: a zip with exactly one way to write given files, so that a changed byte shows anywhere in it.

Rules: stored without compression, sorted by name, dated 1980-01-01, readable by its owner only, without extra fields
or comments (APPNOTE 6.3 §4.3, no zip64); what is read is written again and compared byte for byte. Nothing is ever
extracted, so a name leads nowhere.
"""

from __future__ import annotations

import re
import struct
from binascii import crc32
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

LARGEST: Final = 1 << 30
"""Bytes of the largest pack."""
MOST_FILES: Final = 1000
"""Files in a pack at most."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*(?:/[A-Za-z0-9][A-Za-z0-9_.-]*)*")
_LONGEST_NAME: Final = 255

_LOCAL: Final = struct.Struct("<4s5H3I2H")
_CENTRAL: Final = struct.Struct("<4s6H3I5H2I")
_END: Final = struct.Struct("<4s4H2IH")
_LOCAL_MAGIC, _CENTRAL_MAGIC, _END_MAGIC = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_NEEDED: Final = 10
"""The version of the format that a reader must know: 1.0, for nothing is compressed."""
_MADE_BY: Final = 3 << 8 | _NEEDED
"""Unix, so that the attributes are a file's mode."""
_DATE: Final = 1 << 5 | 1
"""1980-01-01, at no time."""
_ATTRIBUTES: Final = 0o100600 << 16


class NoPack(ValueError):
    """The bytes are no pack at all; the text says what they lack."""


class BrokenPack(ValueError):
    """The bytes were a pack once; the text says where they are none any more."""


class _Place(NamedTuple):
    """Where a file's bytes lie, as the directory says."""

    name: str
    checksum: int
    size: int
    offset: int


def write(files: Mapping[str, bytes]) -> bytes:
    """The one zip that holds `files`, by name.

    Raises ValueError for a name that is not plain (letters, digits, `_`, `.`, `-`, folders apart by `/`) and beyond
    `MOST_FILES` or `LARGEST`.
    """
    _check(files)
    return b"".join(_parts(files))


def read(data: bytes) -> dict[str, bytes]:
    """The files of a pack, by name. Raises NoPack or BrokenPack."""
    if not (data.startswith(_LOCAL_MAGIC) or data[-_END.size :].startswith(_END_MAGIC)):
        raise NoPack("it is no zip file")
    if len(data) > LARGEST:
        raise BrokenPack(f"it has more than {LARGEST} bytes")
    files: dict[str, bytes] = {}
    for place in _directory(data):
        start = place.offset + _LOCAL.size + len(place.name)
        content = data[start : start + place.size]
        if len(content) != place.size or crc32(content) != place.checksum:
            raise BrokenPack(f"{place.name}: its bytes do not fit their checksum")
        files[place.name] = content
    _check_form(data, files)
    return files


def _check(files: Mapping[str, bytes]) -> None:
    for name in files:
        if len(name) > _LONGEST_NAME or not _NAME.fullmatch(name):
            raise ValueError("a file's name in a pack is not plain")
    headers = sum(_LOCAL.size + _CENTRAL.size + 2 * len(name) for name in files)
    if len(files) > MOST_FILES or headers + sum(map(len, files.values())) + _END.size > LARGEST:
        raise ValueError(f"a pack has at most {MOST_FILES} files and {LARGEST} bytes")


def _parts(files: Mapping[str, bytes]) -> Iterator[bytes]:
    """The zip piece by piece: the files, the directory, the end."""
    directory: list[bytes] = []
    offset = 0
    for name, content in sorted(files.items()):
        encoded = name.encode("ascii")
        about = (_NEEDED, 0, 0, 0, _DATE, crc32(content), len(content), len(content), len(encoded), 0)
        directory.append(_CENTRAL.pack(_CENTRAL_MAGIC, _MADE_BY, *about, 0, 0, 0, _ATTRIBUTES, offset) + encoded)
        header = _LOCAL.pack(_LOCAL_MAGIC, *about) + encoded
        yield header
        yield content
        offset += len(header) + len(content)
    yield from directory
    size = sum(map(len, directory))
    yield _END.pack(_END_MAGIC, 0, 0, len(directory), len(directory), size, offset, 0)


def _directory(data: bytes) -> Iterator[_Place]:
    """The files that the zip's directory lists. Raises BrokenPack."""
    end = len(data) - _END.size
    if end < 0 or not data.startswith(_END_MAGIC, end):
        raise BrokenPack("its end is cut off or changed")
    _, _, _, _, count, size, start, _ = _END.unpack_from(data, end)
    if start + size != end or count > MOST_FILES:
        raise BrokenPack("its directory is not where its end says")
    at, offset = start, 0
    for _ in range(count):
        if at + _CENTRAL.size > end:
            raise BrokenPack("its directory is cut off or changed")
        fields = _CENTRAL.unpack_from(data, at)
        name = data[at + _CENTRAL.size : at + _CENTRAL.size + fields[10]].decode("ascii", "replace")
        if fields[0] != _CENTRAL_MAGIC or len(name) > _LONGEST_NAME or not _NAME.fullmatch(name):
            raise BrokenPack("its directory is cut off or changed")
        if fields[4]:
            raise BrokenPack(f"{name}: it was packed again, compressed; the pack as it was made is needed")
        place = _Place(name, fields[7], fields[9], fields[16])
        # One behind the other, so that a small zip cannot hold the same bytes a thousand times.
        if place.offset != offset:
            raise BrokenPack(f"{name}: it does not lie where it must")
        yield place
        offset += _LOCAL.size + len(name) + place.size
        at += _CENTRAL.size + len(name)


def _check_form(data: bytes, files: Mapping[str, bytes]) -> None:
    """Raises BrokenPack at the first byte that `write` would have written otherwise."""
    view, at = memoryview(data), 0
    for part in _parts(files):
        if view[at : at + len(part)] != part:
            raise BrokenPack(f"it is not written as a pack is, near byte {at}")
        at += len(part)
    if at != len(data):
        raise BrokenPack(f"it goes on after its end, at byte {at}")
