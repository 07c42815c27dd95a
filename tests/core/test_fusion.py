"""Fusion: each rule of the contract's paragraph, with exact times."""

from __future__ import annotations

from datetime import timedelta

import pytest

from gateway.core import facts
from gateway.core.fusion import Verdict
from gateway.core.types import State
from tests.core.meeting import (
    ACTIVE,
    AUTHORITIES,
    AUTOMATION,
    FAILED,
    GRAPH,
    INACTIVE,
    OPERATOR,
    PAUSE,
    PAUSED,
    RECORDING,
    STARTED,
    STOPPED,
    T0,
    TRANSCRIPTION,
    UNKNOWN,
    Meeting,
)


@pytest.fixture
def meeting() -> Meeting:
    """Ann and Bob are in the call."""
    fresh = Meeting()
    fresh.join("ann")
    fresh.join("bob")
    return fresh


# Opening


@pytest.mark.parametrize("source", [*AUTHORITIES, "ann", "somebody nobody knows"])
def test_the_first_active_claim_from_anyone_opens_an_episode_at_once(meeting: Meeting, source: str) -> None:
    """Fail towards telling: whoever says it, and without any wait."""
    meeting.claim(source, ACTIVE)
    assert meeting.told == [(0, STARTED)]
    assert meeting.state() is ACTIVE


@pytest.mark.parametrize("state", [PAUSED, INACTIVE, UNKNOWN])
def test_nothing_else_opens_an_episode(meeting: Meeting, state: State) -> None:
    """Only `active` does; the end of something nobody began is nothing to tell."""
    meeting.claim(OPERATOR, state)
    meeting.claim("ann", state)
    meeting.at(120)
    assert meeting.told == []
    assert meeting.state() is INACTIVE


def test_peer_bug_12_one_start_is_announced_once(meeting: Meeting) -> None:
    """However many sources report one start, in whatever order, and however often, it is told once."""
    for seconds, source in enumerate(["ann", GRAPH, "bob", AUTOMATION, OPERATOR, "ann", GRAPH]):
        meeting.at(seconds)
        meeting.claim(source, ACTIVE)
    assert meeting.told == [(0, STARTED)]
    assert len(meeting.call.episodes) == 1


def test_capabilities_do_not_touch_each_other(meeting: Meeting) -> None:
    """A claim is about one capability."""
    meeting.claim(OPERATOR, ACTIVE, capability=TRANSCRIPTION)
    meeting.claim(OPERATOR, INACTIVE, capability=RECORDING)
    assert meeting.state(TRANSCRIPTION) is ACTIVE
    assert meeting.state(RECORDING) is INACTIVE
    assert meeting.told == [(0, STARTED)]


def test_an_event_of_thirty_days_ago_still_counts(meeting: Meeting) -> None:
    """Exactly thirty days are not too old."""
    assert meeting.claim(OPERATOR, ACTIVE, occurred=T0 - timedelta(days=30)) is Verdict.COUNTED
    assert meeting.told == [(0, STARTED)]


def test_an_event_older_than_thirty_days_announces_nothing(meeting: Meeting) -> None:
    """A millisecond more is too old: nothing is told and nothing is recorded of the call."""
    before = list(meeting.recorded)
    verdict = meeting.claim(OPERATOR, ACTIVE, occurred=T0 - timedelta(days=30, milliseconds=1))
    assert verdict is Verdict.LATE
    assert meeting.told == []
    assert meeting.recorded == before


# Staying open


def test_an_episode_stays_open_while_any_active_claim_stands(meeting: Meeting) -> None:
    """One claim is enough, whoever else says that it is over."""
    meeting.claim("ann", ACTIVE)
    meeting.claim("bob", ACTIVE)
    meeting.at(1)
    meeting.claim("bob", INACTIVE)
    meeting.at(3600)
    assert meeting.told == [(0, STARTED)]


