"""Opening a region: what is refused, in one clear line, and what is made."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.engine import sqlite3
from storage.errors import RegionRefused
from tests.storage.desk import CALL, Desk, append, message

ROOT = Path(__file__).parents[2]


@contextlib.contextmanager
def refused(*words: str) -> Iterator[None]:
    """The block is refused in one line that has all these words."""
    with pytest.raises(RegionRefused) as refusal:
        yield
    text = str(refusal.value)
    assert "\n" not in text
    assert len(text) < 400
    for word in (*words, "; "):
        assert word in text


def filled(root: Path, name: str = "europe") -> Desk:
    """A closed region with something in it."""
    desk = Desk(root, name)
    desk.do(append("{}", CALL), message())
    desk.close()
    return desk


def test_everything_is_private_whatever_the_umask(tmp_path: Path) -> None:
    """Directories are 0700 and files 0600, the log and its index included, even under umask 0 (D3)."""
    former = os.umask(0)
    try:
        desk = Desk(tmp_path)
        desk.do(append("{}", CALL), message())
        found = {path: (path.is_dir(), stat.S_IMODE(path.stat().st_mode)) for path in tmp_path.rglob("*")}
        desk.close()
    finally:
        os.umask(former)
    assert (desk.data / "region.db-wal") in found
    assert (desk.keys / "slots") in found
    for path, (is_directory, mode) in found.items():
        assert mode == (0o700 if is_directory else 0o600), path


def test_no_key_lies_with_the_data(tmp_path: Path) -> None:
    """A copy of the data directory holds neither master key nor any slot's secret."""
    desk = filled(tmp_path)
    master = (desk.keys / "master.key").read_bytes()
    secrets = (desk.keys / "slots").read_bytes()
    for path in desk.data.iterdir():
        data = path.read_bytes()
        assert master not in data
        assert not any(secrets[at : at + 32] in data for at in range(32, 4096, 32))


def test_a_region_comes_back_as_it_was(tmp_path: Path) -> None:
    """Closing and opening changes nothing that was stored."""
    filled(tmp_path)
    desk = Desk(tmp_path)
    assert desk.leaves()[0] == b"{}"
    assert desk.ask(lambda reader: reader.message("8:acs:r_1")) is not None
    assert desk.do(append("next")) == (2,)
    desk.close()


def test_a_second_opener_is_refused(desk: Desk, tmp_path: Path) -> None:
    """One process, one opener: a second one hears so, and the first goes on."""
    with refused("in use", str(desk.data)):
        Desk(tmp_path)
    script = "import pathlib, sys; from tests.storage.desk import Desk; Desk(pathlib.Path(sys.argv[1]))"
    other = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert "RegionRefused: region europe: in use by another process" in other.stderr
    assert desk.do(append("{}")) == (0,)


@pytest.mark.parametrize("key", ["master.key", "slots"])
def test_data_without_a_key_is_refused(tmp_path: Path, key: str) -> None:
    """A missing key is never made anew beside data."""
    desk = filled(tmp_path)
    (desk.keys / key).unlink()
    with refused("data but no key", key):
        Desk(tmp_path)
    assert not (desk.keys / key).exists()


def test_data_without_its_key_directory_is_refused(tmp_path: Path) -> None:
    """A missing key directory is refused and stays missing."""
    desk = filled(tmp_path)
    shutil.rmtree(desk.keys)
    with refused("data but no key"):
        Desk(tmp_path)
    assert not desk.keys.exists()


@pytest.mark.parametrize("whole", [True, False])
def test_keys_without_their_data_are_refused(tmp_path: Path, whole: bool) -> None:
    """A lost file is not silently replaced by an empty one (F11)."""
    desk = filled(tmp_path)
    if whole:
        shutil.rmtree(desk.data)
    else:
        (desk.data / "region.db").unlink()
    with refused("missing", "region.db"):
        Desk(tmp_path)
    assert not (desk.data / "region.db").exists()


def test_an_emptied_file_is_refused(tmp_path: Path) -> None:
    """A file cut to nothing is not taken for a new region."""
    desk = filled(tmp_path)
    os.truncate(desk.data / "region.db", 0)
    with refused("empty", "region.db"):
        Desk(tmp_path)


def test_swapped_files_are_refused(tmp_path: Path) -> None:
    """Two regions' files in each other's place are both refused."""
    europe, us = filled(tmp_path), filled(tmp_path, "us")
    (europe.data / "region.db").rename(tmp_path / "aside")
    (us.data / "region.db").rename(europe.data / "region.db")
    (tmp_path / "aside").rename(us.data / "region.db")
    with refused("region europe", "of region us"):
        Desk(tmp_path)
    with refused("region us", "of region europe"):
        Desk(tmp_path, "us")


def test_swapped_keys_are_refused(tmp_path: Path) -> None:
    """Keys of another region open nothing here."""
    europe, us = filled(tmp_path), filled(tmp_path, "us")
    with refused("another region"):
        Desk(tmp_path, keys=us.keys)
    (europe.keys / "master.key").write_bytes((us.keys / "master.key").read_bytes())
    with refused("slots", "master key"):
        Desk(tmp_path)
    (europe.keys / "slots").write_bytes((us.keys / "slots").read_bytes())
    with refused("slots", "master key"):
        Desk(tmp_path)


