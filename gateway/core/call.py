"""A call as live state: what the facts about it add up to.

Rules: facts alone change it (see `fold`), so that recovery is the normal path; nothing here decides (see
`observing`, `attendance` and `delivery`).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from gateway.core.facts import CallMerged
from gateway.core.fusion import Track
from gateway.core.presence import Presence
from gateway.core.proofs import PROVING, Notice, Proof, proved_at, provers
from gateway.core.types import CONSENT, CallKey, Capability, Level

BEGINNING: Final = datetime.min.replace(tzinfo=UTC)
"""Before everything."""
MOST_MISSED: Final = 10_000
"""How many are remembered who went before they were known to have come."""
AWAKENINGS: Final = 5
"""How often an overdue notice is sent again to those who still owe it, each time after twice the wait."""


@dataclass(slots=True, eq=False)
class Episode:
    """One run of a capability, from start to stop.

    While it lasts it knows what is owed of it: `notices` in order, and by person how many of these are `settled`, that
    is proved at the level that they owe.
    """

    id: str
    capability: Capability
    started_at: datetime
    ended_at: datetime | None = None
    notices: list[Notice] = field(default_factory=list)
    settled: dict[str, int] = field(default_factory=dict)

    def add(self, notice: Notice) -> None:
        """A notice of this episode that everyone there owes, with what is proved of it."""
        self.notices.append(notice)
        for who in provers(notice, notice.fact.require):
            self.settled[who] = self.settled.get(who, 0) + 1

    def settle(self, notice: Notice, who: str, level: Level) -> None:
        """A level of a notice of this episode is about to be proved; consent may be withdrawn, too."""
        owed = notice.fact.require
        if level in PROVING[owed]:
            if proved_at(notice, who, owed) is None:
                self.settled[who] = self.settled.get(who, 0) + 1
        elif level in CONSENT and proved_at(notice, who, owed) is not None and owed in CONSENT:
            self.settled[who] -= 1

    def owed_by(self, who: str) -> int:
        """How many notices somebody has not settled who is in the call and owes."""
        return len(self.notices) - self.settled.get(who, 0)


@dataclass(slots=True, eq=False)
class Policy:
    """What the operator configured about calls."""

    require: Level = Level.ACKNOWLEDGED
    deadline: timedelta = timedelta(seconds=10)
    absence: timedelta = timedelta(seconds=120)
    participants_observe: bool = True


class Onlooker(Protocol):
    """Who looks at a call piece by piece, and must see as it was whatever changes meanwhile."""

    def before(self, presence: Presence) -> None:
        """This presence is about to change, or what is sent to it."""

    def before_proof(self, presence: Presence) -> None:
        """What is proved by the person of this presence is about to change."""

    def before_confirmation(self, proofs: Iterable[Proof]) -> None:
        """These proofs are about to count as durable."""

    def before_everything(self) -> None:
        """Everybody is about to change."""


@dataclass(slots=True, eq=False)
class Call:
    """Everything known of one call. Owned by the loop.

    `presences` are all there ever were, by id, `inside` the open ones, `latest` the newest of each person, by raw id;
    `running` are the open episodes, `ends` the newest notice of each capability that ended one;
    `wakes` holds the moments at which time alone may act; `clock` is the time of its newest fact, behind which it
    never falls; `sources` are calls merged into this one by their id, or the call itself once they are; `mergers` are
    those mergers, and those of the calls before; `unserved` are regions that may know of it and are not served;
    `onlookers` are shown what is about to change (see `showing`).
    """

    key: CallKey
    policy: Policy
    revision: int = 0
    ended: bool = False
    opened_at: datetime | None = None
    ended_at: datetime | None = None
    tracks: dict[Capability, Track] = field(default_factory=lambda: {each: Track() for each in Capability})
    episodes: dict[str, Episode] = field(default_factory=dict)
    running: dict[str, Episode] = field(default_factory=dict)
    notices: dict[str, Notice] = field(default_factory=dict)
    ends: dict[Capability, Notice] = field(default_factory=dict)
    presences: dict[str, Presence] = field(default_factory=dict)
    inside: dict[str, Presence] = field(default_factory=dict)
    latest: dict[str, Presence] = field(default_factory=dict)
    missed: dict[str, datetime] = field(default_factory=dict)
    sequences: dict[str, int] = field(default_factory=dict)
    heard_of: dict[str, datetime] = field(default_factory=dict)
    others: int = 0
    mergers: list[CallMerged] = field(default_factory=list)
    wakes: list[tuple[datetime, int, str, str]] = field(default_factory=list)
    attempts: dict[str, int] = field(default_factory=dict)
    ticket: int = 0
    clock: datetime = BEGINNING
    sources: dict[str, Call] = field(default_factory=dict)
    unserved: set[str] = field(default_factory=set)
    onlookers: list[Onlooker] = field(default_factory=list)

    def wake(self, at: datetime, what: str, subject: str = "") -> None:
        """Ask to be looked at again at `at`."""
        self.ticket += 1
        heapq.heappush(self.wakes, (at, self.ticket, what, subject))

    def present(self, participant: str) -> Presence | None:
        """The open presence of a participant."""
        presence = self.latest.get(participant)
        return presence if presence is not None and presence.open else None

    def open_presences(self) -> list[Presence]:
        """Those in the call now, observers and those whom nobody can name any more included."""
        return list(self.inside.values())

    def forget(self, presence: Presence) -> None:
        """Nobody leads to an erased presence any more, once it is over: until then its sessions have to be heard."""
        if not presence.open:
            for participant in [name for name, each in self.latest.items() if each is presence]:
                del self.latest[participant]

    def open_notices(self) -> list[Notice]:
        """The notices of open episodes, oldest first."""
        found = [notice for episode in self.running.values() for notice in episode.notices]
        return (
            sorted(found, key=lambda notice: (notice.fact.at, notice.fact.revision)) if len(self.running) > 1 else found
        )

    def file(self, notice: Notice) -> None:
        """A notice of this call, the newest of its capability."""
        episode = self.running.get(notice.fact.episode)
        if notice.terminal:
            self.ends[notice.fact.capability] = notice
        elif episode is not None:
            episode.add(notice)

    def file_all(self) -> None:
        """Episodes and notices have come from another call."""
        self.running = {name: each for name, each in self.episodes.items() if each.ended_at is None}
        self.ends.clear()
        for episode in self.running.values():
            episode.notices.clear()
            episode.settled.clear()
        for notice in self.notices.values():
            self.file(notice)

    def end_episode(self, episode: str | None, at: datetime) -> None:
        """The episode, if there is one, is over."""
        ended = None if episode is None else self.running.pop(episode, None)
        if ended is not None:
            ended.ended_at = at
            # Nobody is asked for any of it again.
            for notice in ended.notices:
                notice.overdue.clear()
            ended.notices.clear()
            ended.settled.clear()

    def miss(self, participant: str, at: datetime) -> None:
        """Somebody went of whom no coming is known yet: events arrive in any order.

        Kept in memory only and for few: no fact may name a person who was never in the call.
        """
        if len(self.missed) >= MOST_MISSED:
            del self.missed[next(iter(self.missed))]
        self.missed[participant] = max(at, self.missed.get(participant, at))

    def hear_of(self, who: str, occurred_at: datetime) -> None:
        """The newest word about somebody is of that time."""
        self.heard_of[who] = max(occurred_at, self.heard_of.get(who, occurred_at))
