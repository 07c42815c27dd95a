"""Attacks by whoever holds the signing keys: any export can be recorded, but what the ledger has stays as it is.

And packs that are made to break their reader: whatever stands in one, the answer is an exit and one line.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from gateway.evidence.story import Opening
from storage.audit.verdict import INCOMPLETE, SOUND, TAMPERED, UNVERIFIABLE
from storage.entry import canonical
from tests.evidence.world import World, raw_id
from tests.storage.attacks import TABLES, claim_all
from tests.storage.packs import REVIEW, Fields, Files, Lie, Press, meetings, put, restamped, rows


@pytest.mark.parametrize("deed", TABLES, ids=lambda deed: deed.__name__)
def test_false_tables_are_recorded(press: Press, worlds: dict[str, World], deed: Callable[[Files], None]) -> None:
    """The export, its manifest and every signature are true: 20, for the entries say otherwise."""
    said: list[Files] = []

    def lie(files: Files) -> None:
        before = dict(files)
        deed(files)
        said.extend([before, dict(files)])

    found = press.judge(press.pack(worlds["standup"], Lie(tables=lie)))
    assert said[0] != said[1]
    assert found.exit == TAMPERED
    changed = [name for name in said[0] if said[0][name] != said[1][name]]
    assert any(name in found.line for name in changed)


def test_a_claim_too_many_is_named(press: Press, worlds: dict[str, World]) -> None:
    """The line has the notice, what is claimed and what is proved."""
    notice = press.pack(worlds["standup"])["coverage.json"]
    gaps = [each for each in json.loads(notice)["notices"] if each["gaps"]]
    found = press.judge(press.pack(worlds["standup"], Lie(tables=claim_all)))
    assert f"coverage.json: notice {gaps[0]['notice']}: gaps: 0 are claimed, the entries prove" in found.line


def without(presence: str) -> Callable[[Fields], bool]:
    """Every entry but those that name the presence."""
    return lambda fields: presence not in json.dumps(fields)


def somebody(press: Press, world: World, region: str) -> str:
    """A presence of the region."""
    found = rows(press.pack(world), "presences.jsonl")
    return str(next(row["presence"] for row in found if row["region"] == region))


@pytest.mark.parametrize("region", ["europe", "unitedstates"])
def test_a_member_of_the_roster_is_left_out(press: Press, worlds: dict[str, World], region: str) -> None:
    """With all their entries, and a count that fits: the ledger counted otherwise. 20."""
    gone = somebody(press, worlds["standup"], region)
    found = press.judge(press.pack(worlds["standup"], Lie(keep=without(gone))))
    assert found.exit == TAMPERED
    assert f"regions/{region}/entries.jsonl: entries are missing or moved" in found.line


def test_a_count_that_is_true_and_entries_that_are_not_there(press: Press, worlds: dict[str, World]) -> None:
    """Fewer than were exported: 20."""
    gone = somebody(press, worlds["standup"], "unitedstates")

    def count(region: str, leaf: Fields) -> None:
        leaf["covers"][0]["entries"] += 1 if region == "unitedstates" else 0

    last = {"presence.closed", "session.left", "evidence.exported"}
    lie = Lie(keep=lambda fields: fields["kind"] not in last or gone not in json.dumps(fields), export=count)
    assert press.judge(press.pack(worlds["standup"], lie)).exit == TAMPERED


def test_the_last_entries_are_left_out_and_covered(press: Press, worlds: dict[str, World]) -> None:
    """No hole is left, and still there are fewer than were exported: 20."""

    def count(region: str, leaf: Fields) -> None:
        leaf["covers"][0]["entries"] += 1

    press.pack(worlds["review"])
    lie = Lie(keep=lambda fields: fields["kind"] != "evidence.exported", export=count)
    found = press.judge(press.pack(worlds["review"], lie))
    assert found.exit == TAMPERED
    assert "were exported" in found.line


def test_entries_change_places_with_their_proofs(press: Press, worlds: dict[str, World]) -> None:
    """Of different calls, so that no count shows it: 20."""

    def arrange(lines: list[tuple[int, bytes]]) -> None:
        calls = [b'"call":"alias"' in leaf for _, leaf in lines]
        place = next(place for place, pair in enumerate(pairwise(calls)) if pair[0] != pair[1])
        lines[place : place + 2] = lines[place : place + 2][::-1]

    found = press.judge(press.pack(worlds["standup"], Lie(arrange=arrange)))
    assert found.exit == TAMPERED
    assert "it does not stand in the order of the ledger" in found.line


def test_words_that_are_not_known_any_more(press: Press, worlds: dict[str, World]) -> None:
    """A later version may export what an earlier one told: the digest is there and the text is not."""

    def forget(files: Files) -> None:
        found = rows(files, "notices.jsonl")
        for notice in found:
            notice["texts"]["de"]["text"] = None
        put(files, "notices.jsonl", found)

    assert press.judge(press.pack(worlds["review"], Lie(tables=forget))).exit == SOUND


def test_more_is_covered_than_there_was(press: Press, worlds: dict[str, World]) -> None:
    """The export's own place says how many stand before it: 20."""

    def count(region: str, leaf: Fields) -> None:
        leaf["covers"][0]["entries"] += 5

    assert press.judge(press.pack(worlds["review"], Lie(export=count))).exit == TAMPERED


