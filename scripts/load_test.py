#!/usr/bin/env python3
"""Load on a running gateway: N sessions in one call or many, every notice acknowledged, times taken at the clients.

Rules: a process of its own, so that its work is not counted as the gateway's; most sessions are bare sockets that
cost the machine little, some are real `gateway.client` clients; nothing is measured that was not confirmed by a
receipt. With --lockstep each round waits for a line on standard input and every result is one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

import httpx
import msgspec
import uvloop
from load_sessions import Bare, Heard, Load, Round
from rich.console import Console
from rich.table import Table

from gateway import config, keys, ready
from gateway.client import Client, connect

AT_ONCE: Final = 100
"""Connections opened at the same time."""
PATIENCE: Final = 60.0


async def follow(client: Client, call: str, load: Load) -> None:
    """A real client: every notice of `call` is acknowledged."""
    async for notice in client.notices(call):
        load.now.told()
        acked_at = time.perf_counter()
        await (notice.displayed() if load.level == "displayed" else notice.acknowledge())
        load.now.proved(acked_at)


class Target(Protocol):
    """What the load is put on."""

    url: str

    async def tokens(self, sessions: int, calls: Sequence[str]) -> list[str]: ...
    async def tell(self, calls: Sequence[str], number: int) -> None: ...
    async def check(self, calls: Sequence[str], rounds: int, sessions: int) -> None: ...


class Gateway:
    """A gateway on this machine, found by its configuration."""

    def __init__(self, path: Path) -> None:
        settings = config.load(path, os.environ)
        found = ready.read(settings.storage.directory)
        if found is None:
            raise SystemExit(f"load_test: no gateway runs with {path}; start `gateway serve --config {path}`")
        self.url = found.websocket
        self._resource, self._organization = next(
            (name, each.organization) for name, each in settings.resources.items()
        )
        self._hook = {"x-webhook-secret": keys.webhook_secret(settings)}
        bearer = {"authorization": f"Bearer {keys.control_token(settings)}"}
        self._http = httpx.AsyncClient(base_url=found.control, headers=bearer, trust_env=False, timeout=PATIENCE)
        self._run = f"{time.time_ns():x}"

    async def tokens(self, sessions: int, calls: Sequence[str]) -> list[str]:
        """A token for each session's own participant and call."""
        slots, tokens = asyncio.Semaphore(8), [""] * sessions

        async def fetch(number: int) -> None:
            participant = f"8:acs:{self._resource}_load-{number:06}"
            wish = {"participant": participant, "calls": [calls[number % len(calls)]], "ttl_seconds": 3600}
            async with slots:
                answer = (await self._http.post("/v1/tokens", json=wish)).raise_for_status()
            tokens[number] = answer.json()["token"]

        async with asyncio.TaskGroup() as tasks:
            for number in range(sessions):
                tasks.create_task(fetch(number), name=f"token {number}")
        return tokens

    async def tell(self, calls: Sequence[str], number: int) -> None:
        """The operator's word on every call: recording, paused, recording again, ..."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        events = [
            {
                "specversion": "1.0",
                "id": f"{self._run}-{number}-{call}",
                "source": "load",
                "type": "notices.capability.observed",
                "time": at,
                "data": {
                    "call": call,
                    "organization": self._organization,
                    "capability": "recording",
                    "state": "paused" if number % 2 else "active",
                    "at": at,
                },
            }
            for call in calls
        ]
        headers = {**self._hook, "content-type": "application/cloudevents-batch+json"}
        answer = await self._http.post("/v1/events", content=msgspec.json.encode(events), headers=headers)
        if answer.status_code != 200 or answer.json()["accepted"] != len(calls):
            raise SystemExit(f"load_test: the events were answered {answer.status_code}")

    async def check(self, calls: Sequence[str], rounds: int, sessions: int) -> None:
        """The gateway's own word must agree: everyone owed is proved."""
        proved = 0
        for call in calls:
            query = {"level": "acknowledged", "organization": self._organization}
            answer = (await self._http.get(f"/v1/calls/{call}/coverage", params=query)).raise_for_status().json()
            proved += sum(notice["proved"] for notice in answer["notices"][-rounds:])
        if proved != rounds * sessions:
            raise SystemExit(f"load_test: the gateway counts {proved} proofs, not {rounds * sessions}")


