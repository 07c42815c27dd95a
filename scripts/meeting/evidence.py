"""The evidence: what the gateway says and holds after the meeting, gathered once for the figures and the report.

Rules: read only, but for the sweeps; times are aware UTC; a person's presence is found through the ledger entries of
the receipts that their client was given.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Final

from storage.residue import scan

from .cast import RESOURCES, Part, Person
from .chat import LINES, TEXTS
from .control import Answer, Control
from .processes import Observation
from .story import CALL, Meeting

LATER: Final = timedelta(days=31)
"""How much later the second sweep thinks it is."""
RANKS: Final = ("received", "displayed", "acknowledged")


@dataclass(frozen=True, slots=True)
class Telling:
    """How one person was told one thing: how long after they could be told, what is proved, by which entry."""

    after: timedelta
    level: str
    entry: int


@dataclass(frozen=True)
class Evidence:
    """Everything to judge the meeting by. `before` and `after` the sweep of `later_at`; `None` is no message."""

    people: Sequence[Person]
    seen: Sequence[Observation]
    heard: Mapping[str, object]
    call: Answer
    coverage: Sequence[Answer]
    ledgers: Mapping[str, Sequence[Answer]]
    named_in_ledgers: int
    before: Mapping[str, Answer | None]
    after: Mapping[str, Answer | None]
    readable_before: int
    readable_after: int
    swept_now: Answer
    swept_later: Answer
    later_at: datetime

    def name(self, participant: str | None) -> str:
        """Whose raw id this is."""
        return next((each.name for each in self.people if each.participant == participant), "(erased)")

    @cached_property
    def regions(self) -> dict[str, str]:
        """Person's name to region."""
        return {each.name: each.region for each in self.people}

    @cached_property
    def told(self) -> dict[tuple[str, str], Telling]:
        """How each person was told each notice, by name and notice."""
        opened_at = {
            entry["presence"]: moment(entry["at"])
            for entries in self.ledgers.values()
            for entry in entries
            if entry["kind"] == "presence.opened"
        }
        issued_at = {notice["notice"]: moment(notice["issued_at"]) for notice in self.coverage}
        told: dict[tuple[str, str], Telling] = {}
        for each in self.seen:
            best = self._best_receipt(each["name"], each["notice"]) if each["saw"] == "notice" else None
            if best is not None and each["notice"] in issued_at:
                entry = self.ledgers[self.regions[each["name"]]][best["entry"]]
                since = max(
                    issued_at[each["notice"]], opened_at.get(entry.get("presence"), datetime.min.replace(tzinfo=UTC))
                )
                after = moment(each["here_at"]) - since
                told.setdefault((each["name"], each["notice"]), Telling(after, best["level"], best["entry"]))
        return told

    def _best_receipt(self, name: str, notice: str) -> Observation | None:
        receipts = [
            each for each in self.seen if each["saw"] == "receipt" and (each["name"], each["notice"]) == (name, notice)
        ]
        return max(receipts, key=lambda each: RANKS.index(each["level"]), default=None)

    @cached_property
    def certificates(self) -> dict[str, tuple[int, Answer]]:
        """Region to the number and the text of the last sweep's certificate."""
        numbers = {region: swept["certificates"] for region, swept in self.swept_later["regions"].items()}
        return {region: (each[-1], self.ledgers[region][each[-1]]) for region, each in numbers.items() if each}

    def overdue(self, name: str) -> int:
        """How many notices the ledgers record as overdue for somebody who has a gap."""
        presences = {
            gap["presence"]
            for notice in self.coverage
            for gap in notice["gaps"]
            if self.name(gap["participant"]) == name
        }
        entries = self.ledgers[self.regions[name]]
        return sum(len(presences.intersection(each["presences"])) for each in entries if each["kind"] == "overdue")

    def receipts_in_ledger(self) -> int:
        """How many of the receipts that clients saw are in the ledger under their number, as what they say."""
        return sum(self._holds(each) for each in self.seen if each["saw"] == "receipt")

    def _holds(self, receipt: Observation) -> bool:
        entries = self.ledgers[self.regions[receipt["name"]]]
        entry = entries[receipt["entry"]] if receipt["entry"] < len(entries) else {}
        return all(entry.get(field) == receipt[field] for field in ("notice", "level"))


def moment(text: str) -> datetime:
    """A time of the wire."""
    return datetime.fromisoformat(text)


async def gather(meeting: Meeting, control: Control, data: Path) -> Evidence:
    """Ask for everything, sweep now and as if 31 days later, and ask again. Raises DemoFailed."""
    call, coverage = await control.call(CALL), await control.coverage(CALL)
    before, readable_before = await _messages(meeting.people, control), await _readable(meeting.people, data)
    swept_now = await control.sweep()
    later_at = datetime.now(UTC) + LATER
    swept_later = await control.sweep(later_at)
    after, readable_after = await _messages(meeting.people, control), await _readable(meeting.people, data)
    leaves = "\n".join([leaf for region in RESOURCES for leaf in await control.leaves(region)])
    return Evidence(
        people=meeting.people,
        seen=tuple(meeting.seen),
        heard=dict(meeting.heard),
        call=call,
        coverage=coverage,
        ledgers={region: await control.entries(region) for region in RESOURCES},
        named_in_ledgers=sum(each.participant in leaves for each in meeting.people),
        before=before,
        after=after,
        readable_before=readable_before,
        readable_after=readable_after,
        swept_now=swept_now,
        swept_later=swept_later,
        later_at=later_at,
    )


async def _messages(people: Sequence[Person], control: Control) -> dict[str, Answer | None]:
    writing = dict.fromkeys(line.name for line in LINES)
    return {each.name: await control.message(each.participant) for each in people if each.name in writing}


async def _readable(people: Sequence[Person], data: Path) -> int:
    """How many texts and raw ids can be found in the data directory, in clear, base64, hex or JSON-escaped."""
    needles = [text.encode() for text in TEXTS]
    needles += [each.participant.encode() for each in people if each.part is not Part.UNREACHED]
    return len({hit.needle for hit in await asyncio.to_thread(scan, data, needles)})