def test_a_region_is_left_out(press: Press, worlds: dict[str, World]) -> None:
    """The call was there too, as the entries of its home say: 20."""
    for region in ("europe", "unitedstates"):
        found = press.judge(press.pack(worlds["standup"], Lie(regions=(region,))))
        assert found.exit == TAMPERED
        assert "of which nothing is there" in found.line


def test_a_region_that_a_crash_kept_from_writing(tmp_path: Path) -> None:
    """It is named at the call's home and has nothing: that it has nothing is proved too, and no tampering."""
    worlds = meetings()
    worlds["review"].books.ledgers["unitedstates"].clear()
    press = Press(tmp_path, worlds["review"].books)
    whole = press.judge(press.pack(worlds["review"]))
    partly = press.judge(press.pack(worlds["review"], Lie(regions=("europe",))))
    press.close()
    assert (whole.exit, partly.exit) == (SOUND, TAMPERED)
    assert "the call was in region unitedstates too" in partly.line


def test_a_merged_call_is_left_out(press: Press, worlds: dict[str, World]) -> None:
    """With its count, or without: 20."""
    for also in (True, False):

        def count(region: str, leaf: Fields, also: bool = also) -> None:
            leaf["covers"] = [each for each in leaf["covers"] if also or each["call"] != "alias"]

        lie = Lie(keep=lambda fields: fields.get("call") != "alias", export=count)
        assert press.judge(press.pack(worlds["standup"], lie)).exit == TAMPERED


def test_entries_of_another_call_are_in_it(press: Press, worlds: dict[str, World]) -> None:
    """Covered like its own: 20."""
    found = press.judge(press.pack(worlds["standup"], Lie(also=(REVIEW,))))
    assert found.exit == TAMPERED
    assert "it is of another call" in found.line


def change(field: str, value: Any) -> Callable[[str, Fields], None]:
    """The export says something else."""
    return lambda region, leaf: leaf.update({field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("call", "review"),
        ("organization", "fabrikam"),
        ("at", "2026-11-23T15:00:00.000Z"),
        ("manifest", "sha256:" + "0" * 64),
        ("regions", ["europe"]),
        ("regions", []),
        ("covers", []),
        ("covers", [{"call": "standup", "entries": 1}]),
        ("kind", "evidence.exporter"),
        ("covers", 1),
        ("manifest", None),
        ("at", "yesterday"),
    ],
)
def test_an_export_of_something_else(tmp_path: Path, field: str, value: Any) -> None:
    """What the ledger recorded is not this pack: 20."""
    worlds = meetings()
    press = Press(tmp_path, worlds["standup"].books)
    found = press.judge(press.pack(worlds["standup"], Lie(export=change(field, value))))
    press.close()
    assert found.exit == TAMPERED