class Yardstick:
    """The server of scripts/yardstick.py."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._start = url.replace("ws://", "http://").replace("/v1/ws", "/start")
        self._http = httpx.AsyncClient(trust_env=False, timeout=PATIENCE)

    async def tokens(self, sessions: int, calls: Sequence[str]) -> list[str]:
        """It asks for none."""
        return ["none"] * sessions

    async def tell(self, calls: Sequence[str], number: int) -> None:
        """Everyone is told."""
        (await self._http.get(self._start)).raise_for_status()

    async def check(self, calls: Sequence[str], rounds: int, sessions: int) -> None:
        """It keeps nothing."""


async def enter(
    target: Target, tokens: Sequence[str], calls: Sequence[str], load: Load, real: int, tasks: asyncio.TaskGroup
) -> tuple[list[Bare], list[Client]]:
    """All sessions, connected and in their calls; the first `real` of them by the real client."""
    loop, address = asyncio.get_running_loop(), urlsplit(target.url)
    slots, decoder = asyncio.Semaphore(AT_ONCE), msgspec.json.Decoder(Heard)
    clients: list[Client] = []

    async def open_bare(number: int) -> Bare:
        session = Bare(target.url, tokens[number], calls[number % len(calls)], load, decoder)
        async with slots:
            await loop.create_connection(lambda: session, address.hostname or "", address.port or 80)
            await session.joined
        return session

    for number in range(real):
        call = calls[number % len(calls)]
        client = await connect(target.url, token=tokens[number]).__aenter__()
        await client.join(call)
        clients.append(client)
        tasks.create_task(follow(client, call, load), name=f"client {number}")
    opening = [tasks.create_task(open_bare(number), name=f"open {number}") for number in range(real, len(tokens))]
    return [await each for each in opening], clients


def say(result: dict[str, object]) -> None:
    """One line of JSON, at once."""
    sys.stdout.write(json.dumps(result) + "\n")
    sys.stdout.flush()


async def run(target: Target, options: argparse.Namespace) -> list[Round]:
    """Connect everyone, run the rounds, go."""
    loop = asyncio.get_running_loop()
    load = Load(options.level, Round(options.sessions))
    calls = [f"load-{os.getpid()}-{number}" for number in range(options.calls)]
    tokens = await target.tokens(options.sessions, calls)
    rounds: list[Round] = []
    if options.lockstep:
        say({"ready": "tokens"})
        await loop.run_in_executor(None, sys.stdin.readline)
    async with asyncio.TaskGroup() as tasks:
        bare, clients = await enter(target, tokens, calls, load, options.clients, tasks)
        if options.lockstep:
            say({"ready": "sessions"})
        for number in range(options.rounds):
            if options.lockstep and not await loop.run_in_executor(None, sys.stdin.readline):
                break
            load.now = Round(options.sessions, began_at=time.perf_counter())
            await target.tell(calls, number)
            async with asyncio.timeout(PATIENCE):
                await load.now.done.wait()
            if load.failures:
                raise SystemExit(f"load_test: {load.failures[0]}, and {len(load.failures) - 1} more")
            rounds.append(load.now)
            if options.lockstep:
                lasts = {"last_frame": max(load.now.frames), "last_receipt": max(load.now.receipts)}
                say({**lasts, "frames": load.now.frames, "confirmed": load.now.confirmed})
            else:
                await asyncio.sleep(options.pause)
        await target.check(calls, len(rounds), options.sessions)
        for client in clients:
            await client.__aexit__(None, None, None)
        for session in bare:
            session.close()
    return rounds


def show(rounds: Sequence[Round], options: argparse.Namespace) -> None:
    """The result for a person: per round and in the median."""
    table = Table(title=f"{options.sessions} sessions in {options.calls} calls, {options.clients} of them real clients")
    for title in ("round", "frame median", "frame last", "receipt median", "receipt last"):
        table.add_column(title, justify="right")
    rows = [
        [statistics.median(each.frames), max(each.frames), statistics.median(each.receipts), max(each.receipts)]
        for each in rounds
    ]
    for number, row in enumerate(rows):
        table.add_row(str(number + 1), *(f"{value * 1e3:.1f} ms" for value in row))
    if rows:
        table.add_section()
        medians = [statistics.median(column) for column in zip(*rows, strict=True)]
        table.add_row("median", *(f"{value * 1e3:.1f} ms" for value in medians))
    Console().print(table)


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="scripts/load_test", description=str(__doc__).partition("\n")[0])
    parser.add_argument(
        "--config", type=Path, default=Path("gateway.toml"), help="configuration of the running gateway"
    )
    parser.add_argument("--yardstick", metavar="URL", help="load scripts/yardstick.py at URL instead")
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--calls", type=int, default=1, help="calls the sessions are spread over")
    parser.add_argument(
        "--clients", type=int, default=5, help="how many of the sessions are real gateway.client clients"
    )
    parser.add_argument("--rounds", type=int, default=5, help="events per call")
    parser.add_argument("--pause", type=float, default=0.5, help="seconds between rounds")
    parser.add_argument("--level", choices=("displayed", "acknowledged"), default="acknowledged")
    parser.add_argument("--lockstep", action="store_true", help="for another program: see above")
    options = parser.parse_args()
    target: Target = Yardstick(options.yardstick) if options.yardstick else Gateway(options.config)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        rounds = runner.run(run(target, options))
    if not options.lockstep:
        show(rounds, options)


if __name__ == "__main__":
    main()
