"""Fusion: what one capability of a call is, from what every source last said about it.

Rules: any credible `active` opens an episode at once (fail towards telling); an authority's `inactive` withdraws
its own claim and every client's made before it, a client's only its own; silence never stops anything. `judge`
and `fuse` decide and change nothing; `Track.hear`, `lapse` and `become` are the only places where a track changes,
and they are driven by facts alone, so that recovery repeats them exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from gateway.core.facts import ObservationMade
from gateway.core.types import Change, State

ON: Final = frozenset({State.ACTIVE, State.PAUSED})
SETTLE: Final = timedelta(seconds=10)
"""How long a stop that no authority confirmed waits for a contradiction."""
LAPSE: Final = timedelta(seconds=10)
"""How long a client's claim outlives its connection."""
MINUTE: Final = timedelta(minutes=1)
"""A participant's claim opens at most one episode in this time."""
FLURRY: Final = 20
"""So many pauses and resumptions a minute are told on clients' words alone, for everyone is told of each."""
ANCIENT: Final = timedelta(days=30)
"""An event older than this announces nothing."""
REPEAT: Final = timedelta(minutes=1)
"""A standing claim said again is recorded at most this often."""


class Verdict(StrEnum):
    """What became of an observation."""

    COUNTED = "counted"
    CONTRADICTED = "contradicted"
    HELD = "held"
    REPEATED = "repeated"
    STALE = "stale"
    LATE = "late"
    SAME = "same"
    REFUSED = "refused"


WITHOUT_EFFECT: Final = frozenset({Verdict.STALE, Verdict.LATE, Verdict.SAME})


@dataclass(slots=True)
class Word:
    """The last word of one source. `standing`: it keeps the episode open; `held`: it waits for the minute.

    `overruled`: an authority has withdrawn it since; `repeated`: it was said again all the same. `event` is the digest
    of the event it came with.
    """

    state: State
    occurred_at: datetime
    authority: bool
    standing: bool = False
    held: bool = False
    overruled: bool = False
    repeated: bool = False
    event: str | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """One source's claim as it arrives. `limited`: from a participant, so one episode a minute at most.

    `event` is the digest (hex) of the event it came with, if it came with one.
    """

    source: str
    state: State
    authority: bool
    occurred_at: datetime
    limited: bool = False
    failed: bool = False
    cause: str | None = None
    event: str | None = None


@dataclass(frozen=True, slots=True)
class Transition:
    """What the track must become; `change` is what to tell, None when there is nothing to tell."""

    state: State
    change: Change | None


@dataclass(slots=True)
class Track:
    """One capability of one call: the words of its sources, and the episode they keep open."""

    state: State = State.INACTIVE
    episode: str | None = None
    since: datetime | None = None
    told: State = State.INACTIVE
    words: dict[str, Word] = field(default_factory=dict)
    opened: dict[str, datetime] = field(default_factory=dict)
    denied: bool = False
    emptied_at: datetime | None = None
    by_authority: bool = False
    failed: bool = False
    turns: list[datetime] = field(default_factory=list)
    """When it was last told as paused or resumed."""

    def standing(self) -> bool:
        """Whether any claim keeps the episode open."""
        return any(word.standing for word in self.words.values())

    def hear(self, fact: ObservationMade) -> None:
        """Take an observation into account as its verdict says."""
        verdict = Verdict(fact.verdict)
        if verdict in WITHOUT_EFFECT:
            return
        before, denied = self.standing(), self.denied
        said_on = fact.state in ON
        self.words[fact.source] = Word(
            fact.state,
            fact.occurred_at,
            fact.authority,
            standing=said_on and verdict is not Verdict.HELD and verdict is not Verdict.REPEATED,
            held=verdict is Verdict.HELD,
            overruled=verdict is Verdict.REPEATED,
            repeated=verdict is Verdict.REPEATED,
            event=fact.event,
        )
        if fact.state is State.ACTIVE and verdict is not Verdict.REPEATED:
            self.denied = False
        if fact.authority and fact.state is not State.ACTIVE:
            self._overrule(fact)
        if fact.state is State.INACTIVE:
            self.denied = True
        by_authority = fact.authority and fact.state is State.INACTIVE
        # A client that denies again and again must not put off the end for ever.
        if not self.standing() and (before or by_authority or (self.denied and not denied)):
            self.emptied_at, self.by_authority, self.failed = fact.at, by_authority, fact.failed

    def _overrule(self, fact: ObservationMade) -> None:
        for source, word in self.words.items():
            if source == fact.source or word.authority or word.occurred_at > fact.occurred_at:
                continue
            if fact.state is State.PAUSED and word.standing:
                word.state = State.PAUSED
            elif fact.state is State.INACTIVE and word.state in ON:
                word.standing = word.held = False
                word.overruled, word.repeated = True, False

    def lapse(self, source: str, at: datetime) -> None:
        """The claim of `source` falls away without anyone having said that anything stopped."""
        word = self.words.get(source)
        if word is None or not (word.standing or word.held):
            return
        word.standing = word.held = False
        if not self.standing():
            self.emptied_at = at
            self.by_authority = False

    def begin(self, episode: str, at: datetime) -> None:
        """Open an episode: held claims stand from now on, and whose claim opened it is remembered."""
        self.episode, self.since = episode, at
        for source, word in self.words.items():
            if word.held:
                word.standing, word.held = True, False
            if word.standing and not word.authority and word.state is State.ACTIVE:
                self.opened[source] = at
        self.denied = self.failed = False

    def absorb(self, other: Track) -> str | None:
        """Take in the same capability of a merged call; returned is the later of two open episodes, given up."""
        for source, word in other.words.items():
            known = self.words.get(source)
            if known is None or known.occurred_at < word.occurred_at:
                self.words[source] = word
        self.opened = {**other.opened, **self.opened}
        self.turns = sorted([*self.turns, *other.turns])[-FLURRY:]
        given_up = other.episode
        if given_up is not None and (self.episode is None or _began(other) < _began(self)):
            given_up = self.episode
            self.state, self.told, self.episode, self.since = other.state, other.told, other.episode, other.since
            self.denied, self.emptied_at = other.denied, other.emptied_at
            self.by_authority, self.failed = other.by_authority, other.failed
        for word in self.words.values():
            if word.held and self.episode is not None:
                word.standing, word.held = True, False
        return given_up

    def become(self, state: State, at: datetime) -> None:
        """Show `state` from `at` on; inactive ends the episode."""
        self.state = state
        if state in ON:
            if self.told in ON and self.told is not state:
                self.turns = [*self.turns[1 - FLURRY :], at]
            self.told = state
        if state is State.INACTIVE:
            self.turns = []
            self.episode, self.since, self.told = None, at, State.INACTIVE
            self.denied = self.failed = False


