"""A call as live state: what the facts about it add up to.

Rules: `Call.apply` is the only way in, for facts just decided and for facts read back from the ledger alike, so
that recovery is the normal path; nothing here decides (see `observing`, `attendance` and `delivery`).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from gateway.core import facts
from gateway.core.fusion import LAPSE, Track, next_check
from gateway.core.presence import Phase, Presence
from gateway.core.types import CONSENT, RANK, TERMINAL, CallKey, Capability, Change, Level, State

AWAKENINGS: Final = 5
"""How often an overdue notice is sent again to those who still owe it, each time after twice the wait."""


@dataclass(slots=True, eq=False)
class Proof:
    """One level of one person for one notice: `entry` is its place in the ledger, None until it is durable."""

    at: datetime
    entry: int | None = None


@dataclass(slots=True, eq=False)
class Notice:
    """One change everyone must be told of, with what is proved of it: who → level → proof."""

    fact: facts.NoticeIssued
    durable: bool = False
    proofs: dict[str, dict[Level, Proof]] = field(default_factory=dict)
    sent: set[str] = field(default_factory=set)

    @property
    def id(self) -> str:
        """The id every participant, device and gateway knows it by."""
        return self.fact.notice

    @property
    def terminal(self) -> bool:
        """Whether it ends its episode: then `received` is all that is owed, by those present when it was issued."""
        return self.fact.change in TERMINAL


@dataclass(slots=True, eq=False)
class Episode:
    """One run of a capability, from start to stop."""

    id: str
    capability: Capability
    started_at: datetime
    ended_at: datetime | None = None


@dataclass(slots=True, eq=False)
class Policy:
    """What the operator configured about calls."""

    require: Level = Level.ACKNOWLEDGED
    deadline: timedelta = timedelta(seconds=10)
    absence: timedelta = timedelta(seconds=120)
    participants_observe: bool = True


@dataclass(slots=True, eq=False)
class Call:
    """Everything known of one call. Owned by the loop; `wakes` holds the moments at which time alone may act."""

    key: CallKey
    policy: Policy
    revision: int = 0
    ended: bool = False
    opened_at: datetime | None = None
    ended_at: datetime | None = None
    tracks: dict[Capability, Track] = field(default_factory=lambda: {each: Track() for each in Capability})
    episodes: dict[str, Episode] = field(default_factory=dict)
    notices: dict[str, Notice] = field(default_factory=dict)
    presences: dict[str, Presence] = field(default_factory=dict)
    latest: dict[str, Presence] = field(default_factory=dict)
    observers: dict[str, str] = field(default_factory=dict)
    sequences: dict[str, int] = field(default_factory=dict)
    heard_of: dict[str, datetime] = field(default_factory=dict)
    others: int = 0
    wakes: list[tuple[datetime, int, str, str]] = field(default_factory=list)
    attempts: dict[str, int] = field(default_factory=dict)
    ticket: int = 0

    def wake(self, at: datetime, what: str, subject: str = "") -> None:
        """Ask to be looked at again at `at`."""
        self.ticket += 1
        heapq.heappush(self.wakes, (at, self.ticket, what, subject))

    def present(self, participant: str) -> Presence | None:
        """The open presence of a participant."""
        presence = self.latest.get(participant)
        return presence if presence is not None and presence.open else None

    def open_presences(self) -> list[Presence]:
        """Those in the call now, observers included."""
        return [presence for presence in self.latest.values() if presence.open]

    def open_notices(self) -> list[Notice]:
        """The notices of open episodes, oldest first."""
        return [
            notice
            for notice in self.notices.values()
            if not notice.terminal and self.episodes[notice.fact.episode].ended_at is None
        ]

    def apply(self, fact: facts.AnyFact) -> None:
        """Take `fact` in. Facts must come in ledger order; one that is here already changes nothing."""
        _APPLIED[type(fact)](self, fact)

    def _call_opened(self, fact: facts.CallOpened) -> None:
        self.opened_at, self.ended, self.ended_at = fact.at, False, None

    def _call_ended(self, fact: facts.CallEnded) -> None:
        self.ended, self.ended_at, self.revision = True, fact.at, fact.revision
        self.sequences.clear()
        for track in self.tracks.values():
            self._end_episode(track.episode, fact.at)
            track.become(State.INACTIVE, fact.at)
            track.words.clear()

    def _call_merged(self, fact: facts.CallMerged) -> None:
        """Of two open episodes of a capability the earlier is kept: everyone was told of one of them."""
        self.revision = fact.revision
        for capability, track in self.tracks.items():
            open_ones = [
                episode
                for episode in self.episodes.values()
                if episode.capability is capability and episode.ended_at is None
            ]
            for episode in open_ones[1:]:
                episode.ended_at = fact.at
            if open_ones:
                track.episode = open_ones[0].id
                track.become(State.ACTIVE, open_ones[0].started_at)
                track.since = open_ones[0].started_at

    def _observation_made(self, fact: facts.ObservationMade) -> None:
        self._hear(fact.capability, lambda track: track.hear(fact))

    def _claim_lapsed(self, fact: facts.ClaimLapsed) -> None:
        self._hear(fact.capability, lambda track: track.lapse(fact.source, fact.at))

    def _hear(self, capability: Capability, change: Callable[[Track], None]) -> None:
        track = self.tracks[capability]
        change(track)
        moment = next_check(track)
        if moment is not None:
            self.wake(moment, "fuse", capability)

    def _capability_changed(self, fact: facts.CapabilityChanged) -> None:
        self.revision = fact.revision
        track = self.tracks[fact.capability]
        if fact.state is State.INACTIVE:
            self._end_episode(track.episode, fact.at)
        track.become(fact.state, fact.at)

    def _notice_issued(self, fact: facts.NoticeIssued) -> None:
        if fact.notice in self.notices:
            return
        self.revision = max(self.revision, fact.revision)
        self.notices[fact.notice] = Notice(fact)
        track = self.tracks[fact.capability]
        if fact.episode not in self.episodes:
            self.episodes[fact.episode] = Episode(fact.episode, fact.capability, fact.at)
        match fact.change:
            case Change.STARTED:
                track.begin(fact.episode, fact.at)
                track.become(State.ACTIVE, fact.at)
            case Change.RESUMED:
                track.become(State.ACTIVE, fact.at)
            case Change.PAUSED:
                track.become(State.PAUSED, fact.at)
            case _:
                self._end_episode(fact.episode, fact.at)
                track.become(State.INACTIVE, fact.at)
        self.wake(fact.deadline_at, "notice", fact.notice)

    def _end_episode(self, episode: str | None, at: datetime) -> None:
        if episode is not None and self.episodes[episode].ended_at is None:
            self.episodes[episode].ended_at = at

    def _presence_opened(self, fact: facts.PresenceOpened) -> None:
        presence = Presence(
            fact.presence,
            fact.who,
            fact.region,
            fact.participant,
            fact.name,
            fact.role,
            fact.at,
            fact.listed,
            Phase.LISTED,
        )
        self.presences[fact.presence] = presence
        if fact.participant is not None:
            self.latest[fact.participant] = presence
        self.wake(fact.at + self.policy.deadline, "presence", fact.presence)

    def _presence_listed(self, fact: facts.PresenceListed) -> None:
        presence = self.presences[fact.presence]
        presence.listed = fact.listed
        self.heard_of[presence.who] = fact.occurred_at

    def _session_joined(self, fact: facts.SessionJoined) -> None:
        self.presences[fact.presence].join(fact.session, fact.device)

    def _session_left(self, fact: facts.SessionLeft) -> None:
        presence = self.presences[fact.presence]
        presence.lose(fact.session, fact.at)
        if not presence.sessions:
            self._depart(presence, fact.at)

    def _presence_closed(self, fact: facts.PresenceClosed) -> None:
        presence = self.presences[fact.presence]
        presence.close(fact.reason, fact.at)
        self._depart(presence, fact.at)

    def _depart(self, presence: Presence, at: datetime) -> None:
        self.wake(at + LAPSE, "lapse", presence.who)
        if presence.open:
            self.wake(at + self.policy.absence, "absence", presence.id)

    def _roster_seen(self, fact: facts.RosterSeen) -> None:
        self.sequences[fact.connection] = fact.sequence
        self.others = fact.others

    def _notices_sent(self, fact: facts.NoticesSent) -> None:
        for notice in fact.notices:
            self.notices[notice].sent.update(fact.presences)

    def _level_proved(self, fact: facts.LevelProved) -> None:
        who = self.presences[fact.presence].who
        proofs = self.notices[fact.notice].proofs.setdefault(who, {})
        if fact.level in CONSENT:
            proofs[fact.level] = Proof(fact.at)
        else:
            proofs.setdefault(fact.level, Proof(fact.at))

    def _notice_overdue(self, fact: facts.NoticeOverdue) -> None:
        for presence in fact.presences:
            self.presences[presence].overdue.add(fact.notice)

    def confirm(self, fact: facts.AnyFact, entry: int) -> None:
        """`fact` is durable as `entry` of its region's ledger: from now on it counts as proof."""
        match fact:
            case facts.LevelProved():
                proof = self.notices[fact.notice].proofs[self.presences[fact.presence].who][fact.level]
                proof.entry = entry if proof.entry is None else proof.entry
            case facts.NoticeIssued():
                self.notices[fact.notice].durable = True
            case facts.PresenceOpened():
                self.presences[fact.presence].durable = True


