"""Erasure as a call sees it: names go, and nothing else; whoever is there is told, counted and proved as before."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from gateway.core.call import Call
from gateway.core.presence import Phase
from gateway.core.types import CallKey, Level, Role
from tests.core.meeting import (
    ACTIVE,
    GRAPH,
    INACTIVE,
    OPERATOR,
    Ids,
    Meeting,
    moment,
    raw_id,
    refold,
    stored,
)
from tests.core.same import remembered, texts_of, without_names

ALIAS = CallKey("contoso", "server-call-id")


@pytest.fixture
def meeting() -> Meeting:
    """Ann is connected, Bob left, Cyd is known from a roster; it is recorded."""
    meeting = Meeting()
    meeting.join("ann")
    meeting.join("bob")
    meeting.roster(["ann", "cyd"], 1)
    meeting.claim(OPERATOR, ACTIVE)
    meeting.at(1)
    meeting.leave("bob")
    return meeting


def read_back(meeting: Meeting) -> Call:
    """The call as the next process finds it, which must be what it was."""
    again = refold(meeting.call, stored(meeting.recorded))
    assert remembered(again, meeting.now) == remembered(meeting.call, meeting.now)
    return again


def restart(meeting: Meeting) -> None:
    """The process ends, and another goes on."""
    meeting.call = refold(meeting.call, stored(meeting.recorded))
    meeting.lose_everyone("restarted")


def named(call: Call) -> set[str]:
    """Whose raw id or name is anywhere in a call."""
    found = texts_of(call)
    return {who for who in ("ann", "bob", "cyd") if {who, raw_id(who)} & found}


@pytest.mark.parametrize("who", ["ann", "bob", "cyd"])
@pytest.mark.parametrize("lag", [-7200, 0, 7200])
def test_names_go_and_nothing_else(meeting: Meeting, who: str, lag: int) -> None:
    """Connected, gone or listed: gaps, proofs, counts, times and what is due stay, whoever dated the erasure."""
    before = without_names(meeting.call)
    owed = [(each.presence, each.reason) for each in meeting.covered().gaps]
    assert meeting.erase(who, moment(lag)) != ()
    assert without_names(meeting.call) == before
    assert [(each.presence, each.reason) for each in meeting.covered().gaps] == owed
    assert who not in meeting.gaps()
    read_back(meeting)


def test_of_who_is_gone_nothing_is_left(meeting: Meeting) -> None:
    """Neither raw id nor display name, wherever one looks."""
    assert named(meeting.call) == {"ann", "bob", "cyd"}
    meeting.erase("bob")
    assert named(meeting.call) == {"ann", "cyd"}


def test_of_who_is_there_nothing_is_left_once_they_are_not(meeting: Meeting) -> None:
    """Until then the raw id leads to what they confirm; the display name goes at once."""
    meeting.erase("ann")
    assert "ann" not in texts_of(meeting.call)
    assert meeting.call.present(raw_id("ann")) is not None
    meeting.leave("ann")
    assert named(meeting.call) == {"bob", "cyd"}


@pytest.mark.parametrize("end", ["leave", "expire", "unlist", "end"])
def test_however_they_go(meeting: Meeting, end: str) -> None:
    """By their own word, by absence, by a roster, or with the call."""
    who = "cyd" if end == "unlist" else "ann"
    meeting.erase(who)
    meeting.at(2)
    match end:
        case "leave":
            meeting.leave(who)
        case "expire":
            meeting.roster(["cyd"], 2)
            meeting.lose(who)
            meeting.at(200)
        case "unlist":
            meeting.roster(["ann"], 2)
        case "end":
            meeting.end()
    assert who not in named(meeting.call)
    assert meeting.call.present(raw_id(who)) is None
    read_back(meeting)


def test_who_was_missed_before_they_came_is_forgotten(meeting: Meeting) -> None:
    """A word that they went, which came before any that they had come, names them too."""
    meeting.report("dan", present=False, occurred=0)
    meeting.report("dan", present=True, occurred=1)
    meeting.at(2)
    meeting.report("dan", present=False)
    meeting.erase("dan")
    assert raw_id("dan") not in texts_of(meeting.call)


def test_what_a_connected_person_confirms_still_counts(meeting: Meeting) -> None:
    """Their presence proves it, and the gap closes."""
    gaps = len(meeting.covered().gaps)
    meeting.erase("ann")
    meeting.prove("ann")
    assert len(meeting.covered().gaps) == gaps - 1
    read_back(meeting)


def test_what_was_proved_before_still_counts(meeting: Meeting) -> None:
    """Proofs name a presence, and nobody."""
    meeting.prove("ann")
    proved = meeting.covered().proved
    meeting.erase("ann")
    assert meeting.covered().proved == proved
    restart(meeting)
    assert meeting.covered().proved == proved


def test_an_erased_person_is_told_of_what_begins_later(meeting: Meeting) -> None:
    """Connected or listed, they owe it like everybody else."""
    meeting.claim(OPERATOR, INACTIVE)
    meeting.erase("ann")
    meeting.erase("cyd")
    meeting.at(70)
    meeting.claim(OPERATOR, ACTIVE)
    assert [gap.participant for gap in meeting.covered().gaps] == [None, None]
    meeting.at(100)
    connected = [presence.id for presence in meeting.call.open_presences() if presence.sessions]
    assert [told for at, notice, told in meeting.resent if notice == meeting.last.id][-1] == tuple(connected)


def test_a_second_session_of_an_erased_person_is_the_same_presence(meeting: Meeting) -> None:
    """While they are there, the process knows them."""
    meeting.erase("ann")
    presence = meeting.join("ann", "s-ann-tablet")
    assert set(presence.sessions) == {"s-ann", "s-ann-tablet"}
    assert presence.participant is None


def test_who_comes_again_is_somebody_new(meeting: Meeting) -> None:
    """With a presence and a name of their own, that lead to nothing from before."""
    meeting.erase("bob")
    old = [each.who for each in meeting.call.presences.values() if each.participant is None]
    again = meeting.join("bob")
    assert again.who == again.id
    assert again.who not in old
    assert again.participant == raw_id("bob")
    read_back(meeting)


def test_after_a_restart_an_erased_presence_ends_with_its_absence(meeting: Meeting) -> None:
    """Nobody can come back as them: it is over after the time that everybody has, and its gap stays."""
    meeting.erase("ann")
    meeting.roster(["cyd"], 2)
    (presence,) = (each for each in meeting.call.open_presences() if each.participant is None)
    restart(meeting)
    meeting.at(120)
    assert meeting.call.presences[presence.id].phase is Phase.AWAY
    meeting.at(122)
    closed = meeting.call.presences[presence.id]
    assert (closed.open, closed.closed_reason) == (False, "disconnected")
    assert presence.id in [gap.presence for gap in meeting.covered().gaps]
    read_back(meeting)


def test_after_a_restart_a_roster_opens_a_second_presence(meeting: Meeting) -> None:
    """The first stays: of whom nobody can name no roster can say that they went, and nobody is lost of sight."""
    meeting.erase("cyd")
    restart(meeting)
    (first,) = (each.id for each in meeting.call.open_presences() if each.participant is None)
    meeting.at(2)
    meeting.roster(["ann", "cyd"], 2)
    second = meeting.presence("cyd")
    assert second.id != first
    meeting.at(3)
    meeting.roster(["ann"], 3)
    assert not second.open
    assert meeting.call.presences[first].open
    assert {first, second.id} <= {gap.presence for gap in meeting.covered().gaps}
    meeting.end()
    assert not meeting.call.open_presences()
    read_back(meeting)


def test_without_a_restart_a_roster_knows_an_erased_presence(meeting: Meeting) -> None:
    """It keeps whom it names and ends whom it does not, as of everybody; nobody is there twice."""
    meeting.erase("cyd")
    first = meeting.presence("cyd")
    meeting.at(2)
    meeting.roster(["ann", "cyd"], 2)
    assert meeting.presence("cyd") is first
    meeting.at(3)
    meeting.roster(["ann"], 3)
    assert (first.open, first.closed_reason) == (False, "left")
    read_back(meeting)


@pytest.mark.parametrize("restarted", [False, True])
def test_the_claim_of_an_erased_person_stands_while_they_are_there(meeting: Meeting, restarted: bool) -> None:
    """And falls away ten seconds after they went."""
    meeting.claim("ann", ACTIVE)
    meeting.claim(OPERATOR, INACTIVE)
    meeting.claim("ann", INACTIVE)
    meeting.at(70)
    meeting.claim("ann", ACTIVE)
    meeting.erase("ann")
    meeting.at(90)
    assert meeting.state() is ACTIVE
    if restarted:
        restart(meeting)
    else:
        meeting.leave("ann")
    meeting.at(99)
    assert meeting.state() is ACTIVE
    meeting.at(101)
    assert meeting.state() is not ACTIVE


def test_the_claim_of_who_left_one_call_and_is_in_the_other_stands() -> None:
    """An erased person's newest presence is the open one, whichever call it came from."""
    ids = Ids()
    target, source = Meeting(ids=ids), Meeting(ALIAS, ids=ids)
    for each in (target, source):
        each.join("ann")
        each.at(1)
    target.claim("ann", ACTIVE)
    target.leave("ann")
    target.merge(source)
    target.erase("ann")
    target.at(30)
    assert target.state() is ACTIVE


