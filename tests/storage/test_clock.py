"""The ledger's clock, moved by hand: what passed is measured, jumps are noticed, nobody's time is believed early."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.clock import SMALLEST_JUMP, Pace, Reading, advance, system_clock

SECOND = 1_000_000
HOUR = 3600 * SECOND
WALL = 1_790_000_000 * SECOND
BEFORE = Pace("boot", 50 * SECOND, WALL, WALL)


def after(elapsed: int, jump: int = 0, boot: str = "boot") -> Reading:
    """The clocks when `elapsed` has passed since `BEFORE` and the wall clock was moved by `jump`."""
    return Reading(boot, BEFORE.ticks + elapsed, BEFORE.wall + elapsed + jump)


def test_the_first_reading_begins() -> None:
    """Where nothing was read before, nothing has passed and nothing jumped."""
    passed = advance(None, after(7))
    assert (passed.elapsed, passed.jump, passed.rebooted) == (0, 0, False)
    assert passed.pace == Pace(*after(7), sure=WALL + 7)


def test_time_that_passes_is_measured_and_believed() -> None:
    """Both clocks run: no jump, and the wall time has surely come."""
    passed = advance(BEFORE, after(HOUR))
    assert (passed.elapsed, passed.jump, passed.rebooted, passed.pace.sure) == (HOUR, 0, False, WALL + HOUR)


@pytest.mark.parametrize("jump", [SMALLEST_JUMP, HOUR, 365 * 24 * HOUR])
def test_time_that_a_jump_ahead_pretends_has_not_come(jump: int) -> None:
    """F18: the measured time alone counts, also long after the jump and in many small readings."""
    passed = advance(BEFORE, after(SECOND, jump))
    assert (passed.elapsed, passed.jump, passed.pace.sure) == (SECOND, jump, WALL + SECOND)
    pace = passed.pace
    for seconds in range(2, 100):
        pace = advance(pace, after(seconds * SECOND, jump)).pace
    assert pace.sure == WALL + 99 * SECOND


def test_a_jump_back_is_noticed_and_believed_at_once() -> None:
    """Then the clock may have been ahead before: what had surely come is taken back."""
    passed = advance(BEFORE, after(SECOND, -HOUR))
    assert (passed.jump, passed.pace.sure) == (-HOUR, WALL + SECOND - HOUR)


@pytest.mark.parametrize("jump", [SMALLEST_JUMP - 1, -SMALLEST_JUMP + 1])
def test_a_clock_that_is_slewed_does_not_jump(jump: int) -> None:
    """What corrections do in small amounts is followed and not recorded."""
    passed = advance(BEFORE, after(SECOND, jump))
    assert (passed.jump, passed.pace.sure) == (0, WALL + SECOND + jump)


@pytest.mark.parametrize("reading", [after(-1), after(HOUR, boot="another")])
def test_another_boot_begins_anew(reading: Reading) -> None:
    """The boot clock of another boot cannot be compared: nothing is measured, and the wall clock is all there is."""
    passed = advance(BEFORE, reading)
    assert (passed.elapsed, passed.jump, passed.rebooted, passed.pace.sure) == (0, 0, True, reading.wall)


@given(st.lists(st.tuples(st.integers(0, HOUR), st.integers(-HOUR, HOUR)), max_size=40))
def test_nothing_is_ever_believed_early(steps: list[tuple[int, int]]) -> None:
    """However the wall clock is moved, what surely came is no later than wall and measured time both say."""
    pace, ticks, moved, slewed = BEFORE, BEFORE.ticks, 0, 0
    for elapsed, jump in steps:
        ticks += elapsed
        moved += jump
        slewed += max(jump, 0) if abs(jump) < SMALLEST_JUMP else 0
        passed = advance(pace, Reading("boot", ticks, WALL + (ticks - BEFORE.ticks) + moved))
        pace = passed.pace
        assert passed.elapsed == elapsed
        assert pace.sure <= min(pace.wall, WALL + ticks - BEFORE.ticks + slewed)


def test_the_machines_clocks_go_on() -> None:
    """Two readings belong to one boot and do not go back."""
    one, two = system_clock(), system_clock()
    assert one.boot == two.boot != ""
    assert one.ticks <= two.ticks
