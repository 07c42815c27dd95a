"""A worker, whole: what it is told to do, over its link, with real sockets; only its process is this one."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from gateway.core.tokens import SigningKey, mint
from gateway.core.wire import SUBPROTOCOL
from gateway.edge.listener import bind, located
from gateway.hub.roll import Roll
from gateway.link import link
from gateway.link.messages import Begin, Believe, Drain
from gateway.link.region_end import RegionEnd
from gateway.metrics import Metrics
from gateway.process import COLLECT
from gateway.worker import Worker
from tests.edge_world import RESOURCE, SIGNER, Recorder, expect, farewell, say

OTHER = SigningKey.from_seed(b"\x08" * 32)


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """A worker has its process to itself: what it changes of that is put back."""
    root, gateway = logging.getLogger(), logging.getLogger("gateway")
    before = root.handlers[:], root.level, gateway.level, gc.get_threshold()
    yield
    root.handlers[:], root.level, gateway.level = before[0], before[1], before[2]
    assert gc.get_threshold() == COLLECT
    gc.unfreeze()
    gc.set_threshold(*before[3])
    logging.captureWarnings(capture=False)


class Region:
    """The region service's end, with a recorder for a hub."""

    def __init__(self) -> None:
        self.hub = Recorder(Roll(), Metrics())
        self.listening: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self.end = RegionEnd(self.hub, self.hub.metrics, self.listening.set_result)
        self.address = ""

    @asynccontextmanager
    async def client(self) -> AsyncIterator[ClientConnection]:
        """A connection to the worker that has not said hello."""
        url = f"ws://{self.address}/v1/ws"
        async with connect(url, subprotocols=[Subprotocol(SUBPROTOCOL)], proxy=None, close_timeout=1) as socket:
            yield socket


@asynccontextmanager
async def working() -> AsyncIterator[tuple[Region, asyncio.Task[None]]]:
    """A worker that listens, and its region service."""
    region = Region()
    ours, theirs = link.pair()
    with await bind("127.0.0.1:0", shared=True) as reserved:
        region.address = located("127.0.0.1:0", reserved)
        await link.connect(region.end.link, ours)
        running = asyncio.create_task(Worker().run(theirs))
        region.end.link.say(
            Begin(
                worker=1,
                address=region.address,
                origins=(),
                placements={RESOURCE: ("europe", "contoso")},
                served=frozenset({"europe"}),
                issuer="i",
                audience="a",
                keys=SIGNER.public_jwks(),
                ping_seconds=15,
                sessions=100,
                connections=200,
                strangers=10,
                reconnects_per_second=250,
                log_level="error",
            )
        )
        await region.listening
        try:
            yield region, running
        finally:
            region.end.link.abort()
            await running
            await region.end.ended


def token(key: SigningKey, user: str = "ada") -> str:
    """A token of somebody's, signed with this key."""
    now = datetime.now(UTC)
    return mint(
        key,
        issuer="i",
        audience="a",
        participant=f"8:acs:{RESOURCE}_{user}",
        calls=["c"],
        now=now,
        expires_at=now + timedelta(minutes=5),
    )


async def test_the_keys_are_those_it_was_told_last() -> None:
    """A new set counts at once, and what was remembered of the old one does not any more."""
    async with working() as (region, _):
        for _ in range(2):
            async with region.client() as socket:
                await say(socket, type="hello", token=token(SIGNER))
                await expect(socket, "welcome")
        region.end.link.say(Believe(OTHER.public_jwks()))
        async with region.client() as socket:
            await say(socket, type="hello", token=token(OTHER))
            await expect(socket, "welcome")
        async with region.client() as socket:
            await say(socket, type="hello", token=token(SIGNER))
            assert await farewell(socket) == (4401, "never")


async def test_it_sends_its_clients_away_and_ends() -> None:
    """The hub loses each session once, and hears of every close before the link ends."""
    async with working() as (region, running):
        async with region.client() as socket:
            await say(socket, type="hello", token=token(SIGNER))
            await expect(socket, "welcome")
            region.end.link.say(Drain(0.05))
            assert (await expect(socket, "goaway"))["reconnect_after_ms"] == 0
            assert await farewell(socket) == (4001, "reconnect")
        await running
        await region.end.ended
        assert region.hub.losses() == ["disconnected"]
        assert b'gateway_closes_total{code="4001"} 1.0' in region.hub.metrics.render()


async def test_it_ends_with_the_region_service() -> None:
    """Its clients are cut at once, so that they look for the next one."""
    async with working() as (region, running), region.client() as socket:
        await say(socket, type="hello", token=token(SIGNER))
        await expect(socket, "welcome")
        region.end.link.abort()
        await socket.wait_closed()
        assert socket.close_code == 1006
        await running
