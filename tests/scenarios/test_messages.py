"""The last message: one per participant, the newest of all threads, deleted when its time has come."""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime, timedelta

import pytest

from storage.residue import scan
from tests.scenarios.events import message, observed, stamp
from tests.scenarios.harness import STATES, Gateway, Json, of_kind, person
from tests.scenarios.peers import Dial

SETTINGS = {"RETENTION__SWEEP_SECONDS": "0.2", "NOTICES__DEADLINE_SECONDS": "60"}
NOW = datetime.now(UTC)


@pytest.fixture
def sender(call: str) -> str:
    """Somebody who has not sent anything."""
    return person(call)


async def _stored(gateway: Gateway, participant: str) -> Json | None:
    answer = await gateway.ask("GET", f"/v1/messages/{participant}")
    assert answer.status_code in (200, 404)
    return answer.json() if answer.status_code == 200 else None


async def _content(gateway: Gateway, participant: str) -> str | None:
    stored = await _stored(gateway, participant)
    return None if stored is None else str(stored["content"])


async def test_the_newest_of_all_threads_wins(gateway: Gateway, sender: str) -> None:
    """Newest by (sent_at, version) over all threads, in whatever order they arrive."""
    for content, seconds, version, thread in (
        ("second", 2, 1, "a"),
        ("fourth", 4, 2, "b"),
        ("first", 1, 9, "c"),
        ("third", 4, 1, "a"),
    ):
        sent_at = NOW + timedelta(seconds=seconds)
        await gateway.tell(
            message(sender, content, thread=thread, id_of_message=content, version=version, sent_at=sent_at)
        )
    stored = await _stored(gateway, sender)
    assert stored is not None
    assert (stored["content"], stored["thread"], stored["version"]) == ("fourth", "b", 2)


async def test_an_edit_replaces_and_a_delete_erases(gateway: Gateway, sender: str) -> None:
    """A higher version of the same message replaces it; its deletion leaves nothing, and no late duplicate of any
    version brings it back."""
    first, second = message(sender, "first"), message(sender, "edited", version=2)
    await gateway.tell(first)
    await gateway.tell(second)
    assert await _content(gateway, sender) == "edited"
    await gateway.tell(message(sender, None, version=3))
    assert await _content(gateway, sender) is None
    await gateway.tell({**first, "id": "late-1"}, {**second, "id": "late-2"})
    assert await _content(gateway, sender) is None
    await gateway.tell(message(sender, "another", id_of_message="message-2", sent_at=NOW + timedelta(minutes=1)))
    assert await _content(gateway, sender) == "another"


async def test_a_superseded_message_does_not_come_back(gateway: Gateway, sender: str) -> None:
    """When the newest is deleted, a late duplicate of the one before it does not take its place."""
    old = message(sender, "old", id_of_message="m-1", sent_at=NOW - timedelta(minutes=2))
    await gateway.tell(old, message(sender, "new", id_of_message="m-2", sent_at=NOW - timedelta(minutes=1)))
    await gateway.tell(message(sender, None, id_of_message="m-2", version=2, sent_at=NOW - timedelta(minutes=1)))
    await gateway.tell({**old, "id": "late"})
    assert await _content(gateway, sender) is None


async def test_frames_and_events_are_one_history(gateway: Gateway, dial: Dial, call: str) -> None:
    """A message by frame and one by event compete alike; `stored` tells when it expires: 30 days after sending."""
    anna = await dial(person(call, STATES), call)
    sent_at = datetime.now(UTC)
    stored = await anna.say("by frame", sent_at=stamp(sent_at))
    expires_at = datetime.fromisoformat(stored["expires_at"])
    assert abs(expires_at - sent_at - timedelta(days=30)) < timedelta(seconds=1)
    await gateway.tell(message(anna.participant, "by event", version=2, sent_at=sent_at))
    found = await _stored(gateway, anna.participant)
    assert found is not None
    assert (found["content"], found["region"]) == ("by event", "unitedstates")
    await anna.say(None, version=3, sent_at=stamp(sent_at))
    assert await _stored(gateway, anna.participant) is None


