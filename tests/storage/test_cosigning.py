"""A region vouches for another's checkpoint only if it continues the last one it saw, signed by the key it saw."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from storage.merkle import EMPTY_ROOT
from storage.note import Checkpoint, Note, Verifier, parse_checkpoint, parse_note, parse_signature, parse_verifiers
from storage.operations import Cosign, CosignOutcome, KeepCosignature, KeepTimestamp, SignCheckpoint
from storage.signing import judge, load, new_key
from tests.storage.desk import START, Desk, append, forget

ORIGIN = "notification-gateway/europe"
WITNESS = "notification-gateway/unitedstates/witness"


@dataclass(frozen=True)
class Offer:
    """A checkpoint of europe and how to prove that it continues a smaller one."""

    note: str
    desk: Desk

    @property
    def checkpoint(self) -> Checkpoint:
        return parse_checkpoint(parse_note(self.note).body)

    def cosign(self, old: int, **changes: Any) -> Cosign:
        path = tuple(self.desk.ask(lambda reader: reader.consistency(old, self.checkpoint.size)))
        return replace(Cosign(ORIGIN, key_of(self.desk).text(), self.note, old, path, START), **changes)


def key_of(desk: Desk) -> Verifier:
    return parse_verifiers(desk.region.verifier)[0]


def witness_of(desk: Desk) -> Verifier:
    return parse_verifiers(desk.region.verifier)[1]


def grow(desk: Desk, *texts: str) -> Offer:
    """Append and sign; the checkpoint that covers it."""
    desk.do(*(append(text) for text in texts), SignCheckpoint())
    note = desk.region.checkpoint
    assert note is not None
    return Offer(note, desk)


@contextmanager
def opened(root: Path, name: str) -> Iterator[Desk]:
    desk = Desk(root, name)
    try:
        yield desk
    finally:
        desk.close()


@pytest.fixture
def europe(tmp_path: Path) -> Iterator[Desk]:
    with opened(tmp_path, "europe") as desk:
        yield desk


@pytest.fixture
def states(tmp_path: Path) -> Iterator[Desk]:
    with opened(tmp_path, "unitedstates") as desk:
        yield desk


def ask(witness: Desk, operation: Cosign) -> CosignOutcome:
    (outcome,) = witness.do(operation)
    assert isinstance(outcome, CosignOutcome)
    return outcome


def seen(witness: Desk) -> tuple[int, bytes] | None:
    found = witness.ask(lambda reader: reader.witnessed(ORIGIN))
    return None if found is None else (found.size, found.root)


def refused(witness: Desk, operation: Cosign) -> str:
    """Why; a refusal gives no line away and changes nothing of what was seen."""
    before = seen(witness)
    outcome = ask(witness, operation)
    assert (outcome.name, outcome.line) == ("", "")
    assert outcome.seen == (0 if before is None else before[0])
    assert seen(witness) == before
    return outcome.kind


def test_growth_is_cosigned_and_remembered(europe: Desk, states: Desk) -> None:
    """Each later checkpoint gets a line that verifies as C2SP says, by the witnessing region's own key."""
    old = 0
    for texts in (["a"], ["b", "c"], ["d"] * 300):
        offer = grow(europe, *texts)
        outcome = ask(states, offer.cosign(old))
        assert (outcome.kind, outcome.name, outcome.seen) == ("cosigned", WITNESS, offer.checkpoint.size)
        line = parse_signature(outcome.line.removesuffix("\n"))
        note = Note(parse_note(offer.note).body, (line,))
        assert judge(note, witness_of(states)) is True
        assert int.from_bytes(line.blob[:8], "big") == int(START.timestamp())
        assert seen(states) == (offer.checkpoint.size, offer.checkpoint.root)
        old = offer.checkpoint.size


def test_the_same_checkpoint_may_be_cosigned_again(europe: Desk, states: Desk) -> None:
    """A line that a crash lost can be had again."""
    offer = grow(europe, "a")
    assert ask(states, offer.cosign(0)).kind == "cosigned"
    assert ask(states, offer.cosign(offer.checkpoint.size)).kind == "cosigned"


