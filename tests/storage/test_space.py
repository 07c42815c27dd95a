"""Space: what passes through a region leaves nothing but entries, and what was freed is given back."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path

from tests.storage.desk import MONTH, START, Desk, message
from tests.storage.ruled import INSTANT, hold, rows, sweep, without

LOG = 16 * 1024 * 1024
"""What a log that is copied into the file is cut to."""
PAGE = 4096


def pages(desk: Desk) -> tuple[int, int]:
    """Pages of the file, and how many of them are free."""
    ((count,),), ((free,),) = rows(desk, "PRAGMA page_count"), rows(desk, "PRAGMA freelist_count")
    return count, free


def until_idle(desk: Desk, size: int) -> None:
    """Return once the file is no larger than `size` bytes; the test's timeout is the limit."""
    path = desk.data / "region.db"
    while path.stat().st_size > size:
        threading.Event().wait(0.05)


def test_a_long_run_of_superseded_messages_leaves_entries_and_marks_only(shelf: Path) -> None:
    """Ten thousand edits and as many later messages: no slot more, and no page but for entries and marks."""
    desk = Desk(shelf)
    people = [f"8:acs:r_{number}" for number in range(10)]
    desk.do(*(message("x" * 1_000, participant=each) for each in people))
    slots = (desk.keys / "slots").stat().st_size
    for version in range(2, 1_002):
        desk.do(*(message("x" * 1_000, participant=each, version=version) for each in people))
    entries = sum(len(leaf) + 64 for leaf in desk.ask(lambda reader: reader.entries(0, reader.size())))
    count, free = pages(desk)
    assert rows(desk, "SELECT count(*) FROM messages") == [(10,)]
    assert rows(desk, "SELECT count(*) FROM marks") == [(0,)]
    assert (count - free) * PAGE < 1.3 * entries + 64 * PAGE
    assert (desk.keys / "slots").stat().st_size == slots
    for number in range(1, 1_001):
        later = {"message": f"m{number + 1}", "sent_at": START + number * INSTANT}
        desk.do(*(message("x" * 1_000, participant=each, version=1_001, **later) for each in people))  # type: ignore[arg-type]
    assert rows(desk, "SELECT count(*) FROM marks") == [(10_000,)]
    assert (desk.keys / "slots").stat().st_size == slots
    assert (desk.data / "region.db-wal").stat().st_size < 2 * LOG
    sweep(desk, START + 2 * MONTH)
    sweep(desk, START + 2 * MONTH)
    assert rows(desk, "SELECT (SELECT count(*) FROM marks), (SELECT count(*) FROM messages)") == [(0, 0)]
    desk.close()


def test_rules_set_again_and_again_take_no_space(shelf: Path) -> None:
    """Each takes the place of the one before it, its box and its slot too."""
    desk = Desk(shelf)
    desk.do(hold(threads=("t" * 1_000,)))
    slots = (desk.keys / "slots").stat().st_size
    for number in range(2_000):
        desk.do(hold(threads=("t" * 1_000,), at=START + number * INSTANT))
    assert rows(desk, "SELECT count(*) FROM rules") == [(1,)]
    assert (desk.keys / "slots").stat().st_size == slots
    desk.close()


def test_what_a_large_sweep_frees_is_given_back_when_nothing_is_asked(shelf: Path) -> None:
    """Idle, the file shrinks to what is in it and a mebibyte; slots are used again; the log is bounded throughout."""
    desk = Desk(shelf)
    log = desk.data / "region.db-wal"
    for start in range(0, 20_000, 500):
        desk.do(*(message("x" * 1_500, participant=f"8:acs:r_{each}") for each in range(start, start + 500)))
        assert log.stat().st_size < 2 * LOG
    slots = (desk.keys / "slots").stat().st_size
    large, _ = pages(desk)
    assert large > 8_000
    assert sweep(desk, START + MONTH) == 20_000
    count, free = pages(desk)
    assert free > 6_000
    until_idle(desk, (count - free + 400) * PAGE)
    assert pages(desk)[1] <= 256
    assert log.stat().st_size < 2 * LOG
    again = {"sent_at": START + MONTH + timedelta(hours=1)}
    for start in range(0, 20_000, 500):
        desk.do(*(message("x" * 1_500, participant=f"8:acs:r_{each}", **again) for each in range(start, start + 500)))  # type: ignore[arg-type]
    assert (desk.keys / "slots").stat().st_size == slots
    desk.close()


def test_what_a_hold_kept_leaves_no_space_behind(shelf: Path) -> None:
    """Copies that only a hold keeps take slots; released, these are used again, and nothing grows."""
    desk = Desk(shelf)
    sizes = set()
    for turn in range(4):
        desk.do(hold(at=START))
        desk.do(*(message("x", version=turn * 2_000 + number + 1) for number in range(2_000)))
        desk.do(without("hold", "h"))
        assert sweep(desk, START) == (2_000 if turn else 1_999)
        sizes.add((desk.keys / "slots").stat().st_size)
    assert len(sizes) == 1
    desk.close()
