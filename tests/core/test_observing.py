"""Observing: what is recorded and told of a claim, and how a call ends."""

from __future__ import annotations

import pytest

from gateway.core import facts
from gateway.core.call import Policy
from gateway.core.fusion import Claim, Verdict
from gateway.core.observing import observe
from gateway.core.types import Change, Level
from tests.core.meeting import (
    ACTIVE,
    AUTOMATION,
    GRAPH,
    INACTIVE,
    OPERATOR,
    PAUSED,
    RECORDING,
    STARTED,
    STOPPED,
    TRANSCRIPTION,
    UNKNOWN,
    Meeting,
    digests,
    moment,
    refold,
)


@pytest.fixture
def meeting() -> Meeting:
    """Ann and Bob are in the call."""
    fresh = Meeting()
    fresh.join("ann")
    fresh.join("bob")
    return fresh


def test_a_claim_opens_the_call_it_is_about() -> None:
    """A call is known from the first word about it."""
    meeting = Meeting()
    meeting.claim(OPERATOR, ACTIVE)
    assert [type(fact) for fact in meeting.recorded] == [
        facts.CallOpened,
        facts.ObservationMade,
        facts.NoticeIssued,
    ]


def test_the_revision_grows_by_one_per_change(meeting: Meeting) -> None:
    """Of what is shown: claims that change nothing leave it."""
    seen = [meeting.call.revision]
    for source, state in [(GRAPH, ACTIVE), (AUTOMATION, ACTIVE), (GRAPH, PAUSED), (AUTOMATION, PAUSED)]:
        meeting.claim(source, state)
        seen.append(meeting.call.revision)
    assert seen == [0, 1, 1, 1, 2]


def test_a_notice_says_when_it_happened_and_when_it_was_issued(meeting: Meeting) -> None:
    """By the source's clock and by ours."""
    meeting.at(10)
    meeting.claim(GRAPH, ACTIVE, occurred=7)
    assert (meeting.last.fact.occurred_at, meeting.last.fact.at) == (moment(7), moment(10))


def test_nothing_happens_in_the_future(meeting: Meeting) -> None:
    """A source whose clock runs ahead said it when we heard it."""
    meeting.at(10)
    meeting.claim(GRAPH, ACTIVE, occurred=3600)
    assert meeting.last.fact.occurred_at == moment(10)


def test_a_source_whose_clock_runs_ahead_can_still_stop_what_it_began(meeting: Meeting) -> None:
    """Its word is kept under the time of receipt, so its next one is newer."""
    meeting.claim(GRAPH, ACTIVE, occurred=3600)
    meeting.at(10)
    meeting.claim(GRAPH, INACTIVE)
    assert meeting.told[-1] == (10, STOPPED)


@pytest.mark.parametrize(
    ("state", "change", "level"),
    [(ACTIVE, Change.STARTED, Level.ACKNOWLEDGED), (INACTIVE, Change.STOPPED, Level.RECEIVED)],
)
def test_a_notice_requires_what_the_operator_wants_but_an_end_only_receipt(
    meeting: Meeting, state: str, change: Change, level: Level
) -> None:
    """`stopped` is told and owed at level `received`."""
    meeting.claim(GRAPH, ACTIVE)
    if state is INACTIVE:
        meeting.claim(GRAPH, INACTIVE)
    assert (meeting.last.fact.change, meeting.last.fact.require) == (change, level)


def test_the_deadline_is_the_operators() -> None:
    """From when the notice was issued."""
    meeting = Meeting(policy=Policy(require=Level.DISPLAYED))
    meeting.claim(GRAPH, ACTIVE)
    assert meeting.last.fact.deadline_at == moment(10)
    assert meeting.last.fact.require is Level.DISPLAYED


def test_a_refresh_goes_out_when_a_change_is_not_told(meeting: Meeting) -> None:
    """Unknown is shown, and nobody is told of a stop."""
    meeting.claim("ann", ACTIVE)
    meeting.at(1)
    meeting.claim("ann", UNKNOWN)
    assert meeting.state() is UNKNOWN
    assert meeting.refreshed == [1]
    assert isinstance(meeting.recorded[-1], facts.CapabilityChanged)


# The end of the call


def test_the_end_tells_of_everything_that_was_on(meeting: Meeting) -> None:
    """Both capabilities, each once; presences close with it, so the end is owed by nobody."""
    meeting.claim(GRAPH, ACTIVE)
    meeting.claim(GRAPH, ACTIVE, capability=TRANSCRIPTION)
    meeting.at(5)
    meeting.end()
    assert [change for _, change in meeting.told] == [STARTED, STARTED, STOPPED, STOPPED]
    assert meeting.covered().owed == 0
    assert {presence.closed_reason for presence in meeting.call.presences.values()} == {"ended"}
    assert all(track.episode is None for track in meeting.call.tracks.values())


def test_the_end_of_a_silent_call_tells_nothing(meeting: Meeting) -> None:
    """There is nothing to stop."""
    meeting.end()
    assert meeting.told == []
    assert meeting.call.ended


def test_a_call_ends_once(meeting: Meeting) -> None:
    """A second word of its end changes nothing."""
    meeting.end()
    before = list(meeting.recorded)
    meeting.at(1)
    meeting.end()
    assert meeting.recorded == before


def test_the_end_of_a_call_nobody_knows_makes_none() -> None:
    """No call comes into being by ending."""
    meeting = Meeting()
    meeting.end()
    assert meeting.recorded == []


def test_the_late_end_of_an_earlier_run_ends_nothing(meeting: Meeting) -> None:
    """Ann and Bob are connected to a run that began after that end."""
    meeting.end()
    meeting.at(60)
    meeting.join("ann", "s-new")
    meeting.end(occurred=30)
    assert not meeting.call.ended


