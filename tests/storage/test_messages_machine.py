"""The last message against a plain model, through any sequence of messages, edits, deletions, repeats and sweeps."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from storage.operations import KeepMessage
from storage.residue import scan
from storage.retention import Terms
from tests.storage.desk import START, Desk

PEOPLE = ("8:acs:needle_a", "8:acs:needle_b")
LIFE = timedelta(milliseconds=40)


class LastMessages(RuleBasedStateMachine):
    """The model: what each participant has now, and up to which version each message is gone."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="last-messages-"))
        self.now: datetime = START
        self.current: dict[str, KeepMessage] = {}
        self.gone: dict[tuple[str, str, str], tuple[int, datetime]] = {}
        self.taken: list[KeepMessage] = []
        self.said = 0

    @initialize()
    def begin(self) -> None:
        self.desk = Desk(self.root, terms=Terms(LIFE))

    def _forbid(self, fact: KeepMessage, version: int, until: datetime) -> None:
        key = (fact.participant, fact.thread, fact.message)
        former = self.gone.get(key, (version, until))
        self.gone[key] = (max(version, former[0]), max(until, former[1]))

    def _expected(self, fact: KeepMessage) -> str:
        key = (fact.participant, fact.thread, fact.message)
        now = self.current.get(fact.participant)
        same = now is not None and (now.thread, now.message) == (fact.thread, fact.message)
        if key in self.gone and fact.version <= self.gone[key][0]:
            return "ignored"
        if now is not None and same and (fact.version < now.version or (fact.version == now.version and fact.content)):
            return "ignored"
        if fact.deleted:
            self._forbid(
                fact,
                fact.version,
                max(fact.sent_at + LIFE, now.sent_at + LIFE) if now is not None and same else fact.sent_at + LIFE,
            )
            if not same:
                return "ignored"
            del self.current[fact.participant]
            return "deleted"
        if fact.sent_at + LIFE <= fact.at:
            return "ignored"
        if now is not None and not same:
            if (fact.sent_at, fact.version) <= (now.sent_at, now.version):
                self._forbid(fact, fact.version, fact.sent_at + LIFE)
                return "ignored"
            self._forbid(now, now.version, now.sent_at + LIFE)
        self.current[fact.participant] = fact
        return "stored"

    def _take(self, fact: KeepMessage) -> None:
        expected = self._expected(fact)
        assert self.desk.do(fact)[0].kind == expected
        self.taken.append(fact)

    @rule(
        who=st.sampled_from(PEOPLE),
        thread=st.sampled_from("tu"),
        name=st.sampled_from("xyz"),
        version=st.integers(1, 4),
        ago=st.integers(0, 45),
        deleted=st.booleans(),
    )
    def take(self, who: str, thread: str, name: str, version: int, ago: int, deleted: bool) -> None:
        """A message, an edit or a deletion arrives, perhaps out of order, perhaps too late."""
        sent_at = self.now - timedelta(milliseconds=ago)
        self.said += 1
        content = None if deleted else f"needle {self.said:08d}"
        self._take(
            KeepMessage(who, "r", thread, name, version, sent_at, content, deleted, self.now),
        )

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """What was taken comes again, now or long after: it is ignored whenever it is remembered or due."""
        fact = replace(data.draw(st.sampled_from(self.taken)), at=self.now)
        before = dict(self.current)
        self._take(fact)
        if fact.content is not None and fact.sent_at + LIFE > self.now:
            assert self.current == before

    @rule(milliseconds=st.integers(0, 30), limit=st.integers(1, 3))
    def sweep(self, milliseconds: int, limit: int) -> None:
        """Time passes and what is due goes, in batches."""
        self.now += timedelta(milliseconds=milliseconds)
        due = {who for who, fact in self.current.items() if fact.sent_at + LIFE <= self.now}
        deleted, remaining = 0, True
        while remaining:
            outcome = self.desk.region.sweep(self.now, limit).result(30)
            deleted, remaining = deleted + outcome.deleted, outcome.remaining
            assert outcome.deleted <= limit
        assert deleted == len(due)
        for who in due:
            del self.current[who]
        self.gone = {key: mark for key, mark in self.gone.items() if mark[1] > self.now}

    @rule()
    def reopen(self) -> None:
        """The process ends and starts again."""
        self.desk.close()
        self.desk = Desk(self.root, terms=Terms(LIFE))

    @invariant()
    def agree(self) -> None:
        """Region and model say the same of everyone."""
        if not hasattr(self, "desk"):
            return
        for who in PEOPLE:
            found, expected = self.desk.ask(lambda reader, who=who: reader.message(who)), self.current.get(who)  # type: ignore[misc]
            assert (found is None) is (expected is None)
            if found is not None and expected is not None:
                assert (found.content, found.version) == (expected.content, expected.version)
                assert (found.sent_at, found.expires_at) == (expected.sent_at, expected.sent_at + LIFE)

    def teardown(self) -> None:
        if hasattr(self, "desk"):
            assert scan(self.root, [b"needle"]) == []
            self.desk.close()
            assert scan(self.root, [b"needle"]) == []
        shutil.rmtree(self.root)


TestLastMessages = LastMessages.TestCase
TestLastMessages.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
