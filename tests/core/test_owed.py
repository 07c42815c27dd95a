"""What is kept of who still owes what is the plain fold of presences and notices, whatever happened in what order."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from gateway.core import facts
from gateway.core.call import Call, Policy
from gateway.core.delivery import NEWEST, gaps_open, newest_owed, owes, owing, proof_of, required
from gateway.core.presence import Presence
from gateway.core.proofs import Notice
from gateway.core.types import CallKey, Level, Role
from tests.core.meeting import (
    ACTIVE,
    GRAPH,
    INACTIVE,
    OPERATOR,
    PAUSED,
    RECORDING,
    TRANSCRIPTION,
    Ids,
    Meeting,
    raw_id,
    refold,
)

PEOPLE = ("ann", "bob", "cyd", "dan")
SAID = (Level.RECEIVED, Level.DISPLAYED, Level.ACKNOWLEDGED, Level.CONSENTED, Level.DECLINED, Level.WITHDRAWN)
OWED = (Level.RECEIVED, Level.DISPLAYED, Level.ACKNOWLEDGED, Level.CONSENTED)


def is_owed(call: Call, notice: Notice, presence: Presence) -> bool:
    """Whether it is owed and not proved, with nothing remembered."""
    return owes(call, notice, presence) and proof_of(call, notice, presence, required(notice)) is None


def is_open(call: Call, notice: Notice) -> bool:
    """Whether its episode goes on."""
    return not notice.terminal and call.episodes[notice.fact.episode].ended_at is None


def to_show(call: Call, presence: Presence) -> Iterator[Notice]:
    """What a state must hold, notice by notice."""
    for notice in call.notices.values():
        if is_open(call, notice) and is_owed(call, notice, presence):
            yield notice
    for capability, track in call.tracks.items():
        ends = [each for each in call.notices.values() if each.terminal and each.fact.capability is capability]
        if track.episode is None and ends and is_owed(call, ends[-1], presence):
            yield ends[-1]


def check(call: Call) -> None:
    """Compare all that is kept with the plain fold."""
    opened = [notice for notice in call.notices.values() if is_open(call, notice)]
    assert call.open_notices() == opened
    gaps = [(notice, each) for notice in opened for each in call.open_presences() if is_owed(call, notice, each)]
    assert gaps_open(call) == len(gaps)
    for notice in call.notices.values():
        assert list(owing(call, notice)) == [each for each in call.open_presences() if is_owed(call, notice, each)]
    for presence in call.open_presences():
        wanted = sorted(to_show(call, presence), key=lambda notice: notice.fact.revision)
        for most in (1, 2, NEWEST):
            assert newest_owed(call, presence, most) == (wanted[-most:], max(0, len(wanted) - most))


class Chances:
    """Two calls with the same people, which may turn out to be one."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        policy, ids = Policy(require=OWED[seed % len(OWED)]), Ids()
        self.meetings = [Meeting(CallKey("contoso", name), policy, ids) for name in ("standup", "alias")]

    def happen(self) -> None:
        """Anything, to either."""
        pick = self.chance.choice
        meeting, who = pick(self.meetings), pick(PEOPLE)
        passed = pick([0, 0, 1, 9, 30])
        for each in self.meetings:
            each.at(each.elapsed + passed)
        match pick("jjjllwrccccppppppppem"):
            case "j":
                meeting.join(who, f"s-{who}{pick('12')}")
            case "w":
                meeting.join(who, f"s-{who}-watching", Role.OBSERVER)
            case "l":
                meeting.lose(who, f"s-{who}{pick('12')}", pick(["left", "disconnected"]))
            case "r":
                meeting.report(who, present=pick([True, False]))
            case "c":
                about = pick([RECORDING, RECORDING, TRANSCRIPTION])
                meeting.claim(
                    pick([GRAPH, OPERATOR]), pick([ACTIVE, ACTIVE, PAUSED, PAUSED, INACTIVE]), capability=about
                )
            case "p" if raw_id(who) in meeting.call.latest and meeting.call.notices:
                meeting.prove(who, pick(SAID), pick(list(meeting.call.notices.values())))
            case "e" if self.chance.random() < 0.2:
                meeting.end()
            case "m" if len(self.meetings) > 1 and self.chance.random() < 0.1:
                self.merge()

    def merge(self) -> None:
        """The second is the first."""
        target, source = self.meetings
        if source.call.opened_at is not None and target.call.opened_at is not None:
            target.merge(source)
            self.meetings.remove(source)


@pytest.mark.parametrize("seed", range(24))
def test_what_is_kept_is_the_plain_fold(seed: int) -> None:
    """Of every level that can be owed; consent too, which can be withdrawn."""
    world = Chances(seed)
    for _ in range(150):
        world.happen()
        for meeting in world.meetings:
            check(meeting.call)
    for meeting in world.meetings:
        check(refold(meeting.call, meeting.recorded))


def long_recording(notices: int) -> Meeting:
    """Ann is in a call whose recording is paused and resumed for hours."""
    meeting = Meeting()
    meeting.join("ann")
    for number in range(notices):
        meeting.at(meeting.elapsed + 1)
        meeting.claim(GRAPH, PAUSED if number % 2 else ACTIVE)
    return meeting


def test_a_late_joiner_of_a_long_call_is_reminded_of_what_the_state_showed() -> None:
    """Everything owed is recorded as overdue, once each and some at a time; sent again is the newest."""
    meeting = long_recording(2 * NEWEST + 10)
    notices = list(meeting.call.notices)
    meeting.at(meeting.elapsed + 3600)
    meeting.resent.clear()
    joined = meeting.elapsed
    bob = meeting.join("bob").id

    def overdue() -> list[str]:
        told = [fact for fact in meeting.of_kind(facts.NoticeOverdue) if bob in fact.presences]
        return [fact.notice for fact in told]

    meeting.at(joined + 10)
    assert overdue() == notices[: -NEWEST - 1 : -1]
    meeting.at(joined + 11)
    assert sorted(overdue()) == sorted(notices)
    assert meeting.resent == [(joined + 10, notice, (bob,)) for notice in notices[: -NEWEST - 1 : -1]]


def test_what_nobody_is_asked_for_any_more_is_not_kept() -> None:
    """With the episode goes what was kept of it."""
    meeting = long_recording(5)
    meeting.at(meeting.elapsed + 60)
    meeting.prove("ann")
    (episode,) = meeting.call.running.values()
    assert episode.settled
    assert any(notice.overdue for notice in episode.notices)
    meeting.claim(GRAPH, INACTIVE)
    assert not meeting.call.running
    assert not episode.notices
    assert not episode.settled
    assert not any(notice.overdue for notice in meeting.call.notices.values())
