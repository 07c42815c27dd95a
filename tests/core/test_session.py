"""Which calls a session is in, by which names."""

from __future__ import annotations

from gateway.core.session import Session
from gateway.core.types import CallKey
from tests.test_roll import session

DAILY, WEEKLY = CallKey("contoso", "daily"), CallKey("contoso", "weekly")


def test_a_session_is_in_the_calls_it_entered_and_did_not_quit() -> None:
    """By the name it said, whatever the others call it; quitting twice is quitting once."""
    one = session("ada", None)
    one.enter(DAILY, "daily")
    one.enter(WEEKLY, "alias")
    assert one.joined == {DAILY: "daily", WEEKLY: "alias"}
    assert one.quit(DAILY) == "daily"
    assert one.quit(DAILY) is None
    one.enter(DAILY, "other")
    assert one.quit_all() == {WEEKLY: "alias", DAILY: "other"}
    assert one.joined == {}


def test_sessions_in_one_call_share_what_says_so_and_none_changes_it_for_another() -> None:
    """Memory: ten thousand are in one call. What one does after is its own."""
    sessions: list[Session] = [session(name, None) for name in "abc"]
    for each in sessions:
        each.enter(DAILY, "daily")
    first, second, third = sessions
    assert first.joined is second.joined
    first.quit(DAILY)
    second.enter(WEEKLY, "weekly")
    assert (first.joined, third.joined) == ({}, {DAILY: "daily"})
    assert second.joined == {DAILY: "daily", WEEKLY: "weekly"}
