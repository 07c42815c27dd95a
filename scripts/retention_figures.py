#!/usr/bin/env python3
"""The figures of the bench of retention: what is watched of a gateway while it works, and how that is shown.

Rules: the loop's lag is the gateway's own metric, from which quantiles are interpolated as Prometheus does; beside it
stands what a client sees who asks for `/healthz` fifty times a second, exactly. Who was kept waiting counts for all
that would have been asked meanwhile.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

import httpx
from rich.console import Console
from rich.table import Table

from benching.processes import Process
from gateway.lateness import INTERVAL, delays
from load.metrics import quantile, read

FEW: Final = {"p50": 0.5, "p99": 0.99, "max": 1.0}


def lag(url: str) -> dict[float, int]:
    """How often the gateway's loop was late by at most so many seconds, since it started."""
    return read(httpx.get(f"{url}/metrics", trust_env=False).text).lag


def of_values(values: Sequence[float], part: float) -> float:
    """The quantile of what was measured one by one."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0


@dataclass
class Span:
    """Some time of the gateway's, and how its clients fared; times in seconds."""

    title: str
    seconds: float = 0.0
    rows: int = 0
    cpu: float = 0.0
    waited: float = 0.0
    memory: int = 0
    lag: dict[float, int] = field(default_factory=dict)
    answers: list[float] = field(default_factory=list)
    frames: list[float] = field(default_factory=list)
    receipts: list[float] = field(default_factory=list)

    def figures(self) -> dict[str, Any]:
        """What is shown of it; times in milliseconds."""
        lists = {"answer": self.answers, "frame": self.frames, "receipt": self.receipts}
        return {
            "seconds": self.seconds,
            "rows": self.rows,
            "rows_a_second": self.rows / self.seconds,
            "cpu": self.cpu,
            "waited": self.waited,
            "memory_mib": self.memory / 2**20,
            "notices": len(self.frames),
            "looks": max(self.lag.values(), default=0),
            "lag": {name: quantile(self.lag, part) * 1e3 for name, part in FEW.items()},
            **{
                name: {each: of_values(values, part) * 1e3 for each, part in FEW.items()}
                for name, values in lists.items()
            },
        }


class Watch:
    """While it is entered, a thread that asks the gateway whether it is there, and looks at its memory."""

    def __init__(self, url: str, gateway: Process, span: Span) -> None:
        self._url, self._gateway, self._span = url, gateway, span
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        with httpx.Client(base_url=self._url, trust_env=False, timeout=60.0) as http:
            while not self._over.wait(INTERVAL):
                began = time.perf_counter()
                http.get("/healthz").raise_for_status()
                self._span.answers += delays(time.perf_counter() - began)
                self._span.memory = max(self._span.memory, self._gateway.resident())


ROWS: Final = {
    "lag": "loop's lag",
    "answer": "/healthz",
    "frame": "to frame",
    "receipt": "ack to receipt",
}


def show(console: Console, figures: Mapping[str, Any]) -> None:
    """The figures next to each other, for a person."""
    spans: Mapping[str, Mapping[str, Any]] = figures["spans"]
    table = Table(title=f"{figures['rows']:,} messages, {figures['notices_a_second']:,.0f} notices a second")
    table.add_column("")
    for name in (*spans, "sweep / alone"):
        table.add_column(name, justify="right")
    for key, name in ROWS.items():
        for few in FEW:
            cells = [each[key][few] for each in spans.values()]
            alone, swept = spans["alone"][key][few], spans["sweep"][key][few]
            ratio = f"{swept / alone:.2f}" if alone else "-"
            table.add_row(f"{name} {few}, ms", *(f"{cell:.1f}" for cell in cells), ratio)
        table.add_section()
    for key, name, form in (
        ("rows_a_second", "rows a second", ",.0f"),
        ("seconds", "seconds", ".1f"),
        ("notices", "notices", ",.0f"),
        ("looks", "looks at lag", ",.0f"),
        ("cpu", "cores used", ".2f"),
        ("waited", "loop without a core", ".0%"),
        ("memory_mib", "peak RSS, MiB", ".0f"),
    ):
        table.add_row(name, *(format(each[key], form) if each[key] else "" for each in spans.values()), "")
    console.print(table)
    took = figures["erasures"]
    console.print(figures["machine"], figures["command"], sep="\n")
    console.print(
        f"{len(took)} erasures amid the sweep: {of_values(took, 0.5) * 1e3:.0f} ms in the median,"
        f" {of_values(took, 1.0) * 1e3:.0f} ms at most. The messages were put in, or copied, in"
        f" {figures['prepared_seconds']:.0f} s."
    )
