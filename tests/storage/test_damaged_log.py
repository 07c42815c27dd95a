"""F5: SQLite's log is torn, overwritten, gone, or another's. Nothing is lost in silence, nothing more is damaged."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from itertools import permutations
from pathlib import Path

import pytest

from storage.audit.ledger import verify
from storage.audit.verdict import ROLLED_BACK, SOUND, TAMPERED
from storage.errors import RegionRefused
from storage.note import parse_verifiers
from storage.operations import SealPresence, SignCheckpoint
from storage.wal import holds_a_commit
from tests.storage.audited import noted
from tests.storage.desk import CALL, START, Desk
from tests.storage.powerloss import Image

GROUPS = 30
GROUP = 8

Damage = Callable[[bytes, random.Random], bytes]


def groups(desk: Desk, first: int, count: int) -> None:
    """Some commits, each with entries, a sealed box and a checkpoint."""
    for group in range(first, first + count):
        seal = SealPresence(f"p_{group}", CALL, "8:acs:r_1", b"box", START)
        desk.do(*(noted(group * GROUP + each) for each in range(GROUP)), seal, SignCheckpoint())


class Copy:
    """A region's files as they lay when the machine died, and what was seen of it by then."""

    def __init__(self, desk: Desk, root: Path) -> None:
        assert desk.region.checkpoint is not None
        self.root = root
        shutil.copytree(desk.data, root / "data" / "europe", ignore=shutil.ignore_patterns("*-shm"))
        shutil.copytree(desk.keys, root / "keys" / "europe")
        for directory in (root / "data", root / "keys"):
            directory.chmod(0o700)
        self.log = root / "data" / "europe" / "region.db-wal"
        self.seen = root / "seen.txt"
        self.seen.write_text(desk.region.checkpoint)
        self.leaves = desk.leaves()

    def again(self, root: Path, log: bytes | None) -> Path:
        """The same anew in `root`, with another log beside the file."""
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(self.root, root)
        target = root / "data" / "europe" / "region.db-wal"
        target.unlink(missing_ok=True)
        if log is not None:
            target.write_bytes(log)
            target.chmod(0o600)
        return root

    def exit(self, root: Path, *, seen: bool) -> int:
        """What a verifier says of the region below `root`, with or without what was seen of the original."""
        keys = parse_verifiers((root / "keys" / "europe" / "verifier.vkey").read_text())
        return verify(root / "data" / "europe", keys, checkpoints=[self.seen] if seen else []).exit