async def test_a_clock_far_ahead_is_not_believed(gateway: Gateway, sender: str) -> None:
    """A `sent_at` more than five minutes ahead counts as the time of receipt, and does not postpone the deletion."""
    await gateway.tell(message(sender, "from the future", sent_at=NOW + timedelta(days=365)))
    stored = await _stored(gateway, sender)
    assert stored is not None
    assert datetime.fromisoformat(stored["expires_at"]) < datetime.now(UTC) + timedelta(days=30, seconds=5)


async def test_a_message_that_is_too_old_is_not_kept(gateway: Gateway, sender: str) -> None:
    """Thirty days count from sending: what expired on the way is never to be had."""
    await gateway.tell(message(sender, "ancient", sent_at=NOW - timedelta(days=31)))
    assert await _content(gateway, sender) is None


async def test_nobody_elses_message_can_be_claimed(gateway: Gateway, dial: Dial, call: str) -> None:
    """A client's message is its own: what its frame says of a participant is ignored."""
    anna = await dial(person(f"{call}-anna"), call)
    victim = person(f"{call}-victim")
    await anna.say("mine", participant=victim)
    assert await _content(gateway, victim) is None
    assert await _content(gateway, anna.participant) == "mine"


async def test_a_sweep_deletes_what_expired_and_certifies_it(own_gateway: Gateway) -> None:
    """31 days later every message is gone from the API and every file, one certificate per region says how many, and
    the ledger carries nothing personal; a sweep before that deletes nothing."""
    gateway = own_gateway.start()
    needles = {person("anna"): secrets.token_hex(12), person("ben", STATES): secrets.token_hex(12)}
    for participant, needle in needles.items():
        await gateway.tell(message(participant, f"text {needle}"))
    nothing = await gateway.ask("POST", "/v1/retention/sweep", json={})
    assert nothing.json()["deleted"] == 0
    later = stamp(datetime.now(UTC) + timedelta(days=31))
    swept = (await gateway.ask("POST", "/v1/retention/sweep", json={"now": later})).json()
    assert swept["deleted"] == 2
    for participant in needles:
        assert await _content(gateway, participant) is None
    certificates = (await gateway.get("/v1/retention/certificates"))["certificates"]
    assert sorted((each["region"], each["count"]) for each in certificates) == [("europe", 1), ("unitedstates", 1)]
    again = (await gateway.ask("POST", "/v1/retention/sweep", json={"now": later})).json()
    assert again["deleted"] == 0
    found = [needle.encode() for needle in needles.values()]
    assert scan(gateway.directory, found) == []
    gateway.restart()
    for participant in needles:
        assert await _content(gateway, participant) is None
    assert scan(gateway.directory, found) == []


async def test_the_sweeper_runs_by_itself(own_gateway: Gateway) -> None:
    """What is due is deleted at start and then every `sweep_seconds`, without anybody asking."""
    own_gateway.environment["GATEWAY_RETENTION__DEFAULT_DAYS"] = "1"
    gateway = own_gateway.start()
    nearly = datetime.now(UTC) - timedelta(days=1) + timedelta(seconds=0.7)
    await gateway.tell(message(person("anna"), "short", sent_at=nearly))
    assert await _content(gateway, person("anna")) == "short"
    async with asyncio.timeout(5):
        while not of_kind(await gateway.entries(), "retention.certificate"):
            await asyncio.sleep(0.1)
    assert await _content(gateway, person("anna")) is None


async def test_a_sweep_in_the_background_never_locks_anybody_out(gateway: Gateway, dial: Dial, call: str) -> None:
    """Peer bug 18: while sweeps run without a pause, acks, messages and events are all taken, and nothing in the log
    is worse than information."""
    later = stamp(datetime.now(UTC) + timedelta(days=31))

    async def sweep() -> None:
        for _ in range(15):
            answer = await gateway.ask("POST", "/v1/retention/sweep", json={"now": later})
            assert answer.status_code == 200

    async def live(number: int) -> None:
        peer = await dial(person(f"{call}-{number}"), f"{call}-{number}")
        for state in ("active", "paused", "active", "inactive"):
            await gateway.tell(observed(f"{call}-{number}", state))
            await peer.prove(await peer.hear("notice"), "received")
            await peer.say(f"{state} {number}", version=1, message=state, sent_at=stamp())

    await asyncio.gather(sweep(), *(live(number) for number in range(6)))
    assert not [line for line in gateway.log_lines() if '"level":"info"' not in line]
