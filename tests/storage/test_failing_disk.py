"""A disk that is full or fails: nothing is confirmed, nothing is lost, order stays, and it ends by itself (P10)."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.errors import StorageUnavailable
from storage.merkle import Edge
from storage.operations import SealPresence, SignCheckpoint
from storage.vault import Vault
from tests.storage.desk import CALL, MONTH, START, Desk, append, message
from tests.storage.test_crash import run_to_death


class Watch:
    """Waits for the region to say that the disk fails, or works again."""

    def __init__(self, desk: Desk) -> None:
        self.failed, self.recovered = threading.Event(), threading.Event()
        desk.changed = lambda error: (self.recovered if error is None else self.failed).set()


def fill(place: Path) -> Path:
    """Take every byte that is left."""
    ballast = place / "ballast"
    with contextlib.suppress(OSError), ballast.open("ab", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return ballast


def test_a_full_disk_keeps_the_queue_in_order_and_recovers_by_itself(small_disk: Path, tmp_path: Path) -> None:
    """While the disk is full nothing completes and `failing` is called once; then all of it, in order, and None."""
    desk = Desk(tmp_path, data=small_disk / "europe")
    watch = Watch(desk)
    desk.do(append("first"))
    ballast = fill(small_disk)
    futures = [desk.submit(append(f"{number}" + "x" * 2000, CALL)) for number in range(200)]
    assert watch.failed.wait(30)
    futures += [desk.submit(append(f"{number}" + "x" * 2000, CALL)) for number in range(200, 300)]
    assert desk.region.pending == 300
    assert isinstance(desk.region.failure, StorageUnavailable)
    assert "full" in str(desk.region.failure)
    assert not any(future.done() for future in futures)
    assert desk.ask(lambda reader: reader.size()) == 1
    with pytest.raises(StorageUnavailable):
        desk.region.sweep(START, 10).result(30)
    assert not watch.recovered.wait(0.6), "several attempts, all in vain"
    ballast.unlink()
    assert [future.result(30) for future in futures] == [(number,) for number in range(1, 301)]
    assert [type(each) for each in desk.failures] == [StorageUnavailable, type(None)]
    assert desk.region.failure is None
    assert desk.region.pending == 0
    assert [leaf.rstrip(b"x") for leaf in desk.leaves()] == [b"first", *[b"%d" % number for number in range(300)]]
    desk.close()


def test_a_key_file_that_cannot_grow_is_a_full_disk(small_disk: Path, tmp_path: Path) -> None:
    """Sealing waits like any write, what was half done is undone, and it goes on when there is room."""
    desk = Desk(tmp_path, keys=small_disk / "europe")
    watch = Watch(desk)
    desk.do(append("first"))
    ballast = fill(small_disk)
    future = desk.submit(append("second"), SealPresence("p_1", CALL, "8:acs:r_1", b"box", START))
    assert watch.failed.wait(30)
    assert not future.done()
    assert desk.leaves() == [b"first"]
    ballast.unlink()
    assert future.result(30) == (1, None)
    assert desk.ask(lambda reader: reader.presences(CALL)) == {"p_1": b"box"}
    desk.close()


def test_closing_on_a_full_disk_says_what_was_not_written(small_disk: Path, tmp_path: Path) -> None:
    """A close does not wait for ever, and does not pretend; after it the region opens with what was confirmed."""
    desk = Desk(tmp_path, data=small_disk / "europe")
    watch = Watch(desk)
    desk.do(append("first"))
    ballast = fill(small_disk)
    futures = [desk.submit(append("x" * 100_000)) for _ in range(3)]
    assert watch.failed.wait(30)
    assert desk.region.close(timeout=0.1) == 3
    assert not any(future.done() for future in futures)
    ballast.unlink()
    again = Desk(tmp_path, data=small_disk / "europe")
    assert again.leaves() == [b"first"]
    again.close()


def test_listed_keys_are_overwritten_on_a_full_disk(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a crashed sweep left is shredded when the region opens, full disk or not; the certificate follows later."""
    run_to_death("before shredding", tmp_path)
    shutil.copytree(tmp_path / "data" / "europe", small_disk / "europe")
    shutil.copytree(tmp_path / "keys" / "europe", small_disk / "keys")
    before = (small_disk / "keys" / "slots").read_bytes()
    shredded = threading.Event()
    whole = Vault.shred

    def shred_then_fill(vault: Vault, slots: object) -> None:
        # The index of the log needs room before anything can be read at all, so it is filled only now.
        fill(small_disk)
        whole(vault, slots)  # type: ignore[arg-type]
        shredded.set()

    monkeypatch.setattr(Vault, "shred", shred_then_fill)
    desk = Desk(tmp_path, data=small_disk / "europe", keys=small_disk / "keys")
    monkeypatch.undo()
    after = (small_disk / "keys" / "slots").read_bytes()
    assert shredded.is_set()
    assert not any(before[at : at + 32] == after[at : at + 32] for at in range(32, len(before), 32))
    watch = Watch(desk)
    future = desk.submit(append("x" * 50_000))
    (small_disk / "ballast").unlink()
    assert future.result(30) == (12,)
    assert len(desk.ask(lambda reader: reader.certificates())) == 1
    assert not watch.failed.is_set() or watch.recovered.wait(30)
    desk.close()


