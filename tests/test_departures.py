"""Sessions that are gone are told of in slices, each once, and before anybody is refused for them."""

from __future__ import annotations

import asyncio

import pytest

from gateway.core.session import Phase, Session
from gateway.edge.departures import SLICE, Departures
from gateway.edge.limits import Limits
from gateway.hub.roll import Roll
from tests.edge_world import World
from tests.test_roll import Nowhere, session


async def test_thousands_are_told_of_in_slices_and_in_order() -> None:
    """A network that goes takes all its sessions at once; the others' notices must not wait for the last of them."""
    told: list[Session] = []
    departures = Departures(told.append)
    gone = [session(str(number), None) for number in range(2 * SLICE + 1)]
    for each in gone:
        departures.add(each)
    assert not told
    for turn in (1, 2, 3):
        await asyncio.sleep(0)
        assert told == gone[: turn * SLICE]
    departures.add(gone[0])
    departures.settle()
    await asyncio.sleep(0)
    assert told == [*gone, gone[0]]


async def test_the_fault_of_one_costs_nobody_else() -> None:
    """It is reported by the loop, and the rest are told of."""
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context["exception"]))
    told: list[str] = []

    def tell(gone: Session) -> None:
        if gone.participant == "1":
            raise ZeroDivisionError
        told.append(gone.participant)

    departures = Departures(tell)
    for number in range(4):
        departures.add(session(str(number), None))
    for _ in range(3):
        await asyncio.sleep(0)
    assert told == ["0", "2", "3"]
    assert [type(each) for each in faults] == [ZeroDivisionError]


@pytest.mark.parametrize(
    ("limits", "roll", "losses"),
    [(Limits(), Roll(most_each=1), 0), (Limits(), Roll(most=1), 0), (Limits(sessions=1), Roll(), 1)],
    ids=["of one participant", "of all", "of this process"],
)
async def test_who_is_gone_keeps_nobody_out(limits: Limits, roll: Roll, losses: int) -> None:
    """Whoever comes back before the end of the session before was told of is let in; a second one is not.

    One that only this process has no room for was entered, and so is lost.
    """
    world = World(limits, roll)
    first, second, back = (world.edge.opened(Nowhere(), None) for _ in range(3))
    hello = b'{"type":"hello","token":"%b"}' % world.token().encode()
    for each in (first, second):
        world.edge.received(each, hello)
    assert (first.phase, second.phase) == (Phase.OPEN, Phase.LEAVING)
    world.edge.lost(first)
    assert (len(world.edge), len(world.hub.losses())) == (1, losses)
    world.edge.received(back, hello)
    assert (back.phase, len(world.edge), len(world.hub.losses())) == (Phase.OPEN, 1, losses + 1)
