"""The edge over real sockets: who is believed, for how long, how often, and what ends a session."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import pytest

from gateway.core import wire
from gateway.core.errors import Bye
from gateway.core.frames import KINDS
from gateway.core.session import TAKES, Phase, next_phase
from gateway.core.types import Capability, Level, Role, State
from gateway.hub.roll import Roll
from tests.edge_world import ACK, FOREIGN, NOW, RESOURCE, World, expect, farewell, hear, request, say, still_served

FRAMES: dict[str, wire.ClientFrame] = {
    "hello": wire.Hello(),
    "join": wire.Join(id="1", call="c"),
    "leave": wire.Leave(id="1", call="c"),
    "ack": wire.Ack(notice="n", level=Level.RECEIVED, at=NOW),
    "observed": wire.Observed(call="c", capability=Capability.RECORDING, state=State.ACTIVE, at=NOW),
    "message": wire.Message(id="1", thread="t", message="m", version=1, sent_at=NOW, deleted=True),
    "refresh": wire.Refresh(token="t"),
    "pong": wire.Pong(at="x"),
    "bye": wire.Goodbye(),
}


class TestHello:
    async def test_hello_is_answered_with_welcome(self) -> None:
        """Every field of the contract, the times of the gateway's clock."""
        async with World.open() as world, world.socket() as socket:
            await say(socket, type="hello", token=world.token(), device="d", locale="de-AT", capabilities=["displayed"])
            assert await hear(socket) == {
                "type": "welcome",
                "session": "s_1",
                "participant": f"8:acs:{RESOURCE}_ada",
                "region": "europe",
                "server_time": "2026-11-23T14:00:00.000Z",
                "ping_seconds": 15,
                "expires_at": "2026-11-23T15:00:00.000Z",
            }
            await say(socket, type="join", id="1", call="c")
            await expect(socket, "state")
            (session,) = world.hub.sessions
            assert (session.organization, session.region, session.role) == ("contoso", "europe", Role.PARTICIPANT)
            assert (session.device, session.locale) == ("d", "de")
            assert session.capabilities == frozenset({"displayed"})
            assert session.may("c")
            assert not session.may("d")

    @pytest.mark.parametrize(
        ("claims", "farewell_is"),
        [
            ({"issuer": "x"}, (4401, "never")),
            ({"audience": "x"}, (4401, "never")),
            ({"calls": ["*"]}, (4401, "never")),
            ({"expires_at": NOW + timedelta(hours=25)}, (4401, "never")),
            ({"expires_at": NOW}, (4101, "refresh")),
            ({"participant": f"8:acs:{FOREIGN}_ada"}, (4301, "elsewhere")),
            ({"participant": "8:orgid:11111111-1111-1111-1111-111111111111"}, (4301, "elsewhere")),
            ({"participant": "ada"}, (4301, "elsewhere")),
        ],
    )
    async def test_a_token_that_does_not_do_ends_with_its_code(
        self, claims: dict[str, Any], farewell_is: tuple[int, str]
    ) -> None:
        """`bye` says what to do, the close frame the same code; the hub hears no name, of strangers' regions only."""
        async with World.open() as world, world.socket() as socket:
            await say(socket, type="hello", token=world.token(**claims))
            assert await farewell(socket) == farewell_is
            noted = [("turned_away", None, "region_not_served")] if farewell_is[0] == 4301 else []
            assert world.hub.heard == noted

    @pytest.mark.parametrize("hello", [{}, {"token": ""}, {"token": "x"}, {"token": "\ud83d\ude00"}])
    async def test_no_token_is_a_bad_token(self, hello: dict[str, str]) -> None:
        """Nobody is let in for trying."""
        async with World.open() as world, world.socket() as socket:
            await say(socket, type="hello", **hello)
            assert await farewell(socket) == (4401, "never")

    async def test_a_cookie_is_no_authentication(self) -> None:
        """Even a good token in a cookie: browsers send those without being asked."""
        async with World.open() as world, world.socket(Cookie=f"token={world.token()}") as socket:
            await say(socket, type="hello")
            assert await farewell(socket) == (4401, "never")

    async def test_a_token_in_the_url_is_no_authentication(self) -> None:
        """URLs end up in logs."""
        async with World.open() as world, world.raw(upgrade=False) as raw:
            raw.writer.write(request(f"/v1/ws?token={world.token()}"))
            assert b" 101 " in await raw.reader.readuntil(b"\r\n\r\n")
            raw.text(type="hello")
            assert await raw.end() == (4401, 4401)

    async def test_a_token_on_the_upgrade_needs_a_hello_all_the_same(self) -> None:
        """It stands in for the hello's token, and the hello may bring a newer one."""
        async with World.open() as world:
            for hello, expected in (({}, "ada"), ({"token": world.token("eve")}, "eve")):
                async with world.socket(Authorization=f"Bearer {world.token('ada')}") as socket:
                    await say(socket, type="hello", **hello)
                    assert (await expect(socket, "welcome"))["participant"].endswith(expected)
            async with world.socket(Authorization=f"Bearer {world.token()}") as socket:
                await world.pass_time(6)
                assert await farewell(socket) == (4408, "never")

    @pytest.mark.parametrize("given", ["Bearer x", "bearer ", "Bearer"])
    async def test_a_bad_token_on_the_upgrade_is_told_after_it(self, given: str) -> None:
        """A browser cannot read a refused upgrade, so it is done and then said."""
        async with World.open() as world, world.socket(Authorization=given) as socket:
            assert await farewell(socket) == (4401, "never")

    async def test_the_token_of_the_upgrade_may_expire_before_the_hello(self) -> None:
        """What counts is the moment of the hello."""
        async with World.open() as world:
            token = world.token(expires_at=NOW + timedelta(seconds=2))
            async with world.socket(Authorization=f"Bearer {token}") as socket:
                await world.pass_time(2)
                await say(socket, type="hello")
                assert await farewell(socket) == (4101, "refresh")

    async def test_another_scheme_is_not_ours(self) -> None:
        """A proxy's own `Authorization` neither helps nor hurts."""
        async with World.open() as world, world.socket(Authorization="Basic eA==") as socket:
            await say(socket, type="hello", token=world.token())
            await expect(socket, "welcome")

    async def test_no_hello_in_time_is_4408(self) -> None:
        """Five seconds, not one less and not one more."""
        async with World.open() as world, world.socket() as socket:
            await world.pass_time(4.5)
            await say(socket, type="hello", token=world.token())
            await expect(socket, "welcome")
            async with world.socket() as late:
                await world.pass_time(6)
                assert await farewell(late) == (4408, "never")
            await still_served(socket)


