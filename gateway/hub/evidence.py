"""Evidence: packs one call's entries with the proofs that lead to a signed checkpoint, and records that it did.

Rules: a pack is made of what is durable and of nothing else; people are opened only in the regions asked for, and
nowhere kept; each region's ledger says what was exported before anybody has it. What takes long is done off the loop,
one pack at a time. Owned by the loop.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Final, NamedTuple

from gateway.core.errors import NotDurable, Refusal
from gateway.core.types import CallKey, Level, rfc3339
from gateway.evidence import records
from gateway.evidence.contents import contents
from gateway.evidence.story import Opening, Part, Story, tell
from gateway.hub.commits import Commit
from gateway.hub.entries import named_regions, open_box
from gateway.hub.interpreter import Interpreter
from gateway.hub.recollection import call_lines, gathered, homes_of
from storage.audit import archive
from storage.entry import canonical, decode
from storage.merkle import inclusion_path
from storage.operations import Append, SignCheckpoint
from storage.reader import Reader

PATIENCE: Final = 10.0
"""Seconds that an export waits for the disk."""

Stamp = Callable[[str, str], Awaitable[bytes | None]]
"""Has a region's checkpoint, given by its note, stamped by an authority; None where none is or none answers in time."""

_UNNAMED: Final = re.compile(r"[^A-Za-z0-9._-]+")


class Pack(NamedTuple):
    """One file of evidence, and what to call it."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class _Found:
    """What a region's file has of a call: its lines, and the boxes of its people where they were asked for.

    `named` are the regions that the lines say the call was in.
    """

    lines: list[tuple[int, bytes]]
    boxes: Mapping[str, bytes | None] | None
    named: frozenset[str]


class Evidence:
    """Makes evidence packs."""

    def __init__(self, interpreter: Interpreter, stamp: Stamp) -> None:
        self._registry: Final = interpreter.registry
        self._ledgers: Final = interpreter.ledgers
        self._now: Final = interpreter.now
        self._stamp: Final = stamp
        self._turn: Final = asyncio.Lock()
        self._loop: Final = asyncio.get_running_loop()

    async def pack(
        self, call: str, organization: str | None, level: Level | None, regions: Sequence[str] | None
    ) -> Pack:
        """The pack of a call, asked at `level` (None: each notice at its own), naming people of `regions` (None: all).

        Raises `Refusal` 404 for a call or region that is not known here, 409 where several organisations know the
        call or it was in a region that is not served here, and `NotDurable` where storage cannot record the export.
        """
        served = set(self._ledgers.regions)
        opened = served if regions is None else set(regions)
        if not opened <= served:
            raise Refusal("unknown_region", "this region is not served here", status=404)
        key = (await self._registry.find(call, organization)).key
        async with self._turn:
            story = await self._story(key, level, opened)
            files = await asyncio.to_thread(contents, story)
            exported = await self._export(story, files[records.MANIFEST])
            for part in story.parts:
                files |= await self._proofs(part, exported[part.region])
            files |= await self._stamps(story, files)
            name = f"evidence-{_UNNAMED.sub('-', key.call)[:64]}-{story.at.astimezone(UTC):%Y%m%dT%H%M%SZ}.zip"
            return Pack(name, await asyncio.to_thread(archive.write, files))

    async def _story(self, key: CallKey, level: Level | None, opened: set[str]) -> Story:
        """What the entries tell, with those of the events that opened an episode among them."""
        keys = (key, *self._registry.names.parts(key))
        every: dict[str, _Found] = {}
        for name in sorted(self._ledgers.regions):
            every[name] = await self._ledgers.read(name, partial(_find, keys=keys, opened=name in opened))
        named = frozenset().union(*(each.named for each in every.values()))
        if named - every.keys():
            raise Refusal("region_not_served", "the call was in a region that is not served here", status=409)
        # A region that a crash kept from writing anything is there too: that nothing was written is proved as well.
        found = {name: had for name, had in every.items() if had.lines or name in named}
        if not found:
            raise NotDurable("nothing of this call is written yet")
        origins = {name: self._ledgers.regions[name].origin for name in found}
        story = await asyncio.to_thread(_tell, key, found, origins, self._now(), level)
        digests = [bytes.fromhex(each.event) for each in story.openers.values() if each.event is not None]
        events = {name: await self._ledgers.read(name, partial(_events, digests=digests)) for name in found}
        return await asyncio.to_thread(_with_events, story, events)

    async def _export(self, story: Story, manifest: bytes) -> dict[str, list[int]]:
        """Record the export in every region it is of, about each call that it covers; the entries of each region."""
        known = (story.key.call, *sorted({each.call for each in self._registry.names.parts(story.key)}))
        digest = records.digest(manifest)
        pending: dict[str, asyncio.Future[list[int]]] = {}
        covers = {part.region: await asyncio.to_thread(_covers, part, known) for part in story.parts}
        for region, covered in covers.items():
            pending[region] = entries = self._loop.create_future()
            # One for each call, so that its `ahead` says how many entries of that call there are, the last included.
            appends = [Append(_leaf(story, call, digest, covered), story.key._replace(call=call)) for call in known]
            self._ledgers.submit(region, [*appends, SignCheckpoint()], partial(_resolve, entries))
        await self._durable(pending)
        return {region: entries.result() for region, entries in pending.items()}

    async def _durable(self, pending: Mapping[str, asyncio.Future[list[int]]]) -> None:
        deadline = self._loop.time() + PATIENCE
        waiting = set(pending.values())
        while waiting:
            _, waiting = await asyncio.wait(waiting, timeout=0.1)
            failing = any(region in self._ledgers.failing for region in pending)
            if waiting and (failing or self._loop.time() > deadline):
                raise NotDurable("storage cannot write now")

    async def _proofs(self, part: Part, exported: Sequence[int]) -> dict[str, bytes]:
        """The export's entries, the checkpoint, and what leads from every entry to it."""
        entries = [entry for entry, _ in part.lines]
        found = await self._ledgers.read(part.region, partial(proofs, entries=entries, exported=exported))
        return {f"regions/{part.region}/{name}": content for name, content in found.items()}

    async def _stamps(self, story: Story, files: Mapping[str, bytes]) -> dict[str, bytes]:
        """A time stamp of each checkpoint, where there is an authority that answers."""
        notes = [files[f"regions/{part.region}/checkpoint.txt"].decode() for part in story.parts]
        asked = (self._stamp(part.region, note) for part, note in zip(story.parts, notes, strict=True))
        tokens = zip(story.parts, await asyncio.gather(*asked), strict=True)
        return {f"regions/{part.region}/timestamp.tsr": token for part, token in tokens if token is not None}


