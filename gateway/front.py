"""The front: what clients connect to, in this process or in workers.

Rules: whichever it is, the house behind it does the same; it is there before anybody is told that the gateway is ready.
"""

from __future__ import annotations

import asyncio
from math import ceil
from typing import Final, Protocol

from gateway.core.tokens import Keys, Verifier
from gateway.descriptors import LATE, OTHERS, allowed, fit
from gateway.edge.edge import Edge
from gateway.edge.limits import Limits
from gateway.edge.listener import Listener, listen
from gateway.house import House
from gateway.log import logger
from gateway.process import random_id
from gateway.settings import Settings
from gateway.workers import Workers

_LOG: Final = logger("front")


class Front(Protocol):
    """All sockets of the gateway; `address` is `host:port` as bound, its length the open sessions."""

    @property
    def address(self) -> str: ...
    def __len__(self) -> int: ...
    async def run(self) -> None: ...
    def believe(self, keys: bytes) -> None: ...
    async def drain(self, grace: float) -> None: ...
    async def close(self) -> None: ...


class Own:
    """The sockets of this process."""

    def __init__(self, edge: Edge, listener: Listener, verifier: Verifier) -> None:
        self._edge = edge
        self._listener = listener
        self._verifier = verifier

    @property
    def address(self) -> str:
        """Where it listens."""
        return self._listener.address

    def __len__(self) -> int:
        return len(self._edge)

    async def run(self) -> None:
        """Nothing has to be kept up."""
        await asyncio.Event().wait()

    def believe(self, keys: bytes) -> None:
        """Believe the tokens of this key set from now on. Raises `KeysRefused`."""
        self._verifier.replace_keys(Keys.from_jwks(keys))

    async def drain(self, grace: float) -> None:
        """Send every client away."""
        await self._edge.drain(grace)

    async def close(self) -> None:
        """Cut what is left."""
        await self._listener.close()


async def open_front(house: House, keys: bytes) -> Front:
    """Listen, as the settings say, for clients with tokens of this key set.

    Raises `OSError` where that cannot be, and `ConfigError` where there is no room for anybody.
    """
    settings = house.settings
    limits = _limits(settings)
    return await (Workers.open(house, keys, limits) if settings.listen.workers else _open_own(house, keys, limits))


async def _open_own(house: House, keys: bytes, limits: Limits) -> Front:
    listen_to, clients = house.settings.listen, house.settings.clients
    verifier = Verifier(Keys.from_jwks(keys), issuer=clients.issuer, audience=clients.audience, capacity=limits.tokens)
    edge = Edge(
        house.hub,
        house.residency,
        verifier.verify,
        now=house.now,
        new_id=random_id,
        metrics=house.metrics,
        limits=limits,
    )
    return Own(edge, await listen(edge, str(listen_to.address), listen_to.origins), verifier)


def _limits(settings: Settings) -> Limits:
    """What was configured, as far as there are descriptors for it in one process."""
    return fit(Limits.of(settings.listen.ping_seconds, settings.listen.max_sessions), allowed())


def say_bound(settings: Settings) -> None:
    """Where there are fewer descriptors than sessions are allowed, it is said when the doors open.

    No warning: what is allowed unless somebody says so is more than most machines grant.
    """
    wanted, processes = settings.listen.max_sessions, max(1, settings.listen.workers)
    room = _limits(settings).sessions * processes
    if room < wanted:
        _LOG.info(
            "fewer sessions than configured: `ulimit -n` is too low",
            sessions=room,
            max_sessions=wanted,
            descriptors=allowed(),
            needed=OTHERS + LATE + ceil(wanted / processes),
        )
