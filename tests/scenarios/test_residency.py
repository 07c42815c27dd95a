"""P6: personal data is on disk only sealed and only under its region; an unserved resource is refused at every door."""

from __future__ import annotations

import asyncio
import secrets
import stat

import pytest

from storage.residue import scan
from tests.scenarios.events import joined, message, observed, roster, stamp
from tests.scenarios.harness import EUROPE, NOWHERE, REGIONS, STATES, Gateway, Json, of_kind, person
from tests.scenarios.peers import Dial, Ended

CANARY = secrets.token_hex(12)
STRANGER = person(f"stranger-{CANARY}", NOWHERE)
CAPITALS = EUROPE.upper()


async def _refused(gateway: Gateway) -> list[Json]:
    return of_kind(await gateway.entries(), "refused")


async def test_an_unserved_resource_is_refused_at_hello(gateway: Gateway, dial: Dial, call: str) -> None:
    """P6: a participant whose resource nobody configured gets 4301 with retry elsewhere, and it is recorded."""
    before = len(await _refused(gateway))
    peer = await dial.open(STRANGER)
    await peer.send("hello", token=gateway.token(STRANGER, call))
    bye = await peer.hear("bye")
    assert (bye["code"], bye["retry"]) == (4301, "elsewhere")
    assert await peer.ended() == 4301
    async with asyncio.timeout(5):
        while len(refused := await _refused(gateway)) == before:
            await asyncio.sleep(0.02)
    assert [each["door"] for each in refused[before:]] == ["hello"]


@pytest.mark.parametrize("door", ["message", "joined", "roster", "reported"])
async def test_an_unserved_resource_is_refused_in_events(gateway: Gateway, dial: Dial, call: str, door: str) -> None:
    """P6: messages, arrivals, rosters and claims of such a person are refused and recorded without their content."""
    await dial("observer", call, observer=True)
    before = len(await _refused(gateway))
    await gateway.tell(
        {
            "message": message(STRANGER, f"text {CANARY}"),
            "joined": joined(call, STRANGER, f"Name {CANARY}"),
            "roster": roster(call, 1, STRANGER, person("anna")),
            "reported": observed(call, organization=None, reported_by=STRANGER),
        }[door]
    )
    refused = await _refused(gateway)
    assert len(refused) == before + 1
    assert CANARY not in str(await gateway.entries())
    assert NOWHERE not in str(refused)
    present = {"roster": 1}.get(door, 0)
    assert (await gateway.get(f"/v1/calls/{call}"))["present"] == present


async def test_no_token_is_minted_for_an_unserved_resource(gateway: Gateway, call: str) -> None:
    """P6: neither the control API nor the command mints a token for somebody who may not be here."""
    for participant in (STRANGER, "8:orgid:somebody", "8:acs:no-guid_user"):
        body = {"participant": participant, "calls": [call]}
        answer = await gateway.ask("POST", "/v1/tokens", json=body)
        assert 400 <= answer.status_code < 500
        assert CANARY not in answer.text
    told = await asyncio.to_thread(gateway.run, "token", "--participant", STRANGER, "--call", call)
    assert (told.returncode, told.stdout) == (2, "")
    assert len(told.stderr.splitlines()) == 1


@pytest.mark.parametrize("door", ["token", "message"])
async def test_who_is_asked_for_and_has_no_place_here_is_refused_and_recorded(gateway: Gateway, door: str) -> None:
    """P6: a token for, and a question about, somebody unserved is refused with 404, and the entry names nobody."""
    before = len(await _refused(gateway))
    if door == "token":
        answer = await gateway.ask("POST", "/v1/tokens", json={"participant": STRANGER, "calls": ["call"]})
    else:
        answer = await gateway.ask("GET", f"/v1/messages/{STRANGER}")
    assert (answer.status_code, answer.json()["code"]) == (404, "region_not_served")
    assert CANARY not in answer.text
    async with asyncio.timeout(5):
        while len(refused := await _refused(gateway)) == before:
            await asyncio.sleep(0.02)
    assert [(each["door"], each["reason"]) for each in refused[before:]] == [(door, "region_not_served")]
    assert CANARY not in str(refused)


async def test_who_has_a_place_is_not_recorded_as_refused(gateway: Gateway, call: str) -> None:
    """P6: tokens and questions that may be asked leave no refusal behind."""
    before = len(await _refused(gateway))
    assert (await gateway.ask("POST", "/v1/tokens", json={"participant": person("a"), "calls": [call]})).is_success
    assert (await gateway.ask("GET", f"/v1/messages/{person('nobody')}")).json()["code"] == "not_found"
    await gateway.tell(observed(call))
    assert len(await _refused(gateway)) == before


