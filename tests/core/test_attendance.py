"""Attendance: sessions and rosters, in any order, make one presence per participant."""

from __future__ import annotations

from datetime import timedelta

import pytest

from gateway.core import attendance, facts
from gateway.core.presence import Phase
from gateway.core.types import Person, Role
from tests.core.meeting import ACTIVE, GRAPH, Meeting, moment, raw_id


@pytest.fixture
def meeting() -> Meeting:
    """Nobody is in the call yet."""
    return Meeting()


def here(meeting: Meeting) -> set[str]:
    """Who is in the call, by short name."""
    return {str(presence.participant).rpartition("_")[2] for presence in meeting.call.open_presences()}


# Sessions


def test_a_join_opens_the_call_the_presence_and_the_session(meeting: Meeting) -> None:
    """In this order, so that the ledger can be read alone."""
    meeting.join("ann")
    assert [type(fact) for fact in meeting.recorded] == [
        facts.CallOpened,
        facts.PresenceOpened,
        facts.SessionJoined,
    ]


def test_joining_twice_is_joining_once(meeting: Meeting) -> None:
    """The same session again records nothing."""
    meeting.join("ann")
    before = list(meeting.recorded)
    meeting.join("ann")
    assert meeting.recorded == before


def test_two_sessions_of_one_participant_are_one_presence(meeting: Meeting) -> None:
    """Each session is named, the presence is one."""
    assert meeting.join("ann", "s1") is meeting.join("ann", "s2")
    assert len(meeting.of_kind(facts.SessionJoined)) == 2
    meeting.lose("ann", "s1", "left")
    assert here(meeting) == {"ann"}


def test_who_leaves_is_out_at_once(meeting: Meeting) -> None:
    """On their own word."""
    meeting.join("ann")
    meeting.at(5)
    meeting.leave("ann")
    ann = meeting.presence("ann")
    assert (ann.closed_at, ann.closed_reason) == (moment(5), "left")


def test_a_lost_connection_ends_nothing_for_two_minutes(meeting: Meeting) -> None:
    """The person may still sit in the meeting."""
    meeting.join("ann")
    meeting.lose("ann")
    meeting.at(119.999)
    assert meeting.presence("ann").phase is Phase.AWAY
    meeting.at(120)
    assert meeting.presence("ann").closed_reason == "disconnected"


def test_who_comes_back_in_time_has_the_same_presence(meeting: Meeting) -> None:
    """One presence, and the wait of before is over."""
    before = meeting.join("ann")
    meeting.lose("ann")
    meeting.at(119)
    assert meeting.join("ann", "s2") is before
    meeting.at(1000)
    assert before.open


def test_a_second_absence_has_its_own_two_minutes(meeting: Meeting) -> None:
    """The end of the first one's does not cut it short."""
    meeting.join("ann")
    meeting.lose("ann")
    meeting.at(100)
    meeting.join("ann", "s2")
    meeting.at(110)
    meeting.lose("ann", "s2")
    meeting.at(229.999)
    assert meeting.presence("ann").open
    meeting.at(230)
    assert not meeting.presence("ann").open


def test_who_comes_back_later_is_the_same_person_in_a_new_presence(meeting: Meeting) -> None:
    """`who` joins them."""
    first = meeting.join("ann")
    meeting.leave("ann")
    meeting.at(5)
    second = meeting.join("ann", "s2")
    assert second is not first
    assert second.who == first.who == first.id


def test_peer_bug_02_an_old_connections_late_loss_leaves_the_new_session(meeting: Meeting) -> None:
    """The old socket times out after its participant has come back on a new one."""
    meeting.join("ann", "old")
    meeting.at(20)
    meeting.join("ann", "new")
    meeting.at(30)
    meeting.lose("ann", "old", "disconnected")
    meeting.at(1000)
    assert meeting.presence("ann").phase is Phase.CONNECTED
    assert set(meeting.presence("ann").sessions) == {"new"}


def test_peer_bug_02_a_loss_that_is_reported_twice_counts_once(meeting: Meeting) -> None:
    """Also after the participant has left and come again."""
    meeting.join("ann", "old")
    meeting.lose("ann", "old")
    meeting.join("ann", "new")
    before = list(meeting.recorded)
    meeting.lose("ann", "old")
    assert meeting.recorded == before
    assert meeting.presence("ann").phase is Phase.CONNECTED


def test_losing_somebody_who_is_not_there_changes_nothing(meeting: Meeting) -> None:
    """Nor does a session nobody knows."""
    meeting.lose("ann")
    meeting.join("ann")
    before = list(meeting.recorded)
    meeting.lose("ann", "another")
    meeting.lose("bob")
    assert meeting.recorded == before


