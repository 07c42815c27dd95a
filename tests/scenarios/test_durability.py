"""P1: what a client was told is recorded is in the ledger, at whatever moment the process is killed."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from itertools import count, cycle

import httpx

from tests.scenarios.events import observed
from tests.scenarios.harness import REGIONS, STATES, Gateway, Json, person
from tests.scenarios.peers import Dial, Ended, Peer

RUNS = 20
PEOPLE = [person("anna"), person("ben"), person("cleo"), person("dan", STATES), person("eve", STATES)]
LEVELS = ("received", "displayed", "acknowledged", "consented")
SETTINGS = {"NOTICES__DEADLINE_SECONDS": "60"}

Seen = list[tuple[str, Json]]
"""Receipts that clients saw, each with the region of its ledger."""


def _region(participant: str) -> str:
    return REGIONS[STATES in participant]


async def _prove_everything(peer: Peer, seen: Seen) -> None:
    """Claim every level of every notice as it comes, and note each receipt, until the process is gone."""
    with suppress(Ended):
        while True:
            frame = await peer.next()
            if frame["type"] == "receipt":
                seen.append((_region(peer.participant), frame))
            for notice in [frame] if frame["type"] == "notice" else frame.get("notices", []):
                with suppress(Ended):  # what came before the end is still to be read
                    for level in LEVELS:
                        await peer.ack(notice, level)


async def _keep_changing(gateway: Gateway, call: str) -> None:
    """One notice after the other, until the process is gone."""
    with suppress(httpx.TransportError):
        for state in cycle(("active", "paused")):
            await gateway.post(observed(call, state))


async def _run_until_killed(gateway: Gateway, call: str, seconds: float, seen: Seen) -> None:
    async with Dial(gateway) as dial, asyncio.TaskGroup() as tasks:
        for peer in await dial.many(PEOPLE, call):
            tasks.create_task(_prove_everything(peer, seen))
        tasks.create_task(_keep_changing(gateway, call))
        await asyncio.sleep(seconds)
        gateway.kill()


def _check(seen: Seen, ledgers: dict[str, list[Json]]) -> None:
    for region, receipt in seen:
        entry = ledgers[region][receipt["entry"]]
        found = (entry["kind"], entry.get("notice"), entry.get("level"))
        assert found == ("level", receipt["notice"], receipt["level"])


async def test_every_receipt_survives_a_kill(own_gateway: Gateway) -> None:
    """P1: killed at random moments while acks pour in, every receipt a client saw is in the ledger under its number,
    by the API of the next process and in the file; nothing that was in the ledger ever changes."""
    chance, seen = random.Random(2026), Seen()
    before: dict[str, list[Json]] = {region: [] for region in REGIONS}
    for run in range(RUNS):
        fresh = Seen()
        await _run_until_killed(own_gateway.start(), f"call-{run % 3}", chance.uniform(0.02, 0.25), fresh)
        seen += fresh
        written = {region: own_gateway.written(region) for region in REGIONS}
        _check(fresh, written)
        assert all(written[region][: len(before[region])] == before[region] for region in REGIONS)
        before = written
    own_gateway.start()
    _check(seen, {region: await own_gateway.entries(region) for region in REGIONS})
    assert len(seen) > RUNS


async def test_a_receipt_is_only_given_for_what_is_on_disk(own_gateway: Gateway) -> None:
    """P1: at the very moment a client holds a receipt, another reader of the file finds its entry."""
    own_gateway.start()
    async with Dial(own_gateway) as dial:
        peer = await dial("anna", "call")
        for number, state in zip(count(), ("active", "paused", "active", "paused", "active"), strict=False):
            await own_gateway.tell(observed("call", state))
            notice = await peer.hear("notice")
            receipt = await peer.prove(notice, LEVELS[number % 3])
            entries = own_gateway.select("europe", f"SELECT leaf FROM entries WHERE seq = {int(receipt['entry'])}")
            assert notice["notice"].encode() in entries[0][0]
