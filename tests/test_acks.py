"""The hot path of acks: what a turn proves is one entry, in the order in which everything was decided."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.init import CONFIGURATION, initialise
from gateway.config import load
from gateway.core import attendance, observing, wire
from gateway.core.catalogue import digests
from gateway.core.fusion import Claim
from gateway.core.proofs import Notice, newest_consent
from gateway.core.session import Phase, Session
from gateway.core.types import CallKey, Capability, Level, State
from gateway.house import House, build
from gateway.hub import acks
from gateway.hub.interpreter import joining
from gateway.hub.live import LiveCall
from tests.evidence.world import EUROPE, STATES, raw_id, region_of

KEY = CallKey("contoso", "standup")


@dataclass(eq=False)
class Reader:
    """A client that reads everything; `heard` are its frames."""

    heard: list[dict[str, Any]] = field(default_factory=list)

    def write(self, framed: bytes) -> bool:
        """Read."""
        self.heard.append(json.loads(framed[framed.index(b'{"') :]))
        return True

    def finish(self, code: int, reason: str, last: bytes) -> None:
        """Nothing follows."""

    def abort(self) -> None:
        """Nothing follows."""

    def hold(self) -> None:
        """Nothing to read."""

    def resume(self) -> None:
        """Nothing to read."""


class World:
    """A house without doors, a recorded call, and people in it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.house: House = build(load(directory / CONFIGURATION, {}))
        self.sessions: dict[str, Session] = {}
        self.readers: dict[str, Reader] = {}

    async def begin(self, *people: tuple[str, str]) -> None:
        """All of them come in, and recording starts."""
        self.live: LiveCall = await self.house.interpreter.registry.get(KEY)
        for user, resource in people:
            self.enter(user, resource)
        self.record(State.ACTIVE)
        await self.quiet()

    def enter(self, user: str, resource: str = EUROPE) -> None:
        """One more is in the call."""
        self.readers[user] = reader = Reader()
        self.sessions[user] = session = Session(reader, lambda _: None)
        session.phase, session.id, session.participant = Phase.OPEN, f"s_{user}", raw_id(user, resource)
        session.organization, session.region = KEY.organization, region_of(session.participant)
        session.calls = frozenset({KEY.call})
        step = self.house.interpreter.step(self.live)
        attendance.join(step, joining(session))
        self.live.members.add(session)
        self.house.interpreter.perform(self.live, step)

    def record(self, state: State) -> None:
        """The operator says what is on."""
        step = self.house.interpreter.step(self.live)
        observing.observe(step, Capability.RECORDING, Claim("operator", state, True, step.now), digests)
        self.house.interpreter.perform(self.live, step)

    @property
    def notice(self) -> Notice:
        """The newest notice."""
        return list(self.live.call.notices.values())[-1]

    def ack(self, user: str, level: Level = Level.ACKNOWLEDGED, digest: str | None = "") -> None:
        """Somebody's client confirms a level of the newest notice."""
        said = next(iter(self.notice.fact.digests.values())) if digest == "" else digest
        frame = wire.Ack(notice=self.notice.id, level=level, at=self.notice.fact.at, digest=said)
        self.house.hub.acknowledge(self.sessions[user], frame)

    async def quiet(self) -> None:
        """Everything is on disk and told."""
        async with asyncio.timeout(20):
            await asyncio.sleep(0)
            while any(self.house.ledgers.queue().values()):
                await asyncio.sleep(0)
            await asyncio.sleep(0)

    async def entries(self, region: str = "europe") -> list[dict[str, Any]]:
        """The ledger's lines."""
        leaves = await self.house.ledgers.read(region, lambda reader: reader.entries(0, reader.size()))
        return [json.loads(leaf) for leaf in leaves]

    def receipts(self, user: str) -> list[tuple[str, int]]:
        """Levels and entries of what somebody was given receipts for."""
        return [(each["level"], each["entry"]) for each in self.readers[user].heard if each["type"] == "receipt"]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    initialise(tmp_path)
    made = World(tmp_path)
    yield made
    await made.house.ledgers.close()


async def test_what_a_turn_proves_is_one_entry_and_its_receipts_name_it(world: World) -> None:
    """Everybody's proof stands in it once, whoever repeats; another level and another region are others."""
    people = [(f"user{number}", EUROPE) for number in range(5)] + [("bob", STATES)]
    await world.begin(*people)
    for user, _ in people:
        world.ack(user)
        world.ack(user)
    world.ack("user0", Level.RECEIVED, None)
    await world.quiet()
    for region, users in (("europe", [f"user{number}" for number in range(5)]), ("unitedstates", ["bob"])):
        entries = await world.entries(region)
        ((place, entry),) = [(place, each) for place, each in enumerate(entries) if each.get("level") == "acknowledged"]
        assert [proof[1] for proof in entry["proofs"]] == [f"s_{user}" for user in users]
        for user in users:
            assert world.receipts(user)[:2] == [("acknowledged", place)] * 2
    assert world.receipts("user0")[2][0] == "received"
    world.ack("user1")
    assert world.receipts("user1")[-1] == world.receipts("user1")[0], "said again later, the same entry answers"


