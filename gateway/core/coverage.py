"""Coverage: the fold of presences × notices × levels into who was told what, and who was not and why.

Rules: only durable proof counts; whoever was in the call while a capability was on is either proved or listed; the
reason given is the first that holds, in the order of `Reason`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from gateway.core.call import Call
from gateway.core.delivery import owes, proof_of, required
from gateway.core.presence import Phase, Presence
from gateway.core.proofs import Notice, Proof, newest_consent
from gateway.core.types import Level, Reason, rfc3339

NOBODY: Final[frozenset[str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Gap:
    """A presence that owes a notice without the required level. `participant` is None once erased."""

    participant: str | None
    presence: str
    reason: Reason
    since: datetime
    exposure: timedelta


@dataclass(frozen=True, slots=True)
class NoticeCoverage:
    """What is proved of one notice: how many owe it, how many proved it, and the others one by one."""

    notice: Notice
    owed: int
    proved: int
    gaps: tuple[Gap, ...]


class Standing(NamedTuple):
    """One presence that owes a notice: either what proves it, durably, or the gap."""

    presence: Presence
    proof: Proof | None
    gap: Gap | None


def cover(call: Call, level: Level, now: datetime, behind: Collection[str] = NOBODY) -> list[NoticeCoverage]:
    """Coverage of every notice of the call at `level`; `behind` are presences whose client reads too slowly."""
    return [cover_notice(call, notice, level, now, behind) for notice in call.notices.values()]


def cover_notice(
    call: Call, notice: Notice, level: Level, now: datetime, behind: Collection[str] = NOBODY
) -> NoticeCoverage:
    """Coverage of one notice."""
    owed = 0
    gaps: list[Gap] = []
    for standing in standings(call, notice, required(notice, level), now, behind):
        owed += 1
        if standing.gap is not None:
            gaps.append(standing.gap)
    return NoticeCoverage(notice, owed, owed - len(gaps), tuple(gaps))


def standings(
    call: Call, notice: Notice, asked: Level, now: datetime, behind: Collection[str] = NOBODY
) -> Iterator[Standing]:
    """Where everyone stands who owes the notice, asked at a level that it owes (see `required`)."""
    now = max(now, call.clock)
    for presence in dict.fromkeys(call.presences.values()):
        if not owes(call, notice, presence):
            continue
        proof = proof_of(call, notice, presence, asked)
        if proof is not None and proof.entry is not None and notice.durable:
            yield Standing(presence, proof, None)
        else:
            yield Standing(presence, None, _gap(call, notice, presence, asked, proof, now, behind))


def _gap(
    call: Call,
    notice: Notice,
    presence: Presence,
    asked: Level,
    proof: Proof | None,
    now: datetime,
    behind: Collection[str],
) -> Gap:
    since = max(presence.opened_at, notice.fact.at)
    # Once an episode is over nobody is exposed to it any more, even who has not heard of its end.
    told_at = None if proof is None else proof.at
    ends = (now, told_at, presence.closed_at, call.episodes[notice.fact.episode].ended_at)
    exposure = max(min(end for end in ends if end is not None) - since, timedelta())
    reason = _reason(call, notice, presence, asked, proof, now, behind)
    return Gap(presence.participant, presence.id, reason, since, exposure)


def _reason(
    call: Call,
    notice: Notice,
    presence: Presence,
    asked: Level,
    proof: Proof | None,
    now: datetime,
    behind: Collection[str],
) -> Reason:
    if asked is Level.CONSENTED and _declined(notice, presence.who):
        return Reason.DECLINED
    if proof is not None or not notice.durable or not presence.durable:
        return Reason.UNRECORDED
    if not presence.reached:
        return Reason.UNREACHABLE
    if presence.closed_reason == "left" or (presence.closed_reason == "ended" and presence.gone_at is None):
        return Reason.LEFT
    if presence.phase is Phase.AWAY or not presence.open:
        return Reason.DISCONNECTED
    if presence.id in behind:
        return Reason.SLOW
    # The time that was given when the notice was issued: what the ledger says must not change with the configuration.
    given = notice.fact.deadline_at - notice.fact.at
    if now >= max(notice.fact.deadline_at, presence.opened_at + given):
        return Reason.OVERDUE
    return Reason.PENDING


def _declined(notice: Notice, who: str) -> bool:
    return newest_consent(notice, who) in {Level.DECLINED, Level.WITHDRAWN}


def report(call: Call, level: Level, covered: list[NoticeCoverage]) -> dict[str, Any]:
    """The answer of `GET /v1/calls/{call}/coverage` (docs/operations.md)."""
    return {
        "call": call.key.call,
        "organization": call.key.organization,
        "level": level.value,
        "notices": [_notice_report(each) for each in covered],
        # Nobody here knows who of a region that is not served's people was told.
        "complete": not call.unserved and not any(each.gaps for each in covered),
        **({"unserved": sorted(call.unserved)} if call.unserved else {}),
    }


def _notice_report(covered: NoticeCoverage) -> dict[str, Any]:
    fact = covered.notice.fact
    return {
        "notice": fact.notice,
        "capability": fact.capability.value,
        "change": fact.change.value,
        "episode": fact.episode,
        "revision": fact.revision,
        "occurred_at": rfc3339(fact.occurred_at),
        "issued_at": rfc3339(fact.at),
        "owed": covered.owed,
        "proved": covered.proved,
        "gaps": [
            {
                "participant": gap.participant,
                "presence": gap.presence,
                "reason": gap.reason.value,
                "since": rfc3339(gap.since),
                "exposure_ms": gap.exposure // timedelta(milliseconds=1),
            }
            for gap in covered.gaps
        ],
    }