_APPLIED: Final[dict[type[facts.AnyFact], Callable[[Call, Any], None]]] = {
    facts.CallOpened: Call._call_opened,
    facts.CallEnded: Call._call_ended,
    facts.CallMerged: Call._call_merged,
    facts.ObservationMade: Call._observation_made,
    facts.ClaimLapsed: Call._claim_lapsed,
    facts.CapabilityChanged: Call._capability_changed,
    facts.NoticeIssued: Call._notice_issued,
    facts.PresenceOpened: Call._presence_opened,
    facts.PresenceListed: Call._presence_listed,
    facts.SessionJoined: Call._session_joined,
    facts.SessionLeft: Call._session_left,
    facts.PresenceClosed: Call._presence_closed,
    facts.RosterSeen: Call._roster_seen,
    facts.NoticesSent: Call._notices_sent,
    facts.LevelProved: Call._level_proved,
    facts.NoticeOverdue: Call._notice_overdue,
}


def proved_at(notice: Notice, who: str, level: Level) -> Proof | None:
    """The earliest proof of `level` or, for the ranked levels, of a higher one."""
    proofs = notice.proofs.get(who)
    if not proofs:
        return None
    if level not in RANK:
        return proofs[level] if newest_consent(notice, who) is level else None
    fitting = [proof for each, proof in proofs.items() if each in RANK and RANK[each] >= RANK[level]]
    return min(fitting, key=lambda proof: proof.at, default=None)


def newest_consent(notice: Notice, who: str) -> Level | None:
    """The last word about consent; consenting again undoes a withdrawal."""
    said = {level: proof.at for level, proof in notice.proofs.get(who, {}).items() if level in CONSENT}
    return max(said, key=lambda level: said[level], default=None)
