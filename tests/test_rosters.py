"""A roster of many comes into a call in slices, and may be cut short anywhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from gateway.cli.init import CONFIGURATION, initialise
from gateway.config import load
from gateway.core.events import Event
from gateway.core.happenings import CallReference, RosterGiven
from gateway.core.types import CallKey, Person
from gateway.house import House, build
from gateway.hub.enactment import SLICE
from gateway.hub.live import LiveCall
from gateway.hub.registry import restore
from tests.evidence.world import EUROPE, STATES, raw_id

KEY = CallKey("contoso", "standup")
MANY = 3 * SLICE + 10


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """A house without doors, and an empty call."""
    initialise(tmp_path)
    made = build(load(tmp_path / CONFIGURATION, {}))
    await made.interpreter.registry.get(KEY)
    yield made
    await made.ledgers.close()


def roster(house: House, sequence: int, people: range) -> Event:
    """These are in the call, says a connection; every other one lives in another region."""
    named = tuple(Person(raw_id(f"u{number}", (EUROPE, STATES)[number % 2])) for number in people)
    reference = CallReference(KEY.call, (), KEY.call)
    given = RosterGiven(reference, KEY.organization, "c1", sequence, named, 0, house.now())
    return Event(bytes([sequence]) * 32, "roster", house.now(), given)


async def watched(live: LiveCall, taking: asyncio.Task[object], until: Callable[[], bool]) -> list[int]:
    """How many came in each turn of the loop, until it is so or all are taken."""
    came, before = list[int](), len(live.call.presences)
    while not taking.done() and not until():
        await asyncio.sleep(0)
        now = len(live.call.presences)
        came.append(now - before)
        before = now
    return came


async def test_many_come_in_slices(house: House) -> None:
    """No turn of the loop takes more, everyone is there in the end, and the roster counts as seen only then."""
    live = house.interpreter.registry.calls[KEY]
    taking: asyncio.Task[object] = asyncio.create_task(house.intake.take([roster(house, 1, range(MANY))], []))
    came = await watched(live, taking, lambda: len(live.call.inside) == MANY)
    assert max(came) <= SLICE
    assert sum(came) == MANY
    await taking
    assert live.call.sequences == {"c1": 1}


async def test_a_roster_that_was_cut_short_is_completed(house: House) -> None:
    """By the same event once it is taken again; nobody comes twice, and what is read back is the same."""
    live = house.interpreter.registry.calls[KEY]
    taking: asyncio.Task[object] = asyncio.create_task(house.intake.take([roster(house, 1, range(MANY))], []))
    await watched(live, taking, lambda: len(live.call.inside) >= SLICE)
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking
    some = set(live.call.inside)
    assert SLICE <= len(some) < MANY
    assert live.call.sequences == {}
    await house.intake.take([roster(house, 1, range(MANY))], [])
    assert len(live.call.presences) == len(live.call.inside) == len(live.call.latest) == MANY
    assert some < live.call.inside.keys()
    assert live.call.sequences == {"c1": 1}
    stored = asyncio.get_running_loop().create_future()
    house.ledgers.load(KEY, (), lambda found, _: stored.set_result(found))
    again = LiveCall(type(live.call)(KEY, live.call.policy), type(live.ink)(), house.now())
    restore(again, await stored)
    assert again.call.inside.keys() == live.call.inside.keys()


async def test_a_newer_roster_ends_an_older_one(house: House) -> None:
    """Whoever it does not name is not listed by what is left of the older."""
    live = house.interpreter.registry.calls[KEY]
    older: asyncio.Task[object] = asyncio.create_task(house.intake.take([roster(house, 1, range(MANY))], []))
    await watched(live, older, lambda: len(live.call.inside) >= SLICE)
    await house.intake.take([roster(house, 2, range(5))], [])
    await older
    assert {presence.participant for presence in live.call.inside.values()} == {
        raw_id(f"u{number}", (EUROPE, STATES)[number % 2]) for number in range(5)
    }
    assert live.call.sequences == {"c1": 2}
