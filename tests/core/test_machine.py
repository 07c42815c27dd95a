"""The pure core under anything that may happen, in any order, held against the contract said a second time.

Two calls with the same people run side by side. After every step: coverage says exactly what the model of the
contract says, so it never claims more than the clients said and had on disk, and lists everyone else; what a state
would show is what is owed; revisions grow by one; at most one episode of a capability is open; nothing of one call
is in the other. What is folded again from its entries is what it was.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gateway.core import facts, fold
from gateway.core.call import Call
from gateway.core.delivery import owed_notices
from gateway.core.types import CallKey, Capability, Level, Role, State
from gateway.hub.entries import facts_of
from gateway.hub.journal import Box, Ink, to_entry
from tests.core.covered import cover_notice
from tests.core.meeting import ACTIVE, AUTHORITIES, INACTIVE, PAUSED, UNKNOWN, Ids, Meeting, raw_id
from tests.core.model import Model, Told
from tests.core.same import remembered, texts_of, without_names
from tests.levels import levels_entry

PEOPLE = ("ann", "bob", "cyd")
EVERYBODY = (*PEOPLE, "eve")
MINUTE = timedelta(minutes=1)
CAPABILITIES = tuple(Capability)
LEVELS = (Level.RECEIVED, Level.DISPLAYED, Level.ACKNOWLEDGED, Level.CONSENTED, Level.DECLINED, Level.WITHDRAWN)
STATES = st.sampled_from([ACTIVE, ACTIVE, INACTIVE, INACTIVE, PAUSED, UNKNOWN])
ABOUT = st.sampled_from([Capability.RECORDING, Capability.RECORDING, Capability.TRANSCRIPTION])
ASKED = (Level.SENT, Level.RECEIVED, Level.ACKNOWLEDGED, Level.CONSENTED)
SALT = bytes(32)

WHICH = st.sampled_from([0, 0, 0, 1])
WHO = st.sampled_from(PEOPLE)
WAITS = st.sampled_from([1, 500, 1000, 9_000, 9_999, 10_000, 10_001, 50_000, 60_000, 120_000, 200_000])
LAGS = st.sampled_from([0, 0, 0, 1, 1000, 20_000, 100_000])


class Side:
    """One call: what is tested, what the contract says of it, and what its sources said."""

    def __init__(self, name: str, ids: Ids) -> None:
        self.meeting = Meeting(CallKey("contoso", name), ids=ids)
        self.model = Model(self._rename)
        self.words: dict[tuple[Capability, str], tuple[State, datetime]] = {}
        self.withdrawn: set[tuple[Capability, str]] = set()
        self.started: dict[Capability, datetime] = {}
        self.denied: set[Capability] = set()
        self.doubted: set[Capability] = set()
        self.quiet: dict[Capability, datetime] = {}
        self.seen = 0
        self.sequence = 0

    def _rename(self, was: str, name: str) -> None:
        """Who was erased is nobody's source any more."""
        self.words = {(about, name if who == was else who): word for (about, who), word in self.words.items()}
        self.withdrawn = {(about, name if who == was else who) for about, who in self.withdrawn}

    @property
    def now(self) -> datetime:
        """The meeting's time."""
        return self.meeting.now

    @property
    def call(self) -> Call:
        """What is tested."""
        return self.meeting.call

    def on(self, capability: Capability) -> bool:
        """Whether an episode is open, as far as anybody was told."""
        return any(
            each.change == "started" and each.capability == capability.value and each.episode not in self.model.ends
            for each in self.model.told.values()
        )

    def hear(self) -> list[Told]:
        """Take in what the call told since last time, as the people in it do."""
        fresh = [fact for fact in self.meeting.recorded[self.seen :] if isinstance(fact, facts.NoticeIssued)]
        self.seen = len(self.meeting.recorded)
        heard = []
        for fact in fresh:
            told = Told(
                fact.notice,
                fact.capability.value,
                fact.episode,
                fact.change.value,
                fact.at,
                not self.meeting.failing,
            )
            heard.append(told)
            self.model.hear(told)
            if told.change == "started":
                self.started[fact.capability] = fact.at
                self.denied.discard(fact.capability)
        return heard

    def say(self, about: Capability, source: str, state: State, occurred: datetime) -> None:
        """A source's newest word."""
        if state is INACTIVE:
            self.denied.add(about)
            if self.words.get((about, source)) != (state, occurred):
                self.doubted.add(about)
        elif state is ACTIVE:
            self.doubted.discard(about)
        self.words[about, source] = (state, occurred)

    def lapse(self) -> None:
        """The claims of whoever has been gone for ten seconds fall away."""
        for about, source in self.words:
            if source not in AUTHORITIES and not self.model.lately(source, self.now):
                self.withdrawn.add((about, source))

    def perhaps_on(self, capability: Capability) -> bool:
        """Whether any source's word might keep it on: an authority's, or of whoever may not have been gone for long."""
        return any(
            about is capability
            and state in {ACTIVE, PAUSED}
            and (source in AUTHORITIES or self.model.lately(source, self.now))
            for (about, source), (state, _) in self.words.items()
        )

    def standing(self, capability: Capability) -> list[str]:
        """Sources whose newest word keeps the capability on for certain."""
        return [
            source
            for (about, source), (state, _) in self.words.items()
            if about is capability
            and state is ACTIVE
            and (about, source) not in self.withdrawn
            and (source in AUTHORITIES or self.model.connected(source))
        ]


