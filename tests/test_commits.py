"""What is gathered in one turn of the loop: in the order of the decisions, and each hears of its own entry."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gateway.core import facts
from gateway.hub.commits import SLICE, Commit, Gathering, Row
from gateway.hub.ledgers import Ledgers
from storage.operations import Append
from tests.core.meeting import KEY, T0


def left(number: int) -> facts.SessionLeft:
    """A fact that can be told from others."""
    return facts.SessionLeft(call=KEY, at=T0, presence="p", region="europe", session=f"s_{number}", reason="left")


def leaf(number: int) -> bytes:
    """Its entry, as far as it matters here."""
    return b'{"at":"%d"}' % number


@pytest.fixture
async def ledgers(tmp_path: Path) -> AsyncIterator[Ledgers]:
    opened = Ledgers(lambda: None, pytest.fail)
    for region in ("europe", "us"):
        opened.open(region, tmp_path / "data" / region, tmp_path / "keys" / region, "test")
    yield opened
    await opened.close()


def number_them(told: dict[int, int], gathered: list[int], first: int) -> None:
    """What was gathered is durable, from entry `first` on."""
    told.update(zip(gathered, range(first, first + len(gathered)), strict=True))


async def test_whatever_is_gathered_and_written_stands_in_the_order_it_was_decided(ledgers: Ledgers) -> None:
    """Acks, sessions and whole steps, mixed within turns and over them, in two regions: numbers and order agree."""
    chance = random.Random(5)
    decided: dict[str, list[int]] = {"europe": [], "us": []}
    told: dict[int, int] = {}
    acks: dict[str, tuple[Gathering, list[int]]] = {}

    def keep(number: int, commit: Commit) -> None:
        ((_, told[number]),) = commit.confirmed

    def ack(region: str, number: int) -> None:
        if region not in acks or acks[region][0].closed:
            mine: list[int] = []
            gathering = Gathering(
                region, lambda: [(leaf(each), KEY) for each in mine], partial(number_them, told, mine)
            )
            ledgers.gather(gathering)
            acks[region] = gathering, mine
        acks[region][1].append(number)

    for number in range(600):
        region = chance.choice(["europe", "us"])
        decided[region].append(number)
        match chance.choice(["ack", "ack", "session", "session", "session", "step"]):
            case "ack":
                ack(region, number)
            case "session":
                ledgers.append(region, leaf(number), left(number), partial(keep, number))
            case _:
                written = [(Append(leaf(number), KEY), left(number))]
                ledgers.write({region: written}, partial(keep, number))
        if chance.random() < 0.05:
            await asyncio.sleep(0)
    while len(told) < 600:
        await asyncio.sleep(0.01)
    for region, numbers in decided.items():
        places = [told[number] for number in numbers]
        assert places == list(range(places[0], places[0] + len(places)))
        leaves = await ledgers.read(region, lambda reader: reader.entries(0, 10_000))
        assert [each.endswith(leaf(number)[1:]) for each, number in zip(leaves[places[0] :], numbers, strict=True)]


class TestRow:
    def row(self, count: int, then: Callable[[int, Commit], None]) -> tuple[Gathering, list[tuple[Any, ...]]]:
        """Commits that wait for a gathering, and what is to be done in later turns."""
        later: list[tuple[Any, ...]] = []
        row = Row("europe", lambda *work: later.append(work))
        for number in range(count):
            row.add(leaf(number), left(number), partial(then, number))
        return row.gathering, later

    def test_thousands_are_told_in_slices(self) -> None:
        """A storm's commit must not hold the loop: each turn tells so many, in order, each its own number."""
        told: list[tuple[int, int]] = []
        gathering, later = self.row(2 * SLICE + 1, lambda number, commit: told.append((number, commit.confirmed[0][1])))
        gathering.done([1000])
        for turn in (1, 2, 3):
            assert len(told) == min(turn * SLICE, 2 * SLICE + 1)
            act, *arguments = later.pop()
            act(*arguments)
        assert not later
        assert told == [(number, 1000 + number) for number in range(2 * SLICE + 1)]

    def test_the_fault_of_one_does_not_cost_the_others_theirs(self) -> None:
        """It is reported, and everybody else hears that it is durable."""
        told: list[int] = []

        def then(number: int, commit: Commit) -> None:
            if number == 1:
                raise ZeroDivisionError
            told.append(number)

        gathering, _ = self.row(4, then)
        with pytest.raises(ExceptionGroup) as caught:
            gathering.done([0])
        assert caught.group_contains(ZeroDivisionError)
        assert told == [0, 2, 3]