@contextlib.contextmanager
def files_no_longer_than(limit: int) -> Iterator[None]:
    """Writes beyond `limit` fail in the kernel; SQLite reports that as an I/O error."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_an_io_error_is_survived_on_a_fresh_connection(desk: Desk) -> None:
    """The connection that saw the error is not used again; nothing confirmed is lost, nothing is written twice."""
    watch = Watch(desk)
    for number in range(40):
        desk.do(append(f"{number}" + "x" * 4000))
    used = desk.region._writer._transaction.connection
    log = desk.data / "region.db-wal"
    with files_no_longer_than(log.stat().st_size):
        future = desk.submit(message("kept"), append("after"))
        assert watch.failed.wait(30)
        assert "I/O" in str(desk.region.failure)
        assert not future.done()
        assert desk.ask(lambda reader: reader.size()) == 40
    assert future.result(30)[1] == 41
    assert [type(each) for each in desk.failures] == [StorageUnavailable, type(None)]
    assert desk.region._writer._transaction.connection is not used
    assert len(desk.leaves()) == 42
    assert desk.ask(lambda reader: reader.message("8:acs:r_1")) is not None
    assert desk.region.sweep(START + MONTH, 10).result(30).deleted == 1


def test_a_ledger_changed_behind_our_back_stops_the_writer(desk: Desk) -> None:
    """After an I/O error the file must end where the last confirmed commit left it; else nothing is confirmed."""
    watch = Watch(desk)
    desk.do(append("first"))
    desk.region._writer._connection._suspect = True
    ledger = desk.region._writer._ledger
    there, ledger._edge = ledger._edge, Edge(1, (bytes(32),))
    future = desk.submit(append("second"))
    assert watch.failed.wait(30)
    assert "does not end where" in str(desk.region.failure)
    ledger._edge = there
    future.result(30)


@pytest.mark.parametrize("lies", ["all writes", "the last of them"])
def test_a_disk_that_only_pretends_to_overwrite_gets_no_certificate(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, lies: str
) -> None:
    """Keys are read back: while one is as it was nothing is certified, loudly; once they all changed, it is."""
    watch = Watch(desk)
    for number in range(3):
        # Slots that are not neighbours are written one by one.
        desk.do(message(participant=f"8:acs:r_{number}"), SealPresence(f"p_{number}", CALL, "8:acs:r_x", b"box", START))
    last = max(slot for (slot,) in desk.ask(lambda reader: reader._execute("SELECT slot FROM messages").fetchall()))
    write = os.pwrite

    def pretend(descriptor: int, data: bytes, offset: int) -> int:
        if lies == "all writes" or offset == last * 32:
            return len(data)
        return write(descriptor, data, offset)

    with monkeypatch.context() as disk:
        disk.setattr(os, "pwrite", pretend)
        with pytest.raises(StorageUnavailable, match="read as before"):
            desk.region.sweep(START + MONTH, 10).result(30)
        assert watch.failed.wait(30)
        assert not watch.recovered.wait(0.6), "several attempts, all in vain"
        assert desk.ask(lambda reader: reader.certificates()) == []
        assert desk.ask(lambda reader: reader.kept.every()) == []
    assert watch.recovered.wait(30)
    desk.do(append("after"))
    (certificate,) = desk.ask(lambda reader: reader.certificates())
    assert (certificate["slots"], certificate["checked"]) == (3, 3)


def test_giving_space_back_that_fails_is_no_success_either(desk: Desk) -> None:
    """The connection that saw the error while nobody asked for anything is not used again for what comes next."""
    for start in range(0, 3_000, 500):
        desk.do(*(message("x" * 1_000, participant=f"8:acs:r_{each}") for each in range(start, start + 500)))
    used = desk.region._writer._transaction.connection
    deleted = 0
    while deleted < 3_000:
        deleted += desk.region.sweep(START + MONTH, 500).result(30).deleted
    desk.do(SignCheckpoint())
    with files_no_longer_than(4096):
        while not desk.region._writer._connection._suspect:
            threading.Event().wait(0.05)
        assert desk.failures == []
    desk.do(append("after"))
    assert desk.region._writer._transaction.connection is not used
    assert desk.ask(lambda reader: reader._execute("PRAGMA integrity_check").fetchall()) == [("ok",)]
