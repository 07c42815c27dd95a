"""The listener over real sockets: the handshake, every kind of frame, clients that do not read."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import time
import zlib
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode

from gateway.core.framing import frame
from gateway.core.session import Session
from gateway.edge.connection import UNSENT, WebSocket
from gateway.edge.listener import listen
from gateway.edge.opening import LARGEST_HEAD
from gateway.hub.roll import Roll
from tests.core.test_wire import CORPUS
from tests.edge_world import ACK, ORIGIN, Raw, World, expect, farewell, hear, request, say, still_served

ORIGINS = [
    ("https://app.example", True),
    (None, True),
    ("", False),
    ("null", False),
    ("http://app.example", False),
    ("wss://app.example", False),
    ("https://app.example:443", False),
    ("https://app.example:8443", False),
    ("https://app.example/", False),
    ("https://app.example/path", False),
    ("https://app.example?x", False),
    ("https://app.example#x", False),
    ("https://APP.example", False),
    ("HTTPS://app.example", False),
    ("https://www.app.example", False),
    ("https://evil.app.example", False),
    ("https://evil-app.example", False),
    ("https://evilapp.example", False),
    ("https://app.example.evil.com", False),
    ("https://app.examplе", False),  # a Cyrillic letter
    ("https://xn--app-example", False),
    ("https://app.example.", False),
    ("https://app.exampl", False),
    ("https://app.example evil", False),
    ("https://app.example, https://evil.example", False),
    ("https://user@app.example", False),
    ("https://app.example@evil.com", False),
    ("app.example", False),
    ("//app.example", False),
    ("file://", False),
    ("chrome-extension://abc", False),
    ("https://127.0.0.1", False),
    ("https://[::1]", False),
    ("*", False),
]


async def status(raw: Raw, sent: bytes) -> int:
    """The HTTP status that answers these bytes; 0 where the connection ends without one."""
    raw.writer.write(sent)
    async with asyncio.timeout(5):
        try:
            head = await raw.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return 0
    return int(head.split(b" ")[1])


class TestHandshake:
    @pytest.mark.parametrize(("origin", "allowed"), ORIGINS)
    async def test_only_the_allowed_origin_and_none_get_in(self, origin: str | None, allowed: bool) -> None:
        """Exactly scheme, host and port as configured; a missing Origin is no browser (RFC 6455 §10.2)."""
        async with World.open() as world, world.raw(upgrade=False) as raw:
            headers = {} if origin is None else {"Origin": origin.encode().decode("latin-1")}
            answer = await status(raw, request(**headers).decode().encode("latin-1"))
            assert answer == (101 if allowed else 403)

    async def test_two_origins_are_none(self) -> None:
        """RFC 6454 §7.3: a client sends one."""
        async with World.open() as world, world.raw(upgrade=False) as raw:
            sent = request(Origin=ORIGIN)[:-2] + f"Origin: {ORIGIN}\r\n\r\n".encode()
            assert await status(raw, sent) == 400

    @pytest.mark.parametrize(
        ("sent", "answer"),
        [
            (request(), 101),
            (request("/v1/ws?x=1"), 101),
            (request(Sec_WebSocket_Protocol="other, notices.v1.json"), 101),
            (request(drop=["Sec-WebSocket-Protocol"]), 400),
            (request(Sec_WebSocket_Protocol="notices.v2.json"), 400),
            (request(Sec_WebSocket_Protocol="NOTICES.V1.JSON"), 400),
            (request(Sec_WebSocket_Protocol=""), 400),
            (request("/"), 404),
            (request("/v1/ws/"), 404),
            (request("/v1/WS"), 404),
            (request("/v1/../v1/ws"), 404),
            (request("/healthz"), 404),
            (request(method="POST"), 405),
            (request(method="HEAD"), 405),
            (request(drop=["Upgrade"]), 426),
            (request(drop=["Connection"]), 426),
            (request(Upgrade="h2c"), 426),
            (request(drop=["Sec-WebSocket-Key"]), 400),
            (request(Sec_WebSocket_Key="x"), 400),
            (request(drop=["Sec-WebSocket-Version"]), 400),
            (request(Sec_WebSocket_Version="8"), 400),
            (request().replace(b"HTTP/1.1", b"HTTP/1.0"), 505),
            (request().replace(b"HTTP/1.1", b"HTTP/2.0"), 0),
            (request(Content_Length="5") + b"hello", 0),
            (request(Transfer_Encoding="chunked") + b"0\r\n\r\n", 0),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 0),
            (b"\r\n\r\n", 0),
            (request().replace(b"Host: ", b"Ho st: "), 0),
            (request(X="y" * 9000), 431),
            (request("/v1/ws?" + "y" * 9000), 414),
            (request(**{f"X{number}": "y" for number in range(130)}), 431),
            (request(**{f"X{number}": "y" * 8000 for number in range(3)}), 431),
            (b"GET /v1/ws HTTP/1.1\r\nX: " + b"y" * LARGEST_HEAD, 431),
        ],
    )
    async def test_what_is_no_proper_upgrade_is_refused(self, sent: bytes, answer: int) -> None:
        """Method, path, version, sub-protocol, headers and their size (RFC 6455 §4.2.1); 0 is just the end."""
        async with World.open() as world, world.raw(upgrade=False) as raw:
            assert await status(raw, sent) == answer

    async def test_a_refusal_quotes_nothing(self) -> None:
        """What a client sent does not come back to it, or to a log."""
        async with World.open() as world:
            for sent in (request(Origin="https://canary"), request("/canary"), request(Upgrade="canary")):
                async with world.raw(upgrade=False) as raw:
                    raw.writer.write(sent)
                    assert b"canary" not in await raw.reader.read()

    async def test_a_dripping_handshake_is_cut_at_five_seconds(self) -> None:
        """However lively it is, and others are not concerned."""
        async with World.open() as world, world.client() as other, world.raw(upgrade=False) as raw:
            raw.writer.write(b"GET /v1/ws HTTP/1.1\r\n")
            for number in range(11):
                raw.writer.write(f"X{number}: y\r\n".encode())
                await world.pass_time(0.5)
                assert number > 9 or not raw.reader.at_eof()
            async with asyncio.timeout(5):
                with contextlib.suppress(ConnectionResetError):
                    assert await raw.reader.read() == b""
            await still_served(other)

    async def test_a_handshake_in_single_bytes_is_a_handshake(self) -> None:
        """Segments say nothing."""
        async with World.open() as world, world.raw(upgrade=False) as raw:
            for byte in request():
                raw.writer.write(bytes([byte]))
                await asyncio.sleep(0)
            assert b" 101 " in await raw.reader.readuntil(b"\r\n\r\n")

    async def test_a_frame_in_the_handshakes_segment_is_not_lost(self) -> None:
        """An eager client's hello counts."""
        async with World.open() as world, world.raw(upgrade=False) as raw:
            hello = json.dumps({"type": "hello", "token": world.token()}).encode()
            raw.writer.write(request() + Frame(Opcode.TEXT, hello).serialize(mask=True))
            await raw.reader.readuntil(b"\r\n\r\n")
            assert json.loads((await raw.next())[1])["type"] == "welcome"

    async def test_compression_is_not_negotiated(self) -> None:
        """So sixty megabytes of zeros in sixty kilobytes are a protocol error and never inflated."""
        async with World.open() as world, world.client() as other, world.raw(upgrade=False) as raw:
            raw.writer.write(request(Sec_WebSocket_Extensions="permessage-deflate; client_max_window_bits"))
            head = await raw.reader.readuntil(b"\r\n\r\n")
            assert b" 101 " in head
            assert b"Extensions" not in head
            bomb = zlib.compress(bytes(60_000_000))[:30_000]
            raw.writer.write(compressed(bomb))
            assert await raw.end() == (1002, 1002)
            await still_served(other)


