#!/usr/bin/env python3
"""The load's sessions: bare sockets that join a call, acknowledge every notice and cost the machine little.

Rules: one `asyncio.Protocol` per session and nothing else; the library does the handshake, `gateway.core.framing`
finds the frames; times are taken when bytes arrive.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import cast

import msgspec
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import CONNECTING
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from gateway.core.framing import measure
from gateway.core.wire import SUBPROTOCOL


class Heard(msgspec.Struct):
    """A frame of the gateway, as far as the load looks."""

    type: str
    notice: str = ""
    digest: str = ""
    level: str = ""
    at: str = ""
    code: int | str = 0


@dataclass
class Round:
    """One event per call: when each session had its notice and its receipt, in seconds after the event was sent, and
    how many seconds each receipt came after its ack.
    """

    sessions: int
    began_at: float = 0.0
    frames: list[float] = field(default_factory=list)
    receipts: list[float] = field(default_factory=list)
    confirmed: list[float] = field(default_factory=list)
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def told(self) -> None:
        """A session has its notice."""
        self.frames.append(time.perf_counter() - self.began_at)

    def proved(self, acked_at: float) -> None:
        """A session has its receipt for the level that counts, and acknowledged then."""
        now = time.perf_counter()
        self.receipts.append(now - self.began_at)
        self.confirmed.append(now - acked_at)
        if len(self.receipts) == self.sessions:
            self.done.set()


@dataclass
class Load:
    """What all sessions share: the round that is on, and the frames they all send alike."""

    level: str
    now: Round
    acks: dict[str, bytes] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def ack(self, heard: Heard) -> bytes:
        """The masked ack of a notice; the same bytes for all sessions, so made once."""
        if heard.notice not in self.acks:
            frame = {"type": "ack", "notice": heard.notice, "level": self.level, "digest": heard.digest}
            self.acks[heard.notice] = framed({**frame, "at": datetime.now(UTC).isoformat(timespec="milliseconds")})
        return self.acks[heard.notice]

    def failed(self, why: str) -> None:
        """Something went wrong that no round will make good."""
        self.failures.append(why)
        self.now.done.set()


def framed(frame: dict[str, object]) -> bytes:
    """`frame` as one masked WebSocket text frame."""
    return Frame(Opcode.TEXT, msgspec.json.encode(frame)).serialize(mask=True)


class Bare(asyncio.Protocol):
    """One session as a bare socket: joins, acknowledges, answers pings, and costs little."""

    __slots__ = ("_acked_at", "_buffer", "_call", "_decoder", "_load", "_opening", "_to", "_token", "joined")

    def __init__(self, url: str, token: str, call: str, load: Load, decoder: msgspec.json.Decoder[Heard]) -> None:
        self._token, self._call, self._load, self._decoder = token, call, load, decoder
        self._opening: ClientProtocol | None = ClientProtocol(parse_uri(url), subprotocols=[Subprotocol(SUBPROTOCOL)])
        self._buffer = b""
        self._acked_at = 0.0
        self.joined = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._to = cast(asyncio.Transport, transport)
        assert self._opening is not None
        self._opening.send_request(self._opening.connect())
        self._to.writelines(self._opening.data_to_send())

    def data_received(self, data: bytes) -> None:
        if self._opening is not None:
            self._open(self._opening, data)
            return
        data = self._buffer + data
        start = 0
        while True:
            begin, end = measure(data, start)
            if begin == 0 or end > len(data):
                break
            if data[start] == 0x81:
                self._take(self._decoder.decode(data[begin:end]))
            start = end
        self._buffer = data[start:]

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.joined.done():
            self.joined.set_exception(ConnectionError("lost before the call was joined"))

    def close(self) -> None:
        """Go, as a participant who leaves."""
        self._to.write(framed({"type": "bye"}))
        self._to.close()

    def _open(self, opening: ClientProtocol, data: bytes) -> None:
        opening.receive_data(data)
        if opening.handshake_exc is not None:
            self.joined.set_exception(opening.handshake_exc)
            self._to.abort()
        elif opening.state is not CONNECTING:
            self._opening = None
            self._to.write(framed({"type": "hello", "token": self._token, "client": "load/1.0"}))
            self._to.write(framed({"type": "join", "id": "1", "call": self._call}))

    def _take(self, heard: Heard) -> None:
        if heard.type == "notice":
            self._load.now.told()
            self._acked_at = time.perf_counter()
            self._to.write(self._load.ack(heard))
        elif heard.type == "receipt":
            if heard.level == self._load.level:
                self._load.now.proved(self._acked_at)
        elif heard.type == "state":
            if not self.joined.done():
                self.joined.set_result(None)
        elif heard.type == "ping":
            self._to.write(framed({"type": "pong", "at": heard.at}))
        elif heard.type in ("error", "bye"):
            self._load.failed(f"{heard.type} {heard.code}")
