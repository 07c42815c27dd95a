"""The routes of the control API that ask the hub: calls, coverage, tokens, health; and those of its other modules.

Rules: everything under `/v1` is for bearers of the control token; a route judges its input and leaves every
decision to the hub.
"""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from gateway.control.desk import (
    Desk,
    Endpoint,
    PiecesResponse,
    checked_name,
    json_response,
    organization,
    query,
    read_json,
    segment,
)
from gateway.control.ledgers import ledgers
from gateway.control.retention import retention
from gateway.core.errors import Refusal
from gateway.core.residency import RAW_ID_LIMIT, resource_of
from gateway.core.types import CONSENT, RANKED, Level, Role, rfc3339
from gateway.metrics import CONTENT_TYPE

WAIT_LIMIT: Final = 300.0
"""The longest wait for coverage, in seconds."""
ALIASES_LIMIT: Final = 64
"""The most names a call may have."""
TOKEN_SECONDS: Final = 86_400
"""The longest life of a client token, in seconds."""

_LEVELS: Final = frozenset(RANKED) | CONSENT


class Aliases(msgspec.Struct):
    """The other names of a call."""

    aliases: list[str]


class Token(msgspec.Struct):
    """Whose client token, for which calls, for how long."""

    participant: str
    calls: list[str]
    ttl_seconds: int = 3_600
    role: str = "participant"
    name: str | None = None


def routes(desk: Desk) -> list[Route]:
    """The routes that need the control token, and the three that need none."""
    protected = [
        Route(path, desk.authorized(endpoint), methods=[method])
        for group in (_calls(desk), retention(desk), ledgers(desk), _tokens(desk))
        for method, path, endpoint in group
    ]
    return protected + _health(desk)


def _calls(desk: Desk) -> list[tuple[str, str, Endpoint]]:
    async def every(_: Request) -> Response:
        return json_response({"calls": desk.hub.calls()})

    async def one(request: Request) -> Response:
        return json_response(await desk.hub.call(segment(request, "call"), organization(request)))

    async def coverage(request: Request) -> Response:
        call, level, wait = segment(request, "call"), _level(request) or Level.ACKNOWLEDGED, _wait(request)
        return PiecesResponse(await desk.hub.coverage(call, organization(request), level, wait))

    async def evidence(request: Request) -> Response:
        regions = [checked_name(each, "region") for each in request.query_params.getlist("region")]
        call, level = segment(request, "call"), _level(request)
        pack = await desk.make_pack(call, organization(request), level, regions or None)
        headers = {"Content-Disposition": f'attachment; filename="{pack.name}"', "Cache-Control": "no-store"}
        return Response(pack.data, media_type="application/zip", headers=headers)

    async def name(request: Request) -> Response:
        call = segment(request, "call")
        aliases = (await read_json(request, Aliases)).aliases
        if len(aliases) > ALIASES_LIMIT:
            raise Refusal("bad_request", f"a call has at most {ALIASES_LIMIT} aliases")
        distinct = tuple(dict.fromkeys(checked_name(alias, "an alias") for alias in aliases))
        await desk.hub.name(call, organization(request), distinct)
        return json_response({"call": call, "aliases": distinct})

    return [
        ("GET", "/v1/calls", every),
        ("GET", "/v1/calls/{call}", one),
        ("GET", "/v1/calls/{call}/coverage", coverage),
        ("GET", "/v1/calls/{call}/evidence", evidence),
        ("PUT", "/v1/calls/{call}/aliases", name),
    ]


def _level(request: Request) -> Level | None:
    value = query(request, "level")
    if value is None:
        return None
    if value not in _LEVELS:
        raise Refusal("bad_request", "level is not a level")
    return Level(value)


def _wait(request: Request) -> float:
    value = query(request, "wait") or "0"
    try:
        seconds = float(value) if value.isascii() else math.nan
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= WAIT_LIMIT:
        raise Refusal("bad_request", f"wait is not a number of seconds from 0 to {WAIT_LIMIT:.0f}")
    return seconds


def _tokens(desk: Desk) -> list[tuple[str, str, Endpoint]]:
    async def issue(request: Request) -> Response:
        wanted = await read_json(request, Token)
        role = _role(wanted)
        if not 0 < wanted.ttl_seconds <= TOKEN_SECONDS:
            raise Refusal("bad_request", f"ttl_seconds is not between 1 and {TOKEN_SECONDS}")
        token, expires_at = desk.issue_token(
            participant=wanted.participant,
            calls=tuple(wanted.calls),
            lifetime=timedelta(seconds=wanted.ttl_seconds),
            role=role,
            name=None if wanted.name is None else checked_name(wanted.name, "name"),
        )
        return json_response({"token": token, "expires_at": rfc3339(expires_at)})

    return [("POST", "/v1/tokens", issue)]


def _role(wanted: Token) -> Role:
    """The role asked for, once participant, role and calls fit together; raises `Refusal`."""
    if len(wanted.participant) > RAW_ID_LIMIT or resource_of(wanted.participant) is None:
        raise Refusal("bad_request", "participant is not the raw id of a user of an ACS resource")
    if wanted.role not in tuple(Role):
        raise Refusal("bad_request", "role is not participant or observer")
    if not 0 < len(wanted.calls) <= ALIASES_LIMIT:
        raise Refusal("bad_request", f"calls does not name between 1 and {ALIASES_LIMIT} calls")
    for call in wanted.calls:
        checked_name(call, "a call")
    if "*" in wanted.calls and wanted.role != Role.OBSERVER:
        raise Refusal("bad_request", "only an observer may have every call")
    return Role(wanted.role)


def _health(desk: Desk) -> list[Route]:
    async def alive(_: Request) -> Response:
        return json_response({"status": "ok"})

    async def ready(_: Request) -> Response:
        reasons = list(desk.hub.readiness())
        return json_response({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)

    async def metrics(_: Request) -> Response:
        return PlainTextResponse(desk.metrics.render(), headers={"Content-Type": CONTENT_TYPE})

    return [Route("/healthz", alive), Route("/readyz", ready), Route("/metrics", metrics)]
