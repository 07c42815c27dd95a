"""A machine that appends, fails, merges and starts again, against a plain walk through the ledger."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from itertools import chain
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from storage import spans
from storage.audit.filed import Filing
from storage.calls import move_call
from storage.clock import system_clock
from storage.condition import is_indexed
from storage.connection import WritingConnection
from storage.engine import connect_reader, sqlite3
from storage.entry import canonical
from storage.identity import establish
from storage.operations import Call, MoveCall
from storage.premises import Premises
from storage.reader import Reader
from tests.storage.desk import TERMS, Desk

LENGTH: Final = 16
"""How many entries a span has here."""
CALLS: Final[list[Call]] = [("contoso", "daily"), ("fabrikam", "daily"), ("contoso", "weekly")]
NEVER: Final[Call] = ("contoso", "never")
"""A call of which only what fails would tell."""
SOME = st.lists(st.sampled_from([None, *CALLS]), max_size=LENGTH + 4)


class _Failing(ValueError):
    """What an operation brings upon itself."""


class Histories(RuleBasedStateMachine):
    """Commits of any size, submissions that fail alone, commits that fail, merges, and starts."""

    def __init__(self) -> None:
        super().__init__()
        memory = Path("/dev/shm")
        self.root = Path(tempfile.mkdtemp(prefix="spans-", dir=memory if memory.is_dir() else None))
        self.merged: set[tuple[Call, Call]] = set()
        self.patch = pytest.MonkeyPatch()

    @initialize()
    def begin(self) -> None:
        self.patch.setattr(spans, "LENGTH", LENGTH)
        Desk(self.root).close()
        premises = Premises("europe", self.root / "data" / "europe", self.root / "keys" / "europe")
        self.path = premises.database
        self.keys = establish(premises, "tests")
        self.open()

    def open(self) -> None:
        self.writing = WritingConnection(self.path, self.keys, system_clock, TERMS)
        self.connection = connect_reader(self.path)
        self.reader = Reader(self.connection, self.keys.vault, TERMS)

    def close(self) -> None:
        self.connection.close()
        self.writing.close()

    def teardown(self) -> None:
        if hasattr(self, "reader"):
            self.close()
            self.keys.vault.close()
        self.patch.undo()
        shutil.rmtree(self.root)

    def rows(self, statement: str) -> list[Any]:
        return self.connection.execute(statement).fetchall()

    def put(self, *calls: Call | None) -> None:
        for call in calls:
            self.writing.transaction.append(canonical({"kind": "noted"}), call)

    # -- what happens -------------------------------------------------------------------------------------------------

    @rule(calls=SOME)
    def append(self, calls: list[Call | None]) -> None:
        self.writing.transact(lambda: self.put(*calls))

    @rule(before=SOME, amid=SOME, after=SOME)
    def fail_in_part(self, before: list[Call | None], amid: list[Call | None], after: list[Call | None]) -> None:
        """One submission of a group is undone."""

        def fail() -> None:
            self.put(*amid, NEVER)
            raise _Failing

        def work() -> None:
            self.put(*before)
            with contextlib.suppress(_Failing):
                self.writing.transaction.attempt(fail)
            self.put(*after)

        self.writing.transact(work)

    @rule(calls=SOME)
    def fail(self, calls: list[Call | None]) -> None:
        """A whole group is."""

        def work() -> None:
            self.put(*calls, NEVER)
            raise _Failing

        with pytest.raises(_Failing):
            self.writing.transact(work)

    @rule(calls=SOME)
    def fail_to_commit(self, calls: list[Call | None]) -> None:
        """The commit itself is refused, with the span already written."""

        def work() -> None:
            self.put(*calls)
            self.writing.transaction.execute("INSERT INTO event_entries(digest, seq) VALUES (x'00', 1000000)")

        with pytest.raises(sqlite3.IntegrityError):
            self.writing.transact(work)

    @rule(source=st.sampled_from(CALLS), into=st.sampled_from(CALLS))
    def merge(self, source: Call, into: Call) -> None:
        transaction = self.writing.transaction
        self.writing.transact(lambda: move_call(transaction, MoveCall(source, into)))
        self.merged.add((source, into))

    @rule()
    def start_again(self) -> None:
        """The process ends and starts again, and what it looks at first is in order."""
        self.close()
        with contextlib.closing(connect_reader(self.path)) as connection:
            assert is_indexed(connection)
        self.open()

    # -- what holds ---------------------------------------------------------------------------------------------------

    @invariant()
    def each_call_has_its_entries(self) -> None:
        """As a plain walk finds them, each with its place."""
        if not hasattr(self, "reader"):
            return
        self.reader.refresh()
        about: dict[Call, list[tuple[int, bytes]]] = {}
        walk = "SELECT organization, calls.call, seq, leaf FROM entries JOIN calls ON calls.id = entries.call"
        for organization, call, seq, leaf in self.rows(walk):
            about.setdefault((organization, call), []).append((seq, leaf))
        for name in (*CALLS, NEVER):
            family = sorted(chain.from_iterable(about.get(each, []) for each in self.family(name)))
            assert self.reader.call_entries(name) == family
        for entries in about.values():
            assert [json.loads(leaf)["ahead"] for _, leaf in sorted(entries)] == list(range(len(entries)))

    def family(self, call: Call) -> set[Call]:
        found: set[Call] = set()
        waiting = [call]
        while waiting:
            each = waiting.pop()
            if each not in found:
                found.add(each)
                waiting += [source for source, into in self.merged if into == each]
        return found

    @invariant()
    def the_spans_are_those_of_the_entries(self) -> None:
        """And the tail is never as long as one."""
        if not hasattr(self, "reader"):
            return
        self.reader.refresh()
        filing = Filing(self.connection)
        filing.compare(0, [call for (call,) in self.rows("SELECT call FROM entries ORDER BY seq")])
        assert filing.end() is None
        ((size, spanned),) = self.rows("SELECT size, spanned FROM head")
        assert 0 <= size - spanned < LENGTH


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=20, stateful_step_count=12, deadline=None)
