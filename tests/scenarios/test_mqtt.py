"""Events over a real broker: none is lost and none told twice, whichever process is killed at whatever moment."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.scenarios.broker import Mosquitto, program
from tests.scenarios.events import Event, event, observed
from tests.scenarios.harness import Gateway, of_kind
from tests.scenarios.peers import Dial

pytestmark = pytest.mark.skipif(program() is None, reason="mosquitto is not installed")

KILLS = 6
EVENTS = 25


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """A running broker."""
    made = Mosquitto(tmp_path / "broker")
    try:
        yield made.start()
    finally:
        made.kill()


@pytest.fixture
def subscribed(own_gateway: Gateway, broker: Mosquitto) -> Gateway:
    """A running gateway that takes its events from the broker."""
    own_gateway.environment["GATEWAY_MQTT__URL"] = broker.url
    own_gateway.environment["GATEWAY_MQTT__TOPICS"] = '["notices/events/#"]'
    return own_gateway.start()


@pytest.fixture
async def dial_in(subscribed: Gateway) -> AsyncIterator[Dial]:
    async with Dial(subscribed) as opening:
        await _until_subscribed(subscribed)
        yield opening


async def _until_subscribed(gateway: Gateway) -> None:
    """The first time, the broker keeps nothing for a session that does not exist yet."""
    async with asyncio.timeout(10):
        while not any('"broker connected"' in line for line in gateway.log_lines()):
            await asyncio.sleep(0.05)


async def _starts(gateway: Gateway, events: list[Event], within: float = 25) -> None:
    """Every one of these starts, each in a call of its own, was told exactly once and recorded as one event."""
    wanted = {str(each["data"]["call"]) for each in events}
    async with asyncio.timeout(within):
        while len(taken := of_kind(await gateway.entries(), "event")) < len(wanted):
            await asyncio.sleep(0.1)
    entries = await gateway.entries()
    told = Counter(str(each["call"]) for each in of_kind(entries, "notice", change="started"))
    assert told == Counter(wanted)
    assert len({each["digest"] for each in taken}) == len(taken)


async def test_every_mode_of_both_versions_is_understood(subscribed: Gateway, broker: Mosquitto, dial_in: Dial) -> None:
    """CloudEvents binary and structured on MQTT 5, structured on 3.1.1, all become what they mean."""
    for call, version, binary in (("five-structured", 5, False), ("five-binary", 5, True), ("three", 4, False)):
        peer = await dial_in("anna", call)
        await broker.publish(observed(call), version=version, binary=binary)
        await peer.hear("notice", change="started")


async def test_what_cannot_be_read_is_refused_and_does_not_come_back(
    subscribed: Gateway, broker: Mosquitto, dial_in: Dial
) -> None:
    """F20: a poisoned message is recorded as refused and never stands in the way of those behind it."""
    peer = await dial_in("anna", "call")
    await broker.publish({"no": "event"}, event("notices.capability.observed", {"state": "canary"}), observed("call"))
    await peer.hear("notice", change="started")
    subscribed.restart()
    await broker.publish(observed("another call"))
    await _settled(subscribed, "another call")
    refused = of_kind(await subscribed.entries(), "refused", door="mqtt")
    # One that was recorded when the kill came, but not yet acknowledged, may be recorded once more.
    assert len({each["digest"] for each in refused}) == 2
    assert "canary" not in str(refused)


async def _settled(gateway: Gateway, call: str) -> None:
    async with asyncio.timeout(15):
        while not of_kind(await gateway.entries(), "notice", call=call):
            await asyncio.sleep(0.05)


async def test_the_same_event_by_both_ways_is_one(subscribed: Gateway, broker: Mosquitto, dial_in: Dial) -> None:
    """P3: an event that comes by webhook and by broker, several times each, is told once."""
    peer = await dial_in("anna", "call")
    start = observed("call")
    await asyncio.gather(subscribed.tell(start, start), broker.publish(start, start, start))
    await broker.publish(observed("call", "paused"))
    await peer.hear("notice", change="paused")
    assert [each["change"] for each in peer.notices()] == ["started", "paused"]


async def test_a_gateway_killed_between_receipt_and_commit_loses_nothing(
    subscribed: Gateway, broker: Mosquitto
) -> None:
    """Peer bug 16: killed over and over right after events were published, it has told each exactly once in the end;
    no source sent anything again."""
    chance = random.Random(16)
    await _until_subscribed(subscribed)
    events: list[Event] = []
    for run in range(KILLS):
        fresh = [observed(f"call-{run}-{number}") for number in range(EVENTS)]
        events += fresh
        publishing = asyncio.create_task(broker.publish(*fresh))
        await asyncio.sleep(chance.uniform(0.005, 0.06))
        subscribed.kill()
        await publishing
        subscribed.start()
        if run % 2:
            await asyncio.sleep(chance.uniform(0, 0.6))
    await _starts(subscribed, events)


async def test_a_broker_killed_and_back_costs_nothing(subscribed: Gateway, broker: Mosquitto) -> None:
    """Peer bug 8: killed over and over while events flow, with a source that repeats what was not confirmed, nothing
    is lost, nothing is told twice, and the gateway comes back to the broker by itself."""
    await _until_subscribed(subscribed)
    events = [observed(f"call-{number}") for number in range(40)]
    publishing = asyncio.create_task(broker.publish_until_taken(events))
    for _ in range(3):
        await asyncio.sleep(0.2)
        broker.kill()
        await asyncio.sleep(0.1)
        broker.start()
    await publishing
    assert (await subscribed.ask("GET", "/readyz", headers={})).status_code == 200
    await asyncio.sleep(0.3)
    await broker.publish_until_taken(events)  # what the broker confirmed and lost in its own kill, the source repeats
    await _starts(subscribed, events)


async def test_what_was_confirmed_while_the_gateway_was_away_arrives(subscribed: Gateway, broker: Mosquitto) -> None:
    """F12: events published while the gateway is down wait in the broker's session for it, in any number of restarts
    of the gateway."""
    await _until_subscribed(subscribed)
    subscribed.kill()
    events = [observed(f"call-{number}") for number in range(60)]
    await broker.publish(*events)
    subscribed.start()
    await _starts(subscribed, events)


async def test_a_gateway_needs_no_broker_to_start(own_gateway: Gateway, broker: Mosquitto) -> None:
    """A broker that is away delays nothing but its own events: the gateway starts, serves, and drains."""
    broker.kill()
    own_gateway.environment["GATEWAY_MQTT__URL"] = broker.url
    own_gateway.environment["GATEWAY_MQTT__TOPICS"] = '["notices/events/#"]'
    own_gateway.start()
    async with Dial(own_gateway) as dial:
        peer = await dial("anna", "call")
        await own_gateway.tell(observed("call"))
        await peer.prove(await peer.hear("notice", change="started"))
    assert await asyncio.to_thread(own_gateway.terminate) == 0
