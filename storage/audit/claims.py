"""What a pack claims beside its entries: tables, coverage, words and names, each compared with what the entries prove.

Rules: made again from the entries and compared whole; words must have the digest that the ledger keeps of them, and a
name must open the commitment of its presence. Lists that follow the order of a fold are compared in any order.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec

from storage.audit import entries, tables
from storage.audit.coverage import covered, owing
from storage.audit.entries import Entry, Malformed
from storage.audit.meeting import Meeting, Notice
from storage.audit.order import told
from storage.audit.tables import Row
from storage.entry import canonical

_SALT: Final = re.compile(r"[0-9a-f]{64}")


class Told(NamedTuple):
    """What the claims come to. `nameless` counts, by opened region, presences that are not named and not erased."""

    notices: int
    people: int
    named: int
    erased: int
    gaps: int
    nameless: Mapping[str, int]


class _Person(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A line of `participants.jsonl`."""

    name: str | None
    participant: str
    presence: str
    region: str
    salt: str


class _Words(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A text as it was told, None where whoever exported did not know it any more, and its digest."""

    digest: str
    text: dict[str, Any] | None


def check(
    files: Mapping[str, bytes],
    call: str,
    regions: Mapping[str, Sequence[Entry]],
    level: str | None,
    at: datetime,
    opened: frozenset[str],
) -> Told:
    """Compare every table of the pack with what its entries prove. Raises Malformed."""
    meeting = told(call, regions)
    if meeting.clock is not None and at < meeting.clock:
        raise Malformed("manifest.json: its time is before that of the newest entry")
    _compare(files, "levels.jsonl", tables.levels(regions), _proof)
    _compare(files, "presences.jsonl", tables.presences(regions), lambda row: str(row.get("presence")))
    _compare(files, "episodes.jsonl", tables.episodes(meeting, regions), lambda row: str(row.get("episode")))
    _check_words(files["notices.jsonl"], meeting)
    committed, erased = _committed(regions), _erased(regions)
    named = _check_people(files["participants.jsonl"], committed, erased, opened)
    _check_persons(named, meeting)
    proved = covered(meeting, level, at)
    _check_coverage(files["coverage.json"], proved)
    people = {presence.id for notice in meeting.notices for presence in owing(meeting, notice)}
    gaps = sum(len(notice["gaps"]) for notice in proved["notices"])
    known, gone = _found(meeting, named), _found(meeting, erased)
    nameless = Counter(
        region
        for region, presence in committed
        if region in opened and presence not in named and presence not in erased
    )
    return Told(len(meeting.notices), len(people), len(people & known), len(people & gone - known), gaps, nameless)


def _found(meeting: Meeting, presences: Iterable[str]) -> set[str]:
    """What these presences became part of."""
    return {found.id for presence in presences if (found := meeting.find(presence)) is not None}


def _committed(regions: Mapping[str, Sequence[Entry]]) -> dict[tuple[str, str], str]:
    """The commitment of every presence, by region and presence."""
    return {
        (entry.region, entry.fact.presence): entry.fact.commitment
        for found in regions.values()
        for entry in found
        if isinstance(entry.fact, entries.Entered)
    }


def _erased(regions: Mapping[str, Sequence[Entry]]) -> set[str]:
    """The presences of which an entry says that nobody can be named as them any more."""
    return {
        presence
        for found in regions.values()
        for entry in found
        if isinstance(entry.fact, entries.Erased)
        for presence in entry.fact.presences
    }


def _proof(row: Row) -> str:
    """An entry proves something once of each presence."""
    return f"{row.get('region')} {row.get('entry')} of presence {row.get('presence')}"


def _rows(where: str, data: bytes) -> list[Row]:
    return [entries.fields(f"{where} line {line}", each) for line, each in enumerate(entries.lines(where, data), 1)]


def _compare(files: Mapping[str, bytes], where: str, made: Iterable[Row], name: Callable[[Row], str]) -> None:
    """The lines of a file are those made from the entries: none missing, none besides, none other."""
    found = _rows(where, files[where])
    claimed, proved = {name(row): row for row in found}, {name(row): row for row in made}
    for missing in sorted(proved.keys() - claimed.keys()):
        raise Malformed(f"{where}: {missing} is missing")
    if claimed.keys() - proved.keys():
        raise Malformed(f"{where}: something is there that is in no entry")
    if len(found) != len(claimed):
        raise Malformed(f"{where}: something is there twice")
    for each, row in claimed.items():
        if canonical(row) != canonical(proved[each]):
            raise Malformed(f"{where}: {each} is not as the entries say")


def _check_coverage(data: bytes, proved: Row) -> None:
    """The coverage claimed is the one proved; where it is not, say of which notice."""
    where = "coverage.json"
    (claimed, *more) = _rows(where, data) or [{}]
    found = claimed.get("notices")
    if more or not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise Malformed(f"{where}: it is not the coverage of a call")
    by_id = {str(each.get("notice")): each for each in found}
    for notice in proved["notices"]:
        other = by_id.pop(notice["notice"], None)
        if other is None:
            raise Malformed(f"{where}: notice {notice['notice']} is missing")
        if canonical(other) != canonical(notice):
            raise Malformed(f"{where}: notice {notice['notice']}: {_difference(other, notice)}")
    if by_id:
        raise Malformed(f"{where}: something is there that is no notice of the entries")
    rest = canonical({**claimed, "notices": []}) == canonical({**proved, "notices": []})
    if not rest or len(found) != len(proved["notices"]):
        raise Malformed(f"{where}: its time or its end is not as the entries say")


def _difference(claimed: Row, proved: Row) -> str:
    """What a notice's coverage claims otherwise than the entries prove, in few words."""
    for name in ("proved", "gaps"):
        count, true = _count(claimed.get(name)), len(proved[name])
        if count != true:
            return f"{name}: {count} are claimed, the entries prove {true}"
    for name in ("proved", "gaps"):
        for one, other in zip(claimed.get(name) or (), proved[name], strict=False):
            if one != other:
                return f"{name}: presence {other['presence']} is not as the entries say"
    return "it is not as the entries say"


def _count(claimed: object) -> int:
    return len(claimed) if isinstance(claimed, list) else 0


def _check_words(data: bytes, meeting: Meeting) -> None:
    """Every notice is there, as issued, and every text has the digest that was told."""
    where = "notices.jsonl"
    rows = {str(row.get("notice")): row for row in _rows(where, data)}
    if len(rows) != len(entries.lines(where, data)) or rows.keys() != {each.fact.notice for each in meeting.notices}:
        raise Malformed(f"{where}: it does not have each notice of the entries once")
    for notice in meeting.notices:
        row, line = rows[notice.fact.notice], f"{where}: notice {notice.fact.notice}"
        texts = row.get("texts")
        if not isinstance(texts, dict) or texts.keys() != notice.fact.digests.keys():
            raise Malformed(f"{line}: it was told in other languages")
        for locale, words in texts.items():
            _check_text(f"{line} in {locale}", entries.shaped(line, words, _Words), notice, locale)
        if canonical(row) != canonical(tables.notice(notice, texts)):
            raise Malformed(f"{line}: it is not as the entries say")


def _check_text(where: str, words: _Words, notice: Notice, locale: str) -> None:
    fact = notice.fact
    if words.digest != fact.digests[locale]:
        raise Malformed(f"{where}: the digest is not the one that was told")
    if words.text is None:
        return
    said = {"notice": fact.notice, "capability": fact.capability, "change": fact.change, "text": words.text}
    if "sha256:" + hashlib.sha256(canonical(said)).hexdigest() != words.digest:
        raise Malformed(f"{where}: these are not the words that were told")


def _check_persons(named: Mapping[str, str], meeting: Meeting) -> None:
    """Presences that are said to be one person's are not two people's, where both are named."""
    persons: dict[str, str] = {}
    for presence, participant in sorted(named.items()):
        found = meeting.find(presence)
        who = presence if found is None else meeting.name(found.who)
        if persons.setdefault(who, participant) != participant:
            raise Malformed(f"participants.jsonl: presence {presence} is said to be the person of another, and is not")


def _check_people(
    data: bytes, committed: Mapping[tuple[str, str], str], erased: Set[str], opened: frozenset[str]
) -> dict[str, str]:
    """Whoever is named was there: the name opens the commitment of the presence, once, where names may be given.

    And of nobody who was erased: nothing that opens their commitment was left. Presence to raw id.
    """
    named: dict[str, str] = {}
    where = "participants.jsonl"
    for line, row in enumerate(_rows(where, data), 1):
        place = f"{where} line {line}"
        person = entries.shaped(place, row, _Person)
        if person.region not in opened:
            raise Malformed(f"{place}: nobody of this region was to be named")
        commitment = committed.get((person.region, person.presence))
        if commitment is None or person.presence in named:
            raise Malformed(f"{place}: the presence is in no entry, or was named before")
        if person.presence in erased:
            raise Malformed(f"{place}: presence {person.presence} was erased, and is named")
        # Of any other length it could be cut so that a part of the salt becomes part of the name.
        if not _SALT.fullmatch(person.salt):
            raise Malformed(f"{place}: the salt is not 32 bytes in hex")
        salted = bytes.fromhex(person.salt) + person.participant.encode()
        if commitment != "sha256:" + hashlib.sha256(salted).hexdigest():
            raise Malformed(f"{place}: presence {person.presence} is somebody else")
        named[person.presence] = person.participant
    return named
