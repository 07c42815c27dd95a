"""The records of a pack: what each file says, that it follows from the entries, and that it names nobody it may not."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from typing import Any

import msgspec
import pytest
import rfc8785

from gateway.core.types import CallKey, Capability, Level, Role, State
from gateway.evidence import records
from gateway.evidence.contents import contents
from gateway.evidence.story import tell
from tests.evidence.world import EUROPE, EVERYTHING, STATES, TRANSCRIPTION, World, raw_id

ACTIVE, PAUSED, INACTIVE = State.ACTIVE, State.PAUSED, State.INACTIVE
EVENT = "ab" * 32


def rows(files: dict[str, bytes], name: str) -> list[dict[str, Any]]:
    """The lines of a file."""
    return [json.loads(line) for line in files[name].splitlines()]


@pytest.fixture
def world() -> World:
    """Ann in Europe and Bob in the States are recorded; Ann acknowledges, Bob only receives."""
    made = World()
    made.join("ann", name="Ann Exemplar")
    made.at(1)
    made.join("bob", STATES, name="Bob Exemplar")
    made.at(2)
    made.books.event(EVENT)
    made.claim(ACTIVE, event=EVENT)
    made.sent(("ann", EUROPE), ("bob", STATES))
    made.at(3)
    made.prove("ann", Level.ACKNOWLEDGED)
    made.prove("bob", Level.RECEIVED, STATES)
    made.at(4)
    return made


def test_the_same_evidence_makes_the_same_bytes(world: World) -> None:
    """However often, and in whatever order the regions were read."""
    story = world.story()
    turned = tell(world.key, story.parts[::-1], {world.key: "europe"}, story.at, None)
    assert contents(story) == contents(world.story()) == contents(turned)


def test_every_line_is_canonical_json(world: World) -> None:
    """RFC 8785 by another implementation, each line ended."""
    files = world.files()
    for name in [each for each in files if each.endswith((".json", ".jsonl"))]:
        assert files[name].endswith(b"\n")
        for line in files[name].splitlines():
            assert rfc8785.dumps(json.loads(line)) == line, name


def test_the_manifest_has_the_digest_of_every_file(world: World) -> None:
    """Of all but itself, and what the pack is of."""
    files = world.files(["europe"], Level.DISPLAYED)
    manifest = json.loads(files.pop("manifest.json"))
    assert manifest.pop("files") == {
        name: "sha256:" + sha256(content).hexdigest() for name, content in sorted(files.items())
    }
    assert manifest == {
        "at": "2026-11-23T14:00:04.000Z",
        "call": "standup",
        "format": "notices-evidence/1",
        "level": "displayed",
        "organization": "contoso",
        "regions": [
            {"entries": 8, "opened": True, "origin": "gateway/europe", "region": "europe"},
            {"entries": 6, "opened": False, "origin": "gateway/unitedstates", "region": "unitedstates"},
        ],
    }


def test_coverage_names_the_entry_of_each_proof_and_each_gap(world: World) -> None:
    """By presence, sorted; each notice asked at its own level."""
    files = world.files()
    (notice,) = json.loads(files["coverage.json"])["notices"]
    ann, bob = (row["presence"] for row in rows(files, "presences.jsonl"))
    (proof,) = notice["proved"]
    (gap,) = notice["gaps"]
    assert (notice["owed"], notice["level"]) == (2, "acknowledged")
    assert (proof["presence"], proof["region"], proof["at"]) == (ann, "europe", "2026-11-23T14:00:03.000Z")
    assert json.loads(world.books.ledgers["europe"][proof["entry"]][1])["level"] == "acknowledged"
    assert gap == {
        "exposure_ms": 2000,
        "presence": bob,
        "reason": "pending",
        "since": "2026-11-23T14:00:02.000Z",
    }


@pytest.mark.parametrize(
    ("level", "complete"), [(Level.SENT, True), (Level.RECEIVED, True), (Level.DISPLAYED, False), (None, False)]
)
def test_coverage_is_asked_at_the_level_given(world: World, level: Level | None, complete: bool) -> None:
    """Both received it, only one proved more."""
    assert json.loads(world.files(level=level)["coverage.json"])["complete"] is complete


@pytest.mark.parametrize("opened", [(), ("europe",), ("unitedstates",), EVERYTHING])
def test_coverage_is_the_same_whoever_is_named(world: World, opened: tuple[str, ...]) -> None:
    """It follows from the entries alone."""
    files, all_named = world.files(opened), world.files()
    for name in ("coverage.json", "notices.jsonl", "presences.jsonl", "levels.jsonl", "episodes.jsonl"):
        assert files[name] == all_named[name]


@pytest.mark.parametrize("opened", [(), ("europe",), ("unitedstates",)])
def test_nobody_is_named_of_a_region_that_is_not_opened(world: World, opened: tuple[str, ...]) -> None:
    """Not by raw id, not by name, in no file."""
    everything = b"".join(world.files(opened).values())
    for region, user, resource in (("europe", "ann", EUROPE), ("unitedstates", "bob", STATES)):
        named = region in opened
        assert (raw_id(user, resource).encode() in everything) is named
        assert (f"{user.title()} Exemplar".encode() in everything) is named


def test_people_of_a_part_that_was_not_opened_are_never_written(world: World) -> None:
    """Even if somebody handed them over."""
    parts = [replace(part, opened=False) for part in world.story().parts]
    files = contents(tell(world.key, parts, {world.key: "europe"}, world.now, None))
    assert files["participants.jsonl"] == b""
    assert b"Exemplar" not in b"".join(files.values())


def test_who_was_erased_is_named_nowhere_and_still_counted(world: World) -> None:
    """The box is gone; the presence, and what it proved, stays."""
    before = world.files()
    world.erase("ann")
    after = world.files()
    everything = b"".join(after.values())
    assert b"Ann Exemplar" not in everything
    assert raw_id("ann").encode() not in everything
    assert after["coverage.json"] == before["coverage.json"]
    assert [row["region"] for row in rows(after, "participants.jsonl")] == ["unitedstates"]


def test_an_opening_opens_the_commitment(world: World) -> None:
    """SHA-256 over the salt and the raw id is what the presence's entry says."""
    files = world.files()
    commitments = {
        entry["presence"]: entry["commitment"]
        for region in EVERYTHING
        for entry in rows(files, f"regions/{region}/entries.jsonl")
        if entry["kind"] == "presence.opened"
    }
    people = rows(files, "participants.jsonl")
    assert [row["participant"] for row in people] == [raw_id("ann"), raw_id("bob", STATES)]
    for row in people:
        opened = sha256(bytes.fromhex(row["salt"]) + row["participant"].encode()).hexdigest()
        assert commitments[row["presence"]] == f"sha256:{opened}"


