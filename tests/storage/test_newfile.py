"""A new file is whole and its owner's alone, or not there at all; and what is there already stays."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from storage.newfile import new_file


def test_a_file_is_whole_and_its_owners_alone(tmp_path: Path) -> None:
    """Whatever the umask."""
    out, mask = tmp_path / "pack.zip", os.umask(0)
    try:
        with new_file(out) as write:
            assert not out.exists()
            write(b"whole")
    finally:
        os.umask(mask)
    assert out.read_bytes() == b"whole"
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [out]


def test_a_failure_leaves_no_file(tmp_path: Path) -> None:
    """Half a pack would look like one."""
    out = tmp_path / "pack.zip"
    with pytest.raises(ZeroDivisionError), new_file(out) as write:
        write(b"half" * (1 // 0))
    assert list(tmp_path.iterdir()) == []


def test_what_somebody_wrote_meanwhile_stays(tmp_path: Path) -> None:
    """The name was free when the export began and is taken when it ends."""
    out = tmp_path / "pack.zip"
    with pytest.raises(FileExistsError), new_file(out):
        out.write_bytes(b"theirs")
    assert out.read_bytes() == b"theirs"
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP])
def test_where_files_have_one_name_only_it_works_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """A stick for the auditor has such a file system; what is there is kept there too."""

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)
    out = tmp_path / "pack.zip"
    with new_file(out) as write:
        write(b"whole")
    assert out.read_bytes() == b"whole"
    other = tmp_path / "other.zip"
    with pytest.raises(OSError, match=os.strerror(number)), new_file(other):
        other.write_bytes(b"theirs")
    assert other.read_bytes() == b"theirs"


def test_a_disk_that_fails_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No room for a name: the file that was begun goes."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(OSError, match="No space left"), new_file(tmp_path / "pack.zip"):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["nowhere/pack.zip", "file/pack.zip", "x" * 300])
def test_what_cannot_be_made_is_said_of_the_name_that_was_given(tmp_path: Path, name: str) -> None:
    """And at once: nobody works for a file that cannot be."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError) as caught, new_file(tmp_path / name):
        pytest.fail("it was made")
    assert caught.value.filename == str(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_disk_that_fills_is_said_of_the_name_that_was_given(small_disk: Path) -> None:
    """And what was begun goes."""
    out = small_disk / "pack.zip"
    with pytest.raises(OSError, match="No space left") as caught, new_file(out) as write:
        write(bytes(4_000_000))
    assert caught.value.filename == str(out)
    assert list(small_disk.iterdir()) == []


def test_the_longest_name_will_do(tmp_path: Path) -> None:
    """What is written aside has a name of its own."""
    out = tmp_path / ("é" * 127)
    with new_file(out) as write:
        write(b"whole")
    assert out.read_bytes() == b"whole"