class TestPhases:
    @pytest.mark.parametrize("phase", Phase)
    @pytest.mark.parametrize("kind", sorted(KINDS))
    def test_a_frame_has_its_place_or_ends_the_connection(self, phase: Phase, kind: str) -> None:
        """Every frame in every phase: what the table does not name is 4400."""
        frame = FRAMES[kind]
        allowed = {
            Phase.AWAITING: {"hello", "bye"},
            Phase.GREETING: set(),
            Phase.OPEN: set(KINDS) - {"hello"},
            Phase.LEAVING: set(),
            Phase.CLOSED: set(),
        }[phase]
        if kind in allowed:
            assert next_phase(phase, frame) is TAKES[phase][KINDS[kind]]
        else:
            with pytest.raises(Bye) as caught:
                next_phase(phase, frame)
            assert caught.value.code == 4400

    @pytest.mark.parametrize(
        "first",
        [
            {"type": "join", "id": "1", "call": "c"},
            ACK,
            {"type": "pong", "at": "x"},
            {"type": "refresh", "token": "x"},
            {"type": "no such type"},
        ],
    )
    async def test_the_first_frame_is_hello(self, first: dict[str, Any]) -> None:
        """Anything else is 4400, an unknown type too."""
        async with World.open() as world, world.socket() as socket:
            await say(socket, **first)
            assert await farewell(socket) == (4400, "never")
            assert world.hub.heard == []

    async def test_hello_comes_once(self) -> None:
        """A session does not become somebody else's."""
        async with World.open() as world, world.client() as socket:
            await say(socket, type="hello", token=world.token("eve"))
            assert await farewell(socket) == (4400, "never")
            assert world.hub.losses() == ["disconnected"]

    async def test_bye_ends_a_session_as_left(self) -> None:
        """A client that says goodbye is not one that was lost; the close is a normal one."""
        async with World.open() as world, world.client() as socket:
            await say(socket, type="bye")
            await socket.wait_closed()
            assert socket.close_code == 1000
            assert world.hub.losses() == ["left"]
            assert len(world.edge) == 0

    async def test_nothing_after_bye_is_heard(self) -> None:
        """Frames behind the last one change nothing."""
        async with World.open() as world, world.raw() as raw:
            raw.text(type="hello", token=world.token())
            raw.text(type="bye")
            raw.text(**ACK)
            assert await raw.end() == (0, 1000)
            assert [name for name, *_ in world.hub.heard] == ["lost"]

    async def test_a_loss_is_told_once(self) -> None:
        """However many ways a connection ends at the same time."""
        async with World.open() as world:
            async with world.client() as socket:
                await world.pass_time(4000)  # expired, and without a pong
                assert (await farewell(socket))[0] in (4003, 4101)
                socket.transport.abort()
            await world.pass_time(60)
            assert world.hub.losses() == ["disconnected"]


