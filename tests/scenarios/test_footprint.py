"""P6: no file outside a region's directories is ever opened for that region's data: seen on the real process, by strace
and by its descriptors, while it starts, serves, sweeps, is backed up, fails to open a region, and ends."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from storage.engine import connect_reader, sqlite3
from tests.scenarios.events import joined, message, observed
from tests.scenarios.footprint import Grounds, Touch, touches, watching
from tests.scenarios.harness import REGIONS, STATES, Gateway, person
from tests.scenarios.peers import Dial

FAR_AHEAD = "2030-01-01T00:00:00Z"
SETTINGS = {"RETENTION__SWEEP_SECONDS": "1"}


@pytest.fixture
def watched(own_gateway: Gateway, tmp_path: Path) -> Gateway:
    """A gateway under strace, not yet started, whose temporary files would lie in a directory of their own."""
    spill = tmp_path / "spill"
    spill.mkdir()
    own_gateway.under = watching(tmp_path / "strace")
    own_gateway.environment |= {"PYTHONDONTWRITEBYTECODE": "1", "SQLITE_TMPDIR": str(spill), "TMPDIR": str(spill)}
    return own_gateway


def seen(gateway: Gateway) -> list[Touch]:
    """Everything the gateway touched."""
    return list(touches(gateway.directory.parent / "strace"))


@asynccontextmanager
async def looking(gateway: Gateway, found: set[Path]) -> AsyncIterator[None]:
    """Meanwhile the process's descriptors are looked at again and again; `found` are the files that were open."""

    async def look() -> None:
        while True:
            found.update(await asyncio.to_thread(gateway.open_files))
            await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(look(), name="looking")
        yield
        task.cancel()


async def load(gateway: Gateway) -> None:
    """Two regions at work: sessions, notices, acks, messages that supersede others, deletions, tokens, questions."""
    people = [person(f"ann{number}") for number in range(6)] + [person(f"bob{number}", STATES) for number in range(6)]
    async with Dial(gateway) as dial:
        peers = [await dial(each, "daily", name=f"Name of {each}", device=f"device-{each}") for each in people]
        await gateway.tell(observed("daily"), joined("daily", person("unreachable"), "Nobody"))
        for peer in peers:
            await peer.prove(await peer.hear("notice", change="started"))
        for version in range(1, 9):
            await asyncio.gather(*(peer.say(f"text {version} " * 400, version=version) for peer in peers))
        await gateway.tell(*(message(each, f"newer {each}", version=20) for each in people[::2]))
        await gateway.tell(message(people[0], None, version=21))
        await peers[-1].leave("daily")
        await gateway.tell(observed("daily", "inactive"))
        await gateway.coverage("daily", wait=1)
    for path in ("calls/daily/evidence", "retention/certificates", f"messages/{people[2]}", "ledgers/europe/proof/0"):
        assert (await gateway.ask("GET", f"/v1/{path}")).status_code == 200, path
    assert (await gateway.ask("POST", "/v1/tokens", json={"participant": people[0], "calls": ["daily"]})).is_success
    swept = (await gateway.ask("POST", "/v1/retention/sweep", json={"now": FAR_AHEAD})).json()
    assert all(swept["regions"][region]["deleted"] >= 5 for region in REGIONS)


def back_up(gateway: Gateway, place: Path) -> None:
    """As an operator does it, with SQLite's online backup, from another process."""
    for region in REGIONS:
        source = connect_reader(gateway.data / region / "region.db")
        with closing(source), closing(sqlite3.connect(place / f"{region}.db")) as copy:
            source.backup(copy)


async def test_every_file_has_its_place(watched: Gateway, tmp_path: Path) -> None:
    """P6: from the first start to the last drain, and again on the same data, every file that was opened to be written,
    made, renamed or removed is a region's own, or `ready.json`; what was read is that, or no data; nothing was made
    where temporary files go; and each thread that writes serves one region only."""
    grounds, files = Grounds(watched, REGIONS), set[Path]()
    for _ in range(2):
        watched.start()
        async with looking(watched, files):
            await asyncio.gather(load(watched), asyncio.to_thread(back_up, watched, tmp_path))
            await asyncio.sleep(1.2)
        assert watched.terminate() == 0
        found = seen(watched)
        assert grounds.strays(found) == []
        assert grounds.mixed(found) == []
        made = {each.path for each in found if each.named and each.changes and not each.path.startswith("/dev/")}
        assert {path for path in made if grounds.region(path) is None} - {str(watched.data)} == {
            str(watched.data / "ready.json.new"),
            str(watched.data / "ready.json"),
        }
    assert list((tmp_path / "spill").iterdir()) == []
    opened = [Touch(0, "fd", str(path), changes=grounds.region(str(path)) is not None, named=True) for path in files]
    assert grounds.strays(opened) == []
    assert {grounds.region(each.path) for each in opened} >= set(REGIONS)


