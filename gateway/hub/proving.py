"""Proving: a region's checkpoint, and the proofs that lead to it, for auditors.

Rules: what is proved is proved against a checkpoint that is signed and durable; an entry that none covers yet is signed
for at once. Owned by the loop.
"""

from __future__ import annotations

import asyncio
from typing import Final, NamedTuple

from gateway.core.errors import NotDurable, Refusal
from gateway.hub.commits import Commit
from gateway.hub.ledgers import Ledgers
from storage.note import write_proof
from storage.operations import SignCheckpoint
from storage.reader import Reader
from storage.region import Region

SIGN_SECONDS: Final = 1.0
"""How long an answer waits for a checkpoint that covers the entry."""


class Consistency(NamedTuple):
    """The proof that the first `end` entries of a ledger begin with its first `start` (RFC 6962 §2.1.2)."""

    start: int
    end: int
    hashes: list[bytes]


class Proving:
    """The ledgers as auditors see them. Every method raises `Refusal` 404 for a region that is not served."""

    def __init__(self, ledgers: Ledgers) -> None:
        self._ledgers: Final = ledgers
        self._loop: Final = asyncio.get_running_loop()

    async def checkpoint(self, region: str) -> str:
        """The newest checkpoint's note (C2SP tlog-checkpoint) with its cosignatures; raises `NotDurable`."""
        self._served(region)
        newest = await self._ledgers.read(region, lambda reader: reader.checkpoint())
        if newest is None:
            raise _not_signed(region)
        return newest[1]

    async def proof(self, region: str, entry: int) -> str:
        """That `entry` is in the ledger, as a C2SP tlog-proof.

        Raises `Refusal` 404 if there is no such entry, and `NotDurable` if no checkpoint covers it and none can be
        signed within `SIGN_SECONDS`.
        """
        self._served(region)
        if entry >= await self._ledgers.read(region, lambda reader: reader.size()):
            raise Refusal("unknown_entry", "the ledger has no such entry", status=404)
        found = await self._ledgers.read(region, lambda reader: _inclusion(reader, entry))
        if found is None:
            await self._sign(region)
            found = await self._ledgers.read(region, lambda reader: _inclusion(reader, entry))
        if found is None:
            raise _not_signed(region)
        return found

    async def consistency(self, region: str, start: int, end: int | None) -> Consistency:
        """That the first `end` entries, by default those of the newest checkpoint, continue the first `start`.

        Raises `Refusal` 400 where there are not so many, or `end` is before `start`, and `NotDurable`.
        """
        self._served(region)
        return await self._ledgers.read(region, lambda reader: _consistency(reader, start, end))

    def _served(self, region: str) -> Region:
        served = self._ledgers.regions.get(region)
        if served is None:
            raise Refusal("unknown_region", "this region is not served here", status=404)
        return served

    async def _sign(self, region: str) -> None:
        if region in self._ledgers.failing:
            raise _not_signed(region)
        signed: asyncio.Future[None] = self._loop.create_future()

        def then(_: Commit) -> None:
            if not signed.done():
                signed.set_result(None)

        self._ledgers.submit(region, [SignCheckpoint()], then)
        try:
            await asyncio.wait_for(signed, SIGN_SECONDS)
        except TimeoutError:
            raise _not_signed(region) from None


def _not_signed(region: str) -> NotDurable:
    return NotDurable(f"storage of region {region} cannot sign a checkpoint now")


def _inclusion(reader: Reader, entry: int) -> str | None:
    """The proof to the newest checkpoint; None where that does not cover the entry. Runs on the reader thread."""
    newest = reader.checkpoint()
    if newest is None or newest[0] <= entry:
        return None
    size, note = newest
    return write_proof(entry, reader.inclusion(entry, size), note)


def _consistency(reader: Reader, start: int, end: int | None) -> Consistency:
    """The proof between two sizes. Runs on the reader thread; raises `Refusal` 400."""
    if end is None:
        newest = reader.checkpoint()
        end = 0 if newest is None else newest[0]
    if end > reader.size():
        raise Refusal("bad_request", "to is beyond the end of the ledger")
    if start > end:
        raise Refusal("bad_request", "from is beyond to")
    return Consistency(start, end, reader.consistency(start, end))
