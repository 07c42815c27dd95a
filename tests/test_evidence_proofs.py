"""What leads from a pack's entries to a signed checkpoint, read in one snapshot of a region's file."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from gateway.core.errors import NotDurable
from gateway.hub.evidence import proofs
from storage.note import parse_checkpoint, parse_note
from storage.operations import KeepCosignature, SignCheckpoint
from tests.storage.desk import CALL, Desk, append

WITNESS = "notification-gateway/unitedstates/witness"


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A region with three entries that are covered by a checkpoint."""
    made = Desk(tmp_path)
    made.do(*(append(f'{{"b":{number}}}', CALL) for number in range(3)), SignCheckpoint())
    return made


def test_the_checkpoint_is_as_it_was_signed(desk: Desk) -> None:
    """Whoever vouches for it between the export and the reading: the same export is the same pack."""
    before = desk.ask(partial(proofs, entries=[0, 1], exported=[2]))
    size = parse_checkpoint(parse_note(before["checkpoint.txt"].decode()).body).size
    assert desk.do(KeepCosignature(size, WITNESS, f"\N{EM DASH} {WITNESS} AAAAAAAA\n")) == (True,)
    assert desk.ask(partial(proofs, entries=[0, 1], exported=[2])) == before
    desk.close()


def test_what_no_checkpoint_covers_is_not_proved(desk: Desk) -> None:
    """An export beyond the newest checkpoint, and one that is not there at all."""
    for exported in ([3], [2, 3]):
        with pytest.raises(NotDurable):
            desk.ask(partial(proofs, entries=[0], exported=exported))
    desk.close()
