"""P1: whenever the process is killed, what a client holds a receipt for is in the ledger, and the ledger is sound."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Coroutine
from contextlib import closing, suppress
from itertools import count, cycle
from pathlib import Path
from typing import Any

import httpx
import pytest

from storage.audit import ledger
from storage.audit.verdict import INCOMPLETE, SOUND
from storage.engine import connect_reader
from storage.note import Verifier, parse_verifiers
from tests.scenarios.events import message, observed, stamp
from tests.scenarios.harness import REGIONS, STATES, Gateway, Json, of_kind, person, proofs
from tests.scenarios.peers import Dial, Ended, Peer

KILLS = 60
SWEPT = 10
"""Every so many kills one hits a sweep."""
MESSAGES = 60
"""Messages that such a sweep deletes."""

PEOPLE = [person("anna"), person("ben"), person("cleo"), person("dan", STATES), person("eve", STATES)]
LEVELS = ("received", "displayed", "acknowledged", "consented")
SETTINGS = {"NOTICES__DEADLINE_SECONDS": "60", "RETENTION__SWEEP_SECONDS": "3600"}
LATER = "2099-01-01T00:00:00Z"


def region_of(peer: Peer) -> str:
    """Whose ledger holds what this peer proves."""
    return REGIONS[STATES in peer.participant]


class Witness:
    """What clients saw over all lives of a gateway: receipts, and the newest checkpoint of each region."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.receipts: list[tuple[str, Json]] = []
        self.unsigned = 0
        """Kills after which entries were not covered by a checkpoint."""
        self.swept = 0
        """Kills that hit a sweep between the deletion and its certificate."""
        self._entries: dict[str, list[Json]] = {region: [] for region in REGIONS}

    def _seen(self, region: str) -> Path:
        return self.gateway.directory / f"{region}.checkpoint"

    def _keys(self, region: str) -> list[Verifier]:
        return parse_verifiers((self.gateway.directory / "keys" / region / "verifier.vkey").read_text())

    def meet(self, peer: Peer) -> None:
        """A client keeps the checkpoint of its welcome."""
        self._seen(region_of(peer)).write_text(peer.heard[0]["checkpoint"])

    def look(self, fresh: list[tuple[str, Json]]) -> None:
        """After a kill, in the files as they lie: every receipt of this life, and a sound ledger with those before."""
        self.receipts += fresh
        for region in REGIONS:
            written = self._written(region)
            for receipt in (receipt for each, receipt in fresh if each == region):
                assert receipt["entry"] < len(written), "a receipt was given for an entry that is not there"
                holds(receipt, written[receipt["entry"]])
        verdicts = [self.verify(region) for region in REGIONS]
        assert set(verdicts) <= {SOUND, INCOMPLETE}
        self.unsigned += INCOMPLETE in verdicts
        self.swept += any(self.gateway.select(region, "SELECT 1 FROM shredding LIMIT 1") for region in REGIONS)

    def _written(self, region: str) -> list[Json]:
        """What this life and those before wrote into the region's file: what is proved again has its old entry."""
        entries = self._entries[region]
        rows = self.gateway.select(region, f"SELECT leaf FROM entries WHERE seq >= {len(entries)} ORDER BY seq")
        entries += [json.loads(leaf) for (leaf,) in rows]
        return entries

    def verify(self, region: str, *witnesses: str) -> int:
        """What the verifier says of a region's file against the newest checkpoint a client saw of it."""
        seen, data = [self._seen(region)], self.gateway.data / region
        sisters = [each for name in witnesses for each in self._keys(name) if each.name.endswith("/witness")]
        return ledger.verify(data, self._keys(region), checkpoints=seen, witnesses=sisters).exit


def holds(receipt: Json, entry: Json) -> None:
    """The entry that a receipt names says what the receipt says."""
    assert proofs([entry], notice=receipt["notice"], level=receipt["level"])


