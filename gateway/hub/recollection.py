"""What the regions' files have of a call, read back: its facts in order, its homes, and the salts of its people.

Rules: runs on the reader threads, or on the loop with what they read; nothing here decides what holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from gateway.core import facts
from gateway.core.types import CallKey
from gateway.hub.entries import facts_of, named_regions, open_box
from gateway.hub.journal import Box, Ink
from storage.entry import decode
from storage.reader import Reader


@dataclass(frozen=True, slots=True)
class StoredCall:
    """What one region knows of a call and of those merged into it: the facts in order, each with its entry's number.

    Facts of one entry share its number. `homes` has, for each of these calls that opened here, since when it is known
    and its home region; `named` are the regions that its entries name.
    """

    homes: Mapping[CallKey, tuple[datetime, str]]
    facts: tuple[tuple[facts.AnyFact, int], ...]
    salts: Mapping[str, bytes]
    named: frozenset[str]


def stored_call(reader: Reader, keys: Iterable[CallKey]) -> StoredCall | None:
    """What a region knows of a call and its parts, None when it never heard of any. Runs on the reader thread."""
    known = [key for key in keys if reader.has_call(key)]
    if not known:
        return None
    boxes = {presence: open_box(box) for key in known for presence, box in reader.presences(key).items()}
    return gathered(call_lines(reader, known), boxes)


def call_lines(reader: Reader, keys: Iterable[CallKey]) -> list[tuple[int, bytes]]:
    """A region's lines about these calls and what it knows to be part of them, each once, in order."""
    return sorted({entry: leaf for key in keys for entry, leaf in reader.call_entries(key)}.items())


def gathered(lines: Iterable[tuple[int, bytes]], boxes: Mapping[str, Box | None]) -> StoredCall:
    """What these lines of a region, each with its number, say of a call."""
    found: list[tuple[facts.AnyFact, int]] = []
    homes: dict[CallKey, tuple[datetime, str]] = {}
    lines = list(lines)
    for entry, leaf in lines:
        for fact in facts_of(leaf, boxes):
            found.append((fact, entry))
            if isinstance(fact, facts.CallOpened) and fact.call not in homes:
                homes[fact.call] = fact.at, str(decode(leaf)["home"])
    salts = {presence: bytes.fromhex(box.salt) for presence, box in boxes.items() if box is not None}
    return StoredCall(homes, tuple(found), salts, named_regions(leaf for _, leaf in lines))


def homes_of(stored: Mapping[str, StoredCall]) -> dict[CallKey, str]:
    """The home region of each call: a call that was merged into another keeps what its own home says of it."""
    first: dict[CallKey, str] = {}
    told = [(at, region, key, home) for region, each in stored.items() for key, (at, home) in each.homes.items()]
    for _, _, key, home in sorted(told):
        first.setdefault(key, home)
    return first


def remember(ink: Ink, stored: Mapping[str, StoredCall], home: str) -> None:
    """Give a call that was read back its regions, home first, and the salts of its presences."""
    for name in sorted(stored, key=lambda name: (name != home, name)):
        ink.regions[name] = None
        ink.salts.update(stored[name].salts)
