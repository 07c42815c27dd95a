"""The load test runs against real processes and counts only what was proved."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).parents[2] / "scripts"


def test_the_load_test_says_in_one_line_that_no_gateway_runs(tmp_path: Path) -> None:
    """Nothing to load is no traceback."""
    gateway = Path(sys.executable).with_name("gateway")
    subprocess.run([gateway, "init", tmp_path], check=True, capture_output=True)
    command = [sys.executable, "-m", "load", "--config", str(tmp_path / "gateway.toml")]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, env=environment)
    assert done.returncode == 1
    assert done.stderr.startswith("load_test: no gateway runs")
    assert done.stderr.count("\n") == 1
