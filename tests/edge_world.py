"""A listener with its edge on a real socket, a clock to turn, and a recorder where the hub would be."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.typing import Subprotocol

from gateway.core import wire
from gateway.core.residency import Placement, Residency
from gateway.core.session import Session
from gateway.core.tokens import Keys, SigningKey, Verifier, mint
from gateway.core.types import CallKey, Role
from gateway.edge.edge import Edge
from gateway.edge.hub import End, Shown
from gateway.edge.limits import Limits
from gateway.edge.listener import Listener, listen
from gateway.edge.wheel import TICK_SECONDS
from gateway.hub.roll import Roll
from gateway.metrics import Metrics

NOW = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)
RESOURCE = "11111111-1111-1111-1111-111111111111"
FOREIGN = "22222222-2222-2222-2222-222222222222"
ORIGIN = "https://app.example"
SIGNER = SigningKey.from_seed(b"\x07" * 32)
ACK = {"type": "ack", "notice": "n_1", "level": "received", "at": "2026-11-23T14:00:00.123Z"}


@dataclass
class Recorder:
    """Stands where the hub stands: notes what it is told and answers joins, acks and refreshes at once.

    Who says hello with a checkpoint waits in `waiting` until a test answers.
    """

    roll: Roll
    metrics: Metrics
    heard: list[tuple[str, Session | None, Any]] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    checkpoint: str | None = None
    waiting: list[tuple[str, str, Shown]] = field(default_factory=list)

    def enter(self, session: Session, end: End) -> None:
        self.roll.enter(session, end)
        self.metrics.sessions(len(self.roll))

    def renewed(self, session: Session) -> None:
        """A session reads its new claims from itself."""

    def join(self, session: Session, frame: wire.Join) -> None:
        self.heard.append(("join", session, frame))
        self.sessions.append(session)
        session.enter(CallKey(session.organization, frame.call), frame.call)
        self.show(session, frame.id)

    def show(self, session: Session, join: str | None) -> None:
        for call in session.joined.values():
            session.send(wire.state(id=join, call=call, revision=1, capabilities={}, notices=[], more=0))

    def leave(self, session: Session, frame: wire.Leave) -> None:
        self.heard.append(("leave", session, frame))
        session.send(wire.left(id=frame.id))

    def acknowledge(self, session: Session, frame: wire.Ack) -> None:
        self.heard.append(("acknowledge", session, frame))
        if frame.notice == "n_fault":
            raise ZeroDivisionError
        session.send(wire.receipt(notice=frame.notice, level=frame.level, entry=1, at=frame.at))

    def observed(self, session: Session, frame: wire.Observed) -> None:
        self.heard.append(("observed", session, frame))

    def message(self, session: Session, frame: wire.Message) -> None:
        self.heard.append(("message", session, frame))

    def greet(self, session: Session, seen: str | None, then: Shown) -> None:
        if seen is None:
            then(self.checkpoint, None)
        else:
            self.waiting.append((session.region, seen, then))

    def turned_away(self, reason: str) -> None:
        self.heard.append(("turned_away", None, reason))

    def lost(self, session: Session, reason: str) -> None:
        self.heard.append(("lost", session, reason))
        self.roll.strike(session)
        self.metrics.sessions(len(self.roll))

    def refresh_state(self, session: Session) -> None:
        self.heard.append(("refresh_state", session, None))
        self.show(session, None)

    def losses(self) -> list[str]:
        """The reasons sessions were lost for, in order."""
        return [what for name, _, what in self.heard if name == "lost"]


class World:
    """Everything a connection meets. `pass_time` turns the clocks and the wheel; nothing waits for real time."""

    def __init__(self, limits: Limits, roll: Roll) -> None:
        self.time = NOW
        self.metrics = Metrics()
        self.hub = Recorder(roll, self.metrics)
        self.count = 0
        verifier = Verifier(Keys.from_jwks(SIGNER.public_jwks()), issuer="i", audience="a")
        residency = Residency({RESOURCE: Placement("europe", "contoso")}, frozenset({"europe"}))
        self.edge = Edge(
            self.hub,
            residency,
            verifier.verify,
            now=lambda: self.time,
            new_id=self.new_id,
            metrics=self.metrics,
            limits=limits,
            monotonic=lambda: (self.time - NOW).total_seconds(),
        )
        self.listener: Listener

    @classmethod
    @asynccontextmanager
    async def open(
        cls, origins: Sequence[str] = (ORIGIN,), roll: Roll | None = None, **limits: Any
    ) -> AsyncIterator[Self]:
        world = cls(Limits(**limits), Roll() if roll is None else roll)
        world.listener = await listen(world.edge, "127.0.0.1:0", origins)
        try:
            yield world
        finally:
            await world.listener.close()

    def new_id(self, prefix: str) -> str:
        self.count += 1
        return f"{prefix}_{self.count}"

    async def pass_time(self, seconds: float) -> None:
        """Let so much time pass, tick by tick, and let everyone react."""
        for _ in range(round(seconds / TICK_SECONDS)):
            self.time += timedelta(seconds=TICK_SECONDS)
            self.edge.tick()
            await asyncio.sleep(0)

    def token(self, user: str = "ada", **claims: Any) -> str:
        """A good token for an hour, or one with other claims."""
        given: dict[str, Any] = {
            "issuer": "i",
            "audience": "a",
            "participant": f"8:acs:{RESOURCE}_{user}",
            "calls": ["c"],
            "now": self.time,
            "expires_at": self.time + timedelta(hours=1),
            "role": Role.PARTICIPANT,
        }
        return mint(SIGNER, **{**given, **claims})

    @property
    def url(self) -> str:
        return f"ws://{self.listener.address}/v1/ws"

    @asynccontextmanager
    async def socket(self, **headers: str) -> AsyncIterator[ClientConnection]:
        """An upgraded connection that has not said hello."""
        async with connect(
            self.url,
            subprotocols=[Subprotocol(wire.SUBPROTOCOL)],
            additional_headers=headers,
            proxy=None,
            close_timeout=1,
            ping_interval=None,
            max_queue=10_000,
        ) as socket:
            yield socket

    @asynccontextmanager
    async def client(self, user: str = "ada", *, join: bool = True, **hello: Any) -> AsyncIterator[ClientConnection]:
        """A client that said hello and joined call `c`."""
        async with self.socket() as socket:
            await say(socket, type="hello", token=self.token(user), **hello)
            await expect(socket, "welcome")
            if join:
                await say(socket, type="join", id="1", call="c")
                await expect(socket, "state")
            yield socket

    @asynccontextmanager
    async def raw(self, *, upgrade: bool = True) -> AsyncIterator[Raw]:
        """Bytes only; upgraded or not."""
        host, _, port = self.listener.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        raw = Raw(reader, writer)
        try:
            if upgrade:
                writer.write(request())
                assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
            yield raw
        finally:
            writer.transport.abort()


def request(path: str = "/v1/ws", *, method: str = "GET", drop: Sequence[str] = (), **headers: str) -> bytes:
    """An upgrade, with headers changed (underscores for hyphens) or dropped."""
    fields = {
        "Host": "gateway.example",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": base64.b64encode(b"0123456789abcdef").decode(),
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Protocol": wire.SUBPROTOCOL,
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    lines = [f"{name}: {value}" for name, value in fields.items() if name not in drop]
    return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode()


class Raw:
    """A client that writes whatever bytes it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def frame(self, opcode: Opcode, payload: bytes, *, fin: bool = True) -> None:
        self.writer.write(Frame(opcode, payload, fin).serialize(mask=True))

    def text(self, **fields: Any) -> None:
        self.frame(Opcode.TEXT, json.dumps(fields).encode())

    async def next(self) -> tuple[int, bytes]:
        """The next frame's opcode and payload."""
        first, length = await self.reader.readexactly(2)
        if length == 126:
            length = int.from_bytes(await self.reader.readexactly(2), "big")
        return first & 0x0F, await self.reader.readexactly(length)

    async def end(self) -> tuple[int, int]:
        """Read to the end; the codes of `bye` and of the close frame, 0 where there was none."""
        said = closed = 0
        async with asyncio.timeout(5):
            while True:
                try:
                    opcode, payload = await self.next()
                except (asyncio.IncompleteReadError, ConnectionError):
                    return said, closed
                if opcode == Opcode.CLOSE:
                    closed = int.from_bytes(payload[:2], "big")
                elif json.loads(payload)["type"] == "bye":
                    said = json.loads(payload)["code"]


async def say(socket: ClientConnection, **fields: Any) -> None:
    """Send one frame."""
    await socket.send(json.dumps(fields))


async def hear(socket: ClientConnection) -> dict[str, Any]:
    """The next frame, whatever it is."""
    async with asyncio.timeout(5):
        frame: dict[str, Any] = json.loads(await socket.recv())
        return frame


async def expect(socket: ClientConnection, kind: str) -> dict[str, Any]:
    """The next frame, which must be of this type."""
    frame = await hear(socket)
    assert frame["type"] == kind, frame
    return frame


async def farewell(socket: ClientConnection) -> tuple[int, str]:
    """What the `bye` said, code and retry; the close frame must carry the same code."""
    said: dict[str, Any] = {"code": 0, "retry": ""}
    with suppress(ConnectionClosed):
        while True:
            frame = await hear(socket)
            if frame["type"] == "bye":
                said = frame
    assert socket.close_code == said["code"], (socket.close_code, said)
    return said["code"], said["retry"]


async def still_served(socket: ClientConnection) -> None:
    """The client on this socket gets its receipt as if nothing had happened."""
    await say(socket, **ACK)
    while (await hear(socket))["type"] != "receipt":
        pass
