"""Retention: the policies and holds that operators set, what they mean for a participant, and erasure on request.

Rules: a rule is set in every region, each time with those participants alone whose data lives there; a region that
missed a change is brought up to the others at start; nothing is answered before it is durable. Owned by the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from gateway.core import keeping
from gateway.core.errors import Refusal
from gateway.core.keeping import Kind
from gateway.core.residency import Placement, resource_of
from gateway.core.types import rfc3339
from gateway.hub.ledgers import Ledgers
from gateway.hub.sweeper import Sweeper
from storage.copies import Judgement, KeptCopy
from storage.operations import AskErasure, RemoveRule, Rule, SetRule

Place = Callable[[str, str], Placement]
"""Where a participant's data lives, asked at a door. Raises `Unserved`."""


class Retention:
    """What the control API asks about retention."""

    def __init__(
        self,
        ledgers: Ledgers,
        sweeper: Sweeper,
        place: Place,
        known: Mapping[str, Collection[str]],
        now: Callable[[], datetime],
    ) -> None:
        """`known` are the `organizations` and `resources` that are configured."""
        self._ledgers: Final = ledgers
        self._sweeper: Final = sweeper
        self._place: Final = place
        self._known: Final = known
        self._now: Final = now
        self._turn: Final = asyncio.Lock()
        self._set_at: datetime | None = None

    # -- policies and holds ---------------------------------------------------------------------------------------

    async def rules(self, kind: Kind) -> list[dict[str, Any]]:
        """Every policy, or every hold."""
        found: dict[str, list[Rule]] = {}
        for region in self._ledgers.regions:
            for rule in await self._read(region):
                if rule.kind == kind:
                    found.setdefault(rule.name, []).append(rule)
        return [_shown(rules) for _, rules in sorted(found.items())]

    async def rule(self, kind: Kind, name: str) -> dict[str, Any]:
        """The policy or hold of that name. Raises `Refusal` 404."""
        for rule in await self.rules(kind):
            if rule["name"] == name:
                return rule
        raise Refusal("not_found", f"there is no {kind} of that name", status=404)

    async def set_policy(self, name: str, policy: keeping.Policy) -> dict[str, Any]:
        """Have a policy hold from now on. Raises `Refusal`, `NotDurable`."""
        keeping.check_policy(keeping.check_name(name), policy)
        rule = self._rule("policy", name, policy.lists())
        action: Any = policy.action
        await self._set(replace(rule, action=action, days=policy.days))
        return await self.rule("policy", name)

    async def set_hold(self, name: str, hold: keeping.Hold) -> dict[str, Any]:
        """Have a hold keep what it is about from now on. Raises `Refusal`, `NotDurable`."""
        keeping.check_hold(hold)
        await self._set(replace(self._rule("hold", keeping.check_name(name), hold.lists()), reason=hold.reason))
        return await self.rule("hold", name)

    def _rule(self, kind: Kind, name: str, lists: Mapping[str, list[str]]) -> Rule:
        keeping.check_known(lists, self._known)
        return Rule(
            kind,
            name,
            self._later(),
            everything=not any(lists.values()),
            organizations=tuple(lists["organizations"]),
            resources=tuple(lists["resources"]),
            calls=tuple(lists.get("calls", ())),
            threads=tuple(lists["threads"]),
            participants=tuple(lists["participants"]),
        )

    def _later(self) -> datetime:
        """Now, and after whatever was set before: newer is told from older by it."""
        now = self._now()
        self._set_at = now if self._set_at is None else max(now, self._set_at + datetime.resolution)
        return self._set_at

    async def _set(self, rule: Rule) -> None:
        where: dict[str, list[str]] = {region: [] for region in self._ledgers.regions}
        for participant in rule.participants:
            where[self._place(participant, "retention").region].append(participant)
        async with self._turn:
            if len([each for each in await self.rules(rule.kind) if each["name"] != rule.name]) >= keeping.MOST_RULES:
                raise Refusal("too_many", f"there are {keeping.MOST_RULES} of them already: remove some", status=409)
            await self._everywhere(
                {region: SetRule(replace(rule, participants=tuple(theirs))) for region, theirs in where.items()}
            )
        self._sweeper.wake()

    async def remove(self, kind: Kind, name: str) -> None:
        """Have a policy or hold hold no longer. Raises `Refusal` 404, `NotDurable`."""
        async with self._turn:
            await self.rule(kind, name)
            await self._everywhere(dict.fromkeys(self._ledgers.regions, RemoveRule(kind, name, self._later())))
        self._sweeper.wake()

    async def _everywhere(self, operations: Mapping[str, SetRule | RemoveRule]) -> None:
        await asyncio.gather(*(self._ledgers.carry_out(region, [each]) for region, each in operations.items()))

    async def align(self) -> None:
        """At start: every region has the rules of the one that heard of a change last. Raises `NotDurable`.

        What a region lacks is set without participants: those of its own it alone would know.
        """
        heard = {
            region: await self._ledgers.read(region, lambda reader: reader.kept.rules_set_at())
            for region in self._ledgers.regions
        }
        newest = max(heard, key=lambda region: heard[region])
        self._set_at = heard[newest]
        valid = {(rule.kind, rule.name): rule for rule in await self._read(newest) if rule.readable}
        for region, set_at in heard.items():
            if set_at < heard[newest]:
                await self._bring_up(region, valid, heard[newest])

    async def _bring_up(self, region: str, valid: Mapping[tuple[Kind, str], Rule], at: datetime) -> None:
        own = {(rule.kind, rule.name): rule for rule in await self._read(region)}
        missed: list[SetRule | RemoveRule] = [
            RemoveRule(rule.kind, rule.name, at) for key, rule in own.items() if key not in valid
        ]
        for key, rule in valid.items():
            if key not in own or own[key].set_at < rule.set_at:
                theirs = own[key].participants if key in own else ()
                missed.append(SetRule(replace(rule, participants=theirs)))
        await self._ledgers.carry_out(region, missed)

    async def _read(self, region: str) -> list[Rule]:
        return await self._ledgers.read(region, lambda reader: reader.kept.rules())

    # -- a participant --------------------------------------------------------------------------------------------

    async def explain(self, participant: str) -> dict[str, Any]:
        """What is kept of a participant's messages, until when, and which policy decided that by which principle."""
        place, now = self._place(participant, "retention"), self._now()
        resource = resource_of(participant) or ""
        found = await self._ledgers.read(place.region, lambda reader: reader.kept.retained(participant, resource, now))
        return {
            "participant": participant,
            "region": place.region,
            "organization": place.organization,
            "copies": [_copy(copy, now) for copy in found.copies],
            "sent_now": _judged(found.next),
            "held_by": list(found.held_by),
            "erasure_asked_at": None if found.erasure_asked_at is None else rfc3339(found.erasure_asked_at),
        }

    async def erase(self, participant: str) -> dict[str, Any]:
        """Erase a participant: the message, who they were in every call, and the rules that name them.

        Raises `Unserved`; `Refusal` 409 where holds forbid it, which is remembered and done when none does any more;
        and `NotDurable`.
        """
        place = self._place(participant, "erase")
        async with self._turn, self._sweeper.turns[place.region]:
            await self._sweeper.erase(place.region)
            asked = AskErasure(participant, resource_of(participant) or "", self._now())
            (holds,) = await self._ledgers.carry_out(place.region, [asked])
            if holds:
                held = ", ".join(holds)
                raise Refusal("held", f"held by {held}: the erasure is remembered and done once it is not", status=409)
            done = await self._sweeper.erase(place.region)
        return {"participant": participant, "region": place.region, **done}


