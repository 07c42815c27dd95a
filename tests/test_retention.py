"""Rules in several regions: each has its own people's part; one that missed a change is brought up to the others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.core.errors import NotDurable, Refusal
from gateway.core.keeping import Hold, Policy
from gateway.core.residency import Placement, Unserved
from gateway.hub.retention import Retention
from gateway.hub.sweeper import Sweeper
from storage.operations import RemoveRule, Rule, SetRule
from tests.ledger_world import World

KNOWN = {"organizations": ("contoso",), "resources": ("e", "u")}
REGIONS = {"e": "europe", "u": "us"}
ANN, BOB = "8:acs:e_ann", "8:acs:u_bob"
START = datetime(2026, 11, 23, 14, tzinfo=UTC)


def place(participant: str, door: str) -> Placement:
    region = REGIONS.get(participant.removeprefix("8:acs:")[0])
    if region is None:
        raise Unserved(f"nobody of ours at the door {door}")
    return Placement(region, "contoso")


class Office:
    """Two regions, and what operators ask of them. The clock stands still unless it is moved."""

    def __init__(self, root: Path, *regions: str) -> None:
        self.world = World(root, *regions)
        self.now = START
        self.retention = self.of(self.world)

    def of(self, world: World) -> Retention:
        """Another process's retention over these regions."""
        failed: list[str] = []
        sweeper = Sweeper(world.ledgers, world.metrics, lambda: self.now, lambda _, __: None, failed.append)
        return Retention(world.ledgers, sweeper, place, KNOWN, lambda: self.now)

    async def rules(self, region: str) -> list[Rule]:
        """What the region itself has."""
        return await self.world.ledgers.read(region, lambda reader: reader.kept.rules())

    async def names(self, region: str) -> list[str]:
        return [rule.name for rule in await self.rules(region)]


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    office = Office(tmp_path, "europe", "us")
    yield office
    await office.world.ledgers.close()


async def test_each_region_has_its_own_people_alone(office: Office) -> None:
    """P5: a rule about people of two regions names in neither's file those of the other; it is shown as one."""
    shown = await office.retention.set_hold("h", Hold(participants=[ANN, BOB], threads=["t"], reason="why"))
    assert shown["participants"] == [ANN, BOB]
    for region, whom in (("europe", ANN), ("us", BOB)):
        (rule,) = await office.rules(region)
        assert (rule.participants, rule.threads, rule.everything) == ((whom,), ("t",), False)


async def test_a_rule_about_one_region_is_about_nobody_in_the_other(office: Office) -> None:
    """A list that is empty here only must not come to mean everyone."""
    await office.retention.set_policy("p", Policy(action="delete", days=1, participants=[ANN]))
    told = await office.retention.explain(BOB)
    assert told["sent_now"]["principle"] == "default"
    assert (await office.retention.explain(ANN))["sent_now"]["policies"] == ["p"]


async def test_newer_is_told_from_older_by_a_clock_that_stands(office: Office) -> None:
    """Two changes in one millisecond are two moments; a clock that was set back does not make the next one older."""
    for number in range(3):
        await office.retention.set_policy("p", Policy(action="delete", days=1 + number))
        office.now -= timedelta(hours=1)
    await office.retention.align()
    assert (await office.retention.rule("policy", "p"))["days"] == 3
    await office.retention.set_policy("q", Policy(action="delete", days=1))
    assert (await office.rules("us"))[1].set_at > (await office.rules("us"))[0].set_at


# -- a region that missed something -----------------------------------------------------------------------------------


async def test_a_crash_between_two_regions_is_made_good(office: Office) -> None:
    """What one region was told and the other was not: the other is told at the next start, but for its own people."""
    await office.retention.set_policy("p", Policy(action="delete", days=1, participants=[ANN, BOB]))
    rule = replace((await office.rules("europe"))[0], days=2, set_at=START + timedelta(days=1))
    await office.world.do(SetRule(rule), region="europe")
    again = office.of(office.world)
    await again.align()
    (theirs,) = await office.rules("us")
    assert (theirs.days, theirs.participants) == (2, (BOB,))
    assert (await again.rule("policy", "p"))["participants"] == [ANN, BOB]


