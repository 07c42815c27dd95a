"""What the control API stands on: the hub's answers, two secrets, and the ways in and out of a request.

Rules: secrets are compared in constant time; a request's strings are judged before the hub sees them; path
segments are decoded once, after routing, so that an id may hold any character, `/` included.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import unquote

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.core import strict_json
from gateway.core.errors import Refusal
from gateway.core.events import Event, Refused
from gateway.core.fields import NAME_LIMIT
from gateway.core.keeping import Hold, Kind, Policy
from gateway.core.types import Level, Role
from gateway.metrics import Metrics

BODY_LIMIT: Final = 262_144
"""The largest JSON body of a route other than events, in bytes."""
BODY_SECONDS: Final = 30.0
"""How long a request's body may take to arrive."""

_BODY_DEPTH: Final = 8
_Body = TypeVar("_Body", bound=msgspec.Struct)
Endpoint = Callable[[Request], Awaitable[Response]]


class Taken(Protocol):
    """What became of events: how many were new, how many known; `refused` holds positions and reasons."""

    @property
    def accepted(self) -> int: ...
    @property
    def duplicates(self) -> int: ...
    @property
    def refused(self) -> Sequence[tuple[int, str]]: ...


class Take(Protocol):
    """The intake: returns when everything is durable, raises `NotDurable` when it cannot be."""

    def __call__(self, events: Sequence[Event], refused: Sequence[Refused], /) -> Awaitable[Taken]: ...


class Hub(Protocol):
    """What the control API asks of the hub. Every method may raise `Refusal`."""

    def calls(self) -> Sequence[Mapping[str, Any]]: ...
    async def call(self, call: str, organization: str | None) -> Mapping[str, Any]: ...
    async def coverage(self, call: str, organization: str | None, level: Level, wait: float) -> Sequence[bytes]: ...
    async def name(self, call: str, organization: str | None, aliases: tuple[str, ...]) -> None: ...
    async def stored_message(self, participant: str) -> Mapping[str, Any] | None: ...
    async def sweep(self, now: datetime | None) -> Mapping[str, Any]: ...
    async def certificates(self) -> Sequence[Mapping[str, Any]]: ...
    async def entries(self, region: str, start: int, limit: int) -> Sequence[bytes]: ...
    def readiness(self) -> Sequence[str]: ...


class Retention(Protocol):
    """What the control API asks about retention. Every method may raise `Refusal`, and `NotDurable`."""

    async def rules(self, kind: Kind) -> Sequence[Mapping[str, Any]]: ...
    async def rule(self, kind: Kind, name: str) -> Mapping[str, Any]: ...
    async def set_policy(self, name: str, policy: Policy) -> Mapping[str, Any]: ...
    async def set_hold(self, name: str, hold: Hold) -> Mapping[str, Any]: ...
    async def remove(self, kind: Kind, name: str) -> None: ...
    async def explain(self, participant: str) -> Mapping[str, Any]: ...
    async def erase(self, participant: str) -> Mapping[str, Any]: ...


class Consistency(Protocol):
    """That the first `end` entries of a ledger begin with its first `start`."""

    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def hashes(self) -> Sequence[bytes]: ...


class Proving(Protocol):
    """What the control API asks of the ledgers. Every method may raise `Refusal`, and `NotDurable`."""

    async def checkpoint(self, region: str) -> str: ...
    async def proof(self, region: str, entry: int) -> str: ...
    async def consistency(self, region: str, start: int, end: int | None) -> Consistency: ...


class Pack(Protocol):
    """One file of evidence, and what to call it."""

    @property
    def name(self) -> str: ...
    @property
    def data(self) -> bytes: ...


class MakePack(Protocol):
    """Packs a call's evidence, asked at a level and naming people of some regions. Raises `Refusal`, `NotDurable`."""

    def __call__(
        self, call: str, organization: str | None, level: Level | None, regions: Sequence[str] | None, /
    ) -> Awaitable[Pack]: ...


class KeepCosignatures(Protocol):
    """Keeps the cosignatures under a region's checkpoint that count; whose they are. Raises `Refusal`, `NotDurable`."""

    def __call__(self, region: str, text: str, /) -> Awaitable[Sequence[str]]: ...