async def test_nobody_has_a_receipt_before_the_commit(world: World) -> None:
    """Ledger before wire: in the turn of the ack, and while its entry is written, there is none."""
    await world.begin(("ann", EUROPE))
    world.ack("ann")
    await asyncio.sleep(0)
    proof = world.notice.said(next(iter(world.live.call.presences)), Level.ACKNOWLEDGED)
    assert proof is not None
    while proof.entry is None:
        assert world.receipts("ann") == []
        await asyncio.sleep(0)
    await world.quiet()
    assert [level for level, _ in world.receipts("ann")] == ["acknowledged"]


async def test_of_words_about_consent_in_one_turn_the_last_is_the_ledgers_last(world: World) -> None:
    """Whoever consents, declines and consents again has consented, for live state and for who reads it back."""
    await world.begin(("ann", EUROPE), ("bob", EUROPE))
    words = [Level.CONSENTED, Level.DECLINED, Level.CONSENTED]
    for level in words:
        world.ack("ann", level)
        world.ack("bob", Level.DECLINED)
    await world.quiet()
    said = [
        each["level"]
        for each in await world.entries()
        if each["kind"] == "levels" and any(proof[1] == "s_ann" for proof in each["proofs"])
    ]
    assert said == [level.value for level in words]
    await world.house.ledgers.close()
    again = World(world.directory)
    again.live = await again.house.interpreter.registry.get(KEY)
    (ann, *_) = again.live.call.presences.values()
    assert newest_consent(again.notice, ann.who) is Level.CONSENTED
    await again.house.ledgers.close()


async def test_what_is_decided_between_acks_stands_between_them(world: World) -> None:
    """A turn's acks wait for each other, not for what comes after: the ledger keeps the order of decisions."""
    await world.begin(("ann", EUROPE), ("bob", EUROPE), ("cem", EUROPE))
    world.ack("ann")
    world.enter("dan")
    world.ack("bob")
    world.record(State.PAUSED)
    await world.quiet()
    kinds = [each["kind"] for each in await world.entries()]
    entered = len(kinds) - 1 - kinds[::-1].index("presence.opened")
    assert kinds[entered - 1] == "levels"
    assert "levels" in kinds[entered:]
    assert kinds.index("levels", entered) < len(kinds) - 1 - kinds[::-1].index("notice")


async def test_an_entry_holds_so_many_proofs_and_no_more(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads one can hold it: the others of the turn are in the next."""
    monkeypatch.setattr(acks, "MOST_PROOFS", 2)
    people = [(f"user{number}", EUROPE) for number in range(5)]
    await world.begin(*people)
    for user, _ in people:
        world.ack(user)
    await world.quiet()
    assert [len(each["proofs"]) for each in await world.entries() if each["kind"] == "levels"] == [2, 2, 1]
    assert all(len(world.receipts(user)) == 1 for user, _ in people)


async def test_where_too_much_waits_others_are_put_off(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded whatever clients do: they are told to come again, and nothing is proved meanwhile."""
    await world.begin(("ann", EUROPE))
    world.record(State.PAUSED)
    await world.quiet()
    monkeypatch.setattr(acks, "MOST_WAITING", -1)
    world.ack("ann")
    assert world.readers["ann"].heard[-1]["code"] == "storage_unavailable"
    assert not any(world.notice.ranked.values())
    monkeypatch.undo()
    world.ack("ann")
    await world.quiet()
    assert [level for level, _ in world.receipts("ann")] == ["acknowledged"]


@pytest.mark.parametrize(
    ("level", "digest", "code"),
    [
        (Level.SENT, "", "wrong_level"),
        (Level.ACKNOWLEDGED, None, "wrong_digest"),
        (Level.ACKNOWLEDGED, "sha256:00", "wrong_digest"),
        (Level.RECEIVED, "sha256:00", "wrong_digest"),
    ],
)
async def test_an_ack_that_cannot_be_is_refused(world: World, level: Level, digest: str | None, code: str) -> None:
    """Whoever owes the notice is told why, whoever does not only that there is none; nothing is recorded."""
    await world.begin(("ann", EUROPE))
    before = len(await world.entries())
    world.ack("ann", level, digest)
    assert world.readers["ann"].heard[-1]["code"] == code
    world.ack("ann")
    stranger = Session(reader := Reader(), lambda _: None)
    stranger.phase, stranger.participant, stranger.organization = Phase.OPEN, raw_id("eve", EUROPE), KEY.organization
    stranger.region = region_of(stranger.participant)
    world.sessions["eve"] = stranger
    world.ack("eve", level, digest)
    world.ack("eve")
    assert [each["code"] for each in reader.heard] == ["unknown_notice"] * 2
    await world.quiet()
    assert len(await world.entries()) == before + 1


async def test_a_session_that_did_not_join_speaks_as_far_as_its_token_goes(world: World) -> None:
    """Somebody's other session may prove what they owe, unless its token is for another call or organisation."""
    await world.begin(("ann", EUROPE))
    first = world.sessions["ann"]
    for calls, organization, heard in (
        ({"other"}, KEY.organization, "unknown_notice"),
        ({KEY.call}, "fabrikam", "unknown_notice"),
        ({KEY.call}, KEY.organization, None),
    ):
        world.sessions["ann"] = other = Session(reader := Reader(), lambda _: None)
        other.phase, other.id, other.participant = Phase.OPEN, "s_other", first.participant
        other.organization, other.region, other.calls = organization, first.region, frozenset(calls)
        world.ack("ann")
        await world.quiet()
        assert [each.get("code") for each in reader.heard] == [heard]
