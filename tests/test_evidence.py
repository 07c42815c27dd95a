"""The service that makes evidence packs: what it waits for, what it refuses, and what it leaves behind."""

from __future__ import annotations

import asyncio
import json
import zipfile
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path

import pytest

from gateway.cli.init import CONFIGURATION, initialise
from gateway.config import load
from gateway.core import attendance, observing
from gateway.core.catalogue import digests
from gateway.core.errors import NotDurable, Refusal
from gateway.core.fusion import Claim
from gateway.core.types import CallKey, Capability, Level, Role, State
from gateway.house import House, build
from gateway.hub import evidence
from storage.audit import archive
from storage.engine import sqlite3
from tests.evidence.world import EUROPE, STATES, raw_id, region_of

KEY = CallKey("contoso", "standup")


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """A house without doors, in which Ann of Europe and Bob of the States are recorded."""
    initialise(tmp_path)
    made = build(load(tmp_path / CONFIGURATION, {}))
    await made.recover()
    live = await made.interpreter.registry.get(KEY)
    step = made.interpreter.step(live)
    for user, resource in (("ann", EUROPE), ("bob", STATES)):
        participant = raw_id(user, resource)
        joining = attendance.Joining(f"s_{user}", participant, region_of(participant), Role.PARTICIPANT, user.title())
        attendance.join(step, joining)
    observing.observe(step, Capability.RECORDING, Claim("operator", State.ACTIVE, True, step.now), digests)
    made.interpreter.perform(live, step)
    await written(made)
    yield made
    await made.ledgers.close()


async def written(house: House) -> None:
    """Wait until all that was said is on disk."""
    async with asyncio.timeout(10):
        while any(house.ledgers.queue().values()):
            await asyncio.sleep(0)


async def exports(house: House, region: str) -> int:
    """How many exports a region's ledger tells of."""
    leaves = await house.ledgers.read(region, lambda reader: reader.entries(0, reader.size()))
    return sum(json.loads(leaf)["kind"] == "evidence.exported" for leaf in leaves)


async def test_a_pack_is_written_in_the_one_way(house: House) -> None:
    """Its bytes are what writing its files again gives, and any unzip reads them."""
    pack = await house.evidence.pack("standup", None, None, None)
    assert archive.write(archive.read(pack.data)) == pack.data
    with zipfile.ZipFile(BytesIO(pack.data)) as read:
        assert read.namelist() == sorted(read.namelist())
    assert pack.name.startswith("evidence-standup-")


@pytest.mark.parametrize(
    ("call", "name"), [("a/b c", "evidence-a-b-c-"), ("../../x", "evidence-..-..-x-"), ('"; x=', "evidence--x--")]
)
async def test_a_pack_has_a_name_that_any_system_takes(house: House, call: str, name: str) -> None:
    """Whatever the call is called: no path, no quote."""
    live = await house.interpreter.registry.get(CallKey("contoso", call))
    step = house.interpreter.step(live)
    step.open()
    house.interpreter.perform(live, step)
    await written(house)
    pack = await house.evidence.pack(call, None, None, None)
    assert pack.name.startswith(name)
    assert "/" not in pack.name
    assert '"' not in pack.name


@pytest.mark.parametrize(
    ("call", "organization", "regions", "status"),
    [
        ("never", None, None, 404),
        ("standup", "nobody", None, 404),
        ("standup", "", None, 404),
        ("standup", None, ("mars",), 404),
        ("standup", None, ("europe", "mars"), 404),
        ("standup", None, ("Europe",), 404),
    ],
)
async def test_what_is_not_here_is_refused_and_not_recorded(
    house: House, call: str, organization: str | None, regions: tuple[str, ...] | None, status: int
) -> None:
    """No entry for what was not exported."""
    with pytest.raises(Refusal) as refused:
        await house.evidence.pack(call, organization, None, regions)
    assert refused.value.status == status
    assert [await exports(house, region) for region in house.ledgers.regions] == [0, 0]


async def test_where_the_export_cannot_be_recorded_there_is_no_pack(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One region's disk is enough; when it works again so does the export, which the ledger then tells of."""
    monkeypatch.setattr(evidence, "PATIENCE", 0.2)
    file = house.settings.storage.directory / "unitedstates" / "region.db"
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(NotDurable):
            await house.evidence.pack("standup", None, None, None)
    finally:
        other.close()
    monkeypatch.undo()
    await house.evidence.pack("standup", None, None, None)
    assert await exports(house, "unitedstates") == 2


async def test_packs_are_made_one_at_a_time_and_each_knows_of_the_one_before(house: House) -> None:
    """Many who ask at once all get theirs."""
    packs = await asyncio.gather(*(house.evidence.pack("standup", None, None, ()) for _ in range(4)))
    seen = []
    for pack in packs:
        lines = archive.read(pack.data)["regions/europe/entries.jsonl"].splitlines()
        seen.append(sum(json.loads(line)["kind"] == "evidence.exported" for line in lines))
    assert sorted(seen) == [0, 1, 2, 3]


async def test_a_level_that_is_asked_for_stands_in_the_pack(house: House) -> None:
    """And without one the pack says that each notice has its own."""
    for level in (None, Level.RECEIVED):
        files = archive.read((await house.evidence.pack("standup", None, level, None)).data)
        manifest, coverage = json.loads(files["manifest.json"]), json.loads(files["coverage.json"])
        assert manifest["level"] == level
        assert coverage["notices"][0]["level"] == (level or house.settings.notices.require)


async def test_only_what_is_durable_is_in_a_pack(house: House) -> None:
    """What the call knows and no ledger has yet is left out, and nothing is said of it."""
    live = await house.interpreter.registry.get(KEY)
    before = archive.read((await house.evidence.pack("standup", None, None, None)).data)
    step = house.interpreter.step(live)
    observing.observe(step, Capability.TRANSCRIPTION, Claim("operator", State.ACTIVE, True, step.now), digests)
    after = archive.read((await house.evidence.pack("standup", None, None, None)).data)
    assert after["notices.jsonl"] == before["notices.jsonl"]


async def test_a_call_that_is_nowhere_written_has_no_pack(house: House) -> None:
    """It is known, and there is nothing to prove it with: not yet."""
    live = await house.interpreter.registry.get(CallKey("contoso", "unwritten"))
    house.interpreter.step(live).open()
    with pytest.raises(NotDurable):
        await house.evidence.pack("unwritten", None, None, None)


async def test_an_authority_that_stamps_nothing_costs_no_pack(house: House) -> None:
    """Time stamps are an extra."""
    files = archive.read((await house.evidence.pack("standup", None, None, None)).data)
    assert not [name for name in files if name.endswith("timestamp.tsr")]
