"""Coverage: who was told of a notice, and who was not and why.

Rules: only durable proof counts; whoever was in the call while a capability was on is either proved or listed; the
reason given is the first that holds, in the order of `Reason`. Whoever tells of many goes by `lacking`, so that nothing
is decided twice.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import msgspec

from gateway.core.call import Call
from gateway.core.delivery import lasts_until, overlaps, proof_by
from gateway.core.presence import Phase, Presence
from gateway.core.proofs import Notice, Proof, newest_consent
from gateway.core.types import Level, Reason

NOBODY: Final[frozenset[str]] = frozenset()

_NOTHING: Final = timedelta()


class Gap(msgspec.Struct, frozen=True, gc=False):
    """A presence that owes a notice without the required level. `participant` is None once erased."""

    participant: str | None
    presence: str
    reason: Reason
    since: datetime
    exposure: timedelta


class Standing(NamedTuple):
    """One presence that owes a notice: either what proves it, durably, or the gap."""

    presence: Presence
    proof: Proof | None
    gap: Gap | None


@dataclass(frozen=True, slots=True)
class Asked:
    """A notice asked at a level that it owes, with everything that one moment says of it.

    `lasts_until` is when proof stopped counting, `exposed_until` when exposure did or would by now; `given` is how long
    everybody has; `due` says that those there at once have had it, `goes_on` that its episode is open and that what
    proves it is of a person, not of a presence.
    """

    notice: Notice
    level: Level
    now: datetime
    issued_at: datetime
    lasts_until: datetime | None
    exposed_until: datetime
    given: timedelta
    due: bool
    ends: bool
    durable: bool
    goes_on: bool


def ask(call: Call, notice: Notice, level: Level, now: datetime) -> Asked:
    """The notice at this moment, asked at a level that it owes (see `required`)."""
    fact = notice.fact
    ended_at = call.episodes[fact.episode].ended_at
    return Asked(
        notice,
        level,
        now,
        fact.at,
        lasts_until(call, notice),
        # Once an episode is over nobody is exposed to it any more, even who has not heard of its end.
        now if ended_at is None else min(now, ended_at),
        # The time that was given when it was issued: what the ledger says must not change with the configuration.
        fact.deadline_at - fact.at,
        now >= fact.deadline_at,
        notice.terminal,
        notice.durable,
        ended_at is None and not notice.terminal and level is not Level.SENT,
    )


def standings(
    call: Call, notice: Notice, asked: Level, now: datetime, behind: Collection[str] = NOBODY
) -> Iterator[Standing]:
    """Where everyone stands who owes the notice, asked at a level that it owes (see `required`)."""
    wanted = ask(call, notice, asked, max(now, call.clock))
    for presence in dict.fromkeys(call.presences.values()):
        if not presence.owes or not overlaps(presence, wanted.issued_at, wanted.lasts_until, ends=wanted.ends):
            continue
        proof = proof_by(notice, presence, asked, wanted.lasts_until)
        if proof is not None and proof.entry is not None and wanted.durable:
            yield Standing(presence, proof, None)
        else:
            reason, since, exposure = lacking(wanted, presence, proof, standing_reason(presence, behind))
            yield Standing(presence, None, Gap(presence.participant, presence.id, reason, since, exposure))


def lacking(
    asked: Asked, presence: Presence, proof: Proof | None, standing: Reason | None
) -> tuple[Reason, datetime, timedelta]:
    """Why a presence that owes the notice has not proved it, since when, and how long it was or is exposed.

    `proof` is one that is not durable; `standing` is the presence's own reason, whatever the notice.
    """
    since, until = max(presence.opened_at, asked.issued_at), asked.exposed_until
    if presence.closed_at is not None:
        until = min(until, presence.closed_at)
    if proof is not None:
        until = min(until, proof.at)
    return _reason(asked, presence, proof, standing), since, max(until - since, _NOTHING)


def _reason(asked: Asked, presence: Presence, proof: Proof | None, standing: Reason | None) -> Reason:
    if asked.level is Level.CONSENTED and _declined(asked.notice, presence.who):
        return Reason.DECLINED
    if proof is not None or not asked.durable:
        return Reason.UNRECORDED
    if standing is not None:
        return standing
    late = asked.due and (presence.opened_at <= asked.issued_at or asked.now >= presence.opened_at + asked.given)
    return Reason.OVERDUE if late else Reason.PENDING


def standing_reason(presence: Presence, behind: Collection[str] = NOBODY) -> Reason | None:
    """Why the presence can have proved no notice, if it can have proved none; `behind` read too slowly."""
    if not presence.durable:
        return Reason.UNRECORDED
    if not presence.reached:
        return Reason.UNREACHABLE
    if presence.closed_reason == "left" or (presence.closed_reason == "ended" and presence.gone_at is None):
        return Reason.LEFT
    if presence.phase is Phase.AWAY or not presence.open:
        return Reason.DISCONNECTED
    return Reason.SLOW if presence.id in behind else None


def _declined(notice: Notice, who: str) -> bool:
    return newest_consent(notice, who) in {Level.DECLINED, Level.WITHDRAWN}
