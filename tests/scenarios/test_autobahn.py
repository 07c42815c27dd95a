"""Autobahn's cases of RFC 6455 pass against the listener's own code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "autobahn.py"


def test_autobahn_judges_the_listener_no_worse_than_the_library() -> None:
    """Framing, pings, reserved bits, opcodes, fragments, UTF-8 and closing: every case, none missing, each as well."""
    done = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "247 cases: 239 OK, 4 NON-STRICT, 3 INFORMATIONAL, 1 FAILED" in done.stdout
    assert "worse" not in done.stdout


def test_autobahn_says_which_case_is_worse() -> None:
    """A judge that lets everything pass is none: of a pattern that matches no case nothing is proved."""
    done = subprocess.run([sys.executable, str(SCRIPT), "0.*"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