class TestFrames:
    async def test_frames_reach_the_hub_as_they_are(self) -> None:
        """Each under its own method, in order."""
        sent: list[dict[str, Any]] = [
            ACK,
            {"type": "observed", "call": "c", "capability": "recording", "state": "active", "at": ACK["at"]},
            {
                "type": "message",
                "id": "2",
                "thread": "t",
                "message": "m",
                "version": 1,
                "sent_at": ACK["at"],
                "content": "x",
            },
            {"type": "leave", "id": "3", "call": "c"},
        ]
        async with World.open() as world, world.client() as socket:
            for frame in sent:
                await say(socket, **frame)
            await expect(socket, "receipt")
            assert await hear(socket) == {"type": "left", "id": "3"}
            assert [name for name, *_ in world.hub.heard] == ["join", "acknowledge", "observed", "message", "leave"]

    async def test_an_unknown_type_is_an_error_and_no_more(self) -> None:
        """A newer client goes on with what this gateway knows."""
        async with World.open() as world, world.client() as socket:
            await say(socket, type="shrug", id="9")
            assert await hear(socket) == {
                "type": "error",
                "code": "unknown_type",
                "message": "this type of frame is not known",
                "temporary": False,
            }
            await still_served(socket)

    async def test_a_fault_of_ours_ends_one_connection_and_is_reported(self) -> None:
        """4002, reconnect; the loop's handler hears of the exception, the others of nothing."""
        faults: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
        async with World.open() as world, world.client() as socket, world.client("eve") as other:
            await say(socket, **{**ACK, "notice": "n_fault"})
            assert await farewell(socket) == (4002, "reconnect")
            await still_served(other)
            assert [type(fault["exception"]) for fault in faults] == [ZeroDivisionError]


class TestExpiry:
    async def test_a_live_session_ends_within_a_second_of_its_token(self) -> None:
        """4101, refresh; not before its time."""
        async with World.open() as world:
            async with world.client("eve") as other, world.socket() as socket:
                token = world.token(expires_at=NOW + timedelta(seconds=3))
                await say(socket, type="hello", token=token)
                await expect(socket, "welcome")
                await world.pass_time(2.5)
                await still_served(socket)
                await world.pass_time(1)
                assert await farewell(socket) == (4101, "refresh")
                await still_served(other)
            assert len(world.edge) == 0

    async def test_refresh_renews(self) -> None:
        """A new token, and the session lives until that one ends."""
        async with World.open() as world, world.socket() as socket:
            await say(socket, type="hello", token=world.token(expires_at=NOW + timedelta(seconds=3)))
            await expect(socket, "welcome")
            await say(socket, type="join", id="1", call="c")
            await expect(socket, "state")
            await say(socket, type="refresh", token=world.token(expires_at=NOW + timedelta(seconds=6)))
            await still_served(socket)
            await world.pass_time(5.5)
            await still_served(socket)
            await world.pass_time(1)
            assert await farewell(socket) == (4101, "refresh")

    @pytest.mark.parametrize(
        ("claims", "farewell_is"),
        [
            ({"participant": f"8:acs:{RESOURCE}_eve"}, (4401, "never")),
            ({"role": Role.OBSERVER}, (4401, "never")),
            ({"issuer": "x"}, (4401, "never")),
            ({"expires_at": NOW}, (4101, "refresh")),
            ({"calls": ["d"]}, (4403, "never")),
            ({"calls": []}, (4403, "never")),
        ],
    )
    async def test_a_refresh_that_does_not_do_ends_the_session(
        self, claims: dict[str, Any], farewell_is: tuple[int, str]
    ) -> None:
        """The same person, the same role, and every call that was joined."""
        async with World.open() as world, world.client() as socket:
            await say(socket, type="refresh", token=world.token(**claims))
            assert await farewell(socket) == farewell_is
            assert world.hub.losses() == ["disconnected"]

    async def test_a_refresh_may_cover_more_and_other_calls(self) -> None:
        """Only what is joined must stay covered."""
        async with World.open() as world, world.client() as socket:
            await say(socket, type="refresh", token=world.token(calls=["c", "d"]))
            await still_served(socket)
            assert world.hub.sessions[0].may("d")


