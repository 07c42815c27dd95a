"""Back after every loss that is not final; an end that is final reaches the app."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta

import pytest

from gateway.client import ClientClosed
from gateway.core.types import Capability, State
from tests.client.apps import Back, client_of, drop, take
from tests.client.scripted_gateway import NOW, Peer, notice, scripted


@pytest.mark.parametrize("code", [1000, 1001, 1011, 1012, 4001, 4002, 4003, 4008, 4013])
@pytest.mark.parametrize("spoken", [True, False])
async def test_a_passing_end_is_followed_by_a_reconnect(code: int, spoken: bool) -> None:
    """These codes mean `reconnect`, with a bye before them or without."""

    async def first(peer: Peer) -> None:
        await peer.begin()
        await peer.bye(code, "reconnect" if spoken else None)

    async with scripted(first, back := Back()) as url, client_of(url) as client:
        await client.join("c")
        await back.awaited()


@pytest.mark.parametrize(
    ("code", "retry"),
    [
        (4400, "never"),
        (4401, "never"),
        (4403, None),
        (4409, None),
        (4413, None),
        (4429, "never"),
        (4301, "elsewhere"),
    ],
)
async def test_a_final_end_reaches_everyone_who_waits(code: int, retry: str | None) -> None:
    """`never` and `elsewhere` end the client: iterations and receipts raise, and nothing reconnects."""

    async def script(peer: Peer) -> None:
        await peer.begin(notice("n_1", 1), revision=1)
        await peer.hear("ack")
        await peer.bye(code, retry)

    async with scripted(script) as url, client_of(url, receive=False) as client:
        told = (await take(client, 1))[0]
        with pytest.raises(ClientClosed) as receipt:
            await told.acknowledge()
        assert (receipt.value.code, receipt.value.retry) == (code, retry or "never")
        with pytest.raises(ClientClosed):
            await anext(client.notices("c"))
        with pytest.raises(ClientClosed):
            client.observe("c", Capability.RECORDING, State.ACTIVE)
        assert isinstance(await client.ended(), ClientClosed)


async def test_an_end_that_nobody_met_is_raised_at_the_exit() -> None:
    """An app that did not look learns at the latest when it leaves the context."""

    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.bye(4403, "never")

    async with scripted(script) as url:
        client = client_of(url)
        await client.__aenter__()
        await asyncio.sleep(0.05)
        with pytest.raises(ClientClosed):
            await client.__aexit__(None, None, None)


@pytest.mark.parametrize("code", [4401, 4429])
async def test_a_refused_hello_is_raised_on_entering(code: int) -> None:
    """A bad token shows where the client is entered."""

    async def script(peer: Peer) -> None:
        await peer.hear("hello")
        await peer.bye(code, "never")

    async with scripted(script) as url:
        with pytest.raises(ClientClosed) as closed:
            async with client_of(url):
                pytest.fail("entered")
        assert closed.value.code == code


@pytest.mark.parametrize("status", [400, 401, 403, 404])
async def test_a_refused_handshake_is_raised_at_first_and_retried_later(status: int) -> None:
    """A wrong Origin or path cannot heal before the first welcome; after it, it is an outage like any other."""

    async def first(peer: Peer) -> None:
        await peer.begin()
        await drop(peer)

    async with scripted(status) as url:
        with pytest.raises(ClientClosed) as closed:
            async with client_of(url):
                pytest.fail("entered")
        assert closed.value.code == status
    async with scripted(503, first, status, 429, back := Back()) as url, client_of(url) as client:
        await client.join("c")
        await back.awaited()


async def test_a_goaway_says_when_to_come_back() -> None:
    """The wait is the gateway's, not the backoff's, and counts from the goaway."""
    times: list[float] = []

    async def first(peer: Peer) -> None:
        await peer.begin()
        times.append(asyncio.get_running_loop().time())
        await peer.say("goaway", reconnect_after_ms=60)
        await peer.bye(4001, "reconnect")

    async def second(peer: Peer) -> None:
        await peer.begin()
        times.append(asyncio.get_running_loop().time())
        await peer.stay()

    async with scripted(first, second) as url, client_of(url, chance=lambda: 0.999) as client:
        await client.join("c")
        while len(times) < 2:
            await asyncio.sleep(0.005)
    assert 0.055 <= times[1] - times[0] < 0.4


async def test_a_goaway_without_a_close_is_obeyed_as_well() -> None:
    """The client goes by itself when the time has come, without saying that it leaves for good."""

    async def first(peer: Peer) -> None:
        await peer.begin()
        await peer.say("goaway", reconnect_after_ms=20)
        await peer.socket.wait_closed()
        assert peer.socket.close_code == 1000

    async with scripted(first, back := Back()) as url, client_of(url, chance=lambda: 0.999) as client:
        await client.join("c")
        await back.awaited(0.4)


async def test_the_old_connections_end_does_not_touch_the_new_session() -> None:
    """Peer bug 2: a 4409 that the old connection gets for being replaced stays there; the device is the same."""
    devices: list[str] = []
    old: list[Peer] = []

    async def first(peer: Peer) -> None:
        devices.append((await peer.welcome())["device"])
        await peer.state()
        old.append(peer)
        await peer.socket.wait_closed()

    async def second(peer: Peer) -> None:
        devices.append((await peer.welcome())["device"])
        await peer.state()
        with suppress(Exception):
            await old[0].bye(4409, "never")
        await peer.say("notice", **notice("n_1", 1))
        await peer.stay()

    silence = timedelta(seconds=0.1)
    async with scripted(first, second) as url, client_of(url, silence=silence) as client:
        assert (await take(client, 1))[0].id == "n_1"
        assert len(set(devices)) == 1


async def test_silence_is_measured_by_the_gateways_pings_and_a_ping_breaks_it() -> None:
    """Without two pings in a row the connection is dead; with them it lives however long nothing else comes."""

    async def first(peer: Peer) -> None:
        await peer.welcome(ping_seconds=0.05)
        await peer.state()
        for _ in range(5):
            await asyncio.sleep(0.05)
            await peer.say("ping", at=NOW)
            await peer.hear("pong")
        await peer.socket.wait_closed()

    async with scripted(first, back := Back()) as url, client_of(url) as client:
        began_at = asyncio.get_running_loop().time()
        await client.join("c")
        await back.awaited(2)
        assert asyncio.get_running_loop().time() - began_at >= 0.4


async def test_a_ping_is_answered_with_its_time() -> None:
    """The pong carries the ping's `at`, whatever it is."""

    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.say("ping", at="2026-11-23T14:00:00.001Z")
        assert await peer.hear("pong") == {"type": "pong", "at": "2026-11-23T14:00:00.001Z"}

    async with scripted(script) as url, client_of(url) as client:
        while client.connected:
            await asyncio.sleep(0.001)


async def test_unknown_frames_and_fields_are_ignored_and_garbage_is_not() -> None:
    """The gateway may add; what cannot be read ends the connection, never the client."""

    async def first(peer: Peer) -> None:
        await peer.begin()
        await peer.say("confetti", colour="red")
        await peer.say("notice", **notice("n_1", 1, colour="red"))
        await peer.hear("ack")
        await peer.socket.send('{"type": "notice", "call": 7}')
        await peer.socket.wait_closed()
        assert peer.socket.close_code == 1002

    async with scripted(first, back := Back()) as url, client_of(url) as client:
        await take(client, 1)
        await back.awaited()
