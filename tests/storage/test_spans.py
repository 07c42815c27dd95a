"""Spans list what the entries say, in the documented form; what they leave out or add is found, and never shown."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from storage import spans
from storage.audit.verdict import SOUND, TAMPERED
from storage.engine import connect_reader, connect_writer
from storage.entry import canonical
from storage.errors import RegionRefused
from storage.note import parse_verifiers
from storage.operations import Append, SignCheckpoint
from tests.storage.audited import ORIGIN, Connection, Copied, Edit, noted, run
from tests.storage.desk import Desk
from tests.storage.former import without_spans

LENGTH = 16
CALLS = [("contoso", f"call-{number}") for number in range(3)]
OTHER = ("contoso", "other")


@pytest.fixture(scope="module", autouse=True)
def short() -> Iterator[None]:
    """Spans are short."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spans, "LENGTH", LENGTH)
        yield


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, short: None) -> Desk:
    """A closed region: spans of the entries 0 to 19 and 20 to 39, each ended by a commit, and two behind them."""
    desk = Desk(tmp_path_factory.mktemp("written"))
    for start in (0, 10, 20, 30):
        desk.do(*map(noted, range(start, start + 10)), SignCheckpoint())
    other = Append(canonical({"kind": "noted", "organization": OTHER[0], "call": OTHER[1]}), OTHER)
    desk.do(other, noted(43), SignCheckpoint())
    desk.close()
    return desk


@pytest.fixture
def desk(written: Desk, tmp_path: Path) -> Desk:
    """The same, to be changed."""
    shutil.copytree(written.data.parent, tmp_path / "data")
    shutil.copytree(written.keys.parent, tmp_path / "keys")
    closed = Desk(tmp_path)
    closed.close()
    return closed


def listed(connection: Connection) -> dict[tuple[int, int], bytes]:
    """The rows."""
    return {(call, first): seqs for call, first, seqs in connection.execute("SELECT call, first, seqs FROM spans")}


def judged(desk: Desk, *edits: Edit) -> tuple[int, str]:
    copied = Copied(parse_verifiers(desk.region.verifier), desk.data).edit(*edits)
    found = copied.judge()
    return found.exit, found.line.partition(f"{ORIGIN}: ")[2]


def offsets(*numbers: int) -> bytes:
    """As documented: each in four bytes, the highest first."""
    return b"".join(number.to_bytes(4, "big") for number in numbers)


# -- what is there ----------------------------------------------------------------------------------------------------


def test_a_span_lists_the_entries_of_each_call(desk: Desk) -> None:
    """By how far behind the first entry of the span they stand; entries about no call are in none."""
    with contextlib.closing(connect_reader(desk.data / "region.db")) as connection:
        assert connection.execute("SELECT size, spanned FROM head").fetchone() == (42, 40)
        assert listed(connection) == {
            (1, 0): offsets(0, 4, 8, 12, 16),
            (2, 0): offsets(1, 5, 9, 13, 17),
            (3, 0): offsets(2, 6, 10, 14, 18),
            (1, 20): offsets(0, 4, 8, 12, 16),
            (2, 20): offsets(1, 5, 9, 13, 17),
            (3, 20): offsets(2, 6, 10, 14, 18),
        }


def test_a_span_ends_with_a_commit(tmp_path: Path) -> None:
    """The one that makes it as long as spans are; however long that one is, the span covers all of it."""
    desk = Desk(tmp_path)
    spanned = []
    for count in (LENGTH - 1, 1, 3 * LENGTH, 1):
        desk.do(*map(noted, range(0, 4 * count, 4)))
        spanned += desk.ask(lambda reader: reader._execute("SELECT spanned FROM head").fetchone())
        assert len(desk.ask(lambda reader: reader.call_entries(CALLS[0]))) == desk.ask(lambda reader: reader.size())
    assert spanned == [0, LENGTH, 4 * LENGTH, 4 * LENGTH]
    desk.close()


def test_spans_are_laid_over_a_ledger_from_before_there_were_any(desk: Desk) -> None:
    """What was found by the index is found by them; the verifier has read the older file, and reads the newer."""
    with contextlib.closing(connect_writer(desk.data / "region.db")) as connection:
        without_spans(connection)
        about = "SELECT seq, leaf FROM entries INDEXED BY entries_call WHERE call = ? ORDER BY seq"
        before = [connection.execute(about, (call,)).fetchall() for call in (1, 2, 3, 4)]
    again = Desk(desk.data.parent.parent)
    assert [again.ask(lambda reader, call=call: reader.call_entries(call)) for call in (*CALLS, OTHER)] == before  # type: ignore[misc]
    assert again.ask(lambda reader: reader._execute("SELECT spanned FROM head").fetchone()) == (32,)
    again.do(*map(noted, range(40, 60)))
    assert len(again.ask(lambda reader: reader.call_entries(CALLS[0]))) == 15
    again.close()