class TestReplacement:
    async def test_a_device_has_one_session_the_newest(self) -> None:
        """4409 for the older one; the hub loses the old before it can hear of the new."""
        async with World.open() as world, world.client(device="d") as old, world.client(device="d") as new:
            assert await farewell(old) == (4409, "never")
            assert [name for name, *_ in world.hub.heard] == ["join", "lost", "join"]
            await still_served(new)
            assert len(world.edge) == 1

    async def test_the_old_connections_late_end_leaves_the_new_alone(self) -> None:
        """Neither its timeouts, nor its expiry, nor its socket's end kill the session that replaced it."""
        async with World.open() as world, AsyncExitStack() as stack:
            old = await stack.enter_async_context(world.raw())
            old.text(type="hello", token=world.token(expires_at=NOW + timedelta(seconds=20)), device="d")
            await old.next()
            new = await stack.enter_async_context(world.client(device="d"))
            await world.pass_time(3)
            old.writer.transport.abort()
            for _ in range(60):
                await world.pass_time(1)
                await answer_pings(new)
            await still_served(new)
            async with world.client(device="d") as newest:
                assert await farewell(new) == (4409, "never")
                await still_served(newest)
            assert world.hub.losses()[:2] == ["disconnected", "disconnected"]

    async def test_other_devices_people_and_the_nameless_are_left_alone(self) -> None:
        """Only the same participant's same device is replaced."""
        async with World.open() as world, AsyncExitStack() as stack:
            sockets = [
                await stack.enter_async_context(world.client(user, device=device))
                for user, device in [("ada", "d"), ("ada", "e"), ("eve", "d"), ("ada", None), ("ada", None)]
            ]  # fmt: skip
            for socket in sockets:
                await still_served(socket)
            assert len(world.edge) == 5


async def answer_pings(socket: Any) -> None:
    """Answer whatever pings have come in."""
    while True:
        try:
            async with asyncio.timeout(0.005):
                frame = await hear(socket)
        except TimeoutError:
            return
        assert frame["type"] == "ping"
        await say(socket, type="pong", at=frame["at"])


class TestLimits:
    async def test_one_participant_has_so_many_sessions(self) -> None:
        """4429, never; others are not concerned, and a session that ends makes room."""
        async with World.open(roll=Roll(most_each=2)) as world, world.client() as first, world.client():
            async with world.socket() as third:
                await say(third, type="hello", token=world.token())
                assert await farewell(third) == (4429, "never")
            async with world.client("eve") as other:
                await still_served(other)
            await first.close()
            async with world.client() as again:
                await still_served(again)

    async def test_everybody_together_has_so_many_sessions(self) -> None:
        """4013, reconnect: it is not the client's fault."""
        async with World.open(roll=Roll(most=2)) as world, world.client() as socket, world.client("eve"):
            async with world.socket() as third:
                await say(third, type="hello", token=world.token("joe"))
                assert await farewell(third) == (4013, "reconnect")
            await still_served(socket)

    async def test_strangers_are_closed_first_oldest_first(self) -> None:
        """Idle sockets that never say hello do not keep others out."""
        async with World.open(strangers=10) as world, AsyncExitStack() as stack, world.client("eve") as other:
            idle = [await stack.enter_async_context(world.socket()) for _ in range(5)]
            mute = [await stack.enter_async_context(world.raw(upgrade=False)) for _ in range(30)]
            good = [await stack.enter_async_context(world.client(f"u{number}")) for number in range(20)]
            for socket in [*good, other]:
                await still_served(socket)
            assert sum(raw.reader.at_eof() or raw.reader.exception() is not None for raw in mute) >= 20
            more = [await stack.enter_async_context(world.socket()) for _ in range(15)]
            assert await farewell(idle[0]) == (4013, "reconnect")
            await still_served(good[0])
            assert more[-1].close_code is None

    async def test_a_flood_is_4013(self) -> None:
        """Four hundred at once are taken, then fifty a second; the others do not notice."""
        async with World.open() as world, world.client("eve") as other, world.client() as socket:
            for _ in range(395):
                await say(socket, **ACK)
            for _ in range(395):
                await expect(socket, "receipt")
            for _ in range(20):
                await say(socket, **ACK)
            assert await farewell(socket) == (4013, "reconnect")
            await still_served(other)
            assert len([name for name, *_ in world.hub.heard if name == "acknowledge"]) <= 400 + 1

    async def test_fifty_a_second_are_taken_for_ever(self) -> None:
        """What was spent comes back with time."""
        async with World.open(ping_seconds=10_000) as world, world.client() as socket:
            for _ in range(20):
                for _ in range(49):
                    await say(socket, **ACK)
                for _ in range(49):
                    await expect(socket, "receipt")
                world.time += timedelta(seconds=1)
            await still_served(socket)

    async def test_errors_count_too(self) -> None:
        """Frames that are refused are frames."""
        async with World.open(frames_at_once=10) as world, world.client() as socket:
            for _ in range(11):
                await say(socket, type="x")
            assert await farewell(socket) == (4013, "reconnect")


