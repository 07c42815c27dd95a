"""The application: the house with its doors open, from the first look at the ledger to the last drain.

Rules: nothing is announced as ready before every open call is back; on SIGTERM clients are sent away first, then
what they caused is written, then the regions are given back; signals and tasks are born here.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, Final

from gateway import keys, ready
from gateway.config import ConfigError
from gateway.control.desk import Desk
from gateway.control.server import ControlServer, application
from gateway.core.errors import Refusal
from gateway.core.tokens import mint
from gateway.core.types import Role
from gateway.front import Front, open_front, say_bound
from gateway.house import House, build
from gateway.lateness import watch
from gateway.log import logger
from gateway.mqtt import Broker, MqttSource
from gateway.possession import possession
from gateway.process import raise_file_limit, settle
from gateway.settings import Settings

TICK: Final = 0.1
"""Seconds between two looks at what is due in calls."""
TIDY: Final = 600
"""Ticks between two tidyings of calls in memory."""
GRACE: Final = 1.0
"""Seconds that clients have between `goaway` and `bye` in a drain."""
REFRESH_KEYS: Final = 300.0
"""Seconds between two looks at `jwks_url`."""

_ELSEWHERE: Final = frozenset({"unknown_call", "unknown_region", "region_not_served"})
"""What an answer can be only because a region is not open."""

_LOG: Final = logger("app")


async def serve(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT. Raises `ConfigError`, `InUse`, `RegionRefused` or `OSError` if it cannot start."""
    os.umask(0o077)
    raise_file_limit()
    stopping = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, stopping.set)
    with possession(settings.storage.directory):
        believed = await asyncio.to_thread(keys.client_key_set, settings)
        house = build(settings)
        try:
            await house.recover()
            # Before anybody is told that we are ready: a ledger that was put back from an old copy is known by then.
            await house.witnessing.look()
            await _run(house, believed, stopping)
        finally:
            await _close(house)


@asynccontextmanager
async def offline(settings: Settings) -> AsyncIterator[House]:
    """The house without doors, for commands that run while no gateway does; it holds the data directory.

    A command that asks for what a region may have that could not be opened raises why: `RegionRefused`. Otherwise as
    `serve`.
    """
    os.umask(0o077)
    with possession(settings.storage.directory):
        house = build(settings)
        try:
            await house.recover()
            yield house
        except Refusal as refusal:
            if refusal.code in _ELSEWHERE:
                house.demand(house.refused)
            raise
        finally:
            await _close(house)


async def _close(house: House) -> None:
    unwritten = await house.ledgers.close()
    if any(unwritten.values()):
        _LOG.error("not everything was written", submissions=unwritten)


async def _run(house: House, believed: bytes, stopping: asyncio.Event) -> None:
    settings = house.settings
    front = await open_front(house, believed)
    try:
        control = ControlServer(application(_desk(house)), *settings.control.address)
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(control.serve(), name="control")
            background = [tasks.create_task(work, name=name) for name, work in _background(house, front).items()]
            settle()
            say_bound(settings)
            _announce(settings, front, control)
            await stopping.wait()
            _LOG.info("draining", sessions=len(front))
            house.troubles.append("draining")
            house.answers.stop_waiting()
            ready.remove(settings.storage.directory)
            await front.drain(GRACE)
            control.stop()
            for task in background:
                task.cancel()
            await serving
    finally:
        ready.remove(settings.storage.directory)
        await front.close()
    _LOG.info("stopped")


def _announce(settings: Settings, front: Front, control: ControlServer) -> None:
    host, port = control.address
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    line = ready.write(
        settings.storage.directory,
        websocket=f"ws://{front.address}/v1/ws",
        control=f"http://{shown}",
    )
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _background(house: House, front: Front) -> dict[str, Coroutine[Any, Any, None]]:
    settings = house.settings
    works: dict[str, Coroutine[Any, Any, None]] = {
        "front": front.run(),
        "time": _keep_time(house),
        "lateness": watch(house.metrics.event_loop_lag),
        "sweeper": house.sweeper.run(settings.retention.sweep_interval),
        "witnessing": house.witnessing.run(),
    }
    if settings.ledger.timestamps_url is not None:
        works["timestamping"] = house.timestamping.run(settings.ledger.timestamp_interval)
    if settings.mqtt is not None:
        source = MqttSource(
            Broker.parse(settings.mqtt.url),
            settings.mqtt.topics,
            client_id=keys.mqtt_client_id(settings),
            take=house.intake.take,
            topics=_topics(settings),
            now=house.now,
        )
        works["mqtt"] = source.run()
    if settings.clients.jwks_url is not None:
        works["keys"] = _refresh_keys(settings, front)
    return works


async def _keep_time(house: House) -> None:
    ticks = 0
    while True:
        await asyncio.sleep(TICK)
        house.interpreter.tick()
        ticks += 1
        if ticks % TIDY == 0:
            house.interpreter.tidy()


async def _refresh_keys(settings: Settings, front: Front) -> None:
    """Follow the issuer's key rotation; while its address cannot be read, the keys at hand stay believed."""
    while True:
        await asyncio.sleep(REFRESH_KEYS)
        try:
            front.believe(await asyncio.to_thread(keys.client_key_set, settings))
        except (ConfigError, OSError) as error:
            _LOG.warning("keys not refreshed", reason=type(error).__name__)


def _topics(settings: Settings) -> dict[str, str]:
    return {each.topic.lower(): each.organization for each in settings.resources.values() if each.topic}


def _desk(house: House) -> Desk:
    settings = house.settings

    def issue_token(
        *, participant: str, calls: tuple[str, ...], lifetime: timedelta, role: Role, name: str | None
    ) -> tuple[str, datetime]:
        house.porter.place(participant, "token")
        now = house.now()
        try:
            key = keys.signing_key(settings)
        except ConfigError as error:
            raise Refusal("no_signing_key", "this gateway has no key to sign tokens with", status=501) from error
        token = mint(
            key,
            issuer=settings.clients.issuer,
            audience=settings.clients.audience,
            participant=participant,
            calls=calls,
            now=now,
            expires_at=now + lifetime,
            role=role,
            name=name,
        )
        return token, now + lifetime

    return Desk(
        hub=house.answers,
        retention=house.retention,
        proving=house.proving,
        make_pack=house.evidence.pack,
        keep_cosignatures=house.witnessing.keep,
        take=house.intake.take,
        token=keys.control_token(settings),
        webhook_secret=keys.webhook_secret(settings),
        topics=_topics(settings),
        now=house.now,
        issue_token=issue_token,
        metrics=house.metrics,
    )
