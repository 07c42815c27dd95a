"""The cast of a report: the people of a call, what each is called in it, and what happened to each.

Rules: somebody is named only where the region was opened and nobody erased them, and called erased only where an entry
says so; everybody else keeps a number, so that two are never taken for one. A person is all their presences in the
call.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from gateway.core import facts
from gateway.core.coverage import Gap
from gateway.core.presence import Presence
from gateway.core.proofs import Notice
from gateway.core.types import RANKED, Level, Role, rfc3339
from gateway.evidence.attendance import Attendance, Row
from gateway.evidence.markup import Markup, element
from gateway.evidence.story import Covered, Opening, Story
from gateway.evidence.wording import day

ERASED: Final = "erased participant"
LOST: Final = "participant whose name is lost"
"""Of neither the name can be opened; only of the first the ledger says why."""


class Label(NamedTuple):
    """What somebody is called in the report, and the raw id where it may be shown."""

    text: str
    participant: str | None


class Span(NamedTuple):
    """From when to when; `end` None: still so when the pack was made."""

    start: datetime
    end: datetime | None


class Mark(NamedTuple):
    """A level that is proved of a notice, by number, and when."""

    number: int
    level: Level
    at: datetime


class Missing(NamedTuple):
    """A gap, and the number of its notice."""

    number: int
    gap: Gap

    @property
    def span(self) -> Span:
        """How long the participant was exposed."""
        return Span(self.gap.since, self.gap.since + self.gap.exposure)


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who owed something: presences in order, connections, what they proved, and what they did not."""

    label: Label
    presences: tuple[Presence, ...]
    connected: tuple[Span, ...]
    marks: tuple[Mark, ...]
    missing: tuple[Missing, ...]


class Cast:
    """Everybody who owed a notice, and the period of the call."""

    def __init__(self, story: Story) -> None:
        self.story: Final = story
        self.numbers: Final = {covered.notice.id: number for number, covered in enumerate(story.covered, 1)}
        times = [fact.at for part in story.parts for fact, _ in part.recorded]
        self.start: Final[datetime] = min(times, default=story.at)
        self.end: Final[datetime] = self._end()
        self._days: Final = day(self.start) != day(self.end)
        presences = list(dict.fromkeys(story.call.presences.values()))
        self.observers: Final = len({each.who for each in presences if each.role is Role.OBSERVER})
        self._labels: Final = self._name(sorted(presences, key=_order))
        self.people: Final = self._people([each for each in presences if each.owes])

    def _end(self) -> datetime:
        """The end of what there is to show: the call's, or the pack's own time while the call goes on."""
        if not self.story.call.ended:
            return self.story.at
        own = (facts.LevelProved, facts.SessionLeft, facts.CallEnded, facts.NoticeIssued, facts.PresenceClosed)
        told = [fact.at for part in self.story.parts for fact, _ in part.recorded if isinstance(fact, own)]
        return max(told, default=self.story.at)

    def time(self, moment: datetime | None) -> str:
        """A time of the call: with its date only where the call has several; a dash where there is none."""
        if moment is None:
            return "–"
        written = rfc3339(moment)
        return f"{written[:10]} {written[11:-1]}" if self._days else written[11:-1]

    def label(self, presence: str) -> Label:
        """What the participant of a presence is called."""
        return self._labels[self.story.call.presences[presence].who]

    def _name(self, presences: list[Presence]) -> dict[str, Label]:
        known, erased = self._known(), self._erased()
        opened = {part.region for part in self.story.parts if part.opened}
        labels: dict[str, Label] = {}
        counts: dict[str, int] = {}
        for presence in presences:
            if presence.who in labels:
                continue
            opening = known.get(presence.who)
            if opening is not None:
                text, participant = opening.name or opening.participant, opening.participant
            else:
                lost = ERASED if presence.who in erased else LOST
                text, participant = lost if presence.region in opened else f"participant in {presence.region}", None
            counts[text] = count = counts.get(text, 0) + 1
            numbered = opening is None or count > 1
            labels[presence.who] = Label(f"{text} {count}" if numbered else text, participant)
        return labels

    def _known(self) -> dict[str, Opening]:
        """Who somebody is, by the name that the entries have for them."""
        found: dict[str, Opening] = {}
        for part in self.story.parts:
            for name, opening in part.people.items():
                presence = self.story.call.presences.get(name)
                if part.opened and presence is not None:
                    found.setdefault(presence.who, opening)
        return found

    def _erased(self) -> set[str]:
        """Who was erased by the word of an entry, by the name that the entries have for them."""
        presences = self.story.call.presences
        told = [fact for part in self.story.parts for fact, _ in part.recorded]
        gone = [name for fact in told if isinstance(fact, facts.PresencesErased) for name in fact.presences]
        return {presences[name].who for name in gone if name in presences}

    def _people(self, presences: list[Presence]) -> tuple[Person, ...]:
        by_who: dict[str, list[Presence]] = {}
        for presence in sorted(presences, key=_order):
            by_who.setdefault(presence.who, []).append(presence)
        connected = self._connections()
        missing: dict[str, list[Missing]] = {}
        for covered in self.story.covered:
            for standing in covered.standings:
                if standing.gap is not None:
                    gap = Missing(self.numbers[covered.notice.id], standing.gap)
                    missing.setdefault(standing.presence.who, []).append(gap)
        return tuple(
            Person(
                self._labels[who],
                tuple(theirs),
                tuple(span for each in theirs for span in connected.get(each.id, ())),
                tuple(self._marks(who, theirs)),
                tuple(missing.get(who, ())),
            )
            for who, theirs in by_who.items()
        )

    def _connections(self) -> dict[str, list[Span]]:
        """When each presence had a session, one span for each."""
        found: dict[str, list[Span]] = {}
        for part in self.story.parts:
            for name, row in Attendance(part).rows.items():
                presence = self.story.call.presences.get(name)
                if presence is not None:
                    found.setdefault(presence.id, []).extend(_spans(row))
        return found

    def _marks(self, who: str, presences: list[Presence]) -> list[Mark]:
        marks = []
        for covered in self.story.covered:
            for level, at in proved(covered.notice, who, presences).items():
                marks.append(Mark(self.numbers[covered.notice.id], level, at))
        return marks