def test_an_episode_stays_open_while_a_paused_claim_stands(meeting: Meeting) -> None:
    """Paused is on."""
    meeting.claim("ann", ACTIVE)
    meeting.claim("bob", PAUSED)
    meeting.at(1)
    meeting.claim("ann", INACTIVE)
    meeting.at(3600)
    assert meeting.told == [(0, STARTED), (1, PAUSE)]
    assert meeting.state() is PAUSED


def test_silence_never_stops_anything(meeting: Meeting) -> None:
    """A day without a word changes nothing while the reporter is there."""
    meeting.claim("ann", ACTIVE)
    meeting.at(86_400)
    assert meeting.told == [(0, STARTED)]
    assert meeting.state() is ACTIVE


def test_each_source_has_one_standing_claim(meeting: Meeting) -> None:
    """The newest word of a source replaces its earlier one, so one withdrawal is enough."""
    for seconds, state in enumerate([ACTIVE, PAUSED, ACTIVE]):
        meeting.at(seconds)
        meeting.claim("ann", state)
    meeting.claim("ann", INACTIVE)
    meeting.at(12)
    assert meeting.told[-1] == (12, STOPPED)


# Withdrawing


def test_a_clients_inactive_withdraws_only_its_own_claim(meeting: Meeting) -> None:
    """Client SDKs report false stops: an authority's claim and another client's stay."""
    meeting.claim(GRAPH, ACTIVE)
    meeting.claim("ann", ACTIVE)
    meeting.at(5)
    meeting.claim("ann", INACTIVE)
    meeting.claim("bob", INACTIVE)
    meeting.at(60)
    assert meeting.told == [(0, STARTED)]


def test_an_authoritys_inactive_withdraws_its_own_and_every_clients(meeting: Meeting) -> None:
    """It stops at once, ten seconds are not waited."""
    meeting.claim("ann", ACTIVE)
    meeting.claim("bob", PAUSED)
    meeting.claim(GRAPH, ACTIVE)
    meeting.at(5)
    meeting.claim(GRAPH, INACTIVE)
    assert meeting.told == [(0, STARTED), (5, STOPPED)]


def test_an_authority_that_never_claimed_withdraws_the_clients_claims_too(meeting: Meeting) -> None:
    """What counts is that it is an authority."""
    meeting.claim("ann", ACTIVE)
    meeting.at(5)
    meeting.claim(OPERATOR, INACTIVE)
    assert meeting.told == [(0, STARTED), (5, STOPPED)]


def test_an_authoritys_inactive_leaves_a_clients_later_claim(meeting: Meeting) -> None:
    """Only claims made before it fall: a stop that arrives late does not undo a newer start."""
    meeting.claim(GRAPH, ACTIVE)
    meeting.at(10)
    meeting.claim("ann", ACTIVE)
    meeting.at(11)
    assert meeting.claim(GRAPH, INACTIVE, occurred=9.999) is Verdict.CONTRADICTED
    meeting.at(3600)
    assert meeting.told == [(0, STARTED)]


def test_an_authoritys_inactive_withdraws_a_clients_claim_of_the_same_moment(meeting: Meeting) -> None:
    """The boundary belongs to the authority."""
    meeting.claim("ann", ACTIVE)
    meeting.claim(GRAPH, INACTIVE, occurred=0)
    assert meeting.told == [(0, STARTED), (0, STOPPED)]


def test_an_authoritys_inactive_leaves_another_authoritys_claim(meeting: Meeting) -> None:
    """Authorities do not speak for each other; that they contradict each other is recorded."""
    meeting.claim(GRAPH, ACTIVE)
    meeting.claim(AUTOMATION, ACTIVE)
    meeting.claim("ann", ACTIVE)
    meeting.at(1)
    assert meeting.claim(GRAPH, INACTIVE) is Verdict.CONTRADICTED
    meeting.at(3600)
    assert meeting.told == [(0, STARTED)]
    meeting.claim(AUTOMATION, INACTIVE)
    assert meeting.told[-1] == (3600, STOPPED)


