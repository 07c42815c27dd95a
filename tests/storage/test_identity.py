"""Who a region is: what is said beside the file and with the keys, and which files are refused by it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from storage.entry import canonical
from tests.storage.desk import Desk, append
from tests.storage.ruins import RUINS
from tests.storage.test_opening import ROOT, filled, refused


def older(desk: Desk) -> None:
    """The region as a version left it that knew one `identity.json` only."""
    (desk.data / "identity.json").unlink()
    manifest = json.loads((desk.keys / "identity.json").read_bytes())
    del manifest["copies"]
    (desk.keys / "identity.json").write_bytes(canonical(manifest))


@pytest.mark.parametrize("ruin", RUINS)
def test_what_is_not_the_regions_own_is_refused_and_stays_as_it_is(tmp_path: Path, ruin: str) -> None:
    """P6: swapped, moved, linked and missing parts are refused by what is wrong and where, and nothing is made anew."""
    europe, us = filled(tmp_path), filled(tmp_path, "us")
    act, words = RUINS[ruin]
    act(us, europe, tmp_path / "elsewhere")
    before = {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    with refused("region us", *words):
        Desk(tmp_path, "us")
    after = {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file() and path.name != "lock"}
    assert after == {path: at for path, at in before.items() if path.name != "lock"}


def test_a_label_that_belongs_to_others_is_refused(tmp_path: Path) -> None:
    """P6: a label that another user could change says nothing."""
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    desk = filled(tmp_path)
    os.chown(desk.data / "identity.json", 12345, 12345)
    with refused("belongs to another user", "identity.json"):
        Desk(tmp_path)


def test_both_say_the_same(tmp_path: Path) -> None:
    """What lies beside the file and with the keys is one content, so that either can be put back from the other."""
    desk = filled(tmp_path)
    label = desk.data / "identity.json"
    assert label.read_bytes() == (desk.keys / "identity.json").read_bytes()
    assert json.loads(label.read_bytes())["region"] == "europe"
    label.unlink()
    shutil.copy2(desk.keys / "identity.json", label)
    Desk(tmp_path).close()


@pytest.mark.parametrize("labelled", [False, True])
def test_a_region_from_before_gets_its_label_once(tmp_path: Path, labelled: bool) -> None:
    """A region that never had one is given one, also where a crash came in between; lost afterwards, it is missed."""
    desk = filled(tmp_path)
    label = (desk.data / "identity.json").read_bytes()
    older(desk)
    if labelled:
        (desk.data / "identity.json").write_bytes(label)
        (desk.data / "identity.json").chmod(0o600)
    Desk(tmp_path).close()
    assert (desk.data / "identity.json").read_bytes() == label == (desk.keys / "identity.json").read_bytes()
    (desk.data / "identity.json").unlink()
    with refused("does not say whose"):
        Desk(tmp_path)


def test_a_region_from_before_is_given_no_label_for_a_foreign_file(tmp_path: Path) -> None:
    """What is made once is made for the right file only."""
    europe, us = filled(tmp_path), filled(tmp_path, "us")
    older(us)
    shutil.copy(europe.data / "region.db", us.data / "region.db")
    with refused("of region europe", "region.db"):
        Desk(tmp_path, "us")
    assert not (us.data / "identity.json").exists()


@pytest.mark.parametrize("how", ["made", "from before"])
def test_a_kill_between_any_two_steps_is_finished_at_the_next_open(tmp_path: Path, how: str) -> None:
    """F4: killed with SIGKILL at a rename or a sync while it is opened, a region opens the next time.

    At each of them, a third of them a day: all would take longer than the rest of this file.
    """
    kills = 0
    for call in ("rename", "fsync"):
        for number in range(1 + datetime.now(UTC).toordinal() % 3, 99, 3):
            root = tmp_path / f"{call}-{number}"
            if how == "from before":
                older(filled(root))
            opening = (
                f"from pathlib import Path; from tests.storage.desk import Desk; Desk(Path({str(root)!r})).close()"
            )
            inject = ["strace", "-f", "-qq", "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={number}"]
            done = subprocess.run(
                [*inject, "-o", "/dev/null", sys.executable, "-c", opening], cwd=ROOT, capture_output=True, timeout=60
            )
            again = Desk(root)
            assert again.do(append("{}"))
            again.close()
            assert (again.data / "identity.json").read_bytes() == (again.keys / "identity.json").read_bytes()
            shutil.rmtree(root)
            if done.returncode == 0:
                break
            assert done.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL), done.stderr
            kills += 1
        else:
            pytest.fail("it never came to its end")
    assert kills >= (4 if how == "made" else 1)
