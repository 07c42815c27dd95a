"""Reading: what the ledgers of several regions tell of one call, in the order in which it holds.

Rules: a region's facts keep their order; of several regions the older goes first, at equal times the call's home, for
it knows a call and its notices before anybody else does. A fact about a presence counts in the presence's region, one
about a call in that call's home; elsewhere there are copies, which count only for what a crash kept from the home.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import NamedTuple

from gateway.core import facts
from gateway.core.types import CallKey

Recorded = Sequence[tuple[facts.AnyFact, int]]
"""The facts of one region's ledger about a call and its parts, in order, each with its entry."""


class Told(NamedTuple):
    """A fact that counts, and where it stands. `adopted`: its call's home has yet to learn it."""

    region: str
    entry: int
    fact: facts.AnyFact
    adopted: bool


def in_order(key: CallKey, regions: Mapping[str, Recorded], homes: Mapping[CallKey, str]) -> Iterator[Told]:
    """The facts that count of `key` and of what became part of it. `homes` gives the home region of each call.

    A call whose home is not among `regions` is told of by the home of `key`, and `key` itself by the first by name.
    """
    if not regions:
        return
    first = homes[key] if homes.get(key) in regions else min(regions)
    leads = {call: homes[call] if homes.get(call) in regions else first for call in _calls(regions)}
    known = {_once(fact) for name, recorded in regions.items() for fact, _ in recorded if leads[fact.call] == name}
    streams = [
        [(name, fact, entry) for fact, entry in regions[name]]
        for name in sorted(regions, key=lambda name: (name != first, name))
    ]
    for region, fact, entry in heapq.merge(*streams, key=lambda each: each[1].at):
        once = _once(fact)
        if region in (leads[fact.call], getattr(fact, "region", None)):
            yield Told(region, entry, fact, adopted=False)
        elif once is not None and once not in known:
            known.add(once)
            yield Told(region, entry, fact, adopted=True)


def _calls(regions: Mapping[str, Recorded]) -> set[CallKey]:
    return {fact.call for recorded in regions.values() for fact, _ in recorded}


def _once(fact: facts.AnyFact) -> Hashable:
    """What a fact says that a crash can keep from one region and not from another, however often it is found."""
    match fact:
        case facts.NoticeIssued():
            return fact.notice
        case facts.CallMerged():
            return fact.call, fact.source
        case _:
            return None
