"""A copy of a region is one snapshot, whole or not there, private, and opens nothing that was deleted since."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import stat
import threading
from pathlib import Path

import pytest

from storage import backup
from storage.audit.ledger import verify
from storage.audit.verdict import INCOMPLETE, SOUND
from storage.backup import Copied, back_up
from storage.engine import connect_resting, connect_writer, sqlite3
from storage.errors import RegionRefused
from storage.note import parse_verifiers
from storage.operations import SignCheckpoint
from storage.premises import Premises
from storage.residue import scan
from tests.storage.desk import MONTH, START, Desk, append, message
from tests.storage.powerloss import Image
from tests.storage.test_crash import run_to_death
from tests.storage.test_opening import refused


def premises(root: Path, name: str = "europe") -> Premises:
    return Premises(name, root / "data" / name, root / "keys" / name)


def copy(root: Path, name: str = "copies") -> Copied:
    """The copy of the only region, made now."""
    (made,) = back_up([premises(root)], root / name)
    return made


def opened(root: Path, copied: Path) -> dict[str, str]:
    """What this copy holds of messages that today's keys can open: participant to text."""
    place = root / f"trial-{copied.parent.parent.name}"
    (place / "data" / "europe").mkdir(parents=True, mode=0o700)
    (place / "data").chmod(0o700)
    shutil.copyfile(copied, place / "data" / "europe" / "region.db")
    (place / "data" / "europe" / "region.db").chmod(0o600)
    shutil.copytree(root / "keys", place / "keys")
    shutil.copy(root / "keys" / "europe" / "identity.json", place / "data" / "europe")
    (place / "keys" / "europe" / "newest").unlink(missing_ok=True)  # it is an old file, and this is a trial
    desk = Desk(place)
    found = {}
    for number in range(4):
        stored = desk.ask(lambda reader, number=number: reader.message(f"8:acs:r_{number}"))  # type: ignore[misc]
        if stored is not None:
            found[f"r_{number}"] = stored.content
    desk.close()
    return found


@pytest.mark.parametrize("running", [True, False], ids=["beside a writer", "at rest"])
def test_a_copy_is_the_region(tmp_path: Path, running: bool) -> None:
    """Every entry that was confirmed before is in it, signed as before, in one file without a log."""
    desk = Desk(tmp_path)
    desk.do(*(append(str(number)) for number in range(300)), SignCheckpoint())
    desk.do(append("not signed yet"))
    if not running:
        desk.close()
    copied = copy(tmp_path)
    size = 301
    assert copied[:3] == ("europe", tmp_path / "copies" / "europe" / "region.db", size)
    assert copied.signed in ((300, 301) if running else (301,))
    assert [each.name for each in copied.path.parent.iterdir()] == ["region.db"]
    verdict = verify(copied.path, parse_verifiers(desk.region.verifier))
    assert verdict.exit == (SOUND if copied.signed == size else INCOMPLETE)
    desk.close()


def test_a_copy_made_amid_writing_is_one_snapshot(tmp_path: Path) -> None:
    """Whatever the writer does meanwhile, tree, entries and checkpoints of each copy fit together."""
    desk = Desk(tmp_path)
    enough = threading.Event()

    def write() -> None:
        for number in itertools.count():
            desk.do(append(f"{number}" * 50), SignCheckpoint())
            if enough.is_set():
                return

    thread = threading.Thread(target=write)
    thread.start()
    sizes = []
    for number in range(8):
        copied = copy(tmp_path, f"copies-{number}")
        sizes.append(copied.entries)
        assert verify(copied.path, parse_verifiers(desk.region.verifier)).exit == SOUND
    enough.set()
    thread.join()
    assert sizes == sorted(sizes)
    desk.close()


