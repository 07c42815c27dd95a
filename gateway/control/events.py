"""Events over HTTP: webhooks of Event Grid, Call Automation, Graph and the operator's own systems.

Rules: nobody is served without the webhook secret, the handshakes included; nothing is answered 200 before it is
durable; a malformed item is recorded as refused and never fails the rest, for senders do not retry a 4xx; no
address found in a request is ever called.
"""

from __future__ import annotations

import asyncio
import re
from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from gateway.control.desk import Desk, json_response, query, read_body
from gateway.core import cloudevents, events
from gateway.core.cloudevents import Envelope
from gateway.core.errors import Refusal
from gateway.core.events import Event, Refused

EVENTS_LIMIT: Final = 8 * 1024 * 1024
"""The largest body taken, in bytes. Event Grid ends at 1 MiB."""

_SLICE: Final = 100
"""Items understood before the loop may turn to something else."""
_LARGE: Final = 256 * 1024
"""Bytes that take so long to read that others have their turn before they are understood."""
_ORIGIN: Final = re.compile(r"[A-Za-z0-9.:/_-]{1,255}")
_CODE: Final = re.compile(r"[!-~]{1,512}")
_VALIDATION: Final = "Microsoft.EventGrid.SubscriptionValidationEvent"


def routes(desk: Desk) -> list[Route]:
    """The routes for events."""

    async def endpoint(request: Request) -> Response:
        desk.check_webhook(request)
        if request.method == "OPTIONS":
            return _allow(request)
        body = await read_body(request, EVENTS_LIMIT)
        if "validationToken" in request.query_params:
            return _echo(request)
        headers = {name.lower(): value for name, value in request.headers.items()}
        code = _validation_code(body, headers)
        if code is not None:
            return json_response({"validationResponse": code})
        return await _take(desk, body, headers)

    return [Route("/v1/events", endpoint, methods=["POST", "OPTIONS"])]


async def _take(desk: Desk, body: bytes, headers: dict[str, str]) -> Response:
    taken: list[tuple[int, Event]] = []
    refused: list[tuple[int, Refused]] = []
    received_at, turns = desk.now(), len(body) // _LARGE
    for index, read in enumerate(cloudevents.read_http(body, headers)):
        if turns > 0 or index % _SLICE == _SLICE - 1:
            # Neither a batch nor a roster of thousands may delay the notices of other calls.
            turns -= 1
            await asyncio.sleep(0)
        for item in events.understand((read,), topics=desk.topics, received_at=received_at, door="http"):
            if isinstance(item, Event):
                taken.append((index, item))
            else:
                refused.append((index, item))
    outcome = await desk.take([event for _, event in taken], [item for _, item in refused])
    reasons = [(index, item.reason) for index, item in refused]
    reasons += [(taken[position][0], reason) for position, reason in outcome.refused]
    return json_response(
        {
            "accepted": outcome.accepted,
            "duplicates": outcome.duplicates,
            "refused": [{"index": index, "reason": reason} for index, reason in sorted(reasons)],
        }
    )


def _validation_code(body: bytes, headers: dict[str, str]) -> str | None:
    """The code of Event Grid's SubscriptionValidation, if the request is that and nothing else."""
    if _VALIDATION.encode() not in body:
        return None
    items = list(cloudevents.read_http(body, headers))
    if len(items) != 1 or not isinstance(items[0], Envelope) or items[0].type != _VALIDATION:
        return None
    data = items[0].data
    code = data.get("validationCode") if isinstance(data, dict) else None
    return code if isinstance(code, str) and _CODE.fullmatch(code) else None


def _echo(request: Request) -> Response:
    """Microsoft Graph's handshake for change notifications: its token comes back as plain text."""
    token = query(request, "validationToken") or ""
    if not 0 < len(token) <= 2048:
        raise Refusal("bad_request", "validationToken is empty or too long")
    return PlainTextResponse(token, headers={"X-Content-Type-Options": "nosniff"})


def _allow(request: Request) -> Response:
    """The handshake of the CloudEvents webhook specification §4: who may send, and how fast."""
    origin = request.headers.get("webhook-request-origin", "")
    if not _ORIGIN.fullmatch(origin):
        raise Refusal("bad_request", "WebHook-Request-Origin is missing or not an origin")
    return Response(headers={"Allow": "POST", "WebHook-Allowed-Origin": origin, "WebHook-Allowed-Rate": "*"})
