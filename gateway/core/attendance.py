"""Attendance: who is in a call, from sessions that join and leave and from rosters that arrive in any order.

Rules: two sessions of one participant are one presence; a whole roster speaks only about those it lists or ceased
to list; an older word about somebody never undoes a newer one; people without an ACS resource are counted only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from gateway.core import facts
from gateway.core.call import Call
from gateway.core.observing import Digests, lapse
from gateway.core.presence import Input, Phase, Presence, closing
from gateway.core.step import Step
from gateway.core.types import Person, Role, milliseconds

RegionOf = Callable[[str], str]
"""The region a participant's data must live in."""


@dataclass(frozen=True, slots=True)
class Joining:
    """A session that joins a call on behalf of its participant."""

    session: str
    participant: str
    region: str
    role: Role
    name: str | None = None
    device: str | None = None


def join(step: Step, joining: Joining) -> Presence:
    """The participant is in the call through this session; joining twice is joining once."""
    step.open()
    presence = step.call.present(joining.participant)
    if presence is None:
        presence = _enter(step, Person(joining.participant, joining.name), joining.region, joining.role, listed=False)
    if joining.session not in presence.sessions:
        step.record(
            facts.SessionJoined(
                call=step.call.key,
                at=step.now,
                presence=presence.id,
                region=presence.region,
                session=joining.session,
                role=joining.role,
                device=joining.device,
            )
        )
    return presence


def _enter(step: Step, person: Person, region: str, role: Role, *, listed: bool) -> Presence:
    call = step.call
    earlier = call.latest.get(person.participant)
    presence = step.new_id("p")
    step.record(
        facts.PresenceOpened(
            call=call.key,
            at=step.now,
            presence=presence,
            who=presence if earlier is None else earlier.who,
            region=region,
            participant=person.participant,
            name=person.name,
            role=role,
            listed=listed,
        )
    )
    return call.presences[presence]


def vouch(step: Step, person: Person, region: str) -> Presence:
    """Somebody reports on the call by way of others: who they are must outlive a restart, and they owe nothing."""
    known = step.call.latest.get(person.participant)
    if known is not None:
        return known
    step.open()
    return _enter(step, person, region, Role.OBSERVER, listed=True)


def lose(step: Step, session: str, participant: str, reason: str) -> None:
    """A session is gone from the call: `left` on its own word, else `disconnected` or `slow`."""
    presence = step.call.present(participant)
    if presence is not None:
        part(step, presence, session, reason)


def part(step: Step, presence: Presence, session: str, reason: str) -> None:
    """As `lose`, of a presence that may be nobody's any more."""
    if session not in presence.sessions:
        return
    last = len(presence.sessions) == 1
    step.record(
        facts.SessionLeft(
            call=step.call.key,
            at=step.now,
            presence=presence.id,
            region=presence.region,
            session=session,
            reason=reason,
        )
    )
    if last and reason == "left":
        _close(step, presence, Input.LEFT)


def _close(step: Step, presence: Presence, event: Input) -> None:
    reason = closing(presence, event)
    if reason is not None:
        step.record(
            facts.PresenceClosed(
                call=step.call.key, at=step.now, presence=presence.id, region=presence.region, reason=reason
            )
        )


def expire(step: Step, presence_id: str) -> None:
    """Nobody came back in time after a lost connection."""
    presence = step.call.presences.get(presence_id)
    if presence is None or presence.phase is not Phase.AWAY or presence.gone_at is None:
        return
    if step.now - presence.gone_at >= step.call.policy.absence:
        _close(step, presence, Input.EXPIRED)


def report(step: Step, person: Person, *, present: bool, occurred_at: datetime, region_of: RegionOf) -> None:
    """A source says that one participant came or went; the newest word about somebody counts."""
    occurred_at = min(occurred_at, step.now)
    if _is_over(step.call, occurred_at) or _is_old(step.call, person.participant, occurred_at):
        return
    if present:
        step.open()
        _list(step, person, occurred_at, region_of)
    elif person.participant in step.call.latest:
        _unlist(step, step.call.present(person.participant), occurred_at)
    else:
        step.call.miss(person.participant, occurred_at)


def _is_over(call: Call, occurred_at: datetime) -> bool:
    return call.ended_at is not None and occurred_at <= call.ended_at