def test_a_copy_opens_what_lives_and_nothing_that_was_deleted_since(tmp_path: Path) -> None:
    """Superseded, deleted by its author, expired: closed in a copy from before, with the keys as they are now (P7).

    What still lives opens, so that the copy is one.
    """
    desk = Desk(tmp_path)
    for number in range(4):
        text, sent_at = f"needle {number}", START + (MONTH * 2 if number != 3 else MONTH * 0)
        desk.do(message(text, participant=f"8:acs:r_{number}", sent_at=sent_at, at=sent_at))
    before = copy(tmp_path, "before")
    assert opened(tmp_path, before.path) == {f"r_{number}": f"needle {number}" for number in range(4)}
    later = START + MONTH * 2
    desk.do(message("newer 1", participant="8:acs:r_1", version=2, sent_at=later, at=later))
    desk.do(message(None, participant="8:acs:r_2", version=2, deleted=True, sent_at=later, at=later))
    assert desk.region.sweep(START + MONTH * 2, 10).result(30).deleted == 1
    shutil.copytree(tmp_path / "before", tmp_path / "then")
    assert opened(tmp_path, tmp_path / "then" / "europe" / "region.db") == {"r_0": "needle 0"}
    after = copy(tmp_path, "after")
    assert opened(tmp_path, after.path) == {"r_0": "needle 0", "r_1": "newer 1"}
    desk.close()
    assert scan(tmp_path, [b"needle", b"newer"]) == []


def test_what_a_kill_left_in_the_log_is_copied(tmp_path: Path) -> None:
    """Nobody has to start the region first."""
    run_to_death("supersede", tmp_path)
    place = tmp_path / "data" / "europe"
    assert (place / "region.db-wal").stat().st_size
    assert copy(tmp_path).entries == 2
    desk = Desk(tmp_path)
    assert len(desk.leaves()) == 2
    desk.close()


def test_somebody_else_may_write_while_no_gateway_runs(tmp_path: Path) -> None:
    """Litestream, which moves the log into the file: the copy is of one moment all the same."""
    desk = Desk(tmp_path)
    desk.do(*(append(f"{number}" * 100) for number in range(300)), SignCheckpoint())
    desk.close()
    with contextlib.closing(connect_writer(desk.data / "region.db")) as other:
        other.execute("PRAGMA foreign_keys = OFF")
        other.execute("UPDATE identity SET epoch = epoch")
        assert copy(tmp_path).entries == 300
        with backup._snapshot(premises(tmp_path)) as connection:
            assert connection.execute("SELECT size FROM head").fetchone() == (300,)
            other.execute("DELETE FROM entries")
            other.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            other.execute("UPDATE identity SET epoch = epoch")
            assert connection.execute("SELECT count(*) FROM entries").fetchone() == (300,)


def test_no_key_is_in_a_copy(tmp_path: Path) -> None:
    """Neither the master key nor any slot's secret nor a signing key."""
    desk = Desk(tmp_path)
    desk.do(message())
    data = copy(tmp_path).path.read_bytes()
    slots = (desk.keys / "slots").read_bytes()
    secrets = [slots[at : at + 32] for at in range(32, len(slots), 32)]
    secrets += [(desk.keys / name).read_bytes().strip() for name in ("master.key", "signing.key", "witness.key")]
    desk.close()
    assert not [each for each in secrets if each in data]


def test_a_copy_is_private_whatever_the_umask(desk: Desk, tmp_path: Path) -> None:
    """Directories 0700, files 0600."""
    former = os.umask(0)
    try:
        made = copy(tmp_path, "new/copies").path
    finally:
        os.umask(former)
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (made, *made.parents)}
    assert modes[made] == 0o600
    assert modes[made.parent] == modes[made.parent.parent] == modes[made.parent.parent.parent] == 0o700


def test_the_region_is_not_changed(tmp_path: Path) -> None:
    """Copying at rest leaves every byte of data and keys as it was, and no file beside them."""
    desk = Desk(tmp_path)
    desk.do(append("x"), message())
    desk.close()
    before = Image.of(tmp_path)
    copy(tmp_path)
    shutil.rmtree(tmp_path / "copies")
    assert Image.of(tmp_path) == before


# -- refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["region.db", "region.db-wal", "region.db-shm", "region.db-journal"])
def test_nothing_is_overwritten(desk: Desk, tmp_path: Path, name: str) -> None:
    """A copy that is there, or what would be read as part of one, stays as it is."""
    place = tmp_path / "copies" / "europe"
    place.mkdir(parents=True, mode=0o700)
    (place / name).write_bytes(b"mine")
    with refused("a copy already", "nothing is overwritten"):
        copy(tmp_path)
    assert [(each.name, each.read_bytes()) for each in place.iterdir()] == [(name, b"mine")]


