"""Attacks on an evidence pack, a row each: what is done to it, and with which exit the verifier refuses it.

Three attackers: one who changes bytes; one who writes zip, manifest and tables anew but has no key; and the holder of
the signing keys, who can record any export but not take back what the ledger has.
"""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.core.types import Level
from storage.audit import archive
from storage.audit.pack import verify
from storage.audit.verdict import INCOMPLETE, SOUND, TAMPERED, UNVERIFIABLE, Verdict
from storage.entry import canonical
from tests.evidence.world import EUROPE, STATES, World, raw_id
from tests.storage.attacks import ENTRIES, HOME, TABLES
from tests.storage.packs import Files, Lie, Press, meetings, restamped, rows

# What is as it should be


def test_an_honest_pack_with_gaps_is_sound_and_says_so(press: Press, honest: Files) -> None:
    """Exit 10: nothing is wrong, and the gaps are counted."""
    found = press.judge(honest)
    assert found.exit == INCOMPLETE
    gaps = sum(len(notice["gaps"]) for notice in json.loads(honest["coverage.json"])["notices"])
    assert found.line.startswith("incomplete: contoso/standup as of ")
    assert f"nothing is wrong, {gaps} gaps in " in found.line


def test_a_pack_without_gaps_is_sound(press: Press, worlds: dict[str, World]) -> None:
    """Exit 0."""
    found = press.judge(press.pack(worlds["review"]))
    assert found.exit == SOUND
    assert found.line.startswith("sound: contoso/review as of ")
    assert "no gap in 1 notice (2 regions, " in found.line
    assert "2 participants of whom 2 are named" in found.line


@pytest.mark.parametrize("opened", [(), ("europe",), ("unitedstates",)])
def test_whoever_may_be_named_it_is_as_sound(press: Press, worlds: dict[str, World], opened: tuple[str, ...]) -> None:
    """What is proved is proved by presences."""
    pack = press.pack(worlds["review"], Lie(opened=opened))
    assert press.judge(pack).exit == SOUND
    assert {row["region"] for row in rows(pack, "participants.jsonl")} == set(opened)


@pytest.mark.parametrize("level", list(Level))
def test_every_level_can_be_asked(press: Press, worlds: dict[str, World], level: Level) -> None:
    """And is made again as it was exported."""
    assert press.judge(press.pack(worlds["standup"], Lie(level=level))).exit == INCOMPLETE


def pressed(root: Path, call: str, *erased: str, lie: Lie | None = None) -> tuple[Files, Verdict]:
    """The pack of a call after some were erased, and what the verifier says of it."""
    worlds = meetings()
    for user in erased:
        worlds[call].erase(user, STATES if user in {"bob", "cyd"} else EUROPE)
    press = Press(root, worlds[call].books)
    pack = press.pack(worlds[call], lie)
    found = press.judge(pack)
    press.close()
    return pack, found


def test_who_was_erased_is_not_missed(tmp_path: Path) -> None:
    """Their presences and proofs are there, an entry says why their names are not: 0, and how many."""
    pack, found = pressed(tmp_path, "review", "ann", "bob")
    assert pack["participants.jsonl"] == b""
    assert found.exit == SOUND
    assert "2 participants of whom 0 are named and 2 erased" in found.line


def test_who_was_erased_and_who_was_not_are_counted_apart(tmp_path: Path) -> None:
    """In a call that took in another one, too: an erasure is about the call somebody came into."""
    pack, found = pressed(tmp_path, "standup", "cyd", "dan")
    assert {row["participant"] for row in rows(pack, "participants.jsonl")} == {raw_id("ann"), raw_id("bob", STATES)}
    assert "4 participants of whom 2 are named and 2 erased" in found.line
    assert "not erased" not in found.line


@pytest.mark.parametrize(
    ("erased", "opened", "said"),
    [
        ((), ("europe", "unitedstates"), ["of region europe is not", "of region unitedstates is not"]),
        (("ann",), ("europe", "unitedstates"), ["1 presence of region unitedstates is not named and not erased"]),
        (("bob",), ("europe",), ["1 presence of region europe is not named and not erased"]),
    ],
)
def test_who_is_neither_named_nor_erased_is_missed(
    tmp_path: Path, erased: tuple[str, ...], opened: tuple[str, ...], said: list[str]
) -> None:
    """A name left out, or whose key was lost, does not pass for an erased one: 10, by region."""
    lie = Lie(people=lambda people: people.clear(), opened=opened)
    _, found = pressed(tmp_path, "review", *erased, lie=lie)
    assert found.exit == INCOMPLETE
    assert found.line.count("not named and not erased") == len(said)
    assert all(each in found.line for each in said)


