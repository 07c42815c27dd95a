"""Entries that many share: each proof in one is judged as if it stood alone, and none can be changed by itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.core.types import Level, State
from storage.audit import entries, ledger
from storage.audit.coverage import covered
from storage.audit.order import told
from storage.audit.verdict import INCOMPLETE, SOUND, TAMPERED
from storage.entry import canonical
from storage.moment import from_microseconds
from tests.evidence.world import EUROPE, STATES, World
from tests.storage.attacks import claim_proof
from tests.storage.audited import edited, rehash
from tests.storage.packs import Fields, Files, Lie, Press, put, rows
from tests.storage.test_audit_agreement import AT, NOTICE, came, together

CROWD = ("ann", "cyd", "dan", "eve")


def gathering(*also: str, crowd: tuple[str, ...] = CROWD) -> World:
    """All of the crowd in Europe, and Bob in the States, acknowledge a notice in one turn; `also` are told only."""
    world = World()
    for user in (*crowd, *also):
        world.join(user)
    world.join("bob", STATES)
    world.at(1)
    world.claim(State.ACTIVE)
    world.at(2)
    world.prove_at_once(Level.ACKNOWLEDGED, *((user, EUROPE) for user in crowd), ("bob", STATES))
    world.at(3)
    return world


@pytest.fixture(scope="module")
def world() -> World:
    return gathering("fay")


@pytest.fixture(scope="module")
def crowded(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Press]:
    """The gathering's ledgers."""
    made = Press(tmp_path_factory.mktemp("crowded"), world.books)
    yield made
    made.close()


@pytest.fixture(scope="module")
def pack(crowded: Press, world: World) -> Files:
    return crowded.pack(world)


# What is as it should be


def test_a_pack_with_shared_entries_is_sound(crowded: Press, pack: Files, tmp_path: Path) -> None:
    """Exit 10 for who proved nothing, and 0 where everybody did."""
    assert crowded.judge(pack).exit == INCOMPLETE
    everyone = gathering()
    press = Press(tmp_path, everyone.books)
    found = press.judge(press.pack(everyone))
    press.close()
    assert found.exit == SOUND
    assert "5 participants of whom 5 are named" in found.line


def test_everyone_is_proved_by_the_entry_they_share(pack: Files) -> None:
    """One entry of the ledger, and one proof that leads to it; in every table a row for each, with its number."""
    (shared,) = [row for row in rows(pack, "regions/europe/entries.jsonl") if row["kind"] == "levels"]
    levels = [row for row in rows(pack, "levels.jsonl") if row["region"] == "europe"]
    (number,) = {row["entry"] for row in levels}
    said = [[row["presence"], row["session"], row["reported_at"], row["device"]] for row in levels]
    assert said == shared["proofs"]
    (notice,) = json.loads(pack["coverage.json"])["notices"]
    proved = {each["presence"]: each["entry"] for each in notice["proved"] if each["region"] == "europe"}
    assert proved == dict.fromkeys([presence for presence, *_ in said], number)
    indices = [row["index"] for row in rows(pack, "regions/europe/proofs.jsonl")]
    assert indices.count(number) == 1
    assert len(indices) == len(set(indices))


def test_what_many_share_is_in_a_pack_once() -> None:
    """However many they are: a line of the ledger is a line of the pack."""
    world = gathering(crowd=tuple(f"u{each:03}" for each in range(200)))
    files = world.files()
    (shared,) = [leaf for _, leaf in world.books.ledgers["europe"] if b'"kind":"levels"' in leaf]
    assert b"".join(files.values()).count(shared) == 1
    assert files["regions/europe/entries.jsonl"].count(b"\n") == len(world.books.ledgers["europe"])
    assert files["levels.jsonl"].count(b"\n") == len(json.loads(shared)["proofs"]) + 1 == 201


def test_a_shared_entry_before_its_notice_proves_nothing() -> None:
    """Nor does one about a notice that nobody was told of, as with an entry of one's own."""
    opened = {"kind": "call.opened", "home": "europe"}

    def gaps(*found: Fields) -> int:
        common = {"at": AT, "organization": "contoso", "call": "standup"}
        lines = [canonical({**common, **each}) for each in (opened, came("p_1"), *found)]
        read = [entries.read("here", "europe", number, line) for number, line in enumerate(lines)]
        (only,) = covered(told("standup", {"europe": read}), None, from_microseconds(0))["notices"]
        return len(only["gaps"])

    assert gaps(NOTICE, together("p_1")) == 0
    assert gaps(together("p_1"), NOTICE) == 1
    assert gaps(NOTICE, {**together("p_1"), "notice": "n_2"}) == 1
    assert gaps(NOTICE, {**together("p_1"), "level": "received"}) == 1


# Who has no key

Proofs = list[list[Any]]


def remove(proofs: Proofs) -> None:
    """Somebody never acknowledged."""
    del proofs[1]


def remove_last(proofs: Proofs) -> None:
    """Nor the last of them."""
    proofs.pop()


def add(proofs: Proofs) -> None:
    """Somebody else did, too."""
    proofs.append(["p_" + "f" * 26, *proofs[0][1:]])


