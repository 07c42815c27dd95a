"""The sweeper: deletes what is due, at start, every so often and when rules changed, in steps that let others work.

Rules: what is due is decided in storage; a step is small enough not to delay a notice; a region that cannot be swept is
tried again next time and does not keep the others from being swept; a clock set ahead expires nothing, a person who
names a time does. Owned by the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from gateway.core.errors import NotDurable
from gateway.hub.ledgers import Ledgers
from gateway.metrics import Metrics
from storage.operations import Erased, SweepOutcome

BATCH: Final = 500
"""Rows deleted in one commit."""

Forget = Callable[[str, Sequence[Erased]], None]
"""Hears which presences of a region nobody can name any more."""


class Sweeper:
    """Sweeps every region."""

    def __init__(
        self,
        ledgers: Ledgers,
        metrics: Metrics,
        now: Callable[[], datetime],
        forget: Forget,
        failed: Callable[[str], None],
    ) -> None:
        """`failed` hears why a region could not be swept."""
        self._ledgers: Final = ledgers
        self._metrics: Final = metrics
        self._now: Final = now
        self._forget: Final = forget
        self._failed: Final = failed
        self._awake: Final = asyncio.Event()
        self.turns: Final = {region: asyncio.Lock() for region in ledgers.regions}
        """Who holds a region's turn makes its steps: whoever erases hears then what was erased, and no sweep does."""
        self._loop: Final = asyncio.get_running_loop()

    async def run(self, every: timedelta) -> None:
        """Sweep now and then for ever."""
        while True:
            self._awake.clear()
            for region in self._ledgers.regions:
                try:
                    await self._sweep(region, None)
                except NotDurable as error:
                    self._failed(str(error))
            waking = self._loop.call_later(every.total_seconds(), self._awake.set)
            await self._awake.wait()
            waking.cancel()

    def wake(self) -> None:
        """Sweep soon: rules changed."""
        self._awake.set()

    async def sweep(self, now: datetime | None) -> dict[str, Any]:
        """Delete what has expired by `now` (None: by the clock); raises `NotDurable`."""
        regions = {region: await self._sweep(region, now) for region in self._ledgers.regions}
        return {"deleted": sum(each["deleted"] for each in regions.values()), "regions": regions}

    async def _sweep(self, region: str, named: datetime | None) -> dict[str, Any]:
        began, now = self._loop.time(), named or self._now()
        deleted, certificates, remaining = 0, list[int](), True
        while remaining:
            async with self.turns[region]:
                outcome = await self._step(region, now, by_clock=named is None)
            deleted += outcome.deleted
            remaining = outcome.remaining
            if outcome.certificate is not None:
                certificates.append(outcome.certificate)
        self._metrics.swept(deleted, self._loop.time() - began)
        return {"deleted": deleted, "certificates": certificates}

    async def erase(self, region: str) -> dict[str, Any]:
        """Erase everyone who is to be erased and whom no hold keeps: how much there was. The region's turn is yours.

        Raises `NotDurable`.
        """
        began, messages, presences = self._loop.time(), 0, 0
        certificates: list[int] = []
        while True:
            outcome = await self._step(region, self._now(), by_clock=True)
            if not outcome.persons and not outcome.erased:
                self._metrics.swept(messages + outcome.deleted, self._loop.time() - began)
                return {"messages": messages, "presences": presences, "certificates": certificates}
            messages += outcome.deleted
            presences += sum(len(each.presences) for each in outcome.erased)
            if outcome.certificate is not None:
                certificates.append(outcome.certificate)

    async def _step(self, region: str, now: datetime, *, by_clock: bool) -> SweepOutcome:
        outcome = await self._ledgers.sweep(region, now, BATCH, self._now(), by_clock=by_clock)
        if outcome.erased:
            self._forget(region, outcome.erased)
        await asyncio.sleep(0)
        return outcome
