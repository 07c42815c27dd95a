"""Merging: a call that opened under an alias becomes part of another, and is folded the same way again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from gateway.core import facts
from gateway.core.call import Call
from gateway.core.presence import Phase
from gateway.core.types import CallKey, Level
from tests.core.covered import cover
from tests.core.meeting import (
    ACTIVE,
    GRAPH,
    INACTIVE,
    OPERATOR,
    PAUSED,
    RECORDING,
    STARTED,
    STOPPED,
    UNKNOWN,
    Ids,
    Meeting,
    moment,
    refold,
)
from tests.core.same import remembered

ALIAS = CallKey("contoso", "server-call-id")


@pytest.fixture
def meetings() -> tuple[Meeting, Meeting]:
    """The meeting, with Ann in it, and what is known of it under an alias, with Bob."""
    ids = Ids()
    target, source = Meeting(ids=ids), Meeting(ALIAS, ids=ids)
    target.join("ann")
    source.join("bob")
    return target, source


def merge(target: Meeting, source: Meeting) -> None:
    """Merge, and hold the fold of all facts against what is live, with everybody's name and with nobody's."""
    target.merge(source)
    assert remembered(refold(target.call, target.recorded)) == remembered(target.call)
    assert shown(refold(target.call, shredded(target.recorded))) == shown(target.call)


def shredded(recorded: Iterable[facts.AnyFact]) -> list[facts.AnyFact]:
    """The facts as they are read back once everybody in them is erased."""
    return [
        msgspec.structs.replace(fact, participant=None, name=None) if isinstance(fact, facts.PresenceOpened) else fact
        for fact in recorded
    ]


def before(recorded: Iterable[facts.AnyFact]) -> list[facts.AnyFact]:
    """The facts as they were written before a merger said who is one person."""
    return [
        msgspec.structs.replace(fact, same=None, united=None) if isinstance(fact, facts.CallMerged) else fact
        for fact in recorded
    ]


def shown(call: Call) -> list[Any]:
    """Coverage at every level, without names."""
    return [
        (
            each.notice.id,
            each.owed,
            each.proved,
            {(gap.presence, gap.reason, gap.since, gap.exposure) for gap in each.gaps},
        )
        for level in Level
        for each in cover(call, level, call.clock)
    ]


def test_everyone_and_everything_of_both_is_there(meetings: tuple[Meeting, Meeting]) -> None:
    """Nothing of either is lost."""
    target, source = meetings
    source.claim(GRAPH, ACTIVE)
    merge(target, source)
    assert {each.participant for each in target.call.open_presences()} == {
        each.presence(name).participant for each, name in ((target, "ann"), (source, "bob"))
    }
    assert target.state() is ACTIVE
    assert set(target.gaps()) == {"ann", "bob"}


def test_the_revision_is_newer_than_both(meetings: tuple[Meeting, Meeting]) -> None:
    """So that no client drops what it is told next."""
    target, source = meetings
    for state in (ACTIVE, PAUSED, ACTIVE):
        source.claim(GRAPH, state)
    target.claim(OPERATOR, ACTIVE)
    merge(target, source)
    assert target.call.revision == 4
    assert target.refreshed == [0]


def test_of_two_open_episodes_the_earlier_is_kept(meetings: tuple[Meeting, Meeting]) -> None:
    """One start was one too many; nobody is told of a stop."""
    target, source = meetings
    source.claim(GRAPH, ACTIVE)
    kept = source.last.fact.episode
    target.at(5)
    target.claim("ann", ACTIVE)
    merge(target, source)
    assert target.call.tracks[RECORDING].episode == kept
    assert [each.id for each in target.call.episodes.values() if each.ended_at is None] == [kept]
    assert STOPPED not in [change for _, change in target.told]


def test_the_claims_of_both_keep_it_open(meetings: tuple[Meeting, Meeting]) -> None:
    """Ann takes hers back, Graph's stands."""
    target, source = meetings
    source.claim(GRAPH, ACTIVE)
    target.at(5)
    target.claim("ann", ACTIVE)
    merge(target, source)
    target.claim("ann", INACTIVE)
    target.at(3600)
    assert target.state() is ACTIVE
    target.claim(GRAPH, INACTIVE)
    assert target.told[-1] == (3600, STOPPED)


@pytest.mark.parametrize("states", [(ACTIVE, PAUSED), (ACTIVE, UNKNOWN)])
def test_what_is_shown_stays_as_it_was(meetings: tuple[Meeting, Meeting], states: tuple[str, str]) -> None:
    """Paused stays paused, unknown unknown; nothing is told again."""
    target, source = meetings
    for state in states:
        source.claim("bob", type(ACTIVE)(state))
    merge(target, source)
    assert target.state() == states[1]
    target.at(60)
    assert target.state() == states[1]
    assert target.told == []


def test_a_stop_that_settles_goes_on_settling(meetings: tuple[Meeting, Meeting]) -> None:
    """Its ten seconds are not begun anew."""
    target, source = meetings
    source.claim("bob", ACTIVE)
    source.claim("bob", INACTIVE)
    source.at(5)
    target.at(5)
    merge(target, source)
    target.at(9.999)
    assert target.told == []
    target.at(10)
    assert target.told == [(10, STOPPED)]