def test_time_is_set_back(press: Press, worlds: dict[str, World]) -> None:
    """As of before the newest entry nothing was late yet: 20."""
    at = "2026-11-23T14:00:02.500Z"

    def tables(files: Files) -> None:
        coverage = json.loads(files["coverage.json"])
        files["coverage.json"] = canonical({**coverage, "at": at}) + b"\n"

    lie = Lie(tables=tables, manifest=lambda fields: fields.update(at=at), export=change("at", at))
    found = press.judge(press.pack(worlds["standup"], lie))
    assert found.exit == TAMPERED
    assert "before that of the newest entry" in found.line


@pytest.mark.parametrize(
    ("field", "value"),
    [("opened", True), ("origin", "notification-gateway/europe"), ("origin", "other/unitedstates"), ("entries", 1)],
)
def test_a_manifest_that_lies_of_a_region(press: Press, worlds: dict[str, World], field: str, value: Any) -> None:
    """Of who is named, whose ledger it is, or how much there is: 20."""
    lie = Lie(opened=("europe",), manifest=lambda fields: fields["regions"][1].update({field: value}))
    assert press.judge(press.pack(worlds["standup"], lie)).exit == TAMPERED


@pytest.mark.parametrize("name", ["report.html", "README.txt", "coverage.json", "regions/europe/entries.jsonl"])
def test_a_file_that_nobody_vouches_for(press: Press, worlds: dict[str, World], name: str) -> None:
    """It could be changed by anybody afterwards: 20."""
    found = press.judge(press.pack(worlds["standup"], Lie(manifest=lambda fields: fields["files"].pop(name))))
    assert found.exit == TAMPERED
    assert "must vouch for" in found.line


def test_people_are_named_of_a_region_that_was_not_opened(press: Press, worlds: dict[str, World]) -> None:
    """What was recorded names Europe only: 20."""

    def name(files: Files) -> None:
        files["participants.jsonl"] = press.pack(worlds["standup"])["participants.jsonl"]

    found = press.judge(press.pack(worlds["standup"], Lie(opened=("europe",), tables=name)))
    assert found.exit == TAMPERED
    assert "nobody of this region was to be named" in found.line


def test_one_ledger_is_shown_as_two_regions(tmp_path: Path) -> None:
    """Europe's under the other's name, too, with an export of its own: 20."""
    worlds = meetings()
    press = Press(tmp_path, worlds["review"].books)
    other = press.desks["unitedstates"]
    press.desks["unitedstates"] = press.desks["europe"]
    found = press.judge(press.pack(worlds["review"]))
    press.desks["unitedstates"] = other
    press.close()
    assert found.exit == TAMPERED
    assert "the ledger of region unitedstates is that of another" in found.line


@pytest.mark.parametrize("call", ["review", "standup"])
def test_somebody_erased_is_named(tmp_path: Path, call: str) -> None:
    """Whoever kept a copy of the key names them all the same, and truly: 20, for the ledger says they were erased."""
    worlds = meetings()
    kept = {region: dict(boxes) for region, boxes in worlds[call].books.boxes.items()}
    worlds[call].erase("ann")
    worlds[call].books.boxes = kept
    press = Press(tmp_path, worlds[call].books)
    found = press.judge(press.pack(worlds[call]))
    press.close()
    assert found.exit == TAMPERED
    assert "was erased, and is named" in found.line


