"""A call over two regions, driven by hand, with the entries a gateway would write of it: what a pack is made from.

Rules: facts are decided by the core and written by the journal, as in a gateway; only the ledger's numbers and stamps
are made here, in the order of writing.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from gateway.core import attendance, delivery, facts, fold, merging, observing
from gateway.core.call import Call, Policy
from gateway.core.catalogue import digests
from gateway.core.effects import Record
from gateway.core.fusion import Claim
from gateway.core.step import Step
from gateway.core.types import CallKey, Capability, Level, Person, Role, State
from gateway.evidence.contents import contents
from gateway.evidence.story import Opening, Part, Story, tell
from gateway.hub.entries import facts_of, open_box
from gateway.hub.journal import Ink, Scribe, to_entry
from storage.entry import canonical, decode
from storage.operations import Append, SealPresence
from tests.core.meeting import Ids
from tests.levels import levels_entry

T0 = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)
KEY = CallKey("contoso", "standup")
EUROPE = "11111111-1111-1111-1111-111111111111"
STATES = "22222222-2222-2222-2222-222222222222"
REGIONS = {EUROPE: "europe", STATES: "unitedstates"}
RECORDING, TRANSCRIPTION = Capability.RECORDING, Capability.TRANSCRIPTION
EVERYTHING = tuple(REGIONS.values())


def raw_id(user: str, resource: str = EUROPE) -> str:
    """The raw id of a user."""
    return f"8:acs:{resource}_{user}"


def region_of(participant: str) -> str:
    """Where a participant's data lives."""
    return REGIONS[participant.split(":")[2].partition("_")[0]]


class Books:
    """The ledgers of the regions, and the boxes: what is on disk."""

    def __init__(self) -> None:
        self.ledgers: dict[str, list[tuple[CallKey | None, bytes]]] = {name: [] for name in REGIONS.values()}
        self.boxes: dict[str, dict[str, bytes]] = {name: {} for name in REGIONS.values()}
        self._ahead: Counter[tuple[str, CallKey]] = Counter()

    def append(self, region: str, leaf: bytes, call: CallKey | None) -> int:
        """Write an entry with the stamps that a ledger puts in front."""
        ledger = self.ledgers[region]
        stamps: dict[str, Any] = {"after_us": 7}
        if call is not None:
            stamps["ahead"] = self._ahead[region, call]
            self._ahead[region, call] += 1
        front = canonical(stamps)[:-1]
        ledger.append((call, front + b"," + leaf[1:]))
        return len(ledger) - 1

    def event(self, digest: str, region: str = "europe") -> None:
        """The entry of an event."""
        self.append(region, canonical({"kind": "event", "digest": digest, "at": "2026-11-23T14:00:00.000Z"}), None)

    def erase(self, participant: str, at: datetime) -> list[facts.PresencesErased]:
        """What storage does: every box of the person goes, and each call's ledger says whose they were."""
        region = region_of(participant)
        people = {name: open_box(box) for name, box in self.boxes[region].items()}
        gone = {name for name, person in people.items() if person is not None and person.participant == participant}
        calls: dict[CallKey, list[str]] = {}
        for call, leaf in self.ledgers[region]:
            fields = decode(leaf)
            if call is not None and fields["kind"] == "presence.opened" and fields["presence"] in gone:
                calls.setdefault(call, []).append(fields["presence"])
        for name in gone:
            del self.boxes[region][name]
        told = []
        for call, names in calls.items():
            told.append(facts.PresencesErased(call=call, at=at, region=region, presences=tuple(names)))
            self.append(region, to_entry(told[-1], Ink()), call)
        return told


