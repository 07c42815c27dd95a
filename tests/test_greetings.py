"""Between a `hello` that asks for a proof and its welcome nothing is lost, overtaken or kept without bound."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection

from gateway.core import wire
from gateway.edge.greetings import KEPT_BYTES, KEPT_FRAMES
from gateway.hub.roll import Roll
from tests.edge_world import ACK, NOW, World, expect, farewell, hear, say, still_served

SEEN = "europe\n3\nAAAA\n"
PROOF = wire.Consistency(3, 8, [b"\x00" * 32, b"\xff" * 32])


@asynccontextmanager
async def greeted(world: World, user: str = "ada", **hello: Any) -> AsyncIterator[ClientConnection]:
    """A client whose welcome waits; what `hello` says of the token is for `World.token`."""
    async with world.socket() as socket:
        before = len(world.hub.waiting)
        token = world.token(user, **hello.pop("claims", {}))
        await say(socket, type="hello", token=token, checkpoint=SEEN, **hello)
        while len(world.hub.waiting) == before:
            await asyncio.sleep(0)
        yield socket


async def settle(socket: ClientConnection) -> None:
    """Until what was sent on `socket` has reached the edge: control frames are answered in order."""
    async with asyncio.timeout(5):
        await (await socket.ping())


async def test_a_hello_without_a_checkpoint_is_welcomed_at_once() -> None:
    """The hot path: no storage is asked, and the newest checkpoint comes from memory."""
    async with World.open() as world, world.socket() as socket:
        world.hub.checkpoint = "newest"
        await say(socket, type="hello", token=world.token())
        welcome = await expect(socket, "welcome")
        assert welcome["checkpoint"] == "newest"
        assert "consistency" not in welcome
        assert world.hub.waiting == []


async def test_the_welcome_carries_the_proof_from_the_clients_checkpoint() -> None:
    """Its own region is asked about what it has seen; the hashes come in base64 (RFC 4648 §4)."""
    async with World.open() as world, greeted(world) as socket:
        ((region, seen, then),) = world.hub.waiting
        assert (region, seen) == ("europe", SEEN)
        then("newest", PROOF)
        welcome = await expect(socket, "welcome")
        assert welcome["checkpoint"] == "newest"
        assert welcome["consistency"] == {
            "from": 3,
            "to": 8,
            "hashes": ["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "//////////////////////////////////////////8="],
        }


@pytest.mark.parametrize("shown", [None, "newest"])
async def test_what_cannot_be_proved_is_left_out(shown: str | None) -> None:
    """Storage that cannot be read fails no session."""
    async with World.open() as world, greeted(world) as socket:
        world.hub.waiting[0][2](shown, None)
        welcome = await expect(socket, "welcome")
        assert "consistency" not in welcome
        assert welcome.get("checkpoint") == shown


async def test_frames_before_the_welcome_are_handled_after_it_and_in_order() -> None:
    """None is lost or overtaken, an unknown type and a late refusal included; the welcome comes first."""
    async with World.open() as world, greeted(world) as socket:
        await say(socket, type="join", id="1", call="c")
        await say(socket, type="no such type")
        await say(socket, **ACK)
        await settle(socket)
        assert world.hub.heard == []
        world.hub.waiting[0][2]("newest", PROOF)
        await say(socket, type="leave", id="2", call="c")
        heard = [(await hear(socket))["type"] for _ in range(5)]
        assert heard == ["welcome", "state", "error", "receipt", "left"]
        assert [name for name, *_ in world.hub.heard] == ["join", "acknowledge", "leave"]


@pytest.mark.parametrize(
    "bad", [{"type": "hello", "token": "t"}, {"type": "join", "id": 1}, {"type": "refresh", "token": "x"}]
)
async def test_a_frame_out_of_place_ends_the_session_after_its_welcome(bad: dict[str, Any]) -> None:
    """What stood before it counts, what stands behind it does not."""
    async with World.open() as world, greeted(world) as socket:
        await say(socket, **ACK)
        await say(socket, **bad)
        await say(socket, **ACK)
        await settle(socket)
        world.hub.waiting[0][2]("newest", PROOF)
        assert (await hear(socket))["type"] == "welcome"
        assert (await hear(socket))["type"] == "receipt"
        assert (await farewell(socket))[0] in (4400, 4401)
        assert [name for name, *_ in world.hub.heard] == ["acknowledge", "lost"]


async def test_a_goodbye_before_the_welcome_is_the_last_word() -> None:
    """The session ends as left, once, after everything it said before."""
    async with World.open() as world, greeted(world) as socket:
        await say(socket, type="join", id="1", call="c")
        await say(socket, type="bye")
        await settle(socket)
        world.hub.waiting[0][2](None, None)
        await socket.wait_closed()
        assert socket.close_code == 1000
        assert [name for name, *_ in world.hub.heard] == ["join", "lost"]
        assert world.hub.losses() == ["left"]


async def test_a_fault_in_a_kept_frame_ends_that_session_only() -> None:
    """4002 as for any other frame, reported once; what the fault stood before is not handled."""
    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    async with World.open() as world, world.client("eve") as other, greeted(world) as socket:
        await say(socket, **{**ACK, "notice": "n_fault"})
        await say(socket, **ACK)
        await settle(socket)
        world.hub.waiting[0][2](None, None)
        assert await farewell(socket) == (4002, "reconnect")
        await still_served(other)
        assert [type(fault["exception"]) for fault in faults] == [ZeroDivisionError]


class TestBounds:
    async def test_so_many_frames_are_kept_and_not_one_more(self) -> None:
        """4013, reconnect; nobody else notices."""
        async with World.open() as world, world.client("eve") as other:
            async with greeted(world) as socket:
                for _ in range(KEPT_FRAMES):
                    await say(socket, **ACK)
                await settle(socket)
                world.hub.waiting[0][2](None, None)
                for _ in range(KEPT_FRAMES + 1):
                    await hear(socket)
            async with greeted(world, "joe") as socket:
                for _ in range(KEPT_FRAMES + 1):
                    await say(socket, **ACK)
                assert await farewell(socket) == (4013, "reconnect")
            await still_served(other)

    async def test_so_many_bytes_are_kept_and_not_one_more(self) -> None:
        """The largest frames there are: eight of them."""
        padding = "x" * (KEPT_BYTES // 8 - len('{"type": "pong", "at": "x", "more": ""}'))
        async with World.open() as world, greeted(world) as socket:
            for _ in range(8):
                await say(socket, type="pong", at="x", more=padding)
            await settle(socket)
            assert socket.close_code is None
            await say(socket, type="bye")
            assert await farewell(socket) == (4013, "reconnect")

    async def test_what_is_kept_counts_as_sent(self) -> None:
        """The limit of frames holds before the welcome as after it, and nothing counts twice."""
        async with World.open(frames_at_once=10) as world:
            async with greeted(world) as socket:
                for _ in range(8):
                    await say(socket, **ACK)
                await settle(socket)
                world.hub.waiting[0][2](None, None)
                for _ in range(9):
                    await hear(socket)
            async with greeted(world, "eve") as socket:
                for _ in range(10):
                    await say(socket, **ACK)
                assert await farewell(socket) == (4013, "reconnect")

    async def test_a_hello_with_a_novel_for_a_checkpoint_is_refused(self) -> None:
        """4,096 characters and no more (4400)."""
        async with World.open() as world:
            async with world.socket() as socket:
                await say(socket, type="hello", token=world.token(), checkpoint="x" * 4097)
                assert await farewell(socket) == (4400, "never")
            async with world.socket() as socket:
                await say(socket, type="hello", token=world.token(), checkpoint="x" * 4096)
                while not world.hub.waiting:
                    await asyncio.sleep(0)


class TestMeanwhile:
    async def test_a_connection_lost_meanwhile_is_lost_once(self) -> None:
        """The proof that comes too late goes nowhere."""
        async with World.open() as world:
            async with greeted(world) as socket:
                await say(socket, **ACK)
                await settle(socket)
            while len(world.edge):
                await asyncio.sleep(0)
            assert (len(world.edge._greetings._kept), len(world.edge._greetings._due)) == (0, 0)
            world.hub.waiting[0][2]("newest", PROOF)
            await world.pass_time(5)
            assert [name for name, *_ in world.hub.heard] == ["lost"]
            assert world.hub.losses() == ["disconnected"]

    async def test_a_token_that_expires_meanwhile_ends_the_session(self) -> None:
        """4101, and the proof that comes too late goes nowhere."""
        claims = {"expires_at": NOW + timedelta(seconds=1)}
        async with World.open(greeting_seconds=60) as world, greeted(world, claims=claims) as socket:
            await say(socket, type="refresh", token=world.token())
            await settle(socket)
            await world.pass_time(1.5)
            world.hub.waiting[0][2]("newest", PROOF)
            assert await farewell(socket) == (4101, "refresh")

    async def test_a_drain_meanwhile_ends_the_session(self) -> None:
        """4001 for who is still waiting; the drain does not wait for storage."""
        async with World.open() as world, greeted(world) as socket:
            await world.edge.drain(grace=0)
            world.hub.waiting[0][2]("newest", PROOF)
            assert await farewell(socket) == (4001, "reconnect")
            assert world.hub.losses() == ["disconnected"]

    async def test_a_newer_session_of_the_device_replaces_one_that_waits(self) -> None:
        """4409 for the older, and its proof does not go to the newer."""
        async with World.open() as world, greeted(world, device="d") as old, greeted(world, device="d") as new:
            assert await farewell(old) == (4409, "never")
            world.hub.waiting[0][2]("older", None)
            world.hub.waiting[1][2]("newer", PROOF)
            assert (await expect(new, "welcome"))["checkpoint"] == "newer"
            assert len(world.edge) == 1

    async def test_who_waits_counts_as_a_session(self) -> None:
        """The limits are not passed by waiting."""
        async with World.open(roll=Roll(most_each=1)) as world, greeted(world), world.socket() as second:
            await say(second, type="hello", token=world.token())
            assert await farewell(second) == (4429, "never")

    async def test_nobody_waits_longer_than_two_seconds(self) -> None:
        """Then the welcome shows the newest checkpoint without the proof, once; what was said is handled."""
        async with World.open() as world, greeted(world) as socket:
            world.hub.checkpoint = "newest"
            await say(socket, **ACK)
            await settle(socket)
            await world.pass_time(1.5)
            assert world.hub.heard == []
            await world.pass_time(1.5)
            welcome = await expect(socket, "welcome")
            assert welcome["checkpoint"] == "newest"
            assert "consistency" not in welcome
            await expect(socket, "receipt")
            world.hub.waiting[0][2]("late", PROOF)
            await still_served(socket)

    async def test_no_ping_comes_before_the_welcome(self) -> None:
        """And so no pong is missed."""
        async with World.open(greeting_seconds=1000) as world, greeted(world) as socket:
            await world.pass_time(60)
            world.hub.waiting[0][2](None, None)
            await expect(socket, "welcome")
            await still_served(socket)
