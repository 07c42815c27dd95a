"""The routes about what is kept and for how long: last messages, policies, holds, erasures, sweeps, certificates.

Rules: a route judges the form of its input and leaves every decision to the hub; what somebody wrote is answered to
bearers of the control token alone, and never cached.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gateway.control.desk import Desk, Endpoint, json_response, read_json, segment
from gateway.core.errors import Refusal
from gateway.core.fields import instant
from gateway.core.keeping import Hold, Kind, Policy

_Said = TypeVar("_Said", Policy, Hold)
_PRIVATE: Final = {"Cache-Control": "no-store"}


class Sweep(msgspec.Struct):
    """When a sweep is to think it is."""

    now: str | None = None


def retention(desk: Desk) -> list[tuple[str, str, Endpoint]]:
    """The routes, each with its method."""
    policies = "/v1/retention/policies", "/v1/retention/policies/{name}"
    holds = "/v1/retention/holds", "/v1/retention/holds/{name}"
    return [
        *_kept(desk),
        *_rules(desk, "policy", policies, Policy, desk.retention.set_policy),
        *_rules(desk, "hold", holds, Hold, desk.retention.set_hold),
    ]


def _kept(desk: Desk) -> list[tuple[str, str, Endpoint]]:
    async def message(request: Request) -> Response:
        stored = await desk.hub.stored_message(segment(request, "participant"))
        if stored is None:
            raise Refusal("not_found", "no message of this participant is stored", status=404)
        return json_response(stored, headers=_PRIVATE)

    async def erase(request: Request) -> Response:
        return json_response(await desk.retention.erase(segment(request, "participant")), headers=_PRIVATE)

    async def explain(request: Request) -> Response:
        return json_response(await desk.retention.explain(segment(request, "participant")), headers=_PRIVATE)

    async def sweep(request: Request) -> Response:
        text = (await read_json(request, Sweep, optional=True)).now
        now = None if text is None else instant(text)
        if text is not None and now is None:
            raise Refusal("bad_request", "now is not an RFC 3339 time")
        return json_response(await desk.hub.sweep(now))

    async def certificates(_: Request) -> Response:
        return json_response({"certificates": await desk.hub.certificates()})

    return [
        ("GET", "/v1/messages/{participant}", message),
        ("DELETE", "/v1/participants/{participant}", erase),
        ("GET", "/v1/retention/explain/{participant}", explain),
        ("POST", "/v1/retention/sweep", sweep),
        ("GET", "/v1/retention/certificates", certificates),
    ]


def _rules(
    desk: Desk,
    kind: Kind,
    paths: tuple[str, str],
    said: type[_Said],
    set_rule: Callable[[str, _Said], Awaitable[object]],
) -> list[tuple[str, str, Endpoint]]:
    """The routes of policies, or of holds: by their `paths`, of all of them and of each."""
    path, each = paths

    async def every(_: Request) -> Response:
        return json_response({path.rpartition("/")[2]: await desk.retention.rules(kind)}, headers=_PRIVATE)

    async def one(request: Request) -> Response:
        return json_response(await desk.retention.rule(kind, segment(request, "name")), headers=_PRIVATE)

    async def put(request: Request) -> Response:
        rule = await read_json(request, said)
        return json_response(await set_rule(segment(request, "name"), rule), headers=_PRIVATE)

    async def remove(request: Request) -> Response:
        name = segment(request, "name")
        await desk.retention.remove(kind, name)
        return json_response({"removed": name})

    return [("GET", path, every), ("GET", each, one), ("PUT", each, put), ("DELETE", each, remove)]