@pytest.mark.parametrize("opened", [(), ("unitedstates",)])
def test_nobody_is_missed_of_a_region_that_was_not_opened(tmp_path: Path, opened: tuple[str, ...]) -> None:
    """Erased or not, its people were not to be named: 0."""
    _, found = pressed(tmp_path, "review", "ann", lie=Lie(opened=opened))
    assert found.exit == SOUND


def test_entries_that_came_after_the_pack_are_told(press: Press, worlds: dict[str, World]) -> None:
    """A meeting goes on while it is exported: exit 10, and how many."""
    after = 0

    def later(fields: dict[str, Any]) -> bool:
        return not (fields["kind"] == "evidence.exported" and fields["call"] == "review")

    pack = press.pack(worlds["review"], Lie(keep=later))
    after = json.loads(pack[f"{HOME}/export.jsonl"])["ahead"] - pack[f"{HOME}/entries.jsonl"].count(b"\n")
    assert after > 0
    found = press.judge(pack)
    assert found.exit == INCOMPLETE
    assert f"{2 * after} later entries are not in it" in found.line


# Who changes bytes


def flipped(data: bytes, place: int, bit: int = 0) -> bytes:
    """One bit is another."""
    changed = bytearray(data)
    changed[place] ^= 1 << bit
    return bytes(changed)


def places(data: bytes) -> Iterator[int]:
    """The first, middle and last byte of every file, and every byte of headers and directory."""
    at = 0
    while data.startswith(b"PK\x03\x04", at):
        size, name = struct.unpack_from("<I", data, at + 18)[0], struct.unpack_from("<H", data, at + 26)[0]
        yield from range(at, at + 30 + name)
        at += 30 + name
        if size:
            yield from (at, at + size // 2, at + size - 1)
        at += size
    yield from range(at, len(data))


def test_a_flipped_bit_anywhere(press: Press, honest: Files) -> None:
    """In every file, header and field of the directory, and at 300 places by chance: 20."""
    data = archive.write(honest)
    chance = random.Random(3)
    wanted = [*places(data), *(chance.randrange(len(data)) for _ in range(300))]
    assert len(wanted) > 2000
    for place in wanted:
        assert press.judge(flipped(data, place, chance.randrange(8))).exit == TAMPERED, place


def test_a_truncated_pack(press: Press, honest: Files) -> None:
    """Cut off anywhere behind its first four bytes, at the front or at the end: 20; of less nobody can tell: 40."""
    data = archive.write(honest)
    for length in [4, 5, 29, 30, 100, len(data) // 2, len(data) - 22, len(data) - 1]:
        assert press.judge(data[:length]).exit == TAMPERED
    assert press.judge(data[1:]).exit == TAMPERED
    assert press.judge(data[:3]).exit == UNVERIFIABLE


@pytest.mark.parametrize("data", [b"", b"PK", b"%PDF-1.7\n", b"{}\n", bytes(4096)])
def test_what_is_no_pack(press: Press, data: bytes) -> None:
    """Somebody named the wrong file: 40."""
    assert press.judge(data).exit == UNVERIFIABLE


def test_what_cannot_be_read(press: Press, tmp_path: Path) -> None:
    """No file, and a folder: 40, in one line."""
    for path in (tmp_path / "nowhere.zip", tmp_path):
        found = verify(path, press.verifiers())
        assert found.exit == UNVERIFIABLE
        assert str(path) in found.line


# Who writes it anew and has no key


@pytest.mark.parametrize("attack", [*ENTRIES, *TABLES], ids=lambda attack: attack.__name__)
def test_without_a_key(press: Press, honest: Files, attack: Callable[[Files], None]) -> None:
    """Zip, manifest, tables and export are written anew: 20, for the ledger never had that export."""
    files = dict(honest)
    attack(files)
    assert files != honest
    assert press.judge(files).exit == TAMPERED
    assert press.judge(restamped(files)).exit == TAMPERED


def replaced(files: Files, other: Files, *names: str) -> Files:
    """Some files are those of another pack."""
    return {**files, **{name: other[name] for name in files if any(each in name for each in names)}}


@pytest.mark.parametrize(
    "names",
    [
        ["regions/"],
        ["regions/europe/"],
        ["entries.jsonl", "proofs.jsonl"],
        ["entries.jsonl"],
        ["proofs.jsonl"],
        ["export.jsonl"],
        ["checkpoint.txt"],
        ["manifest.json"],
        ["manifest.json", "export.jsonl"],
        ["coverage.json"],
        ["levels.jsonl", "coverage.json"],
        ["report.html"],
        ["README.txt"],
    ],
    ids="+".join,
)
def test_with_parts_of_another_pack(press: Press, worlds: dict[str, World], honest: Files, names: list[str]) -> None:
    """Everything in it was signed, for another call: 20."""
    mixed = replaced(honest, press.pack(worlds["review"]), *names)
    assert press.judge(mixed).exit == TAMPERED
    if "manifest.json" not in names:
        assert press.judge(restamped(mixed)).exit == TAMPERED


@pytest.mark.parametrize("name", ["checkpoint.txt", "export.jsonl", "manifest.json", "proofs.jsonl"])
def test_with_parts_of_an_earlier_pack_of_the_same_call(
    press: Press, worlds: dict[str, World], honest: Files, name: str
) -> None:
    """Each export is one of its own: 20."""
    assert press.judge(replaced(press.pack(worlds["standup"]), honest, name)).exit == TAMPERED


def test_with_a_file_missing_or_besides(press: Press, honest: Files) -> None:
    """Exactly the files that are to be there: 20, and the line names the file."""
    for name in honest:
        found = press.judge({each: content for each, content in honest.items() if each != name})
        assert found.exit == TAMPERED
        assert f"{name} is missing" in found.line
    found = press.judge({**honest, "regions/europe/entries2.jsonl": b""})
    assert found.exit == TAMPERED
    assert "entries2.jsonl does not belong there" in found.line


def test_with_a_region_left_out(press: Press, honest: Files) -> None:
    """With its line in the manifest: 20."""
    for region in ("europe", "unitedstates"):
        files = {name: content for name, content in honest.items() if f"/{region}/" not in name}
        manifest = json.loads(files["manifest.json"])
        manifest["regions"] = [each for each in manifest["regions"] if each["region"] != region]
        del manifest["files"][f"regions/{region}/entries.jsonl"]
        files["manifest.json"] = canonical(manifest) + b"\n"
        assert press.judge(restamped(files)).exit == TAMPERED


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("at", "2026-11-23T15:00:00.000Z"),
        ("level", "received"),
        ("call", "review"),
        ("organization", "fabrikam"),
        ("files", {}),
        ("regions", []),
    ],
)
def test_with_another_manifest(press: Press, honest: Files, field: str, value: Any) -> None:
    """It is not what the ledger recorded: 20."""
    files = dict(honest)
    files["manifest.json"] = canonical({**json.loads(files["manifest.json"]), field: value}) + b"\n"
    assert press.judge(files).exit == TAMPERED
    assert press.judge(restamped(files) if field != "files" else files).exit == TAMPERED