def test_an_observer_who_comes_in_as_a_participant_owes_from_then_on(meeting: Meeting) -> None:
    """No silent gap behind an observer's session of the same person."""
    meeting.join("ann", "watching", Role.OBSERVER)
    meeting.claim(GRAPH, ACTIVE)
    assert meeting.covered().owed == 0
    meeting.at(5)
    meeting.join("ann", "talking")
    assert meeting.gaps()["ann"].since == moment(5)
    meeting.at(15)
    assert meeting.reasons() == {"ann": "overdue"}
    assert len(meeting.of_kind(facts.NoticeOverdue)) == 1


def test_a_participant_who_also_observes_still_owes(meeting: Meeting) -> None:
    """Taking part is not undone by a second session."""
    meeting.join("ann")
    meeting.join("ann", "watching", Role.OBSERVER)
    meeting.claim(GRAPH, ACTIVE)
    assert meeting.covered().owed == 1


# Rosters


def test_a_roster_lists_who_has_no_session(meeting: Meeting) -> None:
    """They are in the call, and cannot be reached."""
    meeting.roster(["ann", "bob"], 1, others=3)
    assert here(meeting) == {"ann", "bob"}
    assert meeting.call.others == 3
    assert not meeting.presence("ann").reached


def test_a_roster_that_no_longer_names_somebody_ends_the_presence(meeting: Meeting) -> None:
    """Where no session holds it."""
    meeting.roster(["ann", "bob"], 1)
    meeting.at(1)
    meeting.roster(["bob"], 2)
    assert here(meeting) == {"bob"}
    assert meeting.presence("ann").closed_reason == "left"


def test_a_session_outweighs_a_roster_that_does_not_name_it(meeting: Meeting) -> None:
    """Who is connected is there."""
    meeting.roster(["ann"], 1)
    meeting.join("ann")
    meeting.at(1)
    meeting.roster([], 2)
    assert here(meeting) == {"ann"}
    assert not meeting.presence("ann").listed


def test_a_roster_says_nothing_of_whom_none_has_named(meeting: Meeting) -> None:
    """Somebody known by a session only, and away, is not ended by another connection's roster."""
    meeting.join("ann")
    meeting.lose("ann")
    meeting.roster(["bob"], 1)
    assert here(meeting) == {"ann", "bob"}


@pytest.mark.parametrize("sequence", [1, 2])
def test_an_older_or_repeated_snapshot_is_not_applied(meeting: Meeting, sequence: int) -> None:
    """`sequenceNumber` orders the snapshots of a connection."""
    meeting.roster(["ann", "bob"], 2)
    before = list(meeting.recorded)
    assert not meeting.roster(["cyd"], sequence)
    assert meeting.recorded == before


def test_each_connection_counts_its_own_snapshots(meeting: Meeting) -> None:
    """A lower number of another connection is not older."""
    meeting.roster(["ann"], 9)
    meeting.at(1)
    assert meeting.roster(["ann", "bob"], 1, connection="c2")
    assert here(meeting) == {"ann", "bob"}


def test_out_of_order_snapshots_end_in_the_newest(meeting: Meeting) -> None:
    """Three, two and one arrive backwards."""
    meeting.at(10)
    meeting.roster(["cyd"], 3, occurred=3)
    meeting.roster(["bob", "cyd"], 2, occurred=2)
    meeting.roster(["ann", "bob"], 1, occurred=1)
    assert here(meeting) == {"cyd"}


def test_an_older_roster_of_another_connection_does_not_end_a_newer_listing(meeting: Meeting) -> None:
    """The newest word about somebody counts, whichever connection it came by."""
    meeting.at(10)
    meeting.roster(["ann"], 1, occurred=9)
    meeting.roster([], 5, occurred=8, connection="c2")
    assert here(meeting) == {"ann"}


def test_a_roster_that_names_somebody_again_outweighs_an_older_removal(meeting: Meeting) -> None:
    """The removal was before: Ann has come again since, and must not fall out silently."""
    meeting.roster(["ann"], 1, occurred=0)
    meeting.at(50)
    meeting.roster(["ann"], 2, occurred=50)
    meeting.at(51)
    meeting.report("ann", present=False, occurred=20)
    assert here(meeting) == {"ann"}


def test_a_roster_that_says_nothing_new_of_anybody_is_one_entry(meeting: Meeting) -> None:
    """Not one for each of a thousand people."""
    meeting.roster(["ann", "bob"], 1)
    before = len(meeting.recorded)
    meeting.at(50)
    meeting.roster(["ann", "bob"], 2)
    assert [type(fact) for fact in meeting.recorded[before:]] == [facts.RosterSeen]


def test_a_listed_presence_outlives_a_lost_connection(meeting: Meeting) -> None:
    """As long as rosters name it."""
    meeting.roster(["ann"], 1)
    meeting.join("ann")
    meeting.lose("ann")
    meeting.at(3600)
    assert here(meeting) == {"ann"}


def test_a_late_roster_of_a_call_that_is_over_is_not_applied(meeting: Meeting) -> None:
    """It speaks of the run that has ended."""
    meeting.roster(["ann"], 1)
    meeting.at(10)
    meeting.end()
    assert not meeting.roster(["bob"], 2, occurred=9)
    assert meeting.call.ended


