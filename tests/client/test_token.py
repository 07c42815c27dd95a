"""Tokens: fresh at each connect, refreshed in time, never shown."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from gateway.client import ClientClosed, TokenFailed
from tests.client.apps import Back, client_of, drop, take
from tests.client.scripted_gateway import Peer, notice, scripted


async def test_a_callable_is_asked_at_each_connect() -> None:
    """`refresh` and every other reconnect come with a fresh token, from a plain or an async callable."""
    seen: list[str] = []

    async def first(peer: Peer) -> None:
        seen.append((await peer.welcome())["token"])
        await peer.bye(4101, "refresh")

    async def second(peer: Peer) -> None:
        seen.append((await peer.welcome())["token"])
        await peer.stay()

    for asynchronous in (False, True):
        numbers = iter(range(1, 9))
        seen.clear()

        def plain(numbers: Any = numbers) -> str:
            return f"t{next(numbers)}"

        async def slow(plain: Any = plain) -> str:
            return str(plain())

        token = slow if asynchronous else plain
        async with scripted(first, second) as url, client_of(url, token=token):
            while len(seen) < 2:
                await asyncio.sleep(0.001)
        assert seen == ["t1", "t2"]


async def test_a_fixed_token_that_expired_ends_the_client() -> None:
    """Asking again with the same token would never help."""

    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.bye(4101, "refresh")

    async with scripted(script) as url, client_of(url) as client:
        with pytest.raises(ClientClosed) as closed:
            await anext(client.notices("c"))
        assert (closed.value.code, closed.value.retry) == (4101, "refresh")


async def test_a_refresh_keeps_the_session() -> None:
    """Peer bug 24: the token is refreshed before it expires, on the same connection, and only if it is new."""
    tokens = iter(["t1", "t1", "t2"])

    async def script(peer: Peer) -> None:
        await peer.welcome(expires_at="2026-11-23T14:00:00.200Z")
        assert await peer.hear() == {"type": "refresh", "token": "t2"}
        assert await peer.hear() == {"type": "bye"}

    async with scripted(script) as url, client_of(url, token=lambda: next(tokens, "t2")) as client:
        await asyncio.sleep(0.25)
        assert client.connected


async def test_a_failing_callable_is_raised_at_first_and_asked_again_later() -> None:
    """The app's error is the cause; after the first welcome it is an outage like any other."""
    results: list[str | Exception] = ["t1", OSError("down"), ValueError("odd"), "t2"]

    def token() -> str:
        result = results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    def broken() -> str:
        raise LookupError("no token")

    async def first(peer: Peer) -> None:
        await peer.begin()
        await drop(peer)

    async def second(peer: Peer) -> None:
        assert (await peer.welcome())["token"] == "t2"
        await peer.stay()

    async with scripted() as url:
        with pytest.raises(TokenFailed) as failed:
            async with client_of(url, token=broken):
                pytest.fail("entered")
        assert isinstance(failed.value.__cause__, LookupError)
    async with scripted(first, second) as url, client_of(url, token=token) as client:
        await client.join("c")
        while results or not client.connected:
            await asyncio.sleep(0.001)


async def test_neither_token_nor_text_is_logged_or_shown(caplog: pytest.LogCaptureFixture) -> None:
    """Control L2: what the client logs and how it prints hold no secret and no content."""
    caplog.set_level(logging.DEBUG, logger="gateway")

    async def first(peer: Peer) -> None:
        await peer.begin(notice("n_1", 1), revision=1)
        await peer.hear("ack")
        await drop(peer)

    async with scripted(first, back := Back()) as url, client_of(url, token="secret-token") as client:
        await take(client, 1)
        await back.awaited()
    assert "the connection ended" in caplog.text
    assert "secret-token" not in caplog.text + repr(client) + repr(client._settings)
