"""The client as a witness: what continues what it saw is taken, everything else is a fork and ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from gateway.client import ClientClosed, Forked, connect, sessions
from gateway.client.frames import Consistency
from gateway.client.witness import NOTE_LIMIT, ORIGIN_LIMIT, UNPROVEN_LIMIT, Witness
from gateway.core.types import Capability, State
from storage.merkle import node_hash
from storage.note import ED25519, Checkpoint, Note, parse_checkpoint, parse_note
from storage.signing import load, new_key
from tests.client.apps import Back, client_of, drop, take
from tests.client.histories import ORIGIN, SIGNER, VERIFIER, WITNESS, History, proof_fields
from tests.client.scripted_gateway import Peer, notice, scripted

TRUE, FALSE = History(), History(fork=5)
KNOWN = TRUE.note(9)
STRANGER = load(new_key(ORIGIN, ED25519))


def witness(known: str | None = KNOWN, verifier: str | None = None) -> Witness:
    return Witness(known, verifier)


class TestContinued:
    """What an honest gateway shows is taken, and nothing is asked twice."""

    @pytest.mark.parametrize("old", range(1, 20))
    @pytest.mark.parametrize("more", [1, 2, 7])
    def test_a_ledger_that_grew_is_taken(self, old: int, more: int) -> None:
        """With its proof, whatever the sizes."""
        seen = witness(TRUE.note(old))
        new = min(old + more, 20)
        assert seen.judge(TRUE.note(new), TRUE.proof(old, new))
        assert seen.newest == seen.said == TRUE.note(new)

    @pytest.mark.parametrize("proof", [None, TRUE.proof(9, 9), Consistency(9, 9, (b"x" * 32,))])
    def test_a_ledger_that_did_not_grow_needs_no_proof(self, proof: Consistency | None) -> None:
        """The same root is all there is to see."""
        seen = witness()
        assert seen.judge(TRUE.note(9, SIGNER, cosigned=1), proof)
        assert seen.newest == TRUE.note(9, SIGNER, cosigned=1)

    @pytest.mark.parametrize("proof", [None, TRUE.proof(0, 9)])
    def test_nothing_is_continued_by_anything(self, proof: Consistency | None) -> None:
        """RFC 6962 §2.1.2 has no proof from the empty tree."""
        assert witness(TRUE.note(0)).judge(TRUE.note(9), proof)

    def test_the_first_checkpoint_is_taken_as_it_is(self) -> None:
        """There is nothing to hold against it."""
        seen = witness(None)
        assert (seen.newest, seen.said) == (None, None)
        assert seen.judge(KNOWN, None)
        assert seen.newest == KNOWN

    def test_a_gateway_that_never_shows_a_checkpoint_is_tolerated(self) -> None:
        """It may be older than this client."""
        seen = witness(None)
        assert all(seen.judge(None, None) for _ in range(3 * UNPROVEN_LIMIT))
        assert seen.newest is None

    def test_cosignatures_are_kept_and_not_sent(self) -> None:
        """A gateway takes a note of 4,096 characters."""
        cosigned = TRUE.note(9, SIGNER, cosigned=60)
        assert len(cosigned) > NOTE_LIMIT
        seen = witness(cosigned, VERIFIER)
        assert (seen.newest, seen.said) == (cosigned, KNOWN)


def flipped(hashes: list[bytes], place: int) -> list[bytes]:
    changed = bytearray(hashes[place])
    changed[7] ^= 1
    return [*hashes[:place], bytes(changed), *hashes[place + 1 :]]


HASHES = TRUE.hashes(9, 15)
# A tree of sixteen that holds the root of nine where that of eight belongs, with the proof for eight.
GRAFTED = Checkpoint(ORIGIN, 16, node_hash(parse_checkpoint(parse_note(KNOWN).body).root, b"x" * 32)).body()
FORKS: dict[str, tuple[str | None, Consistency | None]] = {
    "no checkpoint any more": (None, None),
    "no checkpoint but a proof": (None, TRUE.proof(9, 15)),
    "rolled back": (TRUE.note(7), None),
    "rolled back to nothing": (TRUE.note(0), None),
    "rolled back, with the proof backwards": (TRUE.note(7), TRUE.proof(7, 9)),
    "another history of the same size": (FALSE.note(9), None),
    "another history of the same size, proved": (FALSE.note(9), FALSE.proof(9, 9)),
    "another history that went on": (FALSE.note(15), FALSE.proof(9, 15)),
    "another history under the true proof": (FALSE.note(15), TRUE.proof(9, 15)),
    "the true history under another proof": (TRUE.note(15), FALSE.proof(9, 15)),
    "no hashes": (TRUE.note(15), Consistency(9, 15, ())),
    "a hash too few": (TRUE.note(15), Consistency(9, 15, tuple(HASHES[:-1]))),
    "a hash too many": (TRUE.note(15), Consistency(9, 15, (*HASHES, HASHES[-1]))),
    "hashes in another order": (TRUE.note(15), Consistency(9, 15, tuple(reversed(HASHES)))),
    "a first hash with a flipped bit": (TRUE.note(15), Consistency(9, 15, tuple(flipped(HASHES, 0)))),
    "a last hash with a flipped bit": (TRUE.note(15), Consistency(9, 15, tuple(flipped(HASHES, -1)))),
    "a hash of 31 bytes": (TRUE.note(15), Consistency(9, 15, (HASHES[0][:-1], *HASHES[1:]))),
    "hashes cut elsewhere": (TRUE.note(15), Consistency(9, 15, (b"".join(HASHES),))),
    "a proof from another size": (TRUE.note(15), Consistency(7, 15, tuple(TRUE.hashes(7, 15)))),
    "a proof from nothing": (TRUE.note(15), Consistency(0, 15, ())),
    "a proof to another size": (TRUE.note(15), Consistency(9, 14, tuple(TRUE.hashes(9, 14)))),
    "sizes that do not fit the proof": (TRUE.note(15), Consistency(9, 15, tuple(TRUE.hashes(9, 14)))),
    "the old root in another place": (
        Note(GRAFTED, (SIGNER.sign(GRAFTED),)).text(),
        Consistency(8, 16, (b"x" * 32,)),
    ),
    "numbers below nothing": (TRUE.note(15), Consistency(-9, -15, tuple(HASHES))),
    "an empty text": ("", None),
    "no note": ("checkpoint", None),
    "no signature": (KNOWN.rpartition("\n\n")[0] + "\n", None),
    "a body alone": (KNOWN.rpartition("\n\n")[0] + "\n\n", None),
    "a note of something else": (Note("hello\n", (SIGNER.sign("hello\n"),)).text(), None),
    "a size with a zero before it": (KNOWN.replace("\n9\n", "\n09\n"), None),
    "a note nobody could send back": (KNOWN.replace("\n\n", "\n" + "x" * NOTE_LIMIT + "\n\n"), None),
}


class TestForked:
    """Everything else."""

    @pytest.mark.parametrize("fork", FORKS)
    def test_what_does_not_continue_is_a_fork(self, fork: str) -> None:
        """Both notes are kept for whoever asks, and what was known stays known."""
        seen = witness()
        shown, proof = FORKS[fork]
        with pytest.raises(Forked) as forked:
            seen.judge(shown, proof)
        assert (forked.value.known, forked.value.shown) == (KNOWN, shown)
        assert seen.newest == seen.said == KNOWN

    @pytest.mark.parametrize("old", range(6, 20))
    def test_a_fork_before_what_was_seen_never_proves_itself(self, old: int) -> None:
        """However far both histories go, and with every proof that either of them has."""
        for new in range(old, 21):
            for prover in (TRUE, FALSE):
                with pytest.raises(Forked):
                    witness(TRUE.note(old)).judge(FALSE.note(new), prover.proof(old, new))

    def test_a_fork_after_what_was_seen_cannot_be_told_yet(self) -> None:
        """Both continue it; whoever has seen either will know."""
        for history in (TRUE, FALSE):
            assert witness(TRUE.note(5)).judge(history.note(15), history.proof(5, 15))

    def test_the_reason_quotes_nothing_it_was_shown(self) -> None:
        """It may be logged: sizes, and no text of anybody's."""
        for shown, proof in FORKS.values():
            with pytest.raises(Forked) as forked:
                witness().judge(shown, proof)
            assert not any(part in str(forked.value) for part in (ORIGIN, "hello", "xxx", "\n"))


