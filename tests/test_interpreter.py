"""What time brings to calls is done in portions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from gateway.cli.init import CONFIGURATION, initialise
from gateway.config import load
from gateway.core import attendance
from gateway.core.types import CallKey, Role
from gateway.house import build
from gateway.hub.interpreter import MOST_AWAKENED
from tests.evidence.world import EUROPE, raw_id, region_of

NOW = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)


async def test_who_is_lost_together_is_over_in_portions(tmp_path: Path) -> None:
    """However many, in however many calls: a tick does so much and no more, the next ones the rest, and nobody is
    forgotten."""
    time = [NOW]
    initialise(tmp_path)
    house = build(load(tmp_path / CONFIGURATION, {}), lambda: time[0])
    keys = [CallKey("contoso", name) for name in ("first", "second")]
    calls = [await house.interpreter.registry.get(key) for key in keys]
    for live in calls:
        step = house.interpreter.step(live)
        for number in range(300):
            who = raw_id(f"u{number}", EUROPE)
            attendance.join(step, attendance.Joining(f"s{number}", who, region_of(who), Role.PARTICIPANT))
            attendance.lose(step, f"s{number}", who, "disconnected")
        house.interpreter.perform(live, step)
    time[0] += timedelta(hours=1)
    waiting = sum(len(live.call.wakes) for live in calls)
    ticks = 0
    assert waiting > 3 * MOST_AWAKENED
    while waiting:
        house.interpreter.tick()
        left, ticks = sum(len(live.call.wakes) for live in calls), ticks + 1
        assert waiting - left <= MOST_AWAKENED
        waiting = left
        time[0] += timedelta(seconds=10)  # whoever is over is looked at once more
    assert 3 < ticks < 10
    assert not any(live.call.inside for live in calls)
    await house.ledgers.close()
