"""The tables of a report: episodes, notices with their words, who was told of each and when, and every gap.

Rules: what a table says of a person it says by the label of the cast; every proof names the entry that is its place in
the ledger; the words of a notice are those that participants read.
"""

from __future__ import annotations

from collections.abc import Iterator

from gateway.core import facts
from gateway.core.catalogue import FALLBACK, Text
from gateway.core.coverage import Standing
from gateway.core.types import Level
from gateway.evidence.cast import Cast, called, furthest, proved
from gateway.evidence.markup import Child, Markup, element, escaped, joined, table
from gateway.evidence.records import texts
from gateway.evidence.story import Covered
from gateway.evidence.wording import CAPABILITIES, REASONS, counted, length, what


def person(cast: Cast, presence: str) -> Markup:
    """What somebody is called; in italics where it is not their name."""
    return called(cast.label(presence))


def _unbroken(text: str) -> Markup:
    return element("span", text, class_="n")


def episodes(cast: Cast) -> Markup:
    """Each run of recording or transcription, and who said so first."""
    story = cast.story
    rows: list[list[Child]] = []
    for episode in story.call.episodes.values():
        told = [str(cast.numbers[each.notice.id]) for each in story.covered if each.notice.fact.episode == episode.id]
        end = episode.ended_at or story.at
        rows.append(
            [
                CAPABILITIES[episode.capability],
                _unbroken(cast.time(episode.started_at)),
                _unbroken("still on" if episode.ended_at is None else cast.time(episode.ended_at)),
                _unbroken(length(end - episode.started_at)),
                _opened_by(cast, episode.id),
                ", ".join(told),
            ]
        )
    return table(
        "Each time something was on", ["what", "started", "ended", "lasted", "first reported by", "notices"], rows
    )


def _opened_by(cast: Cast, episode: str) -> Markup:
    opener = cast.story.openers.get(episode)
    if opener is None:
        return escaped("–")
    place = element("small", f"entry {opener.entry} in {opener.region}")
    if opener.source in cast.story.call.presences:
        return joined(person(cast, opener.source), " ", place)
    return joined(opener.source.partition("/")[0].replace("_", " "), " ", place)


def notices(cast: Cast) -> Markup:
    """Each notice: when, at what level it is owed, how many proved it, and the exact words."""
    return joined(*(_notice(cast, covered) for covered in cast.story.covered))


def _notice(cast: Cast, covered: Covered) -> Markup:
    fact, number = covered.notice.fact, cast.numbers[covered.notice.id]
    gaps = sum(1 for each in covered.standings if each.gap is not None)
    owed = len(covered.standings)
    told = f"{owed - gaps} of {counted(owed, 'participant')} proved" if owed else "nobody owed it"
    facts_of: list[tuple[str, Child]] = [
        ("issued", cast.time(fact.at)),
        ("happened", cast.time(fact.occurred_at)),
        ("due by", cast.time(fact.deadline_at)),
        ("asked", covered.level.value),
        ("outcome", f"{told}, {counted(gaps, 'gap')}" if gaps else told),
        ("id", element("code", fact.notice)),
    ]
    head = element("h3", element("span", str(number), class_="no"), " ", what(fact.capability, fact.change))
    terms = element("dl", *(element("div", element("dt", name), element("dd", value)) for name, value in facts_of))
    return element("section", head, terms, *_words(covered, _shown_in(cast, covered)), class_="notice")


def _shown_in(cast: Cast, covered: Covered) -> set[str]:
    """The digests of the texts that clients said they showed."""
    return {
        fact.digest
        for part in cast.story.parts
        for fact, _ in part.recorded
        if isinstance(fact, facts.LevelProved) and fact.notice == covered.notice.id and fact.digest is not None
    }


def _words(covered: Covered, shown: set[str]) -> Iterator[Markup]:
    """The words in the default language and in every language they were shown in; of the others the names."""
    others: list[str] = []
    every = texts(covered.notice.fact)
    for locale in sorted(every, key=lambda locale: (locale != FALLBACK, locale)):
        digest, text = every[locale]
        if locale == FALLBACK or digest in shown:
            yield _quoted(locale, digest, text)
        else:
            others.append(locale)
    if others:
        yield element("p", f"Also ready in: {', '.join(others)} (words and digests in notices.jsonl).", class_="also")


def _quoted(locale: str, digest: str, text: Text | None) -> Markup:
    head = element("small", f"{locale} · ", element("code", digest))
    if text is None:
        return element("blockquote", element("p", "These words are not known to this version; see the digest."), head)
    words = element("p", element("strong", text.title), " ", text.body, " ", text.link, lang=locale, dir="auto")
    return element("blockquote", words, head)


def told(cast: Cast) -> Markup:
    """Per notice, everybody who owed it: when each level was proved, and where that is written or what is missing."""
    return joined(*(_told(cast, covered) for covered in cast.story.covered if covered.standings))


def _told(cast: Cast, covered: Covered) -> Markup:
    number, fact = cast.numbers[covered.notice.id], covered.notice.fact
    people = [
        (standing, proved(covered.notice, standing.presence.who, [standing.presence]))
        for standing in sorted(covered.standings, key=lambda each: (each.presence.opened_at, each.presence.id))
    ]
    columns = [level for level in Level if any(level in said for _, said in people)]
    rows: list[list[Child]] = [
        [
            person(cast, standing.presence.id),
            *(_unbroken(cast.time(said.get(level))) for level in columns),
            _outcome(standing),
        ]
        for standing, said in people
    ]
    caption = f"Notice {number}: {what(fact.capability, fact.change)}, issued {cast.time(fact.at)}"
    names = ["participant", *(level.value for level in columns), f"asked: {covered.level.value}"]
    return table(caption, names, rows, "told")


def _outcome(standing: Standing) -> Markup:
    if standing.gap is not None:
        return joined(element("b", "gap"), ": ", REASONS[standing.gap.reason])
    assert standing.proof is not None
    return joined("proved ", element("small", f"entry {standing.proof.entry} in {standing.presence.region}"))


def gaps(cast: Cast) -> Markup:
    """Everybody who was there and did not prove what was asked, and how far it is proved."""
    rows: list[list[Child]] = [
        [
            person(cast, standing.presence.id),
            f"{cast.numbers[covered.notice.id]} {what(covered.notice.fact.capability, covered.notice.fact.change)}",
            _far(furthest(covered.notice, standing.presence)),
            REASONS[standing.gap.reason],
            _unbroken(cast.time(standing.gap.since)),
            _unbroken(length(standing.gap.exposure)),
        ]
        for covered in cast.story.covered
        for standing in covered.standings
        if standing.gap is not None
    ]
    if not rows:
        return element("p", "There are none.")
    heads = ["participant", "notice", "proved", "why", "since", "exposed for"]
    return table("Everyone of whom something is not proved", heads, rows, "gaps")


def _far(level: Level | None) -> str:
    return "nothing" if level is None else level.value
