"""Two regions of one real gateway vouch for each other, a witness outside for both, and an old copy is noticed."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from storage.note import Note, parse_checkpoint, parse_note, parse_verifiers
from storage.signing import judge
from tests.scenarios.events import joined, observed
from tests.scenarios.harness import REGIONS, STATES, Gateway, person
from tests.storage.desk import forget

SETTINGS = {"LEDGER__WITNESSES_FILE": "witnesses.vkey", "LEDGER__NAME": "notices.example"}
SISTER = dict(zip(REGIONS, reversed(REGIONS), strict=True))
WITNESS = "witness.example/w1"


def offline(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """A command of the ledger's, anywhere, without any configuration."""
    command = [sys.executable, "-m", "gateway", "ledger", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd="/", env={"PATH": ""})


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where the witness outside keeps its key and what it saw."""
    made = tmp_path / "witness"
    made.mkdir(mode=0o700)
    assert offline("witness-key", WITNESS, "--out", made / "key").returncode == 0
    return made


@pytest.fixture
def gateway(own_gateway: Gateway, place: Path) -> Gateway:
    """A gateway of the test's own that keeps the witness's cosignatures, started."""
    shutil.copy(place / "key.vkey", own_gateway.directory / "witnesses.vkey")
    return own_gateway.start()


def vkey(gateway: Gateway, region: str) -> Path:
    return gateway.directory / "keys" / region / "verifier.vkey"


async def checkpoint(gateway: Gateway, region: str) -> Note:
    answer = await gateway.ask("GET", f"/v1/ledgers/{region}/checkpoint")
    assert answer.status_code == 200
    return parse_note(answer.text)


async def covering(gateway: Gateway, region: str) -> Note:
    """The checkpoint that covers every entry."""
    for _ in range(100):
        note = await checkpoint(gateway, region)
        if parse_checkpoint(note.body).size == len(await gateway.entries(region)):
            return note
        await asyncio.sleep(0.05)
    raise AssertionError(f"nothing covers all of {region}")


async def vouched(gateway: Gateway, region: str) -> Note:
    """The newest checkpoint, covering every entry, once the sister region vouched for it."""
    _, sister = parse_verifiers(vkey(gateway, SISTER[region]).read_text())
    for _ in range(100):
        note = await covering(gateway, region)
        if judge(note, sister):
            return note
        await asyncio.sleep(0.1)
    raise AssertionError(f"nobody vouched for {region}")


async def readiness(gateway: Gateway) -> httpx.Response:
    return await gateway.ask("GET", "/readyz")


def verify(gateway: Gateway, region: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return offline("verify", gateway.data / region, "--key", vkey(gateway, region), *arguments)


def copy(gateway: Gateway, region: str, to: Path) -> None:
    shutil.copytree(gateway.data / region, to)


def put_back(gateway: Gateway, region: str, kept: Path) -> None:
    shutil.rmtree(gateway.data / region)
    shutil.copytree(kept, gateway.data / region)
    forget(gateway.directory / "keys" / region)


async def test_each_region_carries_the_others_word(gateway: Gateway) -> None:
    """Within seconds, under load and after it; whoever verifies can demand it, and gets 40 where there is none."""
    for number in range(5):
        await gateway.tell(observed(f"call-{number}"))
    # Nobody vouches for a ledger without entries: both regions have some.
    await gateway.tell(joined("call-0", person("ben", STATES)))
    for region in REGIONS:
        note = await vouched(gateway, region)
        assert len(note.signatures) == 2
        sister = vkey(gateway, SISTER[region])
        assert verify(gateway, region, "--witness", sister).returncode == 0
        own = verify(gateway, region, "--witness", vkey(gateway, region))
        assert (own.returncode, own.stdout.count("\n")) == (40, 1)
        assert "no cosignature of any entry by" in own.stdout
    assert (await readiness(gateway)).status_code == 200


async def test_an_honest_restart_stays_ready(gateway: Gateway) -> None:
    """Stopped or killed: the sisters find what they saw, and go on."""
    await gateway.tell(observed("call"))
    for region in REGIONS:
        await vouched(gateway, region)
    gateway.restart()
    assert (await readiness(gateway)).status_code == 200
    await gateway.tell(observed("call", state="inactive"))
    assert gateway.terminate() == 0
    gateway.start()
    for region in REGIONS:
        await vouched(gateway, region)
    assert (await readiness(gateway)).status_code == 200
    assert "gateway_cosignatures_refused_total{" not in (await gateway.ask("GET", "/metrics")).text


async def test_an_old_copy_put_back_is_noticed(gateway: Gateway, tmp_path: Path) -> None:
    """Red from the first moment, in words, and for good, however it grows: it gets no cosignature any more."""
    await gateway.tell(observed("before"))
    await vouched(gateway, "europe")
    assert gateway.terminate() == 0
    copy(gateway, "europe", tmp_path / "kept")
    gateway.start()
    await gateway.tell(observed("after"))
    await vouched(gateway, "europe")
    assert gateway.terminate() == 0
    put_back(gateway, "europe", tmp_path / "kept")
    gateway.start()
    answer = await readiness(gateway)
    assert answer.status_code == 503
    (reason,) = answer.json()["reasons"]
    assert reason.startswith("the ledger of region europe was rolled back: region unitedstates has seen ")
    for number in range(3):
        await gateway.tell(observed(f"more-{number}"))
    # Long enough for the next look at it.
    await asyncio.sleep(2.5)
    reasons = (await readiness(gateway)).json()["reasons"]
    assert reasons[0] == reason
    assert all("region europe" in each for each in reasons)
    _, sister = parse_verifiers(vkey(gateway, "unitedstates").read_text())
    assert judge(await checkpoint(gateway, "europe"), sister) is None
    await vouched(gateway, "unitedstates")
    assert 'gateway_cosignatures_refused_total{region="europe"}' in (await gateway.ask("GET", "/metrics")).text
    assert not [each for each in await gateway.entries("europe") if "witness" in each["kind"]]


class Outside:
    """The witness outside: it asks the gateway, cosigns with the command, and gives its word back."""

    def __init__(self, gateway: Gateway, place: Path) -> None:
        self.gateway = gateway
        self.place = place
        self.size = 0

    def cosign(self, source: Path, *more: str | Path) -> subprocess.CompletedProcess[str]:
        keys = ("--key", vkey(self.gateway, "europe"), "--witness-key", self.place / "key")
        return offline("cosign", source, *keys, "--state", self.place / "seen", *more)

    async def look(self) -> subprocess.CompletedProcess[str]:
        """Ask for checkpoint and proof, and cosign them."""
        (self.place / "note").write_text((await covering(self.gateway, "europe")).text())
        size = parse_checkpoint(parse_note((self.place / "note").read_text()).body).size
        query = {"from": self.size, "to": size}
        answer = await self.gateway.ask("GET", "/v1/ledgers/europe/consistency", params=query)
        (self.place / "answer").write_bytes(answer.content)
        done = self.cosign(self.place / "note", "--consistency", self.place / "answer")
        if done.returncode == 0:
            self.size = size
        return done

    async def give(self, note: str) -> httpx.Response:
        return await self.gateway.ask("POST", "/v1/ledgers/europe/cosignatures", content=note.encode())


async def test_a_witness_outside_is_served_and_demanded(gateway: Gateway, place: Path) -> None:
    """It follows the ledger over HTTP with nothing but public keys; its word is served, and found in the file."""
    outside = Outside(gateway, place)
    public = place / "key.vkey"
    (witness,) = parse_verifiers(public.read_text())
    for number in range(3):
        await gateway.tell(observed(f"call-{number}"))
        done = await outside.look()
        assert done.returncode == 0, done.stderr
        assert ("for the first time" in done.stderr) == (number == 0)
        answer = await outside.give(done.stdout)
        assert (answer.status_code, answer.json()) == (200, {"kept": [WITNESS]})
        note = parse_note(done.stdout)
        kept = f"SELECT count(*) FROM cosignatures WHERE name = '{WITNESS}'"
        assert gateway.select("europe", kept) == [(number + 1,)]
        assert judge(note, witness)
    await vouched(gateway, "europe")
    sound = verify(gateway, "europe", "--witness", public, "--witness", vkey(gateway, "unitedstates"))
    assert sound.returncode == 0, sound.stdout
    assert WITNESS in sound.stdout
    assert verify(gateway, "unitedstates", "--witness", public).returncode == 40
    for text in ("", "hello\n", (await checkpoint(gateway, "unitedstates")).text()):
        assert (await outside.give(text)).status_code == 400


async def test_a_witness_outside_catches_both_regions_rolled_back_at_once(
    gateway: Gateway, place: Path, tmp_path: Path
) -> None:
    """The sisters cannot know; the witness refuses with 30, and what it brings makes the gateway red."""
    outside = Outside(gateway, place)
    await gateway.tell(observed("before"))
    for region in REGIONS:
        await vouched(gateway, region)
    assert gateway.terminate() == 0
    for region in REGIONS:
        copy(gateway, region, tmp_path / region)
    gateway.start()
    await gateway.tell(observed("after"))
    cosigned = await outside.look()
    assert cosigned.returncode == 0
    assert gateway.terminate() == 0
    for region in REGIONS:
        put_back(gateway, region, tmp_path / region)
    gateway.start()
    for region in REGIONS:
        await vouched(gateway, region)
    assert (await readiness(gateway)).status_code == 200
    note = place / "note"
    note.write_text((await checkpoint(gateway, "europe")).text())
    for source in (note, gateway.data / "europe"):
        refused = outside.cosign(source)
        assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (30, "", 1)
    answer = await outside.give(cosigned.stdout)
    assert (answer.status_code, answer.json()["code"]) == (409, "other_history")
    assert (await readiness(gateway)).status_code == 503