def called(label: Label) -> Markup:
    """A label as it is shown: in italics where it is nobody's name, so that no name can pass for one."""
    if label.participant is None:
        return element("em", element("bdi", label.text))
    return element("code" if label.text == label.participant else "bdi", label.text)


def proved(notice: Notice, who: str, presences: list[Presence]) -> dict[Level, datetime]:
    """When each level of the notice was first proved by this person, in the order of `Level`."""
    standing = {level: notice.said(who, level) for level in Level}
    said = {level: proof.at for level, proof in standing.items() if proof is not None}
    sent = [notice.sent[each.id].at for each in presences if each.id in notice.sent]
    if sent:
        said[Level.SENT] = min(sent)
    return {level: said[level] for level in Level if level in said}


def furthest(notice: Notice, presence: Presence) -> Level | None:
    """The highest ranked level that is proved of the notice, None where it is not even proved that it was sent."""
    said = proved(notice, presence.who, [presence])
    return next((level for level in reversed(RANKED) if level in said), None)


class Totals(NamedTuple):
    """How many people owed something, proved all of it, were not even sent something they owed; and how many gaps."""

    people: int
    proved: int
    unreached: int
    gaps: int


def totals(covered: tuple[Covered, ...]) -> Totals:
    """The outcome in figures."""
    owed = {standing.presence.who for each in covered for standing in each.standings}
    gaps = [(each.notice, standing.presence) for each in covered for standing in each.standings if standing.gap]
    missing = {presence.who for _, presence in gaps}
    unreached = {presence.who for notice, presence in gaps if furthest(notice, presence) is None}
    return Totals(len(owed), len(owed - missing), len(unreached), len(gaps))


def _order(presence: Presence) -> tuple[datetime, str]:
    return presence.opened_at, presence.id


def _spans(row: Row) -> list[Span]:
    ends = [session["left_at"] or row["closed_at"] for session in row["sessions"]]
    return [
        Span(datetime.fromisoformat(session["joined_at"]), None if end is None else datetime.fromisoformat(end))
        for session, end in zip(row["sessions"], ends, strict=True)
    ]
