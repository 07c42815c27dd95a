"""One timer for everybody: deadlines, expiries and rounds, counted in ticks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.edge.wheel import TICK_SECONDS, Deadlines, Expiries, Ring, ticks

AT = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)


@given(st.floats(0.1, 60), st.integers(0, 50))
def test_a_deadline_comes_neither_early_nor_a_tick_late(seconds: float, before: int) -> None:
    """At least the time given, at most two ticks more, whenever it began."""
    deadlines = Deadlines[str](seconds)
    for _ in range(before):
        assert deadlines.tick() == []
    deadlines.add("x")
    passed = 1
    while deadlines.tick() == []:
        passed += 1
    assert seconds <= (passed - 1) * TICK_SECONDS < seconds + 2 * TICK_SECONDS
    assert passed == ticks(seconds)


def test_deadlines_end_in_order_and_can_be_given_anew() -> None:
    """Added again means the full time again; discarded means never."""
    deadlines = Deadlines[str](1)
    for item in "abc":
        deadlines.add(item)
    deadlines.tick()
    deadlines.add("a")
    deadlines.discard("b")
    deadlines.discard("never there")
    assert len(deadlines) == 2
    assert list(deadlines) == ["c", "a"]
    assert [deadlines.tick() for _ in range(4)] == [[], ["c"], ["a"], []]


def test_what_waited_longest_is_taken_out_first() -> None:
    """Under pressure the oldest goes."""
    deadlines = Deadlines[str](1)
    with pytest.raises(KeyError):
        deadlines.pop_oldest()
    deadlines.add("a")
    deadlines.add("b")
    assert deadlines.pop_oldest() == "a"
    assert "a" not in deadlines
    assert "b" in deadlines


@given(st.lists(st.integers(0, 20_000), min_size=1, max_size=30), st.integers(0, 25))
def test_everything_that_expired_is_found_whatever_the_clock_does(milliseconds: list[int], leap: int) -> None:
    """Forward leaps and several ends in one second; nothing comes before its time or twice."""
    expiries = Expiries[int]()
    for number, each in enumerate(milliseconds):
        expiries.add(number, AT + timedelta(milliseconds=each))
    first = expiries.tick(AT + timedelta(seconds=leap))
    assert all(milliseconds[number] <= leap * 1000 for number in first)
    later = expiries.tick(AT + timedelta(seconds=30))
    assert sorted(first + later) == list(range(len(milliseconds)))


def test_a_renewed_item_does_not_expire_at_its_old_end() -> None:
    """`discard` with the end it was added with."""
    expiries = Expiries[str]()
    for item in "ab":
        expiries.add(item, AT)
    expiries.discard("a", AT)
    expiries.add("a", AT + timedelta(hours=1))
    expiries.discard("b", AT)
    expiries.discard("b", AT + timedelta(hours=2))
    assert expiries.tick(AT + timedelta(minutes=59)) == []
    assert expiries.tick(AT + timedelta(hours=1)) == ["a"]


def test_who_comes_and_goes_leaves_nothing_that_is_looked_at() -> None:
    """However often, in whatever order: every second there is stands once, and none before its time."""
    expiries = Expiries[str]()
    for hours in (3, 1, 2, 3, 1):
        expiries.add("a", AT + timedelta(hours=hours))
        expiries.discard("a", AT + timedelta(hours=hours))
    assert len(expiries._coming) == 3
    expiries.add("b", AT + timedelta(hours=2))
    assert expiries.tick(AT + timedelta(hours=1, minutes=59)) == []
    assert expiries.tick(AT + timedelta(hours=4)) == ["b"]
    assert not expiries._coming
    assert not expiries._seconds


def test_a_round_visits_everyone_once_and_evenly() -> None:
    """Thirty items in a ring of fifteen seconds: one each tick."""
    ring = Ring[int](15)
    for number in range(30):
        ring.add(number)
    turns = [ring.tick() for _ in range(30)]
    assert sorted(item for turn in turns for item in turn) == list(range(30))
    assert {len(turn) for turn in turns} == {1}
    ring.discard(turns[0][0])
    ring.discard(99)
    assert ring.tick() == []


def test_the_ring_knows_whose_turn_it_was() -> None:
    """`ago` is asked before the tick, and speaks of the time after it."""
    ring = Ring[str](15)
    ring.add("x")
    while not ring.tick():
        pass
    waited = 1
    while "x" not in ring.ago(10):
        ring.tick()
        waited += 1
    assert waited * TICK_SECONDS == 10
