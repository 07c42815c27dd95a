"""Surveys as the control API asks for them: in slices, of one moment, one for all who ask at once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.init import CONFIGURATION, initialise
from gateway.config import load
from gateway.core import attendance, observing, wire
from gateway.core.catalogue import digests
from gateway.core.fusion import Claim
from gateway.core.session import Session
from gateway.core.survey import Survey
from gateway.core.types import CallKey, Capability, Level, State
from gateway.house import build
from gateway.hub.interpreter import joining
from gateway.hub.journal import Ink
from gateway.hub.live import LiveCall
from gateway.hub.surveys import SLICE, Surveys
from tests.core.meeting import ACTIVE, GRAPH, KEY, T0, Meeting
from tests.evidence.world import EUROPE, raw_id, region_of

PEOPLE = SLICE + SLICE // 2
ASKED = Level.ACKNOWLEDGED


class Stand:
    """A call that is recorded, with as many people as take two slices, and who asks about it."""

    def __init__(self, people: int = PEOPLE) -> None:
        self.meeting = Meeting()
        self.live = LiveCall(self.meeting.call, Ink(), T0)
        for number in range(people):
            self.meeting.join(f"p{number}")
        self.meeting.claim(GRAPH, ACTIVE)
        self.calls: dict[CallKey, LiveCall] = {KEY: self.live}
        self.surveys = Surveys(self.calls, lambda: self.meeting.now)

    async def find(self) -> LiveCall:
        """The call."""
        return self.live

    async def ask(self, wait: float = 0.0, level: Level = ASKED) -> Sequence[bytes]:
        """Ask for coverage."""
        return await self.surveys.coverage(self.find, level, wait)

    def prove(self, *names: str) -> None:
        """These prove the notice."""
        for name in names:
            self.meeting.prove(name)
        self.live.changed()


def parsed(pieces: Sequence[bytes]) -> dict[str, Any]:
    """An answer."""
    answer: dict[str, Any] = json.loads(b"".join(pieces))
    return answer


def proved(pieces: Sequence[bytes]) -> int:
    """How many proved the only notice."""
    count: int = parsed(pieces)["notices"][0]["proved"]
    return count


@pytest.fixture
async def stand() -> AsyncIterator[Stand]:
    """Afterwards nobody looks on, and nothing is remembered."""
    stand = Stand()
    yield stand
    assert stand.live.call.onlookers == []
    assert stand.live.waiters == []
    assert stand.surveys._questions == {}


async def test_an_answer_is_of_the_moment_at_which_it_was_asked(stand: Stand) -> None:
    """Who proves in a turn between two slices is told of as before, whichever slice they are in."""
    asking = asyncio.create_task(stand.ask())
    await asyncio.sleep(0)
    stand.prove("p0", f"p{PEOPLE - 1}")
    assert not asking.done()
    assert proved(await asking) == 0
    assert proved(await stand.ask()) == 2


async def test_who_asks_before_a_survey_begins_has_their_answer_from_it(stand: Stand) -> None:
    """And who asks later has theirs from the next: two surveys for all of them."""
    first = asyncio.create_task(stand.ask())
    await asyncio.sleep(0)
    late = [asyncio.create_task(stand.ask()) for _ in range(5)]
    await asyncio.sleep(0)
    other = asyncio.create_task(stand.ask(level=Level.RECEIVED))
    answers = await asyncio.gather(*late)
    assert all(each is answers[0] for each in answers)
    assert await first is not answers[0]
    assert parsed(await other)["level"] == "received"


async def test_one_slice_in_a_turn_whoever_asks(stand: Stand) -> None:
    """Two surveys of two slices each leave the loop at least four turns."""
    asking = [asyncio.create_task(stand.ask(level=each)) for each in (Level.RECEIVED, Level.DISPLAYED)]
    turns = 0
    while not all(each.done() for each in asking):
        turns += 1
        await asyncio.sleep(0)
    assert turns >= 4


async def test_who_waits_is_answered_as_soon_as_nobody_lacks_anything() -> None:
    """All of them with one answer, though somebody else gives up before."""
    stand = Stand(people=3)
    waiting = [asyncio.create_task(stand.ask(wait=30)) for _ in range(3)]
    for number in range(3):
        await asyncio.sleep(0.001)
        assert not any(each.done() for each in waiting)
        if number == 1:
            waiting.pop(0).cancel()
        stand.prove(f"p{number}")
    answers = await asyncio.gather(*waiting)
    assert answers[0] is answers[1]
    assert parsed(answers[0])["complete"] is True


async def test_who_waits_looks_no_further_than_to_a_gap(stand: Stand) -> None:
    """And begins there the next time: of everyone who proved nobody is looked at again before the last."""
    waiting = asyncio.create_task(stand.ask(wait=30))
    await asyncio.sleep(0.01)
    (question,) = stand.surveys._questions.values()
    assert (question.begun, question.place) == (1, 0)
    stand.prove(*(f"p{number}" for number in range(SLICE)))
    while question.begun < 2 or stand.live.call.onlookers:
        await asyncio.sleep(0.01)
    assert question.place == SLICE
    stand.prove(*(f"p{number}" for number in range(SLICE, PEOPLE)))
    assert parsed(await waiting)["complete"] is True
    assert question.begun == 3


async def test_when_time_is_over_there_is_an_answer_all_the_same(stand: Stand) -> None:
    """With what there is by then."""
    stand.prove("p1")
    answer = parsed(await stand.ask(wait=0.01))
    assert (answer["complete"], answer["notices"][0]["proved"]) == (False, 1)


async def test_the_end_of_the_process_answers_everyone_who_waits(stand: Stand) -> None:
    """The one who looks, and those whom it looks for."""
    waiting = [asyncio.create_task(stand.ask(wait=30)) for _ in range(3)]
    await asyncio.sleep(0.01)
    stand.surveys.stop_waiting()
    answers = await asyncio.wait_for(asyncio.gather(*waiting), 5)
    assert [parsed(each)["complete"] for each in answers] == [False] * 3


async def test_who_waits_goes_on_with_the_call_that_it_became_part_of() -> None:
    """Merged into another while somebody waits: they are answered when that one is complete."""
    stand, target = Stand(people=1), Meeting(CallKey("contoso", "whole"))
    target.ids = stand.meeting.ids
    target.join("p9")
    whole = LiveCall(target.call, Ink(), T0)
    waiting = asyncio.create_task(stand.ask(wait=30))
    await asyncio.sleep(0.01)
    target.merge(stand.meeting)
    stand.live.moved_to, gone = whole, stand.live
    stand.calls[whole.key] = stand.live = whole
    gone.changed()
    await asyncio.sleep(0.01)
    stand.meeting = target
    stand.prove("p0", "p9")
    answer = parsed(await waiting)
    assert (answer["call"], answer["complete"], answer["notices"][0]["owed"]) == ("whole", True, 2)


class Reader:
    """A client that reads everything."""

    def write(self, framed: bytes) -> bool:
        """Read."""
        return bool(framed)

    def finish(self, code: int, reason: str, last: bytes) -> None:
        """Nothing follows."""

    def abort(self) -> None:
        """Nothing follows."""

    def hold(self) -> None:
        """Nothing to read."""

    def resume(self) -> None:
        """Nothing to read."""


async def test_what_is_written_while_a_survey_is_taken_is_not_proof_yet(tmp_path: Path) -> None:
    """An ack that waits for its commit reads unrecorded in a survey that begins before it, whatever comes meanwhile."""
    initialise(tmp_path)
    house = build(load(tmp_path / CONFIGURATION, {}))
    live = await house.interpreter.registry.get(KEY)
    session = Session(Reader(), lambda _: None)
    session.id, session.participant = "s_ann", raw_id("ann", EUROPE)
    session.organization, session.region = KEY.organization, region_of(session.participant)
    session.calls = frozenset({KEY.call})
    step = house.interpreter.step(live)
    attendance.join(step, joining(session))
    observing.observe(step, Capability.RECORDING, Claim("operator", State.ACTIVE, True, step.now), digests)
    house.interpreter.perform(live, step)
    (notice,) = live.call.notices.values()
    while not notice.durable:
        await asyncio.sleep(0)
    digest = next(iter(notice.fact.digests.values()))
    house.hub.acknowledge(session, wire.Ack(notice=notice.id, level=ASKED, at=step.now, digest=digest))
    survey = Survey(live.call, ASKED, step.now)
    while (proof := notice.said(next(iter(live.call.presences)), ASKED)) is None or proof.entry is None:
        await asyncio.sleep(0)
    survey.advance(1)
    survey.close()
    assert [gap["reason"] for gap in parsed(survey.report())["notices"][0]["gaps"]] == ["unrecorded"]
    assert proved(await house.answers.coverage(KEY.call, None, ASKED, 0)) == 1
    await house.ledgers.close()