def test_the_earlier_end_of_one_does_not_stop_the_other(meetings: tuple[Meeting, Meeting]) -> None:
    """An authority's stop in one call says nothing of a later start in the other."""
    target, source = meetings
    target.claim(OPERATOR, ACTIVE)
    target.claim(OPERATOR, INACTIVE)
    source.at(5)
    source.claim("bob", ACTIVE)
    source.claim("bob", UNKNOWN)
    target.at(5)
    merge(target, source)
    target.at(3600)
    assert target.state() is UNKNOWN
    assert [change for _, change in target.told] == [STARTED, STOPPED]


def test_a_call_that_had_ended_ends_nothing(meetings: tuple[Meeting, Meeting]) -> None:
    """The alias's run is over; the meeting is not, live or after a restart."""
    target, source = meetings
    target.claim("ann", ACTIVE)
    source.at(5)
    source.end()
    target.at(6)
    merge(target, source)
    assert not target.call.ended
    assert not refold(target.call, target.recorded).ended
    assert target.state() is ACTIVE


def test_whoever_is_in_both_is_there_once(meetings: tuple[Meeting, Meeting]) -> None:
    """By the presence that began first, with all sessions."""
    target, source = meetings
    target.at(5)
    target.join("bob", "s-other")
    source.claim(GRAPH, ACTIVE)
    merge(target, source)
    assert target.covered().owed == 2
    assert set(target.presence("bob").sessions) == {"s-bob", "s-other"}
    assert target.presence("bob").opened_at == moment(0)


def test_whoever_is_in_both_is_gone_when_both_sessions_are(meetings: tuple[Meeting, Meeting]) -> None:
    """No half of anybody stays behind."""
    target, source = meetings
    target.join("bob", "s-other")
    merge(target, source)
    target.lose("bob", "s-bob")
    assert target.presence("bob").phase is Phase.CONNECTED
    target.lose("bob", "s-other", "left")
    target.at(1)
    target.claim(GRAPH, ACTIVE)
    assert set(target.gaps()) == {"ann"}
    assert remembered(refold(target.call, target.recorded)) == remembered(target.call)


def test_what_one_proved_in_either_is_proved(meetings: tuple[Meeting, Meeting]) -> None:
    """Before and after the merger, for the one person."""
    target, source = meetings
    target.join("bob", "s-other")
    source.claim(GRAPH, ACTIVE)
    source.sent("bob")
    source.prove("bob", Level.RECEIVED)
    notice = source.last
    merge(target, source)
    assert set(target.gaps(notice, Level.RECEIVED)) == {"ann"}
    assert set(target.gaps(notice, Level.SENT)) == {"ann"}
    target.prove("bob", Level.ACKNOWLEDGED, notice)
    assert set(target.gaps(notice)) == {"ann"}


def test_an_ack_that_waits_for_the_disk_during_the_merger_counts_when_it_is_there(
    meetings: tuple[Meeting, Meeting],
) -> None:
    """Its commit comes back to the call it was made in."""
    target, source = meetings
    target.join("bob", "s-other")
    source.claim(GRAPH, ACTIVE)
    notice = source.last
    source.failing = True
    source.prove("bob")
    target.merge(source)
    assert target.reasons(notice)["bob"] == "unrecorded"
    source.commit()
    assert set(target.gaps(notice)) == {"ann"}


def test_somebody_who_left_one_and_is_in_the_other_is_one_person(meetings: tuple[Meeting, Meeting]) -> None:
    """Two presences, and what the person proved counts for both."""
    target, source = meetings
    source.claim(GRAPH, ACTIVE)
    source.prove("bob")
    source.at(2)
    source.leave("bob")
    target.at(5)
    target.join("bob", "s-other")
    merge(target, source)
    covered = target.covered()
    assert (covered.owed, covered.proved) == (3, 2)
    assert target.presence("bob").open


def test_a_claim_moves_with_its_person(meetings: tuple[Meeting, Meeting]) -> None:
    """What Bob said in one call he withdraws in the other."""
    target, source = meetings
    source.claim("bob", ACTIVE)
    target.join("bob", "s-other")
    target.at(1)
    source.at(1)
    merge(target, source)
    target.claim("bob", INACTIVE)
    target.at(11)
    assert target.told[-1] == (11, STOPPED)


def test_mergers_of_mergers_are_folded_the_same_way(meetings: tuple[Meeting, Meeting]) -> None:
    """An alias of an alias."""
    target, source = meetings
    first = Meeting(CallKey("contoso", "group-id"), ids=target.ids)
    first.join("bob", "s-first")
    first.claim(OPERATOR, ACTIVE)
    source.at(1)
    source.claim(GRAPH, ACTIVE)
    source.at(2)
    source.merge(first)
    target.at(3)
    merge(target, source)
    assert len(target.call.open_presences()) == 2
    assert target.state() is ACTIVE


