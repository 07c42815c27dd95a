"""Time stamps: an authority outside (RFC 3161) is asked to say when it saw a region's newest checkpoint.

Rules: it is shown a hash and nothing else; what it answers is kept only if it answers what was asked; an authority
that fails or is slow is logged and counted, and delays nothing else. Owned by the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

from gateway.core.errors import GatewayError, NotDurable
from gateway.hub.commits import Commit
from gateway.hub.ledgers import Ledgers
from gateway.log import logger
from gateway.metrics import Metrics
from storage.note import parse_checkpoint, parse_note
from storage.operations import KeepTimestamp
from storage.timestamping import TokenRefused, question, stamped_at

PATIENCE: Final = 5.0
"""Seconds that an authority may take."""
AGAIN: Final = 60.0
"""Seconds, at most, until a region that got no token is tried again."""

Ask = Callable[[bytes], Awaitable[bytes]]
"""Sends a question (DER) and gives the answer; raises `GatewayError` where there is none."""

_LOG: Final = logger("timestamping")


class Timestamping:
    """The authority as the ledgers see it, or nobody."""

    def __init__(self, ledgers: Ledgers, ask: Ask | None, metrics: Metrics) -> None:
        """Without `ask` there is no authority, and nothing is stamped."""
        self._ledgers: Final = ledgers
        self._ask: Final = ask
        self._metrics: Final = metrics
        self._stamped: Final[dict[str, int]] = {}

    async def run(self, every: timedelta) -> None:
        """Have every newest checkpoint stamped, now and then for ever."""
        seconds = every.total_seconds()
        while True:
            whole = await self.look()
            await asyncio.sleep(seconds if whole else min(seconds, AGAIN))

    async def look(self) -> bool:
        """Have the newest checkpoint of every region stamped that has none yet; whether all of them have one."""
        return all([await self._look(region) for region in self._ledgers.regions])

    async def _look(self, region: str) -> bool:
        note = self._ledgers.regions[region].checkpoint
        if note is None:
            return True
        size = parse_checkpoint(parse_note(note).body).size
        try:
            if region not in self._stamped:
                newest = await self._ledgers.read(region, lambda reader: reader.timestamp())
                self._stamped[region] = -1 if newest is None else newest[0]
        except NotDurable as error:
            return self._failed(region, str(error))
        if self._stamped[region] == size:
            return True
        token = await self.stamp(region, note)
        if token is None:
            return False
        self._stamped[region] = size
        self._ledgers.submit(region, [KeepTimestamp(size, token)], self._kept)
        return True

    def _kept(self, _: Commit) -> None:
        self._metrics.timestamp("kept")

    async def stamp(self, region: str, note: str) -> bytes | None:
        """A token over the body of `region`'s checkpoint `note`, None where there is no authority or it fails."""
        if self._ask is None:
            return None
        body = parse_note(note).body.encode()
        asked = question(body)
        try:
            async with asyncio.timeout(PATIENCE):
                token = await self._ask(asked.der)
            stamped_at(token, body, asked)
        except TimeoutError:
            self._failed(region, "the authority took too long")
        except (GatewayError, TokenRefused) as error:
            self._failed(region, str(error))
        else:
            return token
        return None

    def _failed(self, region: str, reason: str) -> bool:
        self._metrics.timestamp("failed")
        _LOG.warning("not stamped", region=region, reason=reason)
        return False