def test_an_empty_ledger_is_cosigned_too(europe: Desk, states: Desk) -> None:
    """Who saw a ledger begin sees it continue from nothing."""
    note = europe.region.checkpoint
    assert note is not None
    assert ask(states, Offer(note, europe).cosign(0)).kind == "cosigned"
    assert seen(states) == (0, EMPTY_ROOT)
    assert ask(states, grow(europe, "a").cosign(0)).kind == "cosigned"


def test_what_was_seen_outlives_the_process(europe: Desk, tmp_path: Path) -> None:
    """A witness that starts anew still refuses what is older."""
    first, second = grow(europe, "a"), grow(europe, "b")
    with opened(tmp_path, "unitedstates") as states:
        ask(states, second.cosign(0))
    with opened(tmp_path, "unitedstates") as states:
        assert refused(states, first.cosign(0)) == "rolled back"


def test_an_older_checkpoint_is_refused(europe: Desk, states: Desk) -> None:
    """A true one, but older: to vouch for it would say that nothing newer was seen."""
    first, second = grow(europe, "a"), grow(europe, "b")
    ask(states, second.cosign(0))
    assert refused(states, first.cosign(0)) == "rolled back"
    assert refused(states, first.cosign(first.checkpoint.size)) == "rolled back"


@pytest.mark.parametrize(("before", "after"), [(["x"], ["y"]), (["x"], ["y", "z"]), (["x", "y"], ["y", "x"])])
def test_another_history_is_refused(tmp_path: Path, states: Desk, before: list[str], after: list[str]) -> None:
    """The same key and the same beginning, grown in two ways: of the same size or longer, it is a fork."""
    with opened(tmp_path, "europe") as europe:
        grow(europe, "a", "b", "c")
    copy = tmp_path / "copy"
    shutil.copytree(tmp_path / "data" / "europe", copy)
    with opened(tmp_path, "europe") as europe:
        assert ask(states, grow(europe, *before).cosign(0)).kind == "cosigned"
    size = 3 + len(before)
    forget(tmp_path / "keys" / "europe")
    forked = Desk(tmp_path, "europe", data=copy)
    try:
        assert refused(states, grow(forked, *after).cosign(size)) == "forked"
    finally:
        forked.close()


def spoiled(path: Sequence[bytes]) -> dict[str, tuple[bytes, ...]]:
    first, *rest = path
    return {
        "none": (),
        "cut": tuple(path[:-1]),
        "long": (*path, path[0]),
        "swapped": (*rest, first),
        "changed": (bytes([first[0] ^ 1]) + first[1:], *rest),
        "short": (first[:31], *rest),
    }


@pytest.mark.parametrize("how", spoiled([b"\0" * 32, b"\1" * 32]))
def test_a_proof_that_does_not_prove_is_refused(europe: Desk, states: Desk, how: str) -> None:
    """Growth must be shown: a missing, cut, long, reordered or changed path is taken for a fork."""
    first, second = grow(europe, *"abc"), grow(europe, *"defg")
    ask(states, first.cosign(0))
    good = second.cosign(first.checkpoint.size)
    assert refused(states, replace(good, hashes=spoiled(good.hashes)[how])) == "forked"
    assert ask(states, good).kind == "cosigned"


@pytest.mark.parametrize("old", [0, 1, 2, 4])
def test_a_proof_from_elsewhere_is_asked_for_again(europe: Desk, states: Desk, old: int) -> None:
    """A proof from another size than the one seen last accuses nobody: the answer says which one is wanted."""
    first, second = grow(europe, *"abc"), grow(europe, *"defg")
    ask(states, first.cosign(0))
    assert refused(states, second.cosign(old)) == "other start"