def _find(reader: Reader, keys: Sequence[CallKey], *, opened: bool) -> _Found:
    """Runs on the reader thread."""
    known = [key for key in keys if reader.has_call(key)]
    boxes = {name: box for key in known for name, box in reader.presences(key).items()} if opened else None
    lines = call_lines(reader, known)
    return _Found(lines, boxes, named_regions(leaf for _, leaf in lines))


def _events(reader: Reader, digests: Sequence[bytes]) -> list[tuple[int, bytes]]:
    """The entries of these events that stand in this region. Runs on the reader thread."""
    found = (reader.event_entry(digest) for digest in digests)
    return [each for each in found if each is not None]


def _tell(
    key: CallKey, found: Mapping[str, _Found], origins: Mapping[str, str], at: datetime, level: Level | None
) -> Story:
    """Runs on a thread of its own."""
    stored = {region: gathered(each.lines, {}) for region, each in found.items()}
    parts = [
        Part(region, origins[region], each.boxes is not None, stored[region].facts, tuple(each.lines), _people(each))
        for region, each in found.items()
    ]
    return tell(key, parts, homes_of(stored), at, level)


def _with_events(story: Story, events: Mapping[str, Sequence[tuple[int, bytes]]]) -> Story:
    """Runs on a thread of its own."""
    parts = [replace(part, lines=tuple(sorted({*part.lines, *events[part.region]}))) for part in story.parts]
    return replace(story, parts=tuple(parts))


def _people(found: _Found) -> dict[str, Opening]:
    boxes = {name: open_box(box) for name, box in (found.boxes or {}).items()}
    return {name: Opening(box.participant, box.name, box.salt) for name, box in boxes.items() if box is not None}


def _covers(part: Part, calls: Sequence[str]) -> list[dict[str, object]]:
    """How many entries of each call this region has: all of them are in the pack. Runs on a thread of its own."""
    about = Counter(decode(leaf).get("call") for _, leaf in part.lines)
    return [{"call": call, "entries": about[call]} for call in calls]


def _leaf(story: Story, call: str, manifest: str, covers: Sequence[Mapping[str, object]]) -> bytes:
    return canonical(
        {
            "kind": "evidence.exported",
            "at": rfc3339(story.at),
            "organization": story.key.organization,
            "call": call,
            "manifest": manifest,
            "regions": [part.region for part in story.parts if part.opened],
            "covers": list(covers),
        }
    )


def _resolve(entries: asyncio.Future[list[int]], commit: Commit) -> None:
    if not entries.done():
        entries.set_result(commit.results[:-1])


def proofs(reader: Reader, entries: Sequence[int], exported: Sequence[int]) -> dict[str, bytes]:
    """The files of one region that lead from these entries to its checkpoint, all of one snapshot.

    `exported` are the entries of the export. Runs on the reader thread; raises `NotDurable` where no checkpoint covers
    them yet.
    """
    newest, leaves = reader.checkpoint(), reader.entries(exported[0], len(exported))
    if newest is None or newest[0] <= exported[-1]:
        raise NotDurable("the checkpoint is not written yet")
    size = newest[0]
    # As it was signed: who vouches for it meanwhile is a matter of chance, and no part of the evidence.
    note = reader.checkpoint_of(size) or ""
    node = reader.tiles().node
    rows = [
        {"hashes": [base64.b64encode(each).decode() for each in inclusion_path(entry, size, node)], "index": entry}
        for entry in (*entries, *exported)
    ]
    return {
        "export.jsonl": b"".join(leaf + b"\n" for leaf in leaves),
        "proofs.jsonl": records.lines(rows),
        "checkpoint.txt": note.encode(),
    }
