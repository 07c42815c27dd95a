"""The bench of retention deletes what it put in while notices flow, and says how that went."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "scripts" / "bench_retention.py"


@pytest.mark.scenario
def test_the_bench_of_retention_accounts_for_every_row_and_every_notice(tmp_path: Path) -> None:
    """Each span has its figures, by the gateway's metric and by its clients; it ends with 0 only if no row is missing
    and coverage counts every proof; nothing is left behind.
    """
    rows = 3_000
    place = tmp_path / "place"
    place.mkdir()
    options = {"rows": rows, "seconds": 2, "sessions": 20, "calls": 4, "every": 0.1, "directory": place}
    command = [sys.executable, str(BENCH), *(f"--{name}={value}" for name, value in options.items())]
    done = subprocess.run(
        [*command, f"--json={tmp_path / 'figures'}"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "figures").read_text())
    assert list(figures["spans"]) == ["alone", "review", "sweep", "alone again"]
    for title, span in figures["spans"].items():
        assert span["looks"] > 0, title
        assert span["notices"] >= 20, title
        for each in ("lag", "answer", "frame", "receipt"):
            assert 0 <= span[each]["p50"] <= span[each]["p99"] <= span[each]["max"], (title, each)
    assert figures["spans"]["review"]["rows"] == rows
    assert rows // 2 < figures["spans"]["sweep"]["rows"] <= rows
    assert figures["erasures"]
    assert "sweep / alone" in done.stdout
    assert not any(place.iterdir())
