"""Answers: what operators and auditors ask about calls, messages and ledgers, and what operators tell of them.

Rules: counts and names leave by this door only; what is read from storage is read off the loop; a question about a
call that several organisations know is refused until it says which. Owned by the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from gateway.core import coverage
from gateway.core.errors import NotDurable, Refusal
from gateway.core.types import CallKey, Level, rfc3339
from gateway.hub.interpreter import Interpreter
from gateway.hub.live import LiveCall, capabilities
from gateway.hub.naming import Naming
from gateway.hub.porter import Porter
from gateway.hub.sweeper import Sweeper

PAUSE: Final = 0.05
"""Seconds between two looks at a call whose coverage somebody waits for."""


MOST_FOLDS: Final = 1000
"""How many calls' coverage is kept for those who wait for it."""

Covered = list[coverage.NoticeCoverage]
"""Coverage of every notice of a call."""


class Fold(NamedTuple):
    """Coverage as it was folded last, and the loop's time before which it is not folded again."""

    covered: Covered
    due: float


class Answers:
    """The hub as the control API sees it."""

    def __init__(
        self,
        interpreter: Interpreter,
        naming: Naming,
        sweeper: Sweeper,
        porter: Porter,
        troubles: list[str],
    ) -> None:
        """`troubles` are lasting reasons for not being ready; others add to them."""
        self._interpreter: Final = interpreter
        self._registry: Final = interpreter.registry
        self._ledgers: Final = interpreter.ledgers
        self._naming: Final = naming
        self._sweeper: Final = sweeper
        self._porter: Final = porter
        self._troubles: Final = troubles
        self._ending = False
        self._folds: Final[dict[tuple[CallKey, Level], Fold]] = {}
        self._loop: Final = asyncio.get_running_loop()

    def stop_waiting(self) -> None:
        """Answer everyone who waits for coverage with what there is: the process ends."""
        self._ending = True
        for live in self._registry.calls.values():
            live.changed()

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

    async def coverage(self, call: str, organization: str | None, level: Level, wait: float) -> dict[str, Any]:
        """Who was told what, with every gap; waits up to `wait` seconds for it to be complete."""
        deadline = self._loop.time() + wait
        covered = self._cover(await self._registry.find(call, organization), level)
        while True:
            live = await self._registry.find(call, organization)
            left = deadline - self._loop.time()
            if left <= 0 or self._ending or not any(each.gaps for each in covered):
                return coverage.report(live.call, level, covered)
            waiter: asyncio.Future[None] = self._loop.create_future()
            live.waiters.append(waiter)
            await asyncio.wait([waiter], timeout=left)
            if waiter in live.waiters:
                live.waiters.remove(waiter)
            covered = await self._next_cover(live.current(), level, deadline)

    def _cover(self, live: LiveCall, level: Level) -> Covered:
        return coverage.cover(live.call, level, self._interpreter.now(), _behind(live))

    async def _next_cover(self, live: LiveCall, level: Level, deadline: float) -> Covered:
        """Coverage after a change, folded once for all who wait for it and for a tenth of the time at most."""
        fold = self._folds.get((live.key, level))
        rest = PAUSE if fold is None else max(PAUSE, fold.due - self._loop.time())
        await asyncio.sleep(min(rest, max(deadline - self._loop.time(), 0)))
        live, now = live.current(), self._loop.time()
        fold = self._folds.get((live.key, level))
        if fold is None or fold.due <= now:
            covered = self._cover(live, level)
            took = self._loop.time() - now
            if len(self._folds) >= MOST_FOLDS:
                self._folds.clear()
            fold = self._folds[live.key, level] = Fold(covered, now + max(PAUSE, 10 * took))
        return fold.covered

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


def _behind(live: LiveCall) -> set[str]:
    """Presences whose sessions all read too slowly."""
    slow: dict[str, bool] = {}
    for session in live.audience:
        presence = live.call.present(session.participant)
        if presence is not None:
            slow[presence.id] = slow.get(presence.id, True) and session.behind
    return {presence for presence, behind in slow.items() if behind}


def _written(moment: object) -> str | None:
    return rfc3339(moment) if isinstance(moment, datetime) else None
