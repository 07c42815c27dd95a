"""Messages, policies, holds, releases and erasures against a plain model, in any order, with sweeps and restarts."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from storage.operations import AskErasure, KeepMessage, SetRule
from storage.residue import scan
from storage.retention import Terms
from tests.storage.desk import START, TERMS, Desk
from tests.storage.ruled import DAY, Action, contents, hold, policy, presence, reviewed, rows, sweep, without

PEOPLE = ("8:acs:r_needle_a", "8:acs:f_needle_b")
DEFAULT = 4 * DAY
SCOPES: dict[str, dict[str, Any]] = {
    "all": {},
    "contoso": {"organizations": ("contoso",)},
    "f": {"resources": ("f",)},
    "a": {"participants": (PEOPLE[0],)},
    "t": {"threads": ("t",)},
    "call": {"calls": ("call-1",)},
}
scopes = st.sampled_from(["all", "contoso", "f", "a", "t"])


def covers(scope: str, who: str, threads: set[str], in_call: bool) -> bool:
    """Whether a scope includes somebody with these threads."""
    return {
        "all": True,
        "contoso": who == PEOPLE[0],
        "f": who == PEOPLE[1],
        "a": who == PEOPLE[0],
        "t": "t" in threads,
        "call": in_call,
        "nobody": False,
    }[scope]


@dataclass(eq=False)
class Kept:
    """A copy: what was said, and why and since when it is no last message."""

    fact: KeepMessage
    gone: Literal["deleted", "superseded"] | None = None
    gone_at: datetime | None = None


class Retention(RuleBasedStateMachine):
    """The model: every copy, every rule, who waits to be erased, and what must not come back."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="retention-"))
        self.terms = Terms(DEFAULT, TERMS.organizations, TERMS.resource_of)
        self.now = START
        self.copies: list[Kept] = []
        self.policies: dict[str, tuple[Action, int, str]] = {}
        self.holds: dict[str, str] = {}
        self.asked: list[str] = []
        self.marks: dict[tuple[str, str, str], tuple[int, datetime]] = {}
        self.in_call: set[str] = set()
        self.said = 0

    @initialize()
    def begin(self) -> None:
        self.desk = Desk(self.root, terms=self.terms)

    # -- what the rules say ---------------------------------------------------------------------------------------

    def _due(self, fact: KeepMessage, gone: str | None = None, gone_at: datetime | None = None) -> datetime:
        found = [
            (action, days * DAY, scope not in ("all", "contoso"))
            for action, days, scope in self.policies.values()
            if covers(scope, fact.participant, {fact.thread}, False)
        ]
        until = max((fact.sent_at + days for action, days, _ in found if action != "delete"), default=fact.sent_at)
        if gone_at is not None:
            return max(until, gone_at) if gone == "deleted" else gone_at
        deleting = [(days, explicit) for action, days, explicit in found if action != "retain"]
        named = [each for each in deleting if each[1]]
        period = min((days for days, _ in named or deleting), default=DEFAULT)
        return max(fact.sent_at + period, until)

    def _held(self, who: str, threads: set[str]) -> bool:
        return any(covers(scope, who, threads, who in self.in_call) for scope in self.holds.values())

    def _of(self, who: str, gone: str | None = None) -> list[Kept]:
        return [each for each in self.copies if each.fact.participant == who and each.gone == gone]

    # -- messages -------------------------------------------------------------------------------------------------

    def _forbid(self, fact: KeepMessage, version: int, until: datetime) -> None:
        key = (fact.participant, fact.thread, fact.message)
        former = self.marks.get(key, (version, until))
        self.marks[key] = (max(version, former[0]), max(until, former[1]))

    def _let_go(self, copy: Kept, gone: Literal["deleted", "superseded"]) -> None:
        copy.gone, copy.gone_at = gone, min(self.now, copy.gone_at or self.now)
        due = self._due(copy.fact, gone, copy.gone_at)
        if due <= self.now and not self._held(copy.fact.participant, {copy.fact.thread}):
            self.copies.remove(copy)

    def _expected(self, fact: KeepMessage) -> str:
        key = (fact.participant, fact.thread, fact.message)
        now = next(iter(self._of(fact.participant)), None)
        same = now is not None and (now.fact.thread, now.fact.message) == key[1:]
        if key in self.marks and fact.version <= self.marks[key][0]:
            return "ignored"
        if fact.deleted:
            return self._deleted(fact, now if same else None)
        if now is not None and same and fact.version <= now.fact.version:
            return "ignored"
        if self._due(fact) <= self.now:
            return "ignored"
        age = (fact.sent_at, fact.version)
        if now is not None and not same:
            if age <= (now.fact.sent_at, now.fact.version):
                self._forbid(fact, fact.version, self._due(fact))
                return "ignored"
            self._forbid(now.fact, now.fact.version, self._due(now.fact))
        if now is not None:
            self._let_go(now, "superseded")
        for each in self._of(fact.participant, "deleted"):
            if (each.fact.sent_at, each.fact.version) < age:
                self._let_go(each, "superseded")
        self.copies.append(Kept(fact))
        return "stored"

    def _deleted(self, fact: KeepMessage, now: Kept | None) -> str:
        if now is None:
            self._forbid(fact, fact.version, self._due(fact))
            return "ignored"
        if fact.version < now.fact.version:
            return "ignored"
        self._forbid(fact, fact.version, max(self._due(fact), self._due(now.fact)))
        age = (now.fact.sent_at, now.fact.version)
        later = [each for each in self._of(fact.participant, "deleted") if (each.fact.sent_at, each.fact.version) > age]
        self._let_go(now, "superseded" if later else "deleted")
        return "deleted"

    @rule(
        who=st.sampled_from(PEOPLE),
        thread=st.sampled_from("tu"),
        name=st.sampled_from("xy"),
        version=st.integers(1, 4),
        ago=st.integers(0, 130),
        deleted=st.booleans(),
    )
    def take(self, who: str, thread: str, name: str, version: int, ago: int, deleted: bool) -> None:
        """A message, an edit or a deletion arrives, perhaps out of order, perhaps too late."""
        self.said += 1
        content = None if deleted else f"needle {self.said:08d}"
        sent_at = self.now - timedelta(hours=ago)
        fact = KeepMessage(who, who[6], thread, name, version, sent_at, content, deleted, self.now)
        expected = self._expected(fact)
        assert self.desk.do(fact)[0].kind == expected

    # -- rules ----------------------------------------------------------------------------------------------------

    @rule(
        name=st.sampled_from("pq"),
        action=st.sampled_from(["retain", "delete", "retain_then_delete"]),
        days=st.integers(1, 9),
        scope=scopes,
    )
    def set_policy(self, name: str, action: Action, days: int, scope: str) -> None:
        """A policy, in place of one of its name."""
        self.policies[name] = (action, days, scope)
        self._do(policy(action, days, name=name, at=self.now, **SCOPES[scope]))

    @rule(name=st.sampled_from("hi"), scope=st.one_of(scopes, st.just("call")))
    def set_hold(self, name: str, scope: str) -> None:
        """A hold, in place of one of its name."""
        self.holds[name] = scope
        self._do(hold(name, at=self.now, **SCOPES[scope]))

    @rule(name=st.sampled_from("pqhi"))
    def remove(self, name: str) -> None:
        """A policy goes, or a hold is released."""
        there = name in self.policies or name in self.holds
        self.policies.pop(name, None)
        self.holds.pop(name, None)
        kind: Literal["policy", "hold"] = "policy" if name in "pq" else "hold"
        assert self.desk.do(without(kind, name, self.now)) == (there,)
        reviewed(self.desk)

    def _do(self, operation: SetRule) -> None:
        self.desk.do(operation)
        # Marks are kept until a copy's time as it is written down, which the review brings up to date.
        reviewed(self.desk)

    @rule(who=st.sampled_from(PEOPLE))
    def join(self, who: str) -> None:
        """Somebody is in the call."""
        self.said += 1
        self.in_call.add(who)
        self.desk.do(presence(f"p_{self.said}", who, at=self.now))

    # -- what goes ------------------------------------------------------------------------------------------------

    @rule(who=st.sampled_from(PEOPLE))
    def ask(self, who: str) -> None:
        """Somebody is to be erased."""
        (held_by,) = self.desk.do(AskErasure(who, who[6], self.now))
        assert bool(held_by) == self._held(who, self._threads(who))
        if who not in self.asked:
            self.asked.append(who)

    def _threads(self, who: str) -> set[str]:
        return {each.fact.thread for each in self.copies if each.fact.participant == who}

    @rule(hours=st.integers(0, 72), limit=st.integers(1, 3))
    def sweep(self, hours: int, limit: int) -> None:
        """Time passes, and what is to go goes, in batches."""
        self.now += timedelta(hours=hours)
        going = [who for who in self.asked if not self._held(who, self._threads(who))]
        gone = [each for each in self.copies if each.fact.participant in going]
        for each in gone:
            due = self._due(each.fact, each.gone, each.gone_at)
            self._forbid(each.fact, each.fact.version, max(due, each.fact.sent_at + DEFAULT))
        self.asked = [who for who in self.asked if who not in going]
        self.in_call -= set(going)
        if PEOPLE[0] in going:
            # What named nobody else is about nobody then.
            self.policies = {
                name: (action, days, "nobody" if scope == "a" else scope)
                for name, (action, days, scope) in self.policies.items()
            }
        for each in [each for each in self.copies if each not in gone]:
            due = self._due(each.fact, each.gone, each.gone_at)
            if due <= self.now and not self._held(each.fact.participant, {each.fact.thread}):
                gone.append(each)
                if each.gone is None and due < each.fact.sent_at + DEFAULT:
                    self._forbid(each.fact, each.fact.version, each.fact.sent_at + DEFAULT)
        self.copies = [each for each in self.copies if each not in gone]
        assert sweep(self.desk, self.now, limit) == len(gone)
        assert sweep(self.desk, self.now, limit) == 0
        self.marks = {key: mark for key, mark in self.marks.items() if mark[1] > self.now}

    @rule()
    def reopen(self) -> None:
        """The process ends and starts again."""
        self.desk.close()
        self.desk = Desk(self.root, terms=self.terms)

    @invariant()
    def agree(self) -> None:
        """Region and model have the same copies, the same marks, and say the same of when each goes."""
        if not hasattr(self, "desk"):
            return
        there = sorted(contents(self.desk), key=repr)
        assert there == sorted(((each.gone, each.fact.content) for each in self.copies), key=repr)
        assert rows(self.desk, "SELECT count(*) FROM marks") == [(len(self.marks),)]
        for who in PEOPLE:
            retained = self.desk.ask(lambda reader, who=who: reader.kept.retained(who, who[6], self.now))  # type: ignore[misc]
            said = sorted((each.judgement.decision.due_at, bool(each.judgement.holds)) for each in retained.copies)
            model = [each for each in self.copies if each.fact.participant == who]
            assert said == sorted(
                (self._due(each.fact, each.gone, each.gone_at), self._held(who, {each.fact.thread})) for each in model
            )
            assert (retained.erasure_asked_at is not None) == (who in self.asked)

    def teardown(self) -> None:
        if hasattr(self, "desk"):
            assert scan(self.root, [b"needle"]) == []
            self.desk.close()
            assert scan(self.root, [b"needle"]) == []
        shutil.rmtree(self.root)


TestRetention = Retention.TestCase
TestRetention.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
