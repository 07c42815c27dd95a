"""A real MQTT broker (mosquitto) on loopback, to be killed and started again, and a source that publishes to it."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.scenarios.events import Event

TOPIC = "notices/events/tests"

_CONFIGURATION = """\
listener {port} 127.0.0.1
allow_anonymous true
persistence true
persistence_location {directory}/
autosave_on_changes true
autosave_interval 1
user root
"""


def program() -> str | None:
    """Where mosquitto is, if it is installed."""
    return shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/sbin")


class Mosquitto:
    """A broker that writes every change to disk, so that what it confirmed survives its own kill."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._configuration = directory / "mosquitto.conf"
        self._configuration.write_text(_CONFIGURATION.format(port=self.port, directory=directory))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its address."""
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> Self:
        """Start it and wait until it takes connections."""
        found = program()
        assert found is not None
        command = [found, "-c", str(self._configuration)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), 0.2).close()
            except OSError:
                time.sleep(0.02)
            else:
                return self
        raise TimeoutError("the broker does not answer")

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(10)
            self._process = None

    async def publish(self, *events: Event, version: int = 5, binary: bool = False) -> None:
        """Publish at QoS 1, returning when the broker has confirmed every one; raises `aiomqtt.MqttError`."""
        protocol = aiomqtt.ProtocolVersion.V5 if version == 5 else aiomqtt.ProtocolVersion.V311
        async with aiomqtt.Client("127.0.0.1", self.port, protocol=protocol, timeout=5) as client:
            for event in events:
                body, properties = _binary(event) if binary else (event, None)
                await client.publish(TOPIC, json.dumps(body), qos=1, properties=properties)

    async def publish_until_taken(self, events: Sequence[Event]) -> None:
        """Publish as a source that does not give up: each again, under its own id, until the broker confirmed it."""
        for event in events:
            while True:
                try:
                    await self.publish(event)
                except aiomqtt.MqttError:
                    await asyncio.sleep(0.05)
                else:
                    break


def _binary(event: Event) -> tuple[Event, Properties]:
    """CloudEvents in MQTT 5's binary mode: attributes as user properties."""
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho leaves it untyped
    properties.ContentType = "application/json"
    properties.UserProperty = [(name, value) for name, value in event.items() if name != "data"]
    return event["data"], properties