def compressed(payload: bytes) -> bytes:
    """A text frame with the bit that means compressed (RFC 7692 §6)."""
    whole = bytearray(Frame(Opcode.TEXT, payload).serialize(mask=True))
    whole[0] |= 0x40
    return bytes(whole)


class TestFrames:
    @pytest.mark.parametrize(("data", "code"), [row[1:] for row in CORPUS], ids=[row[0] for row in CORPUS])
    @pytest.mark.parametrize("whole", [True, False], ids=["whole", "fragmented"])
    async def test_bad_frames_end_their_own_connection_only(self, data: bytes, code: int, whole: bool) -> None:
        """`bye` and close carry the contract's code, in one piece or in fragments; the next client is served."""
        async with World.open() as world, world.client("eve") as other, world.raw() as raw:
            raw.text(type="hello", token=world.token())
            await raw.next()
            if whole:
                raw.frame(Opcode.TEXT, data)
            else:
                raw.frame(Opcode.TEXT, data[:7], fin=False)
                raw.frame(Opcode.CONT, data[7:])
            assert await raw.end() == (code, code)
            await still_served(other)

    @pytest.mark.parametrize(
        ("sent", "code"),
        [
            (Frame(Opcode.BINARY, b"x").serialize(mask=True), 1003),
            (Frame(Opcode.BINARY, b"x", fin=False).serialize(mask=True), 1003),
            (Frame(Opcode.TEXT, b"{}").serialize(mask=False), 1002),
            (Frame(Opcode.CONT, b"x").serialize(mask=True), 1002),
            (b"\x83\x80\x00\x00\x00\x00", 1002),
            (b"\x8b\x80\x00\x00\x00\x00", 1002),
            (b"\x91\x80\x00\x00\x00\x00", 1002),
            (b"\x09\x80\x00\x00\x00\x00", 1002),
            (b"\x89\xfe\x00\x7e\x00\x00\x00\x00" + b"x" * 126, 1002),
            (b"\x88\x81\x00\x00\x00\x00x", 1002),
            (b"\x88\x82\x00\x00\x00\x00\x03\xed", 1002),
            (b"\x88\x82\x00\x00\x00\x00\x00\x00", 1002),
            (b"\x88\x84\x00\x00\x00\x00\x03\xe8\xff\xff", 1007),
            (b"\x81\xfe\x80\x01\x00\x00\x00\x00", 4413),
            (b"\x81\xff\x00\x00\x00\x00\x03\x93\x87\x00\x00\x00\x00\x00", 4413),
            (b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00", 4413),
            (
                Frame(Opcode.TEXT, b"x" * 20000, fin=False).serialize(mask=True)
                + Frame(Opcode.CONT, b"x" * 20000).serialize(mask=True),
                4413,
            ),
            (
                Frame(Opcode.TEXT, b"{", fin=False).serialize(mask=True)
                + Frame(Opcode.TEXT, b"}").serialize(mask=True),
                1002,
            ),
        ],
    )
    async def test_what_rfc_6455_forbids_is_an_error(self, sent: bytes, code: int) -> None:
        """Masks, opcodes, reserved bits, control frames, fragments, close codes, and sizes before they come."""
        async with World.open() as world, world.client("eve") as other, world.raw() as raw:
            raw.text(type="hello", token=world.token())
            await raw.next()
            raw.writer.write(sent)
            assert await raw.end() == (code, code)
            await still_served(other)
            assert world.hub.losses() == ["disconnected"]

    @pytest.mark.parametrize("sizes", [[1], [2, 3], [20, 20], [0, 0, 1], [30, 0, 0]])
    async def test_a_text_in_fragments_is_one_message(self, sizes: list[int]) -> None:
        """With pings between them, as RFC 6455 §5.4 allows, and whole messages after it."""
        async with World.open() as world, world.client() as socket:
            data = json.dumps(ACK)
            parts = []
            for size in sizes:
                parts.append(data[:size])
                data = data[size:]
            await socket.send([*parts, data])
            await expect(socket, "receipt")
            await still_served(socket)

    async def test_control_frames_may_come_between_fragments(self) -> None:
        """And a character may be cut in two."""
        async with World.open() as world, world.raw() as raw:
            raw.text(type="hello", token=world.token())
            await raw.next()
            data = json.dumps({**ACK, "x": "ö"}, ensure_ascii=False).encode()
            place = data.index(b"\xc3") + 1
            raw.frame(Opcode.TEXT, data[:place], fin=False)
            raw.frame(Opcode.PING, b"still there?")
            assert await raw.next() == (Opcode.PONG, b"still there?")
            raw.frame(Opcode.CONT, data[place:])
            assert json.loads((await raw.next())[1])["type"] == "receipt"

    async def test_pings_are_answered_and_pongs_taken(self) -> None:
        """RFC 6455 §5.5.2 and §5.5.3; before the hello too."""
        async with World.open() as world, world.socket() as socket:
            await (await socket.ping(b"x" * 125))
            await socket.pong(b"unasked")
            await say(socket, type="hello", token=world.token())
            await expect(socket, "welcome")
            await (await socket.ping())
            await still_served(socket)

    async def test_a_flood_of_pings_is_a_flood(self) -> None:
        """Control frames and empty fragments count like frames."""
        async with World.open(frames_at_once=50) as world:
            for opcode, fin in ((Opcode.PING, True), (Opcode.PONG, True), (Opcode.CONT, False)):
                async with world.raw() as raw:
                    raw.frame(Opcode.TEXT, b"", fin=False)
                    for _ in range(60):
                        raw.frame(opcode, b"", fin=fin)
                    said = 0
                    with contextlib.suppress(asyncio.IncompleteReadError):
                        while True:
                            kind, payload = await raw.next()
                            if kind == Opcode.TEXT:
                                said = json.loads(payload)["code"]
                    assert said == 4013

    @pytest.mark.parametrize("code", [1000, 1001, 3000, 4999])
    async def test_a_close_is_echoed(self, code: int) -> None:
        """RFC 6455 §5.5.1; the session counts as disconnected, for it did not say `bye`."""
        async with World.open() as world, world.client() as socket:
            await socket.close(code, "so long")
            assert socket.close_code == code
            assert world.hub.losses() == ["disconnected"]

    async def test_an_empty_close_is_echoed_empty(self) -> None:
        """A close frame need not have a code."""
        async with World.open() as world, world.raw() as raw:
            raw.frame(Opcode.CLOSE, b"")
            assert await raw.next() == (Opcode.CLOSE, b"")
            assert await raw.reader.read() == b""

    async def test_frames_in_any_segments_are_the_same_frames(self) -> None:
        """Byte by byte, and many in one."""
        async with World.open() as world, world.raw() as raw:
            hello = json.dumps({"type": "hello", "token": world.token()}).encode()
            ack = Frame(Opcode.TEXT, json.dumps(ACK).encode()).serialize(mask=True)
            ping = Frame(Opcode.PING, b"p").serialize(mask=True)
            for byte in Frame(Opcode.TEXT, hello).serialize(mask=True):
                raw.writer.write(bytes([byte]))
                await asyncio.sleep(0)
            assert (await raw.next())[0] == Opcode.TEXT
            raw.writer.write(ack * 50 + ping + ack)
            kinds = [(await raw.next())[0] for _ in range(52)]
            assert kinds == [Opcode.TEXT] * 50 + [Opcode.PONG, Opcode.TEXT]
            for byte in ping + ack:
                raw.writer.write(bytes([byte]))
                await asyncio.sleep(0)
            assert [(await raw.next())[0] for _ in range(2)] == [Opcode.PONG, Opcode.TEXT]

    async def test_between_unusual_frames_the_library_is_not_kept(self) -> None:
        """Memory: a session at rest has no parser."""
        async with World.open() as world, world.client() as socket:
            await (await socket.ping())
            await socket.send(["{", '"type":"x"}'])
            await expect(socket, "error")
            (connection,) = world.listener._sockets
            assert connection._engine is None
            assert connection._message is None
            assert connection._buffer == b""
            assert not hasattr(connection, "__dict__")

    async def test_nothing_a_client_sends_is_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        """Not its token, its frames or its headers, not even for debugging."""
        caplog.set_level(logging.DEBUG)
        async with World.open() as world:
            async with world.socket(Cookie="canary-1") as socket:
                await say(socket, type="hello", token="canary-2")
                await farewell(socket)
            async with world.raw() as raw:
                raw.frame(Opcode.BINARY, b"canary-3")
                await raw.end()
        for record in caplog.records:
            if record.name.startswith("gateway"):
                assert "canary" not in record.getMessage()

    def test_arbitrary_bytes_never_harm_anybody(self) -> None:
        """Whatever comes after the handshake, the next client is served and no fault is reported."""

        @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
        @given(st.lists(st.binary(max_size=60), max_size=6), st.booleans())
        def attack(pieces: list[bytes], hello: bool) -> None:
            asyncio.run(attempt(pieces, hello))

        async def attempt(pieces: list[bytes], hello: bool) -> None:
            faults: list[Any] = []
            asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
            async with World.open() as world, world.raw() as raw:
                if hello:
                    raw.text(type="hello", token=world.token())
                for piece in pieces:
                    raw.writer.write(piece)
                    await asyncio.sleep(0)
                async with world.client("eve") as other:
                    await still_served(other)
            assert faults == []

        attack()


BIG = frame(json.dumps({"type": "notice", "x": "x" * 2000}).encode())


class TestSlow:
    @pytest.fixture(params=["asyncio", "uvloop"])
    def run(self, request: pytest.FixtureRequest) -> Callable[..., Any]:
        return asyncio.run if request.param == "asyncio" else uvloop.run

    def test_a_slow_reader_is_bounded_and_gets_fresh_state_when_it_has_caught_up(self, run: Any) -> None:
        """At most 256 KiB wait; nothing more is queued; then `refresh_state`, once, and all is live again."""
        run(self.catch_up())

    async def catch_up(self) -> None:
        async with World.open() as world, world.raw() as raw, world.client("eve") as other:
            session = await self.stall(world, raw)
            assert not session.send(b"{}")
            (slow,) = (each for each in world.listener._sockets if each._session is session)
            assert UNSENT - len(BIG) < slow._to.get_write_buffer_size() <= UNSENT
            await still_served(other)
            raw.reader._transport.resume_reading()  # type: ignore[attr-defined]
            while json.loads((await raw.next())[1])["type"] != "state":
                pass
            assert [name for name, *_ in world.hub.heard].count("refresh_state") == 1
            assert session.send(b'{"type":"live"}')
            assert json.loads((await raw.next())[1])["type"] == "live"
            await world.pass_time(40)
            assert "slow" not in world.hub.losses()

    async def stall(self, world: World, raw: Raw) -> Any:
        """A session whose client has stopped reading, written to until it is behind."""
        raw.text(type="hello", token=world.token())
        await raw.next()
        raw.text(type="join", id="1", call="c")
        await raw.next()
        raw.reader._transport.pause_reading()  # type: ignore[attr-defined]
        session = world.hub.sessions[0] if world.hub.sessions[0].participant.endswith("ada") else world.hub.sessions[-1]
        for _ in range(10_000):
            if not session.send_framed(BIG):
                break
            await asyncio.sleep(0)
        assert session.behind
        return session

    def test_thirty_seconds_behind_is_4008(self, run: Any) -> None:
        """The hub is told `slow`; the socket is cut when its farewell cannot be delivered either."""
        run(self.fall_behind())

    async def fall_behind(self) -> None:
        async with World.open() as world, world.raw() as raw:
            await self.stall(world, raw)
            await world.pass_time(29)
            assert world.hub.losses() == []
            await world.pass_time(2)
            assert world.hub.losses() == ["slow"]
            assert b'gateway_closes_total{code="4008"} 1.0' in world.metrics.render()
            await world.pass_time(4)
            for _ in range(5):
                await asyncio.sleep(0)
            assert not world.listener._sockets

    def test_slow_readers_do_not_delay_others(self, run: Any) -> None:
        """Fifty clients that do not read, and one that does: its notices come at once."""
        run(self.mixed())

    async def mixed(self) -> None:
        async with World.open(roll=Roll(most_each=100)) as world, AsyncExitStack() as stack:
            good = await stack.enter_async_context(world.client("eve"))
            for _ in range(50):
                raw = await stack.enter_async_context(world.raw())
                raw.text(type="hello", token=world.token())
                raw.text(type="join", id="1", call="c")
                await raw.next()
                await raw.next()
                raw.reader._transport.pause_reading()  # type: ignore[attr-defined]
            slowest = 0.0
            for number in range(400):
                began = time.perf_counter()
                for session in world.hub.sessions:
                    session.send_framed(BIG)
                if number % 20 == 0:
                    for _ in range(20 if number else 1):
                        await expect(good, "notice")
                    slowest = max(slowest, time.perf_counter() - began)
            assert slowest < 1
            behind = [session for session in world.hub.sessions if session.behind]
            assert len(behind) == 50
            held = sum(each._to.get_write_buffer_size() for each in world.listener._sockets)
            assert held <= 50 * UNSENT

    async def test_one_large_frame_to_an_idle_client_is_not_dropped(self) -> None:
        """The limit is for what waits, not for what is said."""
        async with World.open() as world, world.client() as socket:
            (session,) = world.hub.sessions
            assert session.send(json.dumps({"type": "big", "x": "x" * 300_000}).encode())
            await expect(socket, "big")

    async def test_pongs_are_not_queued_for_those_who_do_not_read(self) -> None:
        """A client cannot fill memory with answers to its own pings."""
        async with World.open(frames_at_once=100_000) as world, world.raw() as raw:
            session = await self.stall(world, raw)
            (slow,) = world.listener._sockets
            for _ in range(3000):
                raw.frame(Opcode.PING, b"x" * 125)
            await raw.writer.drain()
            for _ in range(50):
                await asyncio.sleep(0.001)
            assert slow._to.get_write_buffer_size() <= UNSENT
            assert session.behind


class TestLife:
    async def test_an_address_in_use_is_an_error_and_leaves_nothing(self) -> None:
        """One `OSError`, no socket left open."""
        async with World.open() as world:
            with pytest.raises(OSError):
                await listen(world.edge, world.listener.address, [])
            gc.collect()

    async def test_who_is_gone_is_not_left_to_the_collector(self) -> None:
        """A connection and its session know each other; twenty thousand that come back find the memory of before."""
        gc.collect()
        gc.disable()
        try:
            async with World.open() as world:
                for _ in range(5):
                    async with world.raw():
                        pass
                while world.listener._sockets:
                    await asyncio.sleep(0)
                await asyncio.sleep(0.01)
                assert not [each for each in gc.get_objects() if isinstance(each, WebSocket | Session)]
        finally:
            gc.enable()

    async def test_closing_cuts_what_is_left(self) -> None:
        """The hub hears of every session; new connections are refused."""
        async with World.open() as world:
            async with world.client() as socket, world.raw(upgrade=False):
                await world.listener.close()
                assert world.hub.losses() == ["disconnected"]
                with pytest.raises(ConnectionClosed):
                    await hear(socket)
            with pytest.raises(OSError):
                async with world.socket():
                    pass

    async def test_the_timer_ticks_by_itself(self) -> None:
        """Nobody else has to: a hello that never comes is missed."""
        async with World.open(hello_seconds=0.0) as world, world.socket() as socket:
            assert await farewell(socket) == (4408, "never")

    async def test_an_abrupt_end_is_a_loss(self) -> None:
        """A reset, an end without a close frame, half a frame: each is told to the hub once."""
        async with World.open() as world:
            for end in ("abort", "eof", "half"):
                async with world.raw() as raw:
                    raw.text(type="hello", token=world.token())
                    await raw.next()
                    if end == "abort":
                        raw.writer.transport.abort()
                    else:
                        raw.writer.write(b"\x81" if end == "half" else b"")
                        raw.writer.write_eof()
                        assert await raw.reader.read() == b""
                    while len(world.edge):
                        await asyncio.sleep(0)
            assert world.hub.losses() == ["disconnected"] * 3

    async def test_a_client_without_the_subprotocol_is_refused_by_its_own_library(self) -> None:
        """The ordinary client sees an ordinary status."""
        async with World.open() as world:
            with pytest.raises(InvalidStatus) as caught:
                await connect(world.url, proxy=None)
            assert caught.value.response.status_code == 400
