"""The rules of `gateway evidence` on the command line: what is refused, and that a file is whole or not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.cli import commands as cli
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
        (["export", "", "--out", "x"], "CALL is empty; name the call"),
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


@pytest.mark.parametrize("out", ["nowhere/pack.zip", "gateway.toml/pack.zip", "x" * 300])
def test_a_file_that_cannot_be_made_is_named(capfd: pytest.CaptureFixture[str], directory: Path, out: str) -> None:
    """As it was typed, before anything is exported for it."""
    assert f"gateway: {out}: " in run(capfd, "export", "call", "--out", out)
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