class TestSigned:
    """With the gateway's public key nobody else can show a ledger for it."""

    def test_what_the_key_signed_is_taken(self) -> None:
        """Among other signatures too."""
        seen = witness(None, VERIFIER)
        assert seen.judge(TRUE.note(9, STRANGER, SIGNER, cosigned=2), None)
        assert seen.judge(TRUE.note(15), TRUE.proof(9, 15))

    @pytest.mark.parametrize(
        "shown",
        [
            TRUE.note(15, STRANGER),
            TRUE.note(15, load(new_key("contoso/unitedstates", ED25519))),
            Note(parse_note(TRUE.note(15)).body, parse_note(TRUE.note(14)).signatures).text(),
            Note(parse_note(TRUE.note(15)).body, (WITNESS.cosign(parse_note(TRUE.note(15)).body, 1),)).text(),
            Note(TRUE.note(15).partition("\n\n")[0] + "\nmore\n", parse_note(TRUE.note(15)).signatures).text(),
            History(origin="contoso/unitedstates").note(15),
            History(origin="contoso/unitedstates").note(15, load(new_key("contoso/unitedstates", ED25519))),
        ],
    )
    def test_what_it_did_not_sign_does_not_count(self, shown: str) -> None:
        """Neither another key, nor another text, nor a witness's word, nor the key under another origin."""
        seen = witness(KNOWN, VERIFIER)
        with pytest.raises(Forked) as forked:
            seen.judge(shown, TRUE.proof(9, 15))
        assert (forked.value.known, forked.value.shown) == (KNOWN, shown)
        with pytest.raises(Forked):
            witness(None, VERIFIER).judge(shown, None)

    def test_one_bad_signature_spoils_the_good(self) -> None:
        """A note that is half forged is forged."""
        good, bad = parse_note(TRUE.note(15)), parse_note(TRUE.note(14))
        with pytest.raises(Forked):
            witness(None, VERIFIER).judge(Note(good.body, good.signatures + bad.signatures).text(), None)

    def test_without_the_key_only_what_continues_counts(self) -> None:
        """Any key's note is held against what was seen."""
        seen = witness(None)
        assert seen.judge(TRUE.note(9, STRANGER), None)
        assert seen.judge(TRUE.note(15), TRUE.proof(9, 15))
        with pytest.raises(Forked):
            seen.judge(TRUE.note(14, STRANGER), None)

    @pytest.mark.parametrize(
        ("checkpoint", "verifier"),
        [
            ("", None),
            ("x", None),
            (KNOWN[:-1], None),
            (KNOWN.replace("\n\n", "\n" + "x" * NOTE_LIMIT + "\n\n"), None),
            (None, ""),
            (None, "x"),
            (None, VERIFIER.replace("+", " ")),
            (None, new_key(ORIGIN, ED25519)),
            (KNOWN, STRANGER.verifier.text()),
            (KNOWN, WITNESS.verifier.text()),
            (TRUE.note(9, STRANGER), VERIFIER),
        ],
        # Keys are made anew in every process, and processes must agree on the names of their tests.
        ids=[
            "empty",
            "none",
            "cut",
            "too-long",
            "no-keys",
            "no-key",
            "broken-key",
            "private-key",
            "foreign-key",
            "witness-key",
            "foreign-note",
        ],
    )
    def test_what_is_none_is_refused_before_connecting(self, checkpoint: str | None, verifier: str | None) -> None:
        """An app that lost its note, or its keys, learns of it at once."""
        with pytest.raises(ValueError):
            connect("ws://127.0.0.1:1/v1/ws", token="t", checkpoint=checkpoint, verifier=verifier)


