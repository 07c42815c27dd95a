"""Fusion: how often, how much and in which order; each rule of the contract's paragraph, with exact times."""

from __future__ import annotations

import pytest

from gateway.core import facts
from gateway.core.call import Policy
from gateway.core.fusion import Verdict
from gateway.core.types import Role, State
from tests.core.meeting import (
    ACTIVE,
    GRAPH,
    INACTIVE,
    OPERATOR,
    PAUSE,
    PAUSED,
    RESUMED,
    STARTED,
    STOPPED,
    TRANSCRIPTION,
    Meeting,
    moment,
)


@pytest.fixture
def meeting() -> Meeting:
    """Ann and Bob are in the call."""
    fresh = Meeting()
    fresh.join("ann")
    fresh.join("bob")
    return fresh


def stopped_by_authority(meeting: Meeting) -> None:
    """Ann said active, and Graph stopped it at 5 s."""
    meeting.claim("ann", ACTIVE)
    meeting.at(5)
    meeting.claim(GRAPH, INACTIVE)


# One episode a minute


def opened_and_stopped(meeting: Meeting) -> None:
    """Ann opened an episode at 0 s; it was stopped at 5 s, and Ann has noticed at 6 s."""
    stopped_by_authority(meeting)
    meeting.at(6)
    meeting.claim("ann", INACTIVE)


def test_a_participants_second_episode_waits_until_the_minute_is_over(meeting: Meeting) -> None:
    """It is recorded at once, and announced at 60 s exactly."""
    opened_and_stopped(meeting)
    meeting.at(10)
    assert meeting.claim("ann", ACTIVE) is Verdict.HELD
    assert isinstance(meeting.recorded[-1], facts.ObservationMade)
    meeting.at(59.999)
    assert len(meeting.told) == 2
    assert meeting.state() is INACTIVE
    meeting.at(60)
    assert meeting.told[-1] == (60, STARTED)


def test_after_the_minute_a_participant_opens_at_once(meeting: Meeting) -> None:
    """Sixty seconds are a minute."""
    opened_and_stopped(meeting)
    meeting.at(60)
    assert meeting.claim("ann", ACTIVE) is Verdict.COUNTED
    assert meeting.told[-1] == (60, STARTED)


def test_a_held_claim_that_is_withdrawn_announces_nothing(meeting: Meeting) -> None:
    """When the minute is over it no longer stands."""
    opened_and_stopped(meeting)
    meeting.at(10)
    meeting.claim("ann", ACTIVE)
    meeting.at(20)
    meeting.claim("ann", INACTIVE)
    meeting.at(3600)
    assert len(meeting.told) == 2


def test_a_held_claim_lapses_too(meeting: Meeting) -> None:
    """Who is gone for ten seconds claims nothing."""
    opened_and_stopped(meeting)
    meeting.at(10)
    meeting.claim("ann", ACTIVE)
    meeting.leave("ann")
    meeting.at(3600)
    assert len(meeting.told) == 2


def test_an_authoritys_stop_withdraws_a_held_claim(meeting: Meeting) -> None:
    """A held claim is a claim."""
    opened_and_stopped(meeting)
    meeting.at(10)
    meeting.claim("ann", ACTIVE)
    meeting.at(11)
    meeting.claim(GRAPH, INACTIVE)
    meeting.at(3600)
    assert len(meeting.told) == 2


@pytest.mark.parametrize("second", ["bob", GRAPH, "somebody nobody knows"])
def test_a_second_voice_announces_a_held_claim_at_once(meeting: Meeting, second: str) -> None:
    """A second participant or an authority agrees; both claims stand from then on."""
    opened_and_stopped(meeting)
    meeting.at(10)
    meeting.claim("ann", ACTIVE)
    meeting.at(12)
    meeting.claim(second, ACTIVE)
    assert meeting.told[-1] == (12, STARTED)
    meeting.at(13)
    meeting.claim(second, INACTIVE, occurred=9 if second is GRAPH else None)
    meeting.at(3600)
    assert len(meeting.told) == 3


def test_two_held_claims_agree(meeting: Meeting) -> None:
    """Each alone would wait; together they are believed."""
    meeting.claim("ann", ACTIVE)
    meeting.claim(GRAPH, INACTIVE)
    meeting.at(1)
    meeting.claim("bob", ACTIVE)
    meeting.at(2)
    meeting.claim(GRAPH, ACTIVE)
    meeting.claim(GRAPH, INACTIVE)
    for name in ("ann", "bob"):
        meeting.claim(name, INACTIVE)
    meeting.at(3)
    assert meeting.claim("ann", ACTIVE) is Verdict.HELD
    assert len(meeting.told) == 4
    assert meeting.claim("bob", ACTIVE) is Verdict.HELD
    assert meeting.told[-1] == (3, STARTED)


