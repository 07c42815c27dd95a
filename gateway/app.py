"""The application: the house with its doors open, from the first look at the ledger to the last drain.

Rules: nothing is announced as ready before every open call is back; on SIGTERM clients are sent away first, then
what they caused is written, then the regions are given back; signals and tasks are born here.
"""

from __future__ import annotations

import asyncio
import gc
import os
import resource
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
from gateway.core.tokens import Verifier, mint
from gateway.core.types import Role
from gateway.descriptors import LATE, OTHERS, allowed, fit
from gateway.edge.edge import Edge
from gateway.edge.limits import Limits
from gateway.edge.listener import Listener, listen
from gateway.house import House, build, random_id
from gateway.lateness import watch
from gateway.log import logger
from gateway.mqtt import Broker, MqttSource
from gateway.possession import possession
from gateway.settings import Settings

TICK: Final = 0.1
"""Seconds between two looks at what is due in calls."""
TIDY: Final = 600
"""Ticks between two tidyings of calls in memory."""
GRACE: Final = 1.0
"""Seconds that clients have between `goaway` and `bye` in a drain."""
COLLECT: Final = (20_000, 10, 20)
"""How many objects more there are before the collector looks: at the newest, so often at newer ones, at all."""
TOKENS_PER_SESSION: Final = 2
"""Verified tokens remembered for each session that there may be: some come and go, and a refresh brings a second."""
REFRESH_KEYS: Final = 300.0
"""Seconds between two looks at `jwks_url`."""

_ELSEWHERE: Final = frozenset({"unknown_call", "unknown_region", "region_not_served"})
"""What an answer can be only because a region is not open."""

_LOG: Final = logger("app")


async def serve(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT. Raises `ConfigError`, `InUse`, `RegionRefused` or `OSError` if it cannot start."""
    os.umask(0o077)
    _raise_file_limit()
    stopping = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, stopping.set)
    with possession(settings.storage.directory):
        verifier = await _verifier(settings)
        house = build(settings)
        try:
            await house.recover()
            # Before anybody is told that we are ready: a ledger that was put back from an old copy is known by then.
            await house.witnessing.look()
            await _run(house, verifier, stopping)
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


async def _verifier(settings: Settings) -> Verifier:
    believed = await asyncio.to_thread(keys.client_keys, settings)
    clients, capacity = settings.clients, TOKENS_PER_SESSION * settings.listen.max_sessions
    return Verifier(believed, issuer=clients.issuer, audience=clients.audience, capacity=capacity)


async def _run(house: House, verifier: Verifier, stopping: asyncio.Event) -> None:
    settings = house.settings
    edge = Edge(
        house.hub,
        house.residency,
        verifier.verify,
        now=house.now,
        new_id=random_id,
        metrics=house.metrics,
        limits=_limits(settings),
    )
    listener = await listen(edge, str(settings.listen.address), settings.listen.origins)
    try:
        control = ControlServer(application(_desk(house)), *settings.control.address)
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(control.serve(), name="control")
            background = [tasks.create_task(work, name=name) for name, work in _background(house, verifier).items()]
            _settle()
            _say_bound(edge.limits, settings.listen.max_sessions)
            _announce(settings, listener, control)
            await stopping.wait()
            _LOG.info("draining", sessions=len(edge))
            house.troubles.append("draining")
            house.answers.stop_waiting()
            ready.remove(settings.storage.directory)
            await edge.drain(GRACE)
            control.stop()
            for task in background:
                task.cancel()
            await serving
    finally:
        ready.remove(settings.storage.directory)
        await listener.close()
    _LOG.info("stopped")


def _settle() -> None:
    """Spare the collector what is there for good: each full collection would walk it, for a tenth of a second.

    What comes later is walked seldom: it is what open calls hold, which lives as long as they do.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT)


def _announce(settings: Settings, listener: Listener, control: ControlServer) -> None:
    host, port = control.address
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    line = ready.write(
        settings.storage.directory,
        websocket=f"ws://{listener.address}/v1/ws",
        control=f"http://{shown}",
    )
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _background(house: House, verifier: Verifier) -> dict[str, Coroutine[Any, Any, None]]:
    settings = house.settings
    works: dict[str, Coroutine[Any, Any, None]] = {
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
        works["keys"] = _refresh_keys(settings, verifier)
    return works


async def _keep_time(house: House) -> None:
    ticks = 0
    while True:
        await asyncio.sleep(TICK)
        house.interpreter.tick()
        ticks += 1
        if ticks % TIDY == 0:
            house.interpreter.tidy()


async def _refresh_keys(settings: Settings, verifier: Verifier) -> None:
    """Follow the issuer's key rotation; while its address cannot be read, the keys at hand stay believed."""
    while True:
        await asyncio.sleep(REFRESH_KEYS)
        try:
            verifier.replace_keys(await asyncio.to_thread(keys.client_keys, settings))
        except (ConfigError, OSError) as error:
            _LOG.warning("keys not refreshed", reason=type(error).__name__)


def _limits(settings: Settings) -> Limits:
    """What was configured, as far as there are descriptors for it."""
    ping, wanted = max(1, round(settings.listen.ping_seconds)), settings.listen.max_sessions
    return fit(Limits(ping_seconds=ping, pong_seconds=min(10, ping), sessions=wanted), allowed())


def _say_bound(limits: Limits, wanted: int) -> None:
    """Where there are fewer descriptors than sessions are allowed, it is said when the doors open.

    No warning: what is allowed unless somebody says so is more than most machines grant.
    """
    if limits.sessions < wanted:
        _LOG.info(
            "fewer sessions than configured: `ulimit -n` is too low",
            sessions=limits.sessions,
            max_sessions=wanted,
            descriptors=allowed(),
            needed=OTHERS + LATE + wanted,
        )


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


def _raise_file_limit() -> None:
    """As many sockets as the system allows this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
