"""What is left to read after a life of messages, holds, deletions and an erasure: nothing, wherever one looks.

The gateway that is looked at is real, and so is the command that looks. That the command would find something is shown
on gateways that were broken on purpose.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from storage.residue import scan
from tests.scenarios.events import message, observed, stamp
from tests.scenarios.harness import Gateway, person
from tests.scenarios.peers import Dial

SETTINGS = {"LOG__LEVEL": "debug"}
PEOPLE = ("ann", "ben", "cyd", "dora", "eve", "fay")


class Life:
    """A gateway, all the secrets it was told, and every place where they could have come to lie."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.root = gateway.directory.parent
        self.people = {name: person(f"{name}-{secrets.token_hex(8)}") for name in PEOPLE}
        self.names = {name: f"{name.title()} {secrets.token_hex(8)}" for name in PEOPLE}
        self.threads = {name: f"19:{secrets.token_hex(8)}@thread.v2" for name in PEOPLE}
        self.bodies: list[str] = []
        self.reason = secrets.token_hex(8)
        self.temporary = [self.root / "temporary", self.root / "sqlite-temporary"]
        for each in self.temporary:
            each.mkdir()
        gateway.environment |= dict(zip(("TMPDIR", "SQLITE_TMPDIR"), map(str, self.temporary), strict=True))
        self.backups = [self.root / "backup-before", self.root / "backup-after"]
        self.needles = self.root / "needles" / "all"

    def body(self) -> str:
        """A text that nobody has sent yet."""
        self.bodies.append(secrets.token_hex(16))
        return self.bodies[-1]

    async def send(self, name: str, content: str | None, *, version: int = 1, sent_at: datetime | None = None) -> None:
        said = message(self.people[name], content, thread=self.threads[name], version=version, sent_at=sent_at)
        assert (await self.gateway.tell(said))["accepted"] == 1

    async def live(self) -> None:
        """A notice; messages that are sent, superseded, deleted, held and swept; an erasure; backups and packs."""
        gateway, now = self.gateway, datetime.now(UTC)
        async with Dial(gateway) as dial:
            peers = {name: await dial(self.people[name], "daily", name=self.names[name]) for name in PEOPLE}
            await gateway.tell(observed("daily"))
            for name, peer in peers.items():
                await peer.prove(await peer.hear("notice"))
                await self.send(name, self.body(), sent_at=now - timedelta(days=1 if name == "dora" else 0))
            frame = self.body()
            await peers["fay"].say(frame, thread=self.threads["fay"], version=2, sent_at=stamp(now))
        self.command("backup", str(self.backups[0]))
        self.command("evidence", "export", "daily", "--out", str(self.root / "before.zip"))
        await self.send("ann", self.body(), version=2)
        await self.send("ben", None, version=2)
        hold = ["hold", "add", "case", "--participant", self.people["cyd"], "--reason", self.reason]
        self.command("retention", *hold)
        await self.send("cyd", None, version=2)
        later = now + timedelta(days=29, hours=12)
        swept = json.loads(self.command("retention", "sweep", "--now", stamp(later), "--json"))
        assert swept["deleted"] == 1, "dora's has gone"
        self.command("retention", "erase", "--participant", self.people["eve"])
        self.command("backup", str(self.backups[1]))
        self.command("evidence", "export", "daily", "--out", str(self.root / "after.zip"))

    def command(self, *arguments: str) -> str:
        done = self.gateway.run(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def scan(self, *options: str | Path) -> subprocess.CompletedProcess[str]:
        """`gateway residue scan` for every secret, as an operator calls it."""
        secret = [*self.bodies, self.reason]
        for each in (self.people, self.names, self.threads):
            secret += each.values()
        self.needles.parent.mkdir(exist_ok=True)
        self.needles.write_text("\n".join(secret))
        command = [sys.executable, "-m", "gateway", "residue", "scan", "--needle-file", self.needles, *options]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    def places(self) -> Sequence[str | Path]:
        """Every directory in which the gateway or its commands may write, and the process."""
        directories = [self.gateway.directory, *self.backups, *self.temporary]
        return [*(part for each in directories for part in ("--data", each)), "--pid", str(self.gateway.pid)]

    def unpacked(self, name: str) -> Path:
        """The files of an evidence pack."""
        with zipfile.ZipFile(self.root / f"{name}.zip") as pack:
            pack.extractall(self.root / name)
        return self.root / name


async def test_p7_nothing_can_be_read_anywhere(own_gateway: Gateway) -> None:
    """P7: no body, raw id, display name, thread or reason is in the data, the keys, the configuration, the log, backups
    from before and after, temporary directories, or what the process has open; neither while it runs nor when it was
    killed.
    """
    life = Life(own_gateway)
    own_gateway.start()
    await life.live()
    *files, _, _ = places = life.places()
    found = life.scan(*places)
    assert (found.returncode, found.stdout) == (0, f"none of {len(life.bodies) + 1 + 3 * len(PEOPLE)} needles found\n")
    assert len(own_gateway.open_files()) > 3
    own_gateway.kill()
    assert life.scan(*files).returncode == 0


async def test_a_pack_made_after_an_erasure_does_not_name_the_erased(own_gateway: Gateway) -> None:
    """Packs name people on purpose: those who are still there. No pack holds a message."""
    life = Life(own_gateway)
    own_gateway.start()
    await life.live()
    bodies = [each.encode() for each in (*life.bodies, *life.threads.values())]
    erased = [each.encode() for each in (life.people["eve"], life.names["eve"])]
    before, after = life.unpacked("before"), life.unpacked("after")
    assert {hit.needle for hit in scan(before, erased)} == {0, 1}
    assert scan(after, erased) == []
    assert {hit.needle for hit in scan(after, [each.encode() for each in life.people.values()])} == {0, 1, 2, 3, 5}
    assert scan(before, bodies) == scan(after, bodies) == []


@pytest.mark.parametrize(
    ("way", "where"),
    [
        ("row", ("gateway/data/europe/region.db", "backup-before/europe/region.db", "backup-after/europe/region.db")),
        ("temporary", ("temporary/tmp",)),
        ("deleted", ("(deleted)",)),
        ("memory", ("/memfd:spill (deleted)",)),
        ("log", ("gateway/log",)),
    ],
)
async def test_a_gateway_that_lets_bodies_lie_in_clear_is_caught(
    own_gateway: Gateway, way: str, where: Sequence[str]
) -> None:
    """The positive control: the same life and the same scan, and whichever way it leaks, the scan says where."""
    life = Life(own_gateway)
    own_gateway.program = ("-m", "tests.scenarios.leaking", way)
    own_gateway.start()
    await life.live()
    found = life.scan(*life.places())
    assert found.returncode == 1
    for each in where:
        assert [line for line in found.stdout.splitlines() if each in line.partition(": needle")[0]], each
    if way != "row":
        assert all(f"needle {number + 1} as" in found.stdout for number in range(len(life.bodies)))
