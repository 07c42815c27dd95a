"""The timelines of a report: one drawing per participant, all to one scale, readable in black and white.

Rules: shapes and hatchings tell what colours would; every drawing says in words what it shows, and the tables have the
same in figures; what all drawings share is drawn once and used again.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from gateway.core.types import Capability, Change, Level, rfc3339
from gateway.evidence.cast import Cast, Person, Span, called
from gateway.evidence.markup import Markup, element, escaped, joined
from gateway.evidence.wording import CAPABILITIES, REASONS, length

WIDTH: Final = 720
LEFT: Final = 92
RIGHT: Final = 708
LANE: Final = 11
"""Height of a lane, and of everything else in lanes."""

_STEPS: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
"""Seconds between two ticks; beyond, whole days."""
_MOST_TICKS: Final = 7
_NARROWEST: Final = 1.2
"""Nothing that lasted is drawn thinner than this."""
_APART: Final = 9.0
"""Numbers of notices nearer than this share one label."""

SHAPES: Final[dict[Level, str]] = {
    Level.SENT: '<path d="M-2.6-3.2 3.4 0-2.6 3.2z" fill="#fff" stroke="#000"/>',
    Level.RECEIVED: '<circle r="3.1" fill="#fff" stroke="#000"/>',
    Level.DISPLAYED: '<circle r="3.1" fill="#fff" stroke="#000"/><path d="M0-3.1A3.1 3.1 0 0 0 0 3.1z"/>',
    Level.ACKNOWLEDGED: '<circle r="3.5"/>',
    Level.CONSENTED: '<path d="M-3-3H3V3H-3z"/>',
    Level.DECLINED: '<path d="M-3-3 3 3M3-3-3 3" fill="none" stroke="#000" stroke-width="1.6"/>',
    Level.WITHDRAWN: '<path d="M-3-3H3V3H-3zM-3 3 3-3" fill="#fff" stroke="#000"/>',
}
"""How each level is drawn, around its own middle."""

_CONSENT: Final = (Level.CONSENTED, Level.DECLINED, Level.WITHDRAWN)
_LANE_NAMES: Final = ("sent", "received", "displayed", "acknowledged", "consent")


def lane_of(level: Level) -> str:
    """The lane a level is drawn in: one for each of the ranked, one for all that is said of consent."""
    return "consent" if level in _CONSENT else level.value


class Band(NamedTuple):
    """A stretch of an episode: what was on, and whether it was paused."""

    capability: Capability
    paused: bool
    span: Span


class Stage:
    """The scale, the lanes and the ground that every drawing of a report shares."""

    def __init__(self, cast: Cast) -> None:
        self._cast: Final = cast
        self._seconds: Final = max((cast.end - cast.start).total_seconds(), 1.0)
        self.bands: Final = list(_bands(cast))
        shown = {lane_of(mark.level) for person in cast.people for mark in person.marks}
        capabilities = [each for each in Capability if any(band.capability is each for band in self.bands)]
        names = [CAPABILITIES[each].lower() for each in capabilities]
        names += ["present", *(lane for lane in _LANE_NAMES if lane in shown)]
        self.lanes: Final = {name: 3 + LANE * place for place, name in enumerate(names)}
        self.height: Final = 6 + LANE * len(names)

    def x(self, moment: datetime) -> float:
        """Where a moment stands."""
        share = (moment - self._cast.start).total_seconds() / self._seconds
        return round(LEFT + min(max(share, 0.0), 1.0) * (RIGHT - LEFT), 1)

    def box(self, span: Span, top: float, height: float, kind: str) -> str:
        """A rectangle over a span of time."""
        start = self.x(span.start)
        width = max(self.x(span.end or self._cast.end) - start, _NARROWEST)
        return f'<rect class="{kind}" x="{start:g}" y="{top:g}" width="{width:g}" height="{height:g}"/>'

    def definitions(self) -> Markup:
        """What the drawings use, itself invisible."""
        shapes = [f'<g id="m-{level.value}">{shape}</g>' for level, shape in SHAPES.items()]
        ground = f'<g id="ground">{"".join(self._ground())}</g>'
        return Markup(
            '<svg width="0" height="0" class="unseen" aria-hidden="true"><defs>'
            '<pattern id="p-recording" width="4" height="4" patternUnits="userSpaceOnUse" '
            'patternTransform="rotate(45)"><path d="M0 0V4" stroke="#000" stroke-width="2.2"/></pattern>'
            '<pattern id="p-transcription" width="3.5" height="3.5" patternUnits="userSpaceOnUse">'
            '<circle cx="1.75" cy="1.75" r="1"/></pattern>'
            f"{''.join(shapes)}{ground}</defs></svg>"
        )

    def _ground(self) -> Iterator[str]:
        bottom = self.height + LANE
        for tick in self._ticks():
            yield f'<path class="grid" d="M{self.x(tick):g} 0V{bottom}"/>'
        for name, top in self.lanes.items():
            yield f'<text class="lane" x="{LEFT - 6}" y="{top + 8}">{escaped(name)}</text>'
        for band in self.bands:
            kind = f"{band.capability.value}{' paused' if band.paused else ''}"
            yield self.box(band.span, self.lanes[CAPABILITIES[band.capability].lower()] + 1, LANE - 3, kind)
        for covered in self._cast.story.covered:
            yield f'<path class="told" d="M{self.x(covered.notice.fact.at):g} 0V{bottom}"/>'

    def axis(self) -> Markup:
        """The scale: the time at each tick, and which notice each line is."""
        drawn = [
            f'<text class="tick" x="{self.x(tick):g}" y="9">{escaped(self._tick(tick))}</text>'
            f'<path class="grid" d="M{self.x(tick):g} 11V24"/>'
            for tick in self._ticks()
        ]
        drawn += [
            f'<text class="number" x="{place:g}" y="22">{escaped(numbers)}</text>' for place, numbers in self._labels()
        ]
        return Markup(f'<svg class="axis" viewBox="0 0 {WIDTH} 24" aria-hidden="true">{"".join(drawn)}</svg>')

    def _labels(self) -> Iterator[tuple[float, str]]:
        """The notices' numbers under the ticks, those that stand too close together as one."""
        group: list[int] = []
        at = last = 0.0
        for covered in sorted(self._cast.story.covered, key=lambda each: each.notice.fact.at):
            place = self.x(covered.notice.fact.at)
            if group and place - last > _APART:
                yield at, _numbers(group)
                group = []
            at = at if group else place
            last = place
            group.append(self._cast.numbers[covered.notice.id])
        if group:
            yield at, _numbers(group)

    def _ticks(self) -> list[datetime]:
        wanted = self._seconds / _MOST_TICKS
        step = next((each for each in _STEPS if each >= wanted), 86400 * (int(wanted) // 86400 + 1))
        midnight = self._cast.start.replace(hour=0, minute=0, second=0, microsecond=0)
        begun = -(-(self._cast.start - midnight) // timedelta(seconds=step))
        first = midnight + timedelta(seconds=step) * begun
        count = int((self._cast.end - first).total_seconds() // step) + 1
        return [first + timedelta(seconds=step) * place for place in range(max(count, 0))]

    def _tick(self, moment: datetime) -> str:
        written = rfc3339(moment)
        if self._seconds > 2 * 86400:
            return written[5:16].replace("T", " ")
        return written[11:19] if moment.second or self._seconds < 600 else written[11:16]


def figure(stage: Stage, cast: Cast, person: Person, number: int) -> Markup:
    """The timeline of one participant; `number` tells its parts from those of others."""
    label = person.label
    named = label.participant is not None and label.participant != label.text
    identity = joined(" ", element("code", str(label.participant))) if named else ""
    owed = joined(" – ", _missed(person)) if person.missing else joined(" – ", "nothing missing")
    height = stage.height + (LANE if person.missing else 0)
    drawing = Markup(
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="t{number} d{number}">'
        f'<title id="t{number}">{escaped("Timeline of " + label.text)}</title>'
        f'<desc id="d{number}">{escaped(" ".join(_said(cast, person)))}</desc>'
        f'<use href="#ground"/>{"".join(_drawn(stage, person))}</svg>'
    )
    return element("figure", element("figcaption", element("strong", called(label)), identity, owed), drawing)


def _drawn(stage: Stage, person: Person) -> Iterator[str]:
    top = stage.lanes["present"]
    for presence in person.presences:
        yield stage.box(Span(presence.opened_at, presence.closed_at), top + 1, LANE - 3, "there")
    for span in person.connected:
        yield stage.box(span, top + 1, LANE - 3, "here")
    for mark in person.marks:
        place = stage.lanes[lane_of(mark.level)] + 5
        yield f'<use href="#m-{mark.level.value}" x="{stage.x(mark.at):g}" y="{place}"/>'
    if person.missing:
        top = stage.height - 2
        yield f'<text class="lane gap" x="{LEFT - 6}" y="{top + 8}">gap</text>'
        for missing in person.missing:
            yield stage.box(missing.span, top + 1, LANE - 4, "gap")


def _missed(person: Person) -> str:
    by_notice = [f"{REASONS[each.gap.reason]} (notice {each.number})" for each in person.missing]
    return "; ".join(by_notice)


def _said(cast: Cast, person: Person) -> Iterator[str]:
    """The drawing in words."""
    for presence in person.presences:
        end = "still there" if presence.closed_at is None else f"until {cast.time(presence.closed_at)}"
        yield f"In the call from {cast.time(presence.opened_at)} {end}."
    for mark in person.marks:
        yield f"Notice {mark.number} {mark.level.value} at {cast.time(mark.at)}."
    for missing in person.missing:
        yield f"Notice {missing.number} not proved for {length(missing.gap.exposure)}: {REASONS[missing.gap.reason]}."


def _bands(cast: Cast) -> Iterator[Band]:
    """Each episode from change to change."""
    notices: dict[str, list[tuple[datetime, Change]]] = {}
    for covered in cast.story.covered:
        fact = covered.notice.fact
        notices.setdefault(fact.episode, []).append((fact.at, fact.change))
    for episode in cast.story.call.episodes.values():
        told = notices.get(episode.id, [])
        for place, (at, change) in enumerate(told):
            end = told[place + 1][0] if place + 1 < len(told) else episode.ended_at
            if change in (Change.STARTED, Change.RESUMED, Change.PAUSED):
                yield Band(episode.capability, change is Change.PAUSED, Span(at, end))


def _numbers(group: list[int]) -> str:
    first, last = group[0], group[-1]
    return str(first) if first == last else f"{first}–{last}"


def legend(stage: Stage) -> Markup:
    """What the drawings' shapes mean: those that are used in this report."""
    shown = [level for level in Level if lane_of(level) in stage.lanes]
    items = [_key(f'<use href="#m-{level.value}" x="12" y="6"/>', level.value) for level in shown]
    for capability in Capability:
        if CAPABILITIES[capability].lower() in stage.lanes:
            box = f'<rect class="{capability.value}" x="1" y="2" width="22" height="8"/>'
            items.append(_key(box, f"{CAPABILITIES[capability].lower()} is on"))
    if any(band.paused for band in stage.bands):
        items.append(_key('<rect class="paused" x="1" y="2" width="22" height="8"/>', "paused"))
    items.append(_key('<rect class="here" x="1" y="2" width="22" height="8"/>', "in the call and connected"))
    items.append(_key('<rect class="there" x="1" y="2" width="22" height="8"/>', "in the call, not connected"))
    items.append(_key('<rect class="gap" x="1" y="2" width="22" height="7"/>', "gap: not proved"))
    items.append(_key('<path class="told" d="M12 0V12"/>', "a notice was issued"))
    return element("ul", *items, class_="legend")


def _key(drawing: str, words: str) -> Markup:
    return element("li", Markup(f'<svg viewBox="0 0 24 12" aria-hidden="true">{drawing}</svg>'), words)
