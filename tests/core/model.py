"""The contract said a second time: who was in a call, what they owe, what is proved, and why what is not is not.

Rules: nothing here calls the code under test; a model hears what is done to a call and what the call told, as an
auditor in the meeting would, and derives from that alone what coverage must say. Times are the meeting's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

SECOND = timedelta(seconds=1)
RANKS = ("sent", "received", "displayed", "acknowledged")
CONSENTS = ("consented", "declined", "withdrawn")


@dataclass(eq=False)
class Stay:
    """Somebody in the call, from coming to going. Once `erased` nobody can say whose it is."""

    person: str
    start: datetime
    owes: bool
    durable: bool
    sessions: set[str] = field(default_factory=set)
    listed: bool = False
    reached: bool = False
    erased: bool = False
    lost_at: datetime | None = None
    end: datetime | None = None
    ended_by: str = ""
    sent: dict[str, Said] = field(default_factory=dict)

    @property
    def nameless(self) -> bool:
        """Whether not even the process knows any more whose it is."""
        return "~" in self.person

    def close(self, at: datetime, why: str) -> None:
        """It is over."""
        self.end, self.ended_by = at, why
        self.sessions.clear()


@dataclass(eq=False)
class Told:
    """A notice that went out."""

    name: str
    capability: str
    episode: str
    change: str
    issued_at: datetime
    durable: bool

    @property
    def last(self) -> bool:
        """Whether it ends its episode."""
        return self.change in {"stopped", "failed"}


@dataclass
class Said:
    """A level that a client confirmed."""

    level: str
    at: datetime
    durable: bool


@dataclass(frozen=True)
class Expected:
    """What coverage must say of one notice: each gap as person, reason, since and exposure."""

    owed: int
    proved: int
    gaps: list[tuple[str, str, datetime, timedelta]]


class Model:
    """One call as the contract has it."""

    def __init__(self, renamed: Callable[[str, str], None] = lambda was, name: None) -> None:
        """`renamed` hears when a person becomes nobody, under which name."""
        self._renamed = renamed
        self.stays: list[Stay] = []
        self.told: dict[str, Told] = {}
        self.ends: dict[str, datetime] = {}
        self.said: dict[tuple[str, str], list[Said]] = {}
        self.heard: dict[str, datetime] = {}
        self.newest: dict[str, int] = {}
        self.gone_unseen: dict[str, datetime] = {}
        self.over_at: datetime | None = None
        self.recording = True

    # Who is there

    def stay(self, person: str) -> Stay | None:
        """The open stay of somebody."""
        return next((each for each in self.stays if each.person == person and each.end is None), None)

    def here(self) -> list[Stay]:
        """Everybody who is in the call."""
        return [each for each in self.stays if each.end is None]

    def connected(self, person: str) -> bool:
        """Whether a session of somebody's is in the call."""
        stay = self.stay(person)
        return stay is not None and bool(stay.sessions)

    def lately(self, person: str, now: datetime) -> bool:
        """Whether somebody is connected, or was less than ten seconds ago."""
        mine = [each for each in self.stays if each.person == person]
        if not mine or mine[-1].sessions:
            return bool(mine)
        gone_at = mine[-1].lost_at or mine[-1].end
        return gone_at is not None and now - gone_at < 10 * SECOND

    def pass_time(self, now: datetime) -> None:
        """Who was lost two minutes ago and is named by no roster is given up."""
        for each in self.here():
            if each.lost_at is not None and not each.listed and now >= each.lost_at + 120 * SECOND:
                self._close(each, each.lost_at + 120 * SECOND, "disconnected")

    def _close(self, stay: Stay, at: datetime, why: str) -> None:
        """A stay is over, and an erased person with it."""
        stay.close(at, why)
        if stay.erased:
            self._part(stay.person)

    def erase(self, person: str) -> None:
        """Nobody can say any more whose these stays were, while one is open but those who are told about it."""
        mine = [each for each in self.stays if each.person == person]
        for each in mine:
            each.erased = True
        if mine:
            self.gone_unseen.pop(person, None)
        if mine and self.stay(person) is None:
            self._part(person)

    def restart(self) -> None:
        """Who was erased is nobody from now on, there or not; who was never seen to come is forgotten."""
        self.gone_unseen.clear()
        for person in {each.person for each in self.stays if each.erased and not each.nameless}:
            self._part(person)

    def _part(self, person: str) -> None:
        """Whoever comes as this person from now on is somebody else."""
        name = f"{person}~{len(self.stays)}"
        for each in self.stays:
            each.person = name if each.person == person else each.person
        self.said = {(notice, name if who == person else who): said for (notice, who), said in self.said.items()}
        self.heard.pop(person, None)
        self._renamed(person, name)

    def join(self, now: datetime, person: str, session: str, *, observer: bool) -> None:
        """A session comes in, and its person is there."""
        stay = self.stay(person)
        if stay is None:
            stay = Stay(person, now, not observer, self.recording)
            self.stays.append(stay)
        elif not stay.owes and not observer:
            stay.owes, stay.start = True, now
        stay.sessions.add(session)
        stay.reached, stay.lost_at = True, None

    def lose(self, now: datetime, person: str, session: str, *, left: bool) -> None:
        """A session goes; on the person's own word the person goes with the last one."""
        stay = self.stay(person)
        if stay is None or session not in stay.sessions:
            return
        stay.sessions.remove(session)
        if not stay.sessions:
            stay.lost_at = now
            if left:
                self._close(stay, now, "left")

    def believes(self, person: str, occurred: datetime) -> bool:
        """Whether a word about somebody is news: nothing newer was heard, and they have not gone since."""
        if self.over_at is not None and occurred <= self.over_at:
            return False
        mine = [each for each in self.stays if each.person == person]
        if not mine:
            return person not in self.gone_unseen or occurred > self.gone_unseen[person]
        if person in self.heard and occurred < self.heard[person]:
            return False
        gone_at = None if mine[-1].end is None else mine[-1].lost_at or mine[-1].end
        return gone_at is None or occurred > gone_at

    def is_new(self, person: str) -> bool:
        """Whether a roster would be the first to name somebody who is there, or brings them."""
        stay = self.stay(person)
        return stay is None or not stay.listed or not (stay.owes or stay.reached)

    def word(self, now: datetime, person: str, occurred: datetime, *, present: bool) -> None:
        """An event says that somebody is there, or is not."""
        if not self.believes(person, occurred):
            return
        if present or any(each.person == person for each in self.stays):
            self._take(now, person, occurred, present=present)
        else:
            self.gone_unseen[person] = occurred

    def _take(self, now: datetime, person: str, occurred: datetime, *, present: bool) -> None:
        stay = self.stay(person)
        if stay is None and not present:
            return
        self.heard[person] = max(occurred, self.heard.get(person, occurred))
        if stay is None:
            stay = Stay(person, now, owes=True, durable=self.recording)
            self.stays.append(stay)
        stay.listed = present
        if present and not stay.reached and not stay.owes:
            stay.owes, stay.start = True, now
        if not present and not stay.sessions:
            self._close(stay, now, "left")

    def roster(self, now: datetime, connection: str, number: int, people: set[str], occurred: datetime) -> None:
        """A whole roster: the newest of its connection names who is there, and ceases to name who is not."""
        if (self.over_at is not None and occurred <= self.over_at) or number <= self.newest.get(connection, -1):
            return
        self.newest[connection] = number
        # Of whom nobody can name no roster can say that it ceased to.
        named_before = {each.person for each in self.here() if each.listed and not each.nameless}
        for person in sorted(people | named_before):
            if self.believes(person, occurred):
                self._take(now, person, occurred, present=person in people)

    def finish(self, now: datetime, occurred: datetime) -> None:
        """The call is over, and everybody's stay with it."""
        self.over_at = occurred
        self.newest.clear()
        for each in self.here():
            self._close(each, now, "ended")

    # What is told and proved

    def hear(self, told: Told) -> None:
        """A notice went out; one that ends an episode ends it."""
        self.told[told.name] = told
        if told.last:
            self.ends[told.episode] = told.issued_at

    def confirm(self, now: datetime, person: str, notice: str, level: str) -> None:
        """A client confirms a level; only the first word counts, of consent each that changes it."""
        said = self.said.setdefault((notice, person), [])
        consents = [each.level for each in said if each.level in CONSENTS]
        known = {each.level for each in said} if level in RANKS else set(consents[-1:])
        if level not in known:
            said.append(Said(level, now, self.recording))

    def write(self) -> None:
        """Storage works (again): whatever waited is on disk."""
        self.recording = True
        for stay in self.stays:
            stay.durable = True
            for sent in stay.sent.values():
                sent.durable = True
        for told in self.told.values():
            told.durable = True
        for said in self.said.values():
            for each in said:
                each.durable = True

    def send(self, now: datetime, person: str, notice: str) -> None:
        """A notice was written to somebody's socket; the first time counts."""
        stay = self.stay(person)
        if stay is not None:
            stay.sent.setdefault(notice, Said("sent", now, self.recording))

    def proves_until(self, stay: Stay, told: Told) -> datetime | None:
        """Until when the stay can prove the notice: its own end or the episode's."""
        ends = [stay.end, None if told.last else self.ends.get(told.episode)]
        return min((each for each in ends if each is not None), default=None)

    def owed_by(self, told: Told) -> list[Stay]:
        """Every stay that overlaps what is left of the episode; for its end, those who were there."""
        owing = []
        for each in self.stays:
            there = each.owes and (each.end is None or each.end > told.issued_at)
            if told.last:
                there = there and each.start <= told.issued_at
            elif told.episode in self.ends:
                there = there and each.start < self.ends[told.episode]
            if there:
                owing.append(each)
        return owing

    def proof(self, stay: Stay, told: Told, level: str) -> Said | None:
        """What the person said in time that proves the level."""
        said = self.said.get((told.name, stay.person), [])
        if level in CONSENTS:
            fitting = [each for each in said if each.level in CONSENTS][-1:]
            fitting = [each for each in fitting if each.level == level]
        else:
            enough = RANKS[RANKS.index(level) :]
            fitting = [each for each in said if each.level in enough]
            if level == "sent" and told.name in stay.sent:
                fitting.append(stay.sent[told.name])
        until = self.proves_until(stay, told)
        fitting = [each for each in fitting if until is None or each.at <= until]
        return next((each for each in fitting if each.durable), next(iter(fitting), None))

    def expected(self, told: Told, level: str, now: datetime) -> Expected:
        """What coverage must say."""
        asked = "received" if told.last else level
        owing = self.owed_by(told)
        gaps = []
        for stay in owing:
            proof = self.proof(stay, told, asked)
            if proof is not None and proof.durable and told.durable:
                continue
            since = max(stay.start, told.issued_at)
            stops = (now, stay.end, self.ends.get(told.episode), proof.at if proof else None)
            until = min(each for each in stops if each is not None)
            reason = self._reason(stay, told, asked, proof, now)
            gaps.append(("None" if stay.erased else stay.person, reason, since, max(until - since, timedelta())))
        return Expected(len(owing), len(owing) - len(gaps), sorted(gaps))

    def _reason(self, stay: Stay, told: Told, asked: str, proof: Said | None, now: datetime) -> str:
        consents = [each.level for each in self.said.get((told.name, stay.person), []) if each.level in CONSENTS]
        late_at = max(told.issued_at, stay.start) + 10 * SECOND
        gone = stay.end is not None or stay.lost_at is not None
        holding = {
            "declined": asked == "consented" and consents[-1:] in (["declined"], ["withdrawn"]),
            "unrecorded": proof is not None or not told.durable or not stay.durable,
            "unreachable": not stay.reached,
            "left": stay.ended_by == "left" or (stay.ended_by == "ended" and stay.lost_at is None),
            "disconnected": gone,
            "overdue": now >= late_at,
            "pending": True,
        }
        return next(reason for reason, holds in holding.items() if holds)

    def to_show(self, stay: Stay) -> set[str]:
        """What a state must hold for somebody: what they owe of what is on, and a last end not yet received."""
        shown = {
            told.name
            for told in self.told.values()
            if not told.last
            and told.episode not in self.ends
            and stay in self.owed_by(told)
            and self.proof(stay, told, "acknowledged") is None
        }
        for capability in {each.capability for each in self.told.values()}:
            last = [each for each in self.told.values() if each.capability == capability][-1]
            if last.last and stay in self.owed_by(last) and self.proof(stay, last, "received") is None:
                shown.add(last.name)
        return shown
