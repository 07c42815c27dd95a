"""What a returning client is shown: the newest checkpoint, the proof from its own, and our own forks found out."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gateway import log
from gateway.hub import continuity as module
from gateway.hub.continuity import AT_ONCE, MOST_PROOFS, MOST_REPORTS, Continuity
from storage.merkle import EMPTY_ROOT, is_consistent
from storage.note import Checkpoint, Note, encoded, parse_note
from storage.operations import KeepCosignature, SignCheckpoint
from storage.signing import load, new_key
from tests.ledger_world import OTHER, Answer, World, checkpoint
from tests.storage.desk import append
from tests.storage.test_merkle import mth


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    opened = World(tmp_path, "europe", "unitedstates")
    yield opened
    await opened.ledgers.close()


@pytest.fixture
def continuity(world: World) -> Continuity:
    return Continuity(world.ledgers, world.metrics)


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """The log; the process's loggers are put back afterwards."""
    root, before = logging.getLogger(), logging.getLogger().handlers[:]
    stream = io.StringIO()
    log.configure("info", stream)
    yield stream
    root.handlers[:] = before
    root.setLevel(logging.WARNING)
    logging.captureWarnings(capture=False)


def reported(world: World) -> float:
    """How often a fork of the region was brought to us."""
    lines = world.metrics.render().decode().splitlines()
    found = [line for line in lines if line.startswith('gateway_forks_reported_total{region="europe"}')]
    return float(found[0].split()[-1]) if found else 0.0


async def test_who_has_seen_nothing_is_shown_the_newest_at_once(world: World, continuity: Continuity) -> None:
    """From memory, and each region its own."""
    newest = await world.grow(3)
    answer, other = Answer(), Answer()
    continuity.show("europe", None, answer)
    continuity.show("unitedstates", None, other)
    assert answer.now == (newest, None)
    assert checkpoint(other.now[0] or "").origin == "contoso/unitedstates"
    assert world.ledgers.asked == 0


async def test_the_proof_leads_from_what_was_seen_to_what_is_shown(world: World, continuity: Continuity) -> None:
    """For every earlier size, signed by whomever: a proof convinces nobody it should not."""
    await world.grow(40)
    leaves = await world.leaves()
    newest = world.ledgers.regions["europe"].checkpoint
    for size in range(len(leaves)):
        answer = Answer()
        continuity.show("europe", world.signed(size, mth(leaves[:size])), answer)
        note, proof = await answer.shown()
        assert note == newest
        assert proof is not None
        assert proof[:2] == (size, len(leaves))
        assert is_consistent(size, len(leaves), proof.hashes, mth(leaves[:size]), mth(leaves))
    assert reported(world) == 0


async def test_what_is_newest_needs_no_read(world: World, continuity: Continuity) -> None:
    """A client that comes back to a quiet ledger is answered at once."""
    newest = await world.grow(3)
    answer = Answer()
    continuity.show("europe", newest, answer)
    size = checkpoint(newest).size
    assert answer.now == (newest, (size, size, []))
    assert world.ledgers.asked == 0


BODY = f"contoso/europe\n2\n{encoded(OTHER)}\n"


@pytest.mark.parametrize(
    "seen",
    [
        "",
        "x",
        "\n",
        "\n\n",
        BODY,
        BODY + "\n",
        BODY + "\n\N{EM DASH} contoso/europe AAAA\n",
        BODY + "\nx contoso/europe AAAAAAAA\n",
        BODY.replace("2", "-2") + "\n\N{EM DASH} contoso/europe AAAAAAAA\n",
        BODY.replace("2", "02") + "\n\N{EM DASH} contoso/europe AAAAAAAA\n",
        BODY.replace("2", "9" * 30) + "\n\N{EM DASH} contoso/europe AAAAAAAA\n",
        BODY.replace("=", "") + "\n\N{EM DASH} contoso/europe AAAAAAAA\n",
        BODY.replace("\n", "\r\n") + "\n\N{EM DASH} contoso/europe AAAAAAAA\n",
        "\x00" * 4096,
        "\N{EM DASH} " * 2048,
        "\n" * 4096,
        '{"origin":"contoso/europe"}',
    ],
)
async def test_what_is_no_checkpoint_is_answered_like_nothing(world: World, continuity: Continuity, seen: str) -> None:
    """The client judges what it is shown; here nothing breaks and nothing is read."""
    newest = await world.grow(3)
    answer = Answer()
    continuity.show("europe", seen, answer)
    assert answer.now == (newest, None)
    assert (world.ledgers.asked, reported(world)) == (0, 0)


