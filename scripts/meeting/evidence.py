"""The evidence: what the gateway says and holds after the meeting, gathered once for the figures and the report.

Rules: read only, but for what `keeping` does; times are aware UTC; a person's presences are found through the ledger
entries of the sessions that their client had.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Final

from .cast import RESOURCES, Person
from .control import Answer, Control
from .keeping import Keeping, keep
from .narrator import Narrator
from .processes import Observation
from .story import CALL, Meeting

RANKS: Final = ("received", "displayed", "acknowledged")


@dataclass(frozen=True, slots=True)
class Telling:
    """How one person was told one thing: how long after they could be told, what is proved, by which entry."""

    after: timedelta
    level: str
    entry: int


@dataclass(frozen=True)
class Evidence:
    """Everything to judge the meeting by; `coverage` is from before the erasure, `ledgers` are from after it."""

    people: Sequence[Person]
    seen: Sequence[Observation]
    heard: Mapping[str, object]
    call: Answer
    coverage: Sequence[Answer]
    ledgers: Mapping[str, Sequence[Answer]]
    named_in_ledgers: int
    keeping: Keeping

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
        opened_at = {entry["presence"]: moment(entry["at"]) for entry in self._entries("presence.opened")}
        issued_at = {notice["notice"]: moment(notice["issued_at"]) for notice in self.coverage}
        told: dict[tuple[str, str], Telling] = {}
        for each in self.seen:
            best = self._best_receipt(each["name"], each["notice"]) if each["saw"] == "notice" else None
            if best is not None and each["notice"] in issued_at:
                came_at = [opened_at[presence] for presence in self._provers(best) & self.presences[each["name"]]]
                since = max(issued_at[each["notice"]], *came_at)
                after = moment(each["here_at"]) - since
                told.setdefault((each["name"], each["notice"]), Telling(after, best["level"], best["entry"]))
        return told

    @cached_property
    def presences(self) -> dict[str, set[str]]:
        """Person's name to presences."""
        joined = {entry["session"]: str(entry["presence"]) for entry in self._entries("session.joined")}
        found: dict[str, set[str]] = {}
        for each in self.seen:
            if each.get("session") in joined:
                found.setdefault(each["name"], set()).add(joined[each["session"]])
        return found

    def _entries(self, kind: str) -> list[Answer]:
        return [entry for entries in self.ledgers.values() for entry in entries if entry["kind"] == kind]

    def _provers(self, receipt: Observation) -> set[str]:
        """The presences whose level the receipt's entry has: of this person's and of all who said so with them."""
        entries = self.ledgers[self.regions[receipt["name"]]]
        entry = entries[receipt["entry"]] if receipt["entry"] < len(entries) else {}
        if any(entry.get(field) != receipt[field] for field in ("notice", "level")):
            return set()
        return {str(proof[0]) for proof in entry.get("proofs", ())} or {str(entry["presence"])}

    def _best_receipt(self, name: str, notice: str) -> Observation | None:
        receipts = [
            each for each in self.seen if each["saw"] == "receipt" and (each["name"], each["notice"]) == (name, notice)
        ]
        return max(receipts, key=lambda each: RANKS.index(each["level"]), default=None)

    @cached_property
    def certificates(self) -> list[tuple[str, int, Answer]]:
        """Every certificate of a deletion: its region, its number in that ledger, and the entry."""
        return [
            (region, number, entry)
            for region, entries in self.ledgers.items()
            for number, entry in enumerate(entries)
            if entry["kind"] == "retention.certificate"
        ]

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
        receipts = [each for each in self.seen if each["saw"] == "receipt"]
        return sum(not self._provers(each).isdisjoint(self.presences[each["name"]]) for each in receipts)


def messages_of(certificate: Answer) -> int:
    """How many messages went by what a certificate says."""
    return int(certificate["count"] if certificate["class"] == "message" else certificate["messages"])


def deciders(certificate: Answer) -> str:
    """Which policies decided on a deletion, by which principle; nothing did on an erasure."""
    return "; ".join(f"{', '.join(each['policies'])}: {each['principle']}" for each in certificate.get("decided", ()))


def moment(text: str) -> datetime:
    """A time of the wire."""
    return datetime.fromisoformat(text)


async def gather(meeting: Meeting, control: Control, narrator: Narrator, home: Path) -> Evidence:
    """Ask how the call stands, see to the messages, and read what the ledgers say of it all. Raises DemoFailed."""
    call, coverage = await control.call(CALL), await control.coverage(CALL)
    kept = await keep(meeting.people, control, narrator, home)
    leaves = "\n".join([leaf for region in RESOURCES for leaf in await control.leaves(region)])
    return Evidence(
        people=meeting.people,
        seen=tuple(meeting.seen),
        heard=dict(meeting.heard),
        call=call,
        coverage=coverage,
        ledgers={region: await control.entries(region) for region in RESOURCES},
        named_in_ledgers=sum(each.participant in leaves for each in meeting.people),
        keeping=kept,
    )
