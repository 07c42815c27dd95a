"""Two implementations of one set of rules: what the gateway folds, and what a verifier makes of the same lines.

Random meetings of several calls, with people in several regions, write ledgers; calls become parts of others, also of
others that become parts in turn. At any time, at any level, both must say the same of everyone.
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta

import pytest
from hypothesis import settings

from gateway.core import facts, fold
from gateway.core.types import CallKey, Level, Role
from gateway.evidence import records
from gateway.evidence.story import Part, tell
from gateway.hub.journal import Ink, to_entry
from gateway.hub.recollection import homes_of
from storage.audit import claims
from storage.audit.coverage import covered
from storage.audit.order import told
from tests.core import test_machine
from tests.core.meeting import ACTIVE, AUTHORITIES, INACTIVE, OPERATOR, PAUSED, RECORDING, TRANSCRIPTION, Ids, raw_id
from tests.levels import levels_entry
from tests.storage.written import HOMES, Ledgers, Writing, said_by_gateway, said_by_verifier

LEVELS = (None, Level.SENT, Level.RECEIVED, Level.DISPLAYED, Level.ACKNOWLEDGED, Level.CONSENTED, Level.WITHDRAWN)
CLAIMED = (Level.RECEIVED, Level.DISPLAYED, Level.ACKNOWLEDGED, Level.CONSENTED, Level.DECLINED, Level.WITHDRAWN)
WAITS = (0, 0, 1, 1, 10, 500, 1000, 9_999, 10_000, 10_001, 60_000, 120_000)


class World:
    """Calls at home in different regions, the same people, one clock, which may be set back by a lot."""

    def __init__(self, seed: int, *, steady: bool = True) -> None:
        self.chance = random.Random(seed)
        self.steady = steady
        self.ledgers = Ledgers()
        ids = Ids()
        self.calls = [
            Writing(self.ledgers, CallKey("contoso", name), home, ids)
            for name, home in (("standup", "europe"), ("alias", "states"), ("thread", "asia"))
        ]
        self.sequence = 0
        for each in self.calls:
            each.together = lambda: self.chance.random() < 0.6

    def wait(self) -> None:
        """Time passes everywhere."""
        if not self.steady and self.chance.random() < 0.05:
            back = self.chance.choice([1, 30, 7200])
            for each in self.calls:
                each.step_back(back)
        passed = timedelta(milliseconds=self.chance.choice(WAITS))
        for each in self.calls:
            each.until(each.now + passed)

    def step(self) -> None:
        """Something happens in one of the calls."""
        deeds = [*[self.attend] * 5, *[self.claim] * 3, *[self.prove] * 8, self.end, self.erase]
        self.chance.choice(deeds + [self.merge] * (len(self.calls) > 1))(self.chance.choice(self.calls))

    def attend(self, meeting: Writing) -> None:
        """Somebody comes or goes, by a session, an event or a roster."""
        pick = self.chance.choice
        who = pick(list(HOMES))
        match pick("jjjjwllrRR"):
            case "j":
                meeting.join(who, f"s-{who}{pick('12')}")
            case "w":
                meeting.join(who, f"s-{who}-watching", Role.OBSERVER)
            case "l":
                meeting.lose(who, f"s-{who}{pick('12')}", pick(["left", "disconnected", "slow"]))
            case "r":
                self.sequence += 1
                people = self.chance.sample(sorted(HOMES), self.chance.randrange(len(HOMES)))
                meeting.roster(people, self.sequence, connection=pick("ab"))
            case "R":
                meeting.report(who, present=pick([True, False]), occurred=meeting.elapsed - pick([0, 0, 1, 20]))

    def claim(self, meeting: Writing) -> None:
        """A source says something."""
        pick = self.chance.choice
        present = [each for each in HOMES if meeting.call.present(raw_id(each)) is not None]
        source = pick([*AUTHORITIES, *present])
        about = pick([RECORDING, RECORDING, TRANSCRIPTION])
        meeting.claim(source, pick([ACTIVE, ACTIVE, INACTIVE, PAUSED]), capability=about, failed=pick([True, False]))

    def prove(self, meeting: Writing) -> None:
        """Some clients confirm a level of any notice at once, or one is written to them."""
        pick = self.chance.choice
        known = [each for each in HOMES if raw_id(each) in meeting.call.latest]
        if known and meeting.call.notices:
            who, notice = pick(known), pick(list(meeting.call.notices.values())[-4:])
            if self.chance.random() < 0.3:
                meeting.sent(who, pick(known), notice=notice)
            else:
                meeting.prove_at_once(self.chance.sample(known, pick([1, len(known)])), pick(CLAIMED), notice)

    def end(self, meeting: Writing) -> None:
        """The call is over, for now."""
        if self.chance.random() < 0.3:
            meeting.end(meeting.elapsed - self.chance.choice([0, 0, 5]))

    def erase(self, meeting: Writing) -> None:
        """Somebody is erased, in every call; the clock that says when may be any."""
        if self.chance.random() < 0.3:
            asked_at = meeting.now + timedelta(seconds=self.chance.choice([-7200, -1, 0, 0, 0, 1, 7200]))
            for fact in self.ledgers.erase(raw_id(self.chance.choice(list(HOMES))), asked_at):
                for each in self.calls:
                    if fact.call in self.ledgers.family(each.call.key):
                        fold.apply(each.call, fact)

    def merge(self, meeting: Writing) -> None:
        """One of the calls was this one all along."""
        source = self.chance.choice([each for each in self.calls if each is not meeting])
        if source.call.opened_at is not None and self.chance.random() < 0.3:
            meeting.take_in(source)
            self.calls.remove(source)
            self.agree()

    def crash(self) -> None:
        """The process dies: of every region the last lines were not on disk yet, here more and there less."""
        for lines in self.ledgers.lines.values():
            del lines[len(lines) - self.chance.randrange(min(12, len(lines))) :]

    def agree(self, *, live: bool = True) -> None:
        """Live, read back and verified, every call is covered alike."""
        for meeting in self.calls:
            now = meeting.now + timedelta(milliseconds=self.chance.choice(WAITS))
            again = meeting.read_back()
            for level in LEVELS:
                verified = said_by_verifier(meeting, level, now)
                assert verified == said_by_gateway(again, level, now)
                assert not live or verified == said_by_gateway(meeting.call, level, now)
            tables_agree(meeting, now)

    def run(self, steps: int) -> None:
        """So much happens, and now and then everybody is asked."""
        for _ in range(steps):
            self.wait()
            self.step()
            if self.chance.random() < 0.05:
                self.agree()
        self.agree()


def two() -> tuple[Writing, Writing]:
    """A call in Europe and what is known of it in the States under an alias."""
    ledgers, ids = Ledgers(), Ids()
    target = Writing(ledgers, CallKey("contoso", "standup"), "europe", ids)
    return target, Writing(ledgers, CallKey("contoso", "alias"), "states", ids)


@pytest.mark.parametrize(
    ("lost_here", "lost_there", "reason"),
    [(None, None, "pending"), (1, None, "pending"), (None, 1, "pending"), (1, 2, "disconnected")],
)
def test_who_is_in_two_calls_that_are_one(lost_here: int | None, lost_there: int | None, reason: str) -> None:
    """Is there once, for as long as any connection holds, in either; and was there from the first on."""
    target, source = two()
    target.join("ann")
    source.join("ann", "s-other")
    for meeting, session, lost in ((target, "s-ann", lost_here), (source, "s-other", lost_there)):
        meeting.at(3 if lost is None else lost)
        if lost is not None:
            meeting.lose("ann", session)
        meeting.at(3)
    source.claim(OPERATOR, ACTIVE)
    target.take_in(source)
    target.at(8)
    found = said_by_verifier(target, None, target.now)
    assert (
        found == said_by_gateway(target.call, None, target.now) == said_by_gateway(target.read_back(), None, target.now)
    )
    ((gap,),) = [notice["gaps"] for notice in found["notices"]]
    assert gap["reason"] == reason


def tables_agree(meeting: Writing, now: datetime) -> None:
    """Every table that the gateway exports is the one that the verifier makes."""
    ledgers, key = meeting.ledgers, meeting.call.key
    stored = ledgers.stored(key)
    parts = [
        Part(region, f"gateway/{region}", False, found.facts, tuple(ledgers.about(region, ledgers.family(key))), {})
        for region, found in stored.items()
    ]
    story = tell(key, parts, homes_of(stored), now, None)
    files = {
        "coverage.json": records.coverage(story),
        "episodes.jsonl": records.episodes(story),
        "levels.jsonl": records.levels(story),
        "notices.jsonl": records.notices(story),
        "participants.jsonl": records.participants(story),
        "presences.jsonl": records.presences(story),
    }
    claims.check(files, key.call, ledgers.entries(key), None, story.at, frozenset())


@pytest.mark.parametrize("seed", range(60))
def test_gateway_and_verifier_agree(seed: int) -> None:
    """Owed, proved and by which entry, gaps, reasons, since and exposure: at any moment and at every level."""
    World(seed).run(120)


@pytest.mark.parametrize("seed", range(30))
def test_they_agree_whatever_the_clock_does(seed: int) -> None:
    """A clock set back, even by hours while calls are merged, reorders nothing for anybody."""
    World(seed, steady=False).run(100)


@pytest.mark.parametrize("seed", range(60))
def test_they_agree_about_what_a_crash_left(seed: int) -> None:
    """When the last lines of some regions were lost: a restart finds what a verifier finds, no more and no less."""
    world = World(seed)
    world.run(60)
    world.crash()
    world.agree(live=False)


class Audited(test_machine.Core):
    """Everything that may happen to a call, and in the end an auditor."""

    def teardown(self) -> None:
        """What the contract's model, the gateway and the verifier say is the same."""
        for side in self.sides:
            self.disk(self.sides.index(side), failing=False)
            ledgers, meeting = Ledgers(), side.meeting
            ink = Ink({"europe": None})
            for number, fact in enumerate(meeting.recorded):
                if isinstance(fact, facts.PresenceOpened):
                    ink.salts[fact.presence] = test_machine.SALT
                leaf = to_entry(fact, ink)
                if isinstance(fact, facts.LevelProved) and number % 2 == 1:
                    leaf = levels_entry([fact], ink)
                ledgers.append("europe", leaf, fact.call)
            for level in LEVELS:
                verified = covered(told(meeting.call.key.call, ledgers.entries(meeting.call.key)), level, side.now)
                assert verified == said_by_gateway(meeting.call, level, side.now)


TestAudited = Audited.TestCase
TestAudited.settings = settings(test_machine.TestCore.settings, max_examples=100)
