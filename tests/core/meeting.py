"""A call driven by hand: its clock is moved, its time is kept by its own wakes, and its commits can be made to fail."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import msgspec

from gateway.core import attendance, delivery, facts, fold, merging, observing
from gateway.core.call import Call, Policy
from gateway.core.coverage import Gap
from gateway.core.effects import Announce, Effect, Record, Refresh, Resend
from gateway.core.fusion import Claim, Verdict
from gateway.core.presence import Presence
from gateway.core.proofs import Notice, Proof
from gateway.core.step import Step
from gateway.core.types import CallKey, Capability, Change, Level, Person, Role, State
from tests.core.covered import Covered, cover_notice

F = TypeVar("F", bound=facts.Fact)

T0 = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)
KEY = CallKey("contoso", "standup")
RESOURCE = "11111111-1111-1111-1111-111111111111"

ACTIVE, PAUSED, INACTIVE, UNKNOWN = State.ACTIVE, State.PAUSED, State.INACTIVE, State.UNKNOWN
RECORDING, TRANSCRIPTION = Capability.RECORDING, Capability.TRANSCRIPTION
STARTED, STOPPED, FAILED = Change.STARTED, Change.STOPPED, Change.FAILED
PAUSE, RESUMED = Change.PAUSED, Change.RESUMED

AUTHORITIES = ("operator", "graph", "call_automation/0123456789abcdef")
OPERATOR, GRAPH, AUTOMATION = AUTHORITIES


def moment(seconds: float) -> datetime:
    """So many seconds after the meeting began."""
    return T0 + timedelta(seconds=seconds)


def raw_id(name: str) -> str:
    """The ACS raw id of somebody."""
    return f"8:acs:{RESOURCE}_{name}"


def digests(notice: str, capability: Capability, change: Change) -> dict[str, str]:
    """Digests that tell notices apart."""
    return {"en": f"sha256:{notice}-{capability.value}-{change.value}"}


def region_of(_: str) -> str:
    """Everybody lives in one region here."""
    return "europe"


class Ids:
    """Ids in order, the same in every run."""

    def __init__(self) -> None:
        self._last = 0

    def __call__(self, prefix: str) -> str:
        self._last += 1
        return f"{prefix}_{self._last:04}"


class Meeting:
    """One call, with the fold, the wakes and the commits that a gateway would give it."""

    def __init__(
        self,
        key: CallKey = KEY,
        policy: Policy | None = None,
        ids: Ids | None = None,
        region_of: attendance.RegionOf = region_of,
    ) -> None:
        self.call = Call(key, policy or Policy())
        self.region_of = region_of
        self.now = T0
        self.ids = ids or Ids()
        self.recorded: list[facts.AnyFact] = []
        self.waiting: list[facts.AnyFact] = []
        self.failing = False
        self.told: list[tuple[float, Change]] = []
        self.resent: list[tuple[float, str, tuple[str, ...]]] = []
        self.refreshed: list[float] = []
        self.effects: list[Effect] = []

    # Time

    def at(self, seconds: float) -> None:
        """Let time pass until so many seconds after the beginning."""
        self.until(moment(seconds))

    def until(self, target: datetime) -> None:
        """Let time pass; what is due happens when it is due."""
        while self.call.wakes and self.call.wakes[0][0] <= target:
            self.now = max(self.now, self.call.wakes[0][0])
            self.wake()
        self.now = target

    def step_back(self, seconds: float) -> None:
        """The machine's clock is set back, and nothing else happens."""
        self.now -= timedelta(seconds=seconds)

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return (self.now - T0).total_seconds()

    def wake(self) -> None:
        """Do what is due now, as the interpreter does it."""
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

    # Steps

    def step(self) -> Step:
        """Begin to decide."""
        return Step(self.call, self.now, self.ids)

    def perform(self, step: Step) -> None:
        """Commit what the step recorded, unless storage fails, and note what it tells."""
        self.effects = step.effects
        for effect in step.effects:
            match effect:
                case Record(fact):
                    self.recorded.append(fact)
                    self.waiting.append(fact)
                case Announce(notice):
                    self.told.append((self.elapsed, self.call.notices[notice].fact.change))
                case Resend(notice, presences):
                    self.resent.append((self.elapsed, notice, presences))
                case Refresh():
                    self.refreshed.append(self.elapsed)
        if not self.failing:
            self.commit()

    def commit(self) -> None:
        """Everything that waits becomes durable."""
        first = len(self.recorded) - len(self.waiting)
        for entry, fact in enumerate(self.waiting, first):
            fold.confirm(self.call, fact, entry)
        self.waiting.clear()

    # What happens

    def claim(
        self,
        source: str,
        state: State,
        *,
        capability: Capability = RECORDING,
        occurred: float | datetime | None = None,
        limited: bool = True,
        failed: bool = False,
    ) -> Verdict:
        """A source says something: an authority by its name, everybody else by theirs, a participant unless said."""
        authority = source in AUTHORITIES
        step = self.step()
        occurred_at = occurred if isinstance(occurred, datetime) else step.now
        if isinstance(occurred, int | float):
            occurred_at = moment(occurred)
        name = source if authority else self.who(source)
        said = Claim(name, state, authority, occurred_at, limited=limited and not authority, failed=failed)
        verdict = observing.observe(step, capability, said, digests)
        self.perform(step)
        return verdict

    def who(self, name: str) -> str:
        """The person's name in this ledger, or a stranger's."""
        known = self.call.latest.get(raw_id(name))
        return f"stranger-{name}" if known is None else known.who

    def join(self, name: str, session: str | None = None, role: Role = Role.PARTICIPANT) -> Presence:
        """A session of somebody joins."""
        step = self.step()
        region = self.region_of(raw_id(name))
        joining = attendance.Joining(session or f"s-{name}", raw_id(name), region, role, name, "phone")
        presence = attendance.join(step, joining)
        self.perform(step)
        return presence

    def lose(self, name: str, session: str | None = None, reason: str = "disconnected") -> None:
        """A session of somebody is gone."""
        step = self.step()
        attendance.lose(step, session or f"s-{name}", raw_id(name), reason)
        self.perform(step)

    def lose_everyone(self, reason: str) -> None:
        """Every session is gone, as after a restart; also of those whom nobody can name."""
        step = self.step()
        for presence in self.call.open_presences():
            for session in list(presence.sessions):
                attendance.part(step, presence, session, reason)
        self.perform(step)

    def erase(self, name: str, at: datetime | None = None) -> tuple[str, ...]:
        """Storage destroys who somebody was, and says so of each call they came into; the presences."""
        assert not self.waiting, "what cannot be written is not erased"
        gone = {each for fact in self.of_kind(facts.PresencesErased) for each in fact.presences}
        region = self.region_of(raw_id(name))
        calls: dict[CallKey, list[str]] = {}
        for fact in self.of_kind(facts.PresenceOpened):
            if fact.participant == raw_id(name) and fact.presence not in gone:
                calls.setdefault(fact.call, []).append(fact.presence)
        for call, fresh in calls.items():
            erased = facts.PresencesErased(call=call, at=at or self.now, region=region, presences=tuple(fresh))
            self.recorded.append(erased)
            fold.apply(self.call, erased)
        return tuple(each for fresh in calls.values() for each in fresh)

    def leave(self, name: str) -> None:
        """Somebody leaves on their own word."""
        self.lose(name, reason="left")

    def report(self, name: str, *, present: bool, occurred: float | None = None) -> None:
        """An event says that somebody came or went."""
        step = self.step()
        occurred_at = self.now if occurred is None else moment(occurred)
        person = Person(raw_id(name))
        attendance.report(step, person, present=present, occurred_at=occurred_at, region_of=self.region_of)
        self.perform(step)

    def roster(
        self,
        names: Iterable[str],
        sequence: int,
        occurred: float | None = None,
        connection: str = "c1",
        others: int = 0,
    ) -> bool:
        """A whole roster arrives."""
        step = self.step()
        occurred_at = self.now if occurred is None else moment(occurred)
        people = [Person(raw_id(name)) for name in names]
        roster = attendance.Roster(connection, sequence, people, others, occurred_at)
        applied = attendance.list_people(step, roster, self.region_of)
        self.perform(step)
        return applied

    def roster_begun(
        self, names: Iterable[str], sequence: int, occurred: float | None = None, connection: str = "c1"
    ) -> bool:
        """Some of a roster are listed, and then the process dies."""
        step = self.step()
        people = [Person(raw_id(name)) for name in names]
        roster = attendance.Roster(connection, sequence, people, 0, self.now if occurred is None else moment(occurred))
        applied = attendance.list_some(step, roster, attendance.newcomers(self.call, roster), self.region_of)
        self.perform(step)
        return applied

    def sent(self, *names: str, notice: Notice | None = None) -> None:
        """A notice was written to the sockets of these people."""
        step = self.step()
        told: dict[str, list[str]] = {}
        for presence in map(self.presence, names):
            told.setdefault(presence.region, []).append(presence.id)
        for region, presences in told.items():
            step.record(
                facts.NoticesSent(
                    call=self.call.key,
                    at=step.now,
                    region=region,
                    notices=((notice or self.last).id,),
                    presences=tuple(presences),
                )
            )
        self.perform(step)

    def prove(self, name: str, level: Level = Level.ACKNOWLEDGED, notice: Notice | None = None) -> Proof:
        """Somebody's client confirms a level."""
        which = notice or self.last
        self.prove_at_once([name], level, which)
        proof = which.said(self.presence(name).who, level)
        assert proof is not None
        return proof

    def prove_at_once(self, names: Iterable[str], level: Level, notice: Notice) -> None:
        """The clients of all of these confirm a level in one turn."""
        step = self.step()
        for name in names:
            presence = self.presence(name)
            proved = facts.LevelProved(
                call=self.call.key,
                at=step.now,
                presence=presence.id,
                region=presence.region,
                notice=notice.id,
                level=level,
                reported_at=step.now,
                session=f"s-{name}",
                device="phone",
            )
            if delivery.standing(notice, level)(presence.who) is None:
                step.record(proved)
        self.perform(step)

    def end(self, occurred: float | None = None) -> None:
        """The call is over."""
        step = self.step()
        observing.end(step, "ended", self.now if occurred is None else moment(occurred), digests)
        self.perform(step)

    def merge(self, other: Meeting) -> None:
        """The other call turns out to be this one."""
        step = self.step()
        merging.merge(step, other.call)
        self.recorded[:0] = other.recorded
        self.perform(step)

    # What is so

    def presence(self, name: str) -> Presence:
        """Somebody's newest presence."""
        return self.call.latest[raw_id(name)]

    @property
    def last(self) -> Notice:
        """The newest notice."""
        return list(self.call.notices.values())[-1]

    def state(self, capability: Capability = RECORDING) -> State:
        """What is shown."""
        return self.call.tracks[capability].state

    def covered(self, notice: Notice | None = None, level: Level = Level.ACKNOWLEDGED) -> Covered:
        """Who was told of a notice."""
        return cover_notice(self.call, notice or self.last, level, self.now)

    def gaps(self, notice: Notice | None = None, level: Level = Level.ACKNOWLEDGED) -> Mapping[str, Gap]:
        """The gaps of a notice, by the short name of whoever they are of; the newest of each."""
        return {_short(gap): gap for gap in self.covered(notice, level).gaps}

    def reasons(self, notice: Notice | None = None, level: Level = Level.ACKNOWLEDGED) -> dict[str, str]:
        """Why each gap of a notice is one."""
        return {name: gap.reason.value for name, gap in self.gaps(notice, level).items()}

    def of_kind(self, kind: type[F]) -> list[F]:
        """The recorded facts of a kind."""
        return [fact for fact in self.recorded if isinstance(fact, kind)]


def _short(gap: Gap) -> str:
    return "" if gap.participant is None else gap.participant.rpartition("_")[2]


def refold(call: Call, recorded: Iterable[facts.AnyFact], waiting: Iterable[facts.AnyFact] = ()) -> Call:
    """The call folded anew from its facts, all but those that wait confirmed."""
    lost = set(map(id, waiting))
    again = Call(call.key, call.policy)
    for entry, fact in enumerate(recorded):
        if id(fact) not in lost:
            fold.apply(again, fact)
            fold.confirm(again, fact, entry)
    return again


def stored(recorded: Sequence[facts.AnyFact]) -> list[facts.AnyFact]:
    """The facts as they are read back: nobody is named who was erased."""
    erased = {name for fact in recorded if isinstance(fact, facts.PresencesErased) for name in fact.presences}
    return [
        msgspec.structs.replace(fact, participant=None, name=None)
        if isinstance(fact, facts.PresenceOpened) and fact.presence in erased
        else fact
        for fact in recorded
    ]
