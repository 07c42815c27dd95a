"""The roll: one session per device, and no late end takes a successor off."""

from __future__ import annotations

import pytest

from gateway.core.errors import Bye
from gateway.core.session import Session
from gateway.hub.roll import Roll


class Nowhere:
    """A connection that takes everything."""

    def write(self, framed: bytes) -> bool:
        return True

    def finish(self, code: int, reason: str, last: bytes) -> None:
        """Nothing to finish."""

    def abort(self) -> None:
        """Nothing to cut."""

    def hold(self) -> None:
        """Nothing to read."""

    def resume(self) -> None:
        """Nothing to read."""


def refuse(session: Session, bye: Bye) -> None:
    """Nobody is to be replaced."""
    raise AssertionError(bye)


def session(participant: str, device: str | None) -> Session:
    made = Session(Nowhere(), lambda behind: None)
    made.participant = participant
    made.device = device
    return made


def test_the_newest_session_of_a_device_stands() -> None:
    """Also when the older one is struck off after it, as a late timeout would."""
    roll = Roll()
    old, new = session("ada", "d"), session("ada", "d")
    ended: list[tuple[Session, int]] = []

    def end(session: Session, bye: Bye) -> None:
        ended.append((session, bye.code))

    roll.enter(old, refuse)
    roll.enter(new, end)
    assert ended == [(old, 4409)]
    assert roll.strike(old)
    assert roll.on_device("ada", "d") is new
    assert new in roll
    assert roll.strike(new)
    assert roll.on_device("ada", "d") is None


def test_a_session_is_struck_off_once() -> None:
    """Counts do not go wrong however often an end is told."""
    roll = Roll()
    one, two = session("ada", None), session("ada", None)
    assert not roll.strike(one)
    roll.enter(one, refuse)
    roll.enter(two, refuse)
    assert roll.strike(one)
    assert not roll.strike(one)
    assert (roll.count("ada"), len(roll), two in roll) == (1, 1, True)
    assert roll.strike(two)
    assert (roll.count("ada"), len(roll)) == (0, 0)


def test_devices_belong_to_participants() -> None:
    """Nobody replaces somebody else by naming the same device, and no device is none."""
    roll = Roll()
    one, other, nameless = session("ada", "d"), session("eve", "d"), session("ada", None)
    for each in (one, other, nameless):
        roll.enter(each, refuse)
    assert roll.on_device("ada", "d") is one
    assert roll.on_device("eve", "d") is other
    assert roll.on_device("ada", None) is None
    assert roll.on_device("ada", "e") is None


def test_there_are_so_many_and_of_one_participant_so_many() -> None:
    """Who is refused is not on the roll; a replaced session makes room for its successor before anybody is counted."""
    roll = Roll(most=3, most_each=2)
    first, second = session("ada", "d"), session("ada", None)
    for each in (first, second):
        roll.enter(each, refuse)
    with pytest.raises(Bye) as too_many_of_one:
        roll.enter(session("ada", None), refuse)
    roll.enter(session("eve", None), refuse)
    with pytest.raises(Bye) as too_many:
        roll.enter(session("joe", None), refuse)
    assert (too_many_of_one.value.code, too_many.value.code, len(roll)) == (4429, 4013, 3)
    roll.enter(session("ada", "d"), lambda replaced, bye: void(roll.strike(replaced)))
    assert (roll.count("ada"), len(roll)) == (2, 3)


def void(_: object) -> None:
    """Drop a result nobody needs."""
