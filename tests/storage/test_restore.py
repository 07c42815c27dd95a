"""A backup is taken for good on purpose only, says so in its ledger, and is whole or not taken, at any kill."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from storage.audit.ledger import verify
from storage.audit.verdict import ROLLED_BACK, SOUND
from storage.backup import back_up
from storage.engine import connect_writer, sqlite3
from storage.note import parse_checkpoint, parse_note, parse_verifiers
from storage.operations import Cosign, NameCall, SealPresence, SignCheckpoint
from storage.premises import Premises
from storage.region import LEDGER
from storage.restore import Restored, restore
from tests.storage.audited import noted
from tests.storage.desk import CALL, START, Desk, append, message
from tests.storage.former import without_spans
from tests.storage.powerloss import Image
from tests.storage.test_crash import run_to_death
from tests.storage.test_opening import refused

NAMES = ("europe", "us")
RESTORED = {"at": "2026-11-23T14:00:00.123Z", "entries": 3, "epoch": 2, "kind": "ledger.restored", "missing": 3}
RESET = {"at": "2026-11-23T14:00:00.123Z", "kind": "witness.reset", "origin": f"{LEDGER}/europe", "seen": 6}


class World:
    """Two closed regions, each of which has vouched for the other, and copies from when the first had less."""

    def __init__(self, root: Path) -> None:
        self.root = root
        europe, us = Desk(root, "europe"), Desk(root, "us")
        europe.do(append("a"), append("b"), message("kept", participant="8:acs:r_0"), SignCheckpoint())
        us.do(append("x"), SignCheckpoint())
        self.vouch(europe, us, 0)
        self.vouch(us, europe, 0)
        list(back_up(self.premises(), root / "copies"))
        europe.do(append("c"), append("d"), message("lost", participant="8:acs:r_1"), SignCheckpoint())
        self.vouch(us, europe, 3)
        europe.close()
        us.close()
        self.verifiers = {each.region.name: parse_verifiers(each.region.verifier) for each in (europe, us)}
        self.europe, self.us = europe, us

    def premises(self) -> list[Premises]:
        return [Premises(name, self.root / "data" / name, self.root / "keys" / name) for name in NAMES]

    @staticmethod
    def vouch(witness: Desk, other: Desk, old: int) -> None:
        note = other.region.checkpoint
        assert note is not None
        size = parse_checkpoint(parse_note(note).body).size
        path = other.ask(lambda reader: reader.consistency(old, size)) if old else ()
        (outcome,) = witness.do(
            Cosign(other.region.origin, other.region.verifier.splitlines()[0], note, old, tuple(path), START)
        )
        assert outcome.kind == "cosigned", outcome

    def lose(self, name: str = "europe") -> Path:
        """The region's file is moved away; to where."""
        place = self.root / f"lost-{name}"
        (self.root / "data" / name).rename(place)
        return place

    def restore(self, *names: str) -> list[Restored]:
        return restore(self.premises(), names or ("europe",), self.root / "copies", ledger=LEDGER, at=START)

    def entries(self, name: str) -> list[dict[str, Any]]:
        """What the region's ledger says after it was opened once more; it is sound."""
        desk = Desk(self.root, name)
        found = [json.loads(leaf) for leaf in desk.leaves() if leaf[:1] == b"{"]
        desk.close()
        assert verify(desk.data, self.verifiers[name]).exit == SOUND
        return found

    def memory(self, name: str = "europe") -> tuple[int, int, int]:
        """What the keys say: the epoch in both files, and the size."""
        keys = self.root / "keys" / name
        manifest, newest = (json.loads((keys / each).read_bytes()) for each in ("identity.json", "newest"))
        return manifest["epoch"], newest["epoch"], newest["size"]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def older(path: Path) -> None:
    """Make a backup one of a version before there were spans."""
    with contextlib.closing(connect_writer(path)) as connection:
        without_spans(connection)
        connection.execute("PRAGMA journal_mode = DELETE").fetchall()


def of_kind(entries: Sequence[dict[str, Any]], *kinds: str) -> list[dict[str, Any]]:
    return [each for each in entries if each.get("kind") in kinds]


# -- what it does -----------------------------------------------------------------------------------------------------