@pytest.mark.parametrize(("presence", "region"), [("p_nobody", "europe"), (None, "unitedstates")])
def test_an_erasure_of_somebody_who_never_came_there(tmp_path: Path, presence: str | None, region: str) -> None:
    """A ledger speaks of its own people only: 20."""
    worlds = meetings()
    books = worlds["review"].books
    fact = {"kind": "presence.erased", "organization": "contoso", "call": "review", "at": "2026-11-23T14:00:04.000Z"}
    name = presence or next(iter(books.boxes["europe"]))
    books.append(region, canonical({**fact, "region": region, "presences": [name]}), REVIEW)
    press = Press(tmp_path, books)
    found = press.judge(press.pack(worlds["review"], Lie(unread=lambda fields: fields["kind"] == "presence.erased")))
    press.close()
    assert found.exit == TAMPERED
    assert "did not begin in this ledger before" in found.line


def test_a_display_name_is_nobodys_commitment(press: Press, worlds: dict[str, World]) -> None:
    """What the documents say: the raw id is proved, the name beside it is what the exporter says."""

    def rename(people: dict[str, Opening]) -> None:
        for presence, person in people.items():
            people[presence] = person._replace(name="Mallory")

    def take(people: dict[str, Opening]) -> None:
        for presence, person in people.items():
            people[presence] = person._replace(participant=raw_id("mallory"))

    assert press.judge(press.pack(worlds["review"], Lie(people=rename))).exit == SOUND
    assert press.judge(press.pack(worlds["review"], Lie(people=take))).exit == TAMPERED


# Entries that are made to break their reader


ABOUT = {"organization": "contoso", "call": "review", "at": "2026-11-23T14:00:09.000Z", "unread": True}
PROVED = {
    "kind": "level",
    "presence": "p_1",
    "region": "europe",
    "notice": "n_1",
    "level": "received",
    "reported_at": "2026-11-23T14:00:09.000Z",
    "session": "s",
}
TOGETHER = {
    "kind": "levels",
    "region": "europe",
    "notice": "n_1",
    "level": "received",
    "proofs": [["p_1", "s", "2026-11-23T14:00:09.000Z", None]],
}
NOTICE = {
    "kind": "notice",
    "revision": 9,
    "notice": "n_9",
    "capability": "recording",
    "change": "started",
    "episode": "e_9",
    "occurred_at": "2026-11-23T14:00:09.000Z",
    "require": "received",
    "deadline_at": "2026-11-23T14:00:19.000Z",
    "digests": {},
}
ENTERED = {
    "kind": "presence.opened",
    "presence": "p_9",
    "who": "p_9",
    "region": "europe",
    "role": "participant",
    "listed": False,
    "commitment": "é",
}
HOSTILE: list[Fields] = [
    {**PROVED, "level": 7},
    {**PROVED, "level": "certainly"},
    {**PROVED, "presence": None},
    {**PROVED, "presence": ["p"]},
    {**PROVED, "region": "unitedstates"},
    {**PROVED, "reported_at": "0001-01-01T00:00:00.000+14:00"},
    {**PROVED, "at": "9999-12-31T23:59:59.999-14:00"},
    {**PROVED, "at": "2026-11-23T14:00:09.000"},
    {**PROVED, "at": 1},
    {"kind": "level"},
    {**TOGETHER, "level": "certainly"},
    {**TOGETHER, "region": "unitedstates"},
    {**TOGETHER, "at": "9999-12-31T23:59:59.999-14:00"},
    {**TOGETHER, "proofs": []},
    {**TOGETHER, "proofs": {"p_1": "s"}},
    {**TOGETHER, "proofs": ["p_1"]},
    {**TOGETHER, "proofs": [["p_1", "s", "2026-11-23T14:00:09.000Z"]]},
    {**TOGETHER, "proofs": [["p_1", "s", "2026-11-23T14:00:09.000Z", None, None]]},
    {**TOGETHER, "proofs": [["p_1", "s", "2026-11-23T14:00:09.000Z", 7]]},
    {**TOGETHER, "proofs": [[None, "s", "2026-11-23T14:00:09.000Z", None]]},
    {**TOGETHER, "proofs": [["p_1", "s", "2026-11-23T14:00:09.000", None]]},
    {**TOGETHER, "proofs": [["p_1", "s", "9999-12-31T23:59:59.999-14:00", None]]},
    {"kind": "levels"},
    {**NOTICE, "digests": {"en": None}},
    {**NOTICE, "digests": ["en"]},
    {**NOTICE, "change": "begun"},
    {**NOTICE, "episode": {}},
    {**NOTICE, "require": "everything"},
    {**ENTERED, "role": "owner"},
    {**ENTERED, "listed": 1},
    {"kind": "presence.erased", "region": "europe", "presences": None},
    {"kind": "presence.erased", "region": "europe", "presences": [["p_1"]]},
    {"kind": "presence.erased", "region": "unitedstates", "presences": []},
    {"kind": "call.opened", "home": None},
    {"kind": "call.opened", "home": "atlantis"},
    {"kind": "call.merged", "source": "elsewhere", "revision": 3},
    {"kind": "call.merged", "source": "elsewhere", "revision": "3"},
    {"kind": "call.merged", "source": "review", "revision": 3, "same": [["p_1"]], "united": []},
    {"kind": "sent", "region": "europe", "notices": "n_1", "presences": []},
    {"kind": "observation", "capability": "telepathy", "state": "active", "source": "x"},
]