def test_who_joined_an_episode_did_not_open_it(meeting: Meeting) -> None:
    """Bob agreed with Graph: his own next claim opens at once."""
    meeting.claim(GRAPH, ACTIVE)
    meeting.claim("bob", ACTIVE)
    meeting.at(1)
    meeting.claim(GRAPH, INACTIVE)
    meeting.claim("bob", INACTIVE)
    meeting.at(2)
    assert meeting.claim("bob", ACTIVE) is Verdict.COUNTED
    assert meeting.told[-1] == (2, STARTED)


def test_a_paused_claim_opened_nothing(meeting: Meeting) -> None:
    """What stood beside the opening claim is not held back later."""
    meeting.claim("bob", PAUSED)
    meeting.claim(GRAPH, ACTIVE)
    meeting.at(1)
    meeting.claim(GRAPH, INACTIVE)
    meeting.at(2)
    assert meeting.claim("bob", ACTIVE) is Verdict.COUNTED


def test_each_capability_has_its_own_minute(meeting: Meeting) -> None:
    """At most one episode per capability and minute."""
    opened_and_stopped(meeting)
    meeting.at(10)
    meeting.claim("ann", ACTIVE, capability=TRANSCRIPTION)
    assert meeting.told[-1] == (10, STARTED)


def test_an_observer_is_not_held_back(meeting: Meeting) -> None:
    """The limit is for participants."""
    meeting.join("eve", role=Role.OBSERVER)
    meeting.claim("eve", ACTIVE, limited=False)
    meeting.claim("eve", INACTIVE, limited=False)
    meeting.at(10)
    assert meeting.claim("eve", ACTIVE, limited=False) is Verdict.COUNTED
    meeting.at(11)
    meeting.claim(GRAPH, INACTIVE)
    meeting.claim("eve", INACTIVE, limited=False)
    meeting.at(12)
    meeting.claim("eve", ACTIVE, limited=False)
    assert meeting.told[-1] == (12, STARTED)


def test_a_flapping_client_tells_nobody_more_than_once_a_minute(meeting: Meeting) -> None:
    """Within the open episode its flaps are within the ten seconds; beyond, it is held."""
    for tenth in range(600):
        meeting.at(tenth / 10)
        meeting.claim("ann", ACTIVE if tenth % 2 == 0 else INACTIVE)
    assert meeting.told == [(0, STARTED)]


def test_participants_may_be_left_out_altogether() -> None:
    """`participant_observations = false` leaves claims to observers and authorities; nothing is recorded."""
    meeting = Meeting(policy=Policy(participants_observe=False))
    meeting.join("ann")
    meeting.join("eve", role=Role.OBSERVER)
    before = list(meeting.recorded)
    assert meeting.claim("ann", ACTIVE) is Verdict.REFUSED
    assert meeting.recorded == before
    meeting.claim("eve", ACTIVE, limited=False)
    meeting.claim(GRAPH, ACTIVE)
    assert meeting.told == [(0, STARTED)]


# Pausing


def test_an_authoritys_pause_and_resumption_are_told(meeting: Meeting) -> None:
    """One episode, four changes."""
    for seconds, state in enumerate([ACTIVE, PAUSED, ACTIVE, INACTIVE]):
        meeting.at(seconds)
        meeting.claim(GRAPH, state)
    assert meeting.told == [(0, STARTED), (1, PAUSE), (2, RESUMED), (3, STOPPED)]
    assert len(meeting.call.episodes) == 1


def test_an_authoritys_pause_pauses_what_clients_had_said(meeting: Meeting) -> None:
    """Their claims were made before it."""
    meeting.claim("ann", ACTIVE)
    meeting.at(1)
    meeting.claim(GRAPH, PAUSED)
    assert meeting.told[-1] == (1, PAUSE)


def test_a_clients_pause_does_not_hide_what_others_see(meeting: Meeting) -> None:
    """Any active claim outweighs."""
    meeting.claim("ann", ACTIVE)
    meeting.claim("bob", ACTIVE)
    meeting.claim("ann", PAUSED)
    assert meeting.told == [(0, STARTED)]


def test_peer_bug_10_a_late_joiner_while_paused_owes_the_start_and_the_pause(meeting: Meeting) -> None:
    """Paused is on: who comes in then is shown it, and owes what everyone else owed."""
    meeting.claim(GRAPH, ACTIVE)
    meeting.at(60)
    meeting.claim(GRAPH, PAUSED)
    meeting.at(120)
    meeting.join("cyd")
    assert meeting.state() is PAUSED
    started, paused = meeting.call.notices.values()
    assert "cyd" in meeting.gaps(started)
    assert "cyd" in meeting.gaps(paused)