def _shown(rules: Sequence[Rule]) -> dict[str, Any]:
    """A rule as all regions together have it."""
    newest = max(rules, key=lambda rule: (rule.readable, rule.set_at))
    shown: dict[str, Any] = {
        "name": newest.name,
        "set_at": rfc3339(newest.set_at),
        "everything": newest.everything,
        "organizations": list(newest.organizations),
        "resources": list(newest.resources),
        "threads": list(newest.threads),
        "participants": sorted({each for rule in rules for each in rule.participants}),
    }
    if newest.kind == "policy":
        shown |= {"action": newest.action, "days": newest.days}
    else:
        shown |= {"calls": list(newest.calls), "reason": newest.reason}
    return shown if all(rule.readable for rule in rules) else {**shown, "readable": False}


def _judged(judgement: Judgement) -> dict[str, Any]:
    decision, holds = judgement
    return {
        "hidden_at": rfc3339(decision.hidden_at),
        "hidden_by": list(decision.hidden_by),
        "due_at": rfc3339(decision.due_at),
        **keeping.explained(decision.principle, decision.policies),
        "held_by": list(holds),
    }


def _copy(copy: KeptCopy, now: datetime) -> dict[str, Any]:
    decision, holds = copy.judgement
    state = "live" if now < decision.hidden_at else "hidden" if holds or now < decision.due_at else "due"
    return {"copy": copy.copy, "state": state, "sent_at": rfc3339(copy.sent_at), **_judged(copy.judgement)}
