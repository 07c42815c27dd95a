"""F9: the disk refuses a sync. What it should have covered may be on the disk or not, now and after any later sync."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from tests.storage.desk import CALL, Desk
from tests.storage.recorded import ROOT, faults, run
from tests.storage.strace import recording


def failing_from(number: int, step: str = "") -> tuple[str, str]:
    """Options of strace: this sync of each thread and, with a step, those after it in that distance, are refused."""
    return "-e", f"inject=fsync,fdatasync:error=EIO:when={number}{step}"


def test_a_failed_sync_is_never_taken_for_one_that_worked(shelf: Path) -> None:
    """Every seventh sync of the writer fails. Nothing is confirmed on the strength of it, whether the power goes or the
    process is killed before it is made good, and the writer goes on by itself."""
    run(shelf, 0, "1")
    calm = run(shelf, 1, "1").steps
    # Each thread counts its own calls: those of the thread that opens the region must succeed.
    opening = sum(step.kind == "sync" for step in calm[: [step.kind for step in calm].index("say")])
    failing = run(shelf, 2, "14", options=failing_from(opening + 1, "+7"))
    said = b"".join(failing.said())
    assert said.count(b'"failing": true') == said.count(b'"failing": false') > 1
    count, found = faults(failing, shelf, 0.04)
    assert found == []
    assert count > 100


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
