"""A pack's outer form: one way to write given files, and every other way is told from it."""

from __future__ import annotations

import io
import random
import struct
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.audit import archive
from storage.audit.archive import BrokenPack, NoPack, read, write

FILES = {"manifest.json": b"{}\n", "regions/europe/entries.jsonl": b'{"a":1}\n{"a":2}\n', "README.txt": b""}
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,9}(/[A-Za-z0-9][A-Za-z0-9_.-]{0,9}){0,2}", fullmatch=True)


@given(st.dictionaries(NAMES, st.binary(max_size=200), max_size=8))
def test_what_is_written_is_read(files: dict[str, bytes]) -> None:
    """The files come back, whatever they hold, and in one way only whatever their order was."""
    data = write(files)
    assert read(data) == files
    assert write(dict(reversed(files.items()))) == data


def test_any_zip_reader_reads_it() -> None:
    """A pack needs none of our code to be read: it is a plain zip, private and from 1980."""
    with zipfile.ZipFile(io.BytesIO(write(FILES))) as pack:
        assert pack.testzip() is None
        assert {name: pack.read(name) for name in pack.namelist()} == FILES
        assert pack.namelist() == sorted(FILES)
        for info in pack.infolist():
            assert info.date_time == (1980, 1, 1, 0, 0, 0)
            assert (info.compress_type, info.external_attr >> 16, info.extra) == (zipfile.ZIP_STORED, 0o100600, b"")


def test_every_flipped_bit_shows() -> None:
    """No bit of a pack is without meaning: not of contents, headers, dates or attributes."""
    data = write(FILES)
    for place in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[place] ^= 1 << bit
            with pytest.raises(BrokenPack):
                read(bytes(changed))


def test_the_changed_file_is_named() -> None:
    """Where a file's own bytes were changed, the line says which."""
    data = bytearray(write(FILES))
    data[data.index(b'{"a":2}')] ^= 1
    with pytest.raises(BrokenPack, match=r"regions/europe/entries.jsonl: its bytes do not fit"):
        read(bytes(data))


def test_every_truncation_shows() -> None:
    """A pack cut off anywhere is a broken one, at its front too; of the magic alone nothing can be said."""
    data = write(FILES)
    for length in range(4, len(data)):
        with pytest.raises(BrokenPack):
            read(data[:length])
        if length >= 22:
            with pytest.raises(BrokenPack):
                read(data[-length:])


def test_more_or_doubled_bytes_show() -> None:
    """Nothing may stand behind, before or between."""
    data = write(FILES)
    for changed in (data + b"\0", b"\0" + data, data + data, data[:30] + b"\0" + data[30:]):
        with pytest.raises(BrokenPack):
            read(changed)


@pytest.mark.parametrize("data", [b"", b"P", b"PK\x03", b"{}", b"%PDF-1.7", b"PK\x01\x02" + bytes(60), bytes(1000)])
def test_what_is_no_zip_is_told_from_a_broken_one(data: bytes) -> None:
    """Whoever names a wrong file hears that, not of tampering."""
    with pytest.raises(NoPack):
        read(data)


def other_zip(**differently: object) -> bytes:
    """The same files, as another writer would put them."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as pack:
        for name, content in sorted(FILES.items()):
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.create_system, info.external_attr, info.create_version, info.extract_version = (
                3,
                0o100600 << 16,
                10,
                10,
            )
            for field, value in differently.items():
                setattr(info, field, value)
            pack.writestr(info, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "differently",
    [
        {"compress_type": zipfile.ZIP_DEFLATED},
        {"date_time": (2026, 11, 23, 14, 0, 0)},
        {"external_attr": 0o100644 << 16},
        {"create_system": 0},
        {"extra": struct.pack("<HH", 0xCAFE, 0)},
        {"comment": b"signed by nobody"},
        {"internal_attr": 1},
    ],
)
def test_another_writer_is_seen(differently: dict[str, object]) -> None:
    """A zip with the same files and any other form is no pack as it was made."""
    with pytest.raises(BrokenPack):
        read(other_zip(**differently))


def test_two_files_of_one_name_show() -> None:
    """The second could be the one that another reader shows."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as pack:
        pack.writestr(zipfile.ZipInfo("manifest.json"), b"one")
        with pytest.warns(UserWarning, match="Duplicate"):
            pack.writestr(zipfile.ZipInfo("manifest.json"), b"two")
    with pytest.raises(BrokenPack):
        read(buffer.getvalue())


def test_files_do_not_lie_over_each_other() -> None:
    """A directory that names the same bytes again and again is refused before they are copied."""
    data = bytearray(write({"a": b"x" * 100, "b": b""}))
    directory = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 1)
    struct.pack_into("<I", data, directory + 42, 0)
    with pytest.raises(BrokenPack, match="b: it does not lie where it must"):
        read(bytes(data))


@pytest.mark.parametrize("name", ["", "/a", "../a", "a//b", "a/", "a\\b", "ä", "a\n", ".hidden", "a/../b", "x" * 256])
def test_names_that_are_not_plain_are_refused(name: str) -> None:
    """A pack holds what its maker chose to name, in letters everybody reads alike."""
    with pytest.raises(ValueError, match="not plain"):
        write({name: b""})


def test_a_pack_has_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither too many files nor too many bytes are written or read."""
    with pytest.raises(ValueError, match="at most"):
        write({f"f{number}": b"" for number in range(archive.MOST_FILES + 1)})
    data = write(FILES)
    monkeypatch.setattr(archive, "LARGEST", len(data) - 1)
    with pytest.raises(ValueError, match="at most"):
        write(FILES)
    with pytest.raises(BrokenPack, match="more than"):
        read(data)


def test_noise_never_gets_through() -> None:
    """Whatever stands between the two ends of a zip, it is refused in an orderly way."""
    chance = random.Random(7)
    data = write(FILES)
    for _ in range(2000):
        changed = bytearray(data)
        for _ in range(chance.randrange(1, 30)):
            changed[chance.randrange(4, len(changed))] = chance.randrange(256)
        if bytes(changed) != data:
            with pytest.raises((BrokenPack, NoPack)):
                read(bytes(changed))
