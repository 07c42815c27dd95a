"""What the load is put on: a gateway of this machine, or a server that speaks its frames.

Rules: a gateway is found by its configuration and `ready.json`; it has the last word on what was proved; who is told
what is the operator's word, so that every event is announced at once.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple, Protocol
from urllib.parse import urlsplit, urlunsplit

import httpx
import msgspec

from gateway import config, keys, ready
from gateway.core import tokens

PATIENCE: Final = 60.0
_NOBODY: Final = "no gateway runs with {0}; start `gateway serve --config {0}`"
_LIFE: Final = timedelta(hours=12)
_AT_ONCE: Final = 8
"""Tokens asked for at the same time."""
_BATCH: Final = 2000
"""Events in one request; a gateway takes 5,000."""


class LoadFailed(Exception):
    """The load cannot go on, or has found a fault; the text says which."""


class Covered(NamedTuple):
    """What the server itself says: how many were owed a notice and proved it, and why the others did not."""

    owed: int
    proved: int
    gaps: dict[str, int]


class Target(Protocol):
    """What the load is put on; `control` is where it answers over HTTP."""

    url: str
    control: str

    async def greet(self) -> None:
        """Raises LoadFailed where nobody is there."""
        ...

    async def tokens(self, sessions: int, calls: Sequence[str]) -> list[str]:
        """A token for each session's own participant and call."""
        ...

    async def tell(self, calls: Sequence[str], numbers: Sequence[int], at: str) -> None:
        """In each of `calls` something happens at the time `at`, there for the so-and-so-manieth time."""
        ...

    async def cover(self, calls: Sequence[str], level: str) -> Covered | None:
        """The server's own word on `calls`; None from one that keeps nothing."""
        ...


class Gateway:
    """A gateway on this machine. Raises LoadFailed where none runs."""

    def __init__(self, path: Path, *, ask: bool = False) -> None:
        settings = config.load(path, os.environ)
        found = ready.read(settings.storage.directory)
        if found is None:
            raise LoadFailed(_NOBODY.format(path))
        self.url, self.control = found.websocket, found.control
        self._settings, self._ask = settings, ask
        self._resource, self._organization = next(
            (name, each.organization) for name, each in settings.resources.items()
        )
        bearer = {"authorization": f"Bearer {keys.control_token(settings)}"}
        self._hook = {"x-webhook-secret": keys.webhook_secret(settings)}
        self._http = httpx.AsyncClient(base_url=found.control, headers=bearer, trust_env=False, timeout=PATIENCE)
        self._path = path
        self._run = f"{time.time_ns():x}"

    async def greet(self) -> None:
        """A gateway that was killed has left word of where it was; see whether it answers there."""
        try:
            await self._http.get("/healthz")
        except httpx.TransportError:
            raise LoadFailed(_NOBODY.format(self._path)) from None

    async def tokens(self, sessions: int, calls: Sequence[str]) -> list[str]:
        """Signed here, where the key is the gateway's own; asked for otherwise, or when that was wished."""
        settings = self._settings
        wishes = [
            (f"8:acs:{self._resource}_load-{number:06}", calls[number % len(calls)]) for number in range(sessions)
        ]
        if self._ask or settings.clients.jwks_file is None:
            return await self._fetch(wishes)
        key, now = keys.signing_key(settings), datetime.now(UTC)
        return [
            tokens.mint(
                key,
                issuer=settings.clients.issuer,
                audience=settings.clients.audience,
                participant=participant,
                calls=[call],
                now=now,
                expires_at=now + _LIFE,
            )
            for participant, call in wishes
        ]

    async def tell(self, calls: Sequence[str], numbers: Sequence[int], at: str) -> None:
        """The operator's word: recording, paused, recording again, ..."""
        headers = {**self._hook, "content-type": "application/cloudevents-batch+json"}
        events = list(self._events(calls, numbers, at))
        for start in range(0, len(events), _BATCH):
            batch = events[start : start + _BATCH]
            answer = await self._http.post("/v1/events", content=msgspec.json.encode(batch), headers=headers)
            if answer.status_code != 200 or answer.json()["accepted"] != len(batch):
                raise LoadFailed(f"the events were answered {answer.status_code}")

    async def cover(self, calls: Sequence[str], level: str) -> Covered:
        """The sum of all coverages, asked one after the other."""
        owed, proved, gaps = 0, 0, dict[str, int]()
        for call in calls:
            query = {"level": level, "organization": self._organization}
            answer = (await self._http.get(f"/v1/calls/{call}/coverage", params=query)).raise_for_status()
            for notice in answer.json()["notices"]:
                owed += notice["owed"]
                proved += notice["proved"]
                for gap in notice["gaps"]:
                    gaps[gap["reason"]] = gaps.get(gap["reason"], 0) + 1
        return Covered(owed, proved, gaps)

    def _events(self, calls: Sequence[str], numbers: Sequence[int], at: str) -> Iterator[dict[str, object]]:
        for call, number in zip(calls, numbers, strict=True):
            data = {"call": call, "organization": self._organization, "capability": "recording", "at": at}
            yield {
                "specversion": "1.0",
                "id": f"{self._run}-{number}-{call}",
                "source": "load",
                "type": "notices.capability.observed",
                "time": at,
                "data": {**data, "state": "paused" if number % 2 else "active"},
            }

    async def _fetch(self, wishes: Sequence[tuple[str, str]]) -> list[str]:
        slots, found = asyncio.Semaphore(_AT_ONCE), [""] * len(wishes)

        async def fetch(number: int, participant: str, call: str) -> None:
            wish = {"participant": participant, "calls": [call], "ttl_seconds": int(_LIFE.total_seconds())}
            async with slots:
                answer = (await self._http.post("/v1/tokens", json=wish)).raise_for_status()
            found[number] = answer.json()["token"]

        await asyncio.gather(*(fetch(number, *wish) for number, wish in enumerate(wishes)))
        return found


class Yardstick:
    """A server that speaks the same frames, has one call and tells everyone at `GET /start`."""

    def __init__(self, url: str) -> None:
        self.url = url
        parts = urlsplit(url)
        self.control = urlunsplit(("http", parts.netloc, "", "", ""))
        self._http = httpx.AsyncClient(base_url=self.control, trust_env=False, timeout=PATIENCE)

    async def greet(self) -> None:
        """It is asked for nothing but `/start`."""

    async def tokens(self, sessions: int, calls: Sequence[str]) -> list[str]:
        """It asks for none."""
        return ["none"] * sessions

    async def tell(self, calls: Sequence[str], numbers: Sequence[int], at: str) -> None:
        """Everyone is told."""
        (await self._http.get("/start")).raise_for_status()

    async def cover(self, calls: Sequence[str], level: str) -> None:
        """It keeps nothing."""
