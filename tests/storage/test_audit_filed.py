"""What an entry is filed under, what a witness vouched for, and what a time stamp must be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from storage.audit import ledger, stamp
from storage.audit.scan import Scan
from storage.audit.verdict import SOUND, TAMPERED, UNVERIFIABLE, Refused
from storage.engine import sqlite3
from storage.entry import canonical
from storage.note import parse_note, parse_verifiers
from storage.operations import Append, KeepCosignature, SignCheckpoint
from tests.authority import Authority
from tests.storage.audited import AT, ORIGIN, WITNESS, noted
from tests.storage.desk import Desk

Judge = Callable[..., Any]


def judged(desk: Desk, **words: Any) -> Any:
    """What the verifier says of the region, once it is closed."""
    desk.close()
    return ledger.verify(desk.data, parse_verifiers(desk.region.verifier), **words)


def about(kind: str, **fields: object) -> bytes:
    """An entry that names a call."""
    return canonical({"kind": kind, "organization": "contoso", "call": "call-0", **fields})


@pytest.mark.parametrize("kind", ["presence.opened", "level", "evidence.exported", "recording.lost", ""])
def test_an_entry_about_a_call_is_filed_under_it(desk: Desk, kind: str) -> None:
    """Whoever signs the ledger cannot keep an entry out of its call's count, and so out of every pack."""
    desk.do(noted(0), Append(about(kind), None), SignCheckpoint())
    found = judged(desk)
    assert found == (TAMPERED, f"tampered: {ORIGIN}: entry 1 is about a call and filed under none")


def test_what_may_be_filed_under_no_call(desk: Desk) -> None:
    """A recording of a call that nobody knows, and what names no call, or none in an organisation."""
    desk.do(
        Append(about("recording.found"), None),
        Append(canonical({"kind": "x", "call": "call-0"}), None),
        Append(canonical({"kind": "x", "organization": "contoso"}), None),
        Append(canonical({"kind": "x", "organization": None, "call": None}), None),
        SignCheckpoint(),
    )
    assert judged(desk).exit == SOUND


def test_a_call_is_counted_once() -> None:
    """Two rows of one call would each be counted by themselves: nothing is read then."""
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE calls(id INTEGER PRIMARY KEY, organization, call)")
    connection.executemany(
        "INSERT INTO calls(organization, call) VALUES (?, ?)", [("contoso", "a"), ("fabrikam", "a"), ("contoso", "b")]
    )
    Scan(connection, ORIGIN, {})
    connection.execute("INSERT INTO calls(organization, call) VALUES ('contoso', 'a')")
    with pytest.raises(Refused, match="a call is there twice"):
        Scan(connection, ORIGIN, {})
    connection.close()


def test_a_witness_must_have_seen_an_entry(desk: Desk) -> None:
    """A cosignature of the empty ledger vouches for nothing; how much another one does is said."""

    def cosign() -> None:
        assert desk.region.checkpoint is not None
        note = parse_note(desk.region.checkpoint)
        line = WITNESS.cosign(note.body, AT).text()
        desk.do(KeepCosignature(int(note.body.splitlines()[1]), WITNESS.verifier.name, line))

    verifiers = parse_verifiers(desk.region.verifier)
    cosign()
    desk.do(noted(0), SignCheckpoint())
    found = ledger.verify(desk.data, verifiers, witnesses=[WITNESS.verifier])
    assert found.exit == UNVERIFIABLE
    assert found.line.endswith(f"no cosignature of any entry by {WITNESS.verifier.name}")
    cosign()
    desk.do(noted(1), SignCheckpoint())
    found = ledger.verify(desk.data, verifiers, witnesses=[WITNESS.verifier])
    assert found == (
        SOUND,
        f"sound: {ORIGIN}: 2 entries, 3 checkpoints; {WITNESS.verifier.name} witnessed the first 1",
    )


@pytest.mark.parametrize("token", ["'text'", "NULL"])
def test_a_time_stamp_that_is_none_was_put_there(desk: Desk, tmp_path: Path, token: str) -> None:
    """Whatever type it has: the schema may say that there can be no such value."""
    desk.do(noted(0), SignCheckpoint())
    sound = judged(desk)
    roots = tmp_path / "roots.pem"
    roots.write_bytes(Authority(tmp_path / "authority").root.read_bytes())
    connection = sqlite3.connect(desk.data / "region.db", isolation_level=None)
    made = connection.execute("SELECT sql FROM sqlite_schema WHERE name = 'timestamps'").fetchone()
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute("DROP TABLE timestamps")
    connection.execute("CREATE TABLE timestamps(size INTEGER PRIMARY KEY, token)")
    connection.execute(f"INSERT INTO timestamps VALUES (1, {token})")
    connection.execute("UPDATE sqlite_schema SET sql = ? WHERE name = 'timestamps'", made)
    connection.close()
    assert sound.exit == SOUND
    found = stamp.with_stamp(sound, desk.data, roots)
    assert found == (TAMPERED, f"tampered: {desk.data}: the time stamp of 1 entries is damaged")
    assert judged(desk).exit == TAMPERED
