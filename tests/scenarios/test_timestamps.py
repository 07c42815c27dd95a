"""An authority outside stamps what a real gateway signed; whatever becomes of the authority, the gateway goes on."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest

from storage.note import parse_note
from tests.authority import Authority, Behaviour, Office
from tests.scenarios.events import observed
from tests.scenarios.harness import REGIONS, Gateway


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with Office(Authority(tmp_path / "authority")) as opened:
        yield opened


@pytest.fixture
def gateway(tmp_path: Path, office: Office) -> Iterator[Gateway]:
    made = Gateway(tmp_path / "gateway", {"LEDGER__TIMESTAMPS_URL": office.url, "LEDGER__TIMESTAMP_SECONDS": "0.2"})
    try:
        yield made.start()
    finally:
        made.close()


def verify(gateway: Gateway, region: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """`gateway ledger verify` without any configuration."""
    key = gateway.directory / "keys" / region / "verifier.vkey"
    words = ["verify", gateway.data / region, "--key", key, *arguments]
    command = [sys.executable, "-m", "gateway", "ledger", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd="/", env={})


async def test_what_was_signed_is_stamped(gateway: Gateway, office: Office) -> None:
    """The newest checkpoint of each region, again when it grew; ours and openssl judge the token alike."""
    await gateway.tell(observed("call"))
    size = len(await gateway.entries())
    query = f"SELECT note, token FROM timestamps JOIN checkpoints USING (size) WHERE size = {size}"
    found = gateway.select("europe", query)
    for _ in range(100):
        if found:
            break
        await asyncio.sleep(0.1)
        found = gateway.select("europe", query)
    ((note, token),) = found
    assert office.authority.believes(token, parse_note(note).body.encode())
    for region in REGIONS:
        stamped = verify(gateway, region, "--tsa", office.authority.root)
        assert stamped.returncode == 0, stamped.stdout
        assert "existed at" in stamped.stdout
    assert not any(b"europe" in each or b"call" in each for each in office.asked)


async def test_a_pack_carries_a_stamp_of_its_own_checkpoint(gateway: Gateway, office: Office) -> None:
    """Asked for when it is made; an authority that hangs costs a few seconds and the stamp, nothing else."""
    await gateway.tell(observed("call"))
    behaviours: dict[Behaviour, bool] = {"stamps": True, "fails": False, "stalls": False}
    for behaviour, stamped in behaviours.items():
        office.behaviour = behaviour
        began = time.monotonic()
        answer = await gateway.ask("GET", "/v1/calls/call/evidence")
        assert answer.status_code == 200
        assert time.monotonic() - began < 9
        with zipfile.ZipFile(BytesIO(answer.content)) as pack:
            files = {name: pack.read(name) for name in pack.namelist()}
        assert ("regions/europe/timestamp.tsr" in files) == stamped
        if stamped:
            body = parse_note(files["regions/europe/checkpoint.txt"].decode()).body
            assert office.authority.believes(files["regions/europe/timestamp.tsr"], body.encode())


async def test_an_authority_that_hangs_delays_nothing(gateway: Gateway, office: Office) -> None:
    """Events are taken, proof is given, and the end comes as soon as without one."""
    office.behaviour = "stalls"
    asked = len(office.asked)
    await gateway.tell(observed("call"))
    for _ in range(100):
        if len(office.asked) > asked:
            break
        await asyncio.sleep(0.1)
    began = time.monotonic()
    await gateway.tell(observed("other"))
    assert (await gateway.ask("GET", "/readyz")).status_code == 200
    assert gateway.terminate() == 0
    assert time.monotonic() - began < 4
    assert not [line for line in gateway.log_lines() if '"error"' in line]
