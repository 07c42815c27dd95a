"""The story of a call as its entries tell it: folded once, for every file of the evidence pack.

Rules: folded from entries alone, never from what is in memory and without anybody's name, so that whoever holds the
entries comes to the same end whichever regions were opened; nothing here decides what coverage decides already.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

import msgspec

from gateway.core import facts, fold
from gateway.core.call import Call, Policy
from gateway.core.coverage import Standing, standings
from gateway.core.delivery import required
from gateway.core.proofs import Notice
from gateway.core.reading import in_order
from gateway.core.types import CallKey, Capability, Level, State


class Opening(NamedTuple):
    """What opens a commitment: the person, and the salt in hex."""

    participant: str
    name: str | None
    salt: str


@dataclass(frozen=True, slots=True)
class Part:
    """What one region's ledger has of the call.

    `recorded` are the facts with their entries, of which one may hold several; `lines` the entries as they stand in
    the ledger, those of events included. `people` has who the presences are that nobody erased, and nobody where the
    region is not `opened`.
    """

    region: str
    origin: str
    opened: bool
    recorded: tuple[tuple[facts.AnyFact, int], ...]
    lines: tuple[tuple[int, bytes], ...]
    people: Mapping[str, Opening] = field(repr=False)


class Opener(NamedTuple):
    """The observation that opened an episode: where its entry stands, and the digest of its event, if it had one."""

    region: str
    entry: int
    source: str
    event: str | None


class Covered(NamedTuple):
    """Where everyone stands who owes a notice, by presence, and the level that they are asked for."""

    notice: Notice
    level: Level
    standings: tuple[Standing, ...]


@dataclass(frozen=True, slots=True)
class Story:
    """A call at `at`: everything of it that an entry tells. `openers` is by episode."""

    key: CallKey
    at: datetime
    level: Level | None
    call: Call
    parts: tuple[Part, ...]
    covered: tuple[Covered, ...]
    openers: Mapping[str, Opener]

    @property
    def complete(self) -> bool:
        """Whether nobody is missing."""
        return not any(standing.gap for each in self.covered for standing in each.standings)


def folded(
    key: CallKey, regions: Mapping[str, Sequence[tuple[facts.AnyFact, int]]], homes: Mapping[CallKey, str]
) -> tuple[Call, dict[str, Opener]]:
    """The call as these facts, by region, tell it, and what opened each of its episodes."""
    call = Call(key, Policy())
    openers: dict[str, Opener] = {}
    first: dict[str, str] = {}
    claims = {region: _Claims(recorded) for region, recorded in regions.items()}
    for region, entry, fact, _ in in_order(key, regions, homes):
        fold.apply(call, _nameless(fact))
        fold.confirm(call, fact, entry)
        if isinstance(fact, facts.NoticeIssued) and fact.episode not in first:
            first[fact.episode] = fact.notice
            opener = claims[region].before(fact, entry)
            if opener is not None:
                openers[fact.episode] = Opener(region, *opener)
    return call, openers


def _nameless(fact: facts.AnyFact) -> facts.AnyFact:
    if isinstance(fact, facts.PresenceOpened):
        return msgspec.structs.replace(fact, participant=None, name=None)
    return fact


class _Claims:
    """A region's claims that something is on, to be asked for in the order of its entries."""

    def __init__(self, recorded: Sequence[tuple[facts.AnyFact, int]]) -> None:
        self._claims: dict[tuple[CallKey, Capability], list[tuple[int, str, str | None]]] = {}
        for fact, entry in recorded:
            if isinstance(fact, facts.ObservationMade) and fact.state is State.ACTIVE:
                claim = entry, fact.source, fact.event
                self._claims.setdefault((fact.call, fact.capability), []).append(claim)

    def before(self, notice: facts.NoticeIssued, entry: int) -> tuple[int, str, str | None] | None:
        """The last claim of the notice's capability in its call that stands before its entry."""
        claims = self._claims.get((notice.call, notice.capability), ())
        return next((claim for claim in reversed(claims) if claim[0] < entry), None)


def tell(key: CallKey, parts: Sequence[Part], homes: Mapping[CallKey, str], at: datetime, level: Level | None) -> Story:
    """The story of the call at `at`, or at its newest entry if that is later; `level` None: each notice at its own."""
    call, openers = folded(key, {part.region: part.recorded for part in parts}, homes)
    at = max(at, call.clock)
    covered = tuple(_covered(call, notice, required(notice, level), at) for notice in call.notices.values())
    openers = {episode: openers[episode] for episode in call.episodes if episode in openers}
    in_name_order = tuple(sorted(parts, key=lambda part: part.region))
    return Story(key, at, level, call, in_name_order, covered, openers)


def _covered(call: Call, notice: Notice, asked: Level, at: datetime) -> Covered:
    found = sorted(standings(call, notice, asked, at), key=lambda standing: standing.presence.id)
    return Covered(notice, asked, tuple(found))
