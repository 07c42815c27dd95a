"""Whoever was shown a ledger finds out when another is served in its place, and only then."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.client import Client, Forked, connect
from storage.note import Checkpoint, parse_checkpoint, parse_note
from tests.scenarios.events import observed
from tests.scenarios.harness import Gateway, person
from tests.storage.desk import forget

ANNA = person("anna")


@pytest.fixture
def lasting(tmp_path: Path) -> Iterator[Gateway]:
    """A gateway that listens on the same port after every start, so that its clients find it again."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    made = Gateway(tmp_path / "gateway", {"LISTEN__ADDRESS": f"127.0.0.1:{port}"})
    try:
        yield made.start()
    finally:
        made.close()


@asynccontextmanager
async def client(gateway: Gateway, checkpoint: str | None = None, *, keyed: bool = True) -> AsyncIterator[Client]:
    """Anna's client, which knows what an earlier one saw, and the gateway's public key if it is `keyed`."""
    verifier = (gateway.directory / "keys" / "europe" / "verifier.vkey").read_text() if keyed else None

    def token() -> str:
        return gateway.token(ANNA, "call")

    made = connect(gateway.websocket, token=token, device="anna", checkpoint=checkpoint, verifier=verifier)
    async with asyncio.timeout(60), made:
        yield made


def at(note: str | None) -> Checkpoint:
    """What a note says."""
    assert note is not None
    return parse_checkpoint(parse_note(note).body)


async def grow(gateway: Gateway, what: str, count: int = 3) -> int:
    """So many calls more; how many entries are signed after that."""
    await gateway.tell(*(observed(f"{what}-{number}") for number in range(count)))
    last = len(await gateway.entries()) - 1
    answer = await gateway.ask("GET", f"/v1/ledgers/europe/proof/{last}")
    return at(answer.text.partition("\n\n")[2]).size


async def seen(gateway: Gateway) -> str:
    """What a client is shown that looks in for a moment."""
    async with client(gateway) as looking:
        assert looking.checkpoint is not None
        return looking.checkpoint


def put_back(gateway: Gateway, copy: Path) -> None:
    """The region's directory as it was when `copy` was made; the gateway is not running."""
    shutil.rmtree(gateway.data / "europe")
    shutil.copytree(copy, gateway.data / "europe")
    forget(gateway.directory / "keys" / "europe")


async def forks_reported(gateway: Gateway) -> tuple[float, list[str]]:
    """How many the gateway counted, and what it logged of them."""
    metrics = (await gateway.ask("GET", "/metrics")).text
    counted = sum(
        float(line.split()[-1]) for line in metrics.splitlines() if line.startswith("gateway_forks_reported_total{")
    )
    logged = [json.loads(line) for line in gateway.log_lines() if "fork reported" in line]
    return counted, [each["region"] for each in logged]


async def forked_copy(gateway: Gateway, directory: Path, later: int) -> str:
    """Show a client a ledger, then serve another: the old copy with `later` calls more. The note it was shown."""
    await grow(gateway, "common")
    gateway.terminate()
    shutil.copytree(gateway.data / "europe", directory / "copy")
    gateway.start()
    await grow(gateway, "shown", 5)
    note = await seen(gateway)
    gateway.terminate()
    put_back(gateway, directory / "copy")
    gateway.start()
    if later:
        await grow(gateway, "other", later)
    return note


@pytest.mark.parametrize("keyed", [True, False])
@pytest.mark.parametrize("later", [0, 20])
async def test_an_older_copy_that_went_on_differently_is_a_fork(
    own_gateway: Gateway, tmp_path: Path, later: int, keyed: bool
) -> None:
    """P8: shorter than what was seen or long overtaken, with the public key or without: the client raises, and holds
    two notes of the gateway's own key that contradict each other. The gateway finds its own signature too."""
    gateway = own_gateway.start()
    known = await forked_copy(gateway, tmp_path, later)
    with pytest.raises(Forked) as forked:
        async with client(gateway, known, keyed=keyed):
            pytest.fail("entered")
    assert forked.value.known == known
    assert (at(forked.value.shown).size > at(known).size) is bool(later)
    assert at(forked.value.shown).origin == at(known).origin
    assert await forks_reported(gateway) == (1.0, ["europe"])
    async with client(gateway) as newcomer:
        assert newcomer.checkpoint is not None, "who never saw the other is served"


async def test_a_client_that_was_connected_finds_out_on_its_return(lasting: Gateway, tmp_path: Path) -> None:
    """It raises to whoever waits, by itself, without the app's doing anything."""
    gateway = lasting
    await grow(gateway, "common")
    gateway.terminate()
    shutil.copytree(gateway.data / "europe", tmp_path / "copy")
    gateway.start()
    await grow(gateway, "shown")
    async with client(gateway) as staying:
        await staying.join("call")
        known = staying.checkpoint
        gateway.kill()
        put_back(gateway, tmp_path / "copy")
        gateway.start()
        error = await staying.ended()
        assert isinstance(error, Forked)
        assert error.known == known
        with pytest.raises(Forked):
            await anext(staying.notices("call"))


async def test_no_honest_restart_is_a_fork(lasting: Gateway) -> None:
    """Killed or terminated, quiet or busy: the client stays, is told, and what it saw only grows."""
    gateway = lasting
    async with client(gateway) as staying:
        notices = staying.notices("call")
        sizes = [at(staying.checkpoint).size]
        for number in range(4):
            await gateway.tell(observed("call", ("active", "paused")[number % 2]))
            await (await anext(notices)).acknowledge()
            await staying.settled()
            session = staying.welcome.session
            if number % 2:
                gateway.restart()
            else:
                gateway.terminate()
                gateway.start()
            while staying.welcome.session == session or not staying.connected:
                await asyncio.sleep(0.01)
            sizes.append(at(staying.checkpoint).size)
        assert sizes == sorted(sizes)
        assert sizes[-1] > sizes[0]
    assert await forks_reported(gateway) == (0.0, [])


async def test_what_was_seen_holds_across_clients(own_gateway: Gateway) -> None:
    """An app that keeps the note over its own restarts is as good a witness as one that never ends."""
    gateway = own_gateway.start()
    note = None
    for number in range(3):
        await grow(gateway, f"round-{number}")
        async with client(gateway, note) as looking:
            assert at(looking.checkpoint).size > (at(note).size if note else 0)
            note = looking.checkpoint
        gateway.restart()
    assert await forks_reported(gateway) == (0.0, [])


async def test_the_data_under_another_key_are_not_taken_for_the_same(own_gateway: Gateway, tmp_path: Path) -> None:
    """Whoever has the gateway's key knows a stranger's ledger, even where nothing was seen before."""
    gateway = own_gateway.start()
    known = await seen(gateway)
    verifier = (gateway.directory / "keys" / "europe" / "verifier.vkey").read_text()
    other = Gateway(tmp_path / "other").start()
    try:
        for checkpoint in (None, known):
            made = connect(other.websocket, token=other.token(ANNA, "call"), checkpoint=checkpoint, verifier=verifier)
            with pytest.raises(Forked):
                async with made:
                    pytest.fail("entered")
        assert await forks_reported(other) == (0.0, [])
    finally:
        other.close()
