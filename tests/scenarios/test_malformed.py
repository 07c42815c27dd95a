"""Malformed clients of every kind each get what they must, on one gateway, while everybody else stays served."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from tests.scenarios.events import observed
from tests.scenarios.harness import Gateway
from tests.scenarios.peers import Dial, Ended, Peer

SETTINGS = {"NOTICES__DEADLINE_SECONDS": "60", "LISTEN__PING_SECONDS": "1"}

TEXTS: dict[str, tuple[bytes, int]] = {
    "E11 not JSON": (b"hello?", 4400),
    "E11 an array": (b"[]", 4400),
    "E11 no type": (b"{}", 4400),
    "E11 duplicate keys": (b'{"type":"join","id":"1","id":"2","call":"c"}', 4400),
    "E11 duplicate keys, escaped": (b'{"type":"join","id":"1","\\u0069d":"2","call":"c"}', 4400),
    "E11 NaN": (b'{"type":"join","id":"1","call":"c","revision":NaN}', 4400),
    "E11 infinity": (b'{"type":"join","id":"1","call":"c","revision":Infinity}', 4400),
    "E11 1e999": (b'{"type":"join","id":"1","call":"c","revision":1e999}', 4400),
    "E11 an integer beyond 2^53": (b'{"type":"join","id":"1","call":"c","revision":9007199254740993}', 4400),
    "E11 many digits": (b'{"type":"join","id":"1","call":"c","revision":' + b"9" * 20_000 + b"}", 4400),
    "E11 too deep": (b'{"type":"pong","at":"x","more":' + b"[" * 9 + b"]" * 9 + b"}", 4400),
    "E11 bottomless": (b"[" * 30_000, 4400),
    "E10 a lone surrogate": (b'{"type":"pong","at":"\\ud800"}', 4400),
    "E10 bad UTF-8": (b'{"type":"pong","at":"\xff\xfe"}', 1007),
    "E10 overlong UTF-8": (b'{"type":"pong","at":"\xc0\xaf"}', 1007),
    "a wrong field": (b'{"type":"ack","notice":1,"level":"received","at":"x"}', 4400),
    "a second hello": (b'{"type":"hello","token":"x"}', 4400),
    "E8 too large": (b'{"type":"pong","at":"' + b"x" * 33_000 + b'"}', 4413),
}
"""Payloads of text frames after the hello, and the code that ends the connection."""


def frame(
    payload: bytes, *, opcode: int = 1, first: int = 0x80, masked: bool = True, length: int | None = None
) -> bytes:
    """A client's WebSocket frame (RFC 6455 §5.2), right or wrong in every part."""
    size = len(payload) if length is None else length
    head = bytes([first | opcode])
    bit = 0x80 if masked else 0
    if size < 126:
        head += bytes([bit | size])
    elif size < 1 << 16:
        head += bytes([bit | 126]) + struct.pack("!H", size)
    else:
        head += bytes([bit | 127]) + struct.pack("!Q", size)
    if not masked:
        return head + payload
    mask = os.urandom(4)
    return head + mask + bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))


FRAMES: dict[str, tuple[bytes, int]] = {
    "E10 binary": (frame(b"\x00\x01", opcode=2), 1003),
    "not masked": (frame(b"{}", masked=False), 1002),
    "a reserved bit": (frame(b"{}", first=0xC0), 1002),
    "E9 compressed, though nothing was agreed": (frame(b"\xaa\x56\x4a", first=0xC0), 1002),
    "a reserved opcode": (frame(b"", opcode=3), 1002),
    "a reserved control opcode": (frame(b"", opcode=11), 1002),
    "a continuation of nothing": (frame(b"x", opcode=0), 1002),
    "a long ping": (frame(b"x" * 126, opcode=9), 1002),
    "a fragmented ping": (frame(b"", opcode=9, first=0), 1002),
    "a new text within a fragmented one": (frame(b"{", first=0) + frame(b"{}"), 1002),
    "E8 announced as too large": (frame(b"x", length=1 << 40), 4413),
    "E8 too large in fragments": (frame(b"x" * 20_000, first=0) + frame(b"x" * 20_000, opcode=0), 4413),
    "a close code that cannot be": (frame(struct.pack("!H", 1005), opcode=8), 1002),
    "bad UTF-8 over two fragments": (frame(b'"\xe2', first=0) + frame(b'\x28"', opcode=0), 1007),
}
"""Bytes after the hello, and the code that ends the connection."""

CUT = 0
"""No answer at all: the connection is cut."""

