"""Packs from real ledgers on disk, honest ones and those that a dishonest holder of the signing key would make."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from gateway.core.types import CallKey, Level, State, rfc3339
from gateway.evidence import records
from gateway.evidence.contents import contents
from gateway.evidence.story import Opening, Part, Story, tell
from gateway.hub.entries import open_box
from gateway.hub.recollection import gathered, homes_of
from storage.audit import archive
from storage.audit.pack import verify
from storage.audit.verdict import Verdict
from storage.entry import canonical, decode
from storage.note import Verifier, parse_verifiers
from storage.operations import Append, SignCheckpoint
from storage.reader import Reader
from tests.evidence.world import EUROPE, REGIONS, STATES, TRANSCRIPTION, Books, World
from tests.storage.desk import Desk

ACTIVE, INACTIVE = State.ACTIVE, State.INACTIVE
ALIAS, REVIEW = CallKey("contoso", "alias"), CallKey("contoso", "review")

Files = dict[str, bytes]
Fields = dict[str, Any]
Edit = Callable[[Files], None]


@dataclass
class Lie:
    """What somebody who holds the signing keys may do otherwise when a pack is made; nothing, unless said."""

    keep: Callable[[Fields], bool] = lambda _: True
    """Which entries are in the pack."""
    arrange: Callable[[list[tuple[int, bytes]]], Any] = lambda _: None
    """Done to them, each with its number, where they stand in the pack."""
    unread: Callable[[Fields], bool] = lambda _: False
    """Which of them the exporter did not look at."""
    regions: tuple[str, ...] = tuple(REGIONS.values())
    tables: Edit = lambda _: None
    """Done to the tables before their digests are taken."""
    manifest: Callable[[Fields], Any] = lambda _: None
    export: Callable[[str, Fields], Any] = lambda region, leaf: None
    """Done to the fields of the entry that records the export, by region."""
    also: tuple[CallKey, ...] = ()
    """Other calls whose entries are in the pack too."""
    opened: tuple[str, ...] = tuple(REGIONS.values())
    level: Level | None = None
    people: Callable[[dict[str, Opening]], Any] = field(default=lambda _: None)


class Press:
    """Real regions with what `worlds` wrote; makes packs and judges them."""

    def __init__(self, root: Path, books: Books) -> None:
        self.root = root
        self.desks = {region: Desk(root, region) for region in books.ledgers}
        self.books = books
        for region, lines in books.ledgers.items():
            for call, leaf in lines:
                self.append(region, unstamped(leaf), call)

    def append(self, region: str, leaf: bytes, call: CallKey | None) -> int:
        """One more entry; its number."""
        (number,) = self.desks[region].do(Append(leaf, call))
        return int(number)

    def close(self) -> None:
        """Give the regions back."""
        for desk in self.desks.values():
            desk.close()

    def verifiers(self) -> list[Verifier]:
        """The public keys of all regions."""
        return [key for desk in self.desks.values() for key in parse_verifiers(desk.region.verifier)]

    def pack(self, world: World, lie: Lie | None = None) -> Files:
        """The files of the pack of a call, exported now."""
        lie = lie or Lie()
        story = self._story(world, lie)
        files = contents(story)
        del files[records.MANIFEST]
        lie.tables(files)
        manifest = decode(records.manifest(story, files)[:-1])
        lie.manifest(manifest)
        files[records.MANIFEST] = canonical(manifest) + b"\n"
        for part in story.parts:
            leaves = self._leaves(story, part, files[records.MANIFEST], world, lie)
            appends = [Append(canonical(leaf), story.key._replace(call=leaf["call"])) for leaf in leaves]
            *exported, _ = self.desks[part.region].do(*appends, SignCheckpoint())
            numbers = [number for number, _ in part.lines]
            place = partial(proofs, region=part.region, numbers=numbers, exported=exported)
            files |= self.desks[part.region].ask(place)
        return files

    def _story(self, world: World, lie: Lie) -> Story:
        keys = (*world.parts, *lie.also)
        parts, stored = [], {}
        for region in sorted(lie.regions):
            found = self.desks[region].ask(lambda reader: [each for key in keys for each in reader.call_entries(key)])
            lines = [(number, leaf) for number, leaf in sorted(set(found)) if lie.keep(decode(leaf))]
            stored[region] = gathered([each for each in lines if not lie.unread(decode(each[1]))], {})
            lie.arrange(lines)
            people = self._people(region) if region in lie.opened else {}
            lie.people(people)
            people = {name: each for name, each in people.items() if any(name.encode() in leaf for _, leaf in lines)}
            origin = self.desks[region].region.origin
            parts.append(Part(region, origin, region in lie.opened, stored[region].facts, tuple(lines), people))
        return tell(world.key, parts, homes_of(stored), world.now, lie.level)

    def _people(self, region: str) -> dict[str, Opening]:
        boxes = {name: open_box(box) for name, box in self.books.boxes[region].items()}
        return {name: Opening(box.participant, box.name, box.salt) for name, box in boxes.items() if box is not None}

    def _leaves(self, story: Story, part: Part, manifest: bytes, world: World, lie: Lie) -> list[Fields]:
        leaf = self._leaf(story, part, manifest, world, lie)
        calls = [cover["call"] for cover in leaf["covers"]]
        lie.export(part.region, leaf)
        return [leaf, *({**leaf, "call": call} for call in calls[1:])]

    def _leaf(self, story: Story, part: Part, manifest: bytes, world: World, lie: Lie) -> Fields:
        about = Counter(decode(leaf).get("call") for _, leaf in part.lines)
        sources = sorted({key.call for key in (*world.parts, *lie.also)} - {story.key.call})
        return {
            "kind": "evidence.exported",
            "at": rfc3339(story.at),
            "organization": story.key.organization,
            "call": story.key.call,
            "manifest": records.digest(manifest),
            "regions": [each.region for each in story.parts if each.opened],
            "covers": [{"call": call, "entries": about[call]} for call in (story.key.call, *sources)],
        }

    def judge(self, pack: Mapping[str, bytes] | bytes, verifiers: Iterable[Verifier] | None = None) -> Verdict:
        """What the verifier says: one line, whatever the pack is."""
        path = self.root / "pack.zip"
        path.write_bytes(pack if isinstance(pack, bytes) else archive.write(pack))
        found = verify(path, self.verifiers() if verifiers is None else list(verifiers))
        assert found.line.isprintable()
        return found


def unstamped(leaf: bytes) -> bytes:
    """An entry as it was before a ledger stamped it."""
    fields = decode(leaf)
    return canonical({name: value for name, value in fields.items() if name not in {"after_us", "ahead"}})


def proofs(reader: Reader, region: str, numbers: list[int], exported: list[int]) -> Files:
    """The files of a region that lead to its checkpoint, from entries and from those of the export."""
    newest = reader.checkpoint()
    assert newest is not None
    size, note = newest
    leaves = [reader.leaf(number) or b"" for number in exported]
    rows = [
        {"hashes": [base64.b64encode(each).decode() for each in reader.inclusion(number, size)], "index": number}
        for number in (*numbers, *exported)
    ]
    return {
        f"regions/{region}/export.jsonl": b"".join(leaf + b"\n" for leaf in leaves),
        f"regions/{region}/proofs.jsonl": records.lines(rows),
        f"regions/{region}/checkpoint.txt": note.encode(),
    }


def restamped(files: Files) -> Files:
    """What a forger without a key can do: a manifest that fits the changed files, and an export that fits it."""
    manifest = json.loads(files[records.MANIFEST])
    manifest["files"] = {name: records.digest(files[name]) for name in manifest["files"] if name in files}
    for region in manifest["regions"]:
        lines = files.get(f"regions/{region['region']}/entries.jsonl", b"").count(b"\n")
        region["entries"] = lines
    files[records.MANIFEST] = canonical(manifest) + b"\n"
    for name in [name for name in files if name.endswith("/export.jsonl")]:
        put(files, name, [{**row, "manifest": records.digest(files[records.MANIFEST])} for row in rows(files, name)])
    return files


def rows(files: Mapping[str, bytes], name: str) -> list[Fields]:
    """The lines of a file."""
    return [json.loads(line) for line in files[name].splitlines()]


def put(files: Files, name: str, found: Iterable[Fields]) -> None:
    """Replace the lines of a file."""
    files[name] = records.lines(found)


def meet(world: World, *, fully: bool = False) -> World:
    """Ann in Europe and Bob in the States are recorded; Bob acknowledges, Ann only where `fully`."""
    world.join("ann", name="Ann Exemplar")
    world.at(1)
    world.join("bob", STATES, name="Bob Exemplar")
    world.at(2)
    world.books.event("ab" * 32)
    world.claim(ACTIVE, event="ab" * 32)
    world.sent(("ann", EUROPE), ("bob", STATES))
    world.at(3)
    world.prove_at_once(Level.ACKNOWLEDGED, ("bob", STATES))
    world.prove("ann", Level.ACKNOWLEDGED if fully else Level.RECEIVED)
    world.at(4)
    return world


def meetings() -> dict[str, World]:
    """A meeting with a gap, in which another one was merged, and one next to it where everyone was told."""
    standup = World()
    alias = World(ALIAS, standup.ids, standup.books)
    review = World(REVIEW, standup.ids, standup.books)
    alias.join("cyd", STATES, session="s_cyd_alias")
    alias.at(1)
    alias.claim(ACTIVE, TRANSCRIPTION)
    meet(standup)
    meet(review, fully=True)
    alias.at(4)
    standup.merge(alias)
    standup.at(5)
    standup.join("dan")
    standup.at(6)
    standup.lose("bob", STATES)
    standup.at(7)
    return {"standup": standup, "review": review}
