"""The bench measures real processes, and its table says what was reached, no more."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


def run(*command: str) -> str:
    """What a script prints, which has to end well."""
    done = subprocess.run(
        [sys.executable, *command],
        env={**os.environ, "PYTHONPATH": str(SCRIPTS), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.scenario
def test_a_quick_bench_measures_a_meeting_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """The figure is printed with its bounds and written where that was wished; the document is not touched."""
    place, document = tmp_path / "place", SCRIPTS.parent / "docs" / "performance.md"
    place.mkdir()
    before = document.read_bytes()
    found = tmp_path / "found"
    said = run("-m", "benching", "--quick", "--only", "meeting", "--json", str(found), "--directory", str(place))
    assert "a meeting of 10 on an idle gateway" in said
    assert '"meeting"' in found.read_text()
    assert not any(place.iterdir())
    assert document.read_bytes() == before


@pytest.mark.scenario
def test_the_hot_path_is_measured_without_sockets() -> None:
    """Everybody told is proved, in one call and in many, or it does not end; the stages are named."""
    said = run(str(SCRIPTS / "bench_hot.py"), "--sessions", "20", "--rounds", "1")
    assert "20 in one call" in said
    assert "20 in 2 calls" in said
