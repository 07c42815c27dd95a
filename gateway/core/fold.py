"""The fold: what each fact does to the live state of a call.

Rules: `apply` is the only way in, for facts just decided and for facts read back from the ledger alike, so that
recovery is the normal path; nothing here decides (see `observing`, `attendance` and `delivery`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Final

from gateway.core import facts
from gateway.core.call import BEGINNING, Call, Episode
from gateway.core.fusion import LAPSE, Track, next_check
from gateway.core.presence import Phase, Presence
from gateway.core.proofs import Notice, Proof
from gateway.core.showing import show, show_confirmation, show_proof
from gateway.core.types import Capability, Change, Level, Role, State
from gateway.core.uniting import unite


def apply(call: Call, fact: facts.AnyFact) -> None:
    """Take `fact` in. Facts must come in ledger order; one that is here already changes nothing.

    What is known of a call that was merged into this one is folded apart until the merger.
    """
    owner = owner_of(call, fact)
    if owner.onlookers or isinstance(fact, facts.CallMerged):
        show(owner, fact)
    if not isinstance(fact, facts.PresencesErased):
        # An erasure is dated by whoever asked for it; the call's time is told by what happens in it.
        owner.clock = max(owner.clock, fact.at)
    _APPLIED[type(fact)](owner, fact)


def owner_of(call: Call, fact: facts.AnyFact) -> Call:
    """The call that `fact` is about: this one, or one that was or will be merged into it."""
    if fact.call == call.key:
        return call
    return call.sources.setdefault(fact.call.call, Call(fact.call, call.policy, sources=call.sources))


def _call_opened(call: Call, fact: facts.CallOpened) -> None:
    call.opened_at, call.ended = fact.at, False


def _call_ended(call: Call, fact: facts.CallEnded) -> None:
    call.ended, call.ended_at, call.revision = True, fact.occurred_at, fact.revision
    call.sequences.clear()
    for track in call.tracks.values():
        call.end_episode(track.episode, fact.at)
        track.become(State.INACTIVE, fact.at)
        track.words.clear()


def _call_merged(call: Call, fact: facts.CallMerged) -> None:
    call.revision = fact.revision
    source = call.sources.get(fact.source, call)
    if source is not call:
        unite(call, source, fact)
        call.mergers += [*source.mergers, fact]


def _observation_made(call: Call, fact: facts.ObservationMade) -> None:
    _hear(call, fact.capability, lambda track: track.hear(fact))


def _claim_lapsed(call: Call, fact: facts.ClaimLapsed) -> None:
    _hear(call, fact.capability, lambda track: track.lapse(fact.source, fact.at))


def _hear(call: Call, capability: Capability, change: Callable[[Track], None]) -> None:
    track = call.tracks[capability]
    change(track)
    moment = next_check(track)
    if moment is not None:
        call.wake(moment, "fuse", capability)


def _capability_changed(call: Call, fact: facts.CapabilityChanged) -> None:
    call.revision = fact.revision
    track = call.tracks[fact.capability]
    if fact.state is State.INACTIVE:
        call.end_episode(track.episode, fact.at)
    track.become(fact.state, fact.at)


def _notice_issued(call: Call, fact: facts.NoticeIssued) -> None:
    if fact.notice in call.notices:
        return
    call.revision = max(call.revision, fact.revision)
    notice = call.notices[fact.notice] = Notice(fact)
    track = call.tracks[fact.capability]
    if fact.episode not in call.episodes:
        episode = call.episodes[fact.episode] = Episode(fact.episode, fact.capability, fact.at)
        call.running[fact.episode] = episode
    call.file(notice)
    match fact.change:
        case Change.STARTED:
            track.begin(fact.episode, fact.at)
            track.become(State.ACTIVE, fact.at)
        case Change.RESUMED:
            track.become(State.ACTIVE, fact.at)
        case Change.PAUSED:
            track.become(State.PAUSED, fact.at)
        case _:
            call.end_episode(fact.episode, fact.at)
            track.become(State.INACTIVE, fact.at)
    call.wake(fact.deadline_at, "notice", fact.notice)


def _presence_opened(call: Call, fact: facts.PresenceOpened) -> None:
    presence = Presence(
        fact.presence,
        fact.who,
        fact.region,
        fact.participant,
        fact.name,
        fact.role,
        fact.at,
        fact.listed,
        Phase.LISTED,
    )
    call.presences[fact.presence] = call.inside[fact.presence] = presence
    if fact.participant is not None:
        call.latest[fact.participant] = presence
    call.wake(fact.at + call.policy.deadline, "presence", fact.presence)


def _presence_listed(call: Call, fact: facts.PresenceListed) -> None:
    presence = call.presences[fact.presence]
    presence.listed = fact.listed
    if fact.listed and not presence.reached:
        _promote(call, presence, fact.at)
    call.hear_of(presence.who, fact.occurred_at)


def _session_joined(call: Call, fact: facts.SessionJoined) -> None:
    presence = call.presences[fact.presence]
    if fact.role is Role.PARTICIPANT:
        _promote(call, presence, fact.at)
    presence.join(fact.session)


def _promote(call: Call, presence: Presence, at: datetime) -> None:
    if not presence.owes:
        presence.promote(at)
        call.wake(at + call.policy.deadline, "presence", presence.id)


def _session_left(call: Call, fact: facts.SessionLeft) -> None:
    presence = call.presences[fact.presence]
    presence.lose(fact.session, fact.at)
    if not presence.sessions:
        _depart(call, presence, fact.at)


def _presence_closed(call: Call, fact: facts.PresenceClosed) -> None:
    presence = call.presences[fact.presence]
    presence.close(fact.reason, fact.at)
    call.inside.pop(presence.id, None)
    if presence.participant is None:
        call.forget(presence)
    _depart(call, presence, fact.at)


def _presences_erased(call: Call, fact: facts.PresencesErased) -> None:
    for name in fact.presences:
        presence = call.presences.get(name)
        if presence is not None:
            if presence.participant is not None:
                call.missed.pop(presence.participant, None)
            call.forget(presence)
            presence.participant = presence.name = None


def _depart(call: Call, presence: Presence, at: datetime) -> None:
    call.wake(at + LAPSE, "lapse", presence.who)
    if presence.open:
        call.wake(at + call.policy.absence, "absence", presence.id)


def _roster_seen(call: Call, fact: facts.RosterSeen) -> None:
    call.sequences[fact.connection] = fact.sequence
    call.others = fact.others
    heard_of, at = call.heard_of, fact.occurred_at
    for presence in call.inside.values():
        if presence.listed and heard_of.get(presence.who, BEGINNING) < at:
            heard_of[presence.who] = at


def _notices_sent(call: Call, fact: facts.NoticesSent) -> None:
    for notice in fact.notices:
        sent, proof = call.notices[notice].sent, Proof(fact.at)
        for presence in fact.presences:
            sent.setdefault(call.presences[presence].id, proof)


def _level_proved(call: Call, fact: facts.LevelProved) -> None:
    _prove(call, call.notices[fact.notice], call.presences[fact.presence].who, fact.level, fact.at)


def _prove(call: Call, notice: Notice, who: str, level: Level, at: datetime) -> Proof:
    episode = call.running.get(notice.fact.episode)
    if episode is not None:
        episode.settle(notice, who, level)
    return notice.prove(who, level, at)


def prove(call: Call, notice: Notice, presence: Presence, level: Level, at: datetime) -> Proof:
    """As `apply` does for `LevelProved`, which comes by the thousand, of a notice of this very call."""
    if call.onlookers:
        show_proof(call, presence)
    call.clock = max(call.clock, at)
    return _prove(call, notice, presence.who, level, at)


def confirm_all(call: Call, proofs: Iterable[Proof], entry: int) -> None:
    """As `confirm` does for what `prove` made: all of it is durable as one entry."""
    if call.onlookers:
        show_confirmation(call, proofs)
    for proof in proofs:
        proof.entry = entry


def _notice_overdue(call: Call, fact: facts.NoticeOverdue) -> None:
    call.notices[fact.notice].overdue.update(call.presences[presence].id for presence in fact.presences)


def confirm(call: Call, fact: facts.AnyFact, entry: int) -> None:
    """`fact` is durable as `entry` of its region's ledger: from now on it counts as proof."""
    owner = owner_of(call, fact)
    if owner.onlookers:
        show(owner, fact)
    match fact:
        case facts.LevelProved():
            proof = owner.notices[fact.notice].said(owner.presences[fact.presence].who, fact.level)
            assert proof is not None
            proof.confirm(fact.at, entry)
        case facts.NoticesSent():
            for notice in fact.notices:
                sent = owner.notices[notice].sent
                for presence in fact.presences:
                    proof = sent[owner.presences[presence].id]
                    if proof.entry is None:
                        proof.confirm(fact.at, entry)
        case facts.NoticeIssued():
            owner.notices[fact.notice].durable = True
        case facts.PresenceOpened():
            owner.presences[fact.presence].durable = True


_APPLIED: Final[dict[type[facts.AnyFact], Callable[[Call, Any], None]]] = {
    facts.CallOpened: _call_opened,
    facts.CallEnded: _call_ended,
    facts.CallMerged: _call_merged,
    facts.ObservationMade: _observation_made,
    facts.ClaimLapsed: _claim_lapsed,
    facts.CapabilityChanged: _capability_changed,
    facts.NoticeIssued: _notice_issued,
    facts.PresenceOpened: _presence_opened,
    facts.PresenceListed: _presence_listed,
    facts.SessionJoined: _session_joined,
    facts.SessionLeft: _session_left,
    facts.PresenceClosed: _presence_closed,
    facts.PresencesErased: _presences_erased,
    facts.RosterSeen: _roster_seen,
    facts.NoticesSent: _notices_sent,
    facts.LevelProved: _level_proved,
    facts.NoticeOverdue: _notice_overdue,
}
