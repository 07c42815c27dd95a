"""Enactment: what an event does to the calls it concerns, to who is in them, and to last messages.

Rules: a person's event counts in the organisation of the person's ACS resource, and is refused where the event names
another; whatever an event does is returned as outcomes that resolve when it is durable. Owned by the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import msgspec

from gateway.core import attendance, observing
from gateway.core.catalogue import digests
from gateway.core.fusion import Claim
from gateway.core.happenings import (
    CallBegun,
    CallOver,
    CallReference,
    CapabilityClaimed,
    Event,
    Happening,
    Ignored,
    MessageSent,
    PresenceReported,
    RecordingFound,
    RosterGiven,
)
from gateway.core.ids import derived
from gateway.core.residency import Placement, Residency, Unserved
from gateway.core.step import Step
from gateway.core.types import Capability, Person, rfc3339
from gateway.hub.interpreter import Interpreter
from gateway.hub.live import LiveCall
from gateway.hub.messages import Messages
from storage.entry import canonical
from storage.operations import Append

SLICE: Final = 100
"""People of a roster who come into a call before the loop may turn to something else."""

Outcome = asyncio.Future[None]
"""Resolves when something is durable."""
Deed = Callable[[Step, LiveCall], object]
"""What an event does in one call."""


class Enactment:
    """Does what events mean."""

    def __init__(self, interpreter: Interpreter, messages: Messages, residency: Residency) -> None:
        self._interpreter: Final = interpreter
        self._registry: Final = interpreter.registry
        self._ledgers: Final = interpreter.ledgers
        self._messages: Final = messages
        self._residency: Final = residency
        self._region: Final = interpreter.homes.unclaimed
        """Keeps what belongs to no call: refusals and late evidence, without any content."""
        self._loop: Final = asyncio.get_running_loop()

    def refuse(self, door: str, reason: str, digest: bytes | None = None, left_out: int = 0) -> Outcome:
        """Record that something was refused at a door: why, and nothing of what it held.

        `left_out` are refusals there since the last one recorded that got no entry.
        """
        entry: dict[str, object] = {"kind": "refused", "door": door, "reason": reason}
        entry["at"] = rfc3339(self._interpreter.now())
        if digest is not None:
            entry["digest"] = digest.hex()
        if left_out:
            entry["left_out"] = left_out
        outcome: Outcome = self._loop.create_future()
        self._ledgers.submit(self._region, [Append(canonical(entry), None)], _resolving(outcome))
        return outcome

    async def apply(self, event: Event) -> list[Outcome]:
        """Do what the event means; returned is what must be durable. Raises `Unserved`."""
        happening: Happening = event.happening
        match happening:
            case MessageSent():
                return [self._keep(happening)]
            case RosterGiven():
                return await self._roster(event, happening)
            case PresenceReported():
                place = self._placed(happening.person, happening.organization)
                return await self._in_calls(
                    event,
                    [place.organization],
                    happening.reference,
                    lambda step, _: attendance.report(
                        step,
                        happening.person,
                        present=happening.present,
                        occurred_at=happening.occurred_at,
                        region_of=self._region_of,
                    ),
                )
            case CapabilityClaimed():
                return await self._claim(event, happening)
            case CallBegun():
                return await self._in_claimants(event, happening.organization, happening.reference, _begin(happening))
            case CallOver():
                return await self._in_claimants(
                    event,
                    happening.organization,
                    happening.reference,
                    lambda step, _: observing.end(step, "ended", happening.occurred_at, digests),
                )
            case RecordingFound():
                return await self._note_recording(happening)
            case Ignored():
                return []

    def _placed(self, person: Person, organization: str | None) -> Placement:
        place = self._residency.place(person.participant)
        if organization is not None and place.organization != organization:
            raise Unserved("the participant belongs to another organisation")
        return place

    def _region_of(self, participant: str) -> str:
        return self._residency.place(participant).region

    def _keep(self, sent: MessageSent) -> Outcome:
        outcome: Outcome = self._loop.create_future()
        region = self._region_of(sent.participant)
        self._messages.keep(region, sent.participant, sent, _resolving(outcome))
        return outcome

    async def _roster(self, event: Event, given: RosterGiven) -> list[Outcome]:
        people: dict[str, list[Person]] = {}
        outcomes: list[Outcome] = []
        for turn, person in enumerate(given.people, 1):
            if turn % (10 * SLICE) == 0:
                await asyncio.sleep(0)
            try:
                place = self._placed(person, given.organization)
            except Unserved as unserved:
                outcomes.append(self.refuse("roster", unserved.code))
            else:
                people.setdefault(place.organization, []).append(person)
        organizations = {*await self._registry.claimants(given.organization, given.reference), *people}
        for organization in sorted(organizations - {""} if people else organizations):
            roster = attendance.Roster(
                given.connection,
                given.sequence,
                people.get(organization, []),
                given.others,
                given.occurred_at,
            )
            outcomes += await self._list(organization, given.reference, roster)
        return outcomes

    async def _list(self, organization: str, reference: CallReference, roster: attendance.Roster) -> list[Outcome]:
        """Apply a roster in the call that the organisation knows by this reference, newcomers first and in slices.

        Ids are from chance: what a crash left of a roster stays, and the rest of it must not be called the same.
        """
        self._interpreter.homes.of(organization)
        live = await self._registry.get(self._registry.referred(organization, reference))
        outcomes: list[Outcome] = []

        def list_(act: Callable[[Step], object]) -> None:
            found = live.current()
            step, outcome = self._interpreter.step(found), self._loop.create_future()
            act(step)
            outcomes.append(outcome)
            self._interpreter.perform(found, step, then=partial(resolve, outcome))

        people = attendance.newcomers(live.call, roster)
        for start in range(0, len(people) - SLICE, SLICE):
            some = people[start : start + SLICE]
            list_(partial(attendance.list_some, roster=roster, people=some, region_of=self._region_of))
            await asyncio.sleep(0)
        list_(partial(attendance.list_people, roster=roster, region_of=self._region_of))
        return outcomes

    async def _claim(self, event: Event, claimed: CapabilityClaimed) -> list[Outcome]:
        reporter, organization = claimed.reported_by, claimed.organization
        if reporter is not None:
            organization = self._placed(Person(reporter), organization).organization

        def observe(step: Step, _: LiveCall) -> None:
            claim = Claim(
                claimed.source,
                claimed.state,
                authority=claimed.authority,
                occurred_at=claimed.occurred_at,
                limited=reporter is not None,
                failed=claimed.failed,
                cause=claimed.cause if reporter is None else None,
                event=event.digest.hex(),
            )
            if reporter is not None and observing.is_moot(step, claim) is None:
                presence = attendance.vouch(step, Person(reporter), self._region_of(reporter))
                claim = replace(claim, source=presence.who)
            observing.observe(step, claimed.capability, claim, digests)

        return await self._in_claimants(event, organization, claimed.reference, observe)

    async def _in_claimants(
        self, event: Event, organization: str | None, reference: CallReference, act: Deed
    ) -> list[Outcome]:
        claimants = await self._registry.claimants(organization, reference)
        return await self._in_calls(event, claimants, reference, act)

    async def _in_calls(
        self, event: Event, organizations: Sequence[str], reference: CallReference, act: Deed
    ) -> list[Outcome]:
        """Do `act` in the call that each of these organisations knows by this reference."""
        outcomes: list[Outcome] = []
        for organization in organizations:
            self._interpreter.homes.of(organization)
            live = await self._registry.get(self._registry.referred(organization, reference))
            name = msgspec.json.encode(live.key)
            step = self._interpreter.step(live, derived(event.digest, name))
            act(step, live)
            outcome: Outcome = self._loop.create_future()
            outcomes.append(outcome)
            self._interpreter.perform(live, step, then=partial(resolve, outcome))
        return outcomes

    async def _note_recording(self, found: RecordingFound) -> list[Outcome]:
        """A recording turned up afterwards: the ledger says whether the call's episodes told of it."""
        outcomes: list[Outcome] = []
        for organization in await self._registry.claimants(found.organization, found.reference):
            key = self._registry.referred(organization, found.reference)
            live = await self._registry.recall(key)
            announced = live is not None and _told(live, found.started_at, found.started_at + found.duration)
            entry = {
                "kind": "recording.found",
                "organization": organization,
                "call": key.call,
                "started_at": rfc3339(found.started_at),
                "duration_ms": found.duration // timedelta(milliseconds=1),
                "announced": announced,
                "at": rfc3339(self._interpreter.now()),
            }
            home = live.ink.home if live is not None else None
            outcome: Outcome = self._loop.create_future()
            outcomes.append(outcome)
            append = Append(canonical(entry), None if live is None else key)
            self._ledgers.submit(home or self._region, [append], _resolving(outcome))
        return outcomes


def _begin(begun: CallBegun) -> Callable[[Step, LiveCall], None]:
    def begin(step: Step, _: LiveCall) -> None:
        ended_at = step.call.ended_at
        if ended_at is None or begun.occurred_at > ended_at:
            step.open()

    return begin


def _told(live: LiveCall, started_at: datetime, ended_at: datetime) -> bool:
    """Whether a recording episode of the call overlaps that time."""
    return any(
        episode.capability is Capability.RECORDING
        and episode.started_at <= ended_at
        and (episode.ended_at is None or episode.ended_at >= started_at)
        for episode in live.call.episodes.values()
    )


def _resolving(outcome: Outcome) -> Callable[[object], None]:
    return lambda _: resolve(outcome)


def resolve(outcome: Outcome) -> None:
    """Say that it is durable; nobody may be waiting any more."""
    if not outcome.done():
        outcome.set_result(None)
