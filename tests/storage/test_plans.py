"""However many messages and presences a region has, what is asked about one person looks at theirs alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.clock import system_clock
from storage.connection import WritingConnection
from storage.engine import sqlite3
from storage.erasing import ask_erasure, brought_back, erase, next_wanted, reach
from storage.identity import establish
from storage.operations import AskErasure
from storage.premises import Premises
from storage.reader import Reader
from storage.sweep import delete_due
from tests.storage.desk import START, TERMS, Desk


@pytest.fixture
def writing(tmp_path: Path) -> Iterator[WritingConnection]:
    """The writer's connection to an empty region."""
    Desk(tmp_path).close()
    keys = establish(Premises("europe", tmp_path / "data/europe", tmp_path / "keys/europe"), "tests")
    connection = WritingConnection(tmp_path / "data/europe/region.db", keys, system_clock, TERMS)
    yield connection
    connection.close()
    keys.vault.close()


def walked(connection: sqlite3.Connection, statements: list[str]) -> list[str]:
    """Those of these statements that go through all messages or presences."""
    found = []
    for each in statements:
        with contextlib.suppress(sqlite3.OperationalError):  # BEGIN and the like have no plan
            plan = [detail for *_, detail in connection.execute(f"EXPLAIN QUERY PLAN {each}")]
            found += [each for detail in plan if detail.startswith(("SCAN messages", "SCAN presences"))]
    return found


def test_an_erasure_and_a_sweep_go_through_no_whole_table(writing: WritingConnection) -> None:
    """Asking for it, finding who is wanted, erasing, looking whether somebody is back, and deleting what is due."""
    said: list[str] = []
    transaction = writing.transaction
    transaction.connection.set_trace_callback(said.append)
    writing.transact(lambda: ask_erasure(transaction, AskErasure("8:acs:r_ann", "r", START)))
    wanted = next_wanted(transaction)
    assert wanted is not None
    until = max(wanted.asked_at, reach(transaction, wanted.person))
    transaction.erased.add(wanted.person, until)
    writing.transact(lambda: erase(transaction, wanted, until, until, 10))
    assert list(brought_back(transaction)) == []
    writing.transact(lambda: delete_due(transaction, START, 10, START))
    transaction.connection.set_trace_callback(None)
    assert sum("FROM messages" in each for each in said) >= 4
    assert walked(transaction.connection, said) == []
    assert walked(transaction.connection, ["SELECT 1 FROM messages WHERE person = x'00'"]), "such a walk is seen"


def test_what_is_kept_of_somebody_is_found_without_a_walk(desk: Desk) -> None:
    """The answer to `explain`."""
    said: list[str] = []

    def ask(reader: Reader) -> list[str]:
        connection: sqlite3.Connection = reader._connection
        connection.set_trace_callback(said.append)
        reader.kept.retained("8:acs:r_ann", "r", START)
        connection.set_trace_callback(None)
        return walked(connection, said)

    assert desk.ask(ask) == []
    assert sum("FROM messages" in each for each in said) >= 2
