"""The control API: HTTP and JSON for operators and for the sources of events, on a port of its own.

Rules: every error is a problem document (RFC 9457) that quotes nothing of the request; nothing is decided by the
Host header or the request's URL; requests are never logged, for their paths name people and their queries hold
the webhook secret; a temporary failure is 503 with Retry-After, never a 4xx.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator, Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Final

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.control import events, http, routes
from gateway.control.desk import Desk, Hub, IssueToken, Take, Taken
from gateway.core.errors import NotDurable, Refusal

__all__ = ["ControlServer", "Desk", "Hub", "IssueToken", "Take", "Taken", "application"]

RETRY_AFTER: Final = "1"
"""Seconds after which a source may try again what storage could not take; storage retries four times a second."""
CONNECTIONS: Final = 512
"""Connections served at once; beyond that a request is answered 503."""
DRAIN_SECONDS: Final = 3
"""How long requests under way may take to end when the server stops."""


def application(desk: Desk) -> ASGIApp:
    """The control API as an ASGI application. Raises `ValueError` for an empty secret."""
    if not desk.token or not desk.webhook_secret:
        raise ValueError("the control token and the webhook secret must not be empty")
    desk = replace(desk, topics={topic.lower(): owner for topic, owner in desk.topics.items()})
    app = Starlette(
        routes=[*events.routes(desk), *routes.routes(desk)],
        exception_handlers={
            Refusal: _refused,
            NotDurable: _not_durable,
            HTTPException: _not_routed,
            ClientDisconnect: _gone,
            Exception: _failed,
        },
    )
    app.router.redirect_slashes = False
    return _raw_paths(app)


def _raw_paths(app: ASGIApp) -> ASGIApp:
    """Route by the path as it was sent: decoded first, an id with `%2F` would become two segments."""

    async def routed(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope.get("raw_path"):
            scope = {**scope, "path": scope["raw_path"].decode("ascii", "replace")}
        await app(scope, receive, send)

    return routed


def _problem(status: int, code: str, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """RFC 9457 §3; `code` is an extension member for machines."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    content = msgspec.json.encode({**body, "detail": detail, "code": code})
    return Response(content, status, headers, media_type="application/problem+json")


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    # A 413 leaves the connection open: closed with bytes unread, TCP would reset it before the answer is seen.
    headers = {"WWW-Authenticate": "Bearer"} if error.status == HTTPStatus.UNAUTHORIZED else {}
    if error.temporary:
        headers["Retry-After"] = RETRY_AFTER
    return _problem(error.status, error.code, error.detail, headers)


async def _not_durable(_: Request, __: Exception) -> Response:
    return _problem(503, "not_durable", "storage cannot write at the moment", {"Retry-After": RETRY_AFTER})


async def _not_routed(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    return _problem(status, status.name.lower(), f"{status.description or status.phrase}.", error.headers)


async def _gone(_: Request, __: Exception) -> Response:
    return _problem(400, "disconnected", "the client left before its request was whole")


async def _failed(_: Request, __: Exception) -> Response:
    """The error itself goes on to the server, which logs it."""
    return _problem(500, "internal", "the gateway failed to answer this request")


class ControlServer(uvicorn.Server):
    """uvicorn inside somebody else's loop: it binds at once, takes no signals and never ends the process."""

    def __init__(self, app: ASGIApp, host: str, port: int) -> None:
        """Bind to `host` and `port` (0 for any free one); raises `OSError` where that is impossible."""
        super().__init__(
            uvicorn.Config(
                app,
                loop="none",
                http=http.BoundedProtocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                limit_concurrency=CONNECTIONS,
                timeout_keep_alive=5,
                timeout_graceful_shutdown=DRAIN_SECONDS,
            )
        )
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listening = socket.create_server((host, port), family=family, backlog=1024)

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens: host and the real port."""
        host, port = self._listening.getsockname()[:2]
        return host, port

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to the application's root; uvicorn would take them and raise them again at its end."""
        yield

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until `stop`, then let requests under way end for at most `DRAIN_SECONDS`."""
        await super().serve([self._listening, *(sockets or [])])

    def stop(self) -> None:
        """Stop taking requests; `serve` returns when those under way are done."""
        self.should_exit = True