def test_an_authority_that_fails_ends_the_episode_as_failed(meeting: Meeting) -> None:
    """`failed` is told instead of `stopped`."""
    meeting.claim(AUTOMATION, ACTIVE)
    meeting.at(3)
    meeting.claim(AUTOMATION, INACTIVE, failed=True)
    assert meeting.told == [(0, STARTED), (3, FAILED)]


def test_a_failure_does_not_colour_the_next_end(meeting: Meeting) -> None:
    """Each end is told as what it is."""
    meeting.claim(AUTOMATION, ACTIVE)
    meeting.claim(AUTOMATION, INACTIVE, failed=True, occurred=0)
    meeting.at(1)
    meeting.claim(AUTOMATION, ACTIVE)
    meeting.at(2)
    meeting.claim(AUTOMATION, INACTIVE)
    assert [change for _, change in meeting.told] == [STARTED, FAILED, STARTED, STOPPED]


# Ten seconds


def test_a_clients_stop_is_told_after_exactly_ten_seconds(meeting: Meeting) -> None:
    """Not a millisecond earlier."""
    meeting.claim("ann", ACTIVE)
    meeting.at(5)
    meeting.claim("ann", INACTIVE)
    meeting.at(14.999)
    assert meeting.told == [(0, STARTED)]
    assert meeting.state() is ACTIVE
    meeting.at(15)
    assert meeting.told == [(0, STARTED), (15, STOPPED)]


@pytest.mark.parametrize("state", [ACTIVE, PAUSED])
def test_a_new_claim_within_ten_seconds_keeps_the_episode(meeting: Meeting, state: State) -> None:
    """Anyone's will do, and nothing is announced as started anew."""
    meeting.claim("ann", ACTIVE)
    meeting.claim("ann", INACTIVE)
    meeting.at(9.999)
    meeting.claim("bob", state)
    meeting.at(3600)
    assert STOPPED not in [change for _, change in meeting.told]
    assert len(meeting.call.episodes) == 1


def test_saying_inactive_again_does_not_put_the_stop_off(meeting: Meeting) -> None:
    """Ten seconds without a new claim are ten seconds, however often it is denied meanwhile."""
    meeting.claim("ann", ACTIVE)
    meeting.claim("ann", INACTIVE)
    for seconds in (3, 6, 9):
        meeting.at(seconds)
        meeting.claim("ann", INACTIVE)
        meeting.claim("bob", INACTIVE)
    meeting.at(10)
    assert meeting.told == [(0, STARTED), (10, STOPPED)]


def test_an_authority_ends_the_wait(meeting: Meeting) -> None:
    """A client's stop that an authority confirms is told at once."""
    meeting.claim("ann", ACTIVE)
    meeting.claim("ann", INACTIVE)
    meeting.at(4)
    meeting.claim(GRAPH, INACTIVE)
    assert meeting.told == [(0, STARTED), (4, STOPPED)]


def test_peer_bug_11_false_flap_on_leave(meeting: Meeting) -> None:
    """A leaving client's SDK says off and on again: nobody is told of a stop that never was."""
    meeting.claim("ann", ACTIVE)
    meeting.at(60)
    meeting.claim("ann", INACTIVE)
    meeting.at(60.2)
    meeting.claim("ann", ACTIVE)
    meeting.leave("ann")
    meeting.at(61)
    meeting.claim("bob", ACTIVE)
    meeting.at(3600)
    assert meeting.told == [(0, STARTED)]


def test_peer_bug_11_a_leaving_client_stops_nothing_that_others_see(meeting: Meeting) -> None:
    """`false` from who leaves takes back no more than what it had said."""
    meeting.claim("ann", ACTIVE)
    meeting.claim("bob", ACTIVE)
    meeting.at(60)
    meeting.claim("ann", INACTIVE)
    meeting.leave("ann")
    meeting.at(3600)
    assert meeting.told == [(0, STARTED)]


# Lapsing


