"""The sessions of a load that are real: clients of `gateway.client`, as apps use it.

Rules: they count like all others, and cost far more; few are enough to see that what is measured is what apps get.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from gateway.client import Client, ClientError, Notice, connect
from gateway.core.types import rfc3339

from .frames import Heard
from .tally import Call, Tally


class Clients:
    """All real clients of one process."""

    def __init__(self, url: str, who: Sequence[tuple[str, Call]], tally: Tally, tasks: asyncio.TaskGroup) -> None:
        self._url, self._who, self._tally, self._tasks = url, who, tally, tasks
        self._clients: list[Client] = []
        self._following: list[asyncio.Task[None]] = []
        self._proved = 0

    def __len__(self) -> int:
        """How many there are."""
        return len(self._who)

    @property
    def connected(self) -> int:
        """How many have entered."""
        return len(self._clients)

    @property
    def behind(self) -> int:
        """How many events were not proved."""
        return sum(call.events for _, call in self._who) - self._proved

    async def enter(self) -> None:
        """All of them, connected and in their calls."""
        for number, (token, call) in enumerate(self._who):
            began_at = time.perf_counter()
            try:
                client = await connect(self._url, token=token).__aenter__()
                await client.join(call.name)
            except (ClientError, OSError) as error:
                self._tally.fault(f"client: {error}")
                continue
            self._tally.connects.append(time.perf_counter() - began_at)
            self._clients.append(client)
            self._following.append(self._tasks.create_task(self._follow(client, call), name=f"client {number}"))

    async def leave(self) -> None:
        """All go."""
        for client in self._clients:
            await client.__aexit__(None, None, None)
        for each in self._following:
            each.cancel()

    async def _follow(self, client: Client, call: Call) -> None:
        try:
            async for each in client.notices(call.name):
                await self._confirm(each, call)
        except ClientError as error:
            if self._clients:
                self._tally.fault(f"client: {error}")

    async def _confirm(self, given: Notice, call: Call) -> None:
        occurred_at = rfc3339(given.occurred_at) if given.occurred_at else ""
        heard = Heard("notice", notice=given.id, digest=given.digest, occurred_at=occurred_at)
        notice = self._tally.learn(call, heard)
        self._tally.told(notice)
        say = {"received": given.received, "displayed": given.displayed, "acknowledged": given.acknowledge}
        for place, proof in enumerate(notice.proofs):
            if place >= len(notice.at_once):
                await asyncio.sleep(self._tally.manner.think)
            acked_at = time.perf_counter()
            await say[self._tally.manner.levels[place]]()
            now = time.perf_counter()
            proof.confirmed.append(now - acked_at)
            self._tally.fresh[notice.id] = notice
            if proof.last:
                self._proved += 1
                notice.proved.append(now)
                self._tally.settle()
