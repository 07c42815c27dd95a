"""Requests: joins, leaves and messages get the gateway's answer, also when it refuses."""

from __future__ import annotations

import asyncio

import pytest

from gateway.client import Refused, connect
from gateway.core.types import Capability, State
from tests.client.apps import AT, client_of, drop, take
from tests.client.scripted_gateway import Peer, notice, scripted


async def test_a_leave_waits_for_its_answer_and_ends_the_iteration() -> None:
    """After it no notice of the call is shown, and no reconnect joins it."""

    async def first(peer: Peer) -> None:
        await peer.begin()
        left = await peer.hear("leave")
        await peer.say("notice", **notice("n_1", 1))
        await peer.say("left", id=left["id"])
        await drop(peer)

    back = asyncio.Event()

    async def second(peer: Peer) -> None:
        await peer.welcome()
        back.set()
        assert await peer.hear() == {"type": "bye"}

    async with scripted(first, second) as url, client_of(url) as client:
        notices = client.notices("c")
        await client.join("c")
        await client.leave("c")
        await client.leave("c")
        assert [told async for told in notices] == []
        await asyncio.wait_for(back.wait(), 5)


async def test_a_call_that_may_not_be_joined_raises_and_is_not_asked_for_again() -> None:
    """An `error` that answers the join is the app's; the others are served on."""

    async def script(peer: Peer) -> None:
        await peer.welcome()
        join = await peer.hear("join")
        await peer.say("error", id=join["id"], code="not_your_call", message="no", temporary=False)
        await peer.state()
        assert await peer.hear() == {"type": "bye"}

    async with scripted(script) as url, client_of(url) as client:
        with pytest.raises(Refused) as refused:
            await anext(client.notices("x"))
        assert refused.value.code == "not_your_call"
        await client.join("c")


async def test_a_temporary_refusal_is_asked_again() -> None:
    """`temporary` is not final: the same request follows on the same connection."""

    async def script(peer: Peer) -> None:
        await peer.welcome()
        join = await peer.hear("join")
        await peer.say("error", id=join["id"], code="storage", message="later", temporary=True)
        await peer.state(notice("n_1", 1), revision=1)
        ack = await peer.hear("ack")
        await peer.say("error", notice="n_1", level="received", code="storage", message="later", temporary=True)
        assert await peer.hear() == ack
        await peer.receipt(ack, 1)
        await peer.stay()

    async with scripted(script) as url, client_of(url) as client:
        await take(client, 1)
        await client.settled()


async def test_a_refused_ack_raises_and_is_not_repeated() -> None:
    """An error that names the notice refuses what waits for it; the connection stays."""

    async def script(peer: Peer) -> None:
        await peer.begin(notice("n_1", 1), revision=1)
        ack = await peer.hear("ack")
        await peer.say("error", id=ack["notice"], code="wrong_digest", message="no", temporary=False)
        assert await peer.hear() == {"type": "bye"}

    async with scripted(script) as url, client_of(url, receive=False) as client:
        with pytest.raises(Refused) as refused:
            await (await take(client, 1))[0].displayed()
        assert refused.value.code == "wrong_digest"
        assert client.unconfirmed == 0


async def test_a_message_is_deleted_without_content() -> None:
    """A deletion says `deleted` and nothing else; `stored` answers it."""

    async def script(peer: Peer) -> None:
        await peer.welcome()
        frame = await peer.hear("message")
        assert frame["deleted"] is True
        assert "content" not in frame
        await peer.say("stored", id=frame["id"])
        await peer.stay()

    async with scripted(script) as url, client_of(url) as client:
        assert (await client.delete_message("t", "m", 3, AT)).expires_at is None


async def test_what_the_gateway_would_not_take_is_refused_here() -> None:
    """One frame too long would end the session for good, so it is never sent."""

    async def script(peer: Peer) -> None:
        await peer.welcome()
        assert await peer.hear() == {"type": "bye"}

    async with scripted(script) as url, client_of(url) as client:
        for content in ("x" * 32_768, "\ud800"):
            with pytest.raises(ValueError):
                await client.send_message("t", "m", 1, AT, content)
        with pytest.raises(ValueError):
            await client.send_message("t", "m", -1, AT, "x")
        with pytest.raises(ValueError):
            client.notices("")
        with pytest.raises(ValueError):
            client.observe("c", Capability.RECORDING, State.ACTIVE, cause="x" * 257)
    with pytest.raises(ValueError):
        connect("https://example.org", token="t")