async def test_a_removal_that_was_cut_short_is_finished(office: Office) -> None:
    """A rule that was removed in one region does not come back from the other."""
    await office.retention.set_policy("p", Policy(action="delete", days=1))
    await office.world.do(RemoveRule("policy", "p", START + timedelta(days=1)), region="us")
    await office.of(office.world).align()
    assert (await office.names("europe"), await office.names("us")) == ([], [])


async def test_a_region_that_was_away_has_what_holds_by_now(office: Office, tmp_path: Path) -> None:
    """It was not served while rules were set and removed: it takes over the others', and gives none of its own."""
    await office.retention.set_policy("old", Policy(action="delete", days=1))
    await office.world.ledgers.close()
    alone = Office(tmp_path, "europe")
    alone.now = START + timedelta(days=1)
    await alone.retention.align()
    await alone.retention.remove("policy", "old")
    await alone.retention.set_hold("new", Hold(organizations=["contoso"], reason="why"))
    await alone.world.ledgers.close()
    both = Office(tmp_path, "europe", "us")
    await both.retention.align()
    assert (await both.names("europe"), await both.names("us")) == (["new"], ["new"])
    assert (await both.retention.rule("hold", "new"))["reason"] == "why"
    await both.world.ledgers.close()


async def test_a_new_region_has_every_rule(office: Office, tmp_path: Path) -> None:
    """A region that is configured later is under the same rules from its first moment."""
    await office.retention.set_policy("p", Policy(action="retain", days=9, threads=["t"], participants=[ANN]))
    await office.world.ledgers.close()
    more = Office(tmp_path, "asia", "europe", "us")
    await more.retention.align()
    (rule,) = await more.rules("asia")
    assert (rule.action, rule.threads, rule.participants) == ("retain", ("t",), ())
    await more.world.ledgers.close()


async def test_nothing_is_aligned_that_need_not_be(office: Office) -> None:
    """A start after an orderly end writes nothing."""
    await office.retention.set_policy("p", Policy(action="delete", days=1))
    before = await office.world.leaves()
    await office.of(office.world).align()
    assert await office.world.leaves() == before


# -- refused ----------------------------------------------------------------------------------------------------------


async def test_what_cannot_be_written_is_not_confirmed(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one region's disk takes nothing the answer is not yes; the change is made when it can be."""
    monkeypatch.setattr("gateway.hub.ledgers.PATIENCE_TURNS", 3)
    with office.world.stuck("us"), pytest.raises(NotDurable):
        await office.retention.set_hold("h", Hold())
    await office.world.do(region="us")
    assert await office.names("us") == ["h"]


async def test_somebody_of_no_region_spoils_the_whole_rule(office: Office) -> None:
    """A hold that would silently hold some of those it names is refused whole, and so is a rule about nobody."""
    with pytest.raises(Unserved):
        await office.retention.set_hold("h", Hold(participants=[ANN, "8:acs:x_eve"]))
    with pytest.raises(Refusal):
        await office.retention.set_hold("h", Hold(organizations=["fabrikam"]))
    assert (await office.names("europe"), await office.names("us")) == ([], [])


async def test_there_is_an_end_to_rules(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more than there may be is refused; to replace one is not one more."""
    monkeypatch.setattr("gateway.core.keeping.MOST_RULES", 2)
    for name in ("a", "b", "b"):
        await office.retention.set_policy(name, Policy(action="delete", days=1))
    with pytest.raises(Refusal, match="already"):
        await office.retention.set_policy("c", Policy(action="delete", days=1))
    await office.retention.set_hold("c", Hold())