def test_another_key_is_refused_for_good(europe: Desk, states: Desk, tmp_path: Path) -> None:
    """The key that signed first counts: a region made anew under the same name is another ledger."""
    offer = grow(europe, "a")
    ask(states, offer.cosign(0))
    with opened(tmp_path / "anew", "europe") as anew:
        foreign = grow(anew, "a", "b")
        assert refused(states, foreign.cosign(0)) == "foreign key"
        # Nor does the known key help for what the other one signed, or the other way round.
        assert refused(states, foreign.cosign(0, vkey=key_of(europe).text())) == "foreign key"
        assert refused(states, grow(europe, "b").cosign(1, vkey=key_of(anew).text())) == "foreign key"


def test_what_nobody_signed_is_refused(europe: Desk, states: Desk) -> None:
    """A body without its signature, with a broken one, or that is no checkpoint is not vouched for."""
    note = parse_note(grow(europe, "a").note)
    (signature,) = note.signatures
    broken = signature._replace(blob=bytes(64))
    other = load(new_key("somebody", 1)).sign(note.body)
    good = Offer(note.text(), europe).cosign(0)
    for signatures, kind in (((broken,), "not signed"), ((signature, broken), "not signed"), ((other,), "foreign key")):
        assert refused(states, replace(good, note=Note(note.body, signatures).text())) == kind
    changed = note.body.replace("\n1\n", "\n2\n")
    for text in (Note(changed, (signature,)).text(), note.body, "", "europe"):
        assert refused(states, replace(good, note=text)) == "not signed"


def test_a_checkpoint_under_another_origin_is_refused(europe: Desk, states: Desk) -> None:
    """A region speaks for itself only."""
    good = grow(europe, "a").cosign(0)
    assert refused(states, replace(good, origin="notification-gateway/asia")) == "foreign key"
    assert states.ask(lambda reader: reader.witnessed("notification-gateway/asia")) is None


def test_a_cosignature_is_served_with_its_checkpoint_only(europe: Desk, states: Desk) -> None:
    """Kept beside the checkpoint of its size, in place of the same witness's line before, and never elsewhere."""
    offer = grow(europe, "a")
    size = offer.checkpoint.size
    line = ask(states, offer.cosign(0)).line
    assert europe.do(KeepCosignature(size + 1, WITNESS, line)) == (False,)
    assert (
        europe.do(KeepCosignature(size, WITNESS, "— old line\n"), KeepCosignature(size, WITNESS, line)) == (True,) * 2
    )
    assert europe.ask(lambda reader: reader.checkpoint()) == (size, offer.note + line)
    assert europe.ask(lambda reader: reader.cosigners(size)) == {WITNESS}
    assert europe.ask(lambda reader: reader.checkpoint_of(size)) == offer.note
    assert europe.ask(lambda reader: reader.checkpoint_of(size + 1)) is None
    newer = grow(europe, "b")
    assert europe.ask(lambda reader: reader.checkpoint()) == (size + 1, newer.note)


def test_a_checkpoint_keeps_its_first_time_stamp(europe: Desk) -> None:
    """The first token says the most; there is none for what was not signed."""
    size = grow(europe, "a").checkpoint.size
    assert europe.ask(lambda reader: reader.timestamp()) is None
    assert europe.do(KeepTimestamp(size + 1, b"none")) == (False,)
    assert europe.do(KeepTimestamp(size, b"first"), KeepTimestamp(size, b"second")) == (True, True)
    assert europe.ask(lambda reader: reader.timestamp()) == (size, b"first")


def test_witnessing_writes_no_entry(europe: Desk, states: Desk) -> None:
    """Else two regions would have something new to vouch for, for ever."""
    before = states.region.checkpoint
    line = ask(states, grow(europe, "a").cosign(0)).line
    europe.do(KeepCosignature(1, WITNESS, line), KeepTimestamp(1, b"token"))
    assert states.region.checkpoint == before
    assert europe.ask(lambda reader: reader.size()) == 1
    assert states.ask(lambda reader: reader.size()) == 0