class TestOrigins:
    """Another origin is another ledger."""

    ABROAD = History(fork=0, origin="contoso/unitedstates")

    def test_a_new_origin_begins_anew_and_the_old_one_is_kept(self) -> None:
        """Whoever comes back from abroad is held to what was seen before."""
        seen = witness()
        assert seen.judge(self.ABROAD.note(3), None)
        assert seen.newest == self.ABROAD.note(3)
        with pytest.raises(Forked) as forked:
            seen.judge(FALSE.note(9), None)
        assert forked.value.known == KNOWN
        assert seen.newest == KNOWN

    def test_the_proof_of_an_origin_that_was_not_sent_is_asked_for_next(self) -> None:
        """A gateway cannot prove what it was not asked."""
        seen = witness()
        assert seen.judge(self.ABROAD.note(3), None)
        assert not seen.judge(TRUE.note(15), None)
        assert seen.said == KNOWN
        assert seen.judge(TRUE.note(16), TRUE.proof(9, 16))

    def test_another_ledgers_proof_is_none(self) -> None:
        """Sizes alone are no continuation."""
        with pytest.raises(Forked):
            witness().judge(FALSE.note(15), self.ABROAD.proof(9, 15))

    def test_so_many_ledgers_and_not_one_more(self) -> None:
        """A gateway cannot flood away what was seen of it."""
        seen = witness()
        for number in range(ORIGIN_LIMIT - 1):
            assert seen.judge(History(3, origin=f"contoso/{number}").note(3), None)
        with pytest.raises(Forked):
            seen.judge(History(3, origin="contoso/more").note(3), None)
        assert seen.judge(KNOWN, None)


