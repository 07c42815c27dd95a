"""A call as its entries tell it: who was in it and from when to when, what was told, and who proved what.

Rules: written from the rules of docs/ledger.md and not from the gateway's code, so that each checks the other; nobody
is named, a person is known by its presences; entries are told one by one in the order in which they hold (see `order`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from storage.audit import entries
from storage.audit.entries import Entry, Fact

ENDINGS = frozenset({"stopped", "failed"})
"""Changes that end their episode."""
CONSENTS = frozenset({"consented", "declined", "withdrawn"})


@dataclass(slots=True, eq=False)
class Presence:
    """Somebody in the call. `gone_at`: when the last session was lost, None while one is here."""

    id: str
    who: str
    since: datetime
    owes: bool
    reached: bool = False
    sessions: set[str] = field(default_factory=set)
    gone_at: datetime | None = None
    closed_at: datetime | None = None
    closed_reason: str | None = None

    def take_part(self, at: datetime) -> None:
        """Who only observed owes what is on from now on."""
        if not self.owes:
            self.owes, self.since = True, at

    def absorb(self, part: Presence) -> None:
        """`part` is the same person in the same call."""
        self.since = min(self.since, part.since)
        self.owes = self.owes or part.owes
        self.reached = self.reached or part.reached
        self.sessions |= part.sessions
        lost = [each.gone_at for each in (self, part) if each.gone_at is not None]
        self.gone_at = None if self.sessions else max(lost, default=None)


@dataclass(frozen=True, slots=True)
class Proof:
    """A level that was confirmed, and the entry that says so."""

    level: str
    at: datetime
    region: str
    number: int


@dataclass(slots=True, eq=False)
class Notice:
    """What everyone had to be told, with what is proved of it: person to levels, presence to when it was sent."""

    fact: entries.Issued
    said: dict[str, list[Proof]] = field(default_factory=dict)
    sent: dict[str, Proof] = field(default_factory=dict)

    @property
    def ends(self) -> bool:
        """Whether it ends its episode."""
        return self.fact.change in ENDINGS


@dataclass(slots=True, eq=False)
class Episode:
    """One run of a capability."""

    id: str
    capability: str
    started_at: datetime
    ended_at: datetime | None = None


@dataclass(slots=True, eq=False)
class Call:
    """One call until it becomes part of another: its notices and episodes in order, and which episode of each
    capability is on."""

    presences: dict[str, Presence] = field(default_factory=dict)
    episodes: list[Episode] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    running: dict[str, Episode] = field(default_factory=dict)


class Meeting:
    """A call and all that became part of it."""

    def __init__(self, call: str) -> None:
        self._main = Call()
        self._calls: dict[str, Call] = {call: self._main}
        """By id; one that became part of another leads to that."""
        self._same: dict[str, str] = {}
        self._told: dict[str, Notice] = {}
        self._episodes: dict[str, Episode] = {}
        self._known: dict[str, Presence] = {}
        """Presences by id; one that became part of another leads to that."""
        self.clock: datetime | None = None
        """The time of the newest entry that counts."""

    @property
    def notices(self) -> list[Notice]:
        """The notices of the call, in order: by revision, those of a merged call among them by time."""
        return self._main.notices

    @property
    def episodes(self) -> list[Episode]:
        """The episodes of the call, in order."""
        return self._main.episodes

    @property
    def presences(self) -> list[Presence]:
        """Who was in the call."""
        return list(self._main.presences.values())

    def episode(self, notice: Notice) -> Episode:
        """The episode that the notice is of."""
        return self._episodes[notice.fact.episode]

    def find(self, presence: str) -> Presence | None:
        """The presence with this id, or that it became part of, of whatever call."""
        return self._known.get(presence)

    def name(self, who: str) -> str:
        """By which name a person goes since calls were merged."""
        while who in self._same:
            who = self._same[who]
        return who

    def add(self, entry: Entry) -> None:
        """The next entry that counts."""
        fact = entry.fact
        if fact is None:
            return
        self.clock = fact.at if self.clock is None else max(self.clock, fact.at)
        self._take(self._calls.setdefault(fact.call, Call()), fact, entry)

    def _take(self, call: Call, fact: Fact, entry: Entry) -> None:
        """What nothing told of before is passed over: it proves nothing, and removed entries show by their count."""
        match fact:
            case entries.Issued():
                self._issue(call, fact)
            case entries.CallEnded():
                for episode in call.running.values():
                    _end(episode, fact.at)
                call.running.clear()
            case entries.Changed() if fact.state == "inactive":
                _end(call.running.pop(fact.capability, None), fact.at)
            case entries.CallMerged():
                self._merge(call, fact)
            case entries.Entered():
                owes = fact.role == "participant"
                presence = self._known[fact.presence] = Presence(fact.presence, fact.who, fact.at, owes)
                call.presences[fact.presence] = presence
            case entries.Sent():
                self._send(fact, Proof("sent", fact.at, entry.region, entry.number))
            case entries.Proved() | entries.ProvedTogether():
                self._prove(fact, Proof(fact.level, fact.at, entry.region, entry.number))
            case _:
                _attend(self._known, fact)

    def _issue(self, call: Call, fact: entries.Issued) -> None:
        if fact.notice in self._told:
            return
        notice = self._told[fact.notice] = Notice(fact)
        call.notices.append(notice)
        episode = self._episodes.get(fact.episode)
        if episode is None:
            episode = self._episodes[fact.episode] = Episode(fact.episode, fact.capability, fact.at)
            call.episodes.append(episode)
        if fact.change == "started":
            call.running[fact.capability] = episode
        elif notice.ends:
            _end(episode, fact.at)
            call.running.pop(fact.capability, None)

    def _send(self, fact: entries.Sent, proof: Proof) -> None:
        presences = [self._known[each].id for each in fact.presences if each in self._known]
        for notice in fact.notices:
            if notice in self._told:
                for presence in presences:
                    self._told[notice].sent.setdefault(presence, proof)

    def _prove(self, fact: entries.Proved | entries.ProvedTogether, proof: Proof) -> None:
        notice = self._told.get(fact.notice)
        if notice is None:
            return
        for word in fact.proofs:
            presence = self._known.get(word.presence)
            if presence is not None:
                notice.said.setdefault(self.name(presence.who), []).append(proof)

    def _merge(self, call: Call, fact: entries.CallMerged) -> None:
        source = self._calls.get(fact.source)
        if source is None or source is call:
            return
        for name, each in self._calls.items():
            if each is source:
                self._calls[name] = call
        call.presences |= source.presences
        self._join_people(call, source, fact)
        call.notices = sorted([*source.notices, *call.notices], key=lambda notice: notice.fact.at)
        call.episodes = sorted([*source.episodes, *call.episodes], key=lambda episode: episode.started_at)
        for capability, theirs in source.running.items():
            ours = call.running.setdefault(capability, theirs)
            if ours is not theirs:
                # Everyone was told of one of them: the one that began first goes on.
                kept, other = (theirs, ours) if theirs.started_at < ours.started_at else (ours, theirs)
                call.running[capability] = kept
                _end(other, fact.at)

    def _join_people(self, call: Call, source: Call, fact: entries.CallMerged) -> None:
        for there, here in fact.same:
            theirs, ours = self.name(there), self.name(here)
            if theirs != ours:
                self._same[theirs] = ours
                for notice in source.notices:
                    _rename(notice, theirs, ours)
        for part, whole in fact.united:
            other, kept = self._known.get(part), self._known.get(whole)
            if other is None or kept is None or other is kept:
                continue
            kept.absorb(other)
            for notice in self._told.values():
                if other.id in notice.sent:
                    notice.sent.setdefault(kept.id, notice.sent.pop(other.id))
            call.presences.pop(other.id, None)
            self._known.update({name: kept for name, each in self._known.items() if each is other})


def _end(episode: Episode | None, at: datetime) -> None:
    if episode is not None and episode.ended_at is None:
        episode.ended_at = at


def _rename(notice: Notice, theirs: str, ours: str) -> None:
    said = notice.said.pop(theirs, [])
    if said:
        notice.said[ours] = said


def _attend(presences: Mapping[str, Presence], fact: Fact) -> None:
    presence = presences.get(getattr(fact, "presence", ""))
    if presence is None:
        return
    match fact:
        case entries.Listed():
            if fact.listed and not presence.reached:
                presence.take_part(fact.at)
        case entries.Joined():
            if fact.role == "participant":
                presence.take_part(fact.at)
            presence.sessions.add(fact.session)
            presence.reached, presence.gone_at = True, None
        case entries.Lost():
            presence.sessions.discard(fact.session)
            if not presence.sessions and presence.closed_at is None:
                presence.gone_at = fact.at
        case entries.Closed():
            presence.closed_at, presence.closed_reason = fact.at, fact.reason
            presence.sessions.clear()