def double(proofs: Proofs) -> None:
    """One did so twice."""
    proofs.append(proofs[0])


def move(proofs: Proofs) -> None:
    """What one said another did."""
    proofs[0][0] = "p_" + "f" * 26


def exchange(proofs: Proofs) -> None:
    """Two are taken for each other."""
    proofs[0][0], proofs[1][0] = proofs[1][0], proofs[0][0]


def reorder(proofs: Proofs) -> None:
    """The same, in another order."""
    proofs.reverse()


def retime(proofs: Proofs) -> None:
    """It was earlier by the client's clock."""
    proofs[2][2] = "2026-11-23T13:00:00.000Z"


def redevice(proofs: Proofs) -> None:
    """By another device."""
    proofs[2][3] = "0" * 32


DEEDS = [remove, remove_last, add, double, move, exchange, reorder, retime, redevice]


def changed(leaf: bytes, deed: Callable[[Proofs], None]) -> bytes:
    """The entry after the deed."""
    fields = json.loads(leaf)
    deed(fields["proofs"])
    again = canonical(fields)
    assert again != leaf
    return again


@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.__name__)
def test_no_proof_in_a_pack_can_be_changed(crowded: Press, pack: Files, deed: Callable[[Proofs], None]) -> None:
    """The line is named whose hash leads nowhere."""
    name = "regions/europe/entries.jsonl"
    lines = pack[name].splitlines()
    place = next(place for place, line in enumerate(lines) if b'"kind":"levels"' in line)
    lines[place] = changed(lines[place], deed)
    found = crowded.judge({**pack, name: b"".join(line + b"\n" for line in lines)})
    assert found.exit == TAMPERED
    assert f"{name} line {place + 1}: it is not in the ledger that was signed" in found.line


@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.__name__)
def test_no_proof_in_a_ledger_can_be_changed(tmp_path: Path, world: World, deed: Callable[[Proofs], None]) -> None:
    """The entry is named; also where its stored hash was made to fit."""
    press = Press(tmp_path, world.books)
    press.pack(world)
    verifiers = press.verifiers()
    press.close()
    place = press.desks["europe"].data
    assert ledger.verify(place, verifiers).exit == SOUND
    with edited(place / "region.db") as connection:
        ((number, leaf),) = [
            (number, leaf)
            for number, leaf in connection.execute("SELECT seq, leaf FROM entries")
            if b'"kind":"levels"' in leaf
        ]
        connection.execute("UPDATE entries SET leaf = ? WHERE seq = ?", (changed(leaf, deed), number))
    found = ledger.verify(place, verifiers)
    assert found.exit == TAMPERED
    assert f"entry {number} was changed" in found.line
    with edited(place / "region.db") as connection:
        rehash(connection)
    assert ledger.verify(place, verifiers).exit == TAMPERED


# Who holds the keys


def row_of(found: list[Fields]) -> Fields:
    """A row of somebody who shares an entry with others."""
    return next(row for row in found if row["region"] == "europe")


def take_row(files: Files) -> None:
    """One of those who share an entry did not say so."""
    found = rows(files, "levels.jsonl")
    found.remove(row_of(found))
    put(files, "levels.jsonl", found)


def add_row(files: Files) -> None:
    """Somebody who did not is among them."""
    found = rows(files, "levels.jsonl")
    (fay,) = [gap["presence"] for gap in json.loads(files["coverage.json"])["notices"][0]["gaps"]]
    put(files, "levels.jsonl", [*found, {**row_of(found), "presence": fay}])


def move_row(files: Files) -> None:
    """What one of them said somebody else did."""
    found = rows(files, "levels.jsonl")
    (fay,) = [gap["presence"] for gap in json.loads(files["coverage.json"])["notices"][0]["gaps"]]
    row_of(found)["presence"] = fay
    put(files, "levels.jsonl", found)


def change_row(files: Files) -> None:
    """It was another session."""
    found = rows(files, "levels.jsonl")
    row_of(found)["session"] = "s_mallory"
    put(files, "levels.jsonl", found)


def double_row(files: Files) -> None:
    """One did so twice."""
    found = rows(files, "levels.jsonl")
    put(files, "levels.jsonl", [*found, row_of(found)])


@pytest.mark.parametrize(
    ("deed", "said"),
    [
        (take_row, "is missing"),
        (add_row, "something is there that is in no entry"),
        (move_row, "is missing"),
        (change_row, "is not as the entries say"),
        (double_row, "something is there twice"),
        (claim_proof, "proved: 6 are claimed, the entries prove 5"),
    ],
    ids=lambda each: getattr(each, "__name__", None),
)
def test_no_table_may_say_otherwise(crowded: Press, world: World, deed: Callable[[Files], None], said: str) -> None:
    """By the number of an entry that others share nobody is proved who is not in it; the presence is named."""
    found = crowded.judge(crowded.pack(world, Lie(tables=deed)))
    assert found.exit == TAMPERED
    assert said in found.line
    if said.startswith("is "):
        assert " of presence p_" in found.line