def test_merging_brings_an_ended_call_back_and_keeps_what_is_on(meetings: tuple[Meeting, Meeting]) -> None:
    """The name was given late; what goes on under the alias goes on."""
    target, source = meetings
    target.end()
    source.at(5)
    source.claim(GRAPH, ACTIVE)
    target.at(6)
    merge(target, source)
    assert not target.call.ended
    assert target.state() is ACTIVE


def test_the_ledger_says_what_became_part_of_what(meetings: tuple[Meeting, Meeting]) -> None:
    """One fact."""
    target, source = meetings
    merge(target, source)
    (fact,) = target.of_kind(facts.CallMerged)
    assert isinstance(fact, facts.CallMerged)
    assert (fact.call, fact.source) == (target.call.key, "server-call-id")
    assert (fact.same, fact.united) == ((), ())


def twice(target: Meeting, source: Meeting) -> facts.CallMerged:
    """Bob, who is in the source, comes into the target too; then one becomes part of the other."""
    target.at(1)
    source.at(1)
    target.join("bob", "s-other")
    source.claim(GRAPH, ACTIVE)
    source.prove("bob")
    target.merge(source)
    (fact,) = target.of_kind(facts.CallMerged)
    assert isinstance(fact, facts.CallMerged)
    return fact


def test_a_merger_says_by_presence_who_is_one_person(meetings: tuple[Meeting, Meeting]) -> None:
    """Their name there and here, and which of the two presences became part of which."""
    target, source = meetings
    theirs = source.presence("bob").id
    fact = twice(target, source)
    (ours,) = [each.presence for each in target.recorded if isinstance(each, facts.PresenceOpened)][2:]
    assert fact.same == ((theirs, ours),)
    assert fact.united == ((ours, theirs),)
    assert target.covered().owed == 2


def test_a_merger_of_before_is_folded_by_names(meetings: tuple[Meeting, Meeting]) -> None:
    """An entry that lacks both fields is older than they are."""
    target, source = meetings
    twice(target, source)
    again = refold(target.call, before(target.recorded))
    assert remembered(again) == remembered(target.call)


def test_a_merger_of_before_unites_nobody_whose_name_is_gone(meetings: tuple[Meeting, Meeting]) -> None:
    """Then the same person counts twice: a gap too many, never one too few."""
    target, source = meetings
    twice(target, source)
    again = refold(target.call, shredded(before(target.recorded)))
    (covered,) = cover(again, Level.ACKNOWLEDGED, target.now)
    assert (covered.owed, covered.proved) == (3, 1)


def test_names_unite_nobody_whom_the_merger_did_not(meetings: tuple[Meeting, Meeting]) -> None:
    """What was recorded counts, whatever the boxes say now."""
    target, source = meetings
    twice(target, source)
    apart = [
        msgspec.structs.replace(each, same=(), united=()) if isinstance(each, facts.CallMerged) else each
        for each in target.recorded
    ]
    (covered,) = cover(refold(target.call, apart), Level.ACKNOWLEDGED, target.now)
    assert covered.owed == 3


@pytest.mark.parametrize("united", [("p_none", "p_0001"), ("p_0001", "p_none"), ("p_0001", "p_0001")])
def test_a_pair_that_names_no_two_presences_changes_nothing(
    meetings: tuple[Meeting, Meeting], united: tuple[str, str]
) -> None:
    """An entry can be wrong; reading a call back never fails for it."""
    target, source = meetings
    source.claim(GRAPH, ACTIVE)
    merge(target, source)
    wrong = [
        msgspec.structs.replace(each, same=(("p_none", "p_0001"),), united=(united,))
        if isinstance(each, facts.CallMerged)
        else each
        for each in target.recorded
    ]
    assert shown(refold(target.call, wrong)) == shown(target.call)


def test_who_became_part_of_one_that_is_absorbed_is_part_of_the_whole(meetings: tuple[Meeting, Meeting]) -> None:
    """Bob is in three calls that are one: he is counted once."""
    target, source = meetings
    first = Meeting(CallKey("contoso", "group-id"), ids=target.ids)
    first.at(1)
    first.join("bob", "s-first")
    source.at(2)
    source.merge(first)
    target.join("bob", "s-other")
    target.at(3)
    target.claim(GRAPH, ACTIVE)
    merge(target, source)
    assert target.covered().owed == 2
    assert set(target.presence("bob").sessions) == {"s-bob", "s-first", "s-other"}


def test_a_merger_is_never_before_what_it_unites() -> None:
    """When the clock was set back, the source's facts are ahead: the merger and all that follows come after them."""
    ids = Ids()
    target, source = Meeting(ids=ids), Meeting(ALIAS, ids=ids)
    source.at(7200)
    source.join("bob")
    source.claim(OPERATOR, ACTIVE)
    target.join("ann")
    merge(target, source)
    target.prove("bob")
    (merged,) = target.of_kind(facts.CallMerged)
    assert merged.at == source.call.clock
    assert target.recorded[-1].at == merged.at