def test_every_text_has_the_digest_of_the_ledger(world: World) -> None:
    """SHA-256 over the canonical JSON of what a client was sent, in every language."""
    files = world.files()
    (notice,) = rows(files, "notices.jsonl")
    (entry,) = (each for each in rows(files, "regions/europe/entries.jsonl") if each["kind"] == "notice")
    assert set(notice["texts"]) == set(entry["digests"])
    for locale, told in notice["texts"].items():
        said = {name: notice[name] for name in ("notice", "capability", "change")} | {"text": told["text"]}
        assert told["digest"] == entry["digests"][locale]
        assert told["digest"] == "sha256:" + sha256(rfc8785.dumps(said)).hexdigest()
        assert told["text"]["locale"] == locale


@pytest.mark.parametrize("digests", [{"en": "sha256:00"}, {"tlh": "sha256:00"}])
def test_words_that_are_not_known_any_more_are_not_made_up(world: World, digests: dict[str, str]) -> None:
    """A later catalogue, another language: the digest stays, and no text is put beside it."""
    notice = next(iter(world.call.notices.values())).fact
    changed = msgspec.structs.replace(notice, digests=digests)
    ((locale, (digest, text)),) = records.texts(changed).items()
    assert ({locale: digest}, text) == (digests, None)


def test_an_episode_names_what_opened_it(world: World) -> None:
    """The last claim before its first notice, and the event that the claim came with."""
    (episode,) = rows(world.files(), "episodes.jsonl")
    opener = episode["opened_by"]
    entry = json.loads(world.books.ledgers["europe"][opener["entry"]][1])
    assert (entry["kind"], entry["state"], entry["source"]) == ("observation", "active", opener["source"])
    assert (opener["region"], opener["event"]) == ("europe", EVENT)
    assert episode["ended_at"] is None


def test_an_episode_is_not_opened_by_a_claim_about_something_else() -> None:
    """Nor by one that came later, nor by one that it was off."""
    world = World()
    world.claim(ACTIVE, TRANSCRIPTION, source="graph")
    world.claim(INACTIVE, source="operator")
    world.at(1)
    world.claim(ACTIVE)
    world.at(2)
    world.claim(ACTIVE, source="operator")
    episodes = {row["capability"]: row["opened_by"] for row in rows(world.files(), "episodes.jsonl")}
    assert episodes["recording"]["source"].startswith("call_automation/")
    assert episodes["transcription"]["source"] == "graph"
    assert episodes["recording"]["event"] is None