def test_peer_bug_10_a_late_joiners_first_word_is_no_second_start(meeting: Meeting) -> None:
    """Its SDK says active although it is paused: at most a resumption, never another start."""
    meeting.claim(GRAPH, ACTIVE)
    meeting.claim(GRAPH, PAUSED)
    meeting.at(120)
    meeting.join("cyd")
    meeting.claim("cyd", ACTIVE)
    assert [change for _, change in meeting.told].count(STARTED) == 1


# Order, repetition, contradiction


def test_an_older_word_of_a_source_does_not_undo_its_newer_one(meeting: Meeting) -> None:
    """Events may come in any order."""
    meeting.at(10)
    meeting.claim(GRAPH, INACTIVE, occurred=9)
    assert meeting.claim(GRAPH, ACTIVE, occurred=8) is Verdict.STALE
    assert meeting.told == []


def test_an_older_stop_that_comes_late_stops_nothing(meeting: Meeting) -> None:
    """The newest word of the source is that it is on."""
    meeting.at(10)
    meeting.claim(GRAPH, ACTIVE, occurred=9)
    assert meeting.claim(GRAPH, INACTIVE, occurred=8.999) is Verdict.STALE
    assert meeting.told == [(10, STARTED)]


@pytest.mark.parametrize("source", [GRAPH, "ann"])
@pytest.mark.parametrize(("said", "between"), [(ACTIVE, INACTIVE), (INACTIVE, ACTIVE)])
def test_a_word_from_between_two_others_changes_nothing(
    meeting: Meeting, source: str, said: State, between: State
) -> None:
    """On, off and on again arrive as on, on and off: it is on, and nobody is told otherwise; off likewise."""
    meeting.claim(source, said)
    before = list(meeting.told)
    meeting.at(31)
    meeting.claim(source, said, occurred=30)
    meeting.at(32)
    assert meeting.claim(source, between, occurred=20) is Verdict.STALE
    meeting.at(60)
    assert meeting.told == before


def test_the_same_event_time_again_is_the_same_word(meeting: Meeting) -> None:
    """An authority's repetition of one moment is not written down twice."""
    meeting.claim(GRAPH, ACTIVE)
    meeting.at(5)
    assert meeting.claim(GRAPH, ACTIVE, occurred=0) is Verdict.SAME


def test_the_same_word_again_is_not_recorded_within_a_minute(meeting: Meeting) -> None:
    """It says nothing new; after a minute it is written down once more."""
    meeting.claim("ann", ACTIVE)
    meeting.at(59.999)
    assert meeting.claim("ann", ACTIVE) is Verdict.SAME
    assert len(meeting.of_kind(facts.ObservationMade)) == 1
    meeting.at(60)
    assert meeting.claim("ann", ACTIVE) is Verdict.COUNTED
    assert meeting.told == [(0, STARTED)]


@pytest.mark.parametrize("standing", [GRAPH, "bob"])
def test_contradictions_are_recorded(meeting: Meeting, standing: str) -> None:
    """That a client says off while somebody stands by on is in the ledger, with its verdict."""
    meeting.claim(standing, ACTIVE)
    assert meeting.claim("ann", INACTIVE) is Verdict.CONTRADICTED
    fact = meeting.recorded[-1]
    assert isinstance(fact, facts.ObservationMade)
    assert (fact.verdict, fact.state) == ("contradicted", INACTIVE)


def test_peer_bug_27_a_clock_that_steps_back_hides_no_start(meeting: Meeting) -> None:
    """Ann's stop and start come in this order, whatever the clock says of them."""
    meeting.at(3600)
    meeting.claim("ann", INACTIVE)
    meeting.step_back(3600)
    meeting.claim("ann", ACTIVE)
    assert [change for _, change in meeting.told] == [STARTED]
    assert meeting.last.fact.at == moment(3600)


def test_pauses_on_a_clients_word_alone_are_bounded(meeting: Meeting) -> None:
    """Everyone is told of each: after twenty a minute the next waits, and then what was said last is told."""
    meeting.claim("ann", ACTIVE)
    for turn in range(61):
        meeting.at(1 + turn / 2)
        meeting.claim("ann", PAUSED if turn % 2 == 0 else ACTIVE)
    assert len(meeting.told) == 1 + 20
    assert meeting.told[-1][1] == RESUMED
    meeting.at(61)
    assert meeting.told[-1] == (61, PAUSE)


def test_an_authoritys_pause_is_told_in_any_flurry(meeting: Meeting) -> None:
    """The bound is for clients."""
    meeting.claim("ann", ACTIVE)
    for turn in range(40):
        meeting.at(1 + turn / 4)
        meeting.claim("ann", PAUSED if turn % 2 == 0 else ACTIVE)
    meeting.claim(OPERATOR, PAUSED)
    assert meeting.told[-1][1] == PAUSE
