"""The report of an evidence pack: one page that a compliance officer reads and prints.

Rules: self-contained (no script, nothing fetched); every value is escaped; the same story makes the same bytes; what
it says follows from the entries beside it, and it says how to check that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from gateway.evidence import tables
from gateway.evidence.cast import Cast, totals
from gateway.evidence.markup import Child, Markup, element, joined
from gateway.evidence.story import Story
from gateway.evidence.style import STYLE
from gateway.evidence.timeline import Stage, figure, legend
from gateway.evidence.wording import LEVELS, counted, full

_AXIS_EVERY: Final = 8
"""After so many drawings the scale is shown again."""

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
"""Whatever a browser may think it finds in the page, it fetches and runs nothing."""


def report(story: Story) -> bytes:
    """`report.html`."""
    cast = Cast(story)
    head = element(
        "head",
        element("meta", charset="utf-8"),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", f"Evidence: {story.key.call}"),
        element("style", Markup(STYLE)),
    )
    body = element("body", element("header", *_header(cast)), element("main", *_main(cast)))
    page = joined(Markup("<!DOCTYPE html>\n"), element("html", head, body, lang="en"), Markup("\n"))
    return page.encode("utf-8", "backslashreplace")


def verdict(story: Story) -> str:
    """The outcome in one sentence."""
    people, proved, unreached, gaps = totals(story.covered)
    if not story.covered:
        return "No recording or transcription was known of: nobody had to be told anything."
    if not people:
        return "Nobody was there who had to be told."
    if not gaps:
        everyone = "The one participant" if people == 1 else f"Each of {people} participants"
        return f"{everyone} proved what was asked."
    never = f" Nothing was sent to {unreached} of them." if unreached else ""
    return f"{proved} of {counted(people, 'participant')} proved all that was asked; {counted(gaps, 'gap')}.{never}"


def _header(cast: Cast) -> Iterator[Markup]:
    story = cast.story
    yield element("p", "Evidence of notices", class_="kind")
    yield element("h1", element("bdi", story.key.call))
    complete = element("p", element("span", verdict(story), class_="said"))
    why = element("p", _meaning(story))
    yield element("div", complete, why, class_="verdict" if story.complete else "verdict open")
    regions = [f"{part.region} ({'people named' if part.opened else 'nobody named'})" for part in story.parts]
    ended = full(cast.end) if story.call.ended else "still on when this was made"
    terms: list[tuple[str, Child]] = [
        ("organisation", element("bdi", story.key.organization) if story.key.organization else "nobody's yet"),
        ("began", full(cast.start)),
        ("ended", ended),
        ("made at", full(story.at)),
        ("asked", "each notice at its own level" if story.level is None else story.level.value),
        ("regions", ", ".join(regions)),
        ("notices", str(len(story.covered))),
        ("people", _attendance(cast)),
    ]
    yield element("dl", *(element("div", element("dt", name), element("dd", value)) for name, value in terms))
    yield _check(story)


def _check(story: Story) -> Markup:
    """What makes the page more than a page."""
    return element(
        "p",
        "A page on its own proves nothing. This one was made from the ledger entries beside it; README.txt says "
        "how anyone can check them against the signed checkpoints of ",
        element("code", ", ".join(part.origin for part in story.parts)),
        ", with the public key alone: ",
        element("code", "gateway evidence verify FILE --key VKEY_FILE"),
        class_="check",
    )


def _attendance(cast: Cast) -> str:
    watching = f", {counted(cast.observers, 'observer')}" if cast.observers else ""
    others = f", {counted(cast.story.call.others, 'other')} who owe nothing here" if cast.story.call.others else ""
    return f"{counted(len(cast.people), 'participant')}{watching}{others}"


def _meaning(story: Story) -> str:
    if story.complete:
        return "Everyone who was in the call while something was on proved the level that was asked of each notice."
    return (
        "A gap is somebody who was in the call while something was on, and a notice of it of which the level that was "
        "asked is not proved. The table of gaps says how far it is."
    )


def _main(cast: Cast) -> Iterator[Markup]:
    yield element("h2", "What was on")
    yield tables.episodes(cast) if cast.story.call.episodes else element("p", "Nothing was.")
    yield element("h2", "Gaps")
    yield tables.gaps(cast)
    if cast.story.covered:
        yield element("h2", "What everyone had to be told")
        yield tables.notices(cast)
        yield element("h2", "Who was told, and when")
        yield element("p", "Times are UTC, as the gateway wrote them down. ", *_levels(cast))
        yield tables.told(cast)
    if cast.people:
        yield element("h2", "Timelines")
        yield from _timelines(cast)


def _levels(cast: Cast) -> Iterator[str]:
    """What the levels mean that occur."""
    shown = {mark.level for person in cast.people for mark in person.marks}
    meanings = [f"{level.value}: {meaning}" for level, meaning in LEVELS.items() if level in shown]
    if meanings:
        yield f"{'; '.join(meanings)}."


def _timelines(cast: Cast) -> Iterator[Markup]:
    stage = Stage(cast)
    yield element("p", "All to the same scale; the tables above say the same in figures.")
    yield stage.definitions()
    yield legend(stage)
    for number, person in enumerate(cast.people, 1):
        if number % _AXIS_EVERY == 1:
            yield stage.axis()
        yield figure(stage, cast, person, number)
