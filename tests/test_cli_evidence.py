"""The rules of `gateway evidence` on the command line: what is refused, and that a file is whole or not there."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from gateway.cli import commands as cli
from gateway.cli import evidence
from gateway.cli.init import initialise


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new gateway that nobody started, and the current directory in it."""
    initialise(tmp_path / "gateway")
    monkeypatch.chdir(tmp_path / "gateway")
    return tmp_path


def run(capfd: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """A command that is refused: exit 2, and its one line on standard error."""
    assert cli.run(["evidence", *map(str, arguments)]) == 2
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("gateway: ")
    assert captured.err.count("\n") == 1
    return captured.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["export"], "Missing argument 'CALL'"),
        (["export", "call"], "Missing option '--out'"),
        (["export", "call", "--out", "x", "--level", "seen"], "'seen' is not one of"),
        (["export", "call", "more", "--out", "x"], "unexpected extra argument"),
    ],
)
def test_bad_usage_is_one_line(capfd: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    """And nothing is looked for."""
    assert said in run(capfd, *arguments)


def test_without_a_configuration_it_is_said(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file is left behind."""
    monkeypatch.chdir(tmp_path)
    assert "gateway.toml: no such file" in run(capfd, "export", "call", "--out", tmp_path / "pack.zip")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_call_leaves_nothing(capfd: pytest.CaptureFixture[str], directory: Path) -> None:
    """Nor an unknown region."""
    out = directory / "pack.zip"
    assert "no such call" in run(capfd, "export", "call", "--out", out)
    assert "this region is not served here" in run(capfd, "export", "call", "--out", out, "--region", "mars")
    assert [path.name for path in directory.iterdir()] == ["gateway"]


@pytest.mark.parametrize("kind", ["file", "directory", "link", "dangling"])
def test_what_is_there_is_not_overwritten(capfd: pytest.CaptureFixture[str], directory: Path, kind: str) -> None:
    """Whatever it is, and nothing is exported for it."""
    out = directory / "pack.zip"
    match kind:
        case "file":
            out.write_text("mine")
        case "directory":
            out.mkdir()
        case _:
            out.symlink_to(directory / {"link": "gateway/gateway.toml", "dangling": "nothing"}[kind])
    before = out.lstat()
    assert "exists and is not overwritten; give --out a new name" in run(capfd, "export", "call", "--out", out)
    assert out.lstat() == before
    assert not (directory / "nothing").exists()


def test_a_file_is_whole_and_its_owners_alone(tmp_path: Path) -> None:
    """Whatever the umask."""
    out, mask = tmp_path / "pack.zip", os.umask(0)
    try:
        with evidence.new_file(out) as aside:
            assert not out.exists()
            aside.write_bytes(b"whole")
    finally:
        os.umask(mask)
    assert out.read_bytes() == b"whole"
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [out]


def test_a_failure_leaves_no_file(tmp_path: Path) -> None:
    """Half a pack would look like one."""
    out = tmp_path / "pack.zip"
    with pytest.raises(ZeroDivisionError), evidence.new_file(out) as aside:
        aside.write_bytes(b"half" * (1 // 0))
    assert list(tmp_path.iterdir()) == []


def test_what_somebody_wrote_meanwhile_stays(tmp_path: Path) -> None:
    """The name was free when the export began and is taken when it ends."""
    out = tmp_path / "pack.zip"
    with pytest.raises(FileExistsError), evidence.new_file(out):
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
    with evidence.new_file(out) as aside:
        aside.write_bytes(b"whole")
    assert out.read_bytes() == b"whole"
    other = tmp_path / "other.zip"
    with pytest.raises(OSError, match=os.strerror(number)), evidence.new_file(other):
        other.write_bytes(b"theirs")
    assert other.read_bytes() == b"theirs"


def test_a_disk_that_fails_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No room for a name: the file that was begun goes."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(OSError, match="No space left"), evidence.new_file(tmp_path / "pack.zip"):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["verify", "pack.zip"], "Missing option '--key'"),
        (["verify", "--key", "k.vkey"], "Missing argument 'FILE'"),
        (["verify", "a", "b", "--key", "k"], "unexpected extra argument"),
        (["verify", "a", "--key", "k", "--config", "c"], "No such option"),
    ],
)
def test_a_verifier_that_is_asked_wrongly_says_so(
    capfd: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    """Exit 2, which is no verdict; it knows no configuration."""
    assert said in run(capfd, *arguments)


@pytest.mark.parametrize("missing", ["pack.zip", "k.vkey"])
def test_what_cannot_be_read_cannot_be_verified(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    """Exit 40 and one line on standard output, with no configuration in reach."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pack.zip").write_bytes(b"PK\x03\x04")
    (tmp_path / "k.vkey").write_text("origin/europe+1a2b3c4d+AQ==\n")
    (tmp_path / missing).unlink()
    assert cli.run(["evidence", "verify", "pack.zip", "--key", "k.vkey"]) == 40
    captured = capfd.readouterr()
    assert captured.out.startswith("cannot be verified: ")
    assert captured.out.count("\n") == 1
    assert captured.err == ""
