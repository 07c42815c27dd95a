"""The tables of a pack, made again from its entries: who came, what was proved, which episodes there were.

Rules: those of docs/ledger.md; what is made here is compared with what the pack says, so nothing is taken from there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from storage.audit import entries
from storage.audit.entries import Entry
from storage.audit.meeting import Meeting, Notice
from storage.audit.order import homes
from storage.moment import rfc3339

Row = dict[str, Any]
"""A line of a table, by the names of its fields."""

Regions = Mapping[str, Sequence[Entry]]
"""The entries of a pack, by region."""

OPENING: Final = "active"
"""The state whose claim opens an episode."""


def _at(moment: datetime | None) -> str | None:
    return None if moment is None else rfc3339(moment)


def levels(regions: Regions) -> Iterator[Row]:
    """The lines of `levels.jsonl`."""
    for name in sorted(regions):
        for entry in regions[name]:
            fact = entry.fact
            if not isinstance(fact, entries.Proved | entries.ProvedTogether):
                continue
            for word in fact.proofs:
                yield {
                    "at": rfc3339(fact.at),
                    "device": word.device,
                    "digest": fact.digest,
                    "entry": entry.number,
                    "level": fact.level,
                    "notice": fact.notice,
                    "presence": word.presence,
                    "region": fact.region,
                    "reported_at": rfc3339(word.reported_at),
                    "session": word.session,
                }


def presences(regions: Regions) -> Iterator[Row]:
    """The lines of `presences.jsonl`."""
    for name in sorted(regions):
        yield from _came(regions[name])


def _came(found: Sequence[Entry]) -> list[Row]:
    """One region's presences with their sessions, in the order of their entries."""
    rows: dict[str, Row] = {}
    parts: dict[str, set[str]] = {}
    for entry in found:
        match entry.fact:
            case entries.Entered() as fact:
                rows[fact.presence] = _opened(fact, entry.number)
                parts[fact.presence] = {fact.presence}
            case entries.CallMerged(united=united):
                for part, whole in united:
                    if part in parts and whole in parts:
                        parts[whole] |= parts[part]
            case entries.Joined() as fact if fact.presence in rows:
                session = {"session": fact.session, "device": fact.device, "joined_at": rfc3339(fact.at)}
                rows[fact.presence]["sessions"].append({**session, "left_at": None, "reason": None})
            case entries.Lost() | entries.Closed() as fact:
                for part in parts.get(fact.presence, ()):
                    _go(rows[part], fact)
    return list(rows.values())


def _opened(fact: entries.Entered, number: int) -> Row:
    return {
        "closed_at": None,
        "closed_reason": None,
        "entry": number,
        "listed": fact.listed,
        "opened_at": rfc3339(fact.at),
        "presence": fact.presence,
        "region": fact.region,
        "role": fact.role,
        "sessions": [],
        "who": fact.who,
    }


def _go(row: Row, fact: entries.Lost | entries.Closed) -> None:
    """A session of the presence is gone, or the presence is over."""
    if isinstance(fact, entries.Closed):
        if row["closed_at"] is None:
            row |= {"closed_at": rfc3339(fact.at), "closed_reason": fact.reason}
        return
    for session in row["sessions"]:
        if session["session"] == fact.session and session["left_at"] is None:
            session |= {"left_at": rfc3339(fact.at), "reason": fact.reason}


def episodes(meeting: Meeting, regions: Regions) -> Iterator[Row]:
    """The lines of `episodes.jsonl`, in any order."""
    told: dict[str, list[str]] = {}
    for notice in meeting.notices:
        told.setdefault(notice.fact.episode, []).append(notice.fact.notice)
    openers = _Openers(regions)
    for episode in meeting.episodes:
        if episode.id in told:
            yield {
                "capability": episode.capability,
                "ended_at": _at(episode.ended_at),
                "episode": episode.id,
                "notices": told[episode.id],
                "opened_by": openers.of(told[episode.id][0]),
                "started_at": rfc3339(episode.started_at),
            }


class _Openers:
    """Which claim opened what: the last that a capability is on before the notice, where the notice is at home."""

    def __init__(self, regions: Regions) -> None:
        home = homes(regions)
        self._claims: dict[tuple[str, str, str], list[Entry]] = {}
        self._places: dict[str, Entry] = {}
        for region in sorted(regions):
            for entry in regions[region]:
                fact = entry.fact
                if isinstance(fact, entries.Observed) and fact.state == OPENING:
                    self._claims.setdefault((region, fact.call, fact.capability), []).append(entry)
                elif isinstance(fact, entries.Issued) and (
                    fact.notice not in self._places or region == home.get(fact.call) != self._places[fact.notice].region
                ):
                    self._places[fact.notice] = entry

    def of(self, notice: str) -> Row | None:
        """The claim before this notice."""
        place = self._places[notice]
        assert isinstance(place.fact, entries.Issued)
        for claim in reversed(self._claims.get((place.region, place.fact.call, place.fact.capability), ())):
            if claim.number < place.number:
                return {
                    "entry": claim.number,
                    "event": claim.fields.get("event"),
                    "region": place.region,
                    "source": claim.fields["source"],
                }
        return None


def notice(told: Notice, texts: Mapping[str, Any]) -> Row:
    """The line of `notices.jsonl` for a notice with these texts."""
    fact = told.fact
    return {
        "capability": fact.capability,
        "change": fact.change,
        "deadline_at": rfc3339(fact.deadline_at),
        "episode": fact.episode,
        "issued_at": rfc3339(fact.at),
        "notice": fact.notice,
        "occurred_at": rfc3339(fact.occurred_at),
        "require": fact.require,
        "revision": fact.revision,
        "texts": dict(texts),
    }
