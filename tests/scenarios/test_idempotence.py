"""P3: what comes twice, late or in another order changes nothing twice; and what a source may send at once."""

from __future__ import annotations

import asyncio
import random
import socket
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from tests.scenarios.events import event, observed, recording, stamp
from tests.scenarios.harness import Gateway, of_kind, person, proofs
from tests.scenarios.peers import Dial

SETTINGS = {"NOTICES__DEADLINE_SECONDS": "60"}


async def test_a_thousand_duplicates_are_one_start(gateway: Gateway, dial: Dial, call: str) -> None:
    """W4: one event posted a thousand times, in one batch, in several, and at once, is applied once."""
    anna = await dial("anna", call)
    start = observed(call)
    answers = await asyncio.gather(*(gateway.tell(*[start] * 100) for _ in range(10)))
    assert sum(each["accepted"] for each in answers) == 1
    assert sum(each["duplicates"] for each in answers) == 999
    await anna.join(call)
    assert [each["change"] for each in anna.notices(call=call)] == ["started"]
    entries = await gateway.entries()
    assert len(of_kind(entries, "notice", call=call)) == 1
    assert len(of_kind(entries, "observation", call=call)) == 1


async def test_the_same_id_of_another_source_is_another_event(gateway: Gateway, call: str) -> None:
    """P3: an event is known by its source and its id together."""
    start = observed(call)
    taken = await gateway.tell(start, {**start, "source": "another"}, {**start, "id": "another"})
    assert (taken["accepted"], taken["duplicates"]) == (3, 0)


async def test_reordered_events_end_in_the_same_state(gateway: Gateway, dial: Dial, call: str) -> None:
    """P3: twenty words of one source, shuffled and some twice, leave what the newest of them says."""
    anna = await dial("anna", call)
    began = datetime.now(UTC) - timedelta(minutes=5)
    words = [
        recording(call, "active" if number % 2 else "inactive", at=began + timedelta(seconds=number))
        for number in range(20)
    ]
    shuffled = words + words[::3]
    random.Random(7).shuffle(shuffled)
    for word in shuffled:
        await gateway.tell(word)
    assert (await anna.join(call))["capabilities"]["recording"]["state"] == "active"
    changes = [each["change"] for each in anna.notices(call=call)]
    assert changes[-1] == "started"
    assert all(change != following for change, following in pairwise(changes))


async def test_an_ancient_event_announces_nothing(gateway: Gateway, dial: Dial, call: str) -> None:
    """W4: a word more than thirty days old is kept as late evidence and told to nobody; one from the future counts
    as now."""
    anna = await dial("anna", call)
    now = datetime.now(UTC)
    await gateway.tell(recording(call, at=now - timedelta(days=366)))
    await anna.join(call)
    assert anna.notices(call=call) == []
    assert len(of_kind(await gateway.entries(), "event", outcome="late_event")) == 1
    await gateway.tell(recording(call, recording_id="r2", at=now + timedelta(days=366)))
    notice = await anna.hear("notice", change="started")
    assert notice["occurred_at"] <= notice["issued_at"]


async def test_repeated_acks_are_answered_with_the_same_entry(gateway: Gateway, dial: Dial, call: str) -> None:
    """P3: a level is recorded once; every repetition, on this connection or the next, gets the first receipt."""
    anna = await dial("anna", call)
    await gateway.tell(observed(call))
    notice = await anna.hear("notice", change="started")
    for _ in range(50):
        await anna.ack(notice)
    receipts = [await anna.hear("receipt", level="acknowledged") for _ in range(50)]
    again = await dial("anna", call)
    receipts.append(await again.prove(notice))
    assert all(receipt == receipts[0] for receipt in receipts)
    assert len(proofs(await gateway.entries(), notice=notice["notice"])) == 1


async def test_an_ack_repeated_to_the_next_process_is_answered_with_the_old_entry(own_gateway: Gateway) -> None:
    """P3, P1: what was proved before a kill is not recorded anew after it; its receipt names the entry of that time."""
    own_gateway.start()
    async with Dial(own_gateway) as dial:
        anna = await dial("anna", "call")
        await own_gateway.tell(observed("call"))
        notice = await anna.hear("notice", change="started")
        first = await anna.prove(notice, "received")
        own_gateway.restart()
        again = await dial("anna", "call")
        assert again.told() == [notice["notice"]]
        assert await again.prove(notice, "received") == first
        assert (await again.prove(notice, "displayed"))["entry"] > first["entry"]
    assert len(proofs(await own_gateway.entries(), level="received")) == 1


async def test_levels_in_any_order_each_keep_their_own_time(gateway: Gateway, dial: Dial, call: str) -> None:
    """P3: acknowledged before received is two facts with two entries, and neither undoes the other."""
    anna = await dial("anna", call)
    await gateway.tell(observed(call))
    notice = await anna.hear("notice", change="started")
    later, earlier = await anna.prove(notice, "acknowledged"), await anna.prove(notice, "received")
    assert later["entry"] < earlier["entry"]
    assert (await gateway.coverage(call))["complete"] is True