def test_whose_other_call_is_nameless_is_one_person_after_a_restart() -> None:
    """Erased in one call and known anew in the other: what comes and goes by their raw id is heard of the whole."""
    ids = Ids()
    target, source = Meeting(ids=ids), Meeting(ALIAS, ids=ids)
    source.join("ann")
    source.erase("ann")
    for each in (target, source):
        each.at(1)
    target.report("ann", present=True)
    target.merge(source)
    restart(target)
    target.join("ann")
    (presence,) = target.call.open_presences()
    assert set(presence.sessions) == {"s-ann"}
    target.leave("ann")
    assert not target.call.open_presences()


def test_erasing_nobody_changes_nothing(meeting: Meeting) -> None:
    """Who never came, or was erased before."""
    meeting.erase("bob")
    before = remembered(meeting.call)
    assert meeting.erase("bob") == meeting.erase("dan") == ()
    assert remembered(meeting.call) == before


# Calls that are merged

PEOPLE = ("ann", "bob", "cyd")
DEEDS = (
    "join",
    "join",
    "watch",
    "lose",
    "lose",
    "roster",
    "report",
    "claim",
    "prove",
    "prove",
    "restart",
    "erase",
    "wait",
)


class Both:
    """Two calls of the same people, of which one becomes part of the other, with erasures at any time."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        ids = Ids()
        self.calls = [Meeting(ids=ids), Meeting(ALIAS, ids=ids)]
        self.sequence = itertools.count(1)

    def step(self) -> None:
        """Something happens in one of them, or time passes and somebody is erased in both."""
        who = self.chance.choice(PEOPLE)
        match self.chance.choice(DEEDS):
            case "erase":
                for each in self.calls:
                    self.erase(each, who)
            case "wait":
                seconds = self.chance.choice([0.1, 1, 10, 60, 130])
                for each in self.calls:
                    each.until(each.now + timedelta(seconds=seconds))
            case deed:
                self.happen(deed, self.chance.choice(self.calls), who)

    def happen(self, deed: str, meeting: Meeting, who: str) -> None:
        """Somebody comes, goes, is told of, or says something."""
        pick, session = self.chance.choice, f"s-{who}{self.chance.choice('12')}"
        deeds: dict[str, Callable[[], object]] = {
            "join": lambda: meeting.join(who, session),
            "watch": lambda: meeting.join(who, f"s-{who}-watching", Role.OBSERVER),
            "lose": lambda: meeting.lose(who, session, pick(["left", "disconnected"])),
            "roster": lambda: meeting.roster(self.chance.sample(PEOPLE, self.chance.randrange(4)), next(self.sequence)),
            "report": lambda: meeting.report(who, present=pick([True, False])),
            "claim": lambda: self.claim(meeting, who),
            "prove": lambda: self.prove(meeting, who),
            "restart": lambda: restart(meeting),
        }
        deeds[deed]()

    def claim(self, meeting: Meeting, who: str) -> None:
        """Whoever is there says what is on, or an authority does."""
        source = who if meeting.call.present(raw_id(who)) else self.chance.choice([OPERATOR, GRAPH])
        meeting.claim(source, self.chance.choice([ACTIVE, ACTIVE, INACTIVE]))

    def prove(self, meeting: Meeting, who: str) -> None:
        """A notice is written to somebody's socket, or confirmed."""
        if meeting.call.notices and raw_id(who) in meeting.call.latest:
            notice, level = self.chance.choice(list(meeting.call.notices.values())), self.chance.choice(list(Level))
            if level is Level.SENT:
                meeting.sent(who, notice=notice)
            else:
                meeting.prove(who, level, notice)

    def erase(self, meeting: Meeting, who: str) -> None:
        """Nothing but the names goes."""
        before = without_names(meeting.call)
        erased = meeting.erase(who, meeting.now + timedelta(seconds=self.chance.choice([-100, 0, 100])))
        assert without_names(meeting.call) == before
        if erased and meeting.call.present(raw_id(who)) is None:
            assert raw_id(who) not in meeting.call.latest
        assert raw_id(who) not in {each.participant for each in meeting.call.presences.values()}

    def merge(self) -> None:
        """The second was the first all along."""
        self.step()
        if all(each.call.opened_at is not None for each in self.calls):
            target, source = self.calls
            target.until(max(target.now, source.now))
            target.merge(source)
            del self.calls[1]


def unnumbered(call: Call, now: datetime) -> dict[str, Any]:
    """What is remembered but for names, and for the numbers of entries: each of the two calls has its own."""
    return {
        **without_names(call, now),
        "notices": re.sub(r"'entry': \d+", "", repr(without_names(call, now)["notices"])),
    }


@pytest.mark.parametrize("seed", range(150))
def test_what_is_read_back_of_a_merged_call_is_what_it_was(seed: int) -> None:
    """Erased before, between or after: live and folded from what is stored, all that is decided by is the same."""
    world = Both(seed)
    for _ in range(2):
        for _ in range(40):
            world.step()
        if len(world.calls) > 1:
            world.merge()
        for each in world.calls:
            again = refold(each.call, stored(each.recorded))
            assert unnumbered(again, each.now) == unnumbered(each.call, each.now)
            for call in (each.call, again):
                assert all(found is call.presences[found.id] for found in call.latest.values())
