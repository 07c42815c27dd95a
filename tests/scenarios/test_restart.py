"""After kill -9 and after any reconnect everything is as it was, and nobody misses or hears anything twice."""

from __future__ import annotations

import asyncio
from itertools import cycle, islice
from pathlib import Path
from urllib.parse import quote

from tests.scenarios.events import joined, observed, recording, roster
from tests.scenarios.harness import STATES, Gateway, Json, gaps, of_kind, person, proofs
from tests.scenarios.peers import Dial, Peer, listening
from tests.scenarios.test_evidence import verified

SETTINGS = {"NOTICES__DEADLINE_SECONDS": "60", "LISTEN__PING_SECONDS": "1"}


def _open_gaps(covered: Json) -> set[tuple[str, str]]:
    return {(each["notice"], gap["participant"]) for each in covered["notices"] for gap in each["gaps"]}


async def test_everything_comes_back_after_a_kill(own_gateway: Gateway) -> None:
    """P1 and P3: calls, revisions, capabilities, owed notices, presences, proofs and aliases are back after kill -9;
    what was retried is the same start, and who was away owes what they owed."""
    gateway = own_gateway.start()
    start = recording("alias-of-call")
    async with Dial(gateway) as dial:
        anna, ben = await dial("anna", "call"), await dial(person("ben", STATES), "call")
        await gateway.ask("PUT", "/v1/calls/call/aliases", json={"aliases": ["alias-of-call", "another"]})
        await gateway.tell(
            start, joined("call", person("listed")), observed("call", "active", capability="transcription")
        )
        first, second = await ben.hear("notice"), await ben.hear("notice")
        receipt = await anna.prove(await anna.hear("notice", notice=first["notice"]))
        before = await gateway.get("/v1/calls/call")
        covered = await gateway.coverage("call")
    gateway.restart()
    async with Dial(gateway) as dial:
        after = await gateway.get("/v1/calls/call")
        assert {**after, "connected": before["connected"]} == before
        assert _open_gaps(await gateway.coverage("call")) == _open_gaps(covered)
        assert (await gateway.tell(start))["duplicates"] == 1
        await gateway.tell(recording("another"))
        ben = await dial(person("ben", STATES), "call")
        assert [each["notice"] for each in ben.states["call"]["notices"]] == [first["notice"], second["notice"]]
        assert ben.states["call"]["revision"] == before["revision"]
        anna = await dial("anna", "call")
        assert [each["notice"] for each in anna.states["call"]["notices"]] == [second["notice"]]
        assert await anna.prove(first) == receipt
        assert len(of_kind(await gateway.entries(), "notice", call="call", capability="recording")) == 1
        for peer in (anna, ben):
            for notice in (first, second):
                await peer.prove(notice)
        final = await gateway.coverage("call")
        assert [[gap["reason"] for gap in each["gaps"]] for each in final["notices"]] == [["unreachable"]] * 2


async def test_a_hundred_calls_come_back(own_gateway: Gateway) -> None:
    """P2: with many calls on, each comes back with its own state and its own people."""
    gateway = own_gateway.start()
    calls = [f"call-{number}" for number in range(100)]
    await gateway.tell(*(roster(call, 1, person(f"only-{call}")) for call in calls))
    await gateway.tell(*(observed(call) for call in calls[::2]))
    gateway.restart()
    found = {each["call"]: each for each in (await gateway.get("/v1/calls"))["calls"]}
    assert set(found) == set(calls)
    for number, call in enumerate(calls):
        assert found[call]["capabilities"]["recording"]["state"] == ("inactive" if number % 2 else "active")
    assert gaps(await gateway.coverage("call-42")) == {person("only-call-42"): "unreachable"}


async def test_rejoining_before_the_first_event_is_whole(gateway: Gateway, dial: Dial, call: str) -> None:
    """Peer bug 1: who comes back before anything ever happened gets a state and then what happens."""
    anna = await dial("anna", call)
    revision = anna.states[call]["revision"]
    await anna.vanish()
    again = await dial("anna", call, join=False)
    state = await again.join(call, revision=revision)
    assert (state["notices"], state["revision"]) == ([], revision)
    await gateway.tell(observed(call))
    await again.hear("notice", change="started")


async def test_an_unknown_revision_leaves_nobody_stuck(gateway: Gateway, dial: Dial, call: str) -> None:
    """Peer bug 4: whatever revision a client says it saw, it gets the whole state and everything after it."""
    await gateway.tell(observed(call))
    for revision in (0, 1, 999_999, 2**53 - 1):
        peer = await dial(f"user-{revision}", call, join=False)
        state = await peer.join(call, revision=revision)
        assert [each["change"] for each in state["notices"]] == ["started"]
    await gateway.tell(observed(call, "paused"))
    assert (await peer.hear("notice"))["change"] == "paused"


async def test_the_old_connections_end_does_not_end_the_new_session(gateway: Gateway, dial: Dial, call: str) -> None:
    """Peer bug 2: when a dead connection times out (4003), its participant's newer session stays and is told."""
    old = await dial("anna", call)
    old.answers_pings = False
    new = await dial("anna", call)
    async with listening(new):
        assert await old.ended() == 4003
    summary = await gateway.get(f"/v1/calls/{call}")
    assert (summary["present"], summary["connected"]) == (1, 1)
    await gateway.tell(observed(call))
    await new.prove(await new.hear("notice", change="started"))


