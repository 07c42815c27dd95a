"""Fixtures of the storage tests: real files in a fresh directory."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.evidence.world import World
from tests.storage.desk import Desk
from tests.storage.packs import Files, Press, meetings


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    opened = Desk(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of two megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=0700", "tmpfs", str(place)], check=True)
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture
def shelf() -> Iterator[Path]:
    """A directory in memory, where there is such a thing: a disk could not keep up."""
    memory = Path("/dev/shm")
    place = Path(tempfile.mkdtemp(prefix="shelf-", dir=memory if memory.is_dir() else None))
    yield place
    shutil.rmtree(place)


@pytest.fixture(scope="module")
def worlds() -> dict[str, World]:
    """Two calls over two regions."""
    return meetings()


@pytest.fixture(scope="module")
def press(worlds: dict[str, World], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Press]:
    """Their ledgers."""
    made = Press(tmp_path_factory.mktemp("press"), worlds["standup"].books)
    yield made
    made.close()


@pytest.fixture(scope="module")
def honest(press: Press, worlds: dict[str, World]) -> Files:
    """The pack of the meeting with a gap, as it was exported."""
    return press.pack(worlds["standup"])
