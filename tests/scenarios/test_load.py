"""The load test runs against real processes and counts only what was proved."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.mark.scenario
def test_a_load_of_everything_leaves_nobody_unproved_and_writes_down_what_it_found(tmp_path: Path) -> None:
    """Dropped, slow, thinking and stormed sessions have all proved everything in the end, by the exit status."""
    gateway = Path(sys.executable).with_name("gateway")
    subprocess.run([gateway, "init", tmp_path / "g"], check=True, capture_output=True)
    configuration = tmp_path / "g" / "gateway.toml"
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS)}
    settings = {f"GATEWAY_{each}__ADDRESS": "127.0.0.1:0" for each in ("LISTEN", "CONTROL")}
    load = [sys.executable, "-m", "load"]
    with subprocess.Popen(
        [gateway, "serve", "--config", configuration], stdout=subprocess.PIPE, env={**environment, **settings}
    ) as server:
        assert server.stdout is not None
        server.stdout.readline()
        try:
            wishes = (
                "--sessions 20 --participants 5 --clients 2 --slow 3 --processes 2 --ramp 100 --notices 4 --every 0.4"
            )
            wishes += " --levels received,acknowledged --think 0.05 --drops 10 --back 0.2 --storms 1"
            files = ["--json", str(tmp_path / "a.json"), "--html", str(tmp_path / "a.html")]
            command = [*load, "--config", str(configuration), *wishes.split(), *files]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
        finally:
            server.terminate()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "coverage counts 80 of 80, without a gap" in " ".join(done.stdout.split())
    found = json.loads((tmp_path / "a.json").read_text())
    assert [each["name"] for each in found["phases"]] == ["ramp", "steady", "storm"]
    steady = found["phases"][1]
    assert steady["counts"]["dropped"] > 0
    assert {"frame", "receipt", "confirm"} <= set(steady["histograms"])
    assert {"server CPU per proved notice", "server loop's lag p99.9", "load CPU"} <= set(steady["figures"])
    assert found["phases"][2]["figures"]["connect → state max"] > 0
    assert found["rows"]
    assert "<svg" in (tmp_path / "a.html").read_text()
    both = [*load, "--compare", str(tmp_path / "a.json"), str(tmp_path / "a.json")]
    told = subprocess.run(both, capture_output=True, text=True, timeout=30, check=True, env=environment)
    assert "1.00" in told.stdout
