"""Whether a pack has every entry of its call: from every region, of the call and of all that became part of it.

Rules: the ledger counts the entries of each call (`ahead`), so that none can be left out from between, and the export's
own entries count on behind the last of each; the entries themselves name the regions and calls that must be there.
What comes after the pack was made is counted and no fault.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Final

from storage.audit import entries
from storage.audit.entries import Entry, Malformed
from storage.audit.proved import Part

EVENT: Final = "event"
"""The kind of the entry of an event, which is about no call."""


def check_whole(parts: Mapping[str, Part], organization: str, call: str) -> int:
    """How many entries of the call came after the pack was made. Raises Malformed if any before is missing."""
    family = _family(parts, call)
    for part in parts.values():
        _check_entries(part, organization, family)
        _check_count(part, call, family)
    _check_regions(parts, family)
    later = 0
    for part in parts.values():
        for export, cover in zip(part.exports, part.exports[0].covers, strict=True):
            after = export.ahead - cover.entries
            if after < 0:
                raise Malformed(f"regions/{part.region}/export.jsonl: it covers more entries than there were")
            later += after
    return later


def _facts(parts: Mapping[str, Part]) -> list[entries.Fact]:
    return [entry.fact for part in parts.values() for entry in part.entries if entry.fact is not None]


def _family(parts: Mapping[str, Part], call: str) -> set[str]:
    """The call and all that became part of it, directly or not."""
    sources: dict[str, set[str]] = {}
    for fact in _facts(parts):
        if isinstance(fact, entries.CallMerged):
            sources.setdefault(fact.call, set()).add(fact.source)
    family, fresh = {call}, {call}
    while fresh:
        fresh = set().union(*(sources.get(each, ()) for each in fresh)) - family
        family |= fresh
    return family


def _check_entries(part: Part, organization: str, family: Set[str]) -> None:
    """Every entry is of the call, or of an event, and stands in the ledger that it belongs to."""
    stamped = False
    for line, entry in enumerate(part.entries, 1):
        where = f"regions/{part.region}/entries.jsonl line {line}"
        about = entry.fields.get("call")
        own = about in family if isinstance(about, str) else entry.fields.get("kind") == EVENT and about is None
        if not own or (about is not None and entry.fields.get("organization") != organization):
            raise Malformed(f"{where}: it is of another call")
        if getattr(entry.fact, "region", part.region) != part.region:
            raise Malformed(f"{where}: it is of another region")
        if stamped and "after_us" not in entry.fields:
            raise Malformed(f"{where}: it lacks the stamps that the ledger gives")
        stamped = stamped or "after_us" in entry.fields


def _check_count(part: Part, call: str, family: Set[str]) -> None:
    """Of each call as many entries as were exported, counted from the first to the last by the ledger itself."""
    place = f"regions/{part.region}"
    covers = part.exports[0].covers
    if [cover.call for cover in covers] != [call, *sorted(family - {call})]:
        raise Malformed(f"{place}/export.jsonl: it covers other calls than the entries tell of")
    found: dict[object, list[Entry]] = {each: [] for each in family}
    for entry in part.entries:
        if "call" in entry.fields:
            found[entry.fields["call"]].append(entry)
    for cover in covers:
        for expected, entry in enumerate(found[cover.call]):
            ahead = entry.fields.get("ahead")
            if "after_us" in entry.fields and (type(ahead) is not int or ahead != expected):
                raise Malformed(f"{place}/entries.jsonl: entries are missing or moved before entry {entry.number}")
        if len(found[cover.call]) != cover.entries:
            counts = f"{cover.entries} entries of call {cover.call} were exported, {len(found[cover.call])} are there"
            raise Malformed(f"{place}/entries.jsonl: {counts}")


def _check_regions(parts: Mapping[str, Part], family: Set[str]) -> None:
    """Every region that the entries say the call was in is there, and something of every call that became part."""
    opened = set()
    for fact in _facts(parts):
        named: tuple[str, ...] = ()
        if isinstance(fact, entries.CallSpread):
            named = (fact.into,)
        if isinstance(fact, entries.CallOpened):
            named = (fact.home, *fact.unserved)
            opened.add(fact.call)
        for region in named:
            if region not in parts:
                raise Malformed(f"the call was in region {region} too, of which nothing is there")
    for missing in sorted(family - opened):
        raise Malformed(f"call {missing} became part of it, and of its beginning nothing is there")
