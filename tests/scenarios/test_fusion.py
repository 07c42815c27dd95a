"""P4: any credible start is told at once, a stop needs an authority or agreement, and one start is told once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from tests.scenarios.events import call_ended, event, observed, recording, transcription
from tests.scenarios.harness import Gateway, Json, of_kind, person
from tests.scenarios.peers import Dial, Peer

SETTINGS = {"NOTICES__DEADLINE_SECONDS": "60"}
SETTLE = 10.0
"""Seconds that a stop without an authority waits, and that a claim outlives its client."""


def graph(call: str, status: str) -> Json:
    """Graph's word in the meeting's chat."""
    detail = {
        "@odata.type": "#microsoft.graph.callRecordingEventMessageDetail",
        "callId": call,
        "callRecordingStatus": status,
    }
    data = {"id": "1", "chatId": call, "messageType": "systemEventMessage", "eventDetail": detail}
    return event("Microsoft.Graph.ChatMessageCreated", data)


async def _changes(peer: Peer, call: str) -> list[str]:
    """The changes told so far, once everything decided until now has been sent."""
    await peer.join(call)
    return [each["change"] for each in peer.notices(call=call)]


async def test_one_start_reported_by_every_source_is_told_once(gateway: Gateway, dial: Dial, call: str) -> None:
    """Peer bug 12: however many sources report one start, there is one episode and one notice with one id."""
    anna, ben = await dial("anna", call), await dial("ben", call)
    await asyncio.gather(
        gateway.tell(recording(call)),
        gateway.tell(recording(call, source="another hop")),
        gateway.tell(observed(call)),
        gateway.tell(observed(call, reported_by=person("cleo"))),
        anna.observe(call, "active"),
        ben.observe(call, "active"),
    )
    assert await _changes(anna, call) == ["started"]
    assert await _changes(ben, call) == ["started"]
    assert anna.told() == ben.told()
    assert len(of_kind(await gateway.entries(), "notice", call=call)) == 1


async def test_a_client_alone_opens_at_once_and_everyone_is_told(gateway: Gateway, dial: Dial, call: str) -> None:
    """P4: one client's word that something is on is enough to tell everybody."""
    anna, ben = await dial("anna", call), await dial("ben", call)
    await anna.observe(call, "active", "transcription")
    notice = await ben.hear("notice", change="started")
    assert notice["capability"] == "transcription"
    assert "transcri" in notice["text"]["title"].lower()
    assert "record" not in notice["text"]["title"].lower()


async def test_a_clients_false_stop_never_stops_an_authority(gateway: Gateway, dial: Dial, call: str) -> None:
    """P4: while an authority says active, no client's inactive is told as a stop; it is recorded as contradicted."""
    anna, ben = await dial("anna", call), await dial("ben", call)
    await gateway.tell(recording(call))
    for peer in (anna, ben):
        await peer.observe(call, "inactive")
        assert await _changes(peer, call) == ["started"]
    assert anna.states[call]["capabilities"]["recording"]["state"] == "active"
    async with asyncio.timeout(5):
        while len(await _contradictions(gateway, call)) < 2:
            await asyncio.sleep(0.02)


async def _contradictions(gateway: Gateway, call: str) -> list[Json]:
    return of_kind(await gateway.entries(), "observation", call=call, verdict="contradicted")


async def test_a_flap_of_a_leaving_client_is_no_stop(gateway: Gateway, dial: Dial, call: str) -> None:
    """Peer bug 11: inactive and active again in a moment, as SDKs say when somebody leaves, is told to nobody."""
    anna, ben = await dial("anna", call), await dial("ben", call)
    await anna.observe(call, "active")
    await ben.hear("notice", change="started")
    for state in ("inactive", "active", "inactive", "active"):
        await anna.observe(call, state)
    assert await _changes(anna, call) == ["started"]
    await gateway.tell(observed(call, "inactive"))
    assert await _changes(ben, call) == ["started", "stopped"]


async def test_an_authoritys_stop_is_told_at_once_and_its_failure_too(gateway: Gateway, dial: Dial, call: str) -> None:
    """P4: an authority's inactive withdraws its own claim and every earlier client's; a failure is told as one."""
    anna = await dial("anna", call)
    await anna.observe(call, "active")
    await anna.hear("notice", change="started")
    await gateway.tell(recording(call, "inactive"))
    await anna.hear("notice", change="stopped")
    await gateway.tell(transcription(call, "Started"), transcription(call, "Failed"))
    assert await _changes(anna, call) == ["started", "stopped", "started", "failed"]


