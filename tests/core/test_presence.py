"""Presence: the table of phases, pair by pair, and what a presence remembers."""

from __future__ import annotations

import itertools

import pytest

from gateway.core.presence import NEXT, Input, Phase, Presence, closing
from gateway.core.types import Role
from tests.core.meeting import moment

CLOSES = {
    (Phase.LISTED, Input.LEFT): "left",
    (Phase.LISTED, Input.UNLISTED): "left",
    (Phase.LISTED, Input.ENDED): "ended",
    (Phase.CONNECTED, Input.LEFT): "left",
    (Phase.CONNECTED, Input.ENDED): "ended",
    (Phase.AWAY, Input.LEFT): "left",
    (Phase.AWAY, Input.UNLISTED): "left",
    (Phase.AWAY, Input.EXPIRED): "disconnected",
    (Phase.AWAY, Input.ENDED): "ended",
}
"""Everything that ends a presence, and why; nothing else does."""


def fresh(phase: Phase = Phase.LISTED, *, listed: bool = False, role: Role = Role.PARTICIPANT) -> Presence:
    """A presence in that phase."""
    return Presence("p", "p", "europe", "8:acs:r_ann", None, role, moment(0), listed, phase)


@pytest.mark.parametrize(("phase", "event"), list(itertools.product(Phase, Input)))
def test_what_ends_a_presence_and_what_does_not(phase: Phase, event: Input) -> None:
    """Each phase with each input."""
    assert closing(fresh(phase), event) == CLOSES.get((phase, event))


@pytest.mark.parametrize("event", Input)
def test_nothing_brings_a_closed_presence_back(event: Input) -> None:
    """Who comes again comes anew."""
    assert (Phase.CLOSED, event) not in NEXT


def test_who_is_listed_never_expires() -> None:
    """A roster says that the person sits in the meeting, whatever became of the connection."""
    assert closing(fresh(Phase.AWAY, listed=True), Input.EXPIRED) is None


def test_two_sessions_hold_one_presence() -> None:
    """It is away when the last of them is gone."""
    presence = fresh()
    presence.join("s1")
    presence.join("s2")
    presence.lose("s1", moment(1))
    assert (presence.phase, presence.gone_at) == (Phase.CONNECTED, None)
    presence.lose("s2", moment(2))
    assert (presence.phase, presence.gone_at) == (Phase.AWAY, moment(2))


def test_losing_a_session_that_was_never_there_takes_nobody_away() -> None:
    """Nor one that was lost before."""
    presence = fresh()
    presence.join("s1")
    presence.lose("s0", moment(1))
    assert presence.phase is Phase.CONNECTED


def test_who_comes_back_is_not_gone() -> None:
    """And has been reached all along."""
    presence = fresh()
    presence.join("s1")
    presence.lose("s1", moment(1))
    presence.join("s2")
    assert (presence.phase, presence.gone_at, presence.departed_at) == (Phase.CONNECTED, None, None)
    assert presence.reached


def test_who_never_had_a_session_was_never_reached() -> None:
    """Being on a roster is not being reached."""
    assert not fresh(listed=True).reached


def test_a_closed_presence_holds_no_session() -> None:
    """It keeps why and when it ended."""
    presence = fresh()
    presence.join("s1")
    presence.close("left", moment(3))
    assert (presence.open, presence.sessions) == (False, ())
    assert (presence.closed_reason, presence.closed_at, presence.departed_at) == ("left", moment(3), moment(3))


def test_someone_who_was_lost_first_departed_then() -> None:
    """Not when nobody came back in time."""
    presence = fresh()
    presence.join("s1")
    presence.lose("s1", moment(1))
    presence.close("disconnected", moment(121))
    assert presence.departed_at == moment(1)


def test_an_observer_owes_nothing_until_taking_part() -> None:
    """From then on it owes like everybody, and not for the time before."""
    presence = fresh(role=Role.OBSERVER)
    assert not presence.owes
    presence.promote(moment(5))
    assert presence.owes
    assert presence.opened_at == moment(5)


def test_one_person_in_two_merged_calls_was_there_from_the_first_moment() -> None:
    """What either knows holds: sessions, rosters, having been reached."""
    early, late = fresh(listed=True), fresh()
    late.opened_at = moment(5)
    late.join("s2")
    late.absorb(early)
    assert (late.opened_at, late.listed, late.reached, late.phase) == (moment(0), True, True, Phase.CONNECTED)


def test_one_person_in_two_merged_calls_is_here_if_here_in_either() -> None:
    """Lost in one and connected in the other is connected; lost in one and listed in the other is away."""
    here, gone, listed = fresh(), fresh(), fresh(listed=True)
    here.join("s1")
    gone.join("s2")
    gone.lose("s2", moment(3))
    listed.absorb(gone)
    assert (listed.phase, listed.gone_at) == (Phase.AWAY, moment(3))
    gone.absorb(here)
    assert (gone.phase, gone.gone_at, gone.sessions) == (Phase.CONNECTED, None, ("s1",))