@pytest.mark.parametrize("reason", ["left", "disconnected", "slow"])
def test_a_clients_claim_lapses_ten_seconds_after_it_is_gone(meeting: Meeting, reason: str) -> None:
    """Not earlier; and it is shown as unknown, never announced as stopped."""
    meeting.claim("ann", ACTIVE)
    meeting.at(5)
    meeting.lose("ann", reason=reason)
    meeting.at(14.999)
    assert meeting.state() is ACTIVE
    meeting.at(15)
    assert meeting.state() is UNKNOWN
    meeting.at(3600)
    assert meeting.told == [(0, STARTED)]
    assert meeting.state() is UNKNOWN


def test_who_comes_back_within_ten_seconds_keeps_the_claim(meeting: Meeting) -> None:
    """A dropped connection is no word about the recording."""
    meeting.claim("ann", ACTIVE)
    meeting.lose("ann")
    meeting.at(9.999)
    meeting.join("ann", "s-again")
    meeting.at(60)
    assert meeting.state() is ACTIVE
    assert meeting.of_kind(facts.ClaimLapsed) == []


def test_a_lapse_counts_from_the_lost_connection_not_from_what_a_roster_says_later(meeting: Meeting) -> None:
    """Disconnected is gone, even if the roster ceases to name her some seconds after."""
    meeting.roster(["ann", "bob"], 1)
    meeting.claim("ann", ACTIVE)
    meeting.lose("ann")
    meeting.at(5)
    meeting.roster(["bob"], 2)
    meeting.at(9.999)
    assert meeting.state() is ACTIVE
    meeting.at(10)
    assert meeting.state() is UNKNOWN


def test_one_of_two_devices_is_enough_to_keep_a_claim(meeting: Meeting) -> None:
    """A participant is gone when the last session is."""
    meeting.join("ann", "s-second")
    meeting.claim("ann", ACTIVE)
    meeting.lose("ann")
    meeting.at(60)
    assert meeting.state() is ACTIVE


def test_an_authoritys_claim_never_lapses(meeting: Meeting) -> None:
    """Authorities have no connection to lose, and everyone may leave."""
    meeting.claim(GRAPH, ACTIVE)
    meeting.leave("ann")
    meeting.leave("bob")
    meeting.at(3600)
    assert meeting.state() is ACTIVE


def test_an_unknown_state_is_over_with_the_next_active(meeting: Meeting) -> None:
    """It is the same episode, and nobody is told twice; the refreshed state shows it."""
    meeting.claim("ann", ACTIVE)
    meeting.leave("ann")
    meeting.at(100)
    revision = meeting.call.revision
    meeting.claim("bob", ACTIVE)
    assert meeting.state() is ACTIVE
    assert meeting.told == [(0, STARTED)]
    assert meeting.call.revision == revision + 1
    assert meeting.refreshed[-1] == 100


def test_an_unknown_state_ends_with_an_authoritys_inactive(meeting: Meeting) -> None:
    """At once."""
    meeting.claim("ann", ACTIVE)
    meeting.leave("ann")
    meeting.at(100)
    meeting.claim(GRAPH, INACTIVE)
    assert meeting.told == [(0, STARTED), (100, STOPPED)]


def test_an_unknown_state_ends_ten_seconds_after_a_clients_inactive(meeting: Meeting) -> None:
    """A client's word alone waits for a contradiction here too."""
    meeting.claim("ann", ACTIVE)
    meeting.leave("ann")
    meeting.at(100)
    meeting.claim("bob", INACTIVE)
    meeting.at(109.999)
    assert meeting.told == [(0, STARTED)]
    meeting.at(110)
    assert meeting.told == [(0, STARTED), (110, STOPPED)]


def test_an_unknown_state_ends_with_the_call(meeting: Meeting) -> None:
    """What was on is told as stopped when everything is over."""
    meeting.claim("ann", ACTIVE)
    meeting.leave("ann")
    meeting.at(100)
    meeting.end()
    assert meeting.told == [(0, STARTED), (100, STOPPED)]