def test_a_backup_is_taken_for_good(world: World) -> None:
    """The ledger goes on from it, sound, in a new epoch, and says how many entries are missing; its keys know."""
    lost = world.lose()
    file = world.root / "data" / "europe" / "region.db"
    assert world.restore() == [Restored("europe", file, 3, 3, 2)]
    assert world.memory() == (2, 2, 4)
    assert [each.name for each in sorted(file.parent.iterdir())] == ["identity.json", "lock", "region.db"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert of_kind(world.entries("europe"), "ledger.restored") == [RESTORED]
    assert verify(lost, world.verifiers["europe"]).exit == SOUND
    known = world.root / "known"
    with contextlib.closing(sqlite3.connect(lost / "region.db")) as connection:
        (note,) = connection.execute("SELECT note FROM checkpoints ORDER BY size DESC").fetchone()
    known.write_text(note)
    verdict = verify(file, world.verifiers["europe"], checkpoints=[known])
    assert verdict.exit == ROLLED_BACK, "who saw more sees the fork, rightly"


def test_a_backup_of_an_older_version_is_brought_up_to_date(world: World) -> None:
    """It is sound as it lies, and goes on with the tables of today."""
    older(world.root / "copies" / "europe" / "region.db")
    world.lose()
    assert [each.entries for each in world.restore()] == [3]
    assert of_kind(world.entries("europe"), "ledger.restored") == [RESTORED]


def test_what_the_backup_holds_opens_as_far_as_it_lives(world: World) -> None:
    """Messages, and nothing of what came after; the region takes new ones."""
    world.lose()
    world.restore()
    desk = Desk(world.root)
    kept = desk.ask(lambda reader: reader.message("8:acs:r_0"))
    assert kept is not None
    assert kept.content == "kept"
    assert desk.ask(lambda reader: reader.message("8:acs:r_1")) is None
    desk.do(message("new", participant="8:acs:r_1"))
    desk.close()


def test_boxes_that_were_closed_since_do_no_harm(tmp_path: Path) -> None:
    """Rows of the backup whose keys are gone stay closed: the region opens, and is read."""
    desk = Desk(tmp_path)
    desk.do(
        NameCall(CALL, ("old",)),
        message("old"),
        SealPresence("p_1", CALL, "8:acs:r_1", b"box", START),
        SignCheckpoint(),
    )
    place = [Premises("europe", desk.data, desk.keys)]
    list(back_up(place, tmp_path / "copies"))
    desk.do(NameCall(CALL, ("new",)), message("new", version=2))
    desk.close()
    shutil.rmtree(desk.data)
    restore(place, ["europe"], tmp_path / "copies", ledger=LEDGER, at=START)
    again = Desk(tmp_path)
    assert again.ask(lambda reader: reader.message("8:acs:r_1")) is None
    assert again.ask(lambda reader: reader.presences(CALL)) == {"p_1": b"box"}
    again.do(NameCall(CALL, ("newest",)), message("newest", version=3))
    again.close()


def test_the_other_regions_begin_anew_with_it(world: World) -> None:
    """They forget what they saw, say so, and vouch for it again; what it saw of them stays."""
    world.lose()
    world.restore()
    assert of_kind(world.entries("us"), "witness.reset") == [RESET]
    europe, us = Desk(world.root, "europe"), Desk(world.root, "us")
    world.vouch(us, europe, 0)
    us.do(append("y"), SignCheckpoint())
    world.vouch(europe, us, 1)
    europe.close()
    us.close()


def test_without_the_command_the_other_regions_refuse_it(world: World) -> None:
    """What the reset is there for: an older file is no continuation of what they saw."""
    world.lose()
    (world.root / "data" / "europe").mkdir(mode=0o700)
    shutil.copyfile(world.root / "copies" / "europe" / "region.db", world.root / "data" / "europe" / "region.db")
    (world.root / "data" / "europe" / "region.db").chmod(0o600)
    (world.root / "keys" / "europe" / "newest").unlink()
    shutil.copy(world.root / "keys" / "europe" / "identity.json", world.root / "data" / "europe")
    europe, us = Desk(world.root, "europe"), Desk(world.root, "us")
    with pytest.raises(AssertionError, match="rolled back"):
        world.vouch(us, europe, 0)
    europe.close()
    us.close()


def test_two_regions_are_restored_together(world: World) -> None:
    """Each forgets the other; one that is lost and not named keeps the command from doing anything."""
    world.lose()
    world.lose("us")
    with refused("region us", "missing"):
        world.restore("europe")
    assert not (world.root / "data" / "europe" / "region.db").exists()
    assert [each.epoch for each in world.restore("europe", "us")] == [2, 2]
    assert [each["seen"] for each in of_kind(world.entries("europe"), "witness.reset")] == [1]
    assert [each["kind"] for each in of_kind(world.entries("us"), "ledger.restored")] == ["ledger.restored"]
    europe, us = Desk(world.root, "europe"), Desk(world.root, "us")
    world.vouch(us, europe, 0)
    europe.close()
    us.close()


def test_the_lost_file_is_refused_when_it_is_found(world: World) -> None:
    """It is of an epoch before; its keys know that something was put back since."""
    lost = world.lose()
    world.restore()
    shutil.rmtree(world.root / "data" / "europe")
    lost.rename(world.root / "data" / "europe")
    with refused("of epoch 1, and its keys remember a later one, 2"):
        Desk(world.root)


def test_it_can_be_done_again(world: World) -> None:
    """Every time is an epoch of its own, whatever the epoch of the backup."""
    for epoch in (2, 3, 4):
        shutil.rmtree(world.root / "data" / "europe")
        assert world.restore()[0].epoch == epoch
    assert [each["missing"] for each in of_kind(world.entries("europe"), "ledger.restored")] == [1]


def test_a_backup_with_everything_lacks_nothing(world: World) -> None:
    """A disk is lost, and the replica had it all."""
    shutil.rmtree(world.root / "copies")
    list(back_up(world.premises(), world.root / "copies"))
    world.lose()
    assert world.restore()[0].missing == 0


def test_keys_that_remember_nothing_say_nothing(world: World) -> None:
    """How many are missing is not made up."""
    world.lose()
    (world.root / "keys" / "europe" / "newest").unlink()
    assert world.restore()[0].missing is None
    (entry,) = of_kind(world.entries("europe"), "ledger.restored")
    assert "missing" not in entry


def test_a_backup_made_by_hand_will_do(world: World) -> None:
    """Open to others, or with its log beside it; it is not changed."""
    desk = Desk(world.root)
    desk.do(*map(noted, range(6, 20)), SignCheckpoint())
    place = world.root / "copies" / "europe"
    for name in ("region.db", "region.db-wal"):
        shutil.copyfile(desk.data / name, place / name)
        (place / name).chmod(0o644)
    assert (place / "region.db-wal").stat().st_size
    desk.close()
    before = Image.of(place)
    world.lose()
    assert world.restore()[0].entries == 20
    assert Image.of(place) == before
    assert len(of_kind(world.entries("europe"), "ledger.restored")) == 1


# -- kill -9 ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["_finish_aside", "_reset", "_publish", "write_label", "write_manifests", "Memory"])
def test_kill_9_at_any_step_leaves_each_entry_once(world: World, step: str) -> None:
    """Before the file has its name the command is repeated, afterwards the region is started; nothing is done twice."""
    world.lose()
    run_to_death(f"restore {step}", world.root)
    if (world.root / "data" / "europe" / "region.db").exists():
        assert step in ("write_manifests", "Memory")
        with refused("its file is there, of 4 entries where the backup has 3", "start the gateway on it"):
            world.restore()
    else:
        with refused("missing"):
            Desk(world.root)
        world.restore()
    assert of_kind(world.entries("europe"), "ledger.restored") == [RESTORED]
    assert of_kind(world.entries("us"), "witness.reset") == [RESET]
    assert world.memory() == (2, 2, 4)
    assert not list((world.root / "data").rglob("*.new*"))


# -- refused, and nothing is changed ----------------------------------------------------------------------------------


def spoil(world: World, *statements: str) -> None:
    with contextlib.closing(connect_writer(world.root / "copies" / "europe" / "region.db")) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        for statement in statements:
            connection.execute(statement)


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE entries SET leaf = x'7b7d' WHERE seq = 0", "the backup is no good (tampered"),
        ("DELETE FROM entries WHERE seq = 2", "the backup is no good (rolled back"),
        ("CREATE VIEW v AS SELECT 1", "view v does not belong there"),
        ("DELETE FROM checkpoints", "the backup is no good (cannot be verified"),
        ("UPDATE identity SET region = 'us'", "another file than the keys"),
        ("UPDATE identity SET uuid = 'other'", "another file than the keys"),
        ("UPDATE identity SET key_check = zeroblob(32)", "another file than the keys"),
        ("DELETE FROM identity", "nothing was ever signed"),
    ],
)
def test_a_backup_that_is_not_sound_is_refused(world: World, statement: str, said: str) -> None:
    """Every entry is checked, every hash and signature, and whose it is."""
    world.lose()
    spoil(world, statement)
    before = Image.of(world.root / "keys")
    with refused(said):
        world.restore()
    assert Image.of(world.root / "keys") == before
    assert [each.name for each in (world.root / "data" / "europe").iterdir()] == ["lock"]