def _began(track: Track) -> datetime:
    assert track.since is not None
    return track.since


def judge(track: Track, claim: Claim, now: datetime) -> Verdict:
    """What becomes of `claim` (the fusion rules of docs/operations.md); nothing is changed."""
    if now - claim.occurred_at > ANCIENT:
        return Verdict.LATE
    last = track.words.get(claim.source)
    if last is not None:
        if claim.occurred_at < last.occurred_at:
            return Verdict.STALE
        if last.state is claim.state and not _says_more(track, last, claim, now):
            return Verdict.SAME
        if track.episode is None and last.overruled and claim.state is last.state is State.ACTIVE:
            return Verdict.REPEATED
    if claim.state is State.ACTIVE and claim.limited and track.episode is None:
        opened_at = track.opened.get(claim.source)
        if opened_at is not None and now - opened_at < MINUTE:
            return Verdict.HELD
    if claim.state is State.INACTIVE and _others_stand(track, claim):
        return Verdict.CONTRADICTED
    return Verdict.COUNTED


def _says_more(track: Track, last: Word, claim: Claim, now: datetime) -> bool:
    """Whether saying the same again changes anything worth a line in the ledger."""
    if claim.occurred_at == last.occurred_at:
        return False
    # Events arrive in any order: an opposite word from in between must find that this one is newer.
    if claim.authority or claim.occurred_at < now:
        return True
    if claim.state in ON:
        idle = not (last.standing or last.held or (last.repeated and track.episode is None))
        return idle or claim.occurred_at - last.occurred_at >= REPEAT
    return track.episode is not None or any(word.standing or word.held for word in track.words.values())


def _others_stand(track: Track, claim: Claim) -> bool:
    return any(
        word.standing and source != claim.source and not _outranks(claim, word) for source, word in track.words.items()
    )


def _outranks(claim: Claim, word: Word) -> bool:
    """Whether the claim withdraws a client's word that was said before it."""
    return claim.authority and not word.authority and word.occurred_at <= claim.occurred_at


def fuse(track: Track, now: datetime) -> Transition | None:
    """The transition that is due at `now`, None when the track is as it should be or must wait."""
    standing = {word.state for word in track.words.values() if word.standing}
    if track.episode is None:
        return Transition(State.ACTIVE, Change.STARTED) if _opens(track, standing, now) else None
    if standing:
        target = State.ACTIVE if State.ACTIVE in standing else State.PAUSED
        if target is track.told:
            return None if track.state is target else Transition(target, None)
        if _is_flurry(track, target, now):
            return None
        return Transition(target, Change.RESUMED if target is State.ACTIVE else Change.PAUSED)
    return _ending(track, now)


def _is_flurry(track: Track, target: State, now: datetime) -> bool:
    """Whether clients alone have had it paused and resumed too often; what they say last is told after a while."""
    backed = any(word.standing and word.authority and word.state is target for word in track.words.values())
    return not backed and len(track.turns) == FLURRY and now - track.turns[0] < MINUTE


def _opens(track: Track, standing: set[State], now: datetime) -> bool:
    held = [source for source, word in track.words.items() if word.held]
    return State.ACTIVE in standing or len(held) > 1 or any(now - track.opened[source] >= MINUTE for source in held)


def _ending(track: Track, now: datetime) -> Transition | None:
    emptied_at = track.emptied_at or now
    if track.by_authority or (track.denied and now - emptied_at >= SETTLE):
        return Transition(State.INACTIVE, Change.FAILED if track.failed else Change.STOPPED)
    if track.denied or track.state is State.UNKNOWN:
        return None
    return Transition(State.UNKNOWN, None)


def next_check(track: Track) -> datetime | None:
    """When time alone may change the track: a settling stop, a held claim, a flurry that is over."""
    moments = [track.opened[source] + MINUTE for source, word in track.words.items() if word.held]
    if track.episode is not None and track.denied and track.emptied_at is not None and not track.standing():
        moments.append(track.emptied_at + SETTLE)
    if len(track.turns) == FLURRY:
        moments.append(track.turns[0] + MINUTE)
    return min(moments, default=None)
