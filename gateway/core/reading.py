"""Reading: what the ledgers of several regions tell of one call, in the order in which it holds.

Rules: a call's facts keep their order in each region; of several regions and calls the older goes first, at equal times
a call's home, but mergers last, so that what was said before of either call is known by then everywhere. A fact about
a presence counts in the presence's region, one about a call in that call's home; elsewhere there are copies. A notice
and a merger hold from the first copy on, for those who follow in that region know of it; also where a crash kept it
from the home.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from gateway.core import facts
from gateway.core.call import BEGINNING
from gateway.core.types import CallKey

Recorded = Sequence[tuple[facts.AnyFact, int]]
"""The facts of one region's ledger about a call and its parts, in order, each with its entry; one may hold several."""


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
    at_home: dict[Hashable, Told] = {}
    # One call's times never run back, but in one ledger they may be behind another call's.
    streams: dict[tuple[bool, str, CallKey], list[Told]] = {}
    for region, recorded in regions.items():
        for fact, entry in recorded:
            told = Told(region, entry, fact, adopted=leads[fact.call] != region)
            streams.setdefault((told.adopted, region, fact.call), []).append(told)
            if not told.adopted:
                at_home.setdefault(_once(fact), told)
    known: set[Hashable] = set()
    for copy in heapq.merge(*[streams[place] for place in sorted(streams)], key=_turn):
        once = _once(copy.fact)
        if once is None:
            if not copy.adopted or copy.region == getattr(copy.fact, "region", None):
                yield copy._replace(adopted=False)
        elif once not in known:
            known.add(once)
            yield at_home.get(once, copy)


def _turn(told: Told) -> tuple[datetime, int]:
    """When it is a fact's turn; of mergers at one time the one that knew of the other comes later.

    An erasure keeps nothing waiting: it changes names alone, and its time is not the call's.
    """
    if isinstance(told.fact, facts.PresencesErased):
        return BEGINNING, 0
    return told.fact.at, told.fact.revision if isinstance(told.fact, facts.CallMerged) else 0


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