async def test_a_session_cannot_become_somebody_elsewhere(gateway: Gateway, dial: Dial, call: str) -> None:
    """P6: a refresh to a person of another region, or of none that is served, ends the session; what it says then is
    kept nowhere."""
    for other in (STRANGER, person(f"bella-{CANARY}", STATES)):
        peer = await dial(f"anna-{CANARY}", call)
        await peer.send("refresh", token=gateway.token(other, call))
        text = f"text {CANARY}"
        await peer.send("message", id="1", thread="t", message="m", version=1, sent_at=stamp(), content=text)
        assert await peer.ended() == 4401
        for participant in (other, peer.participant):
            assert (await gateway.ask("GET", f"/v1/messages/{participant}")).status_code == 404


async def test_a_flood_of_refusals_costs_few_entries(own_gateway: Gateway) -> None:
    """P9: whoever knocks 400 times in vain is counted 400 times, written about a hundred times, and summed up."""
    gateway = own_gateway.start()
    for _ in range(400):
        assert (await gateway.ask("GET", f"/v1/messages/{STRANGER}")).status_code == 404
    await asyncio.sleep(1.5)
    await gateway.ask("GET", f"/v1/messages/{STRANGER}")
    metrics = (await gateway.ask("GET", "/metrics")).text
    assert 'gateway_turned_away_total{door="message"} 401.0' in metrics
    async with asyncio.timeout(5):
        while not (summed := [each for each in await _refused(gateway) if "left_out" in each]):
            await asyncio.sleep(0.02)
    refused = await _refused(gateway)
    assert 100 <= len(refused) < 150
    assert len(refused) + sum(each["left_out"] for each in summed) == 401


async def test_a_resource_is_known_in_any_case(gateway: Gateway, dial: Dial, call: str) -> None:
    """P6: a resource's id in capitals is the same resource, not an unknown one."""
    peer = await dial(person("anna", CAPITALS), call)
    assert peer.participant.startswith(f"8:acs:{CAPITALS}")


async def test_personal_data_lies_sealed_in_its_own_region(gateway: Gateway, dial: Dial, call: str) -> None:
    """P6: needles in raw ids, names, devices, threads and messages of both regions are in no file, in no guise; each
    person's box and message is in the person's region alone; the API returns the live message."""
    needles: list[bytes] = []
    people = {"europe": 3, "unitedstates": 2}
    counts = {region: gateway.select(region, "SELECT count(*) FROM presences")[0][0] for region in REGIONS}
    for region, resource in zip(REGIONS, (EUROPE, STATES), strict=True):
        for number in range(people[region]):
            needle = f"{region}-{secrets.token_hex(9)}"
            needles.append(needle.encode())
            peer = await dial(person(needle, resource), call, name=f"Name {needle}", device=f"device {needle}")
            assert await peer.say(f'text "{needle}"', thread=f"thread-{needle}", message=f"message-{number}-{needle}")
            await gateway.tell(message(peer.participant, f"newer {needle}", version=2))
            stored = await gateway.get(f"/v1/messages/{peer.participant}")
            assert (stored["content"], stored["region"]) == (f"newer {needle}", region)
    await gateway.tell(observed(call))
    assert len((await gateway.coverage(call))["notices"][0]["gaps"]) == sum(people.values())
    assert scan(gateway.directory, needles) == []
    for region in REGIONS:
        ((presences,),) = gateway.select(region, "SELECT count(*) FROM presences")
        ((messages,),) = gateway.select(region, "SELECT count(*) FROM messages")
        assert presences - counts[region] == people[region]
        assert messages == people[region]


async def test_every_open_file_has_its_place(gateway: Gateway, dial: Dial, call: str) -> None:
    """P6: during a sweep too, whatever the process writes lies under the data or key directory, or is its log; no
    temporary and no deleted file is open, and no file of ours has group or other bits."""
    await dial("anna", call)
    await gateway.ask("POST", "/v1/retention/sweep", json={})
    written = [path for path in gateway.open_files() if path.suffix not in (".py", ".so") and path != gateway.log]
    kept = (gateway.directory / "data", gateway.directory / "keys")
    ours = [path for path in written if path.is_relative_to("/tmp") or path.is_relative_to("/var")]
    assert ours
    assert all(any(path.is_relative_to(place) for place in kept) for path in ours)
    assert not any(str(path).endswith("(deleted)") for path in written)


def test_every_file_belongs_to_its_owner_alone(gateway: Gateway) -> None:
    """D3: directories are 0700 and files 0600 whatever the umask was."""
    for place in ("data", "keys"):
        for path in [gateway.directory / place, *(gateway.directory / place).rglob("*")]:
            wanted = 0o700 if path.is_dir() else 0o600
            public = path.suffix in (".jwks", ".vkey")
            assert public or stat.S_IMODE(path.stat().st_mode) == wanted, path


async def test_a_refused_hello_leaves_no_trace_of_who(gateway: Gateway) -> None:
    """P6: nothing of what a refused person said is in any file or in the log."""
    async with Dial(gateway) as dial:
        peer = await dial.open(STRANGER)
        await peer.send("hello", token=gateway.token(STRANGER, "call", name=f"Name {CANARY}"), device=CANARY)
        with pytest.raises(Ended):
            await peer.hear("welcome")
    assert scan(gateway.directory, [CANARY.encode(), NOWHERE.encode()]) == []