@pytest.mark.parametrize("state", [ACTIVE, PAUSED, INACTIVE, UNKNOWN])
def test_a_late_word_about_a_run_that_is_over_announces_nothing(meeting: Meeting, state: str) -> None:
    """It does not bring the call back either."""
    meeting.at(10)
    meeting.end()
    before = list(meeting.recorded)
    meeting.at(11)
    assert meeting.claim(GRAPH, type(ACTIVE)(state), occurred=10) is Verdict.LATE
    assert meeting.recorded == before
    assert meeting.call.ended


def test_a_newer_start_brings_an_ended_call_back(meeting: Meeting) -> None:
    """Fail towards telling."""
    meeting.at(10)
    meeting.end()
    meeting.at(11)
    meeting.claim(GRAPH, ACTIVE, occurred=10.001)
    assert not meeting.call.ended
    assert meeting.told == [(11, STARTED)]


def test_what_was_claimed_before_the_end_does_not_stand_in_the_next_run(meeting: Meeting) -> None:
    """Every run begins with nothing said."""
    meeting.claim("ann", ACTIVE)
    meeting.end()
    meeting.at(60)
    meeting.join("ann", "s-new")
    meeting.at(3600)
    assert meeting.state() is INACTIVE
    assert [change for _, change in meeting.told] == [STARTED, STOPPED]


def test_what_an_authority_claimed_before_the_end_does_not_stand_either(meeting: Meeting) -> None:
    """Another's word in the next run does not bring it up again."""
    meeting.claim(GRAPH, ACTIVE)
    meeting.end()
    meeting.at(60)
    meeting.join("bob", "s-new")
    meeting.claim("bob", INACTIVE)
    assert [change for _, change in meeting.told] == [STARTED, STOPPED]


def test_a_held_claim_is_forgotten_with_the_call(meeting: Meeting) -> None:
    """When its minute is over there is nothing to announce."""
    meeting.claim("ann", ACTIVE)
    meeting.claim(GRAPH, INACTIVE)
    meeting.claim("ann", INACTIVE)
    meeting.at(1)
    assert meeting.claim("ann", ACTIVE) is Verdict.HELD
    meeting.end()
    meeting.at(3600)
    assert [change for _, change in meeting.told] == [STARTED, STOPPED]


# Recovery


def test_peer_bug_01_resume_before_the_first_event() -> None:
    """A call read back before anything happened in it is the call as it was, and goes on."""
    meeting = Meeting()
    meeting.join("ann")
    again = refold(meeting.call, meeting.recorded)
    assert again.revision == 0
    assert again.present("8:acs:11111111-1111-1111-1111-111111111111_ann") is not None
    meeting.call = again
    meeting.claim(GRAPH, ACTIVE)
    assert meeting.told == [(0, STARTED)]
    assert meeting.call.revision == 1


def test_a_settling_stop_survives_a_restart(meeting: Meeting) -> None:
    """The ten seconds are counted from what was said, not from the restart."""
    meeting.claim("ann", ACTIVE)
    meeting.claim("ann", INACTIVE)
    meeting.at(5)
    meeting.call = refold(meeting.call, meeting.recorded)
    meeting.at(9.999)
    assert meeting.told == [(0, STARTED)]
    meeting.at(10)
    assert meeting.told[-1] == (10, STOPPED)


def test_a_held_claim_survives_a_restart(meeting: Meeting) -> None:
    """It is announced when its minute is over."""
    meeting.claim("ann", ACTIVE)
    meeting.claim(GRAPH, INACTIVE)
    meeting.claim("ann", INACTIVE)
    meeting.at(1)
    meeting.claim("ann", ACTIVE)
    meeting.at(30)
    meeting.call = refold(meeting.call, meeting.recorded)
    meeting.at(60)
    assert meeting.told[-1] == (60, STARTED)


def test_peer_bug_09_state_and_live_feed_come_from_one_point(meeting: Meeting) -> None:
    """Whoever joins in the moment of a change has it in the state or gets it live: the revision says which."""
    meeting.claim(GRAPH, ACTIVE)
    cyd = meeting.join("cyd")
    shown = meeting.call.revision
    meeting.claim(GRAPH, INACTIVE)
    assert shown == meeting.call.notices[next(iter(meeting.call.notices))].fact.revision
    assert meeting.last.fact.revision == shown + 1
    assert [notice.fact.revision for notice in meeting.call.notices.values()] == [shown, shown + 1]
    assert cyd.opened_at <= meeting.last.fact.at


def test_calls_know_nothing_of_each_other(meeting: Meeting) -> None:
    """Two calls of one organisation with the same people share nothing."""
    other = Meeting(type(meeting.call.key)("contoso", "other"), ids=meeting.ids)
    other.join("ann")
    meeting.claim("ann", ACTIVE)
    assert other.told == []
    assert other.state(RECORDING) is INACTIVE
    assert {fact.call.call for fact in other.recorded} == {"other"}


@pytest.mark.parametrize("event", ["9f86d081", None])
def test_an_observation_names_the_event_it_came_with(meeting: Meeting, event: str | None) -> None:
    """So that the event's own entry can be found; what a client says on its connection came with none."""
    step = meeting.step()
    observe(step, RECORDING, Claim(GRAPH, ACTIVE, True, step.now, event=event), digests)
    meeting.perform(step)
    (fact,) = meeting.of_kind(facts.ObservationMade)
    assert isinstance(fact, facts.ObservationMade)
    assert fact.event == event
    assert meeting.call.tracks[RECORDING].words[GRAPH].event == event
