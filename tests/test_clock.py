"""The process's clock, with the wall clock and the monotonic one moved by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from gateway.clock import LARGEST_STEP, SteadyClock

START = datetime(2026, 11, 23, 14, tzinfo=UTC)


class Hands:
    """Two clocks that a test moves."""

    def __init__(self) -> None:
        self.wall, self.elapsed = START, 0.0
        self.clock = SteadyClock(lambda: self.wall, lambda: self.elapsed)

    def pass_time(self, seconds: float) -> datetime:
        """Both clocks run."""
        self.wall += timedelta(seconds=seconds)
        self.elapsed += seconds
        return self.clock()


def test_it_tells_wall_time_in_milliseconds() -> None:
    """Nothing finer than the ledger keeps, or a decision would differ after a restart."""
    hands = Hands()
    assert hands.pass_time(1.2345678) == START + timedelta(milliseconds=1234)


def test_peer_bug_27_a_step_back_is_caught_up_with_at_half_speed() -> None:
    """Deadlines go on, only slower, and once both agree it is wall time again."""
    hands = Hands()
    before = hands.pass_time(60)
    hands.wall -= timedelta(seconds=20)
    assert hands.clock() == before
    assert hands.pass_time(10) == before + timedelta(seconds=5)
    assert hands.pass_time(30) == hands.wall
    assert hands.pass_time(1) == hands.wall


def test_looking_often_does_not_stop_it() -> None:
    """Half a millisecond at a time adds up."""
    hands = Hands()
    before = hands.pass_time(60)
    hands.wall -= timedelta(seconds=30)
    for _ in range(4000):
        now = hands.pass_time(0.0005)
    assert now >= before + timedelta(milliseconds=999)


def test_a_large_step_back_is_followed() -> None:
    """Then the time before was the wrong one."""
    hands = Hands()
    hands.pass_time(60)
    hands.wall -= LARGEST_STEP + timedelta(seconds=1)
    assert hands.clock() == hands.wall


def test_a_step_forward_is_followed() -> None:
    """Whoever waits for a deadline does not wait longer for it."""
    hands = Hands()
    hands.wall += timedelta(minutes=5)
    assert hands.clock() == hands.wall


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(-300, 300)), max_size=30))
def test_it_never_goes_back_over_small_steps(steps: list[tuple[float, float]]) -> None:
    """Whatever corrections are made, as long as none is large."""
    hands = Hands()
    last = hands.clock()
    for seconds, correction in steps:
        hands.wall += timedelta(seconds=correction)
        if last - hands.wall > LARGEST_STEP:
            return
        now = hands.pass_time(seconds)
        assert now >= last
        last = now