async def test_an_ack_of_what_was_never_sent_is_refused(gateway: Gateway, dial: Dial, call: str) -> None:
    """Peer bug 7: an ack of an unknown notice, of another's, of the wrong text or of no client's level records
    nothing, is answered, and leaves the connection open."""
    anna, stranger = await dial("anna", call), await dial("stranger", f"{call}-other")
    await gateway.tell(observed(call))
    notice = await anna.hear("notice", change="started")
    unknown = {**notice, "notice": "n_" + "a" * 26}
    for peer, claimed, more, code in (
        (anna, unknown, {}, "unknown_notice"),
        (stranger, notice, {}, "unknown_notice"),
        (anna, notice, {"digest": "sha256:" + "0" * 64}, "wrong_digest"),
        (anna, notice, {"level": "sent"}, "wrong_level"),
    ):
        await peer.ack(claimed, **{"level": "acknowledged", **more})
        assert (await peer.hear("error"))["code"] == code
    assert proofs(await gateway.entries(), call=call) == []
    await anna.prove(notice)


async def test_the_subscription_handshake_needs_the_secret(gateway: Gateway) -> None:
    """W2: Event Grid's validation is answered to who knows the webhook secret, and to nobody else."""
    code = "512d38b6-c7b8-40c8-89fe-f46f9e9622b6"
    asked = [
        {
            "id": "1",
            "topic": "/subscriptions/x",
            "subject": "",
            "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
            "eventTime": stamp(),
            "data": {"validationCode": code},
            "dataVersion": "2",
        }
    ]
    answer = await gateway.ask("POST", "/v1/events", params={"code": gateway.webhook_secret}, headers={}, json=asked)
    assert (answer.status_code, answer.json()) == (200, {"validationResponse": code})
    for wrong in ({}, {"code": "wrong"}, {"code": gateway.control_token}):
        refused = await gateway.ask("POST", "/v1/events", params=wrong, headers={}, json=asked)
        assert refused.status_code == 401
        assert "512d38b6" not in refused.text


async def test_the_cloudevents_handshake_needs_the_secret(gateway: Gateway) -> None:
    """W2: OPTIONS with WebHook-Request-Origin is allowed to who knows the webhook secret, and to nobody else."""
    origin = {"webhook-request-origin": "eventgrid.azure.net"}
    allowed = await gateway.ask("OPTIONS", "/v1/events", headers={**origin, "x-webhook-secret": gateway.webhook_secret})
    assert (allowed.status_code, allowed.headers["webhook-allowed-origin"]) == (200, "eventgrid.azure.net")
    assert "webhook-allowed-rate" in allowed.headers
    refused = await gateway.ask("OPTIONS", "/v1/events", headers=origin)
    assert refused.status_code == 401
    assert "webhook-allowed-origin" not in refused.headers


async def test_no_address_in_a_body_is_ever_called(gateway: Gateway) -> None:
    """W3: a validationUrl, in a handshake or in any event, is not fetched."""
    with closing(socket.create_server(("127.0.0.1", 0))) as trap:
        trap.setblocking(False)
        url = f"http://127.0.0.1:{trap.getsockname()[1]}/latest/meta-data"
        data = {"validationCode": "abc", "validationUrl": url}
        await gateway.post(event("Microsoft.EventGrid.SubscriptionValidationEvent", data))
        await gateway.post(event("Microsoft.Communication.RecordingFileStatusUpdated", {"contentLocation": url}))
        await asyncio.sleep(0.2)
        with pytest.raises(BlockingIOError):
            trap.accept()


async def test_a_malformed_item_fails_alone(gateway: Gateway, dial: Dial, call: str) -> None:
    """W4: in a batch, what is malformed is recorded as refused without its content, and the rest is taken."""
    anna = await dial("anna", call)
    secret = "canary-of-a-malformed-item"
    taken = await gateway.tell(
        {"id": secret},
        observed(call),
        event("notices.capability.observed", {"call": call, "capability": secret, "state": "active"}),
        event("Somebody.Elses.Type", {"anything": secret}),
    )
    assert [each["index"] for each in taken["refused"]] == [0, 2]
    assert taken["accepted"] == 2
    assert secret not in str(taken)
    await anna.hear("notice", change="started")
    entries = await gateway.entries()
    assert len(of_kind(entries, "refused", door="http")) >= 2
    assert secret not in str(entries)


async def test_a_megabyte_and_five_thousand_events_are_taken(gateway: Gateway, call: str) -> None:
    """W4: what Event Grid sends at most is taken in one request; beyond 8 MiB the answer is 413, without the secret
    401 whatever the body."""
    many = [event("Somebody.Elses.Type", {"filler": "x" * 40}) for _ in range(5000)]
    assert (await gateway.tell(*many))["accepted"] == 5000
    huge = b"[" + b" " * (8 * 1024 * 1024) + b"]"
    headers = {"content-type": "application/json", "x-webhook-secret": gateway.webhook_secret}
    assert (await gateway.ask("POST", "/v1/events", headers=headers, content=huge)).status_code == 413
    assert (await gateway.ask("POST", "/v1/events", headers={}, json=many[:1])).status_code == 401
    await gateway.tell(observed(call, reported_by=person("anna")))
