"""The load on a yardstick that does not speak our protocol: bare sockets, told by node's `ws` or by a broker.

Rules: one `asyncio.Protocol` per session and nothing else, as in the load on the gateway; the frame they are told and
the ack they answer are the gateway's own, byte for byte of the same length; a broker's clients answer PUBACK. Each
step waits for a line on standard input, and every result is one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, cast
from urllib.parse import urlsplit

import httpx
import uvloop
from websockets.frames import Frame, Opcode

from benching import mqtt
from benching.frames import ack_payload, notice_payload
from gateway.core.framing import measure
from gateway.core.wire import SUBPROTOCOL

AT_ONCE: Final = 100
"""Connections opened at the same time."""
PATIENCE: Final = 60.0
TOPIC: Final = "calls/load-0"
REQUEST: Final = (
    "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Protocol: {protocol}\r\n\r\n"
)


@dataclass
class Round:
    """When each session was told, in seconds after the telling began; of the loop that runs them."""

    awaited: int
    began_at: float = 0.0
    frames: list[float] = field(default_factory=list)
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def told(self) -> None:
        """One more session has its notice."""
        self.frames.append(time.perf_counter() - self.began_at)
        if len(self.frames) == self.awaited:
            self.done.set()


@dataclass
class Shared:
    """What all sessions share: the round that is on, the ack they answer, and what went wrong."""

    now: Round
    ack: bytes
    pubacks: dict[bytes, bytes] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def failed(self, why: str) -> None:
        """Something went wrong that no round will make good."""
        self.failures.append(why)
        self.now.done.set()


def masked(opcode: Opcode, payload: bytes) -> bytes:
    """`payload` as one frame of a client."""
    return Frame(opcode, payload).serialize(mask=True)


class Session(asyncio.Protocol):
    """One connection to node's `ws`: it is told and acknowledges."""

    def __init__(self, request: bytes, shared: Shared) -> None:
        self._request, self._shared = request, shared
        self._open = False
        self._buffer = b""
        self.joined: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.to = cast(asyncio.Transport, transport)
        self.to.write(self._request)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.joined.done():
            self.joined.set_exception(ConnectionError("lost before it was there"))

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data
        start = 0
        if not self._open:
            end = data.find(b"\r\n\r\n")
            if end >= 0:
                if not data.startswith(b"HTTP/1.1 101"):
                    self._shared.failed(data[:80].decode("latin-1"))
                self._open = True
                self.opened()
                start = end + 4
        while self._open:
            begin, end = measure(data, start)
            if begin == 0 or end > len(data):
                break
            if data[start] == 0x88:
                self._shared.failed("a close frame")
            self.take(data[begin:end])
            start = end
        self._buffer = data[start:]

    def opened(self) -> None:
        """The connection is a WebSocket now."""
        self.joined.set_result(None)

    def take(self, payload: bytes) -> None:
        """A message has come."""
        self._shared.now.told()
        self.to.write(self._shared.ack)


class Subscriber(Session):
    """One connection to a broker: it subscribes, is told and answers PUBACK."""

    def __init__(self, request: bytes, shared: Shared, name: str) -> None:
        super().__init__(request, shared)
        self._name = name
        self._stream = b""

    def opened(self) -> None:
        self.say(mqtt.connect(self._name))

    def take(self, payload: bytes) -> None:
        self._stream += payload
        done = 0
        for packet, end in mqtt.packets(self._stream):
            self.heard(packet)
            done = end
        self._stream = self._stream[done:]

    def heard(self, packet: mqtt.Packet) -> None:
        """A packet has come."""
        if packet.kind == mqtt.PUBLISH:
            number = mqtt.identifier(packet.body)
            frame = self._shared.pubacks.get(number)
            if frame is None:
                frame = self._shared.pubacks[number] = masked(Opcode.BINARY, mqtt.puback(number))
            self._shared.now.told()
            self.to.write(frame)
        elif packet.kind == mqtt.CONNACK and packet.body[1:2] == b"\x00":
            self.say(mqtt.subscribe(TOPIC))
        elif packet.kind == mqtt.SUBACK and packet.body[2:3] == b"\x01":
            self.joined.set_result(None)
        else:
            self._shared.failed(f"a packet of kind {packet.kind:#x}: {packet.body[:8].hex()}")

    def say(self, packet: bytes) -> None:
        """Send one packet in a message of its own."""
        self.to.write(masked(Opcode.BINARY, packet))


