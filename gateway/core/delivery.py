"""Delivery: who owes which notice, what is proved of it, and what happens when a deadline passes.

Rules: what is owed follows from presences and notices alone, no row per person is written when a notice goes out;
a level is a fact with its own time and is recorded once; what is overdue is recorded, listed and sent again.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from gateway.core import facts
from gateway.core.call import AWAKENINGS, Call
from gateway.core.presence import Presence
from gateway.core.proofs import Notice, Proof, newest_consent, proved_at
from gateway.core.step import Step
from gateway.core.types import CONSENT, Level


def owes(call: Call, notice: Notice, presence: Presence) -> bool:
    """Whether the presence owes the notice: it overlaps what is left of the episode, or saw it end."""
    if not presence.owes:
        return False
    issued_at = notice.fact.at
    if presence.closed_at is not None and presence.closed_at <= issued_at:
        return False
    if notice.terminal:
        return presence.opened_at <= issued_at
    ended_at = call.episodes[notice.fact.episode].ended_at
    return ended_at is None or presence.opened_at < ended_at


def required(notice: Notice, level: Level | None = None) -> Level:
    """The level a notice owes: what was asked for, but never more than `received` for the end of an episode."""
    if notice.terminal:
        return Level.RECEIVED
    return notice.fact.require if level is None else level


def until(call: Call, notice: Notice, presence: Presence) -> datetime | None:
    """When proof stopped counting: the presence's end or the episode's, None while both go on."""
    ends = [presence.closed_at, None if notice.terminal else call.episodes[notice.fact.episode].ended_at]
    return min((end for end in ends if end is not None), default=None)


def proof_of(call: Call, notice: Notice, presence: Presence, level: Level) -> Proof | None:
    """What proves the level for this presence, whether durable yet or not."""
    sent = notice.sent.get(presence.id) if level is Level.SENT else None
    end = until(call, notice, presence)
    fitting = [
        proof
        for proof in (proved_at(notice, presence.who, level), sent)
        if proof is not None and (end is None or proof.at <= end)
    ]
    return next((proof for proof in fitting if proof.entry is not None), fitting[0] if fitting else None)


def owed_notices(call: Call, presence: Presence) -> list[Notice]:
    """The notices to show someone who joins: what they owe of open episodes, and a last end not yet received."""
    owed = [
        notice
        for notice in call.open_notices()
        if owes(call, notice, presence) and proof_of(call, notice, presence, required(notice)) is None
    ]
    for capability, track in call.tracks.items():
        if track.episode is not None:
            continue
        ends = [each for each in call.notices.values() if each.terminal and each.fact.capability is capability]
        last = ends[-1] if ends and owes(call, ends[-1], presence) else None
        if last is not None and proof_of(call, last, presence, Level.RECEIVED) is None:
            owed.append(last)
    return sorted(owed, key=lambda notice: notice.fact.revision)


def owing(call: Call, notice: Notice) -> Iterator[Presence]:
    """The open presences that owe the notice and have not proved it."""
    level = required(notice)
    for presence in call.open_presences():
        if owes(call, notice, presence) and proof_of(call, notice, presence, level) is None:
            yield presence


def standing(notice: Notice, who: str, level: Level) -> Proof | None:
    """The proof that stands, its entry None until it is durable; None where saying so is news, to be recorded."""
    said = notice.said(who, level)
    return None if level in CONSENT and newest_consent(notice, who) is not level else said


def remind_of_notice(step: Step, notice_id: str) -> None:
    """The deadline of a notice, or a later reminder of it, has come."""
    notice = step.call.notices[notice_id]
    if _is_done(step.call, notice):
        return
    deadline = step.call.policy.deadline
    late = [each for each in owing(step.call, notice) if each.opened_at + deadline <= step.now]
    _remind(step, notice, late)
    attempts = step.call.attempts.get(notice_id, 0)
    if late and attempts < AWAKENINGS:
        step.call.attempts[notice_id] = attempts + 1
        step.call.wake(step.now + deadline * 2**attempts, "notice", notice_id)


def remind_presence(step: Step, presence_id: str) -> None:
    """A late joiner's own deadline has come."""
    presence = step.call.presences[presence_id]
    if not presence.open:
        return
    for notice in owed_notices(step.call, presence):
        if notice.fact.deadline_at <= step.now:
            _remind(step, notice, [presence])


def _is_done(call: Call, notice: Notice) -> bool:
    """Whether nobody is asked for it any more, because its episode is over."""
    return not notice.terminal and call.episodes[notice.fact.episode].ended_at is not None


def _remind(step: Step, notice: Notice, late: list[Presence]) -> None:
    new: dict[str, list[str]] = {}
    for presence in late:
        if notice.id not in presence.overdue:
            new.setdefault(presence.region, []).append(presence.id)
    for region, presences in sorted(new.items()):
        step.record(
            facts.NoticeOverdue(
                call=step.call.key, at=step.now, region=region, notice=notice.id, presences=tuple(presences)
            )
        )
    connected = tuple(presence.id for presence in late if presence.sessions)
    if connected:
        step.resend(notice.id, connected)
