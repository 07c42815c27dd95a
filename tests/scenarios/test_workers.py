"""Workers: the promises hold whichever process holds a socket, and whichever of them dies."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.events import observed
from tests.scenarios.harness import Gateway, gaps, of_kind, person
from tests.scenarios.peers import Dial, Ended, Peer

SETTINGS = {"LISTEN__WORKERS": "2", "NOTICES__DEADLINE_SECONDS": "60"}


def workers(gateway: Gateway) -> list[int]:
    """The processes that hold the sockets."""
    children = Path(f"/proc/{gateway.pid}/task/{gateway.pid}/children").read_text().split()
    return [int(each) for each in children]


def holder(gateway: Gateway, peer: Peer) -> int:
    """The process that holds the other end of a peer's connection, by the socket's inode (proc(5), net/tcp)."""
    ports = tuple(peer.connection.transport.get_extra_info(name)[1] for name in ("peername", "sockname"))
    wanted = tuple(f":{port:04X}" for port in ports)
    # The table may leave out a line while others come and go, so it is looked at again.
    for _ in range(100):
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[1].endswith(wanted[0]) and fields[2].endswith(wanted[1]):
                for pid in workers(gateway):
                    if any(_leads(each, f"socket:[{fields[9]}]") for each in Path(f"/proc/{pid}/fd").iterdir()):
                        return pid
    raise AssertionError("nobody holds it")


def _leads(link: Path, target: str) -> bool:
    try:
        return str(link.readlink()) == target
    except FileNotFoundError:  # closed meanwhile
        return False


async def elsewhere(gateway: Gateway, dial: Dial, than: Peer, user: str, *calls: str, **hello: Any) -> Peer:
    """A peer that another worker holds; the kernel chooses, so it is dialled until one does."""
    for _ in range(64):
        peer = await dial.open(person(user))
        if holder(gateway, peer) != holder(gateway, than):
            await peer.hello(gateway.token(peer.participant, *calls), **hello)
            for call in calls:
                await peer.join(call)
            return peer
    raise AssertionError("all connections go to one worker")


async def until(holds: Callable[[], bool], within: float = 10.0) -> None:
    """Wait for it."""
    async with asyncio.timeout(within):
        while not holds():
            await asyncio.sleep(0.02)


async def ready(gateway: Gateway) -> list[str]:
    """Why the gateway is not ready, if it is not."""
    reasons: list[str] = (await gateway.ask("GET", "/readyz")).json()["reasons"]
    return reasons


async def test_everybody_is_told_and_proved_by_whichever_worker(gateway: Gateway, dial: Dial, call: str) -> None:
    """Both workers hold some; each receipt is an entry; `sent` is recorded of all; coverage is complete."""
    peers = await dial.many([f"user{number}" for number in range(12)], call)
    peers.append(await elsewhere(gateway, dial, peers[0], "other", call))
    assert {holder(gateway, peer) for peer in peers} == set(workers(gateway))
    await gateway.tell(observed(call))
    notices = [await peer.hear("notice", change="started") for peer in peers]
    assert len({each["notice"] for each in notices}) == 1
    receipts = await asyncio.gather(*(peer.prove(notice) for peer, notice in zip(peers, notices, strict=True)))
    entries = await gateway.entries()
    assert all(entries[each["entry"]]["level"] == "acknowledged" for each in receipts)
    coverage = await gateway.coverage(call, wait=5)
    assert (coverage["complete"], coverage["notices"][0]["proved"]) == (True, len(peers))
    sent = [each for entry in of_kind(entries, "sent") if entry["call"] == call for each in entry["presences"]]
    assert len(set(sent)) == len(peers)
    late = await elsewhere(gateway, dial, peers[-1], "late", call)
    assert [each["notice"] for each in late.states[call]["notices"]] == [notices[0]["notice"]]


async def test_a_device_has_one_session_whichever_worker_holds_it(gateway: Gateway, dial: Dial, call: str) -> None:
    """4409 for the older; the presence is the same one; twenty sessions of one participant are all there may be."""
    old = await dial("anna", call, device="laptop")
    new = await elsewhere(gateway, dial, old, "anna", call, device="laptop")
    assert await old.ended() == 4409
    assert (await gateway.get(f"/v1/calls/{call}"))["present"] == 1
    await dial.many(["anna"] * 19)
    with pytest.raises(Ended) as refused:
        await elsewhere(gateway, dial, new, "anna")
    assert refused.value.code == 4429


async def test_a_worker_that_is_killed_loses_its_sessions_and_is_replaced(gateway: Gateway, call: str) -> None:
    """Its people are `disconnected` until they are back, the others notice nothing; not ready meanwhile, and loud."""
    async with Dial(gateway) as dial:
        stays = await dial("stays", call)
        falls = await elsewhere(gateway, dial, stays, "falls", call)
        killed = holder(gateway, falls)
        os.kill(killed, signal.SIGKILL)
        # The client may learn of it before the region service does.
        async with asyncio.timeout(10):
            while not any("is not running" in each for each in await ready(gateway)):
                await asyncio.sleep(0)
        assert await falls.ended() == 1006
        await gateway.tell(observed(call))
        notice = await stays.hear("notice", change="started")
        await stays.prove(notice)
        assert gaps(await gateway.coverage(call)) == {person("falls"): "disconnected"}
        await until(lambda: len(workers(gateway)) == 2 and killed not in workers(gateway))
        async with asyncio.timeout(10):
            while await ready(gateway):
                await asyncio.sleep(0.05)
        again = await elsewhere(gateway, dial, stays, "falls", call)
        (owed,) = again.states[call]["notices"]
        await again.prove(owed)
        assert (await gateway.coverage(call, wait=5))["complete"]
    metrics = (await gateway.ask("GET", "/metrics")).text
    assert "gateway_workers 2.0" in metrics
    assert "gateway_workers_lost_total 1.0" in metrics
    assert float(re.findall(r'^gateway_closes_total\{code="1006"\} (\S+)', metrics, re.MULTILINE)[0]) >= 1
    assert float(re.findall(r"^gateway_frames_sent_total (\S+)", metrics, re.MULTILINE)[0]) > 0


async def test_workers_end_with_the_region_service_and_receipts_survive(own_gateway: Gateway) -> None:
    """kill -9 of the region service: every client is cut, every worker ends and says so, and the next process has
    everything that was confirmed."""
    gateway = own_gateway.start()
    async with Dial(gateway) as dial:
        peers = await dial.many([f"user{number}" for number in range(6)], "call")
        await gateway.tell(observed("call"))
        receipts = [await peer.prove(await peer.hear("notice", change="started")) for peer in peers[:4]]
        there = workers(gateway)
        os.kill(gateway.pid, signal.SIGKILL)
        for peer in peers:
            assert await peer.ended() == 1006
        await until(lambda: not any(_runs(each) for each in there))
    gone = [json.loads(line) for line in gateway.log_lines() if "region service gone" in line]
    assert sorted(each["worker"] for each in gone) == [1, 2]
    gateway.kill()
    gateway.start()
    entries = await gateway.entries()
    assert all(entries[each["entry"]]["level"] == "acknowledged" for each in receipts)
    missing = gaps(await gateway.coverage("call"))
    assert missing == {person("user4"): "disconnected", person("user5"): "disconnected"}


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_a_drain_sends_everyone_away_from_every_worker(own_gateway: Gateway) -> None:
    """SIGTERM, to all processes as a service's supervisor sends it: goaway, bye 4001, exit 0 and nobody left."""
    gateway = own_gateway.start()
    async with Dial(gateway) as dial:
        peers = await dial.many([f"user{number}" for number in range(10)], "call")
        there = workers(gateway)
        for each in there:
            os.kill(each, signal.SIGTERM)
        began = time.monotonic()
        ending = asyncio.create_task(asyncio.to_thread(gateway.terminate, 10))
        for peer in peers:
            await peer.hear("goaway")
            assert (await peer.hear("bye"))["retry"] == "reconnect"
            assert await peer.ended() == 4001
        assert await ending == 0
        assert time.monotonic() - began < 8
        assert not any(_runs(each) for each in there)


def test_an_address_in_use_is_refused_in_one_line(own_gateway: Gateway, gateway: Gateway) -> None:
    """Also where whoever has it would share it with others: two gateways are never mixed on one port."""
    address = gateway.websocket.removeprefix("ws://").removesuffix("/v1/ws")
    own_gateway.environment["GATEWAY_LISTEN__ADDRESS"] = address
    refused = own_gateway.run("serve", "--workers", "1")
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "in use" in refused.stderr
