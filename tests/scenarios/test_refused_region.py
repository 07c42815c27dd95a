"""A region that cannot be opened as it is: it is left out in one clear line, and everyone else is told all the same."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.scenarios.events import joined, message, observed, recording, roster
from tests.scenarios.harness import FABRIKAM, STATES, Gateway, Json, gaps, of_kind, person
from tests.scenarios.peers import Dial
from tests.storage.ruins import RUINS

ASIA = "44444444-4444-4444-4444-444444444444"
_MORE = f"""
[regions.asia]
[resources."{ASIA}"]
region = "asia"
organization = "contoso"
"""
ANN, BOB, KIM = person("ann"), person("bob", STATES), person("kim", ASIA)
STARTED_ON = (
    *("swapped directories", "swapped files", "moved file", "linked directory", "linked log", "second name"),
    *("missing file", "missing label"),
)
"""Ruins that a real process is started on; storage's own tests have every one."""
BOTH = ("swapped directories", "swapped files", "swapped keys", "swapped labels", "moved file", "moved directory")
"""What ruins the other region too."""


class Place(NamedTuple):
    """Where a region of a gateway lies."""

    data: Path
    keys: Path

    @classmethod
    def of(cls, gateway: Gateway, region: str) -> Place:
        return cls(gateway.data / region, gateway.directory / "keys" / region)


@pytest.fixture
def two(own_gateway: Gateway) -> Gateway:
    """A gateway with two regions, of which Europe is the home of their organisation's calls."""
    return own_gateway


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Gateway]:
    """A gateway with three regions of one organisation that has run once."""
    gateway = Gateway(tmp_path / "gateway")
    with (gateway.directory / "gateway.toml").open("a") as file:
        file.write(_MORE)
    try:
        assert gateway.start().terminate() == 0
        yield gateway
    finally:
        gateway.close()


def opened_not(gateway: Gateway) -> dict[str, str]:
    """The regions that the last start left out, with the reason, as the log has it."""
    lines = [json.loads(line) for line in gateway.log_lines()]
    return {each["region"]: each["reason"] for each in lines if each["event"] == "region not opened"}


async def until_refused(gateway: Gateway, region: str, door: str) -> Json:
    """The refusal at a door, once it is in the region's ledger."""
    async with asyncio.timeout(5):
        while not (found := of_kind(await gateway.entries(region), "refused", door=door)):
            await asyncio.sleep(0.02)
    return found[-1]


async def told_and_proved(gateway: Gateway, participant: str, call: str) -> None:
    """The participant joins, is told of a recording, and proves it."""
    async with Dial(gateway) as dial:
        peer = await dial(participant, call)
        await gateway.tell(observed(call))
        await peer.prove(await peer.hear("notice", change="started"))
    assert participant not in gaps(await gateway.coverage(call))


@pytest.mark.parametrize("ruin", STARTED_ON)
async def test_a_region_that_is_not_as_it_was_is_refused_while_others_serve(three: Gateway, ruin: str) -> None:
    """P6: swapped, moved, linked, missing: said in one line, not ready for good; the people of other regions join, are
    told and prove; those of the region are turned away with 4301, and that is recorded."""
    act, words = RUINS[ruin]
    act(Place.of(three, "unitedstates"), Place.of(three, "europe"), three.directory / "elsewhere")
    three.start()
    reasons = opened_not(three)
    assert reasons.keys() == {"unitedstates", *({"europe"} if ruin in BOTH else ())}
    for word in words:
        assert word in reasons["unitedstates"]
    ready = await three.ask("GET", "/readyz")
    assert (ready.status_code, ready.json()["reasons"]) == (503, [reasons[each] for each in sorted(reasons)])
    metrics = (await three.ask("GET", "/metrics")).text
    for region in ("asia", "europe", "unitedstates"):
        assert f'gateway_storage_failing{{region="{region}"}} {float(region in reasons)}' in metrics
    await told_and_proved(three, KIM, "daily")
    async with Dial(three) as dial:
        peer = await dial.open(BOB)
        await peer.send("hello", token=three.token(BOB, "daily"))
        bye = await peer.hear("bye")
        assert (bye["code"], bye["retry"]) == (4301, "elsewhere")
    assert (await until_refused(three, "asia", "hello"))["reason"] == "region_not_served"