class TestOwed:
    """A proof that is missing may be a disk that failed for a moment, and is not for ever."""

    def test_a_missing_proof_is_owed_and_nothing_is_given_up(self) -> None:
        """The known checkpoint stays until something is proved to continue it."""
        seen = witness()
        for _ in range(UNPROVEN_LIMIT - 1):
            assert not seen.judge(TRUE.note(15), None)
            assert seen.newest == KNOWN
        assert seen.judge(TRUE.note(15), TRUE.proof(9, 15))
        for _ in range(UNPROVEN_LIMIT - 1):
            assert not seen.judge(TRUE.note(16), None)

    def test_a_proof_that_is_owed_for_good_is_a_fork(self) -> None:
        """Whoever shows another ledger has no proof to give; other origins in between do not help."""
        seen = witness()
        for number in range(UNPROVEN_LIMIT - 1):
            assert not seen.judge(FALSE.note(15 + number), None)
            assert seen.judge(TestOrigins.ABROAD.note(3), None)
        with pytest.raises(Forked) as forked:
            seen.judge(FALSE.note(18), None)
        assert (forked.value.known, forked.value.shown) == (KNOWN, FALSE.note(18))


# -- over a socket ------------------------------------------------------------------------------------------------


def lost_after(**fields: Any) -> Callable[[Peer], Any]:
    """A script that welcomes with `fields` and loses the connection."""

    async def script(peer: Peer) -> None:
        await peer.welcome(**fields)
        await peer.state()
        await drop(peer)

    return script


async def test_the_newest_checkpoint_goes_into_every_hello() -> None:
    """From the app at first, then from the last welcome; the app reads it to keep it."""
    hellos: list[dict[str, Any]] = []

    async def first(peer: Peer) -> None:
        hellos.append(await peer.welcome(**TRUE.welcome(15, 9)))
        await peer.state()
        await drop(peer)

    async def second(peer: Peer) -> None:
        hellos.append(await peer.welcome(**TRUE.welcome(20, 15)))
        await peer.state()
        await peer.say("notice", **notice("n_1", 1))
        await peer.stay()

    async with scripted(first, second) as url, client_of(url, checkpoint=KNOWN, verifier=VERIFIER) as client:
        await take(client, 1)
        assert client.checkpoint == TRUE.note(20)
    assert [hello["checkpoint"] for hello in hellos] == [KNOWN, TRUE.note(15)]


async def test_a_new_client_has_seen_nothing() -> None:
    """No field rather than an empty one; an older gateway shows nothing and is tolerated on every return."""
    hellos: list[dict[str, Any]] = []

    async def first(peer: Peer) -> None:
        hellos.append(await peer.welcome())
        await peer.state()
        await drop(peer)

    async with scripted(first, lost_after(), back := Back()) as url, client_of(url) as client:
        await client.join("c")
        await back.awaited()
        assert client.checkpoint is None
    assert "checkpoint" not in hellos[0]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"checkpoint": None},
        {"checkpoint": "no note"},
        TRUE.welcome(7),
        FALSE.welcome(9),
        FALSE.welcome(15, 9),
        {**TRUE.welcome(15), "consistency": proof_fields(9, 15, HASHES[:-1])},
        {**TRUE.welcome(15), "consistency": proof_fields(0, 15, [])},
    ],
)
async def test_a_fork_reaches_everyone_who_waits_and_ends_the_client(fields: dict[str, Any]) -> None:
    """Iterations, receipts and whoever asks for the end get the evidence; the client does not come back for more."""
    closed: list[int | None] = []

    async def second(peer: Peer) -> None:
        await peer.welcome(**fields)
        await peer.socket.wait_closed()
        closed.append(peer.socket.close_code)

    async def first(peer: Peer) -> None:
        await peer.welcome(**TRUE.welcome(9))
        await peer.state(notice("n_1", 1), revision=1)
        await peer.hear("ack")
        await drop(peer)

    async with scripted(first, second) as url, client_of(url, receive=False) as client:
        told = (await take(client, 1))[0]
        with pytest.raises(Forked) as forked:
            await told.acknowledge()
        assert (forked.value.known, forked.value.shown) == (KNOWN, fields.get("checkpoint"))
        assert isinstance(forked.value, ClientClosed)
        assert forked.value.retry == "never"
        with pytest.raises(Forked):
            await anext(client.notices("c"))
        with pytest.raises(Forked):
            client.observe("c", Capability.RECORDING, State.ACTIVE)
        assert await client.ended() is forked.value
        assert client.checkpoint == KNOWN
        assert not client.connected
    assert closed == [1008]


