"""Events over MQTT: CloudEvents from a broker, acknowledged to it only after they are durable.

Rules: MQTT 5, and 3.1.1 where the broker knows no better; QoS 1 and a persistent session; a message is
acknowledged after its commit and only on the connection it came by, for message ids mean nothing on the next;
what cannot be read is recorded as refused and then acknowledged, or it would come back for ever; what storage
cannot take is not acknowledged and the broker keeps it. Nothing here needs retained messages, shared
subscriptions, QoS 2, order, or a broker that is there.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NoReturn, Protocol, Self
from urllib.parse import unquote, urlsplit

import aiomqtt
from paho.mqtt.client import MQTT_CLEAN_START_FIRST_ONLY
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from gateway.core import cloudevents, events
from gateway.core.errors import NotDurable
from gateway.core.events import Event, Refused
from gateway.log import logger

SESSION_SECONDS: Final = 8 * 3600
"""How long the broker keeps our messages while we are away; 8 hours is the most that Azure Event Grid grants."""
PACKET_LIMIT: Final = 8 * 1024 * 1024
"""The largest packet a broker may send us, in bytes, as for events over HTTP; it drops larger ones."""
UNACKNOWLEDGED: Final = 200
"""Messages the broker may have sent us that we have not yet acknowledged."""
BATCH: Final = 100
"""Messages taken into one commit, if that many are waiting."""
FIRST_DELAY: Final = 0.5
LONGEST_DELAY: Final = 30.0
"""Bounds, in seconds, of what the random delay before a new connection is drawn from."""

_KEEPALIVE: Final = 30
_ANSWER_SECONDS: Final = 5.0
_UNSUPPORTED_VERSION: Final = 132
_FAILURE: Final = 0x80
_LOG: Final = logger("mqtt")


class Take(Protocol):
    """The hub's intake: returns when everything is durable, raises `NotDurable` when it cannot be."""

    def __call__(self, taken: Sequence[Event], refused: Sequence[Refused], /) -> Awaitable[object]: ...