@pytest.mark.parametrize(
    "origin", ["contoso/unitedstates", "fabrikam/europe", "europe", "contoso/europe2", "contoso/europe/witness"]
)
async def test_a_checkpoint_of_another_ledger_is_not_ours_to_continue(
    world: World, continuity: Continuity, origin: str
) -> None:
    """Also where our own key signed it: what counts is whose ledger it is about."""
    newest = await world.grow(3)
    answer = Answer()
    continuity.show("europe", world.signed(2, origin=origin), answer)
    assert answer.now == (newest, None)
    assert (world.ledgers.asked, reported(world)) == (0, 0)


class TestForks:
    async def test_a_smaller_checkpoint_that_our_tree_does_not_hold(
        self, world: World, continuity: Continuity, written: io.StringIO
    ) -> None:
        """Reported; the client gets the proof there is, which cannot convince it."""
        newest = await world.grow(5)
        answer = Answer()
        continuity.show("europe", world.signed(2), answer)
        note, proof = await answer.shown()
        assert note == newest
        assert proof is not None
        found = checkpoint(newest)
        assert not is_consistent(2, found.size, proof.hashes, OTHER, found.root)
        assert reported(world) == 1
        (line,) = map(json.loads, written.getvalue().splitlines())
        del line["at"]
        assert line == {
            "level": "error", "logger": "gateway.continuity", "event": "fork reported", "region": "europe",
            "size": 2, "ours": found.size,
        }  # fmt: skip

    async def test_one_of_our_own_size_with_another_root(self, world: World, continuity: Continuity) -> None:
        """Reported, without a read."""
        newest = await world.grow(5)
        answer = Answer()
        continuity.show("europe", world.signed(checkpoint(newest).size), answer)
        assert answer.now[0] == newest
        assert (world.ledgers.asked, reported(world)) == (0, 1)

    async def test_one_that_is_larger_than_our_ledger(self, world: World, continuity: Continuity) -> None:
        """We were rolled back: reported, and there is nothing to prove."""
        newest = await world.grow(5)
        answer = Answer()
        continuity.show("europe", world.signed(checkpoint(newest).size + 1), answer)
        assert await answer.shown() == (newest, None)
        assert reported(world) == 1

    async def test_an_empty_ledger_that_was_not_empty(self, world: World, continuity: Continuity) -> None:
        """Even what has no entries has one root only."""
        await world.grow(2)
        for root, count in ((EMPTY_ROOT, 0), (OTHER, 1)):
            answer = Answer()
            continuity.show("europe", world.signed(0, root), answer)
            await answer.shown()
            assert reported(world) == count

    @pytest.mark.parametrize("ahead", [-3, 0, 1])
    async def test_what_our_key_did_not_sign_is_no_fork_of_ours(
        self, world: World, continuity: Continuity, written: io.StringIO, ahead: int
    ) -> None:
        """Anybody can write a note; and a signature holds for its own text only."""
        newest = checkpoint(await world.grow(5))
        body = Checkpoint("contoso/europe", newest.size + ahead, OTHER).body()
        true = parse_note(world.signed(newest.size, newest.root)).signatures
        stranger = load(new_key("contoso/europe", 1)).sign(body)
        for signatures in (true, (stranger,), (stranger, *true)):
            answer = Answer()
            continuity.show("europe", Note(body, signatures).text(), answer)
            await answer.shown()
        assert reported(world) == 0
        assert written.getvalue() == ""

    async def test_many_who_bring_one_fork_are_counted_and_it_is_logged_once(
        self, world: World, continuity: Continuity, written: io.StringIO
    ) -> None:
        """Two forks are two lines."""
        await world.grow(5)
        for note in [world.signed(2), world.signed(2, b"\x01" * 32)] * 5:
            answer = Answer()
            continuity.show("europe", note, answer)
            await answer.shown()
        assert reported(world) == 10
        assert len(written.getvalue().splitlines()) == 2
        assert len(continuity._reported) <= MOST_REPORTS


