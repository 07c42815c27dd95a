"""F9: the disk refuses a sync. What it should have covered may be on the disk or not, now and after any later sync."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

from tests.storage.desk import CALL, Desk
from tests.storage.recorded import ROOT, Run, faults, run
from tests.storage.strace import recording


def failing_from(number: int, step: str = "") -> tuple[str, str]:
    """Options of strace: this sync of each thread and, with a step, those after it in that distance, are refused."""
    return "-e", f"inject=fsync,fdatasync:error=EIO:when={number}{step}"


def test_a_failed_sync_is_never_taken_for_one_that_worked(shelf: Path) -> None:
    """Every seventh sync of the writer fails. Nothing is confirmed on the strength of it, whether the power goes or the
    process is killed before it is made good, and the writer goes on by itself."""
    failing = run(shelf, 2, "14", options=failing_from(_opening(shelf) + 1, "+7"))
    said = b"".join(failing.said())
    assert said.count(b'"failing": true') == said.count(b'"failing": false') > 1
    count, found = faults(failing, shelf, 0.04)
    assert found == []
    assert count > 100


def test_nobody_is_erased_on_the_strength_of_a_sync_that_failed(shelf: Path) -> None:
    """Somebody is erased again and again while every fourth sync fails, then while every sixth does, so that each kind
    of file it takes is hit amid it: whatever of them is said to be gone is gone, and what is not is there."""
    opening, hit = _opening(shelf), set[str]()
    for life, every in enumerate((4, 6), start=2):
        failing = run(shelf, life, "4e", options=failing_from(opening + 1, f"+{every}"))
        count, found = faults(failing, shelf, 0.02)
        assert found == []
        assert count > 50
        hit |= _hit_amid_erasures(failing)
    assert hit == {"region.db", "region.db-wal", "slots", "erasures", "its directory"}


def _opening(shelf: Path) -> int:
    """How many syncs it takes to open a region that is there.

    Each thread counts its own calls, and those of the thread that opens it must succeed.
    """
    run(shelf, 0, "1")
    calm = run(shelf, 1, "1").steps
    return sum(step.kind == "sync" for step in calm[: [step.kind for step in calm].index("say")])


def _hit_amid_erasures(run: Run) -> set[str]:
    """Whose syncs failed between the word that somebody is to go and the word that they are gone."""
    hit, amid = set[str](), False
    for step in run.steps:
        if step.kind == "say":
            said = json.loads(step.data)
            amid = "leaving" in said or (amid and "erased" not in said)
        elif step.kind == "fail" and amid:
            place = Path(step.path)
            hit.add("its directory" if place == run.root / "keys" / "europe" else place.name)
    return hit


def test_what_comes_back_comes_back_with_its_keys(tmp_path: Path) -> None:
    """A commit whose sync failed lies in the log: a process killed then finds it committed, and its boxes open."""
    Desk(tmp_path).close()
    child = [sys.executable, "-m", "tests.storage.child", "fail", str(tmp_path)]
    command = [*recording(tmp_path / "log", *failing_from(50)), *child]
    died = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60)
    assert died.returncode == -signal.SIGKILL, died.stderr.decode()
    desk = Desk(tmp_path)
    presences = desk.ask(lambda reader: reader.presences(CALL))
    assert len(presences) > 10
    assert set(presences.values()) == {b"box"}
    desk.close()
