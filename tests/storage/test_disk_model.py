"""The model of a disk that the power-loss tests rest on: what it must keep, what it may lose, and what it refuses."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.storage.powerloss import SECTOR, WAYS, Disk, Image
from tests.storage.strace import Step, recording, steps

ROOT = Path("/disk")
FILE = "/disk/a"
EMPTY = Image((), {})
KNOWN = Image((), {"a": b"old"})


def states(*taken: Step, before: Image = KNOWN) -> set[tuple[tuple[str, bytes], ...]]:
    """Every state the model has for a disk that took these steps."""
    disk = Disk(ROOT, before)
    for step in taken:
        disk.take(step)
    chance = random.Random(1)
    return {tuple(sorted(disk.image(way, chance).files.items())) for way in WAYS for _ in range(200)}


def contents(*taken: Step) -> set[bytes]:
    """Every content the file may have."""
    return {dict(state)["a"] for state in states(*taken)}


def write(data: bytes, offset: int = 0, path: str = FILE) -> Step:
    return Step("write", path, data, offset)


SYNC = Step("sync", FILE)
SYNC_NAMES = Step("sync", "/disk")


def test_what_a_sync_covers_is_there() -> None:
    """A synced write is in every state."""
    assert contents(write(b"new"), SYNC) == {b"new"}


def test_a_write_without_a_sync_may_be_lost() -> None:
    """It is there or it is not."""
    assert contents(write(b"new")) == {b"old", b"new"}


def test_writes_reach_the_disk_in_any_order() -> None:
    """Of two writes each may be there without the other; what lies between them reads as zeros."""
    assert contents(write(b"X", 3), write(b"Y", 5)) == {b"old", b"oldX", b"old\0\0Y", b"oldX\0Y"}


def test_a_write_is_torn_between_sectors_only() -> None:
    """A long write may be there in part; each aligned sector of it is whole or missing."""
    found = contents(write(b"x" * 3 * SECTOR, SECTOR // 2))
    assert len(found) == 2**4
    for content in found:
        padded = content.ljust(4 * SECTOR, b"\0")
        for at in range(SECTOR // 2, 3 * SECTOR, SECTOR // 2):
            if at // (SECTOR // 2) % 2 == 0:
                assert padded[at : at + SECTOR // 2] == padded[at + SECTOR // 2 : at + SECTOR]


def test_what_is_in_one_sector_is_never_torn() -> None:
    """32 bytes at a multiple of 32 are written whole or not at all."""
    assert contents(write(b"k" * 32, 992)) == {b"old", b"old".ljust(992, b"\0") + b"k" * 32}


def test_a_cut_may_be_lost() -> None:
    """A file that was cut has its old length or its new one."""
    assert contents(Step("cut", FILE, offset=1)) == {b"old", b"o"}
    assert contents(Step("cut", FILE, offset=4), SYNC) == {b"old\0"}


def test_a_sync_covers_its_file_only() -> None:
    """Another file's sync says nothing of this one."""
    before = Image((), {"a": b"old", "b": b""})
    found = states(write(b"new"), write(b"b", 0, "/disk/b"), Step("sync", "/disk/b"), before=before)
    assert found == {(("a", b"old"), ("b", b"b")), (("a", b"new"), ("b", b"b"))}


def test_a_failed_sync_is_not_made_good_by_the_next() -> None:
    """What it should have covered may be lost for ever, unless it is written anew."""
    failed = (write(b"new"), Step("fail", FILE))
    assert contents(*failed, SYNC) == {b"old", b"new"}
    assert contents(*failed, write(b"new"), SYNC) == {b"new"}


def test_a_name_is_made_good_by_the_next_sync_of_its_directory() -> None:
    """A directory's sync that failed made nothing sure, and lost nothing."""
    failed = (Step("make", FILE), write(b"new"), SYNC, Step("fail", "/disk"))
    assert states(*failed, before=EMPTY) == {(), (("a", b"new"),)}
    assert states(*failed, SYNC_NAMES, before=EMPTY) == {(("a", b"new"),)}


def test_a_name_lives_by_its_directory() -> None:
    """A synced file whose name is not synced may be missing, whole as it is."""
    made = (Step("make", FILE), write(b"new"), SYNC)
    assert states(*made, before=EMPTY) == {(), (("a", b"new"),)}
    assert states(*made, SYNC_NAMES, before=EMPTY) == {(("a", b"new"),)}


