"""Continuous replication by the real litestream beside the real gateway, and what its history can still open."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from storage.audit.ledger import verify
from storage.audit.verdict import SOUND
from storage.engine import connect_resting
from storage.note import parse_verifiers
from storage.residue import scan
from storage.slots import Slots
from storage.vault import Vault
from tests.scenarios.events import message, stamp
from tests.scenarios.harness import Gateway, person

LITESTREAM = Path(sys.executable).with_name("litestream")
OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"
NAMES = ("ann", "ben", "carl", "dora")


class Replication:
    """A litestream that replicates the region `europe` of a gateway, configured as the documents say."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.replica = gateway.directory.parent / "replica" / "europe"
        self.restored: list[Path] = []
        documented = re.search(r"```yaml\n(.*?)```", OPERATIONS.read_text(encoding="utf-8"), re.DOTALL)
        assert documented is not None
        self.configuration = gateway.directory.parent / "litestream.yml"
        self.configuration.write_text(
            documented[1]
            .replace("/srv/gateway/data", str(gateway.data))
            .replace("/srv/replica", str(self.replica.parent))
            # For a test a second is long.
            .replace("sync-interval: 1s", "sync-interval: 100ms")
            .replace("monitor-interval: 1s", "monitor-interval: 100ms")
        )
        self.log = gateway.directory.parent / "litestream.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [LITESTREAM, "replicate", "-config", self.configuration], stdout=log, stderr=log
            )

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)

    def restore(self, *point: str) -> tuple[Path, dict[str, Any]] | None:
        """A file made from the replica, and what litestream says of it; None where there is nothing yet."""
        out = self.gateway.directory.parent / "restored" / f"{len(self.restored)}.db"
        out.parent.mkdir(exist_ok=True)
        done = subprocess.run(
            [LITESTREAM, "restore", "-json", *point, "-o", out, f"file://{self.replica}"],
            capture_output=True,
            text=True,
            timeout=10,
        )
        if done.returncode:
            return None
        self.restored.append(out)
        return out, json.loads(done.stdout)

    async def until(self, *texts: str) -> tuple[Path, dict[str, Any]]:
        """The newest file that can be made from the replica, once these texts are in it and no others."""
        async with asyncio.timeout(15):
            while True:
                found = self.restore()
                if found is not None and self.opened(found[0]) == set(texts):
                    return found
                await asyncio.sleep(0.1)

    def opened(self, file: Path) -> set[str]:
        """The texts in this file that open with the keys as they are now."""
        keys = self.gateway.directory / "keys" / "europe"
        with contextlib.closing(Slots(keys / "slots")) as slots:
            vault = Vault("europe", (keys / "master.key").read_bytes(), slots)
            boxes = [vault.open("messages", copy, slot, box) for copy, slot, box in rows(file)]
        return {json.loads(each)[3] for each in boxes if each is not None}


def rows(file: Path) -> list[tuple[str, int, bytes]]:
    with contextlib.closing(connect_resting(file)) as connection:
        return connection.execute("SELECT copy, slot, box FROM messages").fetchall()


@pytest.fixture
def replication(own_gateway: Gateway) -> Iterator[Replication]:
    """A running gateway, and litestream beside it."""
    own_gateway.start()
    started = Replication(own_gateway)
    yield started
    started.stop()


async def test_a_replica_opens_nothing_that_was_deleted_since(replication: Replication) -> None:
    """P7: superseded, deleted by its author, expired: in no file that can be made from the replica, at no point of its
    history, do they open; what lives does. No plaintext is anywhere, and ledger and gateway are none the worse."""
    gateway, now = replication.gateway, datetime.now(UTC)
    texts = {name: secrets.token_hex(12) for name in NAMES}
    for name, text in texts.items():
        sent_at = now - timedelta(days=1) if name == "carl" else now
        await gateway.tell(message(person(name), text, sent_at=sent_at))
    before, said = await replication.until(*texts.values())

    newer = secrets.token_hex(12)
    await gateway.tell(message(person("ann"), newer, version=2))
    await gateway.tell(message(person("ben"), None, version=2))
    swept = await gateway.ask("POST", "/v1/retention/sweep", json={"now": stamp(now + timedelta(days=29, hours=12))})
    assert swept.json()["deleted"] == 1
    after, _ = await replication.until(newer, texts["dora"])
    assert len(rows(after)) == 2

    assert len(rows(before)) == 4
    assert replication.opened(before) == {texts["dora"]}
    again = replication.restore("-txid", said["txid"])
    assert again is not None
    assert len(rows(again[0])) == 4, "an earlier point is to be had"
    assert replication.opened(again[0]) == {texts["dora"]}

    gateway.restart()
    assert gateway.terminate() == 0
    replication.stop()
    verifiers = parse_verifiers((gateway.directory / "keys" / "europe" / "verifier.vkey").read_text())
    assert verify(gateway.data / "europe", verifiers).exit == SOUND
    needles = [each.encode() for each in (*texts.values(), newer, *map(person, NAMES))]
    assert scan(gateway.directory.parent, needles) == []
    assert not [line for line in gateway.log_lines() if '"level":"info"' not in line]


async def test_a_gateway_ends_in_time_beside_it(replication: Replication) -> None:
    """Litestream never lets go of its snapshot, and nobody waits for that; the next start finds everything."""
    gateway = replication.gateway
    await gateway.tell(message(person("ann"), "text"))
    began = asyncio.get_running_loop().time()
    assert gateway.terminate() == 0
    assert asyncio.get_running_loop().time() - began < 4
    gateway.start()
    assert (await gateway.get(f"/v1/messages/{person('ann')}"))["content"] == "text"


async def test_a_file_from_the_replica_is_taken_back(replication: Replication) -> None:
    """The data are lost, and the gateway goes on with what was replicated: ready, and no region doubts it."""
    gateway = replication.gateway
    await gateway.tell(message(person("ann"), "text"))
    file, _ = await replication.until("text")
    gateway.kill()
    replication.stop()
    shutil.rmtree(gateway.data / "europe")
    (file.parent / "europe").mkdir()
    file.rename(file.parent / "europe" / "region.db")
    done = gateway.run("restore", str(file.parent), "--region", "europe")
    assert done.returncode == 0, done.stderr
    gateway.start()
    assert (await gateway.get(f"/v1/messages/{person('ann')}"))["content"] == "text"
    assert (await gateway.ask("GET", "/readyz")).status_code == 200
    kinds = [each["kind"] for each in await gateway.entries()]
    assert kinds.count("ledger.restored") == 1


async def test_what_it_leaves_is_private(replication: Replication) -> None:
    """Its directories beside the data and at the replica are 0700, its files 0600: pages of sealed boxes."""
    gateway = replication.gateway
    await gateway.tell(message(person("ann"), "text"))
    await replication.until("text")
    for place in (gateway.data / "europe", replication.replica):
        for path in (place, *place.rglob("*")):
            assert path.stat().st_mode & 0o77 == 0, path
