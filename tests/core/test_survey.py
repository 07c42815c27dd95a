"""A survey taken piece by piece says what coverage said when it began, whatever happened to the call meanwhile."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from gateway.core.call import Call
from gateway.core.survey import Survey
from gateway.core.types import Level, rfc3339
from tests.core.covered import cover
from tests.core.meeting import ACTIVE, GRAPH, INACTIVE, Meeting
from tests.storage.test_audit_coverage import LEVELS, World

Said = dict[str, Any]


def said(survey: Survey) -> Said:
    """The answer, gaps in no order."""
    answer: Said = json.loads(b"".join(survey.report()))
    for notice in answer["notices"]:
        notice["gaps"] = Counter(json.dumps(gap, sort_keys=True) for gap in notice["gaps"])
    return answer


def expected(call: Call, level: Level, meeting: Meeting) -> Said:
    """What the answer must be, from where each presence stands with each notice now."""
    now = max(meeting.now, call.clock)
    notices = []
    for covered in cover(call, level, now):
        fact = covered.notice.fact
        gaps = [
            {
                "participant": gap.participant,
                "presence": gap.presence,
                "reason": gap.reason.value,
                "since": rfc3339(gap.since),
                "exposure_ms": gap.exposure // timedelta(milliseconds=1),
            }
            for gap in covered.gaps
        ]
        notices.append(
            {
                "notice": fact.notice,
                "capability": fact.capability.value,
                "change": fact.change.value,
                "episode": fact.episode,
                "revision": fact.revision,
                "occurred_at": rfc3339(fact.occurred_at),
                "issued_at": rfc3339(fact.at),
                "owed": covered.owed,
                "proved": covered.proved,
                "gaps": Counter(json.dumps(gap, sort_keys=True) for gap in gaps),
            }
        )
    return {
        "call": call.key.call,
        "organization": call.key.organization,
        "level": level.value,
        "notices": notices,
        "complete": not any(each["gaps"] for each in notices),
    }


@pytest.mark.parametrize("seed", range(40))
def test_a_survey_is_of_the_moment_at_which_it_began(seed: int) -> None:
    """Under joins, leaves, rosters, acks, commits that come late, erasures, ends and mergers in any order."""
    world = World(seed, steady=seed % 2 == 0)
    for _ in range(4):
        for _ in range(25):
            world.wait()
            world.step()
        meeting = world.chance.choice(world.calls)
        meeting.failing = world.chance.random() < 0.3
        for _ in range(3):
            world.prove(meeting)
        level = world.chance.choice([each for each in LEVELS if each is not None])
        wanted = expected(meeting.call, level, meeting)
        survey = Survey(meeting.call, level, meeting.now, first=world.chance.randrange(9))
        while not survey.finished:
            world.step()
            world.prove(meeting)
            if meeting.failing and world.chance.random() < 0.5:
                meeting.failing = False
                meeting.commit()
            survey.advance(world.chance.choice([0, 10]))
        survey.close()
        meeting.failing = False
        meeting.commit()
        assert said(survey) == wanted
        assert not meeting.call.onlookers


def crowd(size: int) -> Meeting:
    """So many people in a call that is recorded."""
    meeting = Meeting()
    for number in range(size):
        meeting.join(f"p{number}")
    meeting.claim(GRAPH, ACTIVE)
    return meeting


def test_a_piece_is_as_large_as_asked() -> None:
    """Presences times notices; never less than one presence."""
    meeting = crowd(10)
    meeting.claim(GRAPH, INACTIVE)
    survey = Survey(meeting.call, Level.ACKNOWLEDGED, meeting.now)
    survey.advance(6)
    assert survey.looked == 3
    survey.advance(1)
    assert survey.looked == 4
    survey.advance(100)
    assert survey.finished


def test_what_is_shown_early_is_not_counted_again() -> None:
    """Each presence once, whatever changes how often."""
    meeting = crowd(3)
    survey = Survey(meeting.call, Level.ACKNOWLEDGED, meeting.now)
    meeting.prove("p2")
    meeting.leave("p2")
    survey.advance(100)
    (notice,) = said(survey)["notices"]
    assert (notice["owed"], notice["proved"], len(notice["gaps"])) == (3, 0, 3)


def test_a_survey_may_begin_with_anybody() -> None:
    """Who looks for a gap goes on where the last one was."""
    meeting = crowd(4)
    for name in ("p0", "p1", "p3"):
        meeting.prove(name)
    survey = Survey(meeting.call, Level.ACKNOWLEDGED, meeting.now, first=6)
    survey.advance(1)
    assert not survey.proved


def test_who_closed_a_survey_is_shown_nothing() -> None:
    """It costs nothing from then on."""
    meeting = crowd(2)
    survey = Survey(meeting.call, Level.ACKNOWLEDGED, meeting.now)
    survey.close()
    survey.close()
    meeting.prove("p0")
    assert survey.looked == 0


def test_what_a_person_proves_counts_for_their_others_at_the_same_moment() -> None:
    """Whoever leaves and comes again at the very moment of the proof: each presence is shown as it was."""
    meeting = crowd(1)
    meeting.at(5)
    for again in ("s-2", "s-3"):
        meeting.leave("p0")
        meeting.join("p0", again)
        meeting.lose("p0", again, "left")
    meeting.join("p0")
    wanted = expected(meeting.call, Level.ACKNOWLEDGED, meeting)
    survey = Survey(meeting.call, Level.ACKNOWLEDGED, meeting.now)
    meeting.prove("p0")
    assert expected(meeting.call, Level.ACKNOWLEDGED, meeting) != wanted
    survey.advance(100)
    survey.close()
    assert said(survey) == wanted
