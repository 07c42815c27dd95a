"""What is watched while a load runs, once a second: the crew, the server's processes, the server's metrics.

Rules: one row a second, moments in seconds since the load began; what the server does not tell is 0; asking costs the
server a little, and can be left out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import httpx

from .crew import Crew
from .metrics import Reading, quantile, read, since
from .server import Server


@dataclass(frozen=True)
class Row:
    """One second. Rates are of this second; `load_cpu` is the busiest process's share of a core, `load_waited` how
    much of the second it could have run and had no core, and `load_lag` how late its loop was at most.
    """

    at: float
    phase: str
    connected: int
    told: int
    heard: float
    proved: float
    behind: int
    server_cpu: float
    resident: int
    lag_p99: float
    lag_max: float
    queue: int
    load_cpu: float
    load_waited: float
    load_lag: float


class Watching:
    """Keeps the rows; its `run` is a task of the load."""

    def __init__(
        self, crew: Crew, server: Server, control: str, told: Callable[[], int], show: Callable[[Row], None]
    ) -> None:
        self.rows: list[Row] = []
        self.phase = ""
        self._crew, self._server, self._told, self._show = crew, server, told, show
        self._http = httpx.AsyncClient(base_url=control, trust_env=False, timeout=10.0) if control else None
        self._began_at = time.perf_counter()
        self._before = self._look()
        self._reading = Reading({}, 0)

    async def reading(self) -> Reading:
        """The server's metrics now; empty where it has none or was not to be asked."""
        if self._http is None:
            return Reading({}, 0)
        try:
            answer = await self._http.get("/metrics")
        except httpx.HTTPError:
            return self._reading
        return read(answer.text) if answer.status_code == 200 else Reading({}, 0)

    async def run(self) -> None:
        """A row a second, for ever."""
        self._reading = await self.reading()
        due = time.perf_counter()
        while True:
            due = max(due + 1.0, time.perf_counter())
            await asyncio.sleep(due - time.perf_counter())
            reading, now = await self.reading(), self._look()
            row = self._row(reading, now)
            self._reading, self._before = reading, now
            self.rows.append(row)
            self._show(row)

    async def close(self) -> None:
        """Ask no more."""
        if self._http is not None:
            await self._http.aclose()

    def table(self) -> list[dict[str, Any]]:
        """All rows, for JSON."""
        return [asdict(row) for row in self.rows]

    def _look(self) -> dict[str, float]:
        pulses = self._crew.pulses
        return {
            "at": time.perf_counter(),
            "heard": sum(each.counts.get("heard", 0) for each in pulses),
            "proved": sum(each.counts.get("proved", 0) + each.counts.get("caught up", 0) for each in pulses),
            "server": self._server.cpu(),
            "own": time.process_time(),
        }

    def _row(self, reading: Reading, now: dict[str, float]) -> Row:
        pulses, before = self._crew.pulses, self._before
        spent = now["at"] - before["at"]
        lag = since(self._reading.lag, reading.lag)
        return Row(
            at=now["at"] - self._began_at,
            phase=self.phase,
            connected=sum(each.connected for each in pulses),
            told=self._told(),
            heard=(now["heard"] - before["heard"]) / spent,
            proved=(now["proved"] - before["proved"]) / spent,
            behind=sum(each.behind for each in pulses),
            server_cpu=(now["server"] - before["server"]) / spent,
            resident=self._server.resident(),
            lag_p99=quantile(lag, 0.99),
            lag_max=quantile(lag, 1.0),
            queue=reading.queue,
            load_cpu=max([(now["own"] - before["own"]) / spent, *(each.cpu for each in pulses)]),
            load_waited=max(each.waited for each in pulses),
            load_lag=max(each.lag for each in pulses),
        )
