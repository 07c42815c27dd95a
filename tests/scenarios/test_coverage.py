"""P2: everyone present while a capability was on is proved or is a gap with its reason and its length."""

from __future__ import annotations

import asyncio
import json
import time
from itertools import pairwise

import pytest

from tests.scenarios.events import call_ended, joined, left, observed, roster
from tests.scenarios.harness import STATES, Gateway, gaps, of_kind, person
from tests.scenarios.peers import Dial

DEADLINE = 1.0
SETTINGS = {"NOTICES__DEADLINE_SECONDS": str(DEADLINE), "CALLS__DISCONNECT_SECONDS": "0.3"}


async def test_everyone_proved_is_complete(gateway: Gateway, dial: Dial, call: str) -> None:
    """P2: where all have acknowledged there is no gap, and who waits for that is answered at once."""
    peers = [await dial("anna", call), await dial(person("ben", STATES), call)]
    await gateway.tell(observed(call))
    began = time.monotonic()
    waiting = asyncio.create_task(gateway.coverage(call, wait=10))
    for peer in peers:
        await peer.prove(await peer.hear("notice", change="started"))
    covered = await waiting
    assert time.monotonic() - began < 5
    assert covered["complete"] is True
    assert [(each["owed"], each["proved"], each["gaps"]) for each in covered["notices"]] == [(2, 2, [])]


async def test_pending_becomes_overdue_and_is_sent_again(gateway: Gateway, dial: Dial, call: str) -> None:
    """P2: until the deadline a gap is pending; after it, it is overdue, recorded once, and the notice is sent again."""
    peer = await dial("anna", call)
    await gateway.tell(observed(call))
    notice = await peer.hear("notice", change="started")
    assert gaps(await gateway.coverage(call)) == {peer.participant: "pending"}
    assert await peer.hear("notice", notice=notice["notice"], within=DEADLINE + 3) == notice
    covered = await gateway.coverage(call)
    assert gaps(covered) == {peer.participant: "overdue"}
    assert covered["notices"][0]["gaps"][0]["exposure_ms"] >= DEADLINE * 1000
    assert len(of_kind(await gateway.entries(), "overdue", notice=notice["notice"])) == 1


async def test_a_lower_level_does_not_prove_a_higher(gateway: Gateway, dial: Dial, call: str) -> None:
    """P2: received is not displayed, displayed is not acknowledged, acknowledged is not consented."""
    peer = await dial("anna", call)
    await gateway.tell(observed(call))
    notice = await peer.hear("notice", change="started")
    levels = ("received", "displayed", "acknowledged", "consented")
    for level, higher in pairwise(levels):
        await peer.prove(notice, level)
        assert (await gateway.coverage(call, level=level))["complete"] is True
        assert (await gateway.coverage(call, level=higher))["complete"] is False


async def test_who_left_before_proof_is_a_gap_whose_exposure_ended(gateway: Gateway, dial: Dial, call: str) -> None:
    """P2: `left`, by leaving the call or by saying goodbye; the exposure stops at the leave."""
    anna, ben = await dial("anna", call), await dial("ben", call)
    await gateway.tell(observed(call))
    await anna.hear("notice", change="started")
    await anna.leave(call)
    await ben.send("bye")
    assert await ben.ended() == 1000
    covered = await gateway.coverage(call)
    assert gaps(covered) == {anna.participant: "left", ben.participant: "left"}
    await asyncio.sleep(0.05)
    assert covered["notices"][0]["gaps"] == (await gateway.coverage(call))["notices"][0]["gaps"]


async def test_who_was_lost_is_disconnected_before_and_after_absence(gateway: Gateway, dial: Dial, call: str) -> None:
    """P2: `disconnected` at once when the connection is lost, and still so when nobody came back in time."""
    peer = await dial("anna", call)
    await gateway.tell(observed(call))
    await peer.hear("notice", change="started")
    await peer.vanish()
    async with asyncio.timeout(5):
        while gaps(await gateway.coverage(call)) != {peer.participant: "disconnected"}:
            await asyncio.sleep(0.02)
        while not of_kind(await gateway.entries(), "presence.closed", call=call, reason="disconnected"):
            await asyncio.sleep(0.05)
    assert gaps(await gateway.coverage(call)) == {peer.participant: "disconnected"}


async def test_who_never_had_a_session_is_unreachable(gateway: Gateway, dial: Dial, call: str) -> None:
    """P2: people known from rosters and events only owe as well; Teams users are counted and owe nothing."""
    await dial("observer", call, observer=True)
    await gateway.tell(
        joined(call, person("anna")),
        roster(call, 1, person("anna"), person("ben", STATES), "8:orgid:teams-user"),
        observed(call),
    )
    covered = await gateway.coverage(call)
    assert gaps(covered) == {person("anna"): "unreachable", person("ben", STATES): "unreachable"}
    assert covered["notices"][0]["owed"] == 2
    assert (await gateway.get(f"/v1/calls/{call}"))["others"] == 1


async def test_an_older_roster_changes_nothing(gateway: Gateway, dial: Dial, call: str) -> None:
    """P2: rosters are ordered by their sequence number, whatever the order in which they arrive."""
    await dial("observer", call, observer=True)
    await gateway.tell(roster(call, 7, person("anna")), roster(call, 6, person("ben")), observed(call))
    assert gaps(await gateway.coverage(call)) == {person("anna"): "unreachable"}
    await gateway.tell(roster(call, 8))
    assert (await gateway.get(f"/v1/calls/{call}"))["present"] == 0


