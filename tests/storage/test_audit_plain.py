"""What is handed in must be a file of bearable size: nobody waits for a pipe, and nothing too large is read."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from storage.audit import archive, pack, plain
from storage.audit.offered import offered
from storage.audit.stamp import read_roots
from storage.audit.verdict import UNVERIFIABLE, Refused
from storage.audit.witness import read_key

READERS: dict[str, Callable[[Path], object]] = {
    "bytes": plain.read_bytes,
    "text": plain.read_text,
    "magic": lambda path: plain.begins_with(path, b"SQLite"),
    "status": plain.status,
    "certificates": read_roots,
    "a witness's key": read_key,
    "a checkpoint": lambda path: offered(path, None).__enter__(),
}


def refused(act: Callable[[], object]) -> str:
    """What is said with 40."""
    with pytest.raises(Refused) as caught:
        act()
    assert caught.value.verdict.exit == UNVERIFIABLE
    return caught.value.verdict.line


def reserve(path: Path, size: int) -> Path:
    """A file of this size that takes no room."""
    path.touch(mode=0o600)
    os.truncate(path, size)
    return path


@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, reader: str) -> None:
    """A pipe that nobody writes to, and a device that never ends; through a link, too."""
    os.mkfifo(tmp_path / "pipe", mode=0o600)
    (tmp_path / "link").symlink_to("pipe")
    for path in (tmp_path / "pipe", tmp_path / "link", Path("/dev/zero")):
        assert refused(partial(READERS[reader], path)).endswith(f"{path}: is no file")


def test_a_file_is_read_to_its_last_byte(tmp_path: Path) -> None:
    """And one byte more is too much."""
    path = tmp_path / "file"
    for size in (0, 1, 10):
        path.write_bytes(bytes(size))
        assert plain.read_bytes(path, largest=10) == bytes(size)
    path.write_bytes(bytes(11))
    assert refused(lambda: plain.read_bytes(path, largest=10)).endswith("file: larger than 10 bytes")


@pytest.mark.parametrize("reader", ["bytes", "text", "certificates", "a witness's key", "a checkpoint"])
def test_what_is_too_large_is_not_read(tmp_path: Path, reader: str) -> None:
    """Beyond 16 MiB nothing is a key, a checkpoint, a proof or a certificate."""
    path = reserve(tmp_path / "file", plain.LARGEST + 1)
    assert "file: larger than 16777216 bytes" in refused(lambda: READERS[reader](path))


def test_a_pack_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    """40 and not 20: it is no pack of ours, and none of it reaches memory."""
    path = reserve(tmp_path / "pack.zip", archive.LARGEST + 1)
    tracemalloc.start()
    try:
        found = pack.verify(path, [])
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found == (UNVERIFIABLE, f"cannot be verified: {path}: larger than {archive.LARGEST} bytes")
    assert most < 1 << 20
