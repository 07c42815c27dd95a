"""P9: memory is bounded whatever clients do, and nobody who reads too slowly or asks too much delays the others."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from itertools import count
from urllib.parse import urlsplit

import httpx

from tests.scenarios.events import event, observed
from tests.scenarios.harness import Gateway
from tests.scenarios.peers import Dial, Ended, Peer

SETTINGS = {"NOTICES__DEADLINE_SECONDS": "60"}
MEBIBYTE = 1024 * 1024
UNSENT = 256 * 1024
"""What may wait for one session in the process."""


async def _promptness(gateway: Gateway, dial: Dial, call: str) -> list[float]:
    """How long it takes from an event to its notice at a healthy client, several times over."""
    healthy, taken = await dial("healthy", call), []
    for state in ("active", "paused", "active", "paused", "active"):
        began = time.monotonic()
        await gateway.tell(observed(call, state))
        await healthy.prove(await healthy.hear("notice"), "received")
        taken.append(time.monotonic() - began)
    return taken


async def _stall(dial: Dial, call: str, number: int) -> Peer:
    """A client that asks for much and reads nothing."""
    peer = await dial(f"stalled-{number}", call, receive_buffer=4096)
    for again in count():
        if again == 250:
            return peer
        await peer.write(json.dumps({"type": "join", "id": str(again), "call": call}))
    raise AssertionError


async def test_slow_readers_cost_a_bounded_amount_and_nobodys_time(gateway: Gateway, dial: Dial, call: str) -> None:
    """E12: twenty clients that never read, each with megabytes asked for, cost at most what a session may have unsent;
    others, in their call and elsewhere, are told as promptly as before; and once they read, they have everything."""
    await gateway.tell(*(observed(call, state) for _ in range(50) for state in ("active", "paused")))
    reader = await dial("reader", call)
    before = gateway.rss()
    stalled = await asyncio.gather(*(_stall(dial, call, number) for number in range(20)))
    taken = await _promptness(gateway, dial, f"{call}-other")
    assert max(taken) < 1.0
    began = time.monotonic()
    await gateway.tell(observed(call, capability="transcription"))
    await reader.prove(await reader.hear("notice", capability="transcription"))
    assert time.monotonic() - began < 1.0
    assert gateway.rss() - before < len(stalled) * 2 * UNSENT + 30 * MEBIBYTE
    revision = (await gateway.get(f"/v1/calls/{call}"))["revision"]
    for peer in stalled[:3]:
        async with asyncio.timeout(20):
            while (await peer.next()).get("revision") != revision:
                continue
        state = await peer.join(call)
        assert state["capabilities"]["transcription"]["state"] == "active"


async def test_a_flood_ends_the_flooder_only(gateway: Gateway, dial: Dial, call: str) -> None:
    """E7: who sends frames without end is closed with 4013 and costs the others no promptness; what was recorded of
    the flood is one level."""

    async def flood(number: int) -> int:
        peer = await dial(f"flooder-{number}", call)
        notice, reading = peer.states[call]["notices"][0], asyncio.create_task(peer.ended(30))
        with suppress(Ended):
            while True:
                await peer.ack(notice)
                await asyncio.sleep(0)
        return await reading

    await gateway.tell(observed(call))
    before = gateway.rss()
    codes, taken = await asyncio.gather(
        asyncio.gather(*(flood(number) for number in range(5))),
        _promptness(gateway, dial, f"{call}-other"),
    )
    assert set(codes) == {4013}
    assert max(taken) < 1.5
    assert gateway.rss() - before < 20 * MEBIBYTE
    covered = await gateway.coverage(call)
    assert covered["notices"][0]["proved"] == 5


@contextmanager
def _idle_sockets(gateway: Gateway, number: int) -> Iterator[None]:
    parts = urlsplit(gateway.websocket)
    with ExitStack() as stack:
        for _ in range(number):
            stack.enter_context(closing(socket.create_connection((parts.hostname or "", parts.port or 0))))
        yield


async def test_silent_sockets_do_not_keep_others_out(gateway: Gateway, dial: Dial, call: str) -> None:
    """E6: with fifteen hundred connections that say nothing, good clients are let in at once, at a bounded cost per
    connection."""
    before = gateway.rss()
    with _idle_sockets(gateway, 1500):
        began = time.monotonic()
        await dial.many([f"good-{number}" for number in range(30)], call)
        assert time.monotonic() - began < 2
        assert gateway.rss() - before < 1500 * 50_000
        await _promptness(gateway, dial, f"{call}-other")


async def test_one_participant_has_a_bounded_number_of_sessions(dial: Dial, call: str) -> None:
    """E7: a participant's twenty-first session is refused with 4429 and the twenty stay."""
    sessions = [await dial("anna", call) for _ in range(20)]
    extra = await dial.open()
    await extra.send("hello", token=dial.gateway.token(sessions[0].participant, call))
    bye = await extra.hear("bye")
    assert (bye["code"], bye["retry"]) == (4429, "never")
    await asyncio.gather(*(peer.join(call) for peer in sessions))


async def test_a_huge_batch_does_not_delay_a_notice(gateway: Gateway, dial: Dial, call: str) -> None:
    """P9: while batches of thousands of events are taken in, another call is told promptly."""
    batch = [event("Somebody.Elses.Type", {"filler": "x" * 100}) for _ in range(3000)]
    posting = asyncio.gather(*(gateway.post(*batch) for _ in range(2)))
    taken = await _promptness(gateway, dial, call)
    assert max(taken) < 2.0
    assert {answer.status_code for answer in await posting} == {200}


async def test_a_body_that_never_comes_delays_nobody(gateway: Gateway, dial: Dial, call: str) -> None:
    """P9: requests whose bodies are announced and never sent leave the control API to others."""
    parts = urlsplit(gateway.control)
    head = f"POST /v1/events HTTP/1.1\r\nHost: x\r\nx-webhook-secret: {gateway.webhook_secret}\r\n"
    with ExitStack() as stack:
        for _ in range(100):
            made = stack.enter_context(closing(socket.create_connection((parts.hostname or "", parts.port or 0))))
            made.sendall(f"{head}Content-Length: 1000\r\n\r\n[".encode())
        taken = await _promptness(gateway, dial, call)
        assert max(taken) < 1.0


async def test_many_waiting_for_coverage_are_answered(gateway: Gateway, dial: Dial, call: str) -> None:
    """P9: a hundred who wait for one call's coverage are answered when it is complete, and cost nothing meanwhile."""
    peer = await dial("anna", call)
    await gateway.tell(observed(call))
    notice = await peer.hear("notice", change="started")
    headers = {"authorization": f"Bearer {gateway.control_token}"}
    async with httpx.AsyncClient(verify=False, timeout=30, limits=httpx.Limits(max_connections=None)) as client:
        url = f"{gateway.control}/v1/calls/{call}/coverage"
        waiting = [asyncio.create_task(client.get(url, params={"wait": 20}, headers=headers)) for _ in range(100)]
        await asyncio.sleep(0.3)
        await peer.prove(notice)
        began = time.monotonic()
        answers = await asyncio.gather(*waiting)
        assert time.monotonic() - began < 3
    assert all(answer.json()["complete"] for answer in answers)
