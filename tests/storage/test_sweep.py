"""The sweep: when, what is left, what it certifies, and that it holds nobody up."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from concurrent.futures import Future
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from storage.engine import sqlite3
from storage.operations import SweepOutcome
from storage.residue import scan
from tests.storage.desk import MONTH, START, Desk, append, message

INSTANT = timedelta(milliseconds=1)


def test_thirty_days_to_the_millisecond(desk: Desk) -> None:
    """A millisecond before its expiry a message stays; at that millisecond it goes."""
    desk.do(message())
    assert desk.region.sweep(START + MONTH - INSTANT, 10).result(30) == SweepOutcome(0, False, None)
    assert desk.ask(lambda reader: reader.message("8:acs:r_1")) is not None
    assert len(desk.leaves()) == 1
    assert desk.region.sweep(START + MONTH, 10).result(30) == SweepOutcome(1, False, 2)
    assert desk.ask(lambda reader: reader.message("8:acs:r_1")) is None


def test_a_sweep_is_announced_and_certified(desk: Desk) -> None:
    """Intent and certificate say what, when and how many, the soonest due first, and nothing personal."""
    for number in range(3):
        desk.do(message(participant=f"8:acs:needle_{number}", sent_at=START + number * INSTANT))
    now = START + MONTH + timedelta(days=1)
    assert desk.region.sweep(now, 2).result(30) == SweepOutcome(2, True, 4)
    assert desk.region.sweep(now, 2).result(30) == SweepOutcome(1, False, 6)
    assert desk.region.sweep(now, 2).result(30) == SweepOutcome(0, False, None)
    fields = {
        "at": "2026-12-24T14:00:00.123Z",
        "class": "message",
        "count": 2,
        "due_from": "2026-12-23T14:00:00.123Z",
        "due_until": "2026-12-23T14:00:00.124Z",
        "late_ms": 86_400_000,
        "decided": [{"policies": ["default"], "principle": "default", "count": 2}],
    }
    assert json.loads(desk.leaves()[3]) == {"kind": "retention.intent", **fields}
    certificate = {"kind": "retention.certificate", "intent": 3, "slots": 2, "checked": 2, **fields}
    assert json.loads(desk.leaves()[4]) == certificate
    found = desk.ask(lambda reader: reader.certificates())
    assert found[0] == {"entry": 4, **certificate}
    assert [each["entry"] for each in found] == [4, 6]


def test_a_swept_message_is_forgotten_with_its_marks(desk: Desk) -> None:
    """What is remembered against late duplicates goes when it would have expired; the duplicate is due then anyway."""
    desk.do(message("one"), message("two", message="m2", sent_at=START + INSTANT))
    desk.region.sweep(START + MONTH + INSTANT, 10).result(30)
    for table in ("messages", "marks", "shredding"):
        count = desk.ask(lambda reader, table=table: reader._execute(f"SELECT count(*) FROM {table}").fetchone())  # type: ignore[misc]
        assert count == (0,), table
    assert desk.do(message("one", at=START + MONTH + INSTANT))[0].kind == "ignored"


@contextlib.contextmanager
def backup_of(desk: Desk, place: Path) -> Iterator[sqlite3.Connection]:
    """A copy of the region's directory as it is on the disk now, opened as someone would who found it."""
    shutil.copytree(desk.data, place)
    connection = sqlite3.connect(place / "region.db")
    yield connection
    connection.close()


def boxes(connection: sqlite3.Connection) -> list[tuple[str, int, bytes]]:
    return connection.execute("SELECT copy, slot, box FROM messages").fetchall()


@pytest.mark.parametrize("how", ["swept", "superseded", "edited", "deleted"])
def test_what_is_gone_opens_from_no_backup(desk: Desk, tmp_path: Path, how: str) -> None:
    """A copy of file and log taken while the message lived opens then, and no more once it is gone."""
    desk.do(message("needle in a box"), message("stays", participant="8:acs:r_2", sent_at=START + INSTANT))
    with backup_of(desk, tmp_path / "backup") as backup:
        vault = desk.region._keys.vault
        before = {copy: vault.open("messages", copy, slot, box) for copy, slot, box in boxes(backup)}
        assert sum(b"needle" in (clear or b"") for clear in before.values()) == 1
        if how == "swept":
            assert desk.region.sweep(START + MONTH, 10).result(30).deleted == 1
        elif how == "superseded":
            desk.do(message("other", message="m2", sent_at=START + INSTANT))
        elif how == "edited":
            desk.do(message("other", version=2))
        else:
            desk.do(message(deleted=True, version=2))
        after = {copy: vault.open("messages", copy, slot, box) for copy, slot, box in boxes(backup)}
        assert sorted(clear is None for clear in after.values()) == [False, True]
        assert not any(b"needle" in (clear or b"") for clear in after.values())
    assert scan(tmp_path, [b"needle in a box"]) == []


def test_an_append_waits_for_one_batch_at_most(desk: Desk) -> None:
    """While 20,000 messages are swept in batches, every append is durable before a second batch is."""
    for number in range(20_000):
        desk.region.submit((message(participant=f"p{number}"),), Future())
    desk.do()
    now, finished = START + MONTH, 0

    def count(done: Future[SweepOutcome]) -> None:
        nonlocal finished
        finished += done.result(0).deleted > 0

    sweeps = [desk.region.sweep(now, 500) for _ in range(40)]
    for each in sweeps:
        each.add_done_callback(count)
    waits = []
    while not all(each.done() for each in sweeps):
        at_commit: list[int] = []
        future: Future[tuple[Any, ...]] = Future()
        # Runs on the writer's thread, right after the commit and before any further batch.
        future.add_done_callback(lambda _, at_commit=at_commit: at_commit.append(finished))  # type: ignore[misc]
        desk.region.submit((append("urgent"),), future)
        before = finished
        future.result(30)
        waits.append(at_commit[0] - before)
    assert sum(each.result(0).deleted for each in sweeps) == 20_000
    assert max(waits) <= 1
    assert len(waits) > 5
    assert desk.ask(lambda reader: reader.kept.every()) == []


def test_nonsense_fails_alone(desk: Desk) -> None:
    """A naive moment or an empty batch is refused; the writer goes on."""
    with pytest.raises(ValueError, match="at least one"):
        desk.region.sweep(START, 0)
    with pytest.raises(TypeError):
        desk.region.sweep(START.replace(tzinfo=None), 10).result(30)
    assert desk.do(append("{}")) == (0,)
    assert desk.failures == []


def test_a_cancelled_sweep_does_nothing(desk: Desk) -> None:
    """A request that was given up before its turn deletes nothing."""
    desk.do(message())
    for number in range(3000):
        desk.submit(append(str(number)))
    waiting = desk.region.sweep(START + MONTH, 10)
    if waiting.cancel():
        desk.do()
        assert desk.ask(lambda reader: reader.message("8:acs:r_1")) is not None
