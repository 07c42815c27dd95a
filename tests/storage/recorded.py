"""The scribe under strace: what it did, every state the disk may have been in, and which of them break a claim.

By hand, with any of the scribe's mutations: `python -m tests.storage.recorded [MUTATION]…`.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from storage.errors import RegionRefused
from tests.storage.claims import Claims
from tests.storage.powerloss import WAYS, Disk, Image
from tests.storage.strace import Step, recording, steps

ROOT = Path(__file__).parents[2]
SEED = 20261123
ROUNDS = "12,12"
"""Two lives of a region."""


class Run(NamedTuple):
    """What a recorded process did to the files below `root`, which held `before`."""

    root: Path
    before: Image
    steps: list[Step]

    def said(self) -> list[bytes]:
        """Every line of its standard output."""
        return [step.data for step in self.steps if step.kind == "say"]


def run(shelf: Path, life: int, rounds: str, *mutations: str, options: tuple[str, ...] = ()) -> Run:
    """Let the scribe work in `shelf`, watched by strace with these options; a later run has a higher `life`."""
    root, log = shelf / "root", shelf / "log"
    root.mkdir(mode=0o700, exist_ok=True)
    before = Image.of(root)
    scribe = [sys.executable, "-m", "tests.storage.scribe", str(root), str(SEED + life), rounds, *mutations]
    done = subprocess.run([*recording(log, *options), *scribe], cwd=ROOT, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return Run(root, before, steps(log, root, (*before.directories, *before.files)))


def images(run: Run, share: float, claims: Claims) -> Iterator[tuple[Image, str]]:
    """Distinct images of a run and where they belong, while `claims` hear what is said.

    Of all images `share` are given; from a failed sync until writing works again all in which nothing is lost, as for
    a process that is killed then, and some more of the others.
    """
    disk, chance, seen, failing = Disk(run.root, run.before, lost=["-shm"]), random.Random(SEED), set[bytes](), False
    for number, step in enumerate(run.steps):
        disk.take(step)
        failing = failing or step.kind == "fail"
        if step.kind == "say":
            claims.hear(step.data, disk.content("keys/europe/slots"))
            failing = failing and json.loads(step.data).get("failing", True)
        for way in WAYS:
            if chance.random() < (share if not failing else 1 if way == "all" else 0.25):
                image = disk.image(way, chance)
                digest = image.digest()
                if digest not in seen:
                    seen.add(digest)
                    yield image, f"{way} after step {number}, {step.kind} {step.path}"


def faults(run: Run, shelf: Path, share: float) -> tuple[int, list[str]]:
    """How many images were opened, and what was wrong with those that broke a claim."""
    claims, count, found = Claims(), 0, []
    for image, where in images(run, share, claims):
        count += 1
        image.write(shelf / "image")
        try:
            claims.check(shelf / "image")
        except (AssertionError, RegionRefused) as error:
            found.append(f"{where}: {error}")
    return count, found


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        opened, broken = faults(run(Path(place), 0, ROUNDS, *sys.argv[1:]), Path(place), 0.15)
    print(*broken, f"{len(broken)} of {opened} images break a claim", sep="\n")