class TestStorm:
    async def test_ten_thousand_who_return_at_once_are_a_few_reads(self, world: World, continuity: Continuity) -> None:
        """Everybody is answered, once, and with the proof from their own checkpoint."""
        await world.grow(2 * AT_ONCE)
        leaves = await world.leaves()
        seen = {size: world.signed(size, mth(leaves[:size])) for size in range(1, AT_ONCE + 20)}
        answers: list[tuple[int, Answer]] = []
        for number in range(10_000):
            size = number % (AT_ONCE + 19) + 1
            answers.append((size, Answer()))
            continuity.show("europe", seen[size], answers[-1][1])
        for size, answer in answers:
            _, proof = await answer.shown()
            assert proof is not None
            assert proof[:2] == (size, len(leaves))
        assert world.ledgers.asked <= 3
        again = Answer()
        continuity.show("europe", seen[7], again)
        assert again.now[1] == answers[6][1].now[1]
        assert world.ledgers.asked <= 3
        assert reported(world) == 0

    async def test_a_kept_proof_leads_to_what_is_newest(self, world: World, continuity: Continuity) -> None:
        """A ledger that grew is proved anew."""
        seen = await world.grow(3)
        for _ in range(3):
            newest = await world.grow(1)
            answer = Answer()
            continuity.show("europe", seen, answer)
            note, proof = await answer.shown()
            assert note == newest
            assert proof is not None
            old, new = checkpoint(seen), checkpoint(newest)
            assert is_consistent(old.size, new.size, proof.hashes, old.root, new.root)

    async def test_what_is_kept_is_bounded(self, world: World, continuity: Continuity) -> None:
        """However many different checkpoints clients make up."""
        await world.grow(MOST_PROOFS + 50)
        answers = [Answer() for _ in range(MOST_PROOFS + 20)]
        for size, answer in enumerate(answers):
            continuity.show("europe", world.signed(size), answer)
        for answer in answers:
            await answer.shown()
        assert len(continuity._proofs) == MOST_PROOFS
        assert continuity._waiting == {}

    async def test_regions_do_not_share_proofs(self, world: World, continuity: Continuity) -> None:
        """The same sizes in another region are another proof."""
        await world.grow(5)
        await world.do(*(append(f"us {number}") for number in range(5)), SignCheckpoint(), region="unitedstates")
        proofs = []
        for region in ("europe", "unitedstates"):
            answer = Answer()
            continuity.show(region, world.signed(3, region=region), answer)
            proofs.append((await answer.shown())[1])
        assert proofs[0] != proofs[1]


async def test_storage_that_does_not_answer_is_not_waited_for_by_everybody(
    world: World, continuity: Continuity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P9: so many wait and no more; the others are shown the newest checkpoint at once, and nobody is forgotten."""
    monkeypatch.setattr(module, "MOST_WAITING", 10)
    newest = await world.grow(5)
    gate = threading.Event()
    world.ledgers.regions["europe"].read(lambda reader: gate.wait(30))
    answers = [Answer() for _ in range(15)]
    for answer in answers:
        continuity.show("europe", world.signed(2), answer)
    assert [answer.given for answer in answers] == [False] * 10 + [True] * 5
    gate.set()
    assert [(await answer.shown())[0] for answer in answers] == [newest] * 15


async def test_storage_that_cannot_be_read_is_no_answer_less(world: World, continuity: Continuity) -> None:
    """Whoever waits is shown the newest checkpoint without a proof, and nobody waits for ever."""
    newest = await world.grow(5)
    await world.ledgers.close()
    answers = [Answer() for _ in range(2 * AT_ONCE)]
    for size, answer in enumerate(answers):
        continuity.show("europe", world.signed(size % 4), answer)
    for answer in answers:
        assert await answer.shown() == (newest, None)
    assert world.troubles == []


async def test_a_tree_that_cannot_be_read_back_is_broken(world: World, continuity: Continuity) -> None:
    """A tile that is gone fails no session; the process says that it is broken."""
    newest = await world.grow(300)
    with world.stuck() as file:
        file.execute("DELETE FROM tiles")
        file.execute("COMMIT")
    answer = Answer()
    continuity.show("europe", world.signed(270), answer)
    assert await answer.shown() == (newest, None)
    assert len(world.troubles) == 1


async def test_a_checkpoint_that_memory_does_not_know_yet_is_not_too_large(
    world: World, continuity: Continuity
) -> None:
    """Who read it from the file a moment ago, by the control API, is shown no smaller one."""
    world.ledgers.behind = await world.grow(3)
    newest = await world.grow(3)
    answer = Answer()
    continuity.show("europe", newest, answer)
    size = checkpoint(newest).size
    assert await answer.shown() == (newest, (size, size, []))
    assert reported(world) == 0


async def test_cosignatures_stay_behind(world: World, continuity: Continuity) -> None:
    """A welcome carries the log's own signature only, or a client could not send it back in its hello."""
    seen = await world.grow(3)
    newest = await world.grow(3)
    for number in range(40):
        line = f"\N{EM DASH} witness{number} {'A' * 100}\n"
        await world.do(KeepCosignature(checkpoint(newest).size, f"witness{number}", line))
    answer = Answer()
    continuity.show("europe", seen, answer)
    assert (await answer.shown())[0] == newest