def test_another_file_of_the_same_region_is_refused(tmp_path: Path) -> None:
    """A file made with other keys does not pass for the region's own, only because the name is the same."""
    desk, other = filled(tmp_path / "a"), filled(tmp_path / "b")
    shutil.copy(other.data / "region.db", desk.data / "region.db")
    with refused("not the key of this region's file"):
        Desk(tmp_path / "a")


def test_older_slots_are_refused(tmp_path: Path) -> None:
    """A slot file restored from before the data it must open is refused."""
    desk = filled(tmp_path)
    os.truncate(desk.keys / "slots", 32)
    with refused("older", "slots"):
        Desk(tmp_path)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_master_key_of_another_size_is_refused(tmp_path: Path, size: int) -> None:
    """A cut or padded master key is not used."""
    desk = filled(tmp_path)
    (desk.keys / "master.key").write_bytes(bytes(size))
    with refused("32 bytes", "master.key"):
        Desk(tmp_path)


@pytest.mark.parametrize(
    "place",
    ["data/region.db", "data/lock", "data/identity.json", "keys/master.key", "keys/slots", "keys/identity.json"],
)
def test_links_are_refused(tmp_path: Path, place: str) -> None:
    """Symbolic and hard links in the place of any file are refused."""
    desk = filled(tmp_path)
    which, name = place.split("/")
    path = (desk.data if which == "data" else desk.keys) / name
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with refused("symbolic link", name):
        Desk(tmp_path)
    path.unlink()
    path.hardlink_to(tmp_path / "elsewhere")
    with refused("hard link", name):
        Desk(tmp_path)


@pytest.mark.parametrize("which", ["data", "keys"])
def test_linked_directories_are_refused(tmp_path: Path, which: str) -> None:
    """A region's directory is a real one."""
    desk = filled(tmp_path)
    path = desk.data if which == "data" else desk.keys
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with refused("symbolic link", path.name):
        Desk(tmp_path)


@pytest.mark.parametrize(
    ("place", "mode"),
    [
        (".", 0o750),
        ("region.db", 0o640),
        ("lock", 0o604),
        ("identity.json", 0o644),
        ("../../keys/europe/slots", 0o620),
        ("../../keys/europe", 0o711),
    ],
)
def test_open_modes_are_refused(tmp_path: Path, place: str, mode: int) -> None:
    """Anything that group or others may touch is refused with the remedy (D3)."""
    desk = filled(tmp_path)
    (desk.data / place).chmod(mode)
    with refused("open to group or others", "chmod"):
        Desk(tmp_path)


@pytest.mark.parametrize("keys", ["data/europe", "data/europe/keys", "data"])
def test_keys_within_the_data_are_refused(tmp_path: Path, keys: str) -> None:
    """No backup of a region's data may hold its keys."""
    with refused("in one another"):
        Desk(tmp_path, keys=tmp_path / keys)


def test_garbage_is_refused(tmp_path: Path) -> None:
    """A file that is no database is refused as such."""
    desk = filled(tmp_path)
    (desk.data / "region.db").write_bytes(b"garbage" * 1000)
    with refused("cannot be opened", "not a database"):
        Desk(tmp_path)


def test_an_old_engine_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite before 3.51.3 can lose commits, so it is not used."""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 51, 2))
    with refused("can lose commits", "pysqlite3"):
        Desk(tmp_path)


@pytest.mark.parametrize("step", ["keys only", "empty file", "no label", "no manifest"])
def test_a_region_half_made_is_finished(tmp_path: Path, step: str) -> None:
    """A crash while a region was made leaves nothing that needs a person."""
    desk = Desk(tmp_path)
    desk.close()
    (desk.keys / "identity.json").unlink()
    if step == "keys only":
        shutil.rmtree(desk.data)
    elif step != "no manifest":
        (desk.data / "identity.json").unlink()
    if step == "empty file":
        os.truncate(desk.data / "region.db", 0)
    again = Desk(tmp_path)
    assert again.do(append("{}")) == (0,)
    again.close()
    assert (desk.keys / "identity.json").read_bytes() == (desk.data / "identity.json").read_bytes()


def test_the_engine_is_hardened(desk: Desk) -> None:
    """Both connections run with the settings the design asks for (D4), and every table is STRICT."""
    writer = desk.region._writer._transaction.connection
    wanted = {
        "trusted_schema": 0,
        "cell_size_check": 1,
        "mmap_size": 0,
        "temp_store": 2,
        "foreign_keys": 1,
    }
    for name, value in wanted.items():
        assert writer.execute(f"PRAGMA {name}").fetchone() in ((value,), None), name
        assert desk.ask(lambda reader, name=name: reader._execute(f"PRAGMA {name}").fetchone()) in ((value,), None)  # type: ignore[misc]
    more = {"synchronous": 2, "secure_delete": 1, "journal_mode": "wal", "auto_vacuum": 2}
    for name, expected in more.items():
        assert writer.execute(f"PRAGMA {name}").fetchone() == (expected,), name
    tables = writer.execute("SELECT name, strict FROM pragma_table_list WHERE type = 'table' AND schema = 'main'")
    loose = {name for name, strict in tables if not strict and not name.startswith(("sqlite_", "_sqlite"))}
    assert loose == set()