def test_a_backup_of_another_region_is_refused(world: World) -> None:
    """Signed by another key, it is not this region's, whatever directory it lies in."""
    world.lose()
    shutil.copyfile(world.root / "copies" / "us" / "region.db", world.root / "copies" / "europe" / "region.db")
    with refused("the backup is no good (cannot be verified"):
        world.restore()


@pytest.mark.parametrize("kind", ["nothing", "a directory", "a link"])
def test_a_backup_that_is_not_there_is_refused(world: World, kind: str) -> None:
    """Nor is a link followed."""
    world.lose()
    file = world.root / "copies" / "europe" / "region.db"
    file.rename(world.root / "elsewhere")
    if kind == "a directory":
        file.mkdir()
    elif kind == "a link":
        file.symlink_to(world.root / "elsewhere")
    with refused("there is no backup"):
        world.restore()


@pytest.mark.parametrize("key", ["master.key", "slots", "signing.key", "witness.key", "identity.json"])
def test_keys_that_are_not_there_are_never_made(world: World, key: str) -> None:
    """A backup without its keys is no region."""
    world.lose()
    (world.root / "keys" / "europe" / key).unlink()
    with refused("there is no key", key):
        world.restore()
    assert not (world.root / "keys" / "europe" / key).exists()


def test_keys_from_before_the_backup_are_refused(world: World) -> None:
    """They lack slots of its rows, and no start would take it."""
    world.lose()
    os.truncate(world.root / "keys" / "europe" / "slots", 32)
    with refused("older than the backup", "slots"):
        world.restore()
    assert not (world.root / "data" / "europe" / "region.db").exists()