def test_all_is_refused_before_anything_is_copied(tmp_path: Path) -> None:
    """Where the second region cannot be copied, the first is not either."""
    for name in ("europe", "us"):
        Desk(tmp_path, name).close()
    (tmp_path / "copies" / "us").mkdir(parents=True, mode=0o700)
    (tmp_path / "copies" / "us" / "region.db").touch()
    with refused("region us", "a copy already"):
        list(back_up([premises(tmp_path), premises(tmp_path, "us")], tmp_path / "copies"))
    assert not (tmp_path / "copies" / "europe").exists()


def test_a_region_without_a_file_is_refused(tmp_path: Path) -> None:
    """And nothing is made in its place."""
    with refused("no file to copy", "region.db"):
        copy(tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_open_directory_is_refused(desk: Desk, tmp_path: Path) -> None:
    """A copy does not go where others may look."""
    (tmp_path / "copies" / "europe").mkdir(parents=True)
    (tmp_path / "copies" / "europe").chmod(0o750)
    with refused("open to group or others"):
        copy(tmp_path)
    (tmp_path / "copies" / "europe").rmdir()
    (tmp_path / "copies" / "europe").symlink_to(tmp_path)
    with refused("symbolic link"):
        copy(tmp_path)


def test_two_who_copy_to_one_place(desk: Desk, tmp_path: Path) -> None:
    """The second is refused while the first is at it, and takes nothing from it."""
    place = premises(tmp_path)
    copies = Premises("europe", tmp_path / "copies" / "europe", place.key_directory)
    copies.make(copies.directory)
    with backup._alone(copies), refused("somebody else copies there"):
        copy(tmp_path)
    assert copy(tmp_path).entries == 0


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("CREATE VIEW v AS SELECT 1", "view v does not belong there"),
        ("UPDATE identity SET region = 'us'", "the file is of region us"),
        ("UPDATE head SET root = zeroblob(32)", "not of one piece"),
        ("DELETE FROM entries WHERE seq = 1", "not of one piece"),
        ("DELETE FROM checkpoints", "nothing was ever signed"),
        ("DELETE FROM identity", "nothing was ever signed"),
    ],
)
def test_a_file_that_is_not_sound_is_not_passed_off_as_a_backup(tmp_path: Path, statement: str, said: str) -> None:
    """It is looked at before it takes its name, and nothing of it stays."""
    desk = Desk(tmp_path)
    desk.do(append("a"), append("b"), SignCheckpoint())
    desk.close()
    connection = sqlite3.connect(desk.data / "region.db", isolation_level=None)
    connection.execute(statement)
    connection.close()
    with refused(said):
        copy(tmp_path)
    assert not list((tmp_path / "copies" / "europe").iterdir())


def test_a_full_disk_leaves_nothing(desk: Desk, small_disk: Path) -> None:
    """One line, no half of a copy, and there is room again."""
    desk.do(*(append("x" * 30_000 + str(number)) for number in range(100)))
    with refused("cannot be copied", "full"):
        list(back_up([premises(desk.data.parent.parent)], small_disk / "copies"))
    assert not list((small_disk / "copies" / "europe").iterdir())


@pytest.mark.parametrize("when", ["written", "named"])
def test_kill_9_leaves_a_whole_copy_or_none(tmp_path: Path, when: str) -> None:
    """Killed when the copy is written, there is none under its name, and the next one makes it; killed when it has
    its name, it is whole, the next one is refused, and what was left beside it is gone."""
    desk = Desk(tmp_path)
    desk.do(append("a"), SignCheckpoint())
    desk.close()
    run_to_death(f"backup {when}", tmp_path)
    place = tmp_path / "copies" / "europe"
    if when == "written":
        assert [each.name for each in place.iterdir()] == ["region.db.new"]
        assert copy(tmp_path).entries == 1
    else:
        with refused("a copy already"):
            copy(tmp_path)
    assert verify(place / "region.db", parse_verifiers(desk.region.verifier)).exit == SOUND
    with contextlib.closing(connect_resting(place / "region.db")) as connection:
        assert connection.execute("SELECT count(*) FROM entries").fetchone() == (1,)


def test_refusals_are_of_the_kind_that_commands_show(tmp_path: Path) -> None:
    """What goes wrong with the disk reads like any other refusal: one line."""
    Desk(tmp_path).close()
    (tmp_path / "copies").write_bytes(b"no directory")
    with pytest.raises(RegionRefused, match="cannot make the directory"):
        copy(tmp_path)
