"""The server inside the gateway's loop: signals, ports, heads without end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal

import pytest

from gateway.control import http as control_http
from gateway.control.http import HEAD_LIMIT, PIPELINED
from gateway.control.server import ControlServer, application
from tests.control.desk import (
    ALICE,
    BEARER,
    SECRET,
    TOKEN,
    Room,
    desk,
    listening,
)


async def test_requests_are_never_logged(room: Room, caplog: pytest.LogCaptureFixture) -> None:
    """L2: paths name people and queries hold the secret, so no line of any logger shows either."""
    caplog.set_level(logging.DEBUG)
    async with listening(room) as (_, http):
        await http.get(f"/v1/messages/{ALICE}", headers=BEARER)
        await http.post(f"/v1/events?code={SECRET}", content=b"nonsense")
        await http.get("/v1/nothing/\N{SNOWMAN}", headers=BEARER)
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))]
    assert not [line for line in ours if ALICE in line or SECRET in line or TOKEN in line or "/v1/" in line]


async def test_signals_stay_with_the_root(room: Room) -> None:
    """uvicorn would take SIGTERM away from the process and raise it again when it ends."""
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    async with listening(room) as (_, http):
        await http.get("/healthz")
        assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


async def test_a_taken_port_is_an_error_and_not_the_end_of_the_process(room: Room) -> None:
    """The root says so in one line; the server does not exit on its own."""
    async with listening(room) as (server, _):
        with pytest.raises(OSError):
            ControlServer(application(desk(room)), *server.address)
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    "head",
    [
        b"GET /healthz HTTP/1.1\r\nX: " + b"a" * (2 * HEAD_LIMIT),
        b"GET /healthz HTTP/1.1\r\n" + b"X: a\r\n" * HEAD_LIMIT,
        b"GET /" + b"a" * (2 * HEAD_LIMIT),
        b"\x16\x03\x01\x02\x00\x01",
        b"GET /v1/\xff HTTP/1.1\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
async def test_a_head_without_end_or_sense_ends_the_connection(room: Room, head: bytes) -> None:
    """P9: the memory of a request's head is bounded, and nonsense costs only its sender."""
    async with listening(room) as (server, http):
        reader, writer = await asyncio.open_connection(*server.address)
        with contextlib.closing(writer):
            writer.write(head)
            with contextlib.suppress(ConnectionError):
                answer = await asyncio.wait_for(reader.read(100), 5)
                assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 404"))
        assert (await http.get("/healthz")).status_code == 200


async def test_a_webhook_that_hangs_up_costs_nothing(room: Room) -> None:
    """The half of a request is no request."""
    async with listening(room) as (server, http):
        _, writer = await asyncio.open_connection(*server.address)
        head = f"POST /v1/events?code={SECRET} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
        writer.write(head.encode() + b"[")
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        assert (await http.get("/healthz")).status_code == 200
    assert (room.taken, room.refused) == ([], [])


async def test_trailers_are_thrown_away(room: Room) -> None:
    """P9: after a chunked body anything may follow, for as long as a request may take, and none of it is kept."""
    async with listening(room) as (server, http):
        reader, writer = await asyncio.open_connection(*server.address)
        with contextlib.closing(writer):
            head = f"POST /v1/events?code={SECRET} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            writer.write(head.encode() + b"2\r\n[]\r\n0\r\n" + b"X: y\r\n" * 10_000 + b"\r\n")
            assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"HTTP/1.1 200")
        assert (await http.get("/healthz")).status_code == 200


async def test_what_is_pipelined_is_bounded(room: Room) -> None:
    """P9: whoever sends thousands of requests and reads no answer is cut off, and nobody else notices."""
    async with listening(room) as (server, http):
        reader, writer = await asyncio.open_connection(*server.address)
        with contextlib.closing(writer), contextlib.suppress(ConnectionError):
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * (PIPELINED * 100))
            answered = await asyncio.wait_for(reader.read(), 5)
            assert answered.count(b"HTTP/1.1 200") <= PIPELINED + 1
        assert (await http.get("/healthz")).status_code == 200


async def test_who_was_answered_does_not_keep_the_connection(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """P9: a body without the secret is refused at once, and its connection goes soon however slowly it trickles."""
    monkeypatch.setattr(control_http, "UNREAD_SECONDS", 0.1)
    async with listening(room) as (server, _):
        reader, writer = await asyncio.open_connection(*server.address)
        with contextlib.closing(writer), contextlib.suppress(ConnectionError):
            writer.write(b"POST /v1/events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n")
            answer = await asyncio.wait_for(reader.read(), 5)
            assert answer.startswith(b"HTTP/1.1 401")
