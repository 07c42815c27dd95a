"""The roll: one session per device, and no late end takes a successor off."""

from __future__ import annotations

from gateway.core.session import Session
from gateway.edge.roll import Roll


class Nowhere:
    """A connection that takes everything."""

    def write(self, framed: bytes) -> bool:
        return True

    def finish(self, code: int, reason: str, last: bytes) -> None:
        """Nothing to finish."""

    def abort(self) -> None:
        """Nothing to cut."""


def session(participant: str, device: str | None) -> Session:
    made = Session(Nowhere(), lambda behind: None)
    made.participant = participant
    made.device = device
    return made


def test_the_newest_session_of_a_device_stands() -> None:
    """Also when the older one is struck off after it, as a late timeout would."""
    roll = Roll()
    old, new = session("ada", "d"), session("ada", "d")
    roll.enter(old)
    roll.enter(new)
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
    roll.enter(one)
    roll.enter(two)
    assert roll.strike(one)
    assert not roll.strike(one)
    assert (roll.count("ada"), len(roll), list(roll)) == (1, 1, [two])
    assert roll.strike(two)
    assert (roll.count("ada"), len(roll)) == (0, 0)


def test_devices_belong_to_participants() -> None:
    """Nobody replaces somebody else by naming the same device, and no device is none."""
    roll = Roll()
    one, other, nameless = session("ada", "d"), session("eve", "d"), session("ada", None)
    for each in (one, other, nameless):
        roll.enter(each)
    assert roll.on_device("ada", "d") is one
    assert roll.on_device("eve", "d") is other
    assert roll.on_device("ada", None) is None
    assert roll.on_device("ada", "e") is None
