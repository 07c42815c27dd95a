"""The keys remember how far a ledger had come: a start on an older file is refused, and changes nothing."""

from __future__ import annotations

import contextlib
import json
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest

from storage import remembered
from storage.engine import connect_writer
from storage.note import parse_checkpoint, parse_note
from storage.operations import SignCheckpoint
from storage.remembered import EVERY_SECONDS
from tests.storage.audited import noted
from tests.storage.desk import Desk, append, forget, message
from tests.storage.former import without_policies
from tests.storage.powerloss import Image
from tests.storage.test_crash import run_to_death
from tests.storage.test_opening import refused


def newest(desk: Desk) -> dict[str, Any]:
    """What the keys remember."""
    found: dict[str, Any] = json.loads((desk.keys / "newest").read_bytes())
    return found


def grown(root: Path, *texts: str) -> Desk:
    """The region, closed, with these entries more."""
    desk = Desk(root)
    if texts:
        desk.do(*map(append, texts))
    desk.close()
    return desk


def put_back(desk: Desk, copy: Path) -> None:
    """The older file in the newer one's place, as somebody does who wants to try it."""
    shutil.rmtree(desk.data)
    shutil.copytree(copy, desk.data)


@pytest.fixture
def older(tmp_path: Path) -> tuple[Desk, Path]:
    """A closed region of five entries and a message, and a copy of its data from when it had two."""
    desk = grown(tmp_path, "a", "b")
    shutil.copytree(desk.data, tmp_path / "copy")
    again = Desk(tmp_path)
    again.do(append("c"), append("d"), message("needle"))
    again.close()
    return again, tmp_path / "copy"


# -- what is remembered -----------------------------------------------------------------------------------------------


def test_the_newest_checkpoint_is_remembered_at_the_end(tmp_path: Path) -> None:
    """Its size and root, of which file and epoch; canonical, private."""
    desk = grown(tmp_path, "a", "b")
    assert desk.region.checkpoint is not None
    checkpoint = parse_checkpoint(parse_note(desk.region.checkpoint).body)
    manifest = json.loads((desk.keys / "identity.json").read_bytes())
    del manifest["copies"]
    expected = {**manifest, "root": checkpoint.root.hex(), "size": 2}
    assert (desk.keys / "newest").read_bytes() == json.dumps(expected, sort_keys=True, separators=(",", ":")).encode()
    assert stat.S_IMODE((desk.keys / "newest").stat().st_mode) == 0o600


def test_it_is_remembered_at_the_start(tmp_path: Path) -> None:
    """A region from before there was anything remembered, or that was killed, is caught up with by the next start."""
    desk = grown(tmp_path, "a", "b")
    forget(desk.keys)
    Desk(tmp_path).close()
    assert newest(desk)["size"] == 2