async def test_every_door_is_shut_to_the_people_of_a_region_that_is_not_open(three: Gateway) -> None:
    """P6: events, rosters, tokens, messages and its ledger: refused, recorded, and nowhere kept."""
    Place.of(three, "unitedstates").data.joinpath("region.db").unlink()
    three.start()
    taken = await three.tell(joined("daily", BOB, "Bob"), message(BOB, "text"), observed("daily", reported_by=BOB))
    assert (taken["accepted"], len(taken["refused"])) == (0, 3)
    await three.tell(roster("daily", 1, BOB, KIM))
    for path in ("entries", "checkpoint", "proof/0", "consistency?from=0"):
        answer = await three.ask("GET", f"/v1/ledgers/unitedstates/{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_region")
    assert (await three.ask("POST", "/v1/tokens", json={"participant": BOB, "calls": ["daily"]})).status_code == 404
    assert (await three.ask("GET", f"/v1/messages/{BOB}")).status_code == 404
    for door, times in (("event", 3), ("roster", 1), ("token", 1), ("message", 1)):
        await until_refused(three, "asia", door)
        assert len(of_kind(await three.entries("asia"), "refused", door=door)) == times
    assert not (three.data / "unitedstates" / "region.db").exists()


async def test_an_organisation_without_an_open_region_is_refused(three: Gateway) -> None:
    """P6: what is said of its calls is refused and recorded; the others' calls are none of its, whoever names them."""
    Place.of(three, "europe").data.joinpath("region.db").unlink()
    three.start()
    taken = await three.tell(observed("theirs", organization="fabrikam"))
    assert (taken["accepted"], len(taken["refused"])) == (0, 1)
    answer = await three.ask("PUT", "/v1/calls/theirs/aliases?organization=fabrikam", json={"aliases": ["other"]})
    assert (answer.status_code, answer.json()["code"]) == (404, "region_not_served")
    await three.tell(recording("theirs"))
    listed = (await three.get("/v1/calls"))["calls"]
    assert [(each["organization"], each["call"]) for each in listed] == [("", "theirs")]
    async with Dial(three) as dial:
        peer = await dial.open()
        await peer.send("hello", token=three.token(person("fay", FABRIKAM), "theirs"))
        assert await peer.ended() == 4301


async def test_without_any_region_nothing_starts(three: Gateway) -> None:
    """One line and exit 2 where no region can be opened."""
    for region in ("asia", "europe", "unitedstates"):
        Place.of(three, region).data.joinpath("identity.json").unlink()
    process = await asyncio.to_thread(three.run, "serve")
    assert (process.returncode, process.stdout) == (2, "")
    assert "region asia: the directory does not say whose it is" in process.stderr
    assert len(process.stderr.splitlines()) == 1


async def test_a_second_gateway_does_not_take_what_the_first_left_out(three: Gateway) -> None:
    """The data directory has one owner: a region that was mended meanwhile is not served beside the others."""
    label = Place.of(three, "unitedstates").data / "identity.json"
    label.rename(three.directory / "aside")
    three.start()
    (three.directory / "aside").rename(label)
    for command in (["serve"], ["retention", "sweep"]):
        (three.data / "ready.json").rename(three.directory / "ready.json")
        second = await asyncio.to_thread(three.run, *command)
        (three.directory / "ready.json").rename(three.data / "ready.json")
        assert (second.returncode, second.stdout) == (2, "")
        assert second.stderr.count("in use by another process") == 1
        assert len(second.stderr.splitlines()) == 1
    assert list(opened_not(three)) == ["unitedstates"]


def exported(gateway: Gateway, call: str) -> None:
    """The evidence of a call is complete in all its regions and verifies, and so do the ledgers."""
    pack = gateway.directory / f"{call}.zip"
    made = gateway.run("evidence", "export", call, "--out", str(pack))
    assert made.returncode == 0, made.stderr
    regions = [each for each in ("asia", "europe", "unitedstates") if (gateway.data / each / "region.db").exists()]
    keys = [f"--key={gateway.directory / 'keys' / region / 'verifier.vkey'}" for region in regions]
    verified = gateway.offline("evidence", "verify", str(pack), *keys)
    assert verified.returncode in (0, 10), verified.stdout
    pack.unlink()
    for region, key in zip(regions, keys, strict=True):
        whole = gateway.offline("ledger", "verify", str(gateway.data / region), key)
        assert whole.returncode == 0, whole.stdout