# -- what somebody does to them ---------------------------------------------------------------------------------------


def row(call: int, first: int, *numbers: int) -> Edit:
    """This row says this."""
    return run(
        "INSERT INTO spans(call, first, seqs) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET seqs = excluded.seqs",
        call,
        first,
        offsets(*numbers),
    )


ATTACKS: dict[str, tuple[Edit, str]] = {
    "an entry left out": (row(1, 20, 0, 4, 12, 16), "entry 28 is not listed under its call"),
    "the last of a row left out": (row(1, 0, 0, 4, 8, 12), "entry 16 is not listed under its call"),
    "the last of all left out": (row(3, 20, 2, 6, 10, 14), "entry 38 is not listed under its call"),
    "another call's entry added": (row(1, 0, 0, 4, 5, 8, 12, 16), "entry 5 is listed where it does not belong"),
    "one of no call added": (row(2, 20, 1, 3, 5, 9, 13, 17), "entry 23 is listed where it does not belong"),
    "one from behind the spans added": (
        row(1, 20, 0, 4, 8, 12, 16, 20),
        "entry 40 is listed where it does not belong",
    ),
    "one that is not there added": (row(2, 20, 1, 5, 9, 13, 17, 999), "entry 1019 is listed where it does not belong"),
    "one listed twice": (row(2, 0, 1, 5, 5, 9, 13, 17), "entry 5 is listed where it does not belong"),
    "two exchanged": (row(2, 0, 1, 9, 5, 13, 17), "entry 5 is not listed under its call"),
    "a row removed": (run("DELETE FROM spans WHERE call = 3 AND first = 0"), "entry 2 is not listed under its call"),
    "a row filed under another call": (
        run("UPDATE spans SET call = 4 WHERE call = 3 AND first = 0"),
        "entry 2 is not listed under its call",
    ),
    "a row moved": (
        run("UPDATE spans SET first = 21 WHERE call = 3 AND first = 20"),
        "entry 22 is not listed under its call",
    ),
    "a row cut": (
        run("UPDATE spans SET seqs = substr(seqs, 1, 7) WHERE call = 2"),
        "entry 1 is not listed under its call",
    ),
    "a row added": (row(4, 0, 3), "spans list more than the entries they cover"),
    "a row of nothing added": (row(4, 20), "spans list more than the entries they cover"),
    "the tail said to begin later": (run("UPDATE head SET spanned = 42"), "entry 40 is not listed under its call"),
    "the tail said to begin earlier": (
        run("UPDATE head SET spanned = 20"),
        "spans list more than the entries they cover",
    ),
}


@pytest.mark.parametrize(("edit", "said"), ATTACKS.values(), ids=ATTACKS)
def test_spans_that_list_something_else_are_found(desk: Desk, edit: Edit, said: str) -> None:
    """The verifier names the entry; nobody is left out of a report because a span does not list his entries."""
    assert judged(desk)[0] == SOUND
    assert judged(desk, edit) == (TAMPERED, said)


def test_a_tail_that_begins_behind_the_end_is_found(desk: Desk) -> None:
    """Nothing would be found that is written from then on."""
    again = Desk(desk.data.parent.parent)
    again.do(*(noted(each) for each in range(3, 4 * LENGTH, 4)), SignCheckpoint())
    again.do(noted(3), SignCheckpoint())
    again.close()
    assert judged(desk, run("UPDATE head SET spanned = 60")) == (TAMPERED, "spans cover 60 entries and 59 are there")


def test_an_entry_that_was_changed_is_said_first(desk: Desk) -> None:
    """It is the worse of the two, and the spans follow from the entries."""
    edits = [ATTACKS["an entry left out"][0], run("UPDATE entries SET leaf = x'7b7d' WHERE seq = 30")]
    assert judged(desk, *edits) == (TAMPERED, "entry 30 was changed")


HARMLESS = ("two exchanged", "a row of nothing added")
"""What changes nothing of what is found."""


@pytest.mark.parametrize("attack", [each for each in ATTACKS if each not in HARMLESS])
def test_the_start_counts_what_spans_list(desk: Desk, attack: str) -> None:
    """For the calls of the last entries: the writer would count on from there."""
    judged(desk, ATTACKS[attack][0])
    with pytest.raises(RegionRefused, match="the index of the entries does not fit them"):
        Desk(desk.data.parent.parent)


def test_an_entry_of_another_call_is_never_shown(desk: Desk) -> None:
    """Whatever a damaged row lists: who asks for a call sees that call alone (P5)."""
    again = Desk(desk.data.parent.parent)
    before = again.ask(lambda reader: reader.call_entries(CALLS[0]))
    judged(desk, row(1, 0, *range(20)))
    shown: list[Any] = again.ask(lambda reader: reader.call_entries(CALLS[0]))
    assert shown == before
    again.close()