def test_it_is_remembered_while_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the first commit after a while, and not again before a while is over."""
    desk = Desk(tmp_path)
    monkeypatch.setattr(remembered, "EVERY_SECONDS", 0.0)
    desk.do(append("a"), SignCheckpoint())
    assert newest(desk)["size"] == 1
    monkeypatch.setattr(remembered, "EVERY_SECONDS", EVERY_SECONDS)
    desk.do(append("b"), SignCheckpoint())
    desk.do(append("c"), SignCheckpoint())
    assert newest(desk)["size"] == 1
    desk.close()
    assert newest(desk)["size"] == 3


def test_nothing_is_remembered_that_is_not_signed_and_durable(tmp_path: Path) -> None:
    """Killed at any moment, what is remembered is in the file: the next start is not refused."""
    run_to_death("supersede", tmp_path)
    desk = Desk(tmp_path)
    assert newest(desk)["size"] == len(desk.leaves())
    desk.close()


def test_what_cannot_be_written_down_fails_nothing(tmp_path: Path) -> None:
    """Entries are confirmed, the region is closed, and the next start catches up."""
    desk = Desk(tmp_path)
    aside = desk.keys / "newest.new"
    aside.mkdir()
    assert desk.do(append("a"), SignCheckpoint()) == (0, None)
    assert desk.close() == 0
    assert desk.failures == []
    assert newest(desk)["size"] == 0
    Desk(tmp_path).close()
    assert newest(desk)["size"] == 0
    aside.rmdir()
    Desk(tmp_path).close()
    assert newest(desk)["size"] == 1


# -- what is refused --------------------------------------------------------------------------------------------------


def test_an_older_file_is_refused_and_nothing_is_changed(older: tuple[Desk, Path], tmp_path: Path) -> None:
    """No key slot is overwritten: put back, the newer file opens as before."""
    desk, copy = older
    newer = tmp_path / "newer"
    shutil.copytree(desk.data, newer)
    put_back(desk, copy)
    before = Image.of(tmp_path)
    with refused(
        "it lacks 3 of the 5 entries that its keys remember", "put the newer file back", "gateway restore DIR"
    ):
        Desk(tmp_path)
    assert Image.of(tmp_path) == before
    put_back(desk, newer)
    again = Desk(tmp_path)
    stored = again.ask(lambda reader: reader.message("8:acs:r_1"))
    assert stored is not None
    assert stored.content == "needle"
    again.close()


def test_without_a_memory_the_older_file_does_its_harm(older: tuple[Desk, Path], tmp_path: Path) -> None:
    """What the refusal above is there for: whoever has the keys forget loses what only the newer file held."""
    desk, copy = older
    newer = tmp_path / "newer"
    shutil.copytree(desk.data, newer)
    put_back(desk, copy)
    forget(desk.keys)
    Desk(tmp_path).close()
    put_back(desk, newer)
    forget(desk.keys)
    again = Desk(tmp_path)
    assert again.ask(lambda reader: reader.message("8:acs:r_1")) is None
    again.close()


def test_another_history_is_refused(older: tuple[Desk, Path], tmp_path: Path) -> None:
    """As long or longer: what counts is that the entries remembered are its first ones."""
    desk, copy = older
    memory = (desk.keys / "newest").read_bytes()
    put_back(desk, copy)
    forget(desk.keys)
    for texts in (("x", "y", "z"), ("more",)):
        grown(tmp_path, *texts)
        (desk.keys / "newest").write_bytes(memory)
        with refused("the first 5 entries are not those that its keys remember"):
            Desk(tmp_path)
        forget(desk.keys)


def test_a_file_from_before_there_were_trees_is_refused(older: tuple[Desk, Path], tmp_path: Path) -> None:
    """Its entries were never signed, and what was signed is remembered."""
    desk, _ = older
    with contextlib.closing(connect_writer(desk.data / "region.db")) as connection:
        without_policies(connection)
        for table in ("event_entries", "witnessed", "timestamps", "cosignatures", "checkpoints", "head", "tiles"):
            connection.execute(f"DROP TABLE {table}")
        connection.execute("DELETE FROM _sqlite_migrations WHERE name = 'ledger'")
    before = Image.of(tmp_path)
    with refused("it lacks 5 of the 5"):
        Desk(tmp_path)
    assert Image.of(tmp_path) == before


@pytest.mark.parametrize("manifest", [True, False])
def test_an_emptied_region_is_refused(older: tuple[Desk, Path], tmp_path: Path, manifest: bool) -> None:
    """Even where nothing but the memory tells that there was one."""
    desk, _ = older
    shutil.rmtree(desk.data)
    if manifest:
        with refused("region.db", "missing"):
            Desk(tmp_path)
    (desk.keys / "identity.json").unlink()
    with refused("it lacks all of the 5 entries"):
        Desk(tmp_path)
    assert not (desk.data / "region.db").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"region": "us"}, "it is about another region"),
        ({"uuid": "another"}, "its keys remember another file"),
        ({"epoch": 2}, "of epoch 1, and its keys remember a later one, 2"),
        ({"size": 6}, "it lacks 1 of the 6"),
        ({"root": "00" * 32}, "are not those that its keys remember"),
        ({"more": 1}, "damaged"),
        ({"size": "5"}, "damaged"),
        ({"root": "no hex"}, "damaged"),
        ({"size": -1}, "damaged"),
    ],
)
def test_a_memory_that_does_not_fit_is_refused(
    older: tuple[Desk, Path], tmp_path: Path, change: dict[str, object], said: str
) -> None:
    """Each field counts, and nothing is read into what is not as it was written."""
    desk, _ = older
    (desk.keys / "newest").write_text(json.dumps({**newest(desk), **change}))
    with refused(said):
        Desk(tmp_path)


def test_a_memory_that_others_may_write_is_refused(older: tuple[Desk, Path], tmp_path: Path) -> None:
    """Like every other file among the keys."""
    desk, _ = older
    (desk.keys / "newest").chmod(0o620)
    with refused("open to group or others", "newest"):
        Desk(tmp_path)


# -- what is not refused ----------------------------------------------------------------------------------------------


def test_older_keys_are_no_reason(tmp_path: Path) -> None:
    """Keys that were mirrored a while ago remember less than the file has, which is well."""
    desk = grown(tmp_path, "a")
    memory = (desk.keys / "newest").read_bytes()
    grown(tmp_path, *"bcdefg" * 100)
    (desk.keys / "newest").write_bytes(memory)
    Desk(tmp_path).close()
    assert newest(desk)["size"] == 601


def test_every_size_is_found_again(tmp_path: Path) -> None:
    """Whatever size is remembered, across the tiles' borders, its root is that of the file's first entries."""
    desk = Desk(tmp_path)
    memories = []
    for start, end in ((0, 1), (1, 255), (255, 256), (256, 257), (257, 600)):
        desk.do(*map(noted, range(start, end)), SignCheckpoint())
        desk.region._keys.memory.write(desk.region.checkpoint)
        memories.append((desk.keys / "newest").read_bytes())
    desk.close()
    for memory in memories:
        (desk.keys / "newest").write_bytes(memory)
        Desk(tmp_path).close()
