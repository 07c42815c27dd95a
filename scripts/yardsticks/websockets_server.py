#!/usr/bin/env python3
"""The yardstick: the bench's workload on websockets' own asyncio server, written as its documentation would have it.

Rules: the library at its best settings, uvloop, one handler per connection, `broadcast` for notices; a receipt goes
out after a group commit by a thread of its own, as in the gateway. No tokens, calls, states or people: whatever the
gateway costs beyond this is what it does beyond this. `GET /start` tells everyone; one JSON line says where it listens.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
import queue
import sys
import tempfile
import threading
from contextlib import suppress
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import msgspec
import uvloop
from websockets.asyncio.connection import broadcast
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

Waiter = tuple[bytes, asyncio.Future[int]]


class Frame(msgspec.Struct):
    """What a client says, as far as the yardstick looks."""

    type: str
    id: str = ""
    call: str = ""
    notice: str = ""
    level: str = ""


def write_forever(waiting: queue.SimpleQueue[Waiter], loop: asyncio.AbstractEventLoop) -> None:
    """Append what waits to a file, sync, and tell who waited: one sync for all that came meanwhile."""
    numbers = itertools.count()
    with tempfile.TemporaryFile() as file:
        while True:
            group = [waiting.get()]
            with suppress(queue.Empty):
                while True:
                    group.append(waiting.get_nowait())
            file.write(b"".join(line + b"\n" for line, _ in group))
            file.flush()
            os.fsync(file.fileno())
            loop.call_soon_threadsafe(confirm, [(future, next(numbers)) for _, future in group])


def confirm(group: list[tuple[asyncio.Future[int], int]]) -> None:
    """Hand each waiter its entry's number."""
    for future, number in group:
        if not future.done():
            future.set_result(number)


class Yardstick:
    """All connections, and what they are told."""

    def __init__(self) -> None:
        self._sockets: set[ServerConnection] = set()
        self._waiting = queue.SimpleQueue[Waiter]()
        self._decoder = msgspec.json.Decoder(Frame)
        self._revision = 0
        loop = asyncio.get_running_loop()
        threading.Thread(target=write_forever, args=(self._waiting, loop), name="writer", daemon=True).start()

    async def follow(self, socket: ServerConnection) -> None:
        """Serve one connection."""
        with suppress(ConnectionClosed):
            async for data in socket:
                await self._take(socket, self._decoder.decode(data))
        self._sockets.discard(socket)

    async def _take(self, socket: ServerConnection, frame: Frame) -> None:
        at = datetime.now(UTC)
        if frame.type == "hello":
            fields = {"session": "s", "participant": "p", "region": "r", "server_time": at, "ping_seconds": 15}
            await self._say(socket, "welcome", **fields, expires_at=at)
        elif frame.type == "join":
            self._sockets.add(socket)
            await self._say(socket, "state", id=frame.id, call=frame.call, revision=0, capabilities={}, notices=[])
        elif frame.type == "ack":
            line = msgspec.json.encode({"kind": "level", "notice": frame.notice, "level": frame.level, "at": at})
            durable: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            self._waiting.put((line, durable))
            entry = await durable
            await self._say(socket, "receipt", notice=frame.notice, level=frame.level, entry=entry, at=at)

    async def _say(self, socket: ServerConnection, kind: str, **fields: Any) -> None:
        await socket.send(msgspec.json.encode({"type": kind, **fields}), text=True)

    def start(self, socket: ServerConnection, request: Request) -> Response | None:
        """Answer `GET /start` by telling everyone; anything else is an upgrade."""
        if request.path != "/start":
            return None
        self._revision += 1
        at = datetime.now(UTC)
        text = {
            "locale": "en",
            "title": "Recording has started.",
            "body": "This call is recorded.",
            "link": "https://x",
        }
        notice: dict[str, object] = {
            "type": "notice",
            "call": "load-0",
            "revision": self._revision,
            "notice": f"n_{self._revision:026}",
            "capability": "recording",
            "change": "started",
            "episode": "e_aaaaaaaaaaaaaaaaaaaaaaaaaa",
            "occurred_at": at,
            "issued_at": at,
            "text": text,
            "digest": "sha256:" + hashlib.sha256(str(self._revision).encode()).hexdigest(),
            "require": "acknowledged",
            "deadline_at": at,
        }
        broadcast(self._sockets, msgspec.json.encode(notice), text=True)
        return socket.respond(HTTPStatus.OK, "told\n")


async def run() -> None:
    """Serve until killed."""
    yardstick = Yardstick()
    server = serve(
        yardstick.follow,
        "127.0.0.1",
        0,
        process_request=yardstick.start,
        subprotocols=[Subprotocol("notices.v1.json")],
        compression=None,
        ping_interval=15,
        max_size=32 * 1024,
        backlog=4096,
    )
    async with server as running:
        port = next(iter(running.sockets)).getsockname()[1]
        line = {"ready": True, "websocket": f"ws://127.0.0.1:{port}/v1/ws", "control": f"http://127.0.0.1:{port}"}
        sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, suppress(KeyboardInterrupt):
        runner.run(run())