@pytest.mark.parametrize("away", ["europe", "unitedstates"])
async def test_a_call_goes_on_without_a_region_and_is_whole_when_it_is_back(two: Gateway, away: str) -> None:
    """P2, P4: whether its home is away or another region: who is left is shown what is on, told what follows, and
    proves; meanwhile coverage says that it is not complete and there is no evidence; afterwards both are whole again,
    for calls that the region knew, calls it knew alone, and calls that began without it."""
    gone, here = (ANN, BOB) if away == "europe" else (BOB, ANN)
    two.start()
    async with Dial(two) as dial:
        for participant, call in ((ANN, "daily"), (BOB, "daily"), (gone, "alone")):
            await dial(participant, call)
        await two.tell(observed("daily"), observed("alone"))
        await two.coverage("daily", wait=1)
    assert two.terminate() == 0
    label = Place.of(two, away).data / "identity.json"
    label.rename(two.directory / "aside")

    two.start()
    assert list(opened_not(two)) == [away]
    async with Dial(two) as dial:
        peer = await dial(here, "daily", "alone", "fresh")
        assert peer.states["daily"]["capabilities"]["recording"]["state"] == "active"
        for state in peer.states.values():
            for notice in state["notices"]:
                await peer.prove(notice)
        await two.tell(observed("daily", "inactive"))
        await peer.prove(await peer.hear("notice", call="daily", change="stopped"), "received")
        for call in ("daily", "alone", "fresh"):
            await two.tell(observed(call, capability="transcription"))
            notice = await peer.hear("notice", call=call, capability="transcription")
            await peer.prove(notice)
        for call in ("daily", "alone", "fresh"):
            covered = await two.coverage(call, wait=1)
            assert not [gap for each in covered["notices"] for gap in each["gaps"]], covered
            assert (covered["complete"], covered["unserved"]) == (False, [away])
            refused = await two.ask("GET", f"/v1/calls/{call}/evidence")
            assert (refused.status_code, refused.json()["code"]) == (409, "region_not_served")
    two.kill()
    (two.directory / "aside").rename(label)

    two.start()
    assert (await two.ask("GET", "/readyz")).status_code == 200
    async with Dial(two) as dial:
        back = await dial(gone, "daily", "alone", "fresh")
        for call in ("daily", "alone", "fresh"):
            assert back.states[call]["capabilities"]["transcription"]["state"] == "active"
            for notice in back.states[call]["notices"]:
                await back.prove(notice, "acknowledged")
        await two.tell(
            *(observed(call, "inactive", capability="transcription") for call in ("daily", "alone", "fresh"))
        )
        for call in ("daily", "alone", "fresh"):
            notice = await back.hear("notice", call=call, change="stopped", capability="transcription")
            await back.prove(notice, "received")
            assert "unserved" not in await two.coverage(call)
            await asyncio.to_thread(exported, two, call)
    two.restart()
    for call in ("daily", "alone", "fresh"):
        await asyncio.to_thread(exported, two, call)


async def test_commands_work_where_they_touch_no_refused_region(three: Gateway) -> None:
    """Offline: coverage and evidence of a call in open regions work; what a refused region may have a part in is
    refused in one line that names it."""
    three.start()
    async with Dial(three) as dial:
        await dial(KIM, "asian", "daily")
        await dial(BOB, "daily")
        await three.tell(observed("daily"), observed("asian"))
        await three.coverage("daily", wait=1)
    assert three.terminate() == 0
    (Place.of(three, "unitedstates").data / "identity.json").unlink()

    def run(*arguments: str) -> tuple[int, str]:
        done = three.run(*arguments)
        assert done.returncode == 0 or len(done.stderr.splitlines()[-1:]) == 1
        return done.returncode, done.stderr

    status, said = await asyncio.to_thread(run, "coverage", "asian")
    assert status == 0, said
    out = three.directory / "pack.zip"
    status, said = await asyncio.to_thread(run, "evidence", "export", "asian", "--out", str(out))
    assert status == 0, said
    out.unlink()
    for refused in (
        ["coverage", "daily"],
        ["coverage", "nobody-knows"],
        ["evidence", "export", "daily", "--out", str(out)],
        ["evidence", "export", "asian", "--region", "unitedstates", "--out", str(out)],
        ["retention", "sweep"],
    ):
        status, said = await asyncio.to_thread(run, *refused)
        assert (status, "gateway: region unitedstates: the directory does not say whose" in said) == (2, True), said
        assert not out.exists()