def test_sessions_are_told_with_their_ends() -> None:
    """A lost one and a new one of the same person, who then leaves."""
    world = World()
    world.join("ann")
    world.at(1)
    world.join("ann", session="s_2")
    world.at(2)
    world.lose("ann", reason="disconnected")
    world.at(3)
    world.lose("ann", session="s_2")
    (row,) = rows(world.files(), "presences.jsonl")
    assert (row["closed_at"], row["closed_reason"]) == ("2026-11-23T14:00:03.000Z", "left")
    assert [(each["session"], each["left_at"][17:19], each["reason"]) for each in row["sessions"]] == [
        ("s_ann", "02", "disconnected"),
        ("s_2", "03", "left"),
    ]
    assert row["sessions"][0]["device"] not in (None, "phone")


def test_whoever_owes_nothing_is_there_and_not_asked() -> None:
    """An observer has a presence and no gap."""
    world = World()
    world.join("ann")
    world.join("eve", role=Role.OBSERVER)
    world.claim(ACTIVE)
    files = world.files()
    assert [row["role"] for row in rows(files, "presences.jsonl")] == ["participant", "observer"]
    assert json.loads(files["coverage.json"])["notices"][0]["owed"] == 1


def merged() -> World:
    """Ann is in a call and in another that turns out to be the same; Bob is in the other only."""
    target = World()
    source = World(CallKey("contoso", "alias"), target.ids, target.books)
    target.join("ann")
    source.at(1)
    source.join("ann", session="s_other")
    source.join("bob", STATES)
    source.claim(ACTIVE)
    source.at(2)
    source.prove("ann", Level.ACKNOWLEDGED)
    target.at(5)
    target.merge(source)
    target.at(6)
    target.lose("ann", session="s_other", reason="disconnected")
    target.at(7)
    target.lose("ann")
    return target


def test_a_merged_call_is_told_as_one() -> None:
    """Ann once, Bob once; what was said under the alias is in it."""
    files = merged().files()
    (notice,) = json.loads(files["coverage.json"])["notices"]
    assert notice["owed"] == 2
    assert len(notice["proved"]) == 1
    assert {entry["call"] for entry in rows(files, "regions/europe/entries.jsonl")} == {"standup", "alias"}
    (episode,) = rows(files, "episodes.jsonl")
    assert episode["opened_by"]["source"].startswith("call_automation/")


def test_what_ends_after_a_merger_ends_for_what_became_part_of_it() -> None:
    """Both of Ann's presences are over when she leaves, and each session when it was lost."""
    found = rows(merged().files(), "presences.jsonl")
    first, second = (row for row in found if row["region"] == "europe")
    assert first["closed_at"] == second["closed_at"] == "2026-11-23T14:00:07.000Z"
    (home,), (other,) = first["sessions"], second["sessions"]
    assert (home["left_at"], other["left_at"]) == ("2026-11-23T14:00:07.000Z", "2026-11-23T14:00:06.000Z")


def test_the_time_of_a_pack_is_never_before_its_entries(world: World) -> None:
    """A clock that was set back makes no exposure shorter."""
    story = world.story(at=-3600)
    assert story.at == world.call.clock
    assert json.loads(contents(story)["coverage.json"])["notices"][0]["gaps"][0]["exposure_ms"] == 1000


def test_a_call_without_a_notice_has_empty_files() -> None:
    """Nothing was on: nothing is missing."""
    world = World()
    world.join("ann")
    files = world.files()
    assert json.loads(files["coverage.json"]) == {
        "at": "2026-11-23T14:00:00.000Z",
        "complete": True,
        "notices": [],
    }
    assert files["notices.jsonl"] == files["episodes.jsonl"] == files["levels.jsonl"] == b""


def test_entries_are_given_byte_for_byte(world: World) -> None:
    """What was hashed is what is shown, the event's entry among it, in the ledger's order."""
    part = world.part("europe", opened=False, events=[EVENT])
    assert records.entries(part.lines).splitlines() == [leaf for _, leaf in world.books.ledgers["europe"]]
    assert [entry for entry, _ in part.lines] == list(range(len(part.lines)))


def test_recording_and_transcription_are_two_episodes(world: World) -> None:
    """Each with its notices in order."""
    world.claim(ACTIVE, TRANSCRIPTION)
    world.at(5)
    world.claim(PAUSED)
    world.at(6)
    world.claim(INACTIVE)
    found = rows(world.files(), "episodes.jsonl")
    assert [row["capability"] for row in found] == [Capability.RECORDING, Capability.TRANSCRIPTION]
    notices = {row["notice"]: row["change"] for row in rows(world.files(), "notices.jsonl")}
    assert [notices[each] for each in found[0]["notices"]] == ["started", "paused", "stopped"]
    assert found[0]["ended_at"] == "2026-11-23T14:00:06.000Z"
