"""What the client's tests share: a client whose clock stands, and apps that wait for things."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from gateway.client import Client, Notice, connect
from tests.client.scripted_gateway import Peer

AT = datetime(2026, 11, 23, 14, 0, 1, tzinfo=UTC)


def client_of(url: str, **options: Any) -> Client:
    """A client that waits for nothing and whose clock stands."""
    return connect(url, **{"token": "t", "now": lambda: AT, "chance": lambda: 0.0, **options})


async def take(client: Client, count: int, call: str = "c") -> list[Notice]:
    """The next `count` notices of `call`."""
    notices = client.notices(call)
    async with asyncio.timeout(5):
        return [await anext(notices) for _ in range(count)]


async def drop(peer: Peer) -> None:
    """Lose the connection as a network does."""
    peer.socket.transport.abort()


class Back:
    """A script that begins and stays until the client goes, and an app that waits for that."""

    def __init__(self) -> None:
        self._begun = asyncio.Event()

    async def __call__(self, peer: Peer) -> None:
        await peer.begin()
        self._begun.set()
        await peer.stay()

    async def awaited(self, seconds: float = 5) -> None:
        """Until the script has begun."""
        async with asyncio.timeout(seconds):
            await self._begun.wait()