def with_entry(root: Path, leaf: bytes) -> tuple[int, str]:
    """What is said of a pack in whose ledger that entry is."""
    worlds = meetings()
    press = Press(root, worlds["review"].books)
    press.append("europe", leaf, REVIEW)
    found = press.judge(press.pack(worlds["review"], Lie(unread=lambda fields: "unread" in fields)))
    press.close()
    return found


@pytest.mark.parametrize("fields", HOSTILE, ids=lambda fields: str(fields)[:60])
def test_an_entry_that_cannot_be_read(tmp_path: Path, fields: Fields) -> None:
    """Signed, proved and of the call, and still no fact: 20, and the line says where."""
    code, line = with_entry(tmp_path, canonical({**ABOUT, **fields}))
    assert code == TAMPERED
    assert "entries.jsonl line " in line or "atlantis" in line or "covers other calls" in line


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "level.of.tomorrow", "presence": 7},
        {"kind": None},
        {"kind": ["level"]},
        {},
        {"kind": "recording.found", "duration_ms": 1},
        {"kind": "event", "digest": "ab"},
    ],
    ids=str,
)
def test_an_entry_that_says_nothing_of_the_call(tmp_path: Path, fields: Fields) -> None:
    """Kinds that nobody knows yet are no fault."""
    assert with_entry(tmp_path, canonical({**ABOUT, **fields}))[0] == SOUND


@pytest.mark.parametrize("text", [b'"b":1,"b":2', b'"b": 1', b'"b":1.0', b'"b":"\\u0041"', b'"c":1,"b":2'])
def test_an_entry_that_is_not_canonical(tmp_path: Path, text: bytes) -> None:
    """Two readers could understand it differently: 20."""
    code, line = with_entry(tmp_path, canonical({**ABOUT, "b": 0}).replace(b'"b":0', text))
    assert code == TAMPERED
    assert "canonical" in line or "float" in line


# Files that are made to break their reader