@dataclass(frozen=True, slots=True)
class Broker:
    """Where a broker is and how to be let in."""

    host: str
    port: int
    tls: bool
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str) -> Self:
        """The broker at `mqtt://user:password@host:port` (1883), or `mqtts://` (TLS, 8883).

        Raises `ValueError`, which never quotes the URL.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host = port = None
        if host is None or parts.scheme not in ("mqtt", "mqtts") or parts.path.strip("/"):
            raise ValueError("an MQTT URL is mqtt://host:port or mqtts://host:port")
        if parts.query or parts.fragment:
            raise ValueError("an MQTT URL has no query and no fragment")
        tls = parts.scheme == "mqtts"
        return cls(
            host=host,
            port=port or (8883 if tls else 1883),
            tls=tls,
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
        )


class MqttSource:
    """Takes events from a broker for as long as it runs; owned by the loop."""

    def __init__(
        self,
        broker: Broker,
        subscriptions: Sequence[str],
        *,
        client_id: str,
        take: Take,
        topics: Mapping[str, str],
        now: Callable[[], datetime],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`client_id` names the persistent session: the same for one data directory, and for no other.

        `topics` maps Event Grid topics to organisations, `jitter` draws from [0, 1).
        """
        self.connected = False
        self._broker: Final = broker
        self._subscriptions: Final = tuple(subscriptions)
        self._client_id: Final = client_id
        self._take: Final = take
        self._topics: Final = {topic.lower(): owner for topic, owner in topics.items()}
        self._now: Final = now
        self._jitter: Final = jitter
        self._tls: Final = ssl.create_default_context() if broker.tls else None
        self._version = aiomqtt.ProtocolVersion.V5
        self._failed_connections = 0
        self._failed_commits = 0

    async def run(self) -> NoReturn:
        """Take events for ever: whatever ends a connection, another follows after a random delay."""
        while True:
            try:
                await self._connection()
            except NotDurable:
                self._failed_commits += 1
                _LOG.warning("events left with the broker", reason="storage cannot write")
            except (aiomqtt.MqttError, OSError) as error:
                self._failed_connections += 1
                self._reconsider_version(error)
                _LOG.warning("broker not reached, or lost", reason=type(error).__name__)
            finally:
                self.connected = False
            await asyncio.sleep(self.delay())

    def delay(self) -> float:
        """Seconds until the next attempt: full jitter under a bound that doubles with each failure."""
        failures = max(self._failed_connections, self._failed_commits, 1)
        return self._jitter() * min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(failures - 1, 16))

    async def _connection(self) -> NoReturn:
        """One connection, from CONNECT to its end. Its client is never used again: ids die with it."""
        client = self._client()
        async with client:
            for subscription in self._subscriptions:
                granted = await client.subscribe(subscription, qos=1)
                if any(_code(code) >= _FAILURE for code in granted):
                    raise aiomqtt.MqttError("a subscription was refused")
            self.connected = True
            self._failed_connections = 0
            _LOG.info("broker connected", protocol=self._version.name)
            messages = client.messages
            while True:
                batch = [await anext(messages)]
                while len(messages) and len(batch) < BATCH:
                    batch.append(await anext(messages))
                await self._commit(batch)
                for message in batch:
                    acknowledge(client, message)

    def _client(self) -> aiomqtt.Client:
        newest = self._version is aiomqtt.ProtocolVersion.V5
        client = aiomqtt.Client(
            self._broker.host,
            self._broker.port,
            username=self._broker.username,
            password=self._broker.password,
            identifier=self._client_id,
            protocol=self._version,
            clean_session=None if newest else False,
            clean_start=False if newest else MQTT_CLEAN_START_FIRST_ONLY,
            properties=_connect_properties() if newest else None,
            keepalive=_KEEPALIVE,
            timeout=_ANSWER_SECONDS,
            tls_context=self._tls,
        )
        acknowledge_by_hand(client)
        return client

    async def _commit(self, batch: Sequence[aiomqtt.Message]) -> None:
        """Returns when everything in `batch` is durable, as events or as refused."""
        received_at = self._now()
        taken: list[Event] = []
        refused: list[Refused] = []
        for message in batch:
            for item in events.understand(_read(message), topics=self._topics, received_at=received_at, door="mqtt"):
                if isinstance(item, Event):
                    taken.append(item)
                else:
                    refused.append(item)
        await self._take(taken, refused)
        self._failed_commits = 0

    def _reconsider_version(self, error: Exception) -> None:
        if isinstance(error, aiomqtt.MqttCodeError) and _code(error.rc) == _UNSUPPORTED_VERSION:
            older, newest = aiomqtt.ProtocolVersion.V311, aiomqtt.ProtocolVersion.V5
            self._version = older if self._version is newest else newest


def acknowledge_by_hand(client: aiomqtt.Client) -> None:
    """Stop the client from acknowledging what nobody has stored yet. Upstream offers no public way."""
    client._client.manual_ack_set(True)


def acknowledge(client: aiomqtt.Client, message: aiomqtt.Message) -> None:
    """PUBACK for a message that came by this very client; on a dead connection nothing happens."""
    if client._client.is_connected():
        client._client.ack(message.mid, message.qos)


def _connect_properties() -> Properties:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho leaves it untyped
    properties.SessionExpiryInterval = SESSION_SECONDS
    properties.ReceiveMaximum = UNACKNOWLEDGED
    properties.MaximumPacketSize = PACKET_LIMIT
    return properties


def _read(message: aiomqtt.Message) -> cloudevents.Read:
    """The envelopes in a message: binary or structured on MQTT 5, structured on 3.1.1."""
    if message.properties is None:
        return cloudevents.read_mqtt(message.payload, None, None)
    content_type = getattr(message.properties, "ContentType", None)
    return cloudevents.read_mqtt(message.payload, content_type, getattr(message.properties, "UserProperty", []))


def _code(reason: object) -> int:
    """A reason code as a number, from either protocol version."""
    value = getattr(reason, "value", reason)
    return value if isinstance(value, int) else 0
