"""How late the loop is: looked at often, and a stall counts for as long as it lasts."""

from __future__ import annotations

import pytest

from gateway.lateness import INTERVAL, delays, watch


class Over(Exception):
    """The test's time is over."""


class Clock:
    """A clock that a sleeper moves, each time by what was asked and so much more."""

    def __init__(self, *late: float) -> None:
        self.at = 100.0
        self._late = list(late)

    def now(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        if not self._late:
            raise Over
        self.at += seconds + self._late.pop(0)


async def seen(*late: float) -> list[float]:
    """What is observed of a loop that wakes the watcher so late, time after time."""
    clock, found = Clock(*late), list[float]()
    with pytest.raises(Over):
        await watch(found.append, now=clock.now, sleep=clock.sleep)
    return found


async def test_a_loop_in_time_is_not_late() -> None:
    """Each look is one observation, and an early one is no negative lateness."""
    assert await seen(0.0, -0.001, 0.0) == pytest.approx([0, 0, 0])


async def test_a_delay_does_not_spoil_the_looks_after_it() -> None:
    """Lateness is counted from when a look was due, not from the first."""
    assert await seen(0.005, 0.0, 0.001) == pytest.approx([0.005, 0, 0.001])


async def test_a_stall_counts_for_all_that_was_due_in_it() -> None:
    """A stall of a second is fifty looks that came late, the first of them by the whole second."""
    found = await seen(1.0)
    assert len(found) == round(1 / INTERVAL)
    assert found == pytest.approx(sorted(found, reverse=True))
    assert found[0] == pytest.approx(1.0)
    assert 0 < found[-1] <= INTERVAL + 1e-9


@pytest.mark.parametrize("late", [0.0, INTERVAL / 2, INTERVAL])
def test_what_was_late_by_no_more_than_a_look_left_none_out(late: float) -> None:
    """No observation is made up."""
    assert list(delays(late)) == [late]
