#!/usr/bin/env python3
"""The bench of retention: whether notices keep flowing while a million last messages are judged anew, and deleted.

Rules: the gateway is a process of its own on one core, all that loads and watches it on another; the same flow of
notices runs alone, during the review after a changed policy, during the sweep of every row (with somebody erased each
second), and alone again, in one process and one run; every row is accounted for and the gateway's own coverage agrees
with its clients, or the bench fails. Messages are put in before, outside of any time that is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx
from retention_figures import Span, Watch, lag, show
from rich.console import Console

from benching.processes import GATEWAY, LOAD, SETTINGS, Process, machine
from gateway import config, keys
from gateway.core.residency import resource_of
from storage.operations import KeepMessage
from storage.region import Region
from storage.retention import Terms
from storage.writer import Completed

PATIENCE: Final = 3600.0
"""Seconds that a sweep may take."""
WAITING: Final = 4_096
"""Messages submitted and not yet durable."""
TEXT: Final = "The minutes of today's meeting are in the folder; whoever has something to add does so by Friday. " * 2


def participant(resource: str, number: int) -> str:
    """The raw id of one of those whose message goes."""
    return f"8:acs:{resource}_row-{number:07}"


def prepare(root: Path, rows: int) -> None:
    """A directory as `gateway init` makes it, whose first region has so many last messages, sent yesterday."""
    subprocess.run([GATEWAY, "init", root], check=True, stdout=subprocess.DEVNULL)
    settings = config.load(root / "gateway.toml", {})
    resource, first = next(iter(settings.resources.items()))
    room = threading.Semaphore(WAITING)

    def committed(done: list[Completed]) -> None:
        if any(each.error or each.results[0].kind != "stored" for each in done):
            os._exit(1)  # on the writer's thread, where nothing that is raised is heard
        room.release(len(done))

    region = Region.open(
        first.region,
        directory=settings.storage.directory / first.region,
        key_directory=settings.storage.key_directory / first.region,
        committed=committed,
        failing=lambda error: None,
        ledger=settings.ledger.name,
        # The gateway's own terms; else it would judge everything anew when it starts.
        terms=Terms(
            settings.retention.default,
            {name: each.organization for name, each in settings.resources.items()},
            resource_of,
        ),
    )
    now = datetime.now(UTC)
    for number in range(rows):
        room.acquire()
        who, sent_at = participant(resource, number), now - timedelta(days=1) * (1 - number / rows)
        region.submit((KeepMessage(who, resource, "thread", "m", 1, sent_at, TEXT, False, now),), None)
    if region.close(60.0):
        raise SystemExit("bench_retention: not every message could be written")


class Stage:
    """A gateway that runs, the flow of notices on it, and what is measured of both."""

    def __init__(self, root: Path, options: argparse.Namespace, stack: ExitStack) -> None:
        cores = sorted(os.sched_getaffinity(0))
        pinned = len(cores) > 1 and not options.free
        configuration = root / "gateway.toml"
        command: list[str | Path] = [GATEWAY, "serve", "--config", configuration]
        self.gateway = Process("gateway", command, core=cores[0] if pinned else None, **SETTINGS)
        stack.callback(self.gateway.stop)
        self.url = self.gateway.hear()["control"]
        if pinned:
            os.sched_setaffinity(0, {cores[1]})
        command = [*LOAD, "--values", "--config", configuration]
        command += ["--sessions", str(options.sessions), "--calls", str(options.calls)]
        self.load = Process("the load", command, core=None, **SETTINGS)
        stack.callback(self.load.stop)
        for _ in ("tokens", "sessions"):
            self.load.hear()
            self.load.go()
        self.load.hear()
        self._every = options.every
        settings = config.load(configuration, {})
        self.resource = next(iter(settings.resources))
        self._bearer = {"authorization": f"Bearer {keys.control_token(settings)}"}

    def ask(self, method: str, path: str, body: dict[str, object] | None = None) -> dict[str, Any]:
        """What the control API answers, however long that takes; ends the bench if it refuses."""
        answer = httpx.request(
            method, self.url + path, json=body, headers=self._bearer, trust_env=False, timeout=PATIENCE
        )
        if answer.status_code != 200:
            raise SystemExit(f"bench_retention: {method} {path} was answered {answer.status_code}: {answer.text}")
        found: dict[str, Any] = answer.json()
        return found

    def during(self, title: str, work: Callable[[], int]) -> Span:
        """What the flow of notices suffers until `work` has answered how many rows it dealt with."""
        span, failures = Span(title), list[BaseException]()

        def run() -> None:
            began = time.perf_counter()
            try:
                span.rows = work()
            except BaseException as error:
                failures.append(error)  # handed on to who waits for this thread
            span.seconds = time.perf_counter() - began

        before, spent, waited = lag(self.url), self.gateway.cpu(), self.gateway.waited()
        with Watch(self.url, self.gateway, span):
            thread = threading.Thread(target=run, name=title)
            thread.start()
            due = time.perf_counter()
            while thread.is_alive():
                self.load.go()
                heard = self.load.hear()
                span.frames += heard["frames"]
                span.receipts += heard["confirmed"]
                due = max(due + self._every, time.perf_counter())
                time.sleep(max(0.0, due - time.perf_counter()))
            thread.join()
        for failure in failures:
            raise failure
        span.cpu = (self.gateway.cpu() - spent) / span.seconds
        span.waited = (self.gateway.waited() - waited) / span.seconds
        span.lag = {bound: count - before[bound] for bound, count in lag(self.url).items()}
        return span


def sweep(stage: Stage, options: argparse.Namespace, erasures: list[float]) -> Callable[[], int]:
    """The work of deleting everything, with an erasure every second until that is done."""
    over, erased = threading.Event(), list[int]()

    def erase() -> None:
        for number in range(options.rows - 1, options.rows // 2, -1):
            began = time.perf_counter()
            answer = stage.ask("DELETE", f"/v1/participants/{participant(stage.resource, number)}")
            erasures.append(time.perf_counter() - began)
            erased.append(answer["messages"])
            if over.wait(1.0):
                return

    def work() -> int:
        thread = threading.Thread(target=erase, name="erasures")
        thread.start()
        later = datetime.now(UTC) + timedelta(days=31)
        try:
            deleted: int = stage.ask("POST", "/v1/retention/sweep", {"now": later.isoformat()})["deleted"]
        finally:
            over.set()
            thread.join()
        if deleted + sum(erased) != options.rows:
            raise SystemExit(f"bench_retention: {deleted} swept and {sum(erased)} erased are not {options.rows} rows")
        return deleted

    return work


def measure(root: Path, options: argparse.Namespace, stack: ExitStack) -> tuple[list[Span], list[float]]:
    """The four spans, in order, and how long each erasure took."""
    stage, erasures = Stage(root, options, stack), list[float]()

    def alone() -> int:
        time.sleep(options.seconds)
        return 0

    def review() -> int:
        policy: dict[str, object] = {"action": "delete", "days": 25}
        stage.ask("PUT", "/v1/retention/policies/bench", policy)
        stage.ask("POST", "/v1/retention/sweep")  # which judges everything anew before it deletes, and nothing is due
        return int(options.rows)

    stage.during("warming up", alone)
    spans = [stage.during("alone", alone), stage.during("review", review)]
    spans += [stage.during("sweep", sweep(stage, options, erasures)), stage.during("alone again", alone)]
    stage.load.finish()
    return spans, erasures


def main() -> None:
    """Read the command line, prepare, measure, print."""
    parser = argparse.ArgumentParser(prog="scripts/bench_retention", description=str(__doc__).partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="messages that are deleted (1,000,000)")
    parser.add_argument("--seconds", type=float, default=30.0, help="of notices alone, before and after (30)")
    parser.add_argument("--sessions", type=int, default=200, help="clients that acknowledge every notice (200)")
    parser.add_argument("--calls", type=int, default=20, help="calls they are spread over (20)")
    parser.add_argument("--every", type=float, default=0.5, help="seconds from one notice in every call to the next")
    parser.add_argument("--directory", type=Path, help="where to write; a disk like that of the gateway (temporary)")
    parser.add_argument("--prepared", type=Path, help="where the messages are kept for the next run; made if missing")
    parser.add_argument("--free", action="store_true", help="pin no process to a core")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    options = parser.parse_args()
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", dir=options.directory)))
        source = options.prepared or place / "prepared"
        began = time.perf_counter()
        if not source.exists():
            prepare(source, options.rows)
        shutil.copytree(source, place / "gateway")
        prepared = time.perf_counter() - began
        on = machine(free=options.free)
        spans, erasures = measure(place / "gateway", options, stack)
    figures = {
        "command": " ".join(["scripts/bench_retention", *sys.argv[1:]]),
        "machine": on,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "rows": options.rows,
        "notices_a_second": options.sessions / options.every,
        "prepared_seconds": prepared,
        "erasures": erasures,
        "spans": {each.title: each.figures() for each in spans},
    }
    show(Console(), figures)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
