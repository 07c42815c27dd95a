"""Meetings that write ledgers, region by region, as a gateway writes them; and what two readers make of these."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from gateway.core import facts, fold
from gateway.core.call import Call, Policy
from gateway.core.coverage import standings
from gateway.core.delivery import required
from gateway.core.effects import Record
from gateway.core.step import Step
from gateway.core.types import CallKey, Level, rfc3339
from gateway.hub.entries import facts_of
from gateway.hub.journal import Box, Ink, Scribe, Written, to_entry
from gateway.hub.live import LiveCall
from gateway.hub.recollection import StoredCall, gathered
from gateway.hub.registry import restore
from storage.audit import entries
from storage.audit.coverage import covered
from storage.audit.order import told
from storage.operations import Append
from storage.operations import Call as Named
from tests.core.meeting import Ids, Meeting
from tests.levels import levels_entry

HOMES = {"ann": "europe", "bob": "states", "cyd": "europe", "dan": "asia", "eve": "states", "fay": "asia"}
NEVER = datetime(2026, 1, 1, tzinfo=UTC)


def region_of(participant: str) -> str:
    """Where somebody lives."""
    return HOMES[participant.rpartition("_")[2]]


class Ledgers:
    """The lines of every region, each with the call it is about; and the boxes of all people."""

    def __init__(self) -> None:
        self.lines: dict[str, list[tuple[bytes, Named | None]]] = {}
        self.boxes: dict[str, Box | None] = {}
        self.merged: dict[Named, Named] = {}
        self._ahead: dict[tuple[str, Named], int] = {}
        self._salts = 0

    def salt(self, count: int) -> bytes:
        """Random enough for a test, and the same in every run."""
        self._salts += 1
        return self._salts.to_bytes(count, "big")

    def append(self, region: str, leaf: bytes, call: Named | None) -> int:
        """One more line, stamped as the writer does it; its number."""
        stamp = b'{"after_us":1,'
        if call is not None:
            ahead = self._ahead.get((region, call), 0)
            self._ahead[region, call] = ahead + 1
            stamp += b'"ahead":%d,' % ahead
        lines = self.lines.setdefault(region, [])
        lines.append((stamp + leaf[1:], call))
        return len(lines) - 1

    def erase(self, participant: str, at: datetime) -> list[facts.PresencesErased]:
        """Every box of a person goes, and the ledger of each call says whose they were, as storage does it."""
        gone = {name for name, box in self.boxes.items() if box is not None and box.participant == participant}
        region = region_of(participant)
        calls: dict[Named, list[str]] = {}
        for leaf, call in self.lines.get(region, ()):
            for fact in facts_of(leaf, {}):
                if call is not None and isinstance(fact, facts.PresenceOpened) and fact.presence in gone:
                    calls.setdefault(call, []).append(fact.presence)
        self.boxes.update(dict.fromkeys(gone))
        told = []
        for call, names in calls.items():
            told.append(facts.PresencesErased(call=CallKey(*call), at=at, region=region, presences=tuple(names)))
            self.append(region, to_entry(told[-1], Ink()), call)
        return told

    def family(self, call: Named) -> set[Named]:
        """A call and all that became part of it, directly or not."""
        parts = [source for source, target in self.merged.items() if target == call]
        return {call}.union(*map(self.family, parts))

    def about(self, region: str, family: set[Named]) -> list[tuple[int, bytes]]:
        """A region's lines about these calls."""
        return [(number, leaf) for number, (leaf, call) in enumerate(self.lines[region]) if call in family]

    def stored(self, call: CallKey) -> dict[str, StoredCall]:
        """What every region remembers of a call, as the gateway reads it."""
        family = self.family(call)
        found = {}
        for region in self.lines:
            lines = self.about(region, family)
            if lines:
                found[region] = gathered(lines, self.boxes)
        return found

    def entries(self, call: CallKey) -> dict[str, list[entries.Entry]]:
        """The same as a verifier reads it."""
        family = self.family(call)
        return {
            region: [entries.read(f"{region} {number}", region, number, leaf) for number, leaf in lines]
            for region in self.lines
            if (lines := self.about(region, family))
        }


