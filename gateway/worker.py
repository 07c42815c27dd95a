"""`python -m gateway.worker DESCRIPTOR`: a process that holds sockets, started by a region service (`gateway.workers`).

Rules: everything it knows it is told over the link it inherits; it ends when it is told to, or with the link; signals
are the region service's to hear, which drains all its workers together.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from dataclasses import replace
from typing import Final

from gateway import log
from gateway.clock import SteadyClock
from gateway.core.residency import Placement, Residency
from gateway.core.tokens import Keys, Verifier
from gateway.edge.edge import Edge
from gateway.edge.limits import Limits
from gateway.edge.listener import listen
from gateway.lateness import watch
from gateway.link.edge_end import EdgeEnd
from gateway.link.link import connect
from gateway.link.messages import Begin, Believe, Drain, Listening
from gateway.link.tally import Tally
from gateway.loop import fastest_loop
from gateway.process import raise_file_limit, random_id, settle

COUNT: Final = 0.5
"""Seconds between two reports of what was counted; they say that the worker lives, too."""

_LOG: Final = log.logger("worker")


class Worker:
    """One worker, from the first message to the last."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._end: Final = EdgeEnd(self._instruct)
        self._end.link.ended = self._over
        self._begin: Final[asyncio.Future[Begin]] = loop.create_future()
        self._drain: Final[asyncio.Future[float | None]] = loop.create_future()
        """How long clients have; None where the region service is gone."""
        self._verifier: Verifier | None = None

    async def run(self, link: socket.socket) -> None:
        """Serve until told otherwise. Raises `OSError` where the address cannot be had."""
        await connect(self._end.link, link)
        begin = await self._begin
        log.configure(begin.log_level, worker=begin.worker)
        limits = replace(
            Limits.of(begin.ping_seconds, begin.sessions),
            connections=begin.connections,
            strangers=begin.strangers,
            reconnects_per_second=begin.reconnects_per_second,
        )
        keys = Keys.from_jwks(begin.keys)
        self._verifier = Verifier(keys, issuer=begin.issuer, audience=begin.audience, capacity=limits.tokens)
        tally = Tally()
        placements = {name: Placement(*each) for name, each in begin.placements.items()}
        edge = Edge(
            self._end,
            Residency(placements, begin.served),
            self._verifier.verify,
            now=SteadyClock(),
            new_id=random_id,
            metrics=tally,
            limits=limits,
        )
        listener = await listen(edge, begin.address, begin.origins, shared=True)
        try:
            async with asyncio.TaskGroup() as tasks:
                background = [
                    tasks.create_task(watch(tally.event_loop_lag), name="lateness"),
                    tasks.create_task(self._count(tally), name="count"),
                ]
                settle()
                self._end.link.say(Listening())
                grace = await self._drain
                if grace is None:
                    _LOG.error("region service gone", sessions=len(edge))
                else:
                    await edge.drain(grace)
                for task in background:
                    task.cancel()
        finally:
            await listener.close()
        self._end.link.say(tally.take())
        await self._end.link.close()

    def _instruct(self, word: Begin | Believe | Drain) -> None:
        match word:
            case Begin():
                self._begin.set_result(word)
            case Believe():
                if self._verifier is not None:
                    self._verifier.replace_keys(Keys.from_jwks(word.keys))
            case Drain() if not self._drain.done():
                self._drain.set_result(word.grace)

    def _over(self) -> None:
        if not self._begin.done():
            self._begin.set_exception(ConnectionError("the region service is gone"))
        if not self._drain.done():
            self._drain.set_result(None)

    async def _count(self, tally: Tally) -> None:
        while True:
            await asyncio.sleep(COUNT)
            self._end.link.say(tally.take())


def main() -> None:
    """Run on the link whose descriptor is the only argument."""
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, signal.SIG_IGN)
    raise_file_limit()
    with asyncio.Runner(loop_factory=fastest_loop()) as runner:
        try:
            runner.run(_work(socket.socket(fileno=int(sys.argv[1]))))
        except OSError as error:
            _LOG.error("worker not started", reason=error.strerror or str(error))
            sys.exit(2)


async def _work(link: socket.socket) -> None:
    await Worker().run(link)


if __name__ == "__main__":
    main()
