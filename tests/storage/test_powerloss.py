"""The power goes at any moment: whatever the disk holds then, nothing confirmed is lost and nothing destroyed is back.

A process is recorded while it does all a writer can (`scribe`); from its system calls every state is derived that a
disk may have been in (`powerloss`); each is opened and held to what the process had said by then (`claims`).
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.storage.powerloss import Disk, Image
from tests.storage.recorded import ROUNDS, faults, run

SHARE = 0.09
"""Which part of all images is opened."""


def test_nothing_confirmed_is_lost_when_the_power_goes(shelf: Path) -> None:
    """P1, F4: from any state a disk could be in, the region opens by itself and holds to all that was confirmed: from
    the first moment, when it is made, to the last, when it is closed for the second time."""
    count, found = faults(run(shelf, 0, ROUNDS), shelf, SHARE)
    assert found == []
    assert count >= 400


def test_whoever_is_erased_again_is_there_until_the_journal_names_them_again(shelf: Path) -> None:
    """Somebody who was erased before and came back is like anybody: in every state of the disk they are there whole
    until they are named anew, and from then on not at all."""
    run(shelf, 0, "1e")
    count, found = faults(run(shelf, 1, "1e"), shelf, 1)
    assert found == []
    assert count > 50


def test_the_model_ends_where_the_process_ended(shelf: Path) -> None:
    """What the model says of a disk that lost nothing is what really lies in the directory, byte for byte."""
    recorded = run(shelf, 0, "4")
    disk = Disk(recorded.root, recorded.before)
    for step in recorded.steps:
        disk.take(step)
    assert disk.image("all", random.Random(0)) == Image.of(recorded.root)


@pytest.mark.parametrize(
    ("mutation", "sign"),
    [
        ("normal", "was confirmed and is lost"),
        ("early", "was confirmed and is lost"),
        ("unsynced-slots", "a key outlived"),
        ("unsynced-journal", "the journal forgot"),
    ],
)
def test_a_mistake_in_the_writer_is_found(shelf: Path, mutation: str, sign: str) -> None:
    """The check has teeth: with synchronous=NORMAL, with answers before the COMMIT, and with keys taken and destroyed
    or people journalled without a sync, many of the images break a claim."""
    count, found = faults(run(shelf, 0, ROUNDS, mutation), shelf, SHARE / 2)
    assert len(found) > count / 10, f"only {len(found)} of {count} images show it"
    assert any(sign in fault for fault in found), found[:3]