async def test_a_newer_session_of_a_device_replaces_the_older(gateway: Gateway, dial: Dial, call: str) -> None:
    """Peer bug 2: the device's old session ends with 4409 and takes neither the presence nor the new session along."""
    old = await dial("anna", call, device="phone")
    new = await dial("anna", call, device="phone")
    assert await old.ended() == 4409
    await gateway.tell(observed(call))
    await new.prove(await new.hear("notice", change="started"))
    covered = await gateway.coverage(call)
    assert (covered["notices"][0]["owed"], covered["complete"]) == (1, True)


async def test_a_notice_sent_into_a_silent_death_is_owed(gateway: Gateway, dial: Dial, call: str) -> None:
    """Peer bug 6: what was written to a connection that was already dead is in the state when the client is back."""
    dead = await dial("anna", call)
    dead.answers_pings = False
    await gateway.tell(observed(call))
    assert await dead.ended() == 4003
    assert gaps(await gateway.coverage(call)) == {dead.participant: "disconnected"}
    back = await dial("anna", call)
    (owed,) = back.states[call]["notices"]
    await back.prove(owed)
    assert (await gateway.coverage(call))["complete"] is True


async def test_no_window_between_state_and_live(gateway: Gateway, dial: Dial, call: str) -> None:
    """Peer bug 9: whoever joins while changes pour in finds after the state every change it does not hold,
    in order; what comes again is not newer than the state and is dropped."""
    changing = asyncio.create_task(_change(gateway, call, 40))
    peers: list[Peer] = []
    while not changing.done():
        peers.append(await dial(f"user{len(peers)}", call))
    await changing
    final = (await gateway.get(f"/v1/calls/{call}"))["revision"]
    assert len(peers) > 5
    for peer in peers:
        began = peer.states[call]["revision"]
        await peer.join(call)
        newer = [each["revision"] for each in peer.notices(call=call) if each["revision"] > began]
        assert newer == list(range(began + 1, final + 1))


async def _change(gateway: Gateway, call: str, times: int) -> None:
    for state in islice(cycle(("active", "paused")), times):
        await gateway.tell(observed(call, state))


async def test_a_lost_client_comes_back_to_what_it_owes(gateway: Gateway, dial: Dial, call: str) -> None:
    """P2: a reconnect is a join: the same notice under the same id, owed until proved and not a moment longer."""
    anna = await dial("anna", call)
    await gateway.tell(observed(call))
    notice = await anna.hear("notice", change="started")
    for _ in range(3):
        await anna.vanish()
        anna = await dial("anna", call)
        assert [each["notice"] for each in anna.states[call]["notices"]] == [notice["notice"]]
    await anna.prove(notice, "acknowledged")
    assert (await anna.join(call))["notices"] == []


async def test_a_pong_keeps_a_session(dial: Dial, call: str) -> None:
    """E13: who answers pings stays, who does not is closed with 4003 within the ping's interval and its grace."""
    alive, dead = await dial("anna", call), await dial("ben", call)
    dead.answers_pings = False
    async with listening(alive):
        assert await dead.ended(within=5) == 4003
    await alive.join(call)


async def test_who_was_erased_and_came_again_before_two_calls_were_one(own_gateway: Gateway, tmp_path: Path) -> None:
    """P1 and P7: connected in one call, erased, known anew in the other, merged, killed: they are told and prove on,
    and an auditor finds nothing wrong, nobody named by what was erased, and every erasure carried out."""
    gateway = own_gateway.start()
    anna = person("anna")
    async with Dial(gateway) as dial:
        peer = await dial.open(anna)
        await peer.hello(gateway.token(anna, "other", "call"), device="phone")
        await peer.join("other")
        answer = await gateway.ask("DELETE", f"/v1/participants/{quote(anna, safe='')}")
        assert answer.json()["presences"] == 1
        await gateway.tell(joined("call", anna))
        await gateway.ask("PUT", "/v1/calls/call/aliases", json={"aliases": ["other"]})
        await gateway.tell(observed("call"))
        notice = await peer.hear("notice")
        await peer.prove(notice, "received")
    gateway.restart()
    async with Dial(gateway) as dial:
        peer = await dial.open(anna)
        await peer.hello(gateway.token(anna, "call"), device="phone")
        assert [each["notice"] for each in (await peer.join("call"))["notices"]] == [notice["notice"]]
        await peer.prove(notice)
        assert (await gateway.coverage("call"))["complete"]
        proof = proofs(await gateway.entries(), level="acknowledged")[-1]
        assert proof.get("device") is None
        pack = (await gateway.ask("GET", "/v1/calls/call/evidence")).content
    exit_code, line = await asyncio.to_thread(verified, gateway, pack, tmp_path, ["europe"])
    assert (exit_code, "not erased" in line) == (0, False), line
    key = gateway.directory / "keys" / "europe" / "verifier.vkey"
    done = gateway.offline("ledger", "verify", str(gateway.directory / "data" / "europe"), "--key", str(key))
    assert "it is not carried out" not in done.stdout
