"""The records of an evidence pack: what follows from the entries, as JSON lines that any program can read.

Rules: every file is canonical JSON (RFC 8785) and follows from the entries alone, so that a verifier makes it again
and compares; the only file that names anybody is `participants.jsonl`, and it names those alone whose region was
opened and whom nobody erased.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from gateway.core import catalogue, facts
from gateway.core.coverage import Standing
from gateway.core.types import rfc3339
from gateway.evidence.attendance import Attendance, Row
from gateway.evidence.story import Covered, Story

FORMAT: Final = "notices-evidence/1"
"""What `manifest.json` says it is."""
MANIFEST: Final = "manifest.json"

_MILLISECOND: Final = timedelta(milliseconds=1)


def document(value: Mapping[str, Any]) -> bytes:
    """One line of canonical JSON: keys are ASCII here and numbers whole, so sorted is all that RFC 8785 asks."""
    return msgspec.json.encode(value, order="sorted") + b"\n"


def lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """A line of canonical JSON each."""
    return b"".join(map(document, rows))


def digest(content: bytes) -> str:
    """`sha256:` and the hex of SHA-256."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def _at(moment: datetime | None) -> str | None:
    return None if moment is None else rfc3339(moment)


def coverage(story: Story) -> bytes:
    """`coverage.json`: of each notice who owes it, who proved it by which entry, and every gap."""
    notices = [
        {
            "gaps": [_gap(each) for each in covered.standings if each.gap is not None],
            "level": covered.level.value,
            "notice": covered.notice.id,
            "owed": len(covered.standings),
            "proved": [_proof(each) for each in covered.standings if each.proof is not None],
        }
        for covered in story.covered
    ]
    return document({"at": rfc3339(story.at), "complete": story.complete, "notices": notices})


def _gap(standing: Standing) -> Row:
    gap = standing.gap
    assert gap is not None
    return {
        "exposure_ms": gap.exposure // _MILLISECOND,
        "presence": gap.presence,
        "reason": gap.reason.value,
        "since": rfc3339(gap.since),
    }


def _proof(standing: Standing) -> Row:
    presence, proof = standing.presence, standing.proof
    assert proof is not None
    return {"at": rfc3339(proof.at), "entry": proof.entry, "presence": presence.id, "region": presence.region}


def notices(story: Story) -> bytes:
    """`notices.jsonl`: each notice with its exact text and digest in every locale."""
    return lines(_notice(covered) for covered in story.covered)


def _notice(covered: Covered) -> Row:
    fact = covered.notice.fact
    return {
        "capability": fact.capability.value,
        "change": fact.change.value,
        "deadline_at": rfc3339(fact.deadline_at),
        "episode": fact.episode,
        "issued_at": rfc3339(fact.at),
        "notice": fact.notice,
        "occurred_at": rfc3339(fact.occurred_at),
        "require": fact.require.value,
        "revision": fact.revision,
        "texts": {
            locale: {"digest": value, "text": None if text is None else text._asdict()}
            for locale, (value, text) in texts(fact).items()
        },
    }


def texts(fact: facts.NoticeIssued) -> dict[str, tuple[str, catalogue.Text | None]]:
    """The digest and the text of a notice in each locale it was told in; None for words this version never told."""
    found: dict[str, tuple[str, catalogue.Text | None]] = {}
    for locale, value in sorted(fact.digests.items()):
        text = catalogue.text(fact.capability, fact.change, locale) if locale in catalogue.LOCALES else None
        known = text is not None and catalogue.digest(fact.notice, fact.capability, fact.change, text) == value
        found[locale] = value, text if known else None
    return found


def presences(story: Story) -> bytes:
    """`presences.jsonl`: everyone who came, by presence, with their sessions; by region and entry."""
    return lines(row for part in story.parts for row in Attendance(part).rows.values())


def levels(story: Story) -> bytes:
    """`levels.jsonl`: every level a client confirmed, by region and entry."""
    return lines(
        {
            "at": rfc3339(fact.at),
            "device": fact.device,
            "digest": fact.digest,
            "entry": entry,
            "level": fact.level.value,
            "notice": fact.notice,
            "presence": fact.presence,
            "region": fact.region,
            "reported_at": rfc3339(fact.reported_at),
            "session": fact.session,
        }
        for part in story.parts
        for fact, entry in part.recorded
        if isinstance(fact, facts.LevelProved)
    )


def episodes(story: Story) -> bytes:
    """`episodes.jsonl`: each run of a capability, the observation that opened it, and its notices in order."""
    told: dict[str, list[str]] = {episode: [] for episode in story.call.episodes}
    for covered in story.covered:
        told[covered.notice.fact.episode].append(covered.notice.id)
    rows: Iterator[Row] = (
        {
            "capability": episode.capability.value,
            "ended_at": _at(episode.ended_at),
            "episode": episode.id,
            "notices": told[episode.id],
            "opened_by": story.openers[episode.id]._asdict() if episode.id in story.openers else None,
            "started_at": rfc3339(episode.started_at),
        }
        for episode in story.call.episodes.values()
    )
    return lines(rows)


def participants(story: Story) -> bytes:
    """`participants.jsonl`: who the presences are, where a region was opened and nobody was erased."""
    return lines(
        {**part.people[fact.presence]._asdict(), "presence": fact.presence, "region": part.region}
        for part in story.parts
        if part.opened
        for fact, _ in part.recorded
        if isinstance(fact, facts.PresenceOpened) and fact.presence in part.people
    )


def manifest(story: Story, files: Mapping[str, bytes]) -> bytes:
    """`manifest.json`: what the pack is of, and the digest of each of these files."""
    return document(
        {
            "at": rfc3339(story.at),
            "call": story.key.call,
            "files": {name: digest(content) for name, content in files.items()},
            "format": FORMAT,
            "level": None if story.level is None else story.level.value,
            "organization": story.key.organization,
            "regions": [
                {"entries": len(part.lines), "opened": part.opened, "origin": part.origin, "region": part.region}
                for part in story.parts
            ],
        }
    )


def entries(lines_of: Sequence[tuple[int, bytes]]) -> bytes:
    """`entries.jsonl` of a region: the leaves as they were hashed, one a line."""
    return b"".join(leaf + b"\n" for _, leaf in lines_of)
