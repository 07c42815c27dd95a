"""Answers: what operators and auditors ask about calls, messages and ledgers, and what operators tell of them.

Rules: counts and names leave by this door only; what is read from storage is read off the loop; a question about a
call that several organisations know is refused until it says which. Owned by the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from gateway.core.errors import NotDurable, Refusal
from gateway.core.types import CallKey, Level, rfc3339
from gateway.hub.interpreter import Interpreter
from gateway.hub.live import LiveCall, capabilities
from gateway.hub.naming import Naming
from gateway.hub.porter import Porter
from gateway.hub.surveys import Surveys
from gateway.hub.sweeper import Sweeper


class Answers:
    """The hub as the control API sees it."""

    def __init__(
        self,
        interpreter: Interpreter,
        naming: Naming,
        surveys: Surveys,
        sweeper: Sweeper,
        porter: Porter,
        troubles: list[str],
    ) -> None:
        """`troubles` are lasting reasons for not being ready; others add to them."""
        self._interpreter: Final = interpreter
        self._registry: Final = interpreter.registry
        self._ledgers: Final = interpreter.ledgers
        self._naming: Final = naming
        self._surveys: Final = surveys
        self._sweeper: Final = sweeper
        self._porter: Final = porter
        self._troubles: Final = troubles
        self._loop: Final = asyncio.get_running_loop()

    def stop_waiting(self) -> None:
        """Answer everyone who waits for coverage with what there is: the process ends."""
        self._surveys.stop_waiting()

    def readiness(self) -> list[str]:
        """Why this process is not ready; empty when it is."""
        failing = [f"storage of region {name} cannot write: {error}" for name, error in self._ledgers.failing.items()]
        return [*failing, *self._troubles]

    def calls(self) -> list[dict[str, Any]]:
        """The open calls."""
        return [self._summary(live) for live in self._registry.calls.values() if self._is_on(live)]

    def _is_on(self, live: LiveCall) -> bool:
        return live.call.opened_at is not None and not live.call.ended

    def _summary(self, live: LiveCall) -> dict[str, Any]:
        call = live.call
        present = [presence for presence in call.open_presences() if presence.owes]
        return {
            "call": call.key.call,
            "organization": call.key.organization,
            "revision": call.revision,
            "open": self._is_on(live),
            "capabilities": {
                name: {**shown, "since": _written(shown["since"])} for name, shown in capabilities(call).items()
            },
            "present": len(present),
            "connected": sum(1 for presence in present if presence.sessions),
            "others": call.others,
        }

    async def call(self, call: str, organization: str | None) -> dict[str, Any]:
        """One call's capabilities, revision, episodes and counts; raises `Refusal` 404 or 409."""
        live = await self._registry.find(call, organization)
        episodes = [
            {
                "episode": episode.id,
                "capability": episode.capability.value,
                "started_at": rfc3339(episode.started_at),
                "ended_at": _written(episode.ended_at),
            }
            for episode in live.call.episodes.values()
        ]
        return {**self._summary(live), "aliases": list(self._registry.names.of(live.key)), "episodes": episodes}

    async def coverage(self, call: str, organization: str | None, level: Level, wait: float) -> Sequence[bytes]:
        """Who was told what, with every gap, as JSON in pieces; waits up to `wait` seconds for it to be complete."""
        return await self._surveys.coverage(lambda: self._registry.find(call, organization), level, wait)

    async def name(self, call: str, organization: str | None, aliases: tuple[str, ...]) -> None:
        """These are all the names the call goes by; a call that opened under one of them becomes part of it."""
        key = await self._named(call, organization)
        await self._until(await self._naming.name(key, aliases))

    async def _until(self, durable: Sequence[asyncio.Future[None]]) -> None:
        pending = set(durable)
        for _ in range(100):
            _, pending = await asyncio.wait(pending, timeout=0.1)
            if not pending:
                return
            if self._ledgers.failing:
                break
        raise NotDurable("storage cannot write now")

    async def _named(self, call: str, organization: str | None) -> CallKey:
        try:
            known = (await self._registry.find(call, organization)).key
        except Refusal as unknown:
            if unknown.status != 404:
                raise
        else:
            if known.organization:
                return known
        if organization is None and len(self._registry.organizations) == 1:
            organization = self._registry.organizations[0]
        if organization is None or organization not in self._registry.organizations:
            raise Refusal("unknown_call", "no such call: say ?organization= to begin it", status=404)
        return self._registry.key(organization, call)

    async def stored_message(self, participant: str) -> dict[str, Any] | None:
        """The last message, None where there is none or it is not to be shown any more. Raises `Unserved`."""
        place = self._porter.place(participant, "message")
        stored = await self._ledgers.read(place.region, lambda reader: reader.message(participant))
        if stored is None or stored.hidden_at <= self._interpreter.now():
            return None
        return {
            "participant": participant,
            "region": place.region,
            "thread": stored.thread,
            "message": stored.message,
            "version": stored.version,
            "sent_at": rfc3339(stored.sent_at),
            "content": stored.content,
            "hidden_at": rfc3339(stored.hidden_at),
            "expires_at": rfc3339(stored.expires_at),
        }

    async def sweep(self, now: datetime | None) -> dict[str, Any]:
        """Delete what has expired by `now`."""
        return await self._sweeper.sweep(now)

    async def certificates(self) -> list[dict[str, Any]]:
        """What was deleted, when and why, from every region."""
        return [
            {"region": region, **certificate}
            for region in self._ledgers.regions
            for certificate in await self._ledgers.read(region, lambda reader: reader.certificates())
        ]

    async def entries(self, region: str, start: int, limit: int) -> list[bytes]:
        """The leaves of a region's ledger from number `start` on."""
        if region not in self._ledgers.regions:
            raise Refusal("unknown_region", "this region is not served here", status=404)
        return list(await self._ledgers.read(region, lambda reader: reader.entries(start, limit)))


def _written(moment: object) -> str | None:
    return rfc3339(moment) if isinstance(moment, datetime) else None