class Core(RuleBasedStateMachine):
    """Everything that may happen to two calls."""

    @initialize()
    def begin(self) -> None:
        """Two calls, the same people."""
        ids = Ids()
        self.sides = [Side("standup", ids), Side("review", ids)]
        for side in self.sides:
            for who in ("ann", "bob"):
                side.meeting.join(who)
                side.model.join(side.now, who, f"s-{who}", observer=False)

    # Time

    @rule(milliseconds=WAITS)
    def wait(self, milliseconds: int) -> None:
        """Time passes, for both calls."""
        for side in self.sides:
            until = side.now + timedelta(milliseconds=milliseconds)
            while side.call.wakes and side.call.wakes[0][0] <= until:
                side.meeting.until(max(side.now, side.call.wakes[0][0]))
                side.model.pass_time(side.now)
                self._check(side, side.hear())
            side.meeting.until(until)
            side.model.pass_time(side.now)
            side.lapse()

    def _check(self, side: Side, heard: list[Told]) -> None:
        """Nothing is told that nobody said: no start without a claim, no stop against one or out of nowhere."""
        for told in heard:
            if told.change == "started":
                said = [state for (about, _), (state, _) in side.words.items() if about == told.capability]
                assert ACTIVE in said
            if told.last:
                assert side.standing(Capability(told.capability)) == []
                assert Capability(told.capability) in side.denied

    # Sessions

    @rule(which=WHICH, who=WHO, device=st.sampled_from(["", "-tablet"]))
    def join(self, which: int, who: str, device: str) -> None:
        """A first or second session, or the first one again."""
        side = self.sides[which]
        side.meeting.join(who, f"s-{who}{device}")
        side.model.join(side.now, who, f"s-{who}{device}", observer=False)

    @rule(which=WHICH, who=st.sampled_from(["bob", "eve"]))
    def watch(self, which: int, who: str) -> None:
        """An observer's session."""
        side = self.sides[which]
        side.meeting.join(who, f"s-{who}-watching", Role.OBSERVER)
        side.model.join(side.now, who, f"s-{who}-watching", observer=True)

    @rule(
        which=WHICH,
        who=st.sampled_from(EVERYBODY),
        device=st.sampled_from(["", "-tablet", "-watching"]),
        reason=st.sampled_from(["left", "disconnected", "slow"]),
    )
    def lose(self, which: int, who: str, device: str, reason: str) -> None:
        """A session goes, or one that was never there."""
        side = self.sides[which]
        side.meeting.lose(who, f"s-{who}{device}", reason)
        side.model.lose(side.now, who, f"s-{who}{device}", left=reason == "left")

    # Rosters

    @rule(
        which=WHICH,
        people=st.sets(WHO),
        lag=LAGS,
        step=st.sampled_from([-1, 0, 1, 2]),
        connection=st.sampled_from("ab"),
    )
    def roster(self, which: int, people: set[str], lag: int, step: int, connection: str) -> None:
        """A whole roster, newer or older, on time or late."""
        side = self.sides[which]
        side.sequence = max(side.sequence, side.sequence + step)
        number = side.sequence if step > 0 else side.sequence + step
        occurred = side.now - timedelta(milliseconds=lag)
        side.meeting.roster(sorted(people), number, side.meeting.elapsed - lag / 1000, connection)
        side.model.roster(side.now, connection, number, people, occurred)

    @rule(
        which=WHICH, people=st.sets(WHO), lag=LAGS, step=st.sampled_from([-1, 0, 1]), connection=st.sampled_from("ab")
    )
    def roster_begun(self, which: int, people: set[str], lag: int, step: int, connection: str) -> None:
        """The newcomers of a roster are listed, and no more of it is applied: as if each was reported alone."""
        side = self.sides[which]
        number = max(side.sequence, side.sequence + step) if step > 0 else side.sequence + step
        occurred = side.now - timedelta(milliseconds=lag)
        new = sorted(each for each in people if side.model.is_new(each))
        side.meeting.roster_begun(new, number, side.meeting.elapsed - lag / 1000, connection)
        if number > side.model.newest.get(connection, -1):
            for who in new:
                side.model.word(side.now, who, occurred, present=True)

    @rule(which=WHICH, who=WHO, present=st.booleans(), lag=LAGS)
    def report(self, which: int, who: str, present: bool, lag: int) -> None:
        """A word about one participant, on time or late."""
        side = self.sides[which]
        side.meeting.report(who, present=present, occurred=side.meeting.elapsed - lag / 1000)
        side.model.word(side.now, who, side.now - timedelta(milliseconds=lag), present=present)

    # Claims

    @rule(which=WHICH, source=st.sampled_from(AUTHORITIES), about=ABOUT, state=STATES, lag=LAGS)
    def authority(self, which: int, source: str, about: Capability, state: State, lag: int) -> None:
        """An authority says something, on time or late."""
        side = self.sides[which]
        occurred = side.now - timedelta(milliseconds=lag)
        side.meeting.claim(source, state, capability=about, occurred=occurred)
        over = side.model.over_at is not None and (
            occurred <= side.model.over_at or (side.call.ended and state is not ACTIVE)
        )
        last = side.words.get((about, source))
        heard = not over and (last is None or occurred >= last[1])
        again = last == (state, occurred)
        if heard:
            side.say(about, source, state, occurred)
            if state is not ACTIVE:
                self._withdraw(side, about, occurred)
        told = side.hear()
        self._check(side, told)
        if heard and state is ACTIVE:
            assert side.on(about), "an authority's active opens at once"
        others = [
            word
            for (capability, name), (word, _) in side.words.items()
            if capability is about and name in AUTHORITIES and word in {ACTIVE, PAUSED}
        ]
        if heard and not again and state is INACTIVE and lag == 0 and not others:
            assert not side.on(about), "an authority's stop is told at once"

    def _withdraw(self, side: Side, about: Capability, occurred: datetime) -> None:
        for (capability, name), (_, said_at) in side.words.items():
            if capability is about and name not in AUTHORITIES and said_at <= occurred:
                side.withdrawn.add((capability, name))

    @rule(which=WHICH, who=WHO, about=ABOUT, state=STATES)
    def client(self, which: int, who: str, about: Capability, state: State) -> None:
        """The SDK of somebody who is connected says something."""
        side = self.sides[which]
        if not side.model.connected(who):
            return
        before = side.words.get((about, who))
        was_on = side.on(about)
        free = about not in side.started or side.now - side.started[about] >= MINUTE
        news = (before is None or before[0] is not ACTIVE) and side.now != side.model.over_at
        side.meeting.claim(who, state, capability=about)
        side.say(about, who, state, side.now)
        if state is not ACTIVE or news or was_on:
            side.withdrawn.discard((about, who))
        told = side.hear()
        assert not any(each.last for each in told), "a client's word alone stops nothing at once"
        if state is ACTIVE and news and free:
            assert side.on(about), "any credible active opens at once"
        if state is ACTIVE and not side.on(about):
            # Held back for a minute, or a repetition after an authority's stop: it keeps nothing on.
            side.withdrawn.add((about, who))

    # Proof

    @rule(which=WHICH, who=WHO, level=st.sampled_from(LEVELS), data=st.data())
    def acknowledge(self, which: int, who: str, level: Level, data: st.DataObject) -> None:
        """A client confirms any level of any notice: early, late, again, or of an episode long over."""
        side = self.sides[which]
        if side.call.notices and raw_id(who) in side.call.latest:
            name = data.draw(st.sampled_from(sorted(side.call.notices)))
            side.meeting.prove(who, level, side.call.notices[name])
            side.model.confirm(side.now, who, name, level.value)

    @rule(which=WHICH, who=WHO, data=st.data())
    def send(self, which: int, who: str, data: st.DataObject) -> None:
        """A notice is written to the sockets of somebody who is there."""
        side = self.sides[which]
        if side.call.notices and side.model.stay(who) is not None:
            name = data.draw(st.sampled_from(sorted(side.call.notices)))
            side.meeting.sent(who, notice=side.call.notices[name])
            side.model.send(side.now, who, name)

    @rule(who=st.sampled_from(EVERYBODY), lag=st.sampled_from([-100_000, 0, 0, 1, 100_000]))
    def erase(self, who: str, lag: int) -> None:
        """Somebody is erased wherever storage can write it; whoever dates it, nothing else changes."""
        for side in self.sides:
            if not side.meeting.failing:
                before = without_names(side.call, side.now)
                erased = side.meeting.erase(who, side.now - timedelta(milliseconds=lag))
                side.model.erase(who)
                assert without_names(side.call, side.now) == before
                if erased and side.model.stay(who) is None:
                    assert not {who, raw_id(who)} & texts_of(side.call)

    @rule(which=WHICH, failing=st.booleans())
    def disk(self, which: int, failing: bool) -> None:
        """Storage fails, or works again and writes what waited."""
        side = self.sides[which]
        side.meeting.failing = failing
        side.model.recording = not failing
        if not failing:
            side.meeting.commit()
            side.model.write()

    # Ends

    @rule(which=WHICH, lag=LAGS)
    def end(self, which: int, lag: int) -> None:
        """The call is over, or a late event says that an earlier run of it was."""
        side = self.sides[which]
        was_over = side.call.ended
        occurred = side.now - timedelta(milliseconds=lag)
        side.meeting.end(side.meeting.elapsed - lag / 1000)
        if not was_over and side.call.ended:
            side.model.finish(side.now, occurred)
            side.words.clear()
            side.withdrawn.clear()
        assert side.call.ended or lag > 0
        side.hear()
        if side.call.ended:
            assert not any(side.on(each) for each in CAPABILITIES)

    @rule(which=WHICH, everyone_is_lost=st.booleans())
    def restart(self, which: int, everyone_is_lost: bool) -> None:
        """The process ends and reads the call back from its entries; it goes on with that."""
        side = self.sides[which]
        self.disk(which, failing=False)
        again = read_back(side.meeting)
        assert remembered(again, side.now) == remembered(side.call, side.now)
        side.meeting.call = again
        side.model.restart()
        if everyone_is_lost:
            side.meeting.lose_everyone("restarted")
            for stay in side.model.here():
                for session in sorted(stay.sessions):
                    side.model.lose(side.now, stay.person, session, left=False)

    # What always holds

    @invariant()
    def coverage_says_what_the_contract_says(self) -> None:
        """Proved or listed, with reason, since and exposure: no more and no less."""
        for side in self.sides:
            side.hear()
            assert list(side.call.notices) == list(side.model.told)
            for told in side.model.told.values():
                for level in ASKED:
                    expected = side.model.expected(told, level.value, side.now)
                    covered = cover_notice(side.call, side.call.notices[told.name], level, side.now)
                    gaps = sorted(
                        (str(gap.participant).rpartition("_")[2], gap.reason.value, gap.since, gap.exposure)
                        for gap in covered.gaps
                    )
                    assert (covered.owed, covered.proved, gaps) == (expected.owed, expected.proved, expected.gaps)

    @invariant()
    def a_state_shows_what_is_owed(self) -> None:
        """To everybody who is there, and nothing else."""
        for side in self.sides:
            shown = [
                (presence.participant, frozenset(notice.id for notice in owed_notices(side.call, presence)))
                for presence in side.call.open_presences()
            ]
            expected = [
                (None if stay.erased else raw_id(stay.person), frozenset(side.model.to_show(stay)))
                for stay in side.model.here()
            ]
            assert Counter(shown) == Counter(expected)

    @invariant()
    def revisions_grow_by_one(self) -> None:
        """Per call, whatever changed."""
        for side in self.sides:
            revisions = [getattr(fact, "revision", None) for fact in side.meeting.recorded]
            grown = [revision for revision in revisions if revision is not None]
            assert grown == list(range(1, len(grown) + 1))
            assert side.call.revision == len(grown)

    @invariant()
    def at_most_one_episode_is_open(self) -> None:
        """Of a capability, told as started once; and what is shown as on has one."""
        for side in self.sides:
            starts = Counter(each.episode for each in side.model.told.values() if each.change == "started")
            assert starts == Counter(dict.fromkeys(side.call.episodes, 1))
            counts = Counter(each.capability for each in side.call.episodes.values() if each.ended_at is None)
            for capability, track in side.call.tracks.items():
                assert counts[capability] == (track.episode is not None) == (track.state is not INACTIVE)
                assert side.on(capability) == (track.episode is not None)

    @invariant()
    def an_authority_that_says_on_keeps_it_on(self) -> None:
        """And so does everybody who is there and was not overruled."""
        for side in self.sides:
            for capability in CAPABILITIES:
                if side.standing(capability):
                    assert side.on(capability)

    @invariant()
    def what_is_called_off_ends_in_ten_seconds(self) -> None:
        """When nobody can be said to claim it any more, however often it is called off again."""
        for side in self.sides:
            for each in CAPABILITIES:
                if not side.on(each) or each not in side.doubted or side.perhaps_on(each):
                    side.quiet.pop(each, None)
                else:
                    assert side.now - side.quiet.setdefault(each, side.now) < timedelta(seconds=10)

    @invariant()
    def nothing_of_one_call_is_in_the_other(self) -> None:
        """Neither facts nor notices, presences or episodes."""
        one, other = (side.call for side in self.sides)
        for side in self.sides:
            assert {fact.call for fact in side.meeting.recorded} <= {side.call.key}
        for mine, theirs in ((one.notices, other.notices), (one.presences, other.presences)):
            assert not set(mine) & set(theirs)
        assert not set(one.episodes) & set(other.episodes)


def read_back(meeting: Meeting) -> Call:
    """The call as another process finds it: from its entries, and the boxes of its people."""
    ink = Ink({"europe": None})
    boxes: dict[str, Box | None] = {}
    erased = {name for fact in meeting.recorded if isinstance(fact, facts.PresencesErased) for name in fact.presences}
    again = Call(meeting.call.key, meeting.call.policy)
    for entry, fact in enumerate(meeting.recorded):
        if isinstance(fact, facts.PresenceOpened):
            ink.salts[fact.presence] = SALT
            box = Box(fact.participant or "", fact.name, SALT.hex())
            boxes[fact.presence] = None if fact.presence in erased else box
        leaf = to_entry(fact, ink)
        if isinstance(fact, facts.LevelProved) and entry % 2 == 1:
            # As it is written where many may prove at once.
            leaf = levels_entry([fact], ink)
        (read,) = facts_of(leaf, boxes)
        fold.apply(again, read)
        fold.confirm(again, read, entry)
    return again


TestCore = Core.TestCase
# Shrinking eighty steps takes longer than a test may: a failure is told as it was found, with every step.
TestCore.settings = settings(
    max_examples=400,
    stateful_step_count=80,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.reuse, Phase.generate],
)
