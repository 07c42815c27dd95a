"""The order in which the entries of a call hold, over all its regions, and which of them count.

Rules: a call's entries in a region keep their order; of several regions and calls the older goes first, at equal times
a call's home, then by name, but mergers last. What is said of a call counts where that call is at home, what is said
of a presence in the presence's region, a notice or a merger wherever it is found first: of these every region of a
call keeps a copy.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from storage.audit import entries
from storage.audit.entries import Entry
from storage.audit.meeting import Meeting


def homes(regions: Mapping[str, Sequence[Entry]]) -> dict[str, str]:
    """Each call's home region: what the first entry that opens the call says."""
    opened = [
        (entry.fact.at, entry.region, entry.number, entry.fact)
        for each in regions.values()
        for entry in each
        if isinstance(entry.fact, entries.CallOpened)
    ]
    found: dict[str, str] = {}
    for *_, fact in sorted(opened, key=lambda each: each[:3]):
        found.setdefault(fact.call, fact.home)
    return found


def ordered(regions: Mapping[str, Sequence[Entry]]) -> Iterator[Entry]:
    """The entries of a call and of what became part of it that count, in the order in which they hold."""
    home = homes(regions)
    own: dict[tuple[str, str], list[Entry]] = {}
    for region in regions.values():
        for entry in region:
            # An erasure changes names and nothing else, and its time is that of whoever asked for it.
            if entry.fact is not None and not isinstance(entry.fact, entries.Erased):
                own.setdefault((entry.region, entry.fact.call), []).append(entry)
    places = sorted(own, key=lambda place: (place[0] != home.get(place[1]), *place))
    seen: set[tuple[str, str]] = set()
    for entry in heapq.merge(*[own[place] for place in places], key=_moment):
        copied = _copied(entry)
        if copied is None:
            counts = entry.region in (getattr(entry.fact, "region", None), home.get(entry.fields["call"]))
        else:
            counts = copied not in seen
            seen.add(copied)
        if counts:
            yield entry


def _moment(entry: Entry) -> tuple[datetime, int]:
    """When it is the entry's turn: of equal times, calls are merged after all else, in the order of revisions."""
    fact = entry.fact
    assert fact is not None
    return fact.at, fact.revision if isinstance(fact, entries.CallMerged) else 0


def _copied(entry: Entry) -> tuple[str, str] | None:
    """What names a fact that counts wherever it is found first; None for all others."""
    match entry.fact:
        case entries.Issued(notice=notice):
            return "", notice
        case entries.CallMerged(call=call, source=source):
            return call, source
    return None


def told(call: str, regions: Mapping[str, Sequence[Entry]]) -> Meeting:
    """The meeting that these entries, by region, tell of."""
    meeting = Meeting(call)
    for entry in ordered(regions):
        meeting.add(entry)
    return meeting