# Another key


@pytest.fixture
def impostor(tmp_path: Path) -> Iterator[Press]:
    """Ledgers of the same names with the same entries, under keys of somebody else."""
    made = Press(tmp_path, meetings()["standup"].books)
    yield made
    made.close()


def test_signed_by_another_key(press: Press, worlds: dict[str, World], impostor: Press) -> None:
    """Everything fits, and nobody we know signed it: 40, and for those who know them it is sound."""
    files = impostor.pack(worlds["standup"])
    assert impostor.judge(files).exit == INCOMPLETE
    found = impostor.judge(files, press.verifiers())
    assert found.exit == UNVERIFIABLE
    assert "given key" in found.line


def test_signed_by_a_key_that_was_not_given(press: Press, honest: Files) -> None:
    """Every region's is needed: 40."""
    assert press.judge(honest, []).exit == UNVERIFIABLE
    keys = press.verifiers()
    for region in ("europe", "unitedstates"):
        assert press.judge(honest, [each for each in keys if not each.name.endswith(region)]).exit == UNVERIFIABLE


def test_signed_by_nobody(press: Press, honest: Files, impostor: Press, worlds: dict[str, World]) -> None:
    """A key that is named and did not sign: 20; another's signature in its place: 40."""
    name = f"{HOME}/checkpoint.txt"
    note = honest[name].decode()
    body, _, signature = note.partition("\n\n")
    size = int(body.split("\n")[1])
    grown = body.replace(f"\n{size}\n", f"\n{size + 1}\n")
    assert press.judge({**honest, name: f"{grown}\n\n{signature}".encode()}).exit == TAMPERED
    other = impostor.pack(worlds["standup"])[name].decode().partition("\n\n")[2]
    assert press.judge({**honest, name: f"{body}\n\n{other}".encode()}).exit == UNVERIFIABLE
    assert press.judge({**honest, name: f"{body}\n\n{other}{signature}".encode()}).exit == INCOMPLETE


@pytest.mark.parametrize("note", [b"", b"\n", b"\xff\xfe", b"x\n\n", b"a\n1\nAAAA\n\n", bytes(100)])
def test_without_a_checkpoint(press: Press, honest: Files, note: bytes) -> None:
    """What stands there is none: 20."""
    assert press.judge({**honest, f"{HOME}/checkpoint.txt": note}).exit == TAMPERED