class Writing(Meeting):
    """A call whose facts are written as they are recorded."""

    def __init__(self, ledgers: Ledgers, key: CallKey, home: str, ids: Ids, policy: Policy | None = None) -> None:
        super().__init__(key, policy, ids, region_of)
        self.ledgers = ledgers
        self.ink = Ink({home: None})
        self.together: Callable[[], bool] = lambda: False
        """Whether a level that is proved next is written with the others of its turn, or by itself."""
        self._scribe = Scribe(ledgers.salt)
        self._numbers: dict[int, int] = {}

    def perform(self, step: Step) -> None:
        """Write, then do the rest."""
        self.write([effect.fact for effect in step.effects if isinstance(effect, Record)])
        super().perform(step)

    def commit(self) -> None:
        """What is written is durable, as the entries it has in its own region's ledger."""
        for fact in self.waiting:
            fold.confirm(self.call, fact, self._numbers[id(fact)])
        self.waiting.clear()

    def write(self, recorded: list[facts.AnyFact]) -> None:
        """Write facts as `gateway.hub.interpreter` does."""
        shared = [fact for fact in recorded if isinstance(fact, facts.LevelProved) and self.together()]
        self._write_together(shared)
        recorded = [fact for fact in recorded if fact not in shared]
        batches: dict[str, list[Written]] = {}
        for fact in recorded:
            if isinstance(fact, facts.PresenceOpened) and fact.region not in self.ink.regions:
                batches[fact.region] = self._scribe.enter(self.ink, fact.region, self._known(recorded))
                batches.setdefault(str(self.ink.home), []).append(self._scribe.spread(fact))
        for region, written in self._scribe.write(self.ink, recorded).items():
            batches.setdefault(region, []).extend(written)
        for region, written in batches.items():
            for operation, counting in written:
                if isinstance(operation, Append):
                    number = self.ledgers.append(region, operation.leaf, operation.call)
                    if counting is not None:
                        self._numbers[id(counting)] = number
        for fact in recorded:
            if isinstance(fact, facts.PresenceOpened):
                salt = self.ink.salts[fact.presence].hex()
                self.ledgers.boxes[fact.presence] = Box(fact.participant or "", fact.name, salt)

    def _write_together(self, proved: list[facts.LevelProved]) -> None:
        turns: dict[tuple[str, ...], list[facts.LevelProved]] = {}
        for fact in proved:
            turns.setdefault((fact.region, fact.notice, fact.level), []).append(fact)
        for (region, *_), those in turns.items():
            number = self.ledgers.append(region, levels_entry(those, self.ink), self.call.key)
            self._numbers |= {id(fact): number for fact in those}

    def _known(self, recorded: list[facts.AnyFact]) -> list[facts.AnyFact]:
        told: list[facts.AnyFact] = []
        if not any(isinstance(fact, facts.CallOpened) for fact in recorded):
            told.append(facts.CallOpened(call=self.call.key, at=self.call.opened_at or NEVER))
        told += [fact for fact in self.call.mergers if fact not in recorded]
        return [*told, *(each.fact for each in self.call.open_notices() if each.fact not in recorded)]

    def take_in(self, source: Writing) -> None:
        """The other call turns out to be this one: regions and salts are shared from now on."""
        self.ink.regions.update(source.ink.regions)
        self.ink.salts.update(source.ink.salts)
        self.ledgers.merged[source.call.key] = self.call.key
        self.merge(source)

    def read_back(self) -> Call:
        """The call as another process finds it."""
        live = LiveCall(Call(self.call.key, self.call.policy), Ink(), NEVER)
        restore(live, self.ledgers.stored(self.call.key))
        return live.call


def said_by_gateway(call: Call, level: Level | None, now: datetime) -> dict[str, Any]:
    """What coverage.json must hold, by the gateway's own fold."""
    notices = []
    for notice in call.notices.values():
        asked = required(notice, level)
        gaps, proved = [], []
        for presence, proof, gap in standings(call, notice, asked, now):
            row: dict[str, Any] = {"presence": presence.id}
            if gap is not None:
                exposure_ms = gap.exposure // timedelta(milliseconds=1)
                gaps.append(row | {"reason": gap.reason.value, "since": rfc3339(gap.since), "exposure_ms": exposure_ms})
            elif proof is not None:
                proved.append(row | {"at": rfc3339(proof.at), "entry": proof.entry, "region": presence.region})
        notices.append(
            {
                "notice": notice.id,
                "level": asked.value,
                "owed": len(proved) + len(gaps),
                "proved": sorted(proved, key=lambda row: row["presence"]),
                "gaps": sorted(gaps, key=lambda row: row["presence"]),
            }
        )
    return {"at": rfc3339(now), "complete": not any(each["gaps"] for each in notices), "notices": notices}


def said_by_verifier(meeting: Writing, level: Level | None, now: datetime) -> dict[str, Any]:
    """The same by the verifier's."""
    key = meeting.call.key
    return covered(told(key.call, meeting.ledgers.entries(key)), None if level is None else level.value, now)