async def _prove_everything(peer: Peer, seen: list[tuple[str, Json]]) -> None:
    """Claim every level of every notice as it comes, and note each receipt, until the process is gone."""
    with suppress(Ended):
        while True:
            frame = await peer.next()
            if frame["type"] == "receipt":
                seen.append((region_of(peer), frame))
            for notice in [frame] if frame["type"] == "notice" else frame.get("notices", []):
                with suppress(Ended):  # what came before the end is still to be read
                    for level in LEVELS:
                        await peer.ack(notice, level)


async def _keep_changing(gateway: Gateway, call: str) -> None:
    """One notice after the other, until the process is gone."""
    with suppress(httpx.TransportError):
        for state in cycle(("active", "paused")):
            await gateway.post(observed(call, state))


async def _keep_talking(peer: Peer) -> None:
    """One message in place of the other, until the process is gone."""
    with suppress(Ended):
        for version in count(1):
            await peer.send(
                "message", id=f"m{version}", thread="t", message="m", version=version, sent_at=stamp(), content="x" * 99
            )
            await asyncio.sleep(0.002)


async def _sweep(gateway: Gateway) -> None:
    with suppress(httpx.TransportError):
        await gateway.ask("POST", "/v1/retention/sweep", json={"now": LATER})


def _kill_amid_a_sweep(gateway: Gateway) -> None:
    """Kill as soon as messages are deleted and not yet certified; no later than in a second."""
    with closing(connect_reader(gateway.data / "europe" / "region.db")) as file:
        for _ in range(20_000):
            if file.execute("SELECT 1 FROM shredding LIMIT 1").fetchone():
                break
    gateway.kill()


async def _live_until_killed(witness: Witness, call: str, seconds: float, *, sweep: bool) -> None:
    """One life: clients prove whatever they are told and talk, or messages are swept away, until the process dies."""
    gateway, fresh = witness.gateway.start(), list[tuple[str, Json]]()
    async with Dial(gateway) as dial, asyncio.TaskGroup() as tasks:

        def meanwhile(work: Coroutine[Any, Any, None]) -> None:
            tasks.create_task(work)

        for peer in await dial.many(PEOPLE, call):
            witness.meet(peer)
            meanwhile(_prove_everything(peer, fresh))
        if sweep:  # alone, since a busy test would see it too late
            await gateway.tell(*(message(person(f"m-{call}-{number}"), "due") for number in range(MESSAGES)))
            meanwhile(_sweep(gateway))
            await asyncio.to_thread(_kill_amid_a_sweep, gateway)
        else:
            meanwhile(_keep_changing(gateway, call))
            meanwhile(_keep_talking(peer))
            await asyncio.sleep(seconds)
            gateway.kill()
    witness.look(fresh)


@pytest.mark.timeout(300)
async def test_every_receipt_survives_every_kill(own_gateway: Gateway) -> None:
    """P1, F1, F3: killed at random moments while acks pour in, and amid sweeps: every receipt a client saw is in the
    ledger under its number, in the file and by the API of the last process; each file is sound as the kill left it and
    continues what clients saw; and the next start signs and certifies what was left open."""
    chance, witness = random.Random(2026), Witness(own_gateway)
    for run in range(KILLS):
        sweep = run % SWEPT == SWEPT - 1
        await _live_until_killed(witness, f"call-{run % 3}", chance.uniform(0.02, 0.25), sweep=sweep)
    assert len(witness.receipts) > 10 * KILLS
    assert witness.unsigned > KILLS / 2
    assert witness.swept > 1
    own_gateway.start()
    ledgers = {region: await own_gateway.entries(region) for region in REGIONS}
    for region, receipt in witness.receipts:
        holds(receipt, ledgers[region][receipt["entry"]])
    for entries in ledgers.values():
        assert len(of_kind(entries, "retention.intent")) == len(of_kind(entries, "retention.certificate"))
    assert own_gateway.terminate() == 0
    for region, sister in zip(REGIONS, reversed(REGIONS), strict=True):
        assert witness.verify(region, sister) == SOUND
        assert not own_gateway.select(region, "SELECT 1 FROM shredding")


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