HANDSHAKES: dict[str, tuple[bytes, int]] = {
    "E5 headers of 20 kB": (b"GET /v1/ws HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", 431),
    "E5 300 headers": (b"GET /v1/ws HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 300 + b"\r\n", 431),
    "E5 a line without an end": (b"GET /" + b"x" * 20_000, 431),
    "not an upgrade": (b"GET /v1/ws HTTP/1.1\r\nHost: x\r\n\r\n", 426),
    "another path": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    "not HTTP": (b"\x16\x03\x01\x00\xf1\x01\x00\x00\xed\x03\x03\r\n\r\n", CUT),
    "no sub-protocol": (
        b"\r\n".join(
            (
                b"GET /v1/ws HTTP/1.1",
                b"Host: x",
                b"Connection: Upgrade",
                b"Upgrade: websocket",
                b"Sec-WebSocket-Version: 13",
                b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
            )
        ),
        400,
    ),
}
"""First bytes of a connection, and the HTTP status that answers them."""


@asynccontextmanager
async def _served(gateway: Gateway, dial: Dial, call: str) -> AsyncIterator[Peer]:
    """Somebody well-behaved, who afterwards has stayed on the same session and is still told and receipted."""
    witness = await dial("witness", call)
    yield witness
    await gateway.tell(observed(call))
    await witness.prove(await witness.hear("notice", change="started"))
    assert (await gateway.ask("GET", "/readyz", headers={})).status_code == 200
    assert not [line for line in gateway.log_lines() if '"error"' in line]


async def _bye(peer: Peer) -> int:
    code = await peer.ended()
    byes = [each["code"] for each in peer.heard if each["type"] == "bye"]
    assert byes in ([code], []), "a bye says the code of the close"
    return code


@pytest.mark.parametrize("how", TEXTS)
async def test_a_malformed_text_ends_its_connection_only(gateway: Gateway, dial: Dial, call: str, how: str) -> None:
    """E8, E10, E11: each malformed text is answered with its close code, after a bye, and disturbs nobody."""
    payload, code = TEXTS[how]
    async with _served(gateway, dial, call):
        peer = await dial("anna", call)
        peer.connection.transport.write(frame(payload))
        assert await _bye(peer) == code


@pytest.mark.parametrize("how", FRAMES)
async def test_a_malformed_frame_ends_its_connection_only(gateway: Gateway, dial: Dial, call: str, how: str) -> None:
    """E8, E9, E10: each violation of RFC 6455 is answered with its close code and disturbs nobody."""
    octets, code = FRAMES[how]
    async with _served(gateway, dial, call):
        peer = await dial("anna", call)
        peer.connection.transport.write(octets)
        assert await _bye(peer) == code


async def _status(gateway: Gateway, octets: bytes) -> int:
    parts = urlsplit(gateway.websocket)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        writer.write(octets)
        async with asyncio.timeout(8):
            line = await reader.readline()
        return int(line.split()[1]) if line else CUT
    finally:
        writer.transport.abort()


async def test_a_malformed_handshake_is_answered_in_http(gateway: Gateway, dial: Dial, call: str) -> None:
    """E5: what is no upgrade gets its HTTP status, and disturbs nobody."""
    async with _served(gateway, dial, call):
        statuses = {how: await _status(gateway, octets) for how, (octets, _) in HANDSHAKES.items()}
    assert statuses == {how: status for how, (_, status) in HANDSHAKES.items()}


async def test_an_unknown_type_and_an_unknown_field_end_nothing(dial: Dial, call: str) -> None:
    """An unknown frame is answered with an error, an unknown field is ignored, and the connection stays."""
    peer = await dial("anna", call)
    await peer.send("hologram", id="1")
    assert (await peer.hear("error"))["temporary"] is False
    await peer.join(call, hologram=True)


async def test_compression_is_never_agreed(gateway: Gateway) -> None:
    """E9: permessage-deflate is not negotiated, even where a client offers it."""
    async with Dial(gateway) as dial:
        peer = await dial.open(additional_headers={"Sec-WebSocket-Extensions": "permessage-deflate"})
        response = peer.connection.response
        assert response is not None
        assert "Sec-WebSocket-Extensions" not in response.headers


async def test_frames_before_the_hello_end_the_connection(dial: Dial, call: str) -> None:
    """The first frame is hello: whatever else comes first ends with 4400."""
    for kind in ("join", "ack", "observed", "message", "refresh", "nothing-known"):
        peer = await dial.open()
        await peer.send(kind, id="1", call=call)
        assert await _bye(peer) == 4400


async def _dripping(gateway: Gateway) -> float:
    """How long a connection lives that sends its head byte by byte."""
    parts = urlsplit(gateway.websocket)
    loop, began = asyncio.get_running_loop(), asyncio.get_running_loop().time()
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        for octet in b"GET /v1/ws HTTP/1.1\r\nHost: x\r\n" * 10:
            writer.write(bytes([octet]))
            try:
                async with asyncio.timeout(0.3):
                    if await reader.read(1) == b"":
                        break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        return loop.time() - began
    finally:
        writer.transport.abort()


async def test_silent_and_flooding_clients_are_ended_in_time(gateway: Gateway, dial: Dial, call: str) -> None:
    """E5, E7, E13: a handshake dripped for 5 s, 5 s without a hello (4408), a second without a pong (4003) and a flood
    (4013) all end, at once and beside each other, while everybody else is served."""

    async def flood() -> int:
        peer = await dial("flooder", call)
        try:
            for number in range(5000):
                await peer.write(json.dumps({"type": "leave", "id": str(number), "call": "nowhere"}))
        except Ended as ended:
            return ended.code
        return await _bye(peer)

    async def mute() -> int:
        peer = await dial("mute", call)
        peer.answers_pings = False
        return await _bye(peer)

    async def no_hello() -> int:
        return await _bye(await dial.open())

    async with _served(gateway, dial, call) as witness:
        listening = asyncio.create_task(witness.hear("bye", within=60))
        ended = await asyncio.gather(flood(), mute(), no_hello(), _dripping(gateway))
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
    *codes, dripped = ended
    assert codes == [4013, 4003, 4408]
    assert 4 < dripped < 8


async def test_a_socket_that_is_reset_leaves_nothing(gateway: Gateway, dial: Dial, call: str) -> None:
    """F16: connections reset in every phase, many at once, cost nobody else anything."""
    async with _served(gateway, dial, call):
        parts = urlsplit(gateway.websocket)
        for octets in (b"", b"GET /v1/ws HT", b"\x81"):
            for _ in range(50):
                made = socket.create_connection((parts.hostname or "", parts.port or 0))
                made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                made.sendall(octets)
                made.close()
        for peer in await dial.many([f"user{number}" for number in range(20)], call):
            await peer.vanish()
