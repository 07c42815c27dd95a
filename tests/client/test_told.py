"""Told once: what the client shows, in which order, and what it never shows."""

from __future__ import annotations

import asyncio

import pytest

from gateway.core.types import Capability, Change, Level, State
from tests.client.apps import client_of, drop, take
from tests.client.scripted_gateway import NOW, Peer, notice, scripted


async def test_a_notice_is_received_by_itself_and_acknowledged_with_a_receipt() -> None:
    """The example of the documentation works, and each level is said with the fields it needs."""

    async def script(peer: Peer) -> None:
        hello = await peer.welcome()
        assert (hello["token"], hello["locale"], hello["device"]) == ("t", "de", "d1")
        assert hello["capabilities"] == ["displayed", "acknowledged", "consent"]
        join = await peer.state()
        assert "revision" in join or join["call"] == "c"
        await peer.say("notice", **notice("n_1", 1))
        received = await peer.hear("ack")
        assert received == {"type": "ack", "notice": "n_1", "level": "received", "at": "2026-11-23T14:00:01.000Z"}
        acknowledged = await peer.hear("ack")
        assert (acknowledged["level"], acknowledged["digest"]) == ("acknowledged", "sha256:n_1")
        await peer.receipt(acknowledged, 7)
        await peer.stay()

    async with scripted(script) as url, client_of(url, device="d1", locale="de") as client:
        async for told in client.notices("c"):
            assert (told.id, told.change, told.capability) == ("n_1", Change.STARTED, Capability.RECORDING)
            assert told.text.title == "Recording started"
            receipt = await told.acknowledge()
            assert (receipt.entry, receipt.level, receipt.notice) == (7, Level.ACKNOWLEDGED, "n_1")
            break


@pytest.mark.parametrize(
    ("method", "level"),
    [
        ("received", "received"),
        ("displayed", "displayed"),
        ("acknowledge", "acknowledged"),
        ("consent", "consented"),
        ("decline", "declined"),
        ("withdraw", "withdrawn"),
    ],
)
async def test_every_level_has_its_method(method: str, level: str) -> None:
    """A level is said under its own name and nothing else is implied."""

    async def script(peer: Peer) -> None:
        await peer.begin(notice("n_1", 1), revision=1)
        ack = await peer.hear("ack")
        assert ack["level"] == level
        await peer.receipt(ack, 1)
        await peer.hear("bye")

    async with scripted(script) as url, client_of(url, receive=False) as client:
        told = (await take(client, 1))[0]
        assert (await getattr(told, method)()).level == level


async def test_nothing_counts_as_proved_before_its_receipt() -> None:
    """A method does not return on the receipt of another level or another notice."""
    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.begin(notice("n_1", 1), revision=1)
        received, acknowledged = await peer.hear("ack"), await peer.hear("ack")
        await peer.receipt(received, 1)
        await peer.receipt({**acknowledged, "notice": "n_2"}, 2)
        await go.wait()
        await peer.receipt(acknowledged, 3)
        await peer.stay()

    async with scripted(script) as url, client_of(url) as client:
        told = (await take(client, 1))[0]
        proof = asyncio.ensure_future(told.acknowledge())
        await told.received()
        assert not proof.done()
        assert client.unconfirmed == 1
        go.set()
        assert (await proof).entry == 3
        await client.settled()


async def test_what_is_not_newer_is_dropped() -> None:
    """Neither a repeated id nor an older revision is shown, over states and reconnects too."""

    async def first(peer: Peer) -> None:
        await peer.begin(notice("n_2", 2), revision=2)
        await peer.say("notice", **notice("n_2", 2))
        await peer.say("notice", **notice("n_1", 1))
        await peer.say("notice", **notice("n_3", 3))
        for _ in range(2):
            await peer.receipt(await peer.hear("ack"), 1)
        await drop(peer)

    async def second(peer: Peer) -> None:
        await peer.welcome()
        assert (await peer.state(notice("n_2", 2), notice("n_3", 3), notice("n_4", 4), revision=4))["revision"] == 3
        await peer.stay()

    async with scripted(first, second) as url, client_of(url) as client:
        assert [told.id for told in await take(client, 3)] == ["n_2", "n_3", "n_4"]


async def test_a_state_shows_what_is_owed_and_where_capabilities_stand() -> None:
    """A late joiner learns of everything from the state; unknown is shown as on."""
    capabilities = {
        "recording": {"state": "paused", "episode": "e_1", "since": NOW},
        "transcription": {"state": "unknown", "episode": None, "since": None},
    }

    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.state(notice("n_2", 2, change="paused"), notice("n_1", 1), revision=5, capabilities=capabilities)
        for _ in range(2):
            await peer.hear("ack")
        await peer.say("notice", **notice("n_3", 6, change="stopped"))
        await peer.hear("ack")
        await peer.stay()

    async with scripted(script) as url, client_of(url) as client:
        assert client.state("c") is None
        state = await client.join("c")
        assert state.revision == 5
        assert state.capabilities[Capability.RECORDING].state is State.PAUSED
        assert not state.capabilities[Capability.RECORDING].shown_on
        assert state.capabilities[Capability.TRANSCRIPTION].shown_on
        assert [told.id for told in await take(client, 3)] == ["n_1", "n_2", "n_3"]
        state = await client.join("c")
        assert (state.revision, state.capabilities[Capability.RECORDING].state) == (6, State.INACTIVE)


async def test_a_state_older_than_what_was_seen_does_not_stick() -> None:
    """Peer bug 4: a gateway that lost the last revisions is believed, and later notices are shown."""

    async def first(peer: Peer) -> None:
        await peer.begin(notice("n_9", 9), revision=9)
        await peer.hear("ack")
        await drop(peer)

    async def second(peer: Peer) -> None:
        await peer.begin(revision=3)
        await peer.hear("ack")
        await peer.say("notice", **notice("n_4", 4))
        await peer.stay()

    async with scripted(first, second) as url, client_of(url) as client:
        assert [told.id for told in await take(client, 2)] == ["n_9", "n_4"]
        state = client.state("c")
        assert state is not None
        assert state.revision == 4


async def test_an_app_without_a_listener_neither_loops_nor_loses() -> None:
    """Peer bug 5: joined and not listening, everything is received once and waits for the first listener."""
    heard: list[str] = []

    async def script(peer: Peer) -> None:
        await peer.begin(notice("n_1", 1), revision=1)
        await peer.say("notice", **notice("n_2", 2))
        for entry in range(2):
            ack = await peer.hear("ack")
            heard.append(ack["notice"])
            await peer.receipt(ack, entry)
        await peer.hear("bye")

    async with scripted(script) as url, client_of(url) as client:
        await client.join("c")
        while len(heard) < 2 or client.unconfirmed:
            await client.settled()
            await asyncio.sleep(0)
        assert heard == ["n_1", "n_2"]
        assert [told.id for told in await take(client, 2)] == ["n_1", "n_2"]


async def test_a_timeout_around_a_step_does_not_end_the_iteration() -> None:
    """Giving up waiting for a notice loses none."""
    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.begin()
        await go.wait()
        await peer.say("notice", **notice("n_1", 1))
        await peer.stay()

    async with scripted(script) as url, client_of(url) as client:
        notices = client.notices("c")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(notices), 0.02)
        go.set()
        assert (await asyncio.wait_for(anext(notices), 5)).id == "n_1"
