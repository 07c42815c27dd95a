"""The end of the client is clean for the app and for everyone who waits."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.client import ClientClosed
from tests.client.apps import client_of, drop, take
from tests.client.scripted_gateway import Peer, notice, scripted


async def test_the_apps_own_error_comes_out_as_it_is() -> None:
    """No exception group is put around it."""

    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.stay()

    async with scripted(script) as url:
        with pytest.raises(LookupError):
            async with client_of(url):
                raise LookupError


async def test_closing_ends_iterations_and_fails_what_waits() -> None:
    """Other tasks of the app learn of the end: iterations end, receipts raise."""

    async def script(peer: Peer) -> None:
        await peer.begin(notice("n_1", 1), revision=1)
        await peer.stay()

    async with scripted(script) as url, asyncio.TaskGroup() as tasks:
        async with client_of(url) as client:
            told = (await take(client, 1))[0]
            proof = tasks.create_task(outcome(told.acknowledge()))
            listening = tasks.create_task(anext(client.notices("c"), None))
            ended = tasks.create_task(client.ended())
            await asyncio.sleep(0.01)
        assert isinstance(await proof, ClientClosed)
        assert await listening is None
        assert await ended is None


async def test_entering_can_be_given_up() -> None:
    """A gateway that cannot be reached is tried until the app's own timeout."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05), client_of("ws://127.0.0.1:1/v1/ws", chance=lambda: 0.01):
            pytest.fail("entered")


async def test_leaving_before_a_second_welcome_closes_the_connection() -> None:
    """A connection that is still being opened is not left behind."""
    opened, gone = asyncio.Event(), asyncio.Event()

    async def first(peer: Peer) -> None:
        await peer.begin()
        await drop(peer)

    async def second(peer: Peer) -> None:
        await peer.hear("hello")
        opened.set()
        await peer.socket.wait_closed()
        gone.set()

    async with scripted(first, second) as url:
        async with client_of(url) as client:
            await client.join("c")
            await asyncio.wait_for(opened.wait(), 5)
        await asyncio.wait_for(gone.wait(), 0.5)


async def outcome(proof: Any) -> object:
    """What came of it, errors included."""
    try:
        return await proof
    except ClientClosed as closed:
        return closed
