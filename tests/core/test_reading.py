"""Reading: of what several ledgers tell of one call, what counts, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from gateway.core import facts
from gateway.core.reading import Told, in_order
from gateway.core.types import CallKey, Capability, Change, Level
from tests.core.meeting import KEY, T0

SOURCE = CallKey("contoso", "alias")
HOMES = {KEY: "europe", SOURCE: "europe"}


def at(seconds: float) -> Any:
    """A time."""
    return T0 + timedelta(seconds=seconds)


def opened(seconds: float, call: CallKey = KEY) -> facts.CallOpened:
    """The call is on."""
    return facts.CallOpened(call=call, at=at(seconds))


def closed(seconds: float, region: str, presence: str = "p_1") -> facts.PresenceClosed:
    """Somebody is gone."""
    return facts.PresenceClosed(call=KEY, at=at(seconds), presence=presence, region=region, reason="left")


def notice(seconds: float, name: str = "n_1", call: CallKey = KEY) -> facts.NoticeIssued:
    """Something to tell."""
    return facts.NoticeIssued(
        call=call,
        at=at(seconds),
        revision=1,
        notice=name,
        capability=Capability.RECORDING,
        change=Change.STARTED,
        episode="e_1",
        occurred_at=at(seconds),
        require=Level.RECEIVED,
        deadline_at=at(seconds + 10),
        digests={},
    )


def merged(seconds: float) -> facts.CallMerged:
    """The alias became part of the call."""
    return facts.CallMerged(call=KEY, at=at(seconds), source="alias", revision=2, same=(), united=())


def read(homes: dict[CallKey, str] | None = None, **regions: Sequence[facts.AnyFact]) -> list[Told]:
    """What counts of these ledgers, whose entries are numbered in their order."""
    numbered = {name: tuple((fact, entry) for entry, fact in enumerate(told)) for name, told in regions.items()}
    return list(in_order(KEY, numbered, HOMES if homes is None else homes))


def places(told: Sequence[Told]) -> list[tuple[str, int]]:
    """Where each stands."""
    return [(each.region, each.entry) for each in told]


def test_of_no_region_nothing_is_told() -> None:
    """A call that nobody knows."""
    assert read() == []


def test_the_older_goes_first_and_a_region_keeps_its_order() -> None:
    """Even where a region's clock was set back meanwhile."""
    told = read(europe=[opened(0), closed(9, "europe"), closed(3, "europe", "p_2")], asia=[closed(5, "asia", "p_3")])
    assert places(told) == [("europe", 0), ("asia", 0), ("europe", 1), ("europe", 2)]


def test_one_call_does_not_wait_for_another_whose_clock_was_ahead() -> None:
    """In one ledger a call may be behind another: neither holds up the other's facts in other regions."""
    told = read(europe=[opened(9, SOURCE), opened(1), notice(2)], asia=[closed(3, "asia")])
    assert [each.fact.at for each in told] == [at(1), at(2), at(3), at(9)]


def test_at_equal_times_a_merger_comes_last() -> None:
    """So that whatever was said of either call before, in any region, is known when they become one."""
    homes = {KEY: "europe", SOURCE: "asia"}
    asia: list[facts.AnyFact] = [opened(0, SOURCE), notice(1, "n_2", SOURCE), merged(1)]
    told = read(homes, europe=[opened(0), merged(1), closed(1, "europe")], asia=asia)
    assert places(told)[2:] == [("asia", 1), ("europe", 1), ("europe", 2)]


def test_at_equal_times_one_merger_comes_after_the_one_it_knew_of() -> None:
    """The higher revision comes later, wherever it stands."""
    inner = facts.CallMerged(call=SOURCE, at=at(1), source="thread", revision=1, same=(), united=())
    homes = {KEY: "europe", SOURCE: "asia"}
    told = read(homes, europe=[opened(0), merged(1)], asia=[opened(0, SOURCE), inner, merged(1)])
    assert [each.fact for each in told][2:] == [inner, merged(1)]


def test_a_notice_is_known_from_its_first_copy_on() -> None:
    """Where the home learnt it again after a crash, those who heard of it elsewhere do not come before it."""
    told = read(europe=[opened(0), closed(5, "europe"), notice(1)], asia=[notice(1), closed(3, "asia")])
    assert places(told) == [("europe", 0), ("europe", 2), ("asia", 1), ("europe", 1)]
    assert not any(each.adopted for each in told)


def test_at_equal_times_the_home_goes_first() -> None:
    """It knows a call before anybody else does, whatever its name."""
    assert places(read(asia=[closed(0, "asia")], europe=[opened(0)])) == [("europe", 0), ("asia", 0)]


def test_a_copy_counts_nowhere_but_at_home() -> None:
    """What is said of the call is said once."""
    told = read(europe=[opened(0), notice(1), merged(2)], asia=[opened(0), notice(1), merged(2)])
    assert places(told) == [("europe", 0), ("europe", 1), ("europe", 2)]
    assert not any(each.adopted for each in told)


def test_a_presence_counts_in_its_own_region_only() -> None:
    """A copy of it anywhere else is none of that ledger's business."""
    assert places(read(europe=[opened(0)], asia=[closed(1, "africa")])) == [("europe", 0)]


@pytest.mark.parametrize("lost", [notice(1), merged(1)])
def test_what_a_crash_kept_from_the_home_is_adopted_once(lost: facts.AnyFact) -> None:
    """A notice or a merger that reached other regions holds; the home has yet to learn it."""
    told = read(europe=[opened(0)], asia=[opened(0), lost], africa=[opened(0), lost])
    assert [each.fact for each in told if each.adopted] == [lost]
    assert places(told) == [("europe", 0), ("africa", 1)]


@pytest.mark.parametrize(
    "lost", [opened(1), facts.CallEnded(call=KEY, at=at(1), revision=2, reason="ended", occurred_at=at(1))]
)
def test_nothing_else_is_adopted(lost: facts.AnyFact) -> None:
    """An end that the home does not know did not happen."""
    assert places(read(europe=[opened(0)], asia=[lost])) == [("europe", 0)]


def test_a_merged_call_keeps_its_own_home() -> None:
    """What was said of it there was said where it belonged."""
    homes = {KEY: "europe", SOURCE: "asia"}
    told = read(homes, europe=[opened(1), notice(3, "n_2", SOURCE)], asia=[opened(0, SOURCE), notice(3, "n_2", SOURCE)])
    assert places(told) == [("asia", 0), ("europe", 0), ("asia", 1)]


@pytest.mark.parametrize("homes", [{}, {KEY: "antarctica"}, {KEY: "antarctica", SOURCE: "asia"}])
def test_where_the_home_is_gone_the_first_region_tells(homes: dict[CallKey, str]) -> None:
    """A region that is served no more cannot be asked; what is left is read all the same."""
    told = read(homes, europe=[opened(0), closed(2, "europe")], asia=[opened(0), notice(1)])
    assert places(told) == [("asia", 0), ("asia", 1), ("europe", 1)]
