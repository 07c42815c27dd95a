"""Who has the data directory: one process, until it is gone."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.possession import InUse, possession

HOLD = """
import sys
from pathlib import Path
from gateway.possession import possession
with possession(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_directory_is_made_and_holds_nothing(tmp_path: Path) -> None:
    """The lock is on the directory itself: no file is left in it."""
    former = os.umask(0)
    try:
        with possession(tmp_path / "a" / "data"):
            assert list((tmp_path / "a" / "data").iterdir()) == []
    finally:
        os.umask(former)
    assert stat.S_IMODE((tmp_path / "a" / "data").stat().st_mode) == 0o700


def test_a_second_owner_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    """In one line, also by another name of the directory, and not any more after `kill -9`."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        (tmp_path.parent / "link").symlink_to(tmp_path)
        for directory in (tmp_path, tmp_path.parent / "link"):
            with pytest.raises(InUse, match="in use by another process; stop that one first"), possession(directory):
                pytest.fail("there are two owners")
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
    with possession(tmp_path):
        pass


def test_it_is_given_back_after_an_error(tmp_path: Path) -> None:
    """A start that fails leaves nothing behind."""
    with pytest.raises(ValueError, match="x"), possession(tmp_path):
        raise ValueError("x")
    with possession(tmp_path):
        pass


def test_what_cannot_be_a_directory_is_the_systems_error(tmp_path: Path) -> None:
    """A file in the directory's place is no data directory."""
    (tmp_path / "data").write_bytes(b"")
    with pytest.raises(OSError, match="data"), possession(tmp_path / "data"):
        pytest.fail("a file is held")