async def test_who_declines_is_a_gap_of_consent_only(gateway: Gateway, dial: Dial, call: str) -> None:
    """P2: `declined` and `withdrawn` are gaps at level consented; the acknowledgement stands by itself."""
    anna, ben = await dial("anna", call), await dial("ben", call)
    await gateway.tell(observed(call))
    for peer, levels in ((anna, ("acknowledged", "declined")), (ben, ("acknowledged", "consented", "withdrawn"))):
        notice = await peer.hear("notice", change="started")
        for level in levels:
            await peer.prove(notice, level)
    declined = {anna.participant: "declined", ben.participant: "declined"}
    assert gaps(await gateway.coverage(call, level="consented")) == declined
    assert (await gateway.coverage(call, level="acknowledged"))["complete"] is True


async def test_who_reads_too_slowly_is_slow(gateway: Gateway, dial: Dial, call: str) -> None:
    """P2: `slow` while more is unsent than a session may have; what it missed is one fresh state once it reads."""
    slow = await dial("anna", call, receive_buffer=4096)
    await gateway.tell(*(observed(call, state) for _ in range(60) for state in ("active", "paused")))
    for number in range(150):
        await slow.write(json.dumps({"type": "join", "id": f"again-{number}", "call": call}))
    async with asyncio.timeout(5):
        while set(gaps_of_all(await gateway.coverage(call))) != {"slow"}:
            await asyncio.sleep(0.02)
    await gateway.tell(observed(call, capability="transcription"))
    state = await slow.hear("state", id=None, within=20)
    assert state["capabilities"]["transcription"]["state"] == "active"
    assert state["revision"] == (await gateway.get(f"/v1/calls/{call}"))["revision"]


def gaps_of_all(covered: dict[str, list[dict[str, list[dict[str, str]]]]]) -> list[str]:
    return [gap["reason"] for notice in covered["notices"] for gap in notice["gaps"]]


async def test_an_ended_episode_keeps_its_gaps_and_asks_nobody(gateway: Gateway, dial: Dial, call: str) -> None:
    """P2: when an episode ends, what was not proved stays its gap; a late ack does not close it, and the end itself
    is owed at level received only."""
    peer = await dial("anna", call)
    await gateway.tell(observed(call))
    started = await peer.hear("notice", change="started")
    await gateway.tell(observed(call, "inactive"))
    stopped = await peer.hear("notice", change="stopped")
    assert stopped["require"] == "received"
    await peer.prove(started)
    await peer.prove(stopped, "received")
    covered = await gateway.coverage(call)
    assert set(gaps(covered)) == {peer.participant}
    assert gaps(covered, "stopped") == {}
    assert (await peer.join(call))["notices"] == []


async def test_a_call_that_ends_closes_everyones_presence(gateway: Gateway, dial: Dial, call: str) -> None:
    """P2: the call's end is told as a stop, closes every presence, and gaps stay as they were."""
    anna, ben = await dial("anna", call), await dial("ben", call)
    await gateway.tell(observed(call))
    await anna.prove(await anna.hear("notice", change="started"))
    await gateway.tell(call_ended(call))
    await asyncio.gather(anna.hear("notice", change="stopped"), ben.hear("notice", change="stopped"))
    assert gaps(await gateway.coverage(call)) == {ben.participant: "left"}
    summary = await gateway.get(f"/v1/calls/{call}")
    assert (summary["open"], summary["present"]) == (False, 0)
    assert call not in [each["call"] for each in (await gateway.get("/v1/calls"))["calls"]]


@pytest.mark.parametrize("late", [True, False])
async def test_only_those_who_overlap_an_episode_owe_it(gateway: Gateway, dial: Dial, call: str, late: bool) -> None:
    """P2: who came after the end or was gone before the start owes nothing; who came in between owes."""
    anna = await dial("anna", call)
    await gateway.tell(left(call, anna.participant))
    await anna.leave(call)
    await gateway.tell(observed(call))
    if late:
        await gateway.tell(observed(call, "inactive"))
    ben = await dial("ben", call)
    assert [each["change"] for each in ben.states[call]["notices"]] == ([] if late else ["started"])
    assert list(gaps(await gateway.coverage(call))) == ([] if late else [ben.participant])


async def test_two_sessions_are_one_presence(gateway: Gateway, dial: Dial, call: str) -> None:
    """P2: two devices of one participant owe once, either proves for both, and both are told."""
    phone, laptop = await dial("anna", call, device="phone"), await dial("anna", call, device="laptop")
    await gateway.tell(observed(call))
    notice = await phone.hear("notice", change="started")
    assert (await laptop.hear("notice", change="started"))["notice"] == notice["notice"]
    receipt = await phone.prove(notice)
    assert await laptop.prove(notice) == receipt
    covered = await gateway.coverage(call)
    assert [(each["owed"], each["proved"]) for each in covered["notices"]] == [(1, 1)]
    await phone.vanish()
    summary = await gateway.get(f"/v1/calls/{call}")
    assert (summary["present"], summary["connected"]) == (1, 1)
