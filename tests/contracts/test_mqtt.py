"""MQTT against a real mosquitto: no event is lost, and none is acknowledged before it is durable."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import inspect
import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiomqtt
import paho.mqtt.client
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from gateway import mqtt
from gateway.core.errors import NotDurable
from gateway.core.events import Event, Refused
from gateway.mqtt import Broker, MqttSource

MOSQUITTO = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
NOW = datetime(2026, 11, 23, 14, tzinfo=UTC)
V5, V311 = aiomqtt.ProtocolVersion.V5, aiomqtt.ProtocolVersion.V311

needs_mosquitto = pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed")


class Mosquitto:
    """One broker of our own on a loopback port, ended by its process id."""

    def __init__(self, directory: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._config = directory / "mosquitto.conf"
        self._saved = directory / "mosquitto.db"
        self._config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n"
            f"persistence true\npersistence_location {directory}/\nuser {getpass.getuser()}\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert MOSQUITTO is not None
        self._process = subprocess.Popen(
            [MOSQUITTO, "-c", str(self._config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 0.2):
                return
            os.sched_yield()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.05)
                raise RuntimeError("mosquitto ended")
        raise RuntimeError("mosquitto does not listen")

    async def save(self) -> None:
        """Have it write its sessions and messages to disk, as a broker that keeps QoS 1 through a crash does."""
        assert self._process is not None
        self._saved.unlink(missing_ok=True)
        os.kill(self._process.pid, signal.SIGUSR1)
        async with asyncio.timeout(10):
            while not self._saved.exists():
                await asyncio.sleep(0.01)

    def kill(self, sign: int = signal.SIGKILL) -> None:
        if self._process is not None:
            os.kill(self._process.pid, sign)
            self._process.wait(10)
            self._process = None


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    broker = Mosquitto(tmp_path)
    broker.start()
    yield broker
    broker.kill()


@dataclass
class Room:
    """Stands where the intake will: it notes what it is given, and can be unable to write."""

    taken: list[Event] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    durable: bool = True
    attempts: int = 0
    hold: asyncio.Event | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self, events: Sequence[Event], refused: Sequence[Refused], /) -> None:
        self.attempts += 1
        self.changed.set()
        if self.hold is not None:
            await self.hold.wait()
        if not self.durable:
            raise NotDurable("disk full")
        self.taken += events
        self.refused += refused
        self.changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    @property
    def digests(self) -> set[bytes]:
        return {event.digest for event in self.taken}


def source(
    port: int, room: Room, client_id: str = "gateway-1", jitter: Callable[[], float] = lambda: 0.1
) -> MqttSource:
    return MqttSource(
        Broker.parse(f"mqtt://127.0.0.1:{port}"),
        ["notices/events/#"],
        client_id=client_id,
        take=room.take,
        topics={},
        now=lambda: NOW,
        jitter=jitter,
    )


@contextlib.asynccontextmanager
async def running(subject: MqttSource) -> AsyncIterator[asyncio.Task[Any]]:
    """The source as a task; what it raises of its own fails the test."""
    task = asyncio.create_task(subject.run(), name="mqtt")
    try:
        async with asyncio.timeout(20):
            while not subject.connected:
                assert not task.done(), task.exception()
                await asyncio.sleep(0.01)
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def event(number: int = 1, **changes: object) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": str(number),
        "source": "/contoso",
        "type": "notices.capability.observed",
        "data": {"call": "c", "capability": "recording", "state": "active"},
        **changes,
    }


def encoded(number: int = 1, **changes: object) -> bytes:
    return json.dumps(event(number, **changes)).encode()


async def publish(port: int, *payloads: bytes, properties: Properties | None = None, version: Any = V5) -> None:
    async with aiomqtt.Client("127.0.0.1", port, protocol=version) as client:
        for payload in payloads:
            await client.publish("notices/events/x", payload, qos=1, properties=properties)


def attributes(content_type: str | None, **user: str) -> Properties:
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho leaves it untyped
    if content_type is not None:
        properties.ContentType = content_type
    if user:
        properties.UserProperty = list(user.items())
    return properties


# What the module leans on in aiomqtt and paho


def test_the_way_to_acknowledge_by_hand_is_still_there() -> None:
    """aiomqtt has no public way (its issue 345): if its insides move, this fails before an event is lost."""
    assert "_client" in inspect.getsource(aiomqtt.Client.__init__)
    paho_client = paho.mqtt.client.Client
    assert list(inspect.signature(paho_client.ack).parameters) == ["self", "mid", "qos"]
    assert list(inspect.signature(paho_client.manual_ack_set).parameters) == ["self", "on"]
    assert {"mid", "qos", "payload", "properties"} <= set(inspect.signature(aiomqtt.Message).parameters)


@needs_mosquitto
async def test_a_message_not_acknowledged_by_hand_comes_again(mosquitto: Mosquitto) -> None:
    """The behaviour itself: unacknowledged comes back on the next connection, acknowledged does not."""
    properties = mqtt._connect_properties()

    async def receive(acknowledged: bool) -> bytes:
        client = aiomqtt.Client(
            "127.0.0.1", mosquitto.port, protocol=V5, identifier="x", clean_start=False, properties=properties
        )
        mqtt.acknowledge_by_hand(client)
        async with client:
            await client.subscribe("notices/events/#", qos=1)
            if not published:
                await publish(mosquitto.port, b"first", b"second")
                published.append(True)
            message = await asyncio.wait_for(anext(client.messages), 10)
            if acknowledged:
                mqtt.acknowledge(client, message)
            assert isinstance(message.payload, bytes)
            return message.payload

    published: list[bool] = []
    assert await receive(acknowledged=False) == b"first"
    assert await receive(acknowledged=True) == b"first"
    assert await receive(acknowledged=True) == b"second"


# What comes in


@needs_mosquitto
async def test_events_come_in_every_mode(mosquitto: Mosquitto) -> None:
    """MQTT binding §3: binary and structured on MQTT 5, structured from a 3.1.1 publisher."""
    room = Room()
    async with running(source(mosquitto.port, room)):
        await publish(mosquitto.port, encoded(1), properties=attributes("application/cloudevents+json; charset=utf-8"))
        named = {name: str(event(2)[name]) for name in ("specversion", "id", "source", "type")}
        data = json.dumps(event(2)["data"]).encode()
        await publish(mosquitto.port, data, properties=attributes("application/json", **named))
        await publish(mosquitto.port, encoded(3), version=V311)
        await room.until(lambda: len(room.taken) == 3)
    assert len(room.digests) == 3
    assert room.refused == []
    assert {type(taken.happening).__name__ for taken in room.taken} == {"CapabilityClaimed"}
    assert {taken.occurred_at for taken in room.taken} == {NOW}


@needs_mosquitto
@pytest.mark.parametrize("poison", [b"", b"\xff\xfe", b"hello", b'{"id": NaN}', b"[" * 20_000, b"x" * 2_000_000])
async def test_what_cannot_be_read_is_recorded_once_and_does_not_come_again(
    mosquitto: Mosquitto, poison: bytes
) -> None:
    """F20: a poisonous message is refused and acknowledged, or it would block the session for ever."""
    room = Room()
    async with running(source(mosquitto.port, room)):
        await publish(mosquitto.port, poison, encoded(1))
        await room.until(lambda: len(room.taken) == 1)
    assert [refused.door for refused in room.refused] == ["mqtt"]
    again = Room()
    async with running(source(mosquitto.port, again)):
        await publish(mosquitto.port, encoded(2))
        await again.until(lambda: len(again.taken) == 1)
    assert again.refused == []


@needs_mosquitto
async def test_nothing_is_acknowledged_before_it_is_durable(mosquitto: Mosquitto) -> None:
    """Peer bug 16: killed between receipt and commit, the gateway gets the event again."""
    room = Room(hold=asyncio.Event())
    async with running(source(mosquitto.port, room)):
        await publish(mosquitto.port, encoded(1))
        await room.until(lambda: room.attempts == 1)
    assert room.taken == []
    again = Room()
    async with running(source(mosquitto.port, again)):
        await again.until(lambda: len(again.taken) == 1)
    # acknowledged now: a third session gets nothing but what is new
    third = Room()
    async with running(source(mosquitto.port, third)):
        await publish(mosquitto.port, encoded(2))
        await third.until(lambda: len(third.taken) == 1)
    assert third.digests.isdisjoint(again.digests)


@needs_mosquitto
async def test_what_storage_cannot_take_stays_with_the_broker(mosquitto: Mosquitto) -> None:
    """P10: no PUBACK while proof cannot be written; when it can, the event is there."""
    room = Room(durable=False)
    async with running(source(mosquitto.port, room)) as task:
        await publish(mosquitto.port, encoded(1), encoded(2))
        await room.until(lambda: room.attempts >= 3)
        assert room.taken == []
        room.durable = True
        await room.until(lambda: len(room.digests) == 2)
        assert not task.done()


@needs_mosquitto
async def test_events_sent_while_the_gateway_is_away_are_there_when_it_is_back(mosquitto: Mosquitto) -> None:
    """The session is persistent: its client id names it."""
    async with running(source(mosquitto.port, Room())):
        pass
    await publish(mosquitto.port, *(encoded(number) for number in range(50)))
    room = Room()
    async with running(source(mosquitto.port, room)):
        await room.until(lambda: len(room.digests) == 50)


@needs_mosquitto
async def test_a_killed_broker_costs_no_event(mosquitto: Mosquitto) -> None:
    """F12, peer bug 8: the broker dies with -9 between publish and commit; what comes twice is known by its digest."""
    room = Room(hold=asyncio.Event())
    subject = source(mosquitto.port, room)
    async with running(subject) as task:
        await publish(mosquitto.port, *(encoded(number) for number in range(10)))
        await room.until(lambda: room.attempts >= 1)
        await mosquitto.save()
        mosquitto.kill()
        assert room.hold is not None
        room.hold.set()
        async with asyncio.timeout(10):
            while subject.connected:
                await asyncio.sleep(0.01)
        assert len(room.taken) == 10
        mosquitto.start()
        # What was acknowledged on the dead connection does not count on the next: all of it comes again, once.
        await room.until(lambda: len(room.taken) == 20)
        assert len(room.digests) == 10
        await publish(mosquitto.port, encoded(10))
        await room.until(lambda: len(room.digests) == 11)
        assert len(room.taken) == 21
        assert not task.done()


@needs_mosquitto
async def test_a_broker_that_is_not_there_is_waited_for(tmp_path: Path) -> None:
    """The gateway runs without its broker and takes events as soon as there is one."""
    broker, room = Mosquitto(tmp_path), Room()
    subject = source(broker.port, room)
    waiting = asyncio.create_task(subject.run(), name="mqtt")
    await asyncio.sleep(0.3)
    assert not waiting.done()
    waiting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting
    broker.start()
    try:
        async with running(subject):
            await publish(broker.port, encoded(1))
            await room.until(lambda: len(room.taken) == 1)
    finally:
        broker.kill()


# Older brokers


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


@contextlib.asynccontextmanager
async def older_broker(port: int) -> AsyncIterator[tuple[int, list[int]]]:
    """A door to the broker that speaks 3.1.1 only: CONNECT of MQTT 5 is answered as 3.1.1 §3.1.2.2 demands."""
    levels: list[int] = []
    connections: list[asyncio.Task[Any]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.append(task)
        first = await reader.read(1024)
        levels.append(first[first.index(b"MQTT") + 4])
        if levels[-1] != 4:
            writer.write(b"\x20\x02\x00\x01")
            writer.close()
            await writer.wait_closed()
            return
        upstream, downstream = await asyncio.open_connection("127.0.0.1", port)
        downstream.write(first)
        async with asyncio.TaskGroup() as pipes:
            pipes.create_task(_pipe(reader, downstream))
            pipes.create_task(_pipe(upstream, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], levels
        await asyncio.wait(connections, timeout=10)


@needs_mosquitto
async def test_a_broker_that_knows_only_3_1_1_is_served_with_it(mosquitto: Mosquitto) -> None:
    """MQTT 5 is tried first; the persistent session and the late acknowledgement hold on 3.1.1 too."""
    async with older_broker(mosquitto.port) as (port, levels):
        held = Room(hold=asyncio.Event())
        async with running(source(port, held)):
            await publish(mosquitto.port, encoded(1))
            await held.until(lambda: held.attempts == 1)
        room = Room()
        async with running(source(port, room)):
            await room.until(lambda: len(room.taken) == 1)
    assert levels == [5, 4, 5, 4]


# Addresses and delays


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mqtt://broker", Broker("broker", 1883, tls=False)),
        ("mqtts://broker", Broker("broker", 8883, tls=True)),
        ("mqtt://user:p%40ss%3A@broker:1884/", Broker("broker", 1884, False, "user", "p@ss:")),
        ("mqtts://user@[::1]:443", Broker("::1", 443, True, "user")),
    ],
)
def test_the_address_of_a_broker(url: str, expected: Broker) -> None:
    """User and password are percent-decoded; the ports have their defaults."""
    assert Broker.parse(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "broker",
        "http://broker",
        "mqtt://",
        "mqtt://b:port-secret",
        "mqtt://b:99999",
        "mqtt://b/topic",
        "mqtt://b?x=1",
        "mqtt://[::1",
    ],
)
def test_what_is_no_address_of_a_broker(url: str) -> None:
    """The refusal quotes nothing: the URL may hold a password."""
    with pytest.raises(ValueError, match="an MQTT URL") as refused:
        Broker.parse(url)
    assert "secret" not in str(refused.value)


def test_a_password_is_never_shown() -> None:
    """Neither in logs nor in errors."""
    assert "hush" not in repr(Broker.parse("mqtt://user:hush@broker"))


async def test_delays_double_up_to_a_bound_and_are_fully_jittered() -> None:
    """A broker that restarts must not meet all its clients at once."""
    drawn = 1.0
    subject = source(1, Room(), jitter=lambda: drawn)
    delays = []
    for failures in range(60):
        subject._failed_connections = failures
        delays.append(subject.delay())
    assert delays[:4] == [0.5, 0.5, 1.0, 2.0]
    assert max(delays) == mqtt.LONGEST_DELAY
    drawn = 0.0
    assert subject.delay() == 0.0
