"""Naming: an operator says by which names a call goes, and calls that opened under one of them become part of it.

Rules: an alias of a call that is on stays with it (409), one of a call that is over can be taken; the answer comes when
names and merges are durable. Owned by the loop.
"""

from __future__ import annotations

import asyncio
from typing import Final

from gateway.core import merging
from gateway.core.errors import Refusal
from gateway.core.happenings import unnamed
from gateway.core.step import Step
from gateway.core.types import CallKey
from gateway.hub.enactment import Outcome, resolve
from gateway.hub.interpreter import Interpreter, adopt
from gateway.hub.live import LiveCall
from storage.operations import NameCall


class Naming:
    """Gives calls their names."""

    def __init__(self, interpreter: Interpreter) -> None:
        self._interpreter: Final = interpreter
        self._registry: Final = interpreter.registry
        self._ledgers: Final = interpreter.ledgers
        self._loop: Final = asyncio.get_running_loop()

    async def name(self, key: CallKey, aliases: tuple[str, ...]) -> list[Outcome]:
        """Give the call these names and no others; what is returned resolves when that is durable.

        Raises `Refusal` (409) if another call that is on goes by one of them, `Unserved` for an organisation none of
        whose regions is served.
        """
        self._interpreter.homes.of(key.organization)
        self._check(key, aliases)
        live = await self._registry.get(key)
        self._check(key, aliases)
        step = self._interpreter.step(live)
        if live.call.opened_at is None:
            step.open()
        for alias in aliases:
            # Nothing of a call that is taken in is lost, its own names included.
            aliases += self._take_in(live, CallKey(key.organization, alias), step)
        outcome: Outcome = self._loop.create_future()
        self._interpreter.perform(live, step, then=lambda: resolve(outcome))
        robbed = self._registry.names.holders(key, aliases)
        self._registry.names.give(key, aliases)
        return [outcome, *(self._keep(each) for each in (key, *robbed))]

    def _check(self, key: CallKey, aliases: tuple[str, ...]) -> None:
        for holder in self._registry.names.holders(key, aliases):
            held = self._registry.calls.get(holder)
            if held is not None and not held.call.ended:
                raise Refusal("alias_taken", "an alias belongs to another call", status=409)

    def _keep(self, key: CallKey) -> Outcome:
        outcome: Outcome = self._loop.create_future()
        live = self._registry.calls.get(key)
        home = (live.ink.home if live is not None else None) or self._interpreter.homes.of(key.organization)
        names = NameCall(key, self._registry.names.of(key))
        self._ledgers.submit(home, [names], lambda _: resolve(outcome))
        return outcome

    def _take_in(self, live: LiveCall, alias: CallKey, step: Step) -> tuple[str, ...]:
        """Take in what opened under an alias, and what nobody claimed; returned are the names it went by itself."""
        names: tuple[str, ...] = ()
        for name in (alias.call, unnamed(alias.call)):
            key = CallKey(alias.organization, name)
            opened = self._registry.opened(key)
            if opened is not None and opened is not live:
                names += self._registry.names.of(key)
                merging.merge(step, opened.call)
                self._move(live, opened)
                self._registry.names.join(key, live.key)
            unclaimed = self._registry.opened(CallKey("", name))
            if unclaimed is not None:
                adopt(step, unclaimed)
        return names

    def _move(self, live: LiveCall, source: LiveCall) -> None:
        """Everyone who listens to `source` listens to `live` from now on, by the name they know."""
        for region in source.ink.regions:
            live.ink.regions.setdefault(region)
        live.ink.salts.update(source.ink.salts)
        live.call.unserved |= source.call.unserved
        for session in source.members:
            name = session.quit(source.key) or source.key.call
            if live.key not in session.joined:
                session.enter(live.key, name)
            if session in source.audience:
                live.audience.setdefault(session, name)
        live.members |= source.members
        source.members.clear()
        source.audience.clear()
        source.moved_to = live
        for notice in source.call.notices:
            self._registry.notices[notice] = live
        self._registry.calls.pop(source.key, None)
        source.changed()