async def test_a_refused_region_is_touched_by_nobody_else(watched: Gateway) -> None:
    """P6: of a region that is linked elsewhere nothing is opened there, and nothing of it written into another's."""
    grounds = Grounds(watched, REGIONS)
    aside = watched.directory.parent / "aside"
    watched.start().terminate()
    (watched.data / "europe").rename(aside)
    (watched.data / "europe").symlink_to(aside)
    watched.start()
    async with Dial(watched) as dial:
        peer = await dial(person("bob", STATES), "daily")
        await watched.tell(observed("daily"), message(person("ann"), "text"))
        await peer.prove(await peer.hear("notice"))
    assert watched.terminate() == 0
    found = seen(watched)
    assert grounds.strays(found) == []
    assert not [each for each in found if each.path.startswith((str(aside), str(watched.data / "europe")))]


@pytest.mark.parametrize(
    ("whose", "store", "spilt"),
    [("own", "MEMORY", False), ("own", "FILE", False), ("system", "MEMORY", False), ("system", "FILE", True)],
)
async def test_room_that_is_needed_is_in_memory(watched: Gateway, whose: str, store: str, spilt: bool) -> None:
    """P6, and the check has teeth: connections that need two megabytes of temporary room take them from memory: ours by
    the setting and by how its engine is built, another engine by the setting alone; with that one's taken back the same
    check finds the temporary file, by strace and among the descriptors."""
    watched.program = ("-m", "tests.scenarios.spilling", whose, store)
    files = set[Path]()
    watched.start()
    async with looking(watched, files):
        await load(watched)
    assert watched.terminate() == 0
    spill = str(watched.directory.parent / "spill")
    strays = Grounds(watched, REGIONS).strays(seen(watched))
    assert bool(strays) == spilt, strays
    assert all(f" {spill}/etilqs_" in each for each in strays)
    assert any(str(path).startswith(spill) and str(path).endswith("(deleted)") for path in files) == spilt


@pytest.mark.parametrize(
    ("planted", "stray"),
    [
        ("open('{outside}', 'w')", "openat {outside}"),
        ("open('{outside}/none/such', 'w')", "openat {outside}/none/such"),
        ("os.rename('{data}/europe/region.db', '{outside}')", "rename {outside}"),
        ("os.link('{data}/europe/region.db', '{outside}')", "link {outside}"),
        ("os.symlink('{data}/europe/region.db', '{outside}')", "symlink {outside}"),
        ("open('{data}/europe.db', 'w')", "openat {data}/europe.db"),
        ("open('{data}/asia/region.db')", "openat {data}/asia/region.db"),
        ("os.chdir('{data}'); open('stray', 'w')", "openat {data}/stray"),
        ("os.memfd_create('copy')", "memfd_create ."),
        ("os.open('{data}', os.O_TMPFILE | os.O_RDWR)", "openat {data}"),
    ],
)
def test_whatever_is_planted_outside_is_found(watched: Gateway, planted: str, stray: str) -> None:
    """The check has teeth: each way of putting a region's data elsewhere is found, whether it succeeds or not."""
    places = {"outside": str(watched.directory.parent / "outside"), "data": str(watched.data)}
    for region in ("europe", "asia"):
        (watched.data / region).mkdir()
        (watched.data / region / "region.db").write_bytes(b"x")
    program = f"import os\ntry:\n    {planted.format(**places)}\nexcept OSError:\n    pass"
    subprocess.run([*watched.under, sys.executable, "-c", program], env=watched.environment, check=True, timeout=30)
    assert Grounds(watched, REGIONS).strays(seen(watched)) == [stray.format(**places)]


def test_a_thread_that_serves_two_regions_is_found(watched: Gateway) -> None:
    """The check has teeth: one thread that writes into both regions is named, whatever another does."""
    grounds = Grounds(watched, REGIONS)
    europe, states = (str(watched.data / region / "region.db") for region in REGIONS)
    ready = Touch(1, "say", "", changes=False, named=False)
    before = [Touch(1, "pwrite64", path, changes=True, named=False) for path in (europe, states)]
    apart = [Touch(thread, "pwrite64", path, changes=True, named=False) for thread, path in ((2, europe), (3, states))]
    assert grounds.mixed([*before, ready, *apart]) == []
    (found,) = grounds.mixed([*before, ready, *apart, Touch(2, "pwrite64", states, changes=True, named=False)])
    assert found.startswith("thread 2 ")
