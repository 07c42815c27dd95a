"""The calls in memory: which there are, by which names they go, and how they come and go from storage.

Rules: a call is read back once, and whoever needs it meanwhile waits in order; a name leads to at most one call of
an organisation; a call that ended stays for an hour, for late words about it. Owned by the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final

from gateway.core import facts, fold
from gateway.core.call import Call, Policy
from gateway.core.errors import Refusal
from gateway.core.happenings import CallReference
from gateway.core.reading import in_order
from gateway.core.types import CallKey
from gateway.hub.journal import Ink
from gateway.hub.ledgers import Ledgers
from gateway.hub.live import LiveCall
from gateway.hub.names import Names
from gateway.hub.recollection import StoredCall, homes_of, remember

KEEP_ENDED: Final = timedelta(hours=1)
"""How long a call that is over stays in memory."""
IDLE: Final = timedelta(hours=24)
"""How long a call that nobody listens to stays open when no source says anything of it."""

Act = Callable[[LiveCall], None]


class Registry:
    """The calls of one process."""

    def __init__(
        self,
        ledgers: Ledgers,
        policy: Policy,
        organizations: Iterable[str],
        now: Callable[[], datetime],
        ready: Callable[[LiveCall, list[facts.AnyFact]], None],
        broken: Callable[[str], None],
    ) -> None:
        """`ready` gets each call once it is read back, with the facts that its home region still lacks."""
        self._ledgers: Final = ledgers
        self.policy: Final = policy
        self._now: Final = now
        self._ready: Final = ready
        self._broken: Final = broken
        self._loading: Final[dict[CallKey, list[Act]]] = {}
        self.organizations: Final = tuple(sorted(set(organizations)))
        self.calls: Final[dict[CallKey, LiveCall]] = {}
        self.names: Final = Names()
        self.notices: Final[dict[str, LiveCall]] = {}

    def key(self, organization: str, name: str) -> CallKey:
        """The call of `organization` that goes by `name`, known or not."""
        return self.names.call(organization, name)

    def opened(self, key: CallKey) -> LiveCall | None:
        """The call if it is in memory and ever began."""
        live = self.calls.get(key)
        return None if live is None or live.call.opened_at is None else live

    def referred(self, organization: str, reference: CallReference) -> CallKey:
        """The call an event means: our own id, else an alias or a call known by one of the names, else its own."""
        if reference.call is not None:
            return self.key(organization, reference.call)
        for name in reference.names:
            key = self.key(organization, name)
            if key.call != name or self.opened(key) is not None:
                return key
        return self.key(organization, reference.fallback)

    async def claimants(self, organization: str | None, reference: CallReference) -> list[str]:
        """The organisations in which an event counts: the one it names, else all that know the call.

        Where nobody knows it, it is the only organisation's, or nobody's yet (the empty name). What was nobody's
        stays so too, for organisations that get to know the call later. Raises `NotDurable`.
        """
        if organization is not None:
            return [organization]
        knowing = [each for each in self.organizations if self._knows(each, reference)]
        if not knowing:
            knowing = [each for each in self.organizations if await self._knew(each, reference)]
        if not knowing:
            return list(self.organizations) if len(self.organizations) == 1 else [""]
        unclaimed = self.opened(self.referred("", reference))
        return knowing if unclaimed is None else [*knowing, ""]

    def _knows(self, organization: str, reference: CallReference) -> bool:
        key = self.referred(organization, reference)
        return self.opened(key) is not None or bool(self.names.of(key))

    async def _knew(self, organization: str, reference: CallReference) -> bool:
        return await self._ledgers.has_call(self.referred(organization, reference))

    async def recall(self, key: CallKey) -> LiveCall | None:
        """The call if anybody ever heard of it, read back if need be. Raises `NotDurable`."""
        if self.opened(key) is not None or await self._ledgers.has_call(key):
            live = await self.get(key)
            return None if live.call.opened_at is None else live
        return None

    def with_call(self, key: CallKey, act: Act) -> None:
        """Do `act` with the call, at once or as soon as it is read back; a call nobody knows begins here."""
        live = self.calls.get(key)
        if live is not None:
            act(live)
            return
        waiting = self._loading.get(key)
        if waiting is not None:
            waiting.append(act)
            return
        self._loading[key] = [act]
        self._ledgers.load(key, self.names.parts(key), lambda stored, error: self._arrive(key, stored, error))

    def with_near(self, key: CallKey, act: Act) -> None:
        """Do `act` with the call if it is in memory or on its way there."""
        if key in self.calls or key in self._loading:
            self.with_call(key, act)

    async def get(self, key: CallKey) -> LiveCall:
        """The call, read back if need be."""
        future: asyncio.Future[LiveCall] = asyncio.get_running_loop().create_future()
        self.with_call(key, future.set_result)
        return await future

    def _arrive(self, key: CallKey, stored: Mapping[str, StoredCall], error: str | None) -> None:
        if error is not None:
            # Whoever waits must be told what is on all the same: the call begins anew, and loudly.
            self._broken(error)
        named = self.key(*key)
        if named != key and not stored:
            # While it was looked for, the name was given to another call.
            for act in self._loading.pop(key, ()):
                self.with_call(named, act)
            return
        live = LiveCall(Call(key, self.policy), Ink(), self._now())
        missing = restore(live, stored)
        live.call.unserved.update(*(each.named - self._ledgers.regions.keys() for each in stored.values()))
        self.calls[key] = live
        for notice in live.call.notices:
            self.notices[notice] = live
        self._ready(live, missing)
        for act in self._loading.pop(key, ()):
            act(live)

    def forget(self, key: CallKey) -> None:
        """Let a call go from memory; it can be read back."""
        live = self.calls.pop(key)
        for notice in live.call.notices:
            self.notices.pop(notice, None)

    def stale(self, now: datetime) -> list[CallKey]:
        """Calls that were over an hour ago, or never began, and that nobody listens to."""
        return [
            key
            for key, live in self.calls.items()
            if (live.call.ended or live.call.opened_at is None)
            and now - (live.call.ended_at or live.touched_at) > KEEP_ENDED
            and not live.audience
            and not live.outbox
        ]

    def idle(self, now: datetime) -> list[LiveCall]:
        """Open calls that nobody listens to and about which there was no word for a day."""
        return [
            live
            for live in self.calls.values()
            if self.opened(live.key) is not None
            and not live.call.ended
            and not live.audience
            and now - live.touched_at > IDLE
        ]

    async def find(self, call: str, organization: str | None) -> LiveCall:
        """The call that a route names, read back if need be. Raises what `found` raises, and `NotDurable`."""
        try:
            return self.found(call, organization)
        except Refusal as unknown:
            if unknown.status != 404:
                raise
        for each in self.organizations if organization is None else (organization,):
            await self.recall(self.key(each, call))
        return self.found(call, organization)

    def found(self, call: str, organization: str | None) -> LiveCall:
        """The call in memory that a route names. Raises `Refusal`: 404 unknown, 409 known in several organisations."""
        wanted = (*self.organizations, "") if organization is None else (organization,)
        keys = [key for key in (self.key(each, call) for each in wanted) if self.opened(key) is not None]
        claimed = [key for key in keys if key.organization] or keys
        if not claimed:
            raise Refusal("unknown_call", "no such call", status=404)
        if len(claimed) > 1:
            raise Refusal("ambiguous_call", "several organisations know this call: say ?organization=", status=409)
        return self.calls[claimed[0]]


def restore(live: LiveCall, stored: Mapping[str, StoredCall]) -> list[facts.AnyFact]:
    """Fold a call from what the regions remember of it; returned is what its home has yet to learn.

    A crash between the commits of two regions can leave a notice, or a merger, in one that is not the home: it holds
    nevertheless.
    """
    homes = homes_of(stored)
    remember(live.ink, stored, homes.get(live.key, ""))
    missing: list[facts.AnyFact] = []
    for told in in_order(live.key, {region: each.facts for region, each in stored.items()}, homes):
        fold.apply(live.call, told.fact)
        fold.confirm(live.call, told.fact, told.entry)
        if told.adopted:
            missing.append(told.fact)
    return missing