# Single words


def test_a_single_arrival_and_departure(meeting: Meeting) -> None:
    """Events name one participant."""
    meeting.report("ann", present=True)
    assert here(meeting) == {"ann"}
    meeting.at(1)
    meeting.report("ann", present=False)
    assert here(meeting) == set()


def test_a_departure_that_overtakes_its_arrival_is_not_undone(meeting: Meeting) -> None:
    """Nobody is listed for ever because two events changed places."""
    meeting.report("ann", present=True, occurred=0)
    meeting.at(10)
    meeting.report("ann", present=False, occurred=9)
    meeting.at(11)
    meeting.report("ann", present=True, occurred=8)
    assert here(meeting) == set()


def test_a_second_word_that_somebody_is_there_outweighs_an_older_removal(meeting: Meeting) -> None:
    """Nothing changed with it, and yet it is the newest: Ann must not fall out silently."""
    meeting.report("ann", present=True, occurred=0)
    meeting.at(50)
    meeting.report("ann", present=True, occurred=50)
    meeting.at(51)
    meeting.report("ann", present=False, occurred=20)
    assert here(meeting) == {"ann"}


def test_a_removal_of_somebody_connected_outweighs_an_older_arrival(meeting: Meeting) -> None:
    """The session holds the presence; the roster's older word does not make it outlive the session."""
    meeting.join("ann")
    meeting.at(20)
    meeting.report("ann", present=False, occurred=15)
    meeting.report("ann", present=True, occurred=10)
    meeting.lose("ann")
    meeting.at(140)
    assert here(meeting) == set()


def test_somebody_vouched_for_owes_from_when_a_roster_names_them(meeting: Meeting) -> None:
    """Whose client's word others forwarded owes nothing, until they are known to sit there."""
    meeting.claim(GRAPH, ACTIVE)
    step = meeting.step()
    attendance.vouch(step, Person(raw_id("ann")), "europe")
    meeting.perform(step)
    assert meeting.covered().owed == 0
    meeting.at(5)
    meeting.roster(["ann"], 1)
    assert meeting.gaps()["ann"].since == moment(5)
    assert meeting.reasons() == {"ann": "unreachable"}


def test_an_observer_whom_a_roster_names_still_only_observes(meeting: Meeting) -> None:
    """The token says so."""
    meeting.join("eve", role=Role.OBSERVER)
    meeting.roster(["eve"], 1)
    meeting.claim(GRAPH, ACTIVE)
    assert meeting.covered().owed == 0


def test_the_departure_of_somebody_unknown_is_nothing(meeting: Meeting) -> None:
    """It makes no call and no presence."""
    meeting.report("ann", present=False)
    assert meeting.recorded == []


def test_an_arrival_older_than_somebodys_own_leaving_is_not_believed(meeting: Meeting) -> None:
    """Ann left at 10 s herself; the event of her coming is late."""
    meeting.join("ann")
    meeting.at(10)
    meeting.leave("ann")
    meeting.report("ann", present=True, occurred=10)
    assert here(meeting) == set()
    meeting.at(11)
    meeting.report("ann", present=True, occurred=10.001)
    assert here(meeting) == {"ann"}


def test_who_was_seen_after_the_connection_was_lost_is_there(meeting: Meeting) -> None:
    """Given up at 120 s, but a roster of 100 s, which is late, names her: she sat there all the time."""
    meeting.join("ann")
    meeting.lose("ann")
    meeting.at(121)
    assert here(meeting) == set()
    meeting.roster(["ann"], 1, occurred=100)
    assert here(meeting) == {"ann"}


def test_who_is_known_only_from_events_owes(meeting: Meeting) -> None:
    """As a gap that says why."""
    meeting.roster(["ann"], 1)
    meeting.claim(GRAPH, ACTIVE)
    assert meeting.reasons() == {"ann": "unreachable"}
    meeting.at(3600)
    assert meeting.reasons() == {"ann": "unreachable"}


def test_who_is_reached_later_is_not_unreachable_any_more(meeting: Meeting) -> None:
    """The same presence, now with a session."""
    meeting.roster(["ann"], 1)
    meeting.claim(GRAPH, ACTIVE)
    meeting.at(5)
    meeting.join("ann")
    assert meeting.reasons() == {"ann": "pending"}


def test_peer_bug_27_whoever_leaves_after_the_clock_stepped_back_was_there(meeting: Meeting) -> None:
    """A call's time never runs backwards: Ann saw the start and left after it, whatever the clock says."""
    meeting.at(3600)
    meeting.join("ann")
    meeting.claim(GRAPH, ACTIVE)
    meeting.at(3605)
    meeting.join("bob")
    meeting.step_back(3600)
    meeting.leave("ann")
    assert meeting.reasons()["ann"] == "left"
    assert meeting.gaps()["ann"].exposure == timedelta(seconds=5)
    assert meeting.presence("ann").participant == raw_id("ann")
