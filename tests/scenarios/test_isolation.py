"""P5: nobody sees another's. Two organisations use the same call ids, and neither hears of the other."""

from __future__ import annotations

import asyncio
import json
import secrets

import pytest

from tests.scenarios.events import event, joined, observed, recording, roster
from tests.scenarios.harness import FABRIKAM, STATES, Gateway, gaps, person
from tests.scenarios.peers import Dial, Peer

SETTINGS = {"NOTICES__DEADLINE_SECONDS": "60"}


def _canary() -> str:
    return f"canary-{secrets.token_hex(8)}"


def _heard(*peers: Peer) -> str:
    return json.dumps([peer.heard for peer in peers])


async def test_the_same_call_id_of_two_organisations_is_two_calls(gateway: Gateway, dial: Dial, call: str) -> None:
    """D1: with one call id, canaries in names, devices, messages and aliases of one organisation reach no frame of
    the other, and what one observes is not told to the other."""
    ours, theirs = _canary(), _canary()
    anna = await dial(person(f"anna-{ours}"), call, name=f"Anna {ours}", device=f"phone-{ours}")
    ben = await dial(person(f"ben-{ours}", STATES), call, name=f"Ben {ours}")
    zoe = await dial(person(f"zoe-{theirs}", FABRIKAM), call, name=f"Zoe {theirs}", device=f"phone-{theirs}")
    await anna.observe(call, "active")
    notice = await ben.hear("notice", change="started")
    await zoe.join(call)
    assert zoe.notices() == []
    assert zoe.states[call]["capabilities"]["recording"]["state"] == "inactive"
    await asyncio.gather(anna.say(f"text {ours}"), zoe.say(f"text {theirs}"))
    await zoe.ack(notice)
    assert (await zoe.hear("error"))["code"] == "unknown_notice"
    await zoe.observe(call, "active", "transcription")
    await zoe.hear("notice", capability="transcription")
    await anna.join(call)
    assert anna.notices(capability="transcription") == []
    assert theirs not in _heard(anna, ben)
    assert ours not in _heard(zoe)


async def test_control_answers_say_whose_call_they_mean(gateway: Gateway, dial: Dial, call: str) -> None:
    """P5: a call that two organisations know is 409 until the question says whose; each answer has its own people."""
    anna = await dial("anna", call)
    zoe = await dial(person("zoe", FABRIKAM), call)
    await gateway.tell(recording(call))
    await asyncio.gather(anna.hear("notice", change="started"), zoe.hear("notice", change="started"))
    for path in (f"/v1/calls/{call}", f"/v1/calls/{call}/coverage"):
        assert (await gateway.ask("GET", path)).status_code == 409
        assert (await gateway.ask("GET", path, params={"organization": "nobody"})).status_code == 404
    assert list(gaps(await gateway.coverage(call, organization="contoso"))) == [anna.participant]
    assert list(gaps(await gateway.coverage(call, organization="fabrikam"))) == [zoe.participant]


async def test_an_event_that_names_an_organisation_counts_there_only(gateway: Gateway, dial: Dial, call: str) -> None:
    """P5: `organization` narrows an event to one organisation; without it, it counts wherever the call is known; and
    another organisation's person is refused."""
    anna, zoe = await dial("anna", call), await dial(person("zoe", FABRIKAM), call)
    await gateway.tell(observed(call, organization="fabrikam"))
    await zoe.hear("notice", change="started")
    await anna.join(call)
    assert anna.notices() == []
    mixed = event("notices.participant.joined", {"call": call, "participant": person("x"), "organization": "fabrikam"})
    assert len((await gateway.tell(mixed))["refused"]) == 1
    await gateway.tell(observed(call, organization=None))
    await anna.hear("notice", change="started")
    await zoe.join(call)
    assert [each["change"] for each in zoe.notices()] == ["started"]


async def test_a_roster_over_two_organisations_is_split(gateway: Gateway, dial: Dial, call: str) -> None:
    """P5: people of a meeting of two organisations are listed each in their own organisation's call."""
    await dial("observer", call, observer=True)
    await dial(person("observer", FABRIKAM), call, observer=True)
    await gateway.tell(roster(call, 1, person("anna"), person("zoe", FABRIKAM)), recording(call))
    assert gaps(await gateway.coverage(call, organization="contoso")) == {person("anna"): "unreachable"}
    assert gaps(await gateway.coverage(call, organization="fabrikam")) == {person("zoe", FABRIKAM): "unreachable"}


async def test_no_roster_name_or_count_reaches_a_client(gateway: Gateway, dial: Dial, call: str) -> None:
    """P5: within a call too, no client learns who else is there, how many they are, or what they proved."""
    canary = _canary()
    anna = await dial("anna", call)
    await gateway.tell(joined(call, person(f"listed-{canary}"), f"Listed {canary}"))
    others = await dial.many([person(f"other{number}-{canary}") for number in range(5)], call, name=f"Other {canary}")
    await gateway.tell(observed(call))
    for other in others:
        await other.prove(await other.hear("notice", change="started"))
    await others[0].leave(call)
    await anna.join(call)
    assert canary not in _heard(anna)
    assert all("present" not in frame and "participants" not in frame for frame in anna.heard)


async def test_a_token_opens_its_calls_only(gateway: Gateway, dial: Dial, call: str) -> None:
    """P5: joining, observing in, and acking from a call outside the token is refused and changes nothing."""
    anna, eve = await dial("anna", call), await dial("eve", f"{call}-other")
    await eve.send("join", id="1", call=call)
    assert (await eve.hear("error", id="1"))["code"] == "not_your_call"
    await eve.observe(call, "active")
    assert (await eve.hear("error"))["code"] == "not_your_call"
    await gateway.tell(observed(call))
    notice = await anna.hear("notice", change="started")
    await eve.ack(notice, "received")
    assert (await eve.hear("error"))["code"] == "unknown_notice"
    assert list(gaps(await gateway.coverage(call))) == [anna.participant]


async def test_an_alias_is_one_organisations_own(gateway: Gateway, dial: Dial, call: str) -> None:
    """P5: one organisation's names for a call lead nobody else to it, and two calls cannot share one."""
    alias = f"{call}-alias"
    anna, zoe = await dial("anna", call), await dial(person("zoe", FABRIKAM), alias)
    for name, status in ((call, 200), (f"{call}-second", 409)):
        path = f"/v1/calls/{name}/aliases"
        answer = await gateway.ask("PUT", path, params={"organization": "contoso"}, json={"aliases": [alias]})
        assert answer.status_code == status
    await gateway.tell(observed(alias, organization="contoso"))
    assert (await anna.hear("notice", change="started"))["call"] == call
    await zoe.join(alias)
    assert zoe.notices() == []


@pytest.mark.parametrize("path", ["/v1/calls", "/v1/ledgers/europe/entries", f"/v1/messages/{person('anna')}"])
async def test_nothing_is_answered_without_the_control_token(gateway: Gateway, path: str) -> None:
    """P5: every route under /v1 is for bearers of the control token; a client's token is none."""
    for headers in (
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": f"Bearer {gateway.token(person('a'), 'c')}"},
    ):
        answer = await gateway.ask("GET", path, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["content-type"] == "application/problem+json"