class TestPulse:
    async def test_a_client_is_asked_every_fifteen_seconds(self) -> None:
        """With the gateway's time; answered pings keep the session for good."""
        async with World.open() as world, world.client() as socket:
            for _ in range(12):
                await world.pass_time(15)
                ping = await expect(socket, "ping")
                assert ping["at"].endswith("Z")
                await say(socket, type="pong", at=ping["at"])
                await still_served(socket)

    async def test_no_pong_in_ten_seconds_is_4003(self) -> None:
        """Half-open connections are found; those that answer are not hurt."""
        async with World.open() as world, world.client() as silent, world.client("eve") as good:
            for _ in range(26 * 2):
                await world.pass_time(0.5)
                await answer_pings(good)
            assert await farewell(silent) == (4003, "reconnect")
            await still_served(good)
            assert world.hub.losses() == ["disconnected"]

    async def test_a_connection_whose_peer_is_gone_is_cut(self) -> None:
        """The closing handshake of a dead peer never ends: two seconds later the socket is cut."""
        async with World.open() as world, world.raw() as raw:
            raw.text(type="hello", token=world.token())
            await raw.next()
            raw.reader._transport.pause_reading()  # type: ignore[attr-defined]
            await world.pass_time(26)
            assert len(world.edge) == 0
            await world.pass_time(3)
            for _ in range(5):
                await asyncio.sleep(0)
            assert len(world.listener._sockets) == 0


class TestDrain:
    async def test_everybody_is_asked_to_come_back_and_then_let_go(self) -> None:
        """`goaway` spread in time, then 4001 for everyone, strangers included."""
        async with World.open(reconnects_per_second=2) as world, AsyncExitStack() as stack:
            sockets = [await stack.enter_async_context(world.client(f"u{number}")) for number in range(4)]
            stranger = await stack.enter_async_context(world.socket())
            await world.edge.drain(grace=0)
            delays = [(await expect(socket, "goaway"))["reconnect_after_ms"] for socket in sockets]
            assert sorted(delays) == [0, 500, 1000, 1500]
            for socket in [*sockets, stranger]:
                assert await farewell(socket) == (4001, "reconnect")
            assert world.hub.losses() == ["disconnected"] * 4
            async with world.socket() as late:
                assert await farewell(late) == (4001, "reconnect")

    async def test_a_drain_ends_when_every_farewell_has_arrived(self) -> None:
        """What is cut right after it has lost nothing; one that does not read cannot hold it up for long."""
        async with World.open(close_seconds=0.05) as world, world.client() as socket, world.raw() as raw:
            raw.text(type="hello", token=world.token("eve"))
            await raw.next()
            raw.reader._transport.pause_reading()  # type: ignore[attr-defined]
            await world.edge.drain(grace=0)
            await world.listener.close()
            await expect(socket, "goaway")
            assert await farewell(socket) == (4001, "reconnect")

    async def test_nobody_is_waited_for_where_nobody_is(self) -> None:
        """The second that clients have is spent only where there are any; strangers are some."""
        async with World.open() as world:
            await asyncio.wait_for(world.edge.drain(grace=60), 5)
        async with World.open() as world, world.socket() as stranger:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(world.edge.drain(grace=60), 0.05)
            assert stranger.close_code is None

    async def test_frames_are_served_until_the_end(self) -> None:
        """An ack that comes after `goaway` still gets its receipt."""
        async with World.open() as world, world.client() as socket:
            draining = asyncio.create_task(world.edge.drain(grace=0.1), name="drain")
            await expect(socket, "goaway")
            await still_served(socket)
            await draining
            assert await farewell(socket) == (4001, "reconnect")

    async def test_closes_and_sessions_are_counted(self) -> None:
        """By code; frames are counted with the next tick."""
        async with World.open() as world, world.client() as socket:
            assert b"gateway_sessions 1.0" in world.metrics.render()
            await say(socket, type="hello")
            await farewell(socket)
            world.edge.tick()
            rendered = world.metrics.render()
            assert b'gateway_closes_total{code="4400"} 1.0' in rendered
            assert b"gateway_sessions 0.0" in rendered
            assert b"gateway_frames_sent_total 2.0" in rendered
