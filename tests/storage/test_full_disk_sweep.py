"""A full disk keeps nothing alive: keys of what is due are destroyed, those of nothing else, and rows follow later."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from storage.errors import StorageUnavailable
from storage.operations import AskErasure, SignCheckpoint
from storage.residue import scan
from tests.storage.desk import CALL, MONTH, START, Desk, append, message
from tests.storage.ruled import (
    ANN,
    BOB,
    DAY,
    INSTANT,
    contents,
    edit,
    erase,
    fill_with_ann,
    hold,
    kinds,
    last,
    policy,
    reviewed,
    rows,
    sweep,
)
from tests.storage.test_failing_disk import Watch, fill

DUE, HELD = 40, 10


def text(number: int, resource: str = "r", **more: Any) -> Any:
    return message(f"needle {resource}{number}", participant=f"8:acs:{resource}_{number}", **more)


class Shelf:
    """A region whose data lies on a small disk: due messages of resource `r`, held or retained ones of `s`."""

    def __init__(self, root: Path, disk: Path, *more: Any, due: int = DUE) -> None:
        self.root, self.disk = root, disk
        desk = self.open()
        desk.do(*(text(number) for number in range(due)), *(text(number, "s") for number in range(HELD)), *more)
        reviewed(desk)
        desk.close()

    def open(self) -> Desk:
        return Desk(self.root, data=self.disk / "europe", keys=self.root / "keys")

    def filled(self) -> tuple[Desk, Path]:
        """Open, its log empty, and no byte left."""
        desk = self.open()
        return desk, fill(self.disk)


def texts(desk: Desk) -> tuple[int, int]:
    """How many rows there are, and how many of them can still be opened."""
    found = contents(desk)
    return len(found), sum(content is not None for _, content in found)


def refused(desk: Desk, now: Any = START + MONTH, limit: int = 500) -> None:
    with pytest.raises(StorageUnavailable):
        desk.region.sweep(now, limit).result(30)


HOLDING: dict[str, Any] = {
    "held": hold(resources=("s",)),
    "retained": policy("retain", 365, resources=("s",)),
    "deleted later": policy("delete", 365, resources=("s",)),
}


@pytest.mark.parametrize("why", HOLDING)
@pytest.mark.parametrize("limit", [7, 500])
def test_keys_of_what_is_due_are_destroyed_on_a_full_disk(
    small_disk: Path, tmp_path: Path, why: str, limit: int
) -> None:
    """All of them at once, none that is kept; with room again rows go and are certified, and the region opens clean."""
    shelf = Shelf(tmp_path, small_disk, HOLDING[why])
    desk, ballast = shelf.filled()
    assert sweep(desk, START + MONTH - INSTANT, limit) == 0
    assert texts(desk) == (DUE + HELD, DUE + HELD)
    refused(desk, limit=limit)
    assert texts(desk) == (DUE + HELD, HELD)
    assert desk.ask(lambda reader: reader.message("8:acs:r_1")) is None
    assert len(desk.ask(lambda reader: reader.kept.every())) == HELD
    assert "retention.intent" not in kinds(desk)
    refused(desk, limit=limit)
    ballast.unlink()
    assert sweep(desk, START + MONTH, limit) == DUE
    assert texts(desk) == (HELD, HELD)
    certificates = desk.ask(lambda reader: reader.certificates())
    assert sum(each["checked"] for each in certificates) == DUE
    desk.do(SignCheckpoint())
    assert desk.close() == 0
    again = shelf.open()
    assert texts(again) == (HELD, HELD)
    assert scan(tmp_path, [b"needle"]) == []
    again.close()


def test_keys_are_destroyed_while_a_group_waits_for_room(small_disk: Path, tmp_path: Path) -> None:
    """The writer is stuck; the sweep it refuses destroys keys all the same, and what was queued is written in order."""
    shelf = Shelf(tmp_path, small_disk, HOLDING["held"])
    desk, ballast = shelf.filled()
    watch = Watch(desk)
    before = len(desk.leaves())
    futures = [desk.submit(append(f"{number}" + "x" * 3_000)) for number in range(30)]
    assert watch.failed.wait(30)
    refused(desk)
    assert texts(desk) == (DUE + HELD, HELD)
    ballast.unlink()
    assert [future.result(30) for future in futures] == [(before + number,) for number in range(30)]
    assert sweep(desk, START + MONTH) == DUE
    desk.close()
    again = shelf.open()
    assert texts(again) == (HELD, HELD)
    again.close()


def test_slots_of_rows_that_are_still_there_are_not_used_again(small_disk: Path, tmp_path: Path) -> None:
    """Destroyed is not free: as long as a row refers to a slot no other box gets it, however many come."""
    shelf = Shelf(tmp_path, small_disk)
    desk, ballast = shelf.filled()
    refused(desk)
    ballast.unlink()
    desk.do(*(message("new", participant=f"8:acs:f_{number}", sent_at=START + DAY) for number in range(1_500)))
    assert rows(desk, "SELECT count(*) - count(DISTINCT slot) FROM messages") == [(0,)]
    desk.close()
    again = shelf.open()
    assert texts(again) == (DUE + HELD + 1_500, 1_500)
    assert sweep(again, START + MONTH) == DUE + HELD
    assert texts(again) == (1_500, 1_500)
    again.close()


@pytest.mark.parametrize("why", ["held", "retained"])
def test_what_no_review_has_come_to_is_judged_as_it_is(small_disk: Path, tmp_path: Path, why: str) -> None:
    """More rows than a batch stand in front that look due and are not: they stay, and what is due behind them goes."""
    rule = hold(resources=("r",)) if why == "held" else policy("retain", 365, resources=("r",))
    shelf = Shelf(tmp_path, small_disk, rule, due=600)
    due_at = int((START + MONTH - DAY).timestamp() * 1_000_000)
    link = tmp_path / "data"
    link.mkdir()
    (link / "europe").symlink_to(small_disk / "europe")

    def forget(connection: Any) -> None:
        connection.execute("UPDATE messages SET held = 0, due_at = ? WHERE id <= 600", (due_at,))

    edit(tmp_path, forget)
    desk, ballast = shelf.filled()
    refused(desk, limit=100)
    assert texts(desk) == (600 + HELD, 600)
    ballast.unlink()
    assert sweep(desk, START + MONTH, 100) == HELD
    assert texts(desk) == (600, 600)
    desk.close()


def test_when_a_rule_was_set_is_known_though_the_disk_was_full_at_open(small_disk: Path, tmp_path: Path) -> None:
    """The row that says so is made by whoever comes first: the configured terms, or a rule."""
    shelf = Shelf(tmp_path, small_disk)
    desk = shelf.open()
    # As it is when the terms could not be written yet.
    desk.region._writer._transaction.connection.execute("DELETE FROM review")
    at = START + 2 * DAY
    desk.do(policy("delete", 1, at=at))
    assert desk.ask(lambda reader: reader.kept.rules_set_at()) == at
    assert sweep(desk, START + DAY) == DUE + HELD
    desk.close()


def test_an_erasure_that_a_full_disk_cut_short_keeps_no_region_shut(small_disk: Path, tmp_path: Path) -> None:
    """Started again on the full disk the region opens, with their keys destroyed; with room everything follows."""
    shelf = Shelf(tmp_path, small_disk)
    desk = shelf.open()
    fill_with_ann(desk)
    desk.do(AskErasure(ANN, "r", START))
    desk.close()
    desk, ballast = shelf.filled()
    refused(desk, START)
    assert (desk.keys / "erasures").stat().st_size == 40
    assert desk.ask(lambda reader: reader.message(ANN)) is not None
    desk.close()
    # SQLite needs some room to open a file at all.
    with ballast.open("r+b") as file:
        file.truncate(ballast.stat().st_size - 10 * 4096)
    again = shelf.open()
    assert again.ask(lambda reader: reader.message(ANN)) is None
    assert again.ask(lambda reader: reader.presences(CALL))["p_1"] is None
    assert again.ask(lambda reader: reader.message(BOB)) is not None
    assert "presence.erased" not in kinds(again)
    ballast.unlink()
    assert len(erase(again, START)) == 2
    assert last(again, "retention.certificate")["presences"] == 2
    again.close()
    once_more = shelf.open()
    assert once_more.ask(lambda reader: reader.presences(CALL))["p_3"] is not None
    once_more.close()
