"""What the control API stands on in its tests: a recording room for the hub, and requests to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from gateway.control.server import ControlServer, Desk, application
from gateway.core.events import Event, Refused
from gateway.core.keeping import Hold, Kind, Policy
from gateway.core.types import Level, Role
from gateway.hub.evidence import Pack
from gateway.hub.proving import Consistency
from gateway.metrics import Metrics

NOW = datetime(2026, 11, 23, 14, tzinfo=UTC)
TOKEN, SECRET = "control-token-0123456789", "webhook-secret-0123456789"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
ALICE = "8:acs:816df1ca-971b-44d7-b8b1-8fba90748500_00000013-2ff6-dd51-54b7-a43a0d001998"
VECTORS = Path(__file__).parent.parent / "vectors" / "events"
EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "1",
    "source": "/contoso",
    "type": "notices.capability.observed",
    "data": {"call": "c", "capability": "recording", "state": "active"},
}


@dataclass
class Taken:
    accepted: int
    duplicates: int = 0
    refused: tuple[tuple[int, str], ...] = ()


@dataclass
class Room:
    """Stands where the hub will: it notes what it is asked and answers as told."""

    error: Exception | None = None
    late: tuple[tuple[int, str], ...] = ()
    taken: list[Event] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    asked: list[tuple[object, ...]] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    ledger: list[bytes] = field(default_factory=list)
    note: str = "origin\n3\nAAAA\n\n\N{EM DASH} origin AAAA\n"

    def _ask(self, *question: object) -> None:
        self.asked.append(question)
        if self.error is not None:
            raise self.error

    async def take(self, events: Sequence[Event], refused: Sequence[Refused], /) -> Taken:
        self._ask("take")
        self.taken += events
        self.refused += refused
        return Taken(len(events) - len(self.late), refused=self.late)

    def calls(self) -> Sequence[Mapping[str, Any]]:
        self._ask("calls")
        return [{"call": "c"}]

    async def call(self, call: str, organization: str | None) -> Mapping[str, Any]:
        self._ask("call", call, organization)
        return {"call": call}

    async def coverage(self, call: str, organization: str | None, level: Level, wait: float) -> Sequence[bytes]:
        self._ask("coverage", call, organization, level, wait)
        return [json.dumps({"call": call, "level": level})[:-1].encode(), b',"notices":[],"complete":true', b"}"]

    async def name(self, call: str, organization: str | None, aliases: tuple[str, ...]) -> None:
        self._ask("name", call, organization, aliases)

    async def stored_message(self, participant: str) -> Mapping[str, Any] | None:
        self._ask("message", participant)
        return {"content": "last"} if participant == ALICE else None

    async def sweep(self, now: datetime | None) -> Mapping[str, Any]:
        self._ask("sweep", now)
        return {"deleted": 0}

    async def certificates(self) -> Sequence[Mapping[str, Any]]:
        self._ask("certificates")
        return []

    async def rules(self, kind: Kind) -> Sequence[Mapping[str, Any]]:
        self._ask("rules", kind)
        return [{"name": "a"}]

    async def rule(self, kind: Kind, name: str) -> Mapping[str, Any]:
        self._ask("rule", kind, name)
        return {"name": name}

    async def set_policy(self, name: str, policy: Policy) -> Mapping[str, Any]:
        self._ask("set policy", name, policy)
        return {"name": name}

    async def set_hold(self, name: str, hold: Hold) -> Mapping[str, Any]:
        self._ask("set hold", name, hold)
        return {"name": name}

    async def remove(self, kind: Kind, name: str) -> None:
        self._ask("remove", kind, name)

    async def explain(self, participant: str) -> Mapping[str, Any]:
        self._ask("explain", participant)
        return {"copies": []}

    async def erase(self, participant: str) -> Mapping[str, Any]:
        self._ask("erase", participant)
        return {"messages": 1}

    async def entries(self, region: str, start: int, limit: int) -> Sequence[bytes]:
        self._ask("entries", region, start, limit)
        return self.ledger[start : start + limit]

    async def checkpoint(self, region: str) -> str:
        self._ask("checkpoint", region)
        return self.note

    async def proof(self, region: str, entry: int) -> str:
        self._ask("proof", region, entry)
        return f"index {entry}\n\n{self.note}"

    async def consistency(self, region: str, start: int, end: int | None) -> Consistency:
        self._ask("consistency", region, start, end)
        return Consistency(start, 12 if end is None else end, [b"\xff" * 32])

    async def make_pack(
        self, call: str, organization: str | None, level: Level | None, regions: Sequence[str] | None, /
    ) -> Pack:
        self._ask("pack", call, organization, level, regions)
        return Pack("evidence-c.zip", b"PK\x05\x06")

    async def keep_cosignatures(self, region: str, text: str, /) -> Sequence[str]:
        self._ask("cosign", region, text)
        return ["witness.example/w1"]

    def readiness(self) -> Sequence[str]:
        return self.reasons


def issue(
    *, participant: str, calls: tuple[str, ...], lifetime: timedelta, role: Role, name: str | None
) -> tuple[str, datetime]:
    return f"{participant}|{','.join(calls)}|{role}|{name}", NOW + lifetime


def desk(room: Room, **changes: Any) -> Desk:
    given: dict[str, Any] = {
        "hub": room,
        "retention": room,
        "proving": room,
        "make_pack": room.make_pack,
        "keep_cosignatures": room.keep_cosignatures,
        "take": room.take,
        "token": TOKEN,
        "webhook_secret": SECRET,
        "topics": {"/Subscriptions/X": "contoso"},
        "now": lambda: NOW,
        "issue_token": issue,
        "metrics": Metrics(),
    }
    return Desk(**{**given, **changes})


@contextlib.asynccontextmanager
async def listening(room: Room) -> AsyncIterator[tuple[ControlServer, httpx.AsyncClient]]:
    """A real server on a real socket."""
    server = ControlServer(application(desk(room)), "127.0.0.1", 0)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(server.serve(), name="control")
        base = "http://{}:{}".format(*server.address)
        async with httpx.AsyncClient(base_url=base, trust_env=False) as client:
            yield server, client
        server.stop()


def is_problem(answer: httpx.Response, status: int, code: str | None = None) -> bool:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    return code is None or problem["code"] == code


async def post(http: httpx.AsyncClient, body: object, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {"x-webhook-secret": SECRET, "content-type": "application/json"}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await http.post("/v1/events", content=content, headers={**given, **named})
