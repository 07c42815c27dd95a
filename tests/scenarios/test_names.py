"""A meeting has many names, and the next one of a series has them too: whoever is in it is told by whatever name."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from tests.scenarios.events import call_ended, event, observed, recording
from tests.scenarios.harness import STATES, Gateway, of_kind, person
from tests.scenarios.peers import Dial


async def _name(gateway: Gateway, call: str, *aliases: str) -> int:
    answer = await gateway.ask("PUT", f"/v1/calls/{call}/aliases?organization=contoso", json={"aliases": list(aliases)})
    return answer.status_code


async def test_names_outlive_the_meeting_and_the_process(own_gateway: Gateway) -> None:
    """P2: the next meeting of a series is recorded under an alias given to the last one; its people are told."""
    gateway = own_gateway.start()
    assert await _name(gateway, "weekly", "S1") == 200
    async with Dial(gateway) as dial:
        await dial("anna", "weekly")
        await gateway.tell(call_ended("S1"))
    gateway.restart()
    async with Dial(gateway) as dial:
        await gateway.tell(recording("S1"))
        late = await dial("anna", "weekly")
        assert late.states["weekly"]["capabilities"]["recording"]["state"] == "active"
        assert (await dial("ben", "weekly")).states["weekly"]["notices"][0]["change"] == "started"


async def test_a_merged_call_stays_merged(own_gateway: Gateway) -> None:
    """P2: after the end and a restart neither call comes back alone, and a start under either name is one start."""
    gateway = own_gateway.start()
    async with Dial(gateway) as dial:
        await dial("anna", "S1")
        await dial("ben", "meeting")
        await gateway.tell(recording("S1"))
        assert await _name(gateway, "meeting", "S1") == 200
        await gateway.tell(call_ended("S1"))
    gateway.restart()
    assert (await gateway.get("/v1/calls/S1"))["call"] == "meeting"
    async with Dial(gateway) as dial:
        anna = await dial("anna", "meeting")
        await gateway.tell(recording("S1", recording_id="r2"))
        await anna.hear("notice", change="started")


async def test_names_of_a_merged_call_lead_on(gateway: Gateway, dial: Dial, call: str) -> None:
    """P2: S has the alias T and then becomes an alias itself; a start under T reaches everyone once."""
    inner, thread = f"{call}-S", f"{call}-T"
    anna, ben = await dial("anna", inner), await dial("ben", call)
    assert await _name(gateway, inner, thread) == 200
    assert await _name(gateway, call, inner) == 200
    await gateway.tell(recording(thread))
    for peer in (anna, ben):
        await peer.hear("notice", change="started")
    assert len(of_kind(await gateway.entries(), "notice", call=call)) == 1


async def test_a_call_known_by_a_thread_only_is_taken_in(gateway: Gateway, dial: Dial, call: str) -> None:
    """P2: Graph names the meeting by its thread before anybody else does; the thread stands in no entry."""
    thread = f"19:meeting_{call}@thread.v2"
    kind = "#microsoft.graph.callRecordingEventMessageDetail"
    detail = {"@odata.type": kind, "callRecordingStatus": "initial"}
    data = {"chatId": thread, "messageType": "systemEventMessage", "eventDetail": detail}
    await gateway.tell(event("Microsoft.Graph.ChatMessageCreated", data))
    anna = await dial("anna", call)
    assert await _name(gateway, call, thread) == 200
    await anna.hear("notice", change="started")
    assert not any(thread in str(entry) for entry in await gateway.entries())


async def test_a_name_of_a_call_that_is_over_can_be_taken(gateway: Gateway, dial: Dial, call: str) -> None:
    """An alias of a call that is on stays with it; each occurrence of a series may have a call id of its own."""
    first, second, thread = f"{call}-1", f"{call}-2", f"{call}-T"
    await dial("anna", first)
    assert await _name(gateway, first, thread) == 200
    assert await _name(gateway, second, thread) == 409
    await gateway.tell(call_ended(thread))
    assert await _name(gateway, second, thread) == 200
    ben = await dial("ben", second)
    await gateway.tell(recording(thread))
    await ben.hear("notice", change="started")


async def test_joins_in_flight_while_calls_merge_are_not_lost(gateway: Gateway, dial: Dial, call: str) -> None:
    """P2: whoever joins the one call while it becomes part of the other is told, and is gone when gone."""
    for attempt in range(4):
        source, target = f"{call}-{attempt}-S", f"{call}-{attempt}"
        await dial("first", target)
        await gateway.tell(observed(source, "inactive"))
        peers = await dial.many([f"user-{number}" for number in range(8)], source, join=False)
        joins = [peer.send("join", id="1", call=source) for peer in peers]
        await asyncio.gather(_name(gateway, target, source), *joins)
        await gateway.tell(recording(source, recording_id=f"r{attempt}"))
        for peer in peers:
            await peer.hear("notice", change="started")
        assert (await gateway.get(f"/v1/calls/{target}"))["connected"] == 9
        for peer in peers:
            await peer.vanish()
        while (await gateway.get(f"/v1/calls/{target}"))["connected"] != 1:
            await asyncio.sleep(0.01)


async def test_a_leave_never_overtakes_its_join(gateway: Gateway, dial: Dial, call: str) -> None:
    """A client that joins and leaves in one breath, in a call nobody knows, is not in it afterwards."""
    anna = await dial("anna", call, join=False)
    await anna.send("join", id="1", call=call)
    await anna.send("leave", id="2", call=call)
    await anna.hear("left", id="2")
    summary = await gateway.get(f"/v1/calls/{call}")
    assert (summary["present"], summary["connected"]) == (0, 0)


async def test_a_recording_found_after_a_restart_was_announced(own_gateway: Gateway) -> None:
    """The late evidence of a recording is held against the call's episodes, in memory or not."""
    gateway = own_gateway.start()
    began = datetime.now(UTC)
    await gateway.tell(recording("call"), recording("call", "inactive"), call_ended("call"))
    gateway.restart()
    data = {"recordingStartTime": began.isoformat(), "recordingDurationMs": 2000, "recordingStorageInfo": {}}
    found = event("Microsoft.Communication.RecordingFileStatusUpdated", data)
    await gateway.tell({**found, "subject": "/recording/call/c/serverCallId/call/recordingId/r1"})
    (entry,) = of_kind(await gateway.entries(), "recording.found")
    assert (entry["call"], entry["announced"]) == ("call", True)


async def test_a_sweep_of_a_time_to_come_forgets_no_event(own_gateway: Gateway) -> None:
    """P3: the operator looks 31 days ahead; an event that is sent again is still known."""
    gateway = own_gateway.start()
    start = recording("call")
    await gateway.tell(start)
    ahead = (datetime.now(UTC) + timedelta(days=31)).isoformat()
    assert (await gateway.ask("POST", "/v1/retention/sweep", json={"now": ahead})).status_code == 200
    gateway.restart()
    assert (await gateway.tell(start))["duplicates"] == 1


async def test_leaving_and_coming_back_is_bounded(gateway: Gateway, dial: Dial, call: str) -> None:
    """P9: each return leaves lines for good; after thirty in a row the next has to wait, and only for that client."""
    anna, ben = await dial("anna", call), await dial(person("ben", STATES), call)
    for number in range(40):
        await anna.send("leave", id=f"l{number}", call=call)
        await anna.send("join", id=f"j{number}", call=call)
    refused = await anna.hear("error", code="too_many_joins")
    assert refused["temporary"]
    await gateway.tell(observed(call))
    await ben.hear("notice", change="started")
    assert (await gateway.coverage(call))["notices"][0]["owed"] <= 2
