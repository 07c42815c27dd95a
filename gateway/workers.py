"""The workers: processes that hold the sockets, each with a link to the region service in this one.

Rules: the address is bound here first, so that it is refused in one place; a worker that ends is replaced, later each
time it does not live long, and meanwhile the gateway is not ready; one that says nothing or takes nothing for long is
killed. A worker needs no file and gets no secret.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from contextlib import suppress
from typing import Final, Self

from gateway.edge.limits import Limits
from gateway.edge.listener import bind, located
from gateway.house import House
from gateway.link.link import connect, pair
from gateway.link.messages import Begin, Believe, Drain
from gateway.link.region_end import RegionEnd
from gateway.log import logger

LOOK: Final = 0.5
"""Seconds between two looks at whether workers live."""
MOST_LOOKS: Final = 30
"""Looks after which a worker that is not heard of, or does not read, is given up."""
SOONEST: Final = 0.1
"""Seconds after which a worker is replaced."""
LATEST: Final = 10.0
"""Seconds after which it is replaced when others before it did not live so long either."""
FAREWELL: Final = 5.0
"""Seconds that workers have for a drain, beyond the clients' grace."""

_LOG: Final = logger("workers")


class _Worker:
    """One life of a worker: its process and the end of its link."""

    def __init__(self, house: House) -> None:
        self._process: Process | None = None
        self.end: Final = RegionEnd(house.hub, house.metrics, self._report)
        self.listening: Final[asyncio.Future[bool]] = asyncio.get_running_loop().create_future()
        """True once it accepts connections, False where it ended before."""
        self.end.ended.add_done_callback(self._give_up)

    async def start(self, begin: Begin) -> None:
        """Start the process and tell it what to do. Raises `OSError`."""
        ours, theirs = pair()
        with theirs:
            await connect(self.end.link, ours)
            command = [sys.executable, "-m", "gateway.worker", str(theirs.fileno())]
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *command, stdin=DEVNULL, stdout=DEVNULL, pass_fds=[theirs.fileno()]
                )
            except BaseException:
                self.end.link.abort()
                raise
        self.end.link.say(begin)

    async def gone(self) -> int | None:
        """Wait until its sessions are lost and the process is no more; its exit status."""
        await self.end.ended
        self.kill()
        return None if self._process is None else await self._process.wait()

    def kill(self) -> None:
        """End the process now, if it lives."""
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.kill()

    def _report(self, _word: object) -> None:
        if not self.listening.done():
            self.listening.set_result(True)

    def _give_up(self, _ended: object) -> None:
        if not self.listening.done():
            self.listening.set_result(False)


class Workers:
    """Implements `gateway.front.Front`."""

    def __init__(self, house: House, keys: bytes, limits: Limits, reserved: socket.socket) -> None:
        self._house: Final = house
        self._keys = keys
        self._limits: Final = limits
        self._reserved: Final = reserved
        self._workers: Final[dict[int, _Worker]] = {}
        self._draining = False

    @classmethod
    async def open(cls, house: House, keys: bytes, limits: Limits) -> Self:
        """Start all workers and wait until each accepts connections. Raises `OSError` where one does not."""
        listen = house.settings.listen
        reserved = await bind(str(listen.address))
        # Only now may others share the port: whoever listens there already would have let itself be shared.
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        workers = cls(house, keys, limits, reserved)
        try:
            for number in range(1, listen.workers + 1):
                await workers._start(number)
            async with asyncio.timeout(MOST_LOOKS * LOOK):
                for number, worker in workers._workers.items():
                    if not await worker.listening:
                        raise OSError(errno.ECONNABORTED, f"worker {number} did not start; see the log")
        except BaseException:
            await workers.close()
            raise
        house.metrics.workers(len(workers._workers))
        return workers

    @property
    def address(self) -> str:
        """Where the workers listen."""
        return located(str(self._house.settings.listen.address), self._reserved)

    def __len__(self) -> int:
        return sum(len(worker.end) for worker in self._workers.values())

    async def run(self) -> None:
        """Replace workers that end and give up those that hang."""
        async with asyncio.TaskGroup() as tasks:
            for number in self._workers:
                tasks.create_task(self._keep(number), name=f"worker {number}")
            while True:
                await asyncio.sleep(LOOK)
                for worker in self._workers.values():
                    if worker.end.look() > MOST_LOOKS:
                        worker.kill()

    def believe(self, keys: bytes) -> None:
        """Believe the tokens of this key set from now on."""
        self._keys = keys
        for worker in self._workers.values():
            worker.end.link.say(Believe(keys))

    async def drain(self, grace: float) -> None:
        """Let all workers send their clients away and end."""
        self._draining = True
        for worker in self._workers.values():
            worker.end.link.say(Drain(grace))
        ends = [worker.end.ended for worker in self._workers.values()]
        await asyncio.wait(ends, timeout=grace + self._limits.close_seconds + FAREWELL)

    async def close(self) -> None:
        """End what is left of them."""
        self._draining = True
        for worker in self._workers.values():
            worker.end.link.abort()
            await worker.gone()
        self._reserved.close()

    async def _start(self, number: int) -> None:
        worker = _Worker(self._house)
        await worker.start(self._begin(number))
        self._workers[number] = worker

    async def _keep(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        delay, since = SOONEST, loop.time()
        trouble = f"worker {number} is not running"
        while True:
            status = await self._workers[number].gone()
            if self._draining:
                return
            if trouble not in self._house.troubles:
                self._house.troubles.append(trouble)
            self._house.metrics.worker_lost()
            self._count()
            _LOG.error("worker lost", worker=number, status=status)
            delay = SOONEST if loop.time() - since > LATEST else min(2 * delay, LATEST)
            await asyncio.sleep(delay)
            since = loop.time()
            try:
                await self._start(number)
            except OSError as error:
                _LOG.error("worker not started", worker=number, reason=error.strerror)
                continue
            if await self._workers[number].listening:
                self._house.troubles.remove(trouble)
                self._count()
                _LOG.info("worker replaced", worker=number)

    def _count(self) -> None:
        running = [each for each in self._workers.values() if each.listening.done() and not each.end.ended.done()]
        self._house.metrics.workers(len(running))

    def _begin(self, number: int) -> Begin:
        house, settings, workers = self._house, self._house.settings, self._house.settings.listen.workers
        return Begin(
            worker=number,
            address=self.address,
            origins=settings.listen.origins,
            placements={name: (each.region, each.organization) for name, each in settings.resources.items()},
            served=frozenset(house.ledgers.regions),
            issuer=settings.clients.issuer,
            audience=settings.clients.audience,
            keys=self._keys,
            ping_seconds=self._limits.ping_seconds,
            sessions=self._limits.sessions,
            connections=self._limits.connections,
            strangers=max(1, self._limits.strangers // workers),
            reconnects_per_second=max(1, self._limits.reconnects_per_second // workers),
            log_level=settings.log.level,
        )
