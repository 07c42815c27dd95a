"""Observing: from a claim about a capability to what everyone must be told.

Rules: the judgement is recorded with the claim, so recovery needs no second judgement; one start is announced
once however many sources report it; a call's end closes its episodes and is no stop anyone must be proved to know.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from gateway.core import facts
from gateway.core.call import Call
from gateway.core.fusion import ANCIENT, LAPSE, Claim, Verdict, fuse, judge
from gateway.core.presence import Input, Phase, Presence, closing
from gateway.core.step import Step
from gateway.core.types import TERMINAL, Capability, Change, Level, State, milliseconds

Digests = Callable[[str, Capability, Change], dict[str, str]]
"""The digest of a notice's text in every locale: `(notice, capability, change)` to `{locale: digest}`."""


def observe(step: Step, capability: Capability, claim: Claim, digests: Digests) -> Verdict:
    """Take one claim in and tell what follows from it."""
    # In the ledger's precision from the start, or a claim would be judged differently after a restart.
    claim = replace(claim, occurred_at=milliseconds(min(claim.occurred_at, step.now)))
    moot = is_moot(step, claim)
    if moot is not None:
        return moot
    track = step.call.tracks[capability]
    verdict = judge(track, claim, step.now)
    if verdict is not Verdict.SAME:
        step.open()
        step.record(
            facts.ObservationMade(
                call=step.call.key,
                at=step.now,
                capability=capability,
                state=claim.state,
                source=claim.source,
                authority=claim.authority,
                occurred_at=claim.occurred_at,
                verdict=verdict.value,
                failed=claim.failed,
                cause=claim.cause,
                event=claim.event,
            )
        )
    settle(step, capability, digests)
    return verdict


def is_moot(step: Step, claim: Claim) -> Verdict | None:
    """Why the claim changes nothing whoever makes it; None if it may count."""
    if claim.limited and not step.call.policy.participants_observe:
        return Verdict.REFUSED
    late = step.now - claim.occurred_at > ANCIENT or _is_over(step, claim)
    return Verdict.LATE if late else None


def _is_over(step: Step, claim: Claim) -> bool:
    """Whether the claim speaks of a run of the call that has ended: only a newer start brings it back."""
    ended_at = step.call.ended_at
    if ended_at is None:
        return False
    return claim.occurred_at <= ended_at or (step.call.ended and claim.state is not State.ACTIVE)


def settle(step: Step, capability: Capability, digests: Digests) -> None:
    """Bring what is shown and told in line with what the sources say by now."""
    call, track = step.call, step.call.tracks[capability]
    if call.ended:
        return
    due = fuse(track, step.now)
    if due is None:
        return
    if due.change is None:
        step.record(
            facts.CapabilityChanged(
                call=call.key,
                at=step.now,
                revision=call.revision + 1,
                capability=capability,
                state=due.state,
                episode=track.episode,
            )
        )
        step.refresh()
        return
    notice = step.new_id("n")
    step.record(
        facts.NoticeIssued(
            call=call.key,
            at=step.now,
            revision=call.revision + 1,
            notice=notice,
            capability=capability,
            change=due.change,
            episode=track.episode or step.new_id("e"),
            occurred_at=_occurred_at(step, capability),
            require=Level.RECEIVED if due.change in TERMINAL else call.policy.require,
            deadline_at=step.now + call.policy.deadline,
            digests=digests(notice, capability, due.change),
        )
    )
    step.announce(notice)


def _occurred_at(step: Step, capability: Capability) -> datetime:
    """When the newest word about the capability says that it happened."""
    words = step.call.tracks[capability].words.values()
    return min(max((word.occurred_at for word in words), default=step.now), step.now)


def lapse(step: Step, who: str, digests: Digests) -> None:
    """The claims of someone who has been gone for ten seconds fall away."""
    latest = _newest(step.call, who)
    gone_at = None if latest is None else latest.departed_at
    if latest is not None and (gone_at is None or step.now - gone_at < LAPSE):
        return
    for capability, track in step.call.tracks.items():
        word = track.words.get(who)
        if word is not None and (word.standing or word.held):
            step.record(facts.ClaimLapsed(call=step.call.key, at=step.now, capability=capability, source=who))
            settle(step, capability, digests)


def _newest(call: Call, who: str) -> Presence | None:
    """The last presence of somebody, who may have been erased since: the open one, else what began last."""
    presence = call.presences.get(who)
    if presence is not None and presence.participant is not None:
        return call.latest.get(presence.participant)
    theirs = (each for each in call.presences.values() if each.who == who)
    return max(theirs, key=lambda each: (each.open, each.opened_at), default=None)


def end(step: Step, reason: str, occurred_at: datetime, digests: Digests) -> None:
    """The call is over: what was on is told as stopped, presences close, nothing more is owed.

    The late end of an earlier run of the same call id does not end this one while somebody is connected.
    """
    call = step.call
    if call.ended or call.opened_at is None:
        return
    occurred_at = milliseconds(min(occurred_at, step.now))
    if _is_of_an_earlier_run(call, occurred_at):
        return
    for presence in call.open_presences():
        closed = closing(presence, Input.ENDED)
        if closed is not None:
            step.record(
                facts.PresenceClosed(
                    call=call.key, at=step.now, presence=presence.id, region=presence.region, reason=closed
                )
            )
    for capability, track in call.tracks.items():
        if track.episode is not None:
            _tell_end(step, capability, track.episode, digests)
    step.record(
        facts.CallEnded(call=call.key, at=step.now, revision=call.revision + 1, reason=reason, occurred_at=occurred_at)
    )
    step.refresh()


def _is_of_an_earlier_run(call: Call, occurred_at: datetime) -> bool:
    """Whether something newer than that end is known: a start by an authority, or somebody connected since."""
    started = any(
        word.standing and word.authority and word.occurred_at > occurred_at
        for track in call.tracks.values()
        for word in track.words.values()
    )
    connected = any(presence.phase is Phase.CONNECTED for presence in call.open_presences())
    return started or (connected and call.opened_at is not None and occurred_at < call.opened_at)


def _tell_end(step: Step, capability: Capability, episode: str, digests: Digests) -> None:
    notice = step.new_id("n")
    step.record(
        facts.NoticeIssued(
            call=step.call.key,
            at=step.now,
            revision=step.call.revision + 1,
            notice=notice,
            capability=capability,
            change=Change.STOPPED,
            episode=episode,
            occurred_at=step.now,
            require=Level.RECEIVED,
            deadline_at=step.now + step.call.policy.deadline,
            digests=digests(notice, capability, Change.STOPPED),
        )
    )
    step.announce(notice)
