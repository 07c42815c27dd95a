"""The writer: order, atomicity, durability, and what readers see meanwhile."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import Any

import pytest

from storage.errors import OperationFailed, StorageError
from storage.merkle import leaf_hash
from storage.operations import Append, KeepMessage, MarkEvents, NameCall, OpenCall, Operation, SealPresence
from tests.storage.desk import CALL, START, Desk, append, message, unstamped


def test_sequences_have_no_holes_under_concurrent_submitters(desk: Desk) -> None:
    """Eight threads get the numbers 0 to n-1, each once, each its own in order, and the file agrees."""
    futures: dict[str, list[Future[tuple[Any, ...]]]] = {}

    def write(name: str) -> None:
        futures[name] = [desk.submit(append(f"{name}-{number}"), append(f"{name}+{number}")) for number in range(250)]

    threads = [threading.Thread(target=write, args=(f"t{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    given: dict[int, bytes] = {}
    for name, mine in futures.items():
        results = [future.result(30) for future in mine]
        assert results == sorted(results)
        assert all(second == first + 1 for first, second in results), "a submission stands together"
        for number, (first, second) in enumerate(results):
            given[first] = f"{name}-{number}".encode()
            given[second] = f"{name}+{number}".encode()
    assert sorted(given) == list(range(4000))
    assert desk.leaves() == [given[seq] for seq in range(4000)]


def test_many_submissions_share_a_commit(desk: Desk) -> None:
    """What waits while the disk syncs becomes one group, without any window to collect it."""
    futures = [desk.submit(append(str(number))) for number in range(2000)]
    assert [future.result(30) for future in futures] == [(number,) for number in range(2000)]
    assert sum(desk.groups) == 2000
    assert len(desk.groups) < 500
    assert desk.region.pending == 0


def test_leaf_hashes_are_stored(desk: Desk) -> None:
    """Each entry has its leaf hash, so that a tree can be built without the leaves."""
    desk.do(append("one"), append("two", CALL))
    rows = desk.ask(lambda reader: reader._execute("SELECT leaf, hash FROM entries").fetchall())
    assert [unstamped(leaf) for leaf, _ in rows] == [b"one", b"two"]
    assert [found for _, found in rows] == [leaf_hash(leaf) for leaf, _ in rows]


BAD: list[tuple[str, Operation]] = [
    ("a presence sealed twice", SealPresence("p_1", CALL, "8:acs:r_1", b"other", START)),
    ("a leaf that is text", Append("text", None)),  # type: ignore[arg-type]
    ("a call without organisation", Append(b"x", ("only",))),  # type: ignore[arg-type]
    ("an unhashable call", OpenCall(["a", "b"])),  # type: ignore[arg-type]
    ("a box that is text", SealPresence("p_2", CALL, "8:acs:r_1", "text", START)),  # type: ignore[arg-type]
    ("a name that no file can hold", OpenCall(("contoso", "\ud800"))),
    ("no operation at all", "drop"),  # type: ignore[list-item]
    ("a number beyond 64 bits", message(version=2**70)),
    ("content missing", KeepMessage("p", "r", "t", "m", 1, START, None, False, START)),
    ("a naive moment", MarkEvents((b"d",), START.replace(tzinfo=None))),
    ("a digest that is none", MarkEvents((None,), START)),  # type: ignore[arg-type]
    ("aliases that are no text", NameCall(CALL, (object(),))),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("what", "operation"), BAD, ids=[what for what, _ in BAD])
def test_a_bad_submission_fails_alone_and_whole(desk: Desk, what: str, operation: Operation) -> None:
    """It gets an error, nothing of it is written, its neighbours in the same group are, and it repeats nothing."""
    desk.do(SealPresence("p_1", CALL, "8:acs:r_1", b"first", START), append("zero"))
    before = desk.submit(append("before", CALL), message("kept", participant="8:acs:r_9"))
    bad = desk.submit(append("half"), OpenCall(("contoso", "half")), message("half", participant="p_half"), operation)
    after = desk.submit(append("after"))
    with pytest.raises(OperationFailed) as error:
        bad.result(30)
    assert "8:acs" not in str(error.value)
    assert error.value.__cause__ is None
    assert before.result(30)[0] == 1
    # The message between wrote an entry of its own.
    assert after.result(30) == (3,)
    assert [desk.leaves()[seq] for seq in (0, 1, 3)] == [b"zero", b"before", b"after"]
    assert desk.ask(lambda reader: reader.presences(CALL)) == {"p_1": b"first"}
    assert not desk.ask(lambda reader: reader.has_call(("contoso", "half")))
    assert desk.ask(lambda reader: reader.message("p_half")) is None
    assert desk.ask(lambda reader: reader.message("8:acs:r_9")) is not None
    desk.do(OpenCall(("contoso", "another")))
    desk.do(append("later", ("contoso", "half")))
    assert desk.ask(lambda reader: reader.call_entries(("contoso", "another"))) == []
    assert desk.failures == []


def test_slots_of_what_failed_are_not_used_again_as_they_were(desk: Desk) -> None:
    """A key that sealed something that was rolled back is overwritten before anything else uses its slot."""
    desk.do(message("warm", participant="8:acs:r_9"))
    before = (desk.keys / "slots").read_bytes()
    with pytest.raises(OperationFailed):
        desk.submit(message("half"), Append("text", None)).result(30)  # type: ignore[arg-type]
    after = (desk.keys / "slots").read_bytes()
    changed = [at for at in range(0, len(before), 32) if after[at : at + 32] != before[at : at + 32]]
    # It was tried with its group and then alone.
    assert len(changed) == 2
    assert 0 not in changed
    assert desk.ask(lambda reader: reader.message("8:acs:r_9")) is not None


def test_an_empty_submission_completes(desk: Desk) -> None:
    """Nothing to do is done."""
    assert desk.do() == ()


def test_readers_see_committed_data_only_and_one_moment(desk: Desk) -> None:
    """A question sees one snapshot however long it takes, and never what was rolled back."""
    desk.do(append("zero"))
    asked, go_on = threading.Event(), threading.Event()

    def slowly(reader: Any) -> tuple[int, int]:
        first = reader.size()
        asked.set()
        go_on.wait(30)
        return first, reader.size()

    answer = desk.region.read(slowly)
    assert asked.wait(30)
    desk.do(append("one"))
    bad = desk.submit(append("never"), "no operation")  # type: ignore[arg-type]
    with pytest.raises(OperationFailed):
        bad.result(30)
    go_on.set()
    assert answer.result(30) == (1, 1)
    assert desk.leaves() == [b"zero", b"one"]


def test_readers_cannot_write(desk: Desk) -> None:
    """The reader's connection refuses to change anything."""
    with pytest.raises(StorageError, match="cannot be read"):
        desk.ask(lambda reader: reader._execute("DELETE FROM entries"))


def test_a_failing_question_harms_no_other(desk: Desk) -> None:
    """What a question raises reaches its asker; the next one is answered."""
    with pytest.raises(ZeroDivisionError):
        desk.ask(lambda reader: 1 // 0)
    assert desk.ask(lambda reader: reader.size()) == 0


def test_closing_writes_what_is_queued(desk: Desk) -> None:
    """Every submission made before the close is durable after it; later ones are refused."""
    futures = [desk.submit(append(str(number))) for number in range(5000)]
    assert desk.close() == 0
    assert [future.result(0) for future in futures] == [(number,) for number in range(5000)]
    for refused in (lambda: desk.submit(append("late")), lambda: desk.region.sweep(START, 1)):
        with pytest.raises(StorageError, match="closed"):
            refused()
    with pytest.raises(StorageError, match="closed"):
        desk.ask(lambda reader: reader.size())
    assert desk.close() == 0
