"""Coverage as it follows from a call's entries: who owes each notice, who proved it, and the others with the reason.

Rules: those of docs/ledger.md, written down once more; whoever was there while a capability was on is proved or
listed; nothing is looked up but the meeting and the time of the pack.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final

from storage.audit.meeting import CONSENTS, Meeting, Notice, Presence, Proof
from storage.moment import rfc3339

RANKED: Final = ("sent", "received", "displayed", "acknowledged")
_MILLISECOND: Final = timedelta(milliseconds=1)


def covered(meeting: Meeting, level: str | None, at: datetime) -> dict[str, Any]:
    """What coverage.json must say at `at`, of each notice at its own level where `level` is None."""
    now = at if meeting.clock is None else max(at, meeting.clock)
    notices = [_covered(meeting, notice, level, now) for notice in meeting.notices]
    return {"at": rfc3339(at), "complete": not any(each["gaps"] for each in notices), "notices": notices}


def _covered(meeting: Meeting, notice: Notice, level: str | None, now: datetime) -> dict[str, Any]:
    asked = asked_of(notice, level)
    proved, gaps = [], []
    for presence in owing(meeting, notice):
        proof = proof_of(meeting, notice, presence, asked)
        if proof is None:
            gaps.append(_gap(meeting, notice, presence, asked, now))
        else:
            where = {"entry": proof.number, "region": proof.region}
            proved.append({"at": rfc3339(proof.at), "presence": presence.id, **where})
    return {
        "gaps": sorted(gaps, key=lambda gap: str(gap["presence"])),
        "level": asked,
        "notice": notice.fact.notice,
        "owed": len(proved) + len(gaps),
        "proved": sorted(proved, key=lambda each: str(each["presence"])),
    }


def asked_of(notice: Notice, level: str | None) -> str:
    """The level a notice is asked at: of the end of an episode never more than `received`."""
    return "received" if notice.ends else level or notice.fact.require


def owing(meeting: Meeting, notice: Notice) -> Iterator[Presence]:
    """The presences that owe the notice: they overlap what was left of its episode, or saw it end."""
    issued_at = notice.fact.at
    ended_at = meeting.episode(notice).ended_at
    for presence in meeting.presences:
        gone = presence.closed_at is not None and presence.closed_at <= issued_at
        in_time = presence.since <= issued_at if notice.ends else ended_at is None or presence.since < ended_at
        if presence.owes and in_time and not gone:
            yield presence


def proof_of(meeting: Meeting, notice: Notice, presence: Presence, asked: str) -> Proof | None:
    """What proves the level, said before the presence was over and before the episode was."""
    ended_at = None if notice.ends else meeting.episode(notice).ended_at
    ends = [end for end in (presence.closed_at, ended_at) if end is not None]
    for proof in _candidates(meeting, notice, presence, asked):
        if all(proof.at <= end for end in ends):
            return proof
    return None


def _candidates(meeting: Meeting, notice: Notice, presence: Presence, asked: str) -> Iterator[Proof]:
    said = notice.said.get(meeting.name(presence.who), [])
    if asked in CONSENTS:
        last = _last_consent(said)
        if last is not None and last.level == asked:
            yield last
        return
    enough = RANKED[RANKED.index(asked) :]
    yield from sorted((proof for proof in said if proof.level in enough), key=lambda proof: proof.at)
    if asked == "sent" and presence.id in notice.sent:
        yield notice.sent[presence.id]


def _last_consent(said: list[Proof]) -> Proof | None:
    return next((proof for proof in reversed(said) if proof.level in CONSENTS), None)


def _gap(meeting: Meeting, notice: Notice, presence: Presence, asked: str, now: datetime) -> dict[str, Any]:
    since = max(presence.since, notice.fact.at)
    ends = (now, presence.closed_at, meeting.episode(notice).ended_at)
    exposure = max(min(end for end in ends if end is not None) - since, timedelta())
    return {
        "exposure_ms": exposure // _MILLISECOND,
        "presence": presence.id,
        "reason": _reason(meeting, notice, presence, asked, now),
        "since": rfc3339(since),
    }


def _reason(meeting: Meeting, notice: Notice, presence: Presence, asked: str, now: datetime) -> str:
    """The first that holds. `unrecorded` and `slow` are a live gateway's words: of entries neither can be said."""
    last = _last_consent(notice.said.get(meeting.name(presence.who), []))
    if asked == "consented" and last is not None and last.level != "consented":
        return "declined"
    if not presence.reached:
        return "unreachable"
    if presence.closed_reason == "left" or (presence.closed_reason == "ended" and presence.gone_at is None):
        return "left"
    if presence.closed_at is not None or presence.gone_at is not None:
        return "disconnected"
    given = notice.fact.deadline_at - notice.fact.at
    late = now >= notice.fact.deadline_at and now - presence.since >= given
    return "overdue" if late else "pending"
