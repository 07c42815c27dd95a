"""The load test and the bench run against real processes and count only what was proved."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.mark.scenario
def test_the_bench_measures_both_servers_and_the_gateway_agrees_with_its_clients(tmp_path: Path) -> None:
    """Every figure is printed for both; the bench ends with 0 only if coverage counts every proof it saw."""
    command = [sys.executable, str(SCRIPTS / "bench.py"), "--sessions", "20", "--rounds", "3", "--warm-up", "1"]
    done = subprocess.run(
        [*command, "--directory", str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    for figure in ("last client's frame", "last durable receipt", "CPU per notice", "memory per session"):
        assert figure in done.stdout
    assert not any(tmp_path.iterdir())


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
