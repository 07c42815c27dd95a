"""A raw WebSocket client: it says exactly what it is told to, and keeps every frame it hears."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from typing import Any, Self
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from tests.scenarios.events import stamp
from tests.scenarios.harness import Gateway, Json, person

PROTOCOL = "notices.v1.json"
PATIENCE = 8.0
"""Seconds within which a frame that must come has come."""

_numbers = itertools.count(1)


class Ended(Exception):
    """The connection closed with `code` while a frame was awaited."""

    def __init__(self, code: int) -> None:
        super().__init__(f"closed with {code}")
        self.code = code


class Peer:
    """One connection. `heard` is everything that came; pings are answered unless `answers_pings` is False."""

    def __init__(self, connection: ClientConnection, participant: str) -> None:
        self.connection = connection
        self.participant = participant
        self.answers_pings = True
        self.heard: list[Json] = []
        self.states: dict[str, Json] = {}
        self._unread: list[Json] = []

    async def send(self, kind: str, **fields: Any) -> None:
        """One frame. Raises `Ended`."""
        await self.write(json.dumps({"type": kind, **fields}))

    async def write(self, payload: str | bytes) -> None:
        """One message, whatever it holds: text, or binary from bytes. Raises `Ended`."""
        try:
            await self.connection.send(payload)
        except ConnectionClosed as closed:
            raise Ended(closed.rcvd.code if closed.rcvd else 1006) from None

    async def hear(self, kind: str, *, within: float = PATIENCE, **fields: Any) -> Json:
        """The first frame not yet taken that is of this kind and has these fields. Raises `Ended`."""

        def fits(frame: Json) -> bool:
            return frame["type"] == kind and all(frame.get(name) == fields[name] for name in fields)

        for frame in self._unread:
            if fits(frame):
                self._unread.remove(frame)
                return frame
        async with asyncio.timeout(within):
            while True:
                frame = await self._receive()
                if fits(frame):
                    return frame
                self._unread.append(frame)

    async def next(self) -> Json:
        """The next frame of any kind. Raises `Ended`."""
        return self._unread.pop(0) if self._unread else await self._receive()

    async def _receive(self) -> Json:
        try:
            frame: Json = json.loads(await self.connection.recv())
        except ConnectionClosed as closed:
            raise Ended(closed.rcvd.code if closed.rcvd else 1006) from None
        self.heard.append(frame)
        if frame["type"] == "ping" and self.answers_pings:
            with suppress(Ended):  # what came before the end is still to be read
                await self.send("pong", at=frame["at"])
        return frame

    async def ended(self, within: float = PATIENCE) -> int:
        """The close code, once the gateway has ended this connection."""
        async with asyncio.timeout(within):
            while True:
                try:
                    self._unread.append(await self._receive())
                except Ended as ended:
                    return ended.code

    async def hello(self, token: str, **fields: Any) -> Json:
        """Say who this is and wait for the welcome."""
        await self.send("hello", token=token, **fields)
        return await self.hear("welcome")

    async def join(self, call: str, **fields: Any) -> Json:
        """Join a call and wait for its state; joining again tells that everything before it has been sent."""
        number = f"join-{next(_numbers)}"
        await self.send("join", id=number, call=call, **fields)
        self.states[call] = await self.hear("state", id=number)
        return self.states[call]

    async def leave(self, call: str) -> None:
        """Leave a call and wait until the gateway knows."""
        number = f"leave-{next(_numbers)}"
        await self.send("leave", id=number, call=call)
        await self.hear("left", id=number)

    async def ack(self, notice: Json, level: str = "acknowledged", **fields: Any) -> None:
        """Claim a level and do not wait."""
        digest = {} if level == "received" else {"digest": notice["digest"]}
        await self.send("ack", **{"notice": notice["notice"], "level": level, "at": stamp(), **digest, **fields})

    async def prove(self, notice: Json, level: str = "acknowledged") -> Json:
        """Claim a level and wait for the receipt."""
        await self.ack(notice, level)
        return await self.hear("receipt", notice=notice["notice"], level=level)

    async def observe(self, call: str, state: str, capability: str = "recording") -> None:
        """Report what this client's SDK says."""
        await self.send("observed", call=call, capability=capability, state=state, at=stamp())

    async def say(self, content: str | None, **fields: Any) -> Json:
        """Send a message, or delete one, and wait until it is stored."""
        number = f"message-{next(_numbers)}"
        said: Json = {"deleted": True} if content is None else {"content": content}
        said |= {"thread": "thread-1", "message": "message-1", "version": 1, "sent_at": stamp()}
        await self.send("message", **{**said, "id": number, **fields})
        return await self.hear("stored", id=number)

    def notices(self, **fields: Any) -> list[Json]:
        """Every live notice heard so far that has these fields."""
        return [
            frame
            for frame in self.heard
            if frame["type"] == "notice" and all(frame[name] == fields[name] for name in fields)
        ]

    def told(self) -> list[str]:
        """The ids of every notice seen so far, live or in a state, each once, in order."""
        seen: dict[str, None] = {}
        for frame in self.heard:
            shown = frame["notices"] if frame["type"] == "state" else [frame] if frame["type"] == "notice" else []
            seen |= {each["notice"]: None for each in shown}
        return list(seen)

    async def vanish(self) -> None:
        """Cut the connection without a word."""
        self.connection.transport.abort()
        await self.connection.wait_closed()


@asynccontextmanager
async def listening(*peers: Peer) -> AsyncIterator[None]:
    """Peers that read, and answer pings, while something else goes on."""
    tasks = [asyncio.create_task(peer.ended(within=600)) for peer in peers]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Dial:
    """Opens peers of one gateway and closes them all at the end."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def open(self, participant: str = "", *, receive_buffer: int | None = None, **options: Any) -> Peer:
        """A connection that has not said anything yet."""
        if receive_buffer is not None:
            options["sock"] = small_socket(self.gateway.websocket, receive_buffer)
        return await self._stack.enter_async_context(opened(self.gateway.websocket, participant, **options))

    async def __call__(
        self,
        user: str,
        *calls: str,
        observer: bool = False,
        name: str | None = None,
        lifetime: timedelta = timedelta(hours=1),
        join: bool = True,
        receive_buffer: int | None = None,
        **hello: Any,
    ) -> Peer:
        """A peer of `user` (a raw id, or a user of the European resource) that has joined all its calls."""
        participant = user if ":" in user else person(user)
        peer = await self.open(participant, receive_buffer=receive_buffer)
        token = self.gateway.token(participant, *calls, observer=observer, name=name, lifetime=lifetime)
        await peer.hello(token, **hello)
        for call in calls if join else ():
            await peer.join(call)
        return peer

    async def many(self, users: Sequence[str], *calls: str, **options: Any) -> list[Peer]:
        """A peer for each of these users."""
        return list(await asyncio.gather(*(self(user, *calls, **options) for user in users)))


@asynccontextmanager
async def opened(url: str, participant: str = "", **options: Any) -> AsyncIterator[Peer]:
    """A raw connection to a gateway; `options` are those of the library's `connect`."""
    connection = await connect(
        url,
        subprotocols=[Subprotocol(PROTOCOL)],
        compression=None,
        ping_interval=None,
        close_timeout=0.5,
        proxy=None,
        max_size=None,
        **options,
    )
    try:
        yield Peer(connection, participant)
    finally:
        connection.transport.abort()
        await connection.wait_closed()


def small_socket(url: str, receive_buffer: int) -> socket.socket:
    """A connected socket that takes in little before the other side notices."""
    parts = urlsplit(url)
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    made.connect((parts.hostname, parts.port))
    return made
