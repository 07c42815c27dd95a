"""`kill -9` at any moment: nothing confirmed is lost, nothing deleted stays readable."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from storage.audit.ledger import verify
from storage.audit.verdict import SOUND
from storage.engine import sqlite3
from storage.note import parse_verifiers
from storage.operations import Call
from tests.storage.audited import noted
from tests.storage.desk import MONTH, START, Desk, append

ROOT = Path(__file__).parents[2]


def start(what: str, root: Path, *more: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.storage.child", what, str(root), *more],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def run_to_death(what: str, root: Path, *more: str) -> None:
    with start(what, root, *more) as child:
        _, complaint = child.communicate(timeout=60)
    assert child.returncode == -signal.SIGKILL, complaint.decode()


def filed(desk: Desk, *calls: Call) -> None:
    """Each of these calls has all its entries, in order, and each says how many stand before it."""
    about: dict[int, list[tuple[int, bytes]]] = {}
    rows = desk.ask(lambda reader: reader._execute("SELECT seq, call, leaf FROM entries ORDER BY seq").fetchall())
    for seq, call, leaf in rows:
        about.setdefault(call, []).append((seq, leaf))
    about.pop(None, None)  # type: ignore[call-overload]  # those about no call
    found = [desk.ask(lambda reader, call=call: reader.call_entries(call)) for call in calls]  # type: ignore[misc]
    assert sorted(found) == sorted(about.values())
    for entries in found:
        assert [json.loads(leaf)["ahead"] for _, leaf in entries] == list(range(len(entries)))


def test_every_confirmed_entry_survives_kill_9(tmp_path: Path) -> None:
    """Six kills of one region: whatever was printed before is in the file under its number, without holes (P1)."""
    confirmed: dict[int, bytes] = {}
    chance = random.Random(7)
    for _ in range(6):
        with start("write", tmp_path) as child:
            assert child.stdout is not None
            first = child.stdout.readline()
            # The moment of the kill is the one thing here that only real time can choose.
            time.sleep(chance.uniform(0.05, 0.3))
            child.kill()
            printed = first + child.stdout.read()
        lines = printed.split(b"\n")[:-1]
        assert len(lines) > 1
        for line in lines:
            seq, leaf = line.split(b" ")
            assert int(seq) not in confirmed
            confirmed[int(seq)] = leaf
    desk = Desk(tmp_path)
    leaves = desk.leaves()
    assert {seq: leaves[seq] for seq in confirmed} == confirmed
    assert len(set(leaves)) == len(leaves)
    assert desk.do(append("next")) == (len(leaves),)
    check = desk.ask(lambda reader: reader._execute("PRAGMA integrity_check").fetchall())
    assert check == [("ok",)]
    assert desk.ask(lambda reader: reader._execute("SELECT count(*) FROM spans").fetchone()) >= (18,)
    filed(desk, *(("contoso", str(number)) for number in range(3)))
    desk.close()


@pytest.mark.parametrize(("when", "size"), [("written", 63), ("committed", 70)])
def test_a_span_is_there_with_the_entry_that_ends_it(tmp_path: Path, when: str, size: int) -> None:
    """Killed before the commit there is neither, killed behind it there are both; counting and reading go on."""
    run_to_death("span", tmp_path, when)
    desk = Desk(tmp_path)
    assert len(desk.leaves()) == size
    spanned = desk.ask(lambda reader: reader._execute("SELECT spanned FROM head").fetchone())
    assert spanned == (0 if when == "written" else size,)
    desk.do(*map(noted, range(size, size + 40)))
    filed(desk, *(("contoso", f"call-{number}") for number in range(3)))
    desk.close()
    assert verify(desk.data, parse_verifiers(desk.region.verifier)).exit == SOUND


@pytest.mark.parametrize("when", ["before shredding", "amid shredding", "before the certificate"])
def test_a_sweep_cut_short_is_finished_at_the_next_open(tmp_path: Path, when: str) -> None:
    """Killed at any step, the next open overwrites every key of the deleted rows and certifies it, once (F3)."""
    run_to_death(when, tmp_path)
    data, keys = tmp_path / "data" / "europe", tmp_path / "keys" / "europe"
    shutil.copytree(keys, tmp_path / "keys-before")
    connection = sqlite3.connect(data / "region.db")
    assert connection.execute("SELECT count(*) FROM messages").fetchone() == (0,)
    slots = [slot for (slot,) in connection.execute("SELECT slot FROM shredding")]
    connection.close()
    assert len(slots) == 10
    desk = Desk(tmp_path)
    before, after = ((place / "slots").read_bytes() for place in (tmp_path / "keys-before", keys))
    assert not any(before[slot * 32 : slot * 32 + 32] == after[slot * 32 : slot * 32 + 32] for slot in slots)
    kinds = [json.loads(leaf)["kind"] for leaf in desk.leaves()]
    assert kinds == ["message.stored"] * 10 + ["retention.intent", "retention.certificate"]
    (certificate,) = desk.ask(lambda reader: reader.certificates())
    assert (certificate["count"], certificate["slots"], certificate["intent"]) == (10, 10, 10)
    assert desk.region.sweep(START + MONTH, 10).result(30).deleted == 0
    desk.close()
    again = Desk(tmp_path)
    assert len(again.leaves()) == 12
    again.close()


def test_a_superseded_key_is_overwritten_at_the_next_open(tmp_path: Path) -> None:
    """Killed between the commit and the shredding, the old copy's slot, which no row has any more, is overwritten."""
    run_to_death("supersede", tmp_path)
    keys = tmp_path / "keys" / "europe"
    before = (keys / "slots").read_bytes()
    desk = Desk(tmp_path)
    after = (keys / "slots").read_bytes()
    same = [at // 32 for at in range(0, len(before), 32) if before[at : at + 32] == after[at : at + 32]]
    rows = desk.ask(lambda reader: reader._execute("SELECT slot FROM messages").fetchall())
    assert same == [0, *[slot for (slot,) in rows]]
    stored = desk.ask(lambda reader: reader.message("8:acs:r_1"))
    assert stored is not None
    assert stored.content == "needle 1"
    desk.close()
