"""P10: while proof cannot be written notices still go out, nothing is confirmed, and all is written afterwards."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.events import Event, message, observed, stamp
from tests.scenarios.harness import REGIONS, STATES, Gateway, Json, gaps, of_kind, person, proofs
from tests.scenarios.peers import Dial, Peer

MEBIBYTES = 6
SETTINGS = {"NOTICES__DEADLINE_SECONDS": "60"}


class Disk:
    """A small file system of its own that can be filled and emptied again."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._ballast = directory / "ballast"

    def fill(self) -> None:
        """Leave no room for a single page."""
        with self._ballast.open("ab", buffering=0) as file:
            for size in (1 << 16, 1 << 12, 1):
                try:
                    while file.write(bytes(size)) == size:
                        pass
                except OSError:
                    continue

    def empty(self) -> None:
        """Give the room back."""
        self._ballast.unlink()


@pytest.fixture
def disk(own_gateway: Gateway) -> Iterator[Disk]:
    """The gateway's data directory on a small disk, mounted for the test and always unmounted."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={MEBIBYTES}m,mode=0700", "tmpfs", str(own_gateway.data)]
    mounted = subprocess.run(mount, capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        yield Disk(own_gateway.data)
    finally:
        own_gateway.kill()
        subprocess.run(["umount", str(own_gateway.data)], check=True)


async def _readiness(gateway: Gateway) -> int:
    return (await gateway.ask("GET", "/readyz", headers={})).status_code


def _receipts(peer: Peer, notice: Json) -> list[Json]:
    return [frame for frame in peer.heard if frame["type"] == "receipt" and frame["notice"] == notice["notice"]]


async def _tell_while_full(gateway: Gateway, dial: Dial, peers: list[Peer], start: Event) -> tuple[Json, Peer]:
    """What must hold while nothing can be written; returns the notice told meanwhile, and who joined meanwhile."""
    refused = await gateway.post(start)
    assert refused.status_code == 503
    assert refused.headers["content-type"] == "application/problem+json"
    notices = [await peer.hear("notice", capability="transcription") for peer in peers]
    assert len({notice["notice"] for notice in notices}) == 1
    for peer, notice in zip(peers, notices, strict=True):
        await peer.ack(notice)
    late = await dial("late", "call")
    assert late.states["call"]["notices"][-1]["notice"] == notices[0]["notice"]
    covered = await gateway.coverage("call")
    assert set(gaps({"notices": covered["notices"][1:]}).values()) == {"unrecorded"}
    assert await _readiness(gateway) == 503
    assert (await gateway.ask("GET", "/healthz", headers={})).status_code == 200
    assert 'gateway_storage_failing{region="europe"} 1.0' in (await gateway.ask("GET", "/metrics")).text
    assert (await gateway.post(start)).status_code == 503
    await peers[0].send("message", id="m", thread="t", message="m", version=1, sent_at=stamp(), content="x")
    assert (await peers[0].hear("error", id="m"))["temporary"] is True
    for peer, region, notice in zip(peers, REGIONS, notices, strict=True):
        await peer.join("call")
        # A log that begins anew may have room for an ack, though not for all that the event does: then it is written.
        for receipt in _receipts(peer, notice):
            assert proofs([gateway.written(region)[receipt["entry"]]], notice=notice["notice"])
        assert len(peer.notices(capability="transcription")) == 1
    return notices[0], late


async def test_a_full_disk_stops_receipts_and_never_notices(own_gateway: Gateway, disk: Disk) -> None:
    """P10 and peer bug 26: on a full disk notices go out with their final ids, there is no receipt for what is not
    written and no 200, readiness is red, and gaps read `unrecorded`; with space again receipts come by themselves, the
    source's retry is the same start, and the ledger has no hole."""
    gateway = own_gateway.start()
    start = observed("call", capability="transcription")
    async with Dial(gateway) as dial:
        peers = [await dial("anna", "call"), await dial(person("ben", STATES), "call")]
        await gateway.tell(observed("call"))
        for peer in peers:
            await peer.prove(await peer.hear("notice", change="started"))
        disk.fill()
        notice, late = await _tell_while_full(gateway, dial, peers, start)
        disk.empty()
        receipts = [await peer.hear("receipt", notice=notice["notice"]) for peer in peers]
        async with asyncio.timeout(5):
            while await _readiness(gateway) != 200:
                await asyncio.sleep(0.05)
        await gateway.tell(start)
        for owed in late.states["call"]["notices"]:
            await late.prove(owed)
        assert (await gateway.coverage("call", wait=5))["complete"] is True
        for peer, region, receipt in zip(peers, REGIONS, receipts, strict=True):
            await peer.join("call")
            assert len(peer.notices(capability="transcription")) == 1
            assert proofs([gateway.written(region)[receipt["entry"]]], notice=notice["notice"])
        assert len(of_kind(gateway.written(), "notice", capability="transcription")) == 1


async def test_what_was_durable_survives_a_kill_on_a_full_disk(own_gateway: Gateway, disk: Disk) -> None:
    """P10: killed while the disk is full, the gateway comes back once there is space, with everything confirmed before,
    and the source's retry of what was answered 503 is told."""
    gateway = own_gateway.start()
    async with Dial(gateway) as dial:
        peer = await dial("anna", "call")
        await gateway.tell(observed("call"))
        receipt = await peer.prove(await peer.hear("notice", change="started"))
        disk.fill()
        start = observed("call", capability="transcription")
        assert (await gateway.post(start)).status_code == 503
        assert (await gateway.post(message(peer.participant, "unconfirmed"))).status_code == 503
        gateway.kill()
    disk.empty()
    gateway.start()
    async with Dial(gateway) as dial:
        assert gateway.written()[receipt["entry"]]["level"] == "acknowledged"
        peer = await dial("anna", "call")
        assert peer.states["call"]["capabilities"]["recording"]["state"] == "active"
        await gateway.tell(start)
        await peer.hear("notice", capability="transcription", change="started")
