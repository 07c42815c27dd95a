"""Delivery: who owes which notice, what is proved of it, and what happens when a deadline passes.

Rules: what is owed follows from presences and notices alone, no row per person is written when a notice goes out;
a level is a fact with its own time and is recorded once; what is overdue is recorded, listed and sent again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Final

from gateway.core import facts
from gateway.core.call import AWAKENINGS, Call
from gateway.core.presence import Presence
from gateway.core.proofs import Notice, Proof, newest_consent, proofs_of, proved_at
from gateway.core.step import Step
from gateway.core.types import CONSENT, Level

NEWEST: Final = 100
"""How many owed notices a state carries at most."""
SOON: Final = timedelta(milliseconds=100)
"""When what was too much for one step goes on."""


def owes(call: Call, notice: Notice, presence: Presence) -> bool:
    """Whether the presence owes the notice: it overlaps what is left of the episode, or saw it end."""
    return presence.owes and overlaps(presence, notice.fact.at, lasts_until(call, notice), ends=notice.terminal)


def overlaps(presence: Presence, issued_at: datetime, ended_at: datetime | None, *, ends: bool) -> bool:
    """Whether the presence was there after a notice was issued and before its episode ended (None: not yet).

    For a notice that `ends` its episode: when it was issued.
    """
    if presence.closed_at is not None and presence.closed_at <= issued_at:
        return False
    if ends:
        return presence.opened_at <= issued_at
    return ended_at is None or presence.opened_at < ended_at


def required(notice: Notice, level: Level | None = None) -> Level:
    """The level a notice owes: what was asked for, but never more than `received` for the end of an episode."""
    if notice.terminal:
        return Level.RECEIVED
    return notice.fact.require if level is None else level


def lasts_until(call: Call, notice: Notice) -> datetime | None:
    """When the notice's episode ended and proof of it stopped counting; None while it may be proved."""
    return None if notice.terminal else call.episodes[notice.fact.episode].ended_at


def proof_of(call: Call, notice: Notice, presence: Presence, level: Level) -> Proof | None:
    """What proves the level for this presence, whether durable yet or not."""
    return proof_by(notice, presence, level, lasts_until(call, notice))


def proof_by(notice: Notice, presence: Presence, level: Level, ended_at: datetime | None) -> Proof | None:
    """What proves the level while the presence lasted, and no later than `ended_at`; durable if any is."""
    proved = proved_at(notice, presence.who, level)
    if level is not Level.SENT:
        return proved if proved is not None and _counts(proved, presence, ended_at) else None
    sent = notice.sent.get(presence.id)
    fitting = [each for each in (proved, sent) if each is not None and _counts(each, presence, ended_at)]
    return next((proof for proof in fitting if proof.entry is not None), fitting[0] if fitting else None)


def _counts(proof: Proof, presence: Presence, ended_at: datetime | None) -> bool:
    closed_at = presence.closed_at
    return (closed_at is None or proof.at <= closed_at) and (ended_at is None or proof.at <= ended_at)


def owed_notices(call: Call, presence: Presence) -> list[Notice]:
    """Everything that an open presence owes of open episodes, and a last end not yet received; oldest first."""
    return newest_owed(call, presence, len(call.notices))[0]


def newest_owed(call: Call, presence: Presence, most: int) -> tuple[list[Notice], int]:
    """The newest `most` of what `owed_notices` gives, oldest first, and how many there are beyond."""
    if not presence.owes:
        return [], 0
    found = [end for end in _last_ends(call) if owes(call, end, presence) and not _is_proved(end, presence)]
    count = len(found)
    for episode in call.running.values():
        # Whoever is in the call owes every notice of what is on, whenever they came.
        owed = episode.owed_by(presence.who)
        count += owed
        wanted = len(found) + min(owed, most)
        for notice in reversed(episode.notices):
            if len(found) == wanted:
                break
            if not _is_proved(notice, presence):
                found.append(notice)
    found.sort(key=lambda notice: notice.fact.revision)
    return found[-most:], count - len(found[-most:])


def _last_ends(call: Call) -> Iterator[Notice]:
    """The end of the last episode of each capability that is off."""
    for capability, track in call.tracks.items():
        if track.episode is None and capability in call.ends:
            yield call.ends[capability]


def _is_proved(notice: Notice, presence: Presence) -> bool:
    """Whether an open presence has proved what it owes of what still goes on, or of an end."""
    return proved_at(notice, presence.who, required(notice)) is not None


def owing(call: Call, notice: Notice) -> Iterator[Presence]:
    """The open presences that owe the notice and have not proved it."""
    level, over = required(notice), lasts_until(call, notice) is not None
    proved = proofs_of(notice, level)
    for presence in call.open_presences():
        if not over and proved(presence.who) is not None:
            continue
        if owes(call, notice, presence) and proof_of(call, notice, presence, level) is None:
            yield presence


def gaps_open(call: Call) -> int:
    """How many notices of open episodes are owed and not proved, summed over everyone in the call."""
    return sum(
        episode.owed_by(presence.who)
        for episode in call.running.values()
        for presence in call.inside.values()
        if presence.owes
    )


def standing(notice: Notice, level: Level) -> Callable[[str], Proof | None]:
    """By person: the proof that stands, its entry None until it is durable, or None where saying so is news."""
    if level in CONSENT:
        return lambda who: notice.said(who, level) if newest_consent(notice, who) is level else None
    return notice.ranked.setdefault(level, {}).get


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
    """A late joiner's own deadline has come: what the state showed is sent again, and all that is owed is overdue.

    Where recording was paused and resumed for hours that may be thousands, which are recorded some at a time.
    """
    presence = step.call.presences[presence_id]
    if not presence.open:
        return
    owed = [notice for notice in owed_notices(step.call, presence) if notice.fact.deadline_at <= step.now]
    shown = set(owed[-NEWEST:])
    new = [notice for notice in reversed(owed) if presence.id not in notice.overdue]
    for notice in new[:NEWEST]:
        _record_overdue(step, notice, [presence])
        if notice in shown and presence.sessions:
            step.resend(notice.id, (presence.id,))
    if len(new) > NEWEST:
        step.call.wake(step.now + SOON, "presence", presence_id)


def _is_done(call: Call, notice: Notice) -> bool:
    """Whether nobody is asked for it any more, because its episode is over."""
    return not notice.terminal and call.episodes[notice.fact.episode].ended_at is not None


def _remind(step: Step, notice: Notice, late: list[Presence]) -> None:
    _record_overdue(step, notice, [presence for presence in late if presence.id not in notice.overdue])
    connected = tuple(presence.id for presence in late if presence.sessions)
    if connected:
        step.resend(notice.id, connected)


def _record_overdue(step: Step, notice: Notice, late: list[Presence]) -> None:
    by_region: dict[str, list[str]] = {}
    for presence in late:
        by_region.setdefault(presence.region, []).append(presence.id)
    for region, presences in sorted(by_region.items()):
        step.record(
            facts.NoticeOverdue(
                call=step.call.key, at=step.now, region=region, notice=notice.id, presences=tuple(presences)
            )
        )
