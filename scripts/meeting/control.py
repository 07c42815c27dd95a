"""The control API as an operator's script uses it: webhooks, tokens, coverage, messages, ledgers, retention.

Rules: an answer that is not a success ends the demo, except where its status is what is asked for.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import quote

import httpx

from gateway.core.types import rfc3339

from .processes import DemoFailed

Answer = dict[str, Any]


class Control:
    """A client of one gateway's control API."""

    def __init__(self, address: str, keys: Path) -> None:
        token = (keys / "control.token").read_text().strip()
        self._secret: Final = (keys / "webhook.secret").read_text().strip()
        self._bearer: Final = {"Authorization": f"Bearer {token}"}
        # Proxies of the environment are for the outside, not for loopback.
        self._http: Final = httpx.AsyncClient(base_url=address, timeout=20, trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def _ask(self, method: str, path: str, body: object = None, **query: str) -> httpx.Response:
        response = await self._http.request(method, path, json=body, params=query, headers=self._bearer)
        if not response.is_success:
            raise DemoFailed(f"{method} {path.split('/')[2]} was answered {response.status_code}")
        return response

    async def events(self, *events: Answer) -> Answer:
        """Deliver a webhook as Azure would: with the webhook's secret, without the control token."""
        response = await self._http.post("/v1/events", json=events, headers={"x-webhook-secret": self._secret})
        if response.status_code != 200:
            raise DemoFailed(f"a webhook was answered {response.status_code}")
        return dict(response.json())

    async def name(self, call: str, aliases: tuple[str, ...]) -> None:
        """Say which names the call goes by elsewhere."""
        await self._ask("PUT", f"/v1/calls/{call}/aliases", {"aliases": aliases}, organization="contoso")

    async def token(self, participant: str, call: str, name: str, seconds: int) -> str:
        """A client token."""
        wanted = {"participant": participant, "calls": [call], "ttl_seconds": seconds, "name": name}
        return str((await self._ask("POST", "/v1/tokens", wanted)).json()["token"])

    async def call(self, call: str) -> Answer:
        """How the call stands, by counts."""
        return dict((await self._ask("GET", f"/v1/calls/{call}")).json())

    async def coverage(self, call: str) -> list[Answer]:
        """Every notice of the call with its gaps at `acknowledged`."""
        answer = await self._ask("GET", f"/v1/calls/{call}/coverage", level="acknowledged")
        return list(answer.json()["notices"])

    async def message(self, participant: str) -> Answer | None:
        """Somebody's stored last message; None when there is none."""
        path = f"/v1/messages/{quote(participant, safe='')}"
        response = await self._http.get(path, headers=self._bearer)
        if response.status_code == 404:
            return None
        if response.status_code != 200:
            raise DemoFailed(f"GET messages was answered {response.status_code}")
        return dict(response.json())

    async def entries(self, region: str) -> list[Answer]:
        """A region's whole ledger."""
        return [json.loads(line) for line in await self.leaves(region)]

    async def leaves(self, region: str) -> list[str]:
        """A region's whole ledger, byte for byte."""
        return (await self._ask("GET", f"/v1/ledgers/{region}/entries")).text.split("\n")[:-1]

    async def set(self, kind: str, name: str, rule: Answer) -> None:
        """Have a rule hold from now on; `kind` is `policies` or `holds`."""
        await self._ask("PUT", f"/v1/retention/{kind}/{name}", rule)

    async def remove(self, kind: str, name: str) -> None:
        """Have a rule hold no longer."""
        await self._ask("DELETE", f"/v1/retention/{kind}/{name}")

    async def explain(self, participant: str) -> Answer:
        """What is kept of somebody, until when, and what decided that."""
        return dict((await self._ask("GET", f"/v1/retention/explain/{quote(participant, safe='')}")).json())

    async def erase(self, participant: str) -> tuple[int, Answer]:
        """Ask for somebody's erasure; the status of the answer, and the answer."""
        path = f"/v1/participants/{quote(participant, safe='')}"
        response = await self._http.delete(path, headers=self._bearer)
        return response.status_code, dict(response.json())

    async def sweep(self, now: datetime | None = None) -> Answer:
        """Delete what is due, now or as if it were `now`."""
        body = None if now is None else {"now": rfc3339(now)}
        return dict((await self._ask("POST", "/v1/retention/sweep", body)).json())