async def test_a_late_joiner_is_told_the_whole_state_first(gateway: Gateway, dial: Dial, call: str) -> None:
    """Peer bug 10: who joins while a recording is paused hears of it in the first frame about the call, owes what
    the others owe, and hears of its going on."""
    anna = await dial("anna", call)
    await gateway.tell(observed(call), observed(call, "paused"), transcription(call))
    late = await dial("late", call)
    first = next(frame for frame in late.heard if frame["type"] in ("state", "notice"))
    assert first["type"] == "state"
    assert {name: each["state"] for name, each in first["capabilities"].items()} == {
        "recording": "paused",
        "transcription": "active",
    }
    assert [each["change"] for each in first["notices"]] == ["started", "paused", "started"]
    assert first["revision"] == max(each["revision"] for each in first["notices"])
    await gateway.tell(observed(call, "active"))
    resumed = await late.hear("notice", change="resumed")
    assert resumed["notice"] == (await anna.hear("notice", change="resumed"))["notice"]
    assert resumed["revision"] > first["revision"]


async def test_graph_events_count_as_an_authority(gateway: Gateway, dial: Dial, call: str) -> None:
    """P4: Graph's words initial and success are a start and a stop of recording."""
    anna = await dial("anna", call)
    await gateway.tell(graph(call, "initial"))
    await anna.hear("notice", change="started")
    await gateway.tell(graph(call, "success"))
    await anna.hear("notice", change="stopped")


async def test_the_start_after_a_stop_is_a_new_episode(gateway: Gateway, dial: Dial, call: str) -> None:
    """P4: revisions grow by one per change, each start has an episode and a notice of its own."""
    anna = await dial("anna", call)
    for state in ("active", "paused", "active", "inactive", "active"):
        await gateway.tell(observed(call, state))
    assert await _changes(anna, call) == ["started", "paused", "resumed", "stopped", "started"]
    told = anna.notices(call=call)
    revisions = [each["revision"] for each in told]
    assert revisions == list(range(revisions[0], revisions[0] + 5))
    assert len({each["episode"] for each in told}) == 2
    assert len({each["notice"] for each in told}) == 5


async def test_stop_and_start_out_of_order_end_as_they_happened(gateway: Gateway, dial: Dial, call: str) -> None:
    """P3: an older word of the same source that arrives late changes nothing."""
    anna = await dial("anna", call)
    now = datetime.now(UTC)
    started = recording(call, at=now - timedelta(seconds=2))
    stopped = recording(call, "inactive", at=now - timedelta(seconds=1))
    await gateway.tell(stopped)
    await gateway.tell(started)
    assert (await anna.join(call))["capabilities"]["recording"]["state"] == "inactive"
    assert await _changes(anna, call) == []


async def test_a_call_that_ended_comes_back_only_with_a_new_start(gateway: Gateway, dial: Dial, call: str) -> None:
    """P4: late words about a call that is over do not open it again; a new start does, and is told."""
    anna = await dial("anna", call)
    early = recording(call)
    await gateway.tell(observed(call))
    await gateway.tell(call_ended(call))
    await anna.hear("notice", change="stopped")
    await gateway.tell(early)
    assert await _changes(anna, call) == ["started", "stopped"]
    await gateway.tell(recording(call))
    await anna.hear("notice", change="started", revision=(await gateway.get(f"/v1/calls/{call}"))["revision"])


async def _settles(dial: Dial, call: str) -> None:
    """A stop that only clients report is told when nobody contradicted it for ten seconds."""
    anna, ben = await dial("anna", call), await dial("ben", call)
    await anna.observe(call, "active")
    await ben.hear("notice", change="started")
    began = asyncio.get_running_loop().time()
    await anna.observe(call, "inactive")
    await ben.hear("notice", change="stopped", within=SETTLE + 5)
    assert asyncio.get_running_loop().time() - began > SETTLE - 0.5


async def _lapses(dial: Dial, call: str) -> None:
    """The claim of a client that is gone leaves the state unknown, and nothing is told as stopped."""
    anna, ben = await dial("anna", call), await dial("ben", call)
    await anna.observe(call, "active")
    await ben.hear("notice", change="started")
    await anna.vanish()
    state = await ben.hear("state", id=None, within=SETTLE + 5)
    assert state["capabilities"]["recording"]["state"] == "unknown"
    assert await _changes(ben, call) == ["started"]


async def _contradicted(dial: Dial, call: str) -> None:
    """A stop that somebody contradicts within ten seconds is none."""
    anna, ben = await dial("anna", call), await dial("ben", call)
    await anna.observe(call, "active")
    await ben.hear("notice", change="started")
    await anna.observe(call, "inactive")
    await ben.observe(call, "active")
    await asyncio.sleep(SETTLE + 1)
    assert await _changes(anna, call) == ["started"]


async def test_what_time_alone_does(dial: Dial, call: str) -> None:
    """P4: a stop without an authority settles after ten seconds, a gone client's claim lapses to unknown, and a
    contradicted stop is none."""
    await asyncio.gather(_settles(dial, f"{call}-1"), _lapses(dial, f"{call}-2"), _contradicted(dial, f"{call}-3"))
