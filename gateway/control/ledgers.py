"""The routes about ledgers: entries as they stand, checkpoints, and the proofs that lead to them.

Rules: an entry is given byte for byte; notes and proofs are text as C2SP has it (signed-note, tlog-checkpoint,
tlog-proof); numbers are judged here, what they mean is the hub's.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Sequence
from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from gateway.control.desk import (
    BODY_LIMIT,
    Desk,
    Endpoint,
    json_response,
    query,
    query_number,
    read_body,
    segment,
    whole_number,
)
from gateway.core.errors import Refusal
from gateway.core.fields import NUMBER_LIMIT

_PAGE: Final = 100
"""Entries in memory at a time; one that many people share is as long as they are many."""


def ledgers(desk: Desk) -> list[tuple[str, str, Endpoint]]:
    """The routes under `/v1/ledgers`: method, path, endpoint."""

    async def entries(request: Request) -> Response:
        region = segment(request, "region")
        start = query_number(request, "from", 0, NUMBER_LIMIT)
        limit = query_number(request, "limit", NUMBER_LIMIT, NUMBER_LIMIT)
        # The first page is fetched before the answer begins, so that a refusal still has a status.
        first = await desk.hub.entries(region, start, min(limit, _PAGE))
        return StreamingResponse(_lines(desk, region, start, limit, first), media_type="application/x-ndjson")

    async def checkpoint(request: Request) -> Response:
        return PlainTextResponse(await desk.proving.checkpoint(segment(request, "region")))

    async def proof(request: Request) -> Response:
        entry = whole_number(segment(request, "entry"), "entry", NUMBER_LIMIT)
        return PlainTextResponse(await desk.proving.proof(segment(request, "region"), entry))

    async def consistency(request: Request) -> Response:
        region = segment(request, "region")
        if query(request, "from") is None:
            raise Refusal("bad_request", "from is missing")
        start = query_number(request, "from", 0, NUMBER_LIMIT)
        end = None if query(request, "to") is None else query_number(request, "to", 0, NUMBER_LIMIT)
        found = await desk.proving.consistency(region, start, end)
        hashes = [base64.b64encode(each).decode() for each in found.hashes]
        return json_response({"from": found.start, "to": found.end, "hashes": hashes})

    async def cosign(request: Request) -> Response:
        region = segment(request, "region")
        try:
            note = (await read_body(request, BODY_LIMIT)).decode("utf-8")
        except UnicodeDecodeError:
            raise Refusal("bad_request", "the body is not UTF-8") from None
        return json_response({"kept": await desk.keep_cosignatures(region, note)})

    return [
        ("GET", "/v1/ledgers/{region}/entries", entries),
        ("GET", "/v1/ledgers/{region}/checkpoint", checkpoint),
        ("GET", "/v1/ledgers/{region}/proof/{entry}", proof),
        ("GET", "/v1/ledgers/{region}/consistency", consistency),
        ("POST", "/v1/ledgers/{region}/cosignatures", cosign),
    ]


async def _lines(desk: Desk, region: str, start: int, limit: int, page: Sequence[bytes]) -> AsyncIterator[bytes]:
    """The entries from `start`, one a line, page by page until `limit` or the ledger's present end."""
    sent = 0
    while page:
        yield b"\n".join(page) + b"\n"
        sent += len(page)
        wanted = min(limit - sent, _PAGE)
        if wanted <= 0 or len(page) < _PAGE:
            return
        page = await desk.hub.entries(region, start + sent, wanted)
