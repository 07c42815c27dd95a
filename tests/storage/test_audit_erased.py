"""Whether erasures were carried out, found from a region's file: nothing is left of whom an entry calls erased."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.core import facts
from gateway.core.types import CallKey
from gateway.hub.journal import Ink, to_entry
from storage.audit.verdict import INCOMPLETE, SOUND, TAMPERED
from storage.entry import canonical
from storage.note import parse_verifiers
from storage.operations import Append, AskErasure, SealPresence, SignCheckpoint
from tests.storage.audited import Copied, Edit, run
from tests.storage.desk import CALL, START, Desk

ORIGIN = "notification-gateway/europe"
ANN, BOB = "8:acs:r_ann", "8:acs:r_bob"
OTHER = (CALL[0], "call-2")


def come(presence: str, participant: str, call: tuple[str, str] = CALL) -> tuple[Append, SealPresence]:
    """Somebody came into a call: the entry, and who it is."""
    fields = {"kind": "presence.opened", "organization": call[0], "call": call[1], "presence": presence}
    return Append(canonical(fields), call), SealPresence(presence, call, participant, participant.encode(), START)


@pytest.fixture
def copied(tmp_path: Path) -> Copied:
    """Ann was in two calls, Bob in one of them; Ann was erased, and then the region was closed."""
    desk = Desk(tmp_path)
    desk.do(*come("p_1", ANN), *come("p_2", BOB), *come("p_3", ANN, OTHER))
    desk.do(AskErasure(ANN, "r", START))
    desk.region.sweep(START, 10).result(30)
    told = [json.loads(leaf) for leaf in desk.leaves()]
    assert [each["presences"] for each in told if each["kind"] == "presence.erased"] == [["p_1"], ["p_3"]]
    desk.do(SignCheckpoint())
    assert desk.close() == 0
    return Copied(parse_verifiers((desk.keys / "verifier.vkey").read_text()), desk.data)


def test_an_erasure_that_was_carried_out_is_sound(copied: Copied) -> None:
    """Of whom an entry says that they were erased nothing is left; who was not erased is still there."""
    assert copied.judge().exit == SOUND


@pytest.mark.parametrize("column", ["box = x'00'", "slot = 1", "person = x'aa'"])
@pytest.mark.parametrize("presence", ["p_1", "p_3"])
def test_an_erasure_that_was_undone(copied: Copied, presence: str, column: str) -> None:
    """A box, a key's place or the hash of a raw id that is back: 20, with the entry, and without naming anybody."""
    found = copied.edit(run(f"UPDATE presences SET {column} WHERE presence = ?", presence)).judge()
    assert found.exit == TAMPERED
    assert (
        f"{ORIGIN}: entry {4 if presence == 'p_1' else 5} says who was erased, and it is not carried out" in found.line
    )
    assert presence not in found.line


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (
            run("UPDATE presences SET box = NULL, slot = NULL, person = NULL WHERE presence = 'p_2'"),
            "of 1 presence the",
        ),
        (run("UPDATE presences SET box = NULL"), "of 1 presence the name is gone and no entry says why"),
    ],
    ids=["whole", "box"],
)
def test_a_name_that_is_gone_without_an_entry(copied: Copied, edit: Edit, said: str) -> None:
    """It was not erased by the gateway: 10, and how many."""
    found = copied.edit(edit).judge()
    assert found.exit == INCOMPLETE
    assert said in found.line
    assert "nothing is wrong in 7 entries" in found.line


def test_a_row_that_is_gone_is_erased_all_the_same(copied: Copied) -> None:
    """Nothing is left of who it was."""
    assert copied.edit(run("DELETE FROM presences WHERE presence = 'p_1'")).judge().exit == SOUND


def test_a_text_that_looks_like_an_erasure_is_none(tmp_path: Path) -> None:
    """What somebody wrote into a field, or deeper, erases nobody: quotes in texts are escaped."""
    desk = Desk(tmp_path)
    mark = '"kind":"presence.erased","presences":["p_1"]'
    noted = {"kind": "noted", "word": mark, "presences": 7, "deeper": {"kind": "presence.erased", "presences": ["p_1"]}}
    desk.do(*come("p_1", ANN), Append(canonical(noted), None), SignCheckpoint())
    assert desk.close() == 0
    copied = Copied(parse_verifiers((desk.keys / "verifier.vkey").read_text()), desk.data)
    assert copied.judge().exit == SOUND


@pytest.mark.parametrize("presences", [None, "p_1", [["p_1"]], [1]])
def test_an_erasure_that_says_of_nobody(tmp_path: Path, presences: object) -> None:
    """Signed or not, it is no entry that a gateway writes: 20."""
    desk = Desk(tmp_path)
    desk.do(Append(canonical({"kind": "presence.erased", "presences": presences}), None), SignCheckpoint())
    assert desk.close() == 0
    found = Copied(parse_verifiers((desk.keys / "verifier.vkey").read_text()), desk.data).judge()
    assert found.exit == TAMPERED
    assert "entry 0 does not say who was erased" in found.line


def test_storage_writes_what_the_journal_reads(copied: Copied, tmp_path: Path) -> None:
    """The one fact that the journal does not write itself has the very bytes that it would give it."""
    desk = Desk(tmp_path)
    found = [leaf for leaf in desk.leaves() if b"presence.erased" in leaf]
    desk.close()
    for leaf, (call, presence) in zip(found, ((CALL, "p_1"), (OTHER, "p_3")), strict=True):
        fact = facts.PresencesErased(call=CallKey(*call), at=START, region="europe", presences=(presence,))
        assert to_entry(fact, Ink()) == leaf