def _is_old(call: Call, participant: str, occurred_at: datetime) -> bool:
    """Whether something newer is known: an earlier word of a roster, or that the participant left since."""
    latest = call.latest.get(participant)
    if latest is None:
        missed_at = call.missed.get(participant)
        return missed_at is not None and occurred_at <= missed_at
    heard_at = call.heard_of.get(latest.who)
    if heard_at is not None and occurred_at < heard_at:
        return True
    return not latest.open and latest.departed_at is not None and occurred_at <= latest.departed_at


def _list(step: Step, person: Person, occurred_at: datetime, region_of: RegionOf) -> None:
    presence = step.call.present(person.participant)
    if presence is None:
        presence = _enter(step, person, region_of(person.participant), Role.PARTICIPANT, listed=True)
    elif _is_listed(presence) and not _is_news(step.call, presence, occurred_at):
        return
    _set_listed(step, presence, occurred_at, listed=True)


def _is_listed(presence: Presence | None) -> bool:
    """Whether a roster that names the presence says nothing new of it."""
    return presence is not None and presence.listed and (presence.owes or presence.reached)


def _unlist(step: Step, presence: Presence | None, occurred_at: datetime) -> None:
    if presence is None:
        return
    if presence.listed or _is_news(step.call, presence, occurred_at):
        _set_listed(step, presence, occurred_at, listed=False)
    _close(step, presence, Input.UNLISTED)


def _is_news(call: Call, presence: Presence, occurred_at: datetime) -> bool:
    """Whether nothing as new is known of the presence: an older word that comes later must not undo this one."""
    heard_at = call.heard_of.get(presence.who)
    return heard_at is None or heard_at < milliseconds(occurred_at)


def _set_listed(step: Step, presence: Presence, occurred_at: datetime, *, listed: bool) -> None:
    step.record(
        facts.PresenceListed(
            call=step.call.key,
            at=step.now,
            presence=presence.id,
            region=presence.region,
            listed=listed,
            occurred_at=milliseconds(occurred_at),
        )
    )


@dataclass(frozen=True, slots=True)
class Roster:
    """A whole roster of one connection; `sequence` orders its snapshots, `others` counts who is no ACS user."""

    connection: str
    sequence: int
    people: Sequence[Person]
    others: int
    occurred_at: datetime


def newcomers(call: Call, roster: Roster) -> list[Person]:
    """Those of a roster who are not listed yet: only they are much work."""
    return [person for person in roster.people if not _is_listed(call.present(person.participant))]


def list_some(step: Step, roster: Roster, people: Sequence[Person], region_of: RegionOf) -> bool:
    """List these of a roster before it is applied as a whole; False when it says nothing any more.

    They are listed as by single words of the same source. So it may be left at that: the roster, taken again, finds
    them there; and whatever happens before it is applied is as if it had come only then.
    """
    roster = replace(roster, occurred_at=min(roster.occurred_at, step.now))
    if _is_passed(step.call, roster):
        return False
    step.open()
    for person in people:
        if not _is_old(step.call, person.participant, roster.occurred_at):
            _list(step, person, roster.occurred_at, region_of)
    return True


def _is_passed(call: Call, roster: Roster) -> bool:
    newest = call.sequences.get(roster.connection, -1)
    return roster.sequence <= newest or _is_over(call, roster.occurred_at)


def list_people(step: Step, roster: Roster, region_of: RegionOf) -> bool:
    """Apply a whole roster; False when a newer one of the same connection was applied before."""
    call = step.call
    roster = replace(roster, occurred_at=min(roster.occurred_at, step.now))
    if _is_passed(call, roster):
        return False
    step.open()
    step.record(
        facts.RosterSeen(
            call=call.key,
            at=step.now,
            connection=roster.connection,
            sequence=roster.sequence,
            others=roster.others,
            occurred_at=milliseconds(roster.occurred_at),
        )
    )
    named = {person.participant for person in roster.people}
    # Of who was listed already it was said with the roster that they still are.
    for person in newcomers(call, roster):
        if not _is_old(call, person.participant, roster.occurred_at):
            _list(step, person, roster.occurred_at, region_of)
    # By raw id, which leads to an erased presence too while it is open; of whom nobody can name no roster speaks.
    for participant, presence in list(call.latest.items()):
        if (
            participant not in named
            and presence.open
            and presence.listed
            and not _is_old(call, participant, roster.occurred_at)
        ):
            _unlist(step, presence, roster.occurred_at)
    return True


def wake(step: Step, what: str, subject: str, digests: Digests) -> None:
    """Time has passed for somebody who is gone."""
    if what == "lapse":
        lapse(step, subject, digests)
    else:
        expire(step, subject)
