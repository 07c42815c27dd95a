"""A call in memory: what it keeps beside the call's own state, and what of it an erasure takes."""

from __future__ import annotations

import pytest

from gateway.core import fold
from gateway.core.facts import PresencesErased
from gateway.hub.journal import Ink
from gateway.hub.live import LiveCall
from tests.core.meeting import KEY, T0, Meeting, raw_id
from tests.core.same import texts_of


@pytest.fixture
def live() -> LiveCall:
    """Ann and Bob came, left, and came again as often as they like; Ann is there."""
    meeting = Meeting()
    for who in ("ann", "bob"):
        meeting.join(who)
        meeting.leave(who)
    live = LiveCall(meeting.call, Ink({"europe": None}, {name: bytes(32) for name in meeting.call.presences}), T0)
    assert all(live.may_return(raw_id(who), 0.0) for who in ("ann", "bob"))
    meeting.join("ann")
    live.ink.salts[meeting.presence("ann").id] = bytes(32)
    return live


def erase(live: LiveCall, who: str) -> tuple[str, ...]:
    """Storage says that somebody is erased."""
    gone = tuple(each.id for each in live.call.presences.values() if each.participant == raw_id(who))
    live.forget(gone)
    fold.apply(live.call, PresencesErased(call=KEY, at=T0, region="europe", presences=gone))
    return gone


@pytest.mark.parametrize("who", ["ann", "bob"])
def test_an_erasure_takes_who_returned_and_the_salts(live: LiveCall, who: str) -> None:
    """Of a raw id nothing is left beside the call, and nothing opens a commitment; of others everything."""
    gone = erase(live, who)
    assert gone
    assert not live.ink.salts.keys() & set(gone)
    assert live.ink.salts.keys() == live.call.presences.keys() - set(gone)
    assert live.returns.keys() == {raw_id("ann"), raw_id("bob")} - {raw_id(who)}


def test_of_who_is_gone_nothing_is_left_in_memory(live: LiveCall) -> None:
    """Wherever one looks."""
    erase(live, "bob")
    assert raw_id("bob") not in texts_of(live.call) | live.returns.keys()


def test_erasing_an_unknown_presence_changes_nothing(live: LiveCall) -> None:
    """Storage knows calls that memory has in part only."""
    live.forget(("p_nobody",))
    assert live.returns.keys() == {raw_id("ann"), raw_id("bob")}