class Publisher(Subscriber):
    """The one connection that publishes; `confirmed` is set when the broker has taken what it said."""

    confirmed: asyncio.Future[None] | None = None

    def heard(self, packet: mqtt.Packet) -> None:
        if packet.kind == mqtt.CONNACK and packet.body[1:2] == b"\x00":
            self.joined.set_result(None)
        elif packet.kind == mqtt.PUBACK and self.confirmed is not None:
            self.confirmed.set_result(None)
        else:
            super().heard(packet)


async def open_all(url: str, sessions: Sequence[Callable[[], Session]]) -> list[Session]:
    """All of them, each connected and where it belongs."""
    loop, address, slots = asyncio.get_running_loop(), urlsplit(url), asyncio.Semaphore(AT_ONCE)

    async def open_one(make: Callable[[], Session]) -> Session:
        async with slots:
            _, session = await loop.create_connection(make, address.hostname or "", address.port or 80)
            await session.joined
        return session

    async with asyncio.TaskGroup() as tasks:
        opening = [tasks.create_task(open_one(make), name=f"open {number}") for number, make in enumerate(sessions)]
    return [each.result() for each in opening]


async def run(kind: str, url: str, count: int) -> None:
    """Connect everyone, then a round for each line, until there is none."""
    loop, address, frame = asyncio.get_running_loop(), urlsplit(url), notice_payload(1)
    shared = Shared(Round(count), masked(Opcode.TEXT, ack_payload(frame)))
    protocol = SUBPROTOCOL if kind == "text" else "mqtt"
    request = REQUEST.format(path=address.path or "/", host=address.netloc, protocol=protocol).encode()
    say({"ready": "tokens"})
    await loop.run_in_executor(None, sys.stdin.readline)
    if kind == "text":
        await open_all(url, [partial(Session, request, shared)] * count)
        publisher = None
    else:
        await open_all(url, [partial(Subscriber, request, shared, f"s{number}") for number in range(count)])
        (publisher,) = await open_all(url, [partial(Publisher, request, shared, "publisher")])
    say({"ready": "sessions"})
    start = url.replace("ws://", "http://").removesuffix(address.path)
    async with httpx.AsyncClient(base_url=start, trust_env=False, timeout=PATIENCE) as http:
        while await loop.run_in_executor(None, sys.stdin.readline):
            shared.now = Round(count, began_at=time.perf_counter())
            async with asyncio.timeout(PATIENCE):
                if isinstance(publisher, Publisher):
                    await publish(publisher, frame, shared.now)
                else:
                    (await http.post("/start", content=frame)).raise_for_status()
                    await shared.now.done.wait()
                    (await http.get("/acked")).raise_for_status()
            if shared.failures or len(shared.now.frames) != count:
                raise SystemExit(f"peers: {shared.failures[:1]}, {len(shared.now.frames)} told")
            say({"last_frame": max(shared.now.frames)})


async def publish(publisher: Publisher, frame: bytes, now: Round) -> None:
    """Publish the frame; back when the broker has it and every subscriber too."""
    publisher.confirmed = asyncio.get_running_loop().create_future()
    publisher.say(mqtt.publish(TOPIC, 1, frame))
    await publisher.confirmed
    await now.done.wait()


def say(result: dict[str, object]) -> None:
    """One line of JSON, at once."""
    sys.stdout.write(json.dumps(result) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="benching.peers", description=str(__doc__).partition("\n")[0])
    parser.add_argument("kind", choices=("text", "mqtt"))
    parser.add_argument("url")
    parser.add_argument("--sessions", type=int, default=1000)
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(options.kind, options.url, options.sessions))


if __name__ == "__main__":
    main()
