"""Restoring: a call is read back from what its regions have on disk, also when a crash left that uneven."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.core import facts
from gateway.core.call import Call, Policy
from gateway.core.types import CallKey, Level, State
from gateway.hub.entries import open_box
from gateway.hub.journal import Ink
from gateway.hub.live import LiveCall
from gateway.hub.names import Names
from gateway.hub.recollection import StoredCall, gathered
from gateway.hub.registry import restore
from tests.core.covered import cover
from tests.evidence.world import KEY, STATES, T0, World

SOURCE = CallKey("contoso", "alias")


def two() -> tuple[World, World]:
    """A call with Ann in it, and what is known of it under an alias, with Ann and Bob; recording is on."""
    target = World()
    source = World(SOURCE, target.ids, target.books)
    target.join("ann")
    source.at(1)
    source.join("ann", session="s_other")
    source.join("bob", STATES)
    source.claim(State.ACTIVE)
    source.at(2)
    source.prove("bob", Level.ACKNOWLEDGED, STATES)
    target.at(5)
    return target, source


def stored(world: World, entries: Mapping[str, int] | None = None) -> dict[str, StoredCall]:
    """What is on disk of the call, of each region so many entries at most."""
    found = {}
    for region, ledger in world.books.ledgers.items():
        boxes = {name: open_box(box) for name, box in world.books.boxes[region].items()}
        limit = (entries or {}).get(region, len(ledger))
        lines = [(entry, leaf) for entry, (call, leaf) in enumerate(ledger[:limit]) if call in (KEY, SOURCE)]
        found[region] = gathered(lines, boxes)
    return found


def restored(found: Mapping[str, StoredCall]) -> tuple[Call, list[facts.AnyFact]]:
    """The call as a new process knows it."""
    live = LiveCall(Call(KEY, Policy()), Ink(), T0)
    missing = restore(live, found)
    return live.call, missing


def covered(call: Call) -> list[tuple[int, int]]:
    """How many owe each notice, and how many proved it."""
    return [(each.owed, each.proved) for each in cover(call, Level.ACKNOWLEDGED, call.clock)]


def test_a_merged_call_comes_back_as_it_was() -> None:
    """From both regions, with nothing missing."""
    target, source = two()
    target.merge(source)
    call, missing = restored(stored(target))
    assert missing == []
    assert covered(call) == [(2, 1)]


def test_a_merger_that_never_reached_the_home_holds() -> None:
    """The crash came between the two regions' commits: the home is to learn it."""
    target, source = two()
    before = {"europe": len(target.books.ledgers["europe"])}
    target.merge(source)
    call, missing = restored(stored(target, before))
    (fact,) = missing
    assert isinstance(fact, facts.CallMerged)
    assert covered(call) == [(2, 1)]


def test_a_merger_that_reached_nobody_did_not_happen() -> None:
    """Two calls, as before."""
    target, source = two()
    before = {region: len(ledger) for region, ledger in target.books.ledgers.items()}
    target.merge(source)
    call, missing = restored(stored(target, before))
    assert missing == []
    assert covered(call) == []


def test_the_parts_of_a_call_are_known_by_name_however_they_came_together() -> None:
    """All of them are read back, where the table of one region lacks a merger too."""
    names = Names()
    first, second, third = (CallKey("contoso", name) for name in ("first", "second", "third"))
    names.join(first, second)
    names.join(third, KEY)
    names.join(second, KEY)
    assert set(names.parts(KEY)) == {first, second, third}
    assert names.parts(second) == [first]
    assert names.parts(first) == []
