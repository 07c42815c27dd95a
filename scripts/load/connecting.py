"""How sessions get their connections: all of them at first, whoever was dropped or lost again, everyone after a storm.

Rules: so many at a time, the next as soon as one has its state; whoever is refused tries again after a moment, until
nobody has come in for a minute; each failure is counted. Owned by the loop.
"""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple, Self
from urllib.parse import urlsplit

from .sessions import Session
from .tally import Tally

_PATIENCE: Final = 60.0
"""Seconds one connection may take until its state is there, and all of them until the first one is."""
_PAUSE: Final = 1.0
"""Seconds until whoever was refused or lost comes back, more or less half of it."""
_SOURCES: Final = 4
"""Addresses that a process connects from."""
_IP_BIND_ADDRESS_NO_PORT: Final = 24
"""Of ip(7); Python has no name for it before 3.12."""
_SMALL_BUFFER: Final = 4096
"""Bytes the kernel keeps for a slow session: little, so that the server notices."""


class Place(NamedTuple):
    """Where to connect to, and from which addresses in turn; from any where there are none."""

    host: str
    port: int
    sources: tuple[str, ...]

    @classmethod
    def of(cls, url: str, number: int) -> Self:
        """The place in a `ws://` URL, for the process with this number.

        Within this machine a process has addresses of its own: one address has 28,232 ports, and the kernel looks for
        a free one for longer and longer once half of them are taken.
        """
        parts = urlsplit(url)
        host = parts.hostname or ""
        sources = (f"127.0.{number + 1}.{each + 1}" for each in range(_SOURCES)) if host.startswith("127.") else ()
        return cls(host, parts.port or 80, tuple(sources))


class Connecting:
    """Opens connections for sessions."""

    def __init__(self, place: Place, at_once: int, tally: Tally, tasks: asyncio.TaskGroup) -> None:
        self._place, self._at_once, self._tally, self._tasks = place, at_once, tally, tasks
        self._returning: asyncio.Queue[Session] = asyncio.Queue()
        self._lasting = [
            tasks.create_task(self._return(), name=f"returning {number}") for number in range(min(64, at_once))
        ]
        self._opened, self._entered_at = 0, 0.0
        self._churning: asyncio.Task[None] | None = None

    async def open(self, waiting: deque[Session], rate: float) -> None:
        """Connect everyone who is `waiting`, `rate` a second (0: as fast as it goes)."""
        began_at, number = time.perf_counter(), 0
        self._entered_at = began_at

        async def run() -> None:
            nonlocal number
            while waiting:
                session = waiting.popleft()
                number += 1
                if rate and (early := began_at + number / rate - time.perf_counter()) > 0:
                    await asyncio.sleep(early)
                await self._insist(session)

        async with asyncio.TaskGroup() as tasks:
            for place in range(min(self._at_once, len(waiting))):
                tasks.create_task(run(), name=f"opening {place}")

    def lost(self, session: Session) -> None:
        """A connection ended that nobody here has ended."""
        self._later(_moment(), session)

    def churn(self, sessions: Sequence[Session], rate: float, back: float) -> None:
        """Drop `rate` of `sessions` a second from now on, each back within `back` seconds; 0 ends it."""
        if self._churning is not None:
            self._churning.cancel()
            self._churning = None
        if rate:
            self._churning = self._tasks.create_task(self._drop(sessions, rate, back), name="churn")

    def stop(self) -> None:
        """Open nothing any more."""
        for each in (*self._lasting, *([self._churning] if self._churning else [])):
            each.cancel()

    def _later(self, seconds: float, session: Session) -> None:
        asyncio.get_running_loop().call_later(seconds, self._returning.put_nowait, session)

    async def _drop(self, sessions: Sequence[Session], rate: float, back: float) -> None:
        due = time.perf_counter()
        while True:
            due += random.expovariate(rate)
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            session = random.choice(sessions)  # noqa: S311 - no secret
            if session.entered:
                session.drop()
                self._tally.counts["dropped"] += 1
                self._later(random.uniform(0.0, back), session)  # noqa: S311 - no secret

    async def _return(self) -> None:
        while True:
            session = await self._returning.get()
            if await self._enter(session):
                self._tally.counts["returned"] += 1
            else:
                self._later(_moment(), session)

    async def _insist(self, session: Session) -> None:
        while True:
            if await self._enter(session) or time.perf_counter() - self._entered_at > _PATIENCE:
                return
            await asyncio.sleep(_moment())

    async def _enter(self, session: Session) -> bool:
        """One connection, until its state is there; False where it failed."""
        loop = asyncio.get_running_loop()
        session.start()
        try:
            async with asyncio.timeout(_PATIENCE):
                if self._place.sources or session.slow:
                    await loop.create_connection(lambda: session, sock=await self._socket(session))
                else:
                    await loop.create_connection(lambda: session, self._place.host, self._place.port)
                await session.joined
        except OSError as error:  # refused, cut, or not in time
            self._tally.counts["refused"] += 1
            self._tally.fault(f"connecting: {error.strerror or error or 'not in time'}")
            session.drop()
            return False
        self._entered_at = time.perf_counter()
        return True

    async def _socket(self, session: Session) -> socket.socket:
        """A socket that is connected."""
        made = socket.socket()
        made.setblocking(False)
        try:
            if session.slow:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BUFFER)
            if self._place.sources:
                # Else bind would choose the port, with no regard to where the connection goes.
                made.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
                self._opened += 1
                made.bind((self._place.sources[self._opened % _SOURCES], 0))
            await asyncio.get_running_loop().sock_connect(made, (self._place.host, self._place.port))
        except BaseException:
            made.close()
            raise
        return made


def _moment() -> float:
    return _PAUSE * random.uniform(0.5, 1.5)  # noqa: S311 - no secret
