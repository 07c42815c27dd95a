"""The rules of `gateway backup` and `gateway restore`: exact exits, one line a refusal, nothing written by mistake."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.cli import commands as cli
from gateway.cli.init import initialise

FREE = {"GATEWAY_LISTEN__ADDRESS": "127.0.0.1:0", "GATEWAY_CONTROL__ADDRESS": "127.0.0.1:0"}


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A gateway with two regions that was started once, and the current directory in it."""
    initialise(tmp_path / "gateway")
    monkeypatch.chdir(tmp_path / "gateway")
    assert cli.run(["retention", "sweep"]) == 0
    return tmp_path


def run(capfd: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """A command that does its work: what it prints."""
    capfd.readouterr()
    assert cli.run([*map(str, arguments)]) == 0
    captured = capfd.readouterr()
    assert captured.err == ""
    return captured.out


def refuse(capfd: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """A command that is refused: exit 2, and its one line on standard error."""
    capfd.readouterr()
    assert cli.run([*map(str, arguments)]) == 2
    captured = capfd.readouterr()
    assert captured.err.startswith("gateway: ")
    assert captured.err.count("\n") == 1
    return captured.err


def files(root: Path) -> list[str]:
    """Every file below, by its path."""
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def test_every_region_is_copied_and_named(capfd: pytest.CaptureFixture[str], directory: Path) -> None:
    """A line for each: where it is, how many entries it has and how many are signed."""
    out = directory / "copies"
    assert run(capfd, "backup", out).splitlines() == [
        f"wrote {out / 'europe' / 'region.db'}: 0 entries, checkpoint of 0",
        f"wrote {out / 'unitedstates' / 'region.db'}: 0 entries, checkpoint of 0",
    ]
    assert files(out) == ["europe/region.db", "unitedstates/region.db"]


def test_one_region_alone(capfd: pytest.CaptureFixture[str], directory: Path) -> None:
    """Named twice it is copied once."""
    out = directory / "copies"
    run(capfd, "backup", out, "--region", "unitedstates", "--region", "unitedstates")
    assert files(out) == ["unitedstates/region.db"]


@contextmanager
def serving() -> Iterator[subprocess.Popen[str]]:
    """A real gateway process on the configuration here; it ends well."""
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", "serve"], env={**os.environ, **FREE}, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        assert json.loads(process.stdout.readline())["ready"]
        yield process
        assert process.poll() is None
    finally:
        process.terminate()
        process.communicate(timeout=10)
    assert process.returncode == 0


def test_it_works_beside_a_running_gateway(capfd: pytest.CaptureFixture[str], directory: Path) -> None:
    """Which keeps running, and needs no word of it."""
    with serving():
        run(capfd, "backup", directory / "copies")
    assert files(directory / "copies") == ["europe/region.db", "unitedstates/region.db"]


@pytest.mark.parametrize(
    "place", ["gateway/data", "gateway/data/copies", "gateway/keys", "gateway/keys/europe/copies", "gateway", "."]
)
def test_a_copy_lies_apart_from_data_and_keys(capfd: pytest.CaptureFixture[str], directory: Path, place: str) -> None:
    """Neither in them nor around them, nor behind a link that leads there."""
    before = files(directory)
    assert "apart from data and keys" in refuse(capfd, "backup", directory / place)
    (directory / "link").symlink_to(directory / place)
    assert "apart from data and keys" in refuse(capfd, "backup", directory / "link")
    (directory / "link").unlink()
    assert files(directory) == before


def test_an_unknown_region_is_refused(capfd: pytest.CaptureFixture[str], directory: Path) -> None:
    """Before any other is copied."""
    said = refuse(capfd, "backup", directory / "copies", "--region", "europe", "--region", "mars")
    assert "--region mars is not in the configuration" in said
    assert not (directory / "copies").exists()


def test_nothing_is_overwritten(capfd: pytest.CaptureFixture[str], directory: Path) -> None:
    """A second backup to the same place is refused and changes nothing."""
    run(capfd, "backup", directory / "copies")
    before = (directory / "copies" / "europe" / "region.db").stat()
    assert "a copy already" in refuse(capfd, "backup", directory / "copies")
    assert (directory / "copies" / "europe" / "region.db").stat() == before


def test_a_region_that_was_never_started_is_refused(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is nothing to copy, and no region is made by asking."""
    initialise(tmp_path / "gateway")
    monkeypatch.chdir(tmp_path / "gateway")
    assert "start the gateway once" in refuse(capfd, "backup", tmp_path / "copies")
    assert not (tmp_path / "copies").exists()
    assert not any((tmp_path / "gateway" / "data").iterdir())


@pytest.mark.parametrize("arguments", [[], ["a", "b"], ["a", "--out", "b"]])
def test_bad_usage_is_one_line(capfd: pytest.CaptureFixture[str], directory: Path, arguments: list[str]) -> None:
    """And nothing is written."""
    before = files(directory)
    refuse(capfd, "backup", *arguments)
    assert files(directory) == before


# -- restore ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def copies(capfd: pytest.CaptureFixture[str], directory: Path) -> Path:
    """Copies of both regions."""
    run(capfd, "backup", directory / "copies")
    return directory / "copies"


def test_a_lost_region_is_taken_from_its_backup(
    capfd: pytest.CaptureFixture[str], directory: Path, copies: Path
) -> None:
    """A line for each region: where, how much there is, how much is missing, which epoch; a gateway then serves it."""
    data = directory / "gateway" / "data"
    shutil.rmtree(data / "europe")
    said = run(capfd, "restore", copies, "--region", "europe")
    assert said == f"restored {Path('data/europe/region.db').resolve()}: 0 entries, 0 missing, epoch 2\n"
    with serving():
        pass


def test_all_regions_are_taken_together(capfd: pytest.CaptureFixture[str], directory: Path, copies: Path) -> None:
    """Without `--region` each of the configuration."""
    shutil.rmtree(directory / "gateway" / "data")
    assert len(run(capfd, "restore", copies).splitlines()) == 2
    with serving():
        pass


def test_a_start_names_the_command(capfd: pytest.CaptureFixture[str], directory: Path, copies: Path) -> None:
    """Where an older file lies in the place: one line, with how many entries are missing and what can be done."""
    data = directory / "gateway" / "data" / "europe"
    memory = directory / "gateway" / "keys" / "europe" / "newest"
    memory.write_text(json.dumps({**json.loads(memory.read_text()), "size": 7}))
    line = refuse(capfd, "retention", "sweep")
    assert "it lacks 7 of the 7 entries that its keys remember" in line
    assert "gateway restore DIR" in line
    assert "still there" in refuse(capfd, "restore", copies, "--region", "europe")
    (data / "region.db").rename(directory / "older.db")
    assert ": 0 entries, 7 missing, epoch 2" in run(capfd, "restore", copies, "--region", "europe")
    run(capfd, "retention", "sweep")


def test_a_running_gateway_keeps_it_from_being_done(
    capfd: pytest.CaptureFixture[str], directory: Path, copies: Path
) -> None:
    """One line, and nothing is changed."""
    with serving():
        assert "in use by another process" in refuse(capfd, "restore", copies)


def test_a_file_in_the_place_keeps_it_from_being_done(
    capfd: pytest.CaptureFixture[str], directory: Path, copies: Path
) -> None:
    """Nothing is overwritten, and it is said what is better."""
    before = (directory / "gateway" / "data" / "europe" / "region.db").read_bytes()
    assert "start the gateway on it" in refuse(capfd, "restore", copies)
    assert (directory / "gateway" / "data" / "europe" / "region.db").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Missing argument 'DIR'"),
        (["nowhere"], "there is no backup"),
        (["nowhere", "--region", "mars"], "--region mars is not in the configuration"),
        (["gateway.toml"], "there is no backup"),
    ],
)
def test_a_restore_that_cannot_be_is_one_line(
    capfd: pytest.CaptureFixture[str], directory: Path, arguments: list[str], said: str
) -> None:
    """And leaves everything as it is."""
    before = files(directory)
    assert said in refuse(capfd, "restore", *arguments)
    assert files(directory) == before