def test_the_newer_file_is_not_overwritten(world: World) -> None:
    """Nor is an older one, nor a damaged one, nor a log alone: they are moved away by somebody who knows."""
    place = world.root / "data" / "europe"
    with refused("its file is there, of 6 entries where the backup has 3", "start the gateway on it"):
        world.restore()
    shutil.copyfile(world.root / "copies" / "europe" / "region.db", place / "region.db")
    with refused("still there", "move it away"):
        world.restore()
    os.truncate(place / "region.db", 5000)
    with refused("still there", "move it away"):
        world.restore()
    (place / "region.db").rename(place / "region.db-wal")
    with refused("still there", "move it away"):
        world.restore()
    assert (place / "region.db-wal").stat().st_size == 5000


@pytest.mark.parametrize("name", NAMES)
def test_a_region_in_use_is_refused(world: World, name: str) -> None:
    """The one that is restored, and any other of the same gateway."""
    world.lose()
    desk = Desk(world.root, "us") if name == "us" else None
    lock = None if desk else world.premises()[0]
    if lock is not None:
        lock.make(lock.directory)
        descriptor = lock.take_lock()
    with refused(f"region {name}", "in use by another process"):
        world.restore()
    if desk is not None:
        desk.close()
    else:
        os.close(descriptor)
    assert not (world.root / "data" / "europe" / "region.db").exists()


def test_a_full_disk_leaves_nothing_in_its_place(world: World, small_disk: Path) -> None:
    """The command says so and can be repeated where there is room."""
    desk = Desk(world.root)
    desk.do(*(append("x" * 30_000 + str(number)) for number in range(100)), SignCheckpoint())
    desk.close()
    shutil.rmtree(world.root / "copies")
    list(back_up(world.premises(), world.root / "copies"))
    world.lose()
    full = [Premises("europe", small_disk / "europe", world.root / "keys" / "europe"), world.premises()[1]]
    with refused("cannot be restored", "full"):
        restore(full, ["europe"], world.root / "copies", ledger=LEDGER, at=START)
    assert not (small_disk / "europe" / "region.db").exists()
    assert world.memory()[:2] == (1, 1)
    assert world.restore()[0].entries == 106
