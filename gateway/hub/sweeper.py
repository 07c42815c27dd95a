"""The sweeper: deletes what has expired, at start and then every so often, in batches between which others work.

Rules: what is due is decided in storage by index; a batch is small enough not to delay a notice; a region that
cannot be swept is tried again next time and does not keep the others from being swept; a clock set ahead expires
nothing, a person who names a time does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

from gateway.core.errors import NotDurable
from gateway.hub.ledgers import Ledgers
from gateway.metrics import Metrics

BATCH: Final = 500
"""Rows deleted in one commit."""


class Sweeper:
    """Sweeps every region. Owned by the loop."""

    def __init__(
        self, ledgers: Ledgers, metrics: Metrics, now: Callable[[], datetime], failed: Callable[[str], None]
    ) -> None:
        """`failed` hears why a region could not be swept."""
        self._ledgers: Final = ledgers
        self._metrics: Final = metrics
        self._now: Final = now
        self._failed: Final = failed
        self._loop: Final = asyncio.get_running_loop()

    async def run(self, every: timedelta) -> None:
        """Sweep now and then for ever."""
        while True:
            for region in self._ledgers.regions:
                try:
                    await self._sweep(region, None)
                except NotDurable as error:
                    self._failed(str(error))
            await asyncio.sleep(every.total_seconds())

    async def sweep(self, now: datetime | None) -> dict[str, Any]:
        """Delete what has expired by `now` (None: by the clock); raises `NotDurable`."""
        regions = {region: await self._sweep(region, now) for region in self._ledgers.regions}
        return {"deleted": sum(each["deleted"] for each in regions.values()), "regions": regions}

    async def _sweep(self, region: str, named: datetime | None) -> dict[str, Any]:
        began, now = self._loop.time(), named or self._now()
        deleted, certificates, remaining = 0, list[int](), True
        while remaining:
            outcome = await self._ledgers.sweep(region, now, BATCH, self._now(), by_clock=named is None)
            deleted += outcome.deleted
            remaining = outcome.remaining
            if outcome.certificate is not None:
                certificates.append(outcome.certificate)
            await asyncio.sleep(0)
        self._metrics.swept(deleted, self._loop.time() - began)
        return {"deleted": deleted, "certificates": certificates}