class IssueToken(Protocol):
    """Signs a client token and says when it expires; raises `Refusal` where no signing key is at hand."""

    def __call__(
        self, *, participant: str, calls: tuple[str, ...], lifetime: timedelta, role: Role, name: str | None
    ) -> tuple[str, datetime]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Everything the routes need. `topics` maps Event Grid topics, in lower case, to organisations."""

    hub: Hub
    retention: Retention
    proving: Proving
    make_pack: MakePack
    keep_cosignatures: KeepCosignatures
    take: Take
    token: str
    webhook_secret: str
    topics: Mapping[str, str]
    now: Callable[[], datetime]
    issue_token: IssueToken
    metrics: Metrics

    def authorized(self, endpoint: Endpoint) -> Endpoint:
        """`endpoint` for bearers of the control token only (RFC 6750); others are answered 401."""

        async def checked(request: Request) -> Response:
            scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not equal(credentials.strip(), self.token):
                raise Refusal("unauthorized", "a valid control token is required", status=401)
            return await endpoint(request)

        return checked

    def check_webhook(self, request: Request) -> None:
        """Refuse who does not know the webhook secret, in `?code=` or the header `x-webhook-secret`."""
        offered = [*request.query_params.getlist("code"), *request.headers.getlist("x-webhook-secret")]
        if not any(equal(secret, self.webhook_secret) for secret in offered):
            raise Refusal("unauthorized", "a valid webhook secret is required", status=401)


def equal(offered: str, secret: str) -> bool:
    """Whether a secret is right, in a time that does not tell how far it is; an empty secret never is."""
    return bool(secret) and hmac.compare_digest(offered.encode("utf-8", "replace"), secret.encode())


def json_response(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """`value` as JSON."""
    return Response(msgspec.json.encode(value), status, headers, media_type="application/json")


class PiecesResponse(Response):
    """JSON in pieces, each written when those before it have gone, with turns of the loop in between."""

    media_type = "application/json"

    def __init__(self, pieces: Sequence[bytes]) -> None:
        super().__init__(headers={"Content-Length": str(sum(map(len, pieces)))})
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See Starlette."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for piece in self._pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            await asyncio.sleep(0)
        await send({"type": "http.response.body", "body": b""})


def segment(request: Request, parameter: str) -> str:
    """The percent-decoded path segment; raises `Refusal` unless it is a name that could exist."""
    try:
        value = unquote(request.path_params[parameter], errors="strict")
    except UnicodeDecodeError:
        value = ""
    return checked_name(value, parameter)


def checked_name(value: str, what: str) -> str:
    """`value` if it can be a name: not empty, not too long, no control characters."""
    if not 0 < len(value) <= NAME_LIMIT or not value.isprintable():
        raise Refusal("bad_request", f"{what} is empty, too long or not printable")
    return value


def query(request: Request, parameter: str) -> str | None:
    """The query parameter, None if absent; raises `Refusal` if it is given twice."""
    values = request.query_params.getlist(parameter)
    if len(values) > 1:
        raise Refusal("bad_request", f"{parameter} is given more than once")
    return values[0] if values else None


def query_number(request: Request, parameter: str, default: int, largest: int) -> int:
    """The query parameter as a whole number from 0 to `largest`."""
    value = query(request, parameter)
    return default if value is None else whole_number(value, parameter, largest)


def whole_number(value: str, what: str, largest: int) -> int:
    """`value` as a whole number from 0 to `largest`; raises `Refusal`."""
    if not value.isascii() or not value.isdigit() or len(value) > 16 or int(value) > largest:
        raise Refusal("bad_request", f"{what} is not a whole number from 0 to {largest}")
    return int(value)


def organization(request: Request) -> str | None:
    """The organisation a route is narrowed to, if it is."""
    value = query(request, "organization")
    return None if value is None else checked_name(value, "organization")


async def read_body(request: Request, limit: int) -> bytes:
    """The request's body; raises `Refusal` 413 beyond `limit` bytes without keeping more than that."""
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > limit:
        raise _too_large(limit)
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    raise _too_large(limit)
    except TimeoutError:
        raise Refusal("timeout", "the body took too long to arrive", status=408) from None
    return bytes(body)


def _too_large(limit: int) -> Refusal:
    return Refusal("too_large", f"the body is larger than {limit} bytes", status=413)


async def read_json(request: Request, kind: type[_Body], *, optional: bool = False) -> _Body:
    """The request's JSON body as `kind`; an absent body counts as an empty object where it is `optional`."""
    body = await read_body(request, BODY_LIMIT)
    try:
        return msgspec.convert(strict_json.parse(body or (b"{}" if optional else b""), depth=_BODY_DEPTH), kind)
    except msgspec.ValidationError as error:
        raise Refusal("bad_request", str(error)) from None
    except ValueError:
        raise Refusal("bad_request", "the body is not strict JSON") from None
