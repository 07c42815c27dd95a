#!/usr/bin/env python3
"""The floor: what the kernel and the event loop cost for a notice, its ack and its receipt, with nothing in between.

Rules: one `asyncio.Protocol` on uvloop per connection and nothing else; an ack is known by its first bytes, its receipt
is the same bytes for everybody and goes out at once; nothing is parsed, kept, ordered or proved. Nobody can do with
less on this loop. `GET /start` tells everyone; one JSON line says where it listens.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import hashlib
import re
import resource
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final, cast

import msgspec
import uvloop
from websockets.frames import Frame, Opcode
from websockets.speedups import apply_mask

SLICE: Final = 200
GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
AT: Final = "2026-11-23T14:00:00.000Z"
DIGEST: Final = "sha256:" + "a" * 64
UPGRADE: Final = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n"
    b"Sec-WebSocket-Protocol: notices.v1.json\r\n\r\n"
)
ACK: Final = b'{"type":"ack"'


def frame(kind: str, **fields: Any) -> bytes:
    """One frame of the protocol, as everybody gets it."""
    return Frame(Opcode.TEXT, msgspec.json.encode({"type": kind, **fields})).serialize(mask=False)


class Floor:
    """Everybody who is connected, and what they are told."""

    def __init__(self) -> None:
        self.connections: list[Connection] = []
        self.loop = asyncio.get_running_loop()
        self.receipt = b""
        self._revision = 0

    def tell(self) -> None:
        """Tell everyone."""
        self._revision += 1
        notice = f"n_{self._revision:026}"
        self.receipt = frame("receipt", notice=notice, level="acknowledged", entry=12_345, at=AT)
        text = {
            "locale": "en",
            "title": "Recording has started.",
            "body": "This call is recorded.",
            "link": "https://x",
        }
        what = {"capability": "recording", "change": "started", "episode": "e_" + "a" * 26}
        when = {"occurred_at": AT, "issued_at": AT, "deadline_at": AT}
        told = {"call": "load-0", "revision": self._revision, "notice": notice, **what, **when, "text": text}
        self._advance(self._slices(frame("notice", **told, digest=DIGEST, require="acknowledged")))

    def _slices(self, framed: bytes) -> Iterator[None]:
        for start in range(0, len(self.connections), SLICE):
            for each in self.connections[start : start + SLICE]:
                each.to.write(framed)
            yield

    def _advance(self, slices: Iterator[None]) -> None:
        with suppress(StopIteration):
            next(slices)
            self.loop.call_soon(self._advance, slices)


class Connection(asyncio.Protocol):
    """One connection: `hello` and `join` are answered in that order, unread; then acks."""

    __slots__ = ("_before", "_buffer", "_floor", "to")

    to: asyncio.Transport

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self._buffer = b""
        self._before = 2

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.to = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._before:
            self._begin(self._buffer + data)
            return
        begin = 6 if data[1] < 0xFE else 8
        if apply_mask(data[begin : begin + len(ACK)], data[begin - 4 : begin]) == ACK:
            self.to.write(self._floor.receipt)

    def connection_lost(self, exc: Exception | None) -> None:
        with suppress(ValueError):
            self._floor.connections.remove(self)

    def _begin(self, data: bytes) -> None:
        head, end, rest = data.partition(b"\r\n\r\n")
        if self._before == 2 and not end:
            self._buffer = data
        elif self._before == 2 and head.startswith(b"GET /start"):
            self._floor.tell()
            self.to.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\ntold\n")
            self.to.close()
        elif self._before == 2:
            key = re.search(rb"(?i)sec-websocket-key: *(\S+)", head)
            accepted = b"" if key is None else base64.b64encode(hashlib.sha1(key[1] + GUID).digest())  # noqa: S324 - RFC 6455 §4.2.2
            self.to.write(UPGRADE % accepted)
            self._before, self._buffer = 1, rest
        else:
            self._greet()

    def _greet(self) -> None:
        fields = {"session": "s", "participant": "p", "region": "r", "server_time": AT, "ping_seconds": 15}
        self.to.write(frame("welcome", **fields, expires_at="2099-11-23T14:00:00.000Z"))
        self.to.write(frame("state", id="1", call="load-0", revision=0, capabilities={}, notices=[], more=0))
        self._before = 0
        self._floor.connections.append(self)


async def run() -> None:
    """Serve until killed."""
    floor = Floor()
    server = await floor.loop.create_server(lambda: Connection(floor), "127.0.0.1", 0, backlog=4096)
    port = server.sockets[0].getsockname()[1]
    sys.stdout.write(msgspec.json.encode({"ready": True, "websocket": f"ws://127.0.0.1:{port}/v1/ws"}).decode() + "\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    gc.disable()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, suppress(KeyboardInterrupt):
        runner.run(run())