class World:
    """One call and its ink."""

    def __init__(self, key: CallKey = KEY, ids: Ids | None = None, books: Books | None = None) -> None:
        self.key = key
        self.ids = ids or Ids()
        self.books = books or Books()
        self.call = Call(key, Policy())
        self.ink = Ink({"europe": None})
        self.scribe = Scribe(lambda count: sha256(self.ids("salt").encode()).digest()[:count])
        self.now = T0
        self.parts = [self.call.key]

    # Time

    def at(self, seconds: float) -> None:
        """Let time pass, and do what is due."""
        target = T0 + timedelta(seconds=seconds)
        while self.call.wakes and self.call.wakes[0][0] <= target:
            self.now = max(self.now, self.call.wakes[0][0])
            step = self.step()
            while self.call.wakes and self.call.wakes[0][0] <= self.now:
                _, _, what, subject = heapq.heappop(self.call.wakes)
                match what:
                    case "fuse":
                        observing.settle(step, Capability(subject), digests)
                    case "notice":
                        delivery.remind_of_notice(step, subject)
                    case "presence":
                        delivery.remind_presence(step, subject)
                    case _:
                        attendance.wake(step, what, subject, digests)
            self.perform(step)
        self.now = target

    def step(self) -> Step:
        """Begin to decide."""
        return Step(self.call, self.now, self.ids)

    def perform(self, step: Step) -> None:
        """Write what the step recorded where it belongs."""
        recorded = [effect.fact for effect in step.effects if isinstance(effect, Record)]
        for fact in recorded:
            region = getattr(fact, "region", None)
            if isinstance(fact, facts.PresenceOpened) and region not in self.ink.regions:
                told = [facts.CallOpened(call=self.key, at=self.call.opened_at or self.now)]
                known = [notice.fact for notice in self.call.open_notices() if notice.fact not in recorded]
                self._write({fact.region: self.scribe.enter(self.ink, fact.region, [*told, *known])})
                self._write({str(self.ink.home): [self.scribe.spread(fact)]})
        self._write(self.scribe.write(self.ink, recorded))

    def _write(self, batches: Mapping[str, Iterable[tuple[Any, Any]]]) -> None:
        for region, written in batches.items():
            for operation, _ in written:
                if isinstance(operation, Append):
                    assert operation.call is not None
                    self.books.append(region, operation.leaf, CallKey(*operation.call))
                if isinstance(operation, SealPresence):
                    self.books.boxes[region][operation.presence] = operation.box

    # What happens

    def join(self, user: str, resource: str = EUROPE, *, session: str | None = None, **more: Any) -> str:
        """A session of somebody joins; their presence."""
        step, participant = self.step(), raw_id(user, resource)
        joining = attendance.Joining(
            session or f"s_{user}",
            participant,
            region_of(participant),
            more.get("role", Role.PARTICIPANT),
            more.get("name"),
            more.get("device", "phone"),
        )
        presence = attendance.join(step, joining)
        self.perform(step)
        return presence.id

    def lose(self, user: str, resource: str = EUROPE, reason: str = "left", session: str | None = None) -> None:
        """A session of somebody is gone."""
        step = self.step()
        attendance.lose(step, session or f"s_{user}", raw_id(user, resource), reason)
        self.perform(step)

    def report(self, user: str, resource: str = EUROPE) -> None:
        """An event says that somebody is there."""
        step = self.step()
        attendance.report(step, Person(raw_id(user, resource)), present=True, occurred_at=self.now, region_of=region_of)
        self.perform(step)

    def claim(
        self,
        state: State,
        capability: Capability = RECORDING,
        source: str = "call_automation/82f3e9c695dc6b8d",
        event: str | None = None,
    ) -> None:
        """An authority says what is on."""
        step = self.step()
        claim = Claim(source, state, True, step.now, event=event)
        observing.observe(step, capability, claim, digests)
        self.perform(step)

    def prove(
        self, user: str, level: Level, resource: str = EUROPE, notice: str | None = None, locale: str = "en"
    ) -> None:
        """Somebody's client confirms a level of the last notice, or of another."""
        step = self.step()
        self._prove(step, user, resource, level, notice, locale)
        self.perform(step)

    def prove_at_once(self, level: Level, *people: tuple[str, str]) -> None:
        """The clients of these people confirm a level of the last notice in one turn: one entry in each region."""
        step = self.step()
        for user, resource in people:
            self._prove(step, user, resource, level, None, "en")
        proved = [effect.fact for effect in step.effects if isinstance(effect, Record)]
        for region in REGIONS.values():
            here = [fact for fact in proved if isinstance(fact, facts.LevelProved) and fact.region == region]
            if here:
                self.books.append(region, levels_entry(here, self.ink), self.key)

    def _prove(self, step: Step, user: str, resource: str, level: Level, notice: str | None, locale: str) -> None:
        presence = self.call.latest[raw_id(user, resource)]
        which = self.call.notices[notice or list(self.call.notices)[-1]]
        shown = None if level in (Level.SENT, Level.RECEIVED) else which.fact.digests[locale]
        proved = facts.LevelProved(
            call=self.key,
            at=step.now,
            presence=presence.id,
            region=presence.region,
            notice=which.id,
            level=level,
            reported_at=step.now,
            session=f"s_{user}",
            device="phone",
            digest=shown,
        )
        if delivery.standing(which, level)(presence.who) is None:
            step.record(proved)

    def sent(self, *users: tuple[str, str]) -> None:
        """The last notice was written to these people's sockets."""
        step = self.step()
        notice = list(self.call.notices)[-1]
        by_region: dict[str, list[str]] = {}
        for user, resource in users:
            presence = self.call.latest[raw_id(user, resource)]
            by_region.setdefault(presence.region, []).append(presence.id)
        for region, presences in by_region.items():
            sent = facts.NoticesSent(
                call=self.key, at=step.now, region=region, notices=(notice,), presences=tuple(presences)
            )
            step.record(sent)
        self.perform(step)

    def erase(self, user: str, resource: str = EUROPE) -> None:
        """Somebody is erased, in every call."""
        for fact in self.books.erase(raw_id(user, resource), self.now):
            if fact.call in self.parts:
                fold.apply(self.call, fact)

    def end(self) -> None:
        """The call is over."""
        step = self.step()
        observing.end(step, "ended", self.now, digests)
        self.perform(step)

    def merge(self, source: World) -> None:
        """The other call turns out to be this one."""
        step = self.step()
        merging.merge(step, source.call)
        for region in source.ink.regions:
            self.ink.regions.setdefault(region)
        self.ink.salts.update(source.ink.salts)
        self.parts += source.parts
        self.perform(step)

    # What a pack is made from

    def part(self, region: str, *, opened: bool, events: Iterable[str] = ()) -> Part:
        """What one region's ledger has of the call."""
        lines, recorded = [], []
        for entry, (call, leaf) in enumerate(self.books.ledgers[region]):
            if call in self.parts or any(event.encode() in leaf for event in events):
                lines.append((entry, leaf))
                recorded += [(fact, entry) for fact in facts_of(leaf, {})]
        people = {}
        for presence, box in self.books.boxes[region].items():
            person = open_box(box)
            if opened and person is not None:
                people[presence] = Opening(person.participant, person.name, person.salt)
        return Part(region, f"gateway/{region}", opened, tuple(recorded), tuple(lines), people)

    def story(self, opened: Iterable[str] = EVERYTHING, level: Level | None = None, at: float | None = None) -> Story:
        """The story as a pack tells it."""
        made_at = self.now if at is None else T0 + timedelta(seconds=at)
        wanted = set(opened)
        parts = [self.part(region, opened=region in wanted) for region in REGIONS.values()]
        parts = [part for part in parts if part.lines]
        homes = dict.fromkeys(self.parts, "europe")
        return tell(self.key, parts, homes, made_at, level)

    def files(self, opened: Iterable[str] = EVERYTHING, level: Level | None = None) -> dict[str, bytes]:
        """The files of the pack."""
        return contents(self.story(opened, level))