@pytest.mark.parametrize("fields", [{}, TRUE.welcome(7), FALSE.welcome(15, 9), {"checkpoint": TRUE.note(9, STRANGER)}])
async def test_a_fork_at_the_first_welcome_is_raised_on_entering(fields: dict[str, Any]) -> None:
    """The app brought what an earlier client has seen."""

    async def script(peer: Peer) -> None:
        await peer.welcome(**fields)
        await peer.socket.wait_closed()

    async with scripted(script) as url:
        with pytest.raises(Forked):
            async with client_of(url, checkpoint=KNOWN, verifier=VERIFIER):
                pytest.fail("entered")


async def test_a_fork_that_nobody_met_is_raised_at_the_exit() -> None:
    """An app that did not look learns when it leaves the context."""
    judged = asyncio.Event()

    async def second(peer: Peer) -> None:
        await peer.welcome(**FALSE.welcome(15, 9))
        await peer.socket.wait_closed()
        judged.set()

    async with scripted(lost_after(**TRUE.welcome(9)), second) as url:
        client = client_of(url)
        await client.__aenter__()
        await client.join("c")
        await asyncio.wait_for(judged.wait(), 5)
        await asyncio.sleep(0.01)
        with pytest.raises(Forked):
            await client.__aexit__(None, None, None)


async def test_people_are_told_while_a_proof_is_owed_and_it_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The session goes on, the client comes back by itself, and what it knew is what it says."""
    monkeypatch.setattr(sessions, "UNPROVEN_SECONDS", 0.05)
    hellos: list[str] = []

    async def first(peer: Peer) -> None:
        hellos.append((await peer.welcome(**TRUE.welcome(15)))["checkpoint"])
        await peer.state()
        await peer.say("notice", **notice("n_1", 1))
        await peer.hear("ack")
        await peer.socket.wait_closed()
        assert peer.socket.close_code == 1000

    async def second(peer: Peer) -> None:
        hellos.append((await peer.welcome(**TRUE.welcome(16, 9)))["checkpoint"])
        await peer.state()
        await peer.say("notice", **notice("n_2", 2))
        await peer.stay()

    async with scripted(first, second) as url, client_of(url, checkpoint=KNOWN) as client:
        assert [each.id for each in await take(client, 2)] == ["n_1", "n_2"]
        assert client.checkpoint == TRUE.note(16)
    assert hellos == [KNOWN, KNOWN]


async def test_a_proof_that_is_never_given_ends_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """The third welcome in a row without it counts as a fork."""
    monkeypatch.setattr(sessions, "UNPROVEN_SECONDS", 0.02)

    async def script(peer: Peer) -> None:
        await peer.welcome(**FALSE.welcome(15))
        await peer.socket.wait_closed()

    async with scripted(*[script] * UNPROVEN_LIMIT) as url, client_of(url, checkpoint=KNOWN) as client:
        error = await asyncio.wait_for(client.ended(), 5)
        assert isinstance(error, Forked)
        assert (error.known, error.shown) == (KNOWN, FALSE.note(15))


@pytest.mark.parametrize(
    "broken",
    [
        {"consistency": {"from": 9, "to": 15, "hashes": ["x"]}},
        {"consistency": {"from": "9", "to": 15, "hashes": []}},
        {"consistency": {"from": 9, "hashes": []}},
        {"consistency": []},
        {"checkpoint": 7},
    ],
)
async def test_a_welcome_that_cannot_be_read_opens_nothing(broken: dict[str, Any]) -> None:
    """It is garbage like any other: the connection ends and the next one may do better."""

    async def first(peer: Peer) -> None:
        await peer.welcome(**{**TRUE.welcome(15), **broken})
        await peer.socket.wait_closed()
        assert peer.socket.close_code == 1002

    async def second(peer: Peer) -> None:
        await peer.welcome(**TRUE.welcome(15, 9))
        await peer.stay()

    async with scripted(first, second) as url, client_of(url, checkpoint=KNOWN) as client:
        assert client.checkpoint == TRUE.note(15)
