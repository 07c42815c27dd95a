"""A gateway that follows a script: a real WebSocket server whose every connection is one coroutine of a test.

Rules: it speaks the frames of `notices.v1.json` and judges nothing; what a script asserts fails the test.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

Script = Callable[["Peer"], Awaitable[None]]
FAR = "2099-01-01T00:00:00.000Z"
NOW = "2026-11-23T14:00:00.000Z"


class Peer:
    """The gateway's end of one connection."""

    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket

    async def hear(self, kind: str | None = None) -> dict[str, Any]:
        """The next frame, which must be of `kind` if that is given."""
        async with asyncio.timeout(5):
            frame: dict[str, Any] = json.loads(await self.socket.recv())
        assert kind in (None, frame["type"]), frame
        return frame

    async def say(self, kind: str, **fields: Any) -> None:
        """Send a frame."""
        await self.socket.send(json.dumps({"type": kind, **fields}))

    async def welcome(self, *, ping_seconds: float = 15, expires_at: str = FAR, **extra: Any) -> dict[str, Any]:
        """Hear `hello` and welcome it, with `extra` fields."""
        hello = await self.hear("hello")
        await self.say(
            "welcome",
            session="s_1",
            participant="8:acs:r_u",
            region="europe",
            server_time=NOW,
            ping_seconds=ping_seconds,
            expires_at=expires_at,
            **extra,
        )
        return hello

    async def state(self, *notices: dict[str, Any], revision: int = 0, more: int = 0, **extra: Any) -> dict[str, Any]:
        """Hear `join` and answer with a state."""
        join = await self.hear("join")
        fields = {"capabilities": {}, "revision": revision, "notices": notices, "more": more, **extra}
        await self.say("state", id=join["id"], call=join["call"], **fields)
        return join

    async def begin(self, *notices: dict[str, Any], revision: int = 0) -> None:
        """Welcome and state, in one."""
        await self.welcome()
        await self.state(*notices, revision=revision)

    async def receipt(self, ack: dict[str, Any], entry: int) -> None:
        """Confirm `ack` durably."""
        await self.say("receipt", notice=ack["notice"], level=ack["level"], entry=entry, at=NOW)

    async def bye(self, code: int, retry: str | None) -> None:
        """Say why, and close with `code`."""
        if retry is not None:
            await self.say("bye", code=code, reason="as scripted", retry=retry)
        await self.socket.close(code, "as scripted")

    async def stay(self) -> None:
        """Until the client goes."""
        await self.socket.wait_closed()


def notice(name: str, revision: int, *, change: str = "started", **extra: Any) -> dict[str, Any]:
    """The fields of a notice called `name` in the call `c`."""
    return {
        "call": "c",
        "revision": revision,
        "notice": name,
        "capability": "recording",
        "change": change,
        "episode": "e_1",
        "occurred_at": NOW,
        "issued_at": NOW,
        "text": {"locale": "en", "title": "Recording started", "body": "This call is recorded.", "link": None},
        "digest": f"sha256:{name}",
        "require": "acknowledged",
        "deadline_at": NOW,
        **extra,
    }


@asynccontextmanager
async def scripted(*scripts: Script | int) -> AsyncIterator[str]:
    """The URL of a gateway whose n-th connection follows the n-th script; a number refuses it with that status."""
    left, failures = list(scripts), list[BaseException]()

    def refuse(socket: ServerConnection, request: Request) -> Response | None:
        assert request.path == "/v1/ws"
        if left and isinstance(left[0], int):
            return socket.respond(left.pop(0), "no\n")  # type: ignore[arg-type]  # the list holds both
        return None

    async def follow(socket: ServerConnection) -> None:
        try:
            script = left.pop(0) if left else None
            if callable(script):
                await script(Peer(socket))
            else:
                await socket.wait_closed()
        except ConnectionClosed as closed:
            failures.append(AssertionError(f"the client went away: {closed}"))
        except (AssertionError, TimeoutError, KeyError) as failure:
            failures.append(failure)

    server = serve(
        follow, "127.0.0.1", 0, process_request=refuse, subprotocols=[Subprotocol("notices.v1.json")], close_timeout=0.2
    )
    async with server as running:
        port = next(iter(running.sockets)).getsockname()[1]
        yield f"ws://127.0.0.1:{port}/v1/ws"
    if failures:
        raise failures[0]
    assert not left, f"{len(left)} connections of the script never came"