NONSENSE: list[bytes] = [
    b"",
    b"\n",
    b"\n\n",
    b"{}",
    b"{}\n",
    b"{}\n{}\n",
    b"[]\n",
    b"null\n",
    b"7\n",
    b'"x"\n',
    b"{\n",
    b"\xff\xfe\n",
    b"\0\n",
    b'{"a":1,"a":2}\n',
    b'{"a":' + b"9" * 5000 + b"}\n",
    b'{"a":-1e400}\n',
    b'{"a":0.5}\n',
    b'{"a":"\\ud800"}\n',
    b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"\n",
    b'{"notices":[1,{},null,"x"]}\n',
    b'{"notices":{"a":1}}\n',
    b'{"notice":{"a":1},"presence":["x"],"episode":7,"entry":{},"region":null}\n',
    b'{"hashes":[1],"index":-1}\n',
    b'{"hashes":["AA=="],"index":99999999999}\n',
    b'{"format":"notices-evidence/1"}\n',
    b'{"name":"\\u001b[2J\\n","participant":"\\u202e"}\n',
    b"{}\n" * 300_000,
]


@pytest.mark.parametrize("nonsense", range(len(NONSENSE)))
def test_a_file_that_cannot_be_read(press: Press, worlds: dict[str, World], honest: Files, nonsense: int) -> None:
    """In place of each file, also with a manifest that vouches for it: an exit and one line, never a trace."""
    content = NONSENSE[nonsense]
    for name in honest:
        files = {**honest, name: content}
        assert press.judge(files).exit == TAMPERED
        if name != "manifest.json" and not name.endswith("export.jsonl"):
            assert press.judge(restamped(files)).exit == TAMPERED


@pytest.mark.parametrize("nonsense", range(len(NONSENSE)))
def test_a_table_that_cannot_be_read_is_recorded(press: Press, worlds: dict[str, World], nonsense: int) -> None:
    """By the holder of the keys: everything else fits."""
    for name in ("coverage.json", "levels.jsonl", "notices.jsonl", "presences.jsonl", "episodes.jsonl"):
        lie = Lie(tables=lambda files, name=name: files.update({name: NONSENSE[nonsense]}))  # type: ignore[misc]
        found = press.judge(press.pack(worlds["standup"], lie))
        assert found.exit == TAMPERED
        assert name in found.line
    people = {"participants.jsonl": NONSENSE[nonsense]}
    found = press.judge(press.pack(worlds["standup"], Lie(tables=lambda files: files.update(people))))
    assert found.exit == (TAMPERED if people["participants.jsonl"] else INCOMPLETE)


MANIFESTS: list[Fields] = [
    {"at": "0001-01-01T00:00:00+14:00"},
    {"at": 7},
    {"call": None},
    {"files": []},
    {"files": {"README.txt": 1}},
    {"level": "certain"},
    {"level": 3},
    {"regions": [{"region": "europe"}]},
    {"regions": [{"entries": 1, "opened": True, "origin": "x/..", "region": ".."}]},
    {"regions": [{"entries": 1, "opened": True, "origin": "x/\x1b[2J", "region": "\x1b[2J\nsound: all is well"}]},
    {"regions": [{"entries": 2**60, "opened": 1, "origin": None, "region": "europe"}]},
    {"organization": ["contoso"]},
    {"more": True},
]


@pytest.mark.parametrize("fields", MANIFESTS, ids=str)
def test_a_manifest_that_cannot_be_read(press: Press, honest: Files, fields: Fields) -> None:
    """Whatever it says of itself: 20 and one printable line."""
    manifest = {**json.loads(honest["manifest.json"]), **fields}
    try:
        content = canonical(manifest) + b"\n"
    except ValueError:
        content = json.dumps(manifest).encode() + b"\n"
    assert press.judge({**honest, "manifest.json": content}).exit == TAMPERED


@pytest.mark.parametrize(
    ("named", "code"), [("notices-evidence/2", UNVERIFIABLE), ("", TAMPERED), (None, TAMPERED), (7, TAMPERED)]
)
def test_a_pack_of_another_format(press: Press, honest: Files, named: object, code: int) -> None:
    """What a later version writes cannot be verified by this one: 40; what no version writes: 20."""
    content = canonical({**json.loads(honest["manifest.json"]), "format": named}) + b"\n"
    assert press.judge({**honest, "manifest.json": content}).exit == code