@pytest.fixture(scope="module")
def died(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """A region that died with all its entries in the log."""
    root = tmp_path_factory.mktemp("died")
    desk = Desk(root / "alive")
    groups(desk, 0, GROUPS)
    copy = Copy(desk, root / "copy")
    desk.close()
    return copy


def opened(root: Path) -> list[bytes]:
    """The ledger as the region has it once it is open; every box that has a row can be opened."""
    desk = Desk(root)
    try:
        assert set(desk.ask(lambda reader: reader.presences(CALL)).values()) <= {b"box"}
        return desk.leaves()
    finally:
        desk.close()


@pytest.mark.parametrize(
    "damage",
    [
        lambda log, chance: log + chance.randbytes(chance.randint(1, 20_000)),
        lambda log, chance: log + bytes(chance.randint(1, 20_000)),
        lambda log, chance: log + log[32 : 32 + 4120],
        lambda log, chance: log + log[-4120:],
        lambda log, chance: log + log[-4120:-1],
        lambda log, chance: log + log[-4120:-4096] + chance.randbytes(4096),
    ],
    ids=["garbage", "zeros", "the first frame", "the last frame", "a torn frame", "a frame of garbage"],
)
def test_what_is_appended_to_the_log_is_ignored(died: Copy, tmp_path: Path, damage: Damage) -> None:
    """The log's end is where its checksums end: everything confirmed is there, and the ledger is sound."""
    for seed in range(3):
        root = died.again(tmp_path / "root", damage(died.log.read_bytes(), random.Random(seed)))
        assert opened(root) == died.leaves
        assert died.exit(root, seen=True) == SOUND


def _torn(log: bytes, chance: random.Random) -> bytes:
    return log[: chance.randrange(len(log))]


def _flipped(log: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(log))
    return log[:at] + bytes([log[at] ^ 1 << chance.randrange(8)]) + log[at + 1 :]


def _blank(log: bytes, chance: random.Random) -> bytes:
    at = chance.choice([at for at in range(0, len(log), 512) if any(log[at : at + 512])])
    return log[:at] + bytes(512) + log[at + 512 :]


@pytest.mark.parametrize("damage", [_torn, _flipped, _blank])
def test_a_damaged_log_ends_where_the_damage_begins(died: Copy, tmp_path: Path, damage: Damage) -> None:
    """The region comes back as it was after some commit: sound in itself, and rolled back to whoever saw more."""
    sizes = set()
    for seed in range(12):
        root = died.again(tmp_path / "root", damage(died.log.read_bytes(), random.Random(seed)))
        leaves = opened(root)
        assert leaves == died.leaves[: len(leaves)]
        assert len(leaves) % GROUP == 0
        assert died.exit(root, seen=False) == SOUND
        assert died.exit(root, seen=True) == (SOUND if leaves == died.leaves else ROLLED_BACK)
        sizes.add(len(leaves))
    assert len(sizes) > 3


@pytest.mark.parametrize("log", [None, b""], ids=["gone", "empty"])
def test_a_lost_log_is_seen_by_whoever_saw_more(died: Copy, tmp_path: Path, log: bytes | None) -> None:
    """Without its log a file is an older copy of itself: sound, and rolled back against any later checkpoint."""
    root = died.again(tmp_path / "root", log)
    assert len(opened(root)) < len(died.leaves)
    assert died.exit(root, seen=False) == SOUND
    assert died.exit(root, seen=True) == ROLLED_BACK


def test_a_log_of_another_region_is_refused_and_does_no_harm(died: Copy, tmp_path: Path) -> None:
    """Nothing is copied out of it and no key is overwritten: with its own log back the region is whole."""
    for groups_there in (1, GROUPS):
        other = Desk(tmp_path / f"other-{groups_there}")
        groups(other, 0, groups_there)
        foreign = Copy(other, tmp_path / f"foreign-{groups_there}")
        other.close()
        root = died.again(tmp_path / "root", foreign.log.read_bytes())
        before = Image.of(root)
        with pytest.raises(RegionRefused, match=r"not the key|one piece"):
            Desk(root)
        assert Image.of(root) == before
        shutil.copy(died.log, root / "data" / "europe" / "region.db-wal")
        assert opened(root) == died.leaves


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> list[Copy]:
    """One region at several moments, opened and closed between."""
    root = tmp_path_factory.mktemp("history")
    copies: list[Copy] = []
    for life in range(3):
        desk = Desk(root / "alive")
        for moment in range(2):
            groups(desk, 20 * life + 10 * moment, 2 + 8 * moment)
            copies.append(Copy(desk, root / f"{life}-{moment}"))
            groups(desk, 20 * life + 10 * moment + 2 + 8 * moment, 8 - 8 * moment)
        desk.close()
    return copies


def test_a_file_and_a_log_of_different_times(history: list[Copy], tmp_path: Path) -> None:
    """An older or a newer log beside a file: the region is refused untouched, or is what it once was, or a verifier
    says that it is not; a verdict of sound means that nothing is missing."""
    refused = 0
    for file, log in permutations(history, 2):
        root = file.again(tmp_path / "root", log.log.read_bytes())
        before = Image.of(root)
        try:
            leaves = opened(root)
        except RegionRefused:
            assert Image.of(root) == before
            refused += 1
            continue
        found = file.exit(root, seen=True)
        assert found in (SOUND, ROLLED_BACK, TAMPERED)
        if found == SOUND:
            assert leaves[: len(file.leaves)] == file.leaves
    assert refused > 5


def test_a_log_without_a_commit_holds_none(died: Copy, tmp_path: Path) -> None:
    """What SQLite would not read of a log is told without SQLite; one byte more or less decides."""
    whole, log = died.log.read_bytes(), tmp_path / "log"

    def holds(content: bytes) -> bool:
        log.write_bytes(content)
        return holds_a_commit(log)

    assert holds(whole)
    first = next(end for end in range(32, len(whole), 4120) if end > 32 and holds(whole[:end]))
    assert holds(whole[:first])
    for bad in (b"", whole[:31], whole[:32], whole[: first - 1], b"\0" + whole[1:], whole[32:], os.urandom(20_000)):
        assert not holds(bad)
    for at in (9, 17, 25, 31, 32, 40, 48, 60, first - 1):
        assert not holds(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 : first])