def test_a_renamed_file_has_one_of_its_names() -> None:
    """A rename that is not synced happened or did not, and never half; what it replaces is never lost before."""
    aside = (Step("make", "/disk/a.new"), write(b"new", 0, "/disk/a.new"), Step("sync", "/disk/a.new"))
    rename = Step("rename", "/disk/a.new", FILE.encode())
    old, new = ("a", b"old"), ("a", b"new")
    assert states(*aside, rename) == {(old,), (old, ("a.new", b"new")), (new,)}
    assert states(*aside, rename, SYNC_NAMES) == {(new,)}


def test_a_removed_file_may_be_back() -> None:
    """Until the directory is synced; and what is made under its name is another file."""
    assert states(Step("remove", FILE)) == {(("a", b"old"),), ()}
    assert states(Step("remove", FILE), SYNC_NAMES) == {()}
    assert states(Step("remove", FILE), Step("make", FILE), SYNC_NAMES) == {(("a", b""),)}


def test_a_directory_may_be_missing_with_all_that_is_in_it() -> None:
    """A new directory lives by the one above it."""
    made = (Step("mkdir", "/disk/d"), Step("make", "/disk/d/a"), Step("sync", "/disk/d"))
    assert states(*made, before=EMPTY) == {(), (("d/a", b""),)}
    assert states(*made, SYNC_NAMES, before=EMPTY) == {(("d/a", b""),)}


def test_memory_never_survives() -> None:
    """A file that is only memory is in no state."""
    disk = Disk(ROOT, Image((), {"a": b"old", "a-shm": b"index"}), lost=["-shm"])
    assert disk.image("all", random.Random(0)) == KNOWN


def recorded(tmp_path: Path, program: str) -> tuple[list[Step], Image]:
    """The steps of a Python program that finds its directory in `root`, and what it left there."""
    root, log = tmp_path / "root", tmp_path / "log"
    root.mkdir()
    program = f"import os, threading\nroot = {str(root)!r}\n{program}"
    subprocess.run([*recording(log), sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)
    return steps(log, root), Image.of(root)


def test_calls_of_several_threads_are_put_together(tmp_path: Path) -> None:
    """Calls that strace logs in two halves are read whole, and everything kept is what really lies there."""
    taken, left = recorded(
        tmp_path,
        """
def work(name):
    descriptor = os.open(f"{root}/{name}", os.O_CREAT | os.O_RDWR)
    for number in range(300):
        os.pwrite(descriptor, bytes([number % 256]) * 700, number * 600)
        os.write(1, b"%d" % number)
        os.fsync(descriptor)
threads = [threading.Thread(target=work, args=(name,)) for name in "abc"]
[each.start() for each in threads]
[each.join() for each in threads]
""",
    )
    assert sum(step.kind == "sync" for step in taken) == sum(step.kind == "say" for step in taken) == 900
    disk = Disk(tmp_path / "root", EMPTY)
    for step in taken:
        disk.take(step)
    assert disk.image("none", random.Random(0)).files == {}
    assert disk.image("all", random.Random(0)) == left


@pytest.mark.parametrize(
    "call",
    [
        "os.link(root + '/a', root + '/b')",
        "os.symlink(root + '/a', root + '/b')",
        "os.truncate(root + '/a', 1)",
        "os.posix_fallocate(descriptor, 0, 10)",
        "os.writev(descriptor, [b'a', b'b'])",
        "os.pwritev(descriptor, [b'a'], 0)",
        "os.mkdir(root + '/d'); os.rmdir(root + '/d')",
        "os.open(root + '/a', os.O_RDWR | os.O_TRUNC)",
        "os.open(root + '/a', os.O_RDWR | os.O_APPEND)",
        "os.open(root, os.O_RDWR | os.O_TMPFILE)",
    ],
)
def test_what_is_not_known_is_refused(tmp_path: Path, call: str) -> None:
    """A call whose effect the model would miss ends the test that relies on it."""
    with pytest.raises(ValueError, match="is not known"):
        recorded(tmp_path, f"descriptor = os.open(root + '/a', os.O_CREAT | os.O_RDWR)\n{call}")