def test_a_lapse_after_somebody_said_inactive_is_a_stop(meeting: Meeting) -> None:
    """Claims did not only lapse: Bob had said that it is off, so ten seconds later it is."""
    meeting.claim("ann", ACTIVE)
    meeting.claim("bob", INACTIVE)
    meeting.leave("ann")
    meeting.at(19.999)
    assert meeting.told == [(0, STARTED)]
    meeting.at(20)
    assert meeting.told == [(0, STARTED), (20, STOPPED)]


def test_a_client_that_no_longer_knows_withdraws_without_denying(meeting: Meeting) -> None:
    """`unknown` is no `inactive`."""
    meeting.claim("ann", ACTIVE)
    meeting.claim("ann", UNKNOWN)
    meeting.at(3600)
    assert meeting.state() is UNKNOWN
    assert meeting.told == [(0, STARTED)]


# After an authority's stop


def stopped_by_authority(meeting: Meeting) -> None:
    """Ann said active, and Graph stopped it at 5 s."""
    meeting.claim("ann", ACTIVE)
    meeting.at(5)
    meeting.claim(GRAPH, INACTIVE)


def test_a_client_that_repeats_itself_does_not_reopen(meeting: Meeting) -> None:
    """After an authority's stop the SDK that still says active is contradicted, not believed."""
    stopped_by_authority(meeting)
    meeting.at(200)
    assert meeting.claim("ann", ACTIVE) is Verdict.REPEATED
    meeting.at(3600)
    assert meeting.told == [(0, STARTED), (5, STOPPED)]


def test_the_contradiction_is_recorded_at_once_and_then_once_a_minute(meeting: Meeting) -> None:
    """Contradictions are recorded, but a client cannot fill the ledger with them."""
    stopped_by_authority(meeting)
    verdicts = []
    for seconds in (6, 7, 65.999, 66):
        meeting.at(seconds)
        verdicts.append(meeting.claim("ann", ACTIVE))
    assert verdicts == [Verdict.REPEATED, Verdict.SAME, Verdict.SAME, Verdict.REPEATED]
    noted = [fact.verdict for fact in meeting.recorded if isinstance(fact, facts.ObservationMade)]
    assert noted == ["counted", "counted", "repeated", "repeated"]


@pytest.mark.parametrize("between", [INACTIVE, UNKNOWN, PAUSED])
def test_a_client_reopens_by_going_from_not_active_to_active(meeting: Meeting, between: State) -> None:
    """That is news, a minute after its last."""
    stopped_by_authority(meeting)
    meeting.at(70)
    meeting.claim("ann", between)
    meeting.at(71)
    meeting.claim("ann", ACTIVE)
    assert meeting.told == [(0, STARTED), (5, STOPPED), (71, STARTED)]


def test_another_client_reopens_at_once(meeting: Meeting) -> None:
    """Bob had not claimed anything: his claim is new."""
    stopped_by_authority(meeting)
    meeting.at(6)
    meeting.claim("bob", ACTIVE)
    assert meeting.told[-1] == (6, STARTED)


def test_the_authority_reopens_at_once(meeting: Meeting) -> None:
    """No rule holds back an authority."""
    stopped_by_authority(meeting)
    meeting.at(5.001)
    meeting.claim(GRAPH, ACTIVE)
    assert meeting.told[-1] == (5.001, STARTED)


def test_in_an_episode_that_others_opened_a_repeated_claim_stands_again(meeting: Meeting) -> None:
    """The rule is about reopening: while it is on, who says active keeps it on."""
    stopped_by_authority(meeting)
    meeting.at(70)
    meeting.claim("bob", ACTIVE)
    meeting.at(71)
    assert meeting.claim("ann", ACTIVE) is Verdict.COUNTED
    meeting.claim("bob", INACTIVE)
    meeting.at(3600)
    assert [change for _, change in meeting.told] == [STARTED, STOPPED, STARTED]
