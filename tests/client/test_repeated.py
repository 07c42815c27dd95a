"""Proved or repeated: nothing said is forgotten before the gateway confirmed it."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from gateway.core.types import Capability, State
from tests.client.apps import AT, client_of, drop, take
from tests.client.scripted_gateway import NOW, Peer, notice, scripted


async def test_an_unconfirmed_ack_is_repeated_until_its_receipt() -> None:
    """An ack lost with its connection is said again with its first time, and not after its receipt."""
    back, now = asyncio.Event(), [AT]

    async def first(peer: Peer) -> None:
        await peer.begin(notice("n_1", 1), revision=1)
        assert (await peer.hear("ack"))["level"] == "acknowledged"
        now[0] += timedelta(hours=1)
        await drop(peer)

    async def second(peer: Peer) -> None:
        await peer.begin(revision=1)
        ack = await peer.hear("ack")
        assert (ack["level"], ack["at"]) == ("acknowledged", "2026-11-23T14:00:01.000Z")
        await peer.receipt(ack, 5)
        await drop(peer)

    async def third(peer: Peer) -> None:
        await peer.begin(revision=1)
        back.set()
        assert await peer.hear() == {"type": "bye"}

    async with scripted(first, second, third) as url, client_of(url, receive=False, now=lambda: now[0]) as client:
        told = (await take(client, 1))[0]
        assert (await told.acknowledge()).entry == 5
        await asyncio.wait_for(back.wait(), 5)


async def test_giving_up_waiting_does_not_give_up_the_ack() -> None:
    """A cancelled acknowledge() is still said on the next connection."""
    given_up, repeated = asyncio.Event(), asyncio.Event()

    async def first(peer: Peer) -> None:
        await peer.begin(notice("n_1", 1), revision=1)
        await peer.hear("ack")
        await given_up.wait()
        await drop(peer)

    async def second(peer: Peer) -> None:
        await peer.begin(revision=1)
        await peer.receipt(await peer.hear("ack"), 5)
        repeated.set()
        await peer.stay()

    async with scripted(first, second) as url, client_of(url, receive=False) as client:
        told = (await take(client, 1))[0]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(told.acknowledge(), 0.02)
        given_up.set()
        await asyncio.wait_for(repeated.wait(), 5)
        await client.settled()


async def test_a_silent_death_is_noticed_and_nothing_said_into_it_is_lost() -> None:
    """Peer bug 6: no frame for too long is a dead connection; ack, claim and message are said again."""

    async def first(peer: Peer) -> None:
        await peer.begin(notice("n_1", 1), revision=1)
        await peer.stay()

    async def second(peer: Peer) -> None:
        await peer.begin(revision=1)
        observed, ack, message = [await peer.hear() for _ in range(3)]
        assert (observed["type"], observed["state"], observed["cause"]) == ("observed", "active", "sdk")
        assert (message["content"], message["version"]) == ("hello", 2)
        await peer.receipt(ack, 1)
        await peer.say("stored", id=message["id"], expires_at=NOW)
        await peer.stay()

    async with (
        scripted(first, second) as url,
        client_of(url, receive=False, silence=timedelta(seconds=0.1)) as client,
        asyncio.TaskGroup() as tasks,
    ):
        told = (await take(client, 1))[0]
        client.observe("c", Capability.RECORDING, State.ACTIVE, cause="sdk")
        proof = tasks.create_task(told.acknowledge())
        await asyncio.sleep(0)
        stored = await client.send_message("t", "m", 2, AT, "hello")
        assert stored.expires_at is not None
        assert (await proof).entry == 1


async def test_a_standing_claim_is_repeated_and_the_newest_counts() -> None:
    """After a reconnect the gateway hears what the client's SDK said last, once, after the join."""
    heard = asyncio.Queue[str]()

    async def first(peer: Peer) -> None:
        await peer.begin()
        for _ in range(2):
            heard.put_nowait((await peer.hear("observed"))["state"])
        await drop(peer)

    async def second(peer: Peer) -> None:
        await peer.begin()
        heard.put_nowait((await peer.hear("observed"))["state"])
        assert await peer.hear() == {"type": "bye"}

    async with scripted(first, second) as url, client_of(url) as client:
        await client.join("c")
        client.observe("c", Capability.RECORDING, State.ACTIVE)
        assert await heard.get() == "active"
        client.observe("c", Capability.RECORDING, State.INACTIVE)
        assert [await heard.get(), await heard.get()] == ["inactive", "inactive"]


async def test_what_was_said_just_before_the_end_is_written() -> None:
    """Leaving the context sends the automatic acks before the goodbye."""

    async def script(peer: Peer) -> None:
        await peer.begin(notice("n_1", 1), revision=1)
        assert [(await peer.hear())["type"] for _ in range(2)] == ["ack", "bye"]

    async with scripted(script) as url, client_of(url) as client:
        await take(client, 1)
