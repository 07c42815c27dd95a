"""A process that does all a writer can, to be recorded: `python -m tests.storage.scribe ROOT SEED ROUNDS [MUTATION]`.

ROUNDS are how many it goes through in each life of the region, as in `12,12`; in a life of `4e` it does nothing but
erase somebody, four times, step by step and with no clock in between. It says one JSON object a line on
standard output, each in one write: what is confirmed, and what is about to go. A MUTATION is a mistake that somebody
could make in the writer; the tests show that each of them is found.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import storage.engine
import storage.erasures
import storage.slots
import storage.spans
import storage.writer
from storage.connection import WritingConnection
from storage.entry import canonical
from storage.errors import StorageError, StorageUnavailable
from storage.operations import Append, AskErasure, Call, KeepMessage, NameCall, OpenCall, Operation, SealPresence
from storage.reader import Reader
from storage.region import Region
from storage.writer import Completed

R = TypeVar("R")

START = datetime(2026, 11, 23, 14, 0, 0, 123000, tzinfo=UTC)
MONTH = timedelta(days=30)
PEOPLE = [f"8:acs:r_{number}" for number in range(6)]
GONE = "8:acs:r_gone"
"""Who is erased."""
CALLS: list[Call] = [("contoso", "daily"), ("fabrikam", "daily"), ("contoso", "weekly")]
PAGES_A_CHECKPOINT = 60
"""How much of SQLite's log is copied at once: little, so that a short run holds many copies."""

SIGN_SECONDS = 0.02
"""How long an entry waits for a checkpoint: not long, for the same reason."""

SPAN = 30
"""How many entries a span has: few, likewise."""

_HELD = "SELECT person, version, slot FROM messages"


def say(**facts: object) -> None:
    """One line, in one system call."""
    os.write(1, json.dumps(facts).encode() + b"\n")


def committed(done: Iterable[Completed]) -> None:
    """Say what is confirmed, then let its submitter go on."""
    done = list(done)
    for each in done:
        operations, _ = _token(each)
        assert each.error is None
        answered = list(zip(operations, each.results, strict=True))
        say(
            entries=[[seq, one.leaf.decode()] for one, seq in answered if isinstance(one, Append)],
            sealed=[[one.presence, *one.call, one.box.decode()] for one in operations if isinstance(one, SealPresence)],
            named=[[*one.call, *one.aliases] for one in operations if isinstance(one, NameCall)],
            kept=[[one.participant, one.version] for one in operations if isinstance(one, KeepMessage)],
        )
    for each in done:
        future = _token(each)[1]
        if not future.done():
            future.set_result(None)


def _token(completed: Completed) -> tuple[tuple[Operation, ...], Future[None]]:
    assert isinstance(completed.token, tuple)
    operations, future = completed.token
    return operations, future


def failing(error: StorageError | None) -> None:
    say(failing=error is not None)


class Scribe:
    """One region, opened and closed several times, and what is to be written into it."""

    def __init__(self, root: Path, seed: int) -> None:
        self._root = root
        self._chance = random.Random(seed)
        # A process with a higher seed goes on where one with a lower seed was.
        self._numbers = seed * 10_000
        self._versions = dict.fromkeys([*PEOPLE, GONE], self._numbers)
        self._region: Region
        self._closed = threading.Event()

    def live(self, rounds: int) -> None:
        """Open the region, write, sweep, write, and close it."""
        with self._opened():
            for number in range(rounds):
                self._round()
                if number == rounds // 2:
                    self._sweep()
                if number == rounds // 3:
                    self._erase()

    def erase(self, times: int) -> None:
        """Open the region, erase somebody so many times, and close it."""
        with self._opened():
            for _ in range(times):
                self._erase()

    @contextlib.contextmanager
    def _opened(self) -> Iterator[None]:
        self._region = Region.open(
            "europe",
            directory=self._root / "data" / "europe",
            key_directory=self._root / "keys" / "europe",
            committed=committed,
            failing=failing,
        )
        watching = threading.Thread(target=self._watch, daemon=True)
        watching.start()
        say(open=True)
        yield
        assert self._region.close(30) == 0
        self._closed.set()
        watching.join()
        self._closed.clear()
        say(open=False)

    def _watch(self) -> None:
        """Show each checkpoint as soon as anybody could see it."""
        shown: str | None = None
        while not self._closed.wait(0.0005):
            note = self._region.checkpoint
            if note != shown:
                say(checkpoint=note)
                shown = note

    def _number(self) -> int:
        self._numbers += 1
        return self._numbers

    def _append(self, call: Call | None) -> Append:
        fields: dict[str, object] = {
            "kind": "noted",
            "number": self._number(),
            "text": "x" * self._chance.randint(0, 600),
        }
        if call is not None:
            fields |= {"organization": call[0], "call": call[1]}
        return Append(canonical(fields), call)

    def _submission(self) -> list[Operation]:
        call = self._chance.choice(CALLS)
        operations: list[Operation] = [OpenCall(call), self._append(call)]
        if self._chance.random() < 0.5:
            presence = f"p_{self._number()}"
            who = self._chance.choice(PEOPLE)
            operations.append(SealPresence(presence, call, who, f"box of {presence}".encode(), START))
        if self._chance.random() < 0.2:
            operations.append(NameCall(call, tuple(f"{call[1]}-{self._number()}" for _ in range(2))))
        return [*operations, *(self._append(None) for _ in range(self._chance.choice((0, 1, 20))))]

    def _keep(self, participant: str) -> list[Operation]:
        self._versions[participant] += 1
        version = self._versions[participant]
        message = KeepMessage(
            participant=participant,
            resource="r",
            thread="t",
            message="m",
            version=version,
            sent_at=START,
            content=f"{participant} {version}",
            deleted=False,
            at=START,
        )
        return [self._append(None), message]

    def _round(self) -> None:
        """Some submissions at once, so that they are one group or two."""
        waiting = [self._submit(self._submission()) for _ in range(self._chance.randint(1, 4))]
        waiting += [self._submit(self._keep(each)) for each in self._chance.sample(PEOPLE, 2)]
        for future in waiting:
            future.result(60)
        self._say_slots()

    def _submit(self, operations: list[Operation]) -> Future[None]:
        future: Future[None] = Future()
        self._region.submit(operations, (tuple(operations), future))
        return future

    def _say_slots(self) -> None:
        """Where the key of each message is: without it, nobody could tell from outside that it is gone."""
        say(slots=self._region.read(_slots).result(60))

    def _erase(self) -> None:
        """Somebody is in two calls, writes, and is erased."""
        names = [f"g_{self._number()}" for _ in CALLS]
        sealing = [
            SealPresence(name, call, GONE, b"box of " + name.encode(), START)
            for name, call in zip(names, CALLS, strict=True)
        ]
        self._submit([*sealing, *self._keep(GONE)]).result(60)
        slots, sealed_at = self._region.read(_about_gone).result(60)
        say(leaving=names, slots_leaving=slots, sealed_at=sealed_at)
        self._submit([AskErasure(GONE, "r", START)]).result(60)
        remaining = True
        while remaining:
            with contextlib.suppress(StorageUnavailable):
                remaining = self._region.sweep(START, 2).result(60).remaining
        say(erased=names)

    def _sweep(self) -> None:
        say(sweeping=True)
        remaining = True
        while remaining:
            # What a failing disk refuses is asked for again.
            with contextlib.suppress(StorageUnavailable):
                remaining = self._region.sweep(START + MONTH, 2).result(60).remaining
        say(sweeping=False)


def _about_gone(reader: Reader) -> tuple[list[int], int]:
    """Which slots are theirs who are about to go, and when the last of it was sealed."""
    found = "SELECT slot, {} FROM {} WHERE slot IS NOT NULL AND person = ?"
    both = f"{found.format('sealed_at', 'presences')} UNION ALL {found.format('stored_at', 'messages')}"
    person = reader._vault.look_up("person", GONE)
    rows = reader._execute(both, (person, person)).fetchall()
    return [slot for slot, _ in rows], max((at for _, at in rows), default=0)


def _slots(reader: Reader) -> list[tuple[str, int, int]]:
    rows = {person: (version, slot) for person, version, slot in reader._execute(_HELD).fetchall()}
    held = {each: rows.get(reader._vault.look_up("person", each)) for each in PEOPLE}
    return [(each, *row) for each, row in held.items() if row is not None]


# -- mistakes ---------------------------------------------------------------------------------------------------------


def _set(pragma: str) -> None:
    """Have every connection that writes opened with this setting too."""
    storage.engine._WRITER = (*storage.engine._WRITER, f"PRAGMA {pragma}")  # type: ignore[misc, assignment]


def _answer_early() -> None:
    """Confirm a group when its statements ran, before its COMMIT."""
    transact = WritingConnection.transact

    def transact_and_tell(connection: WritingConnection, work: Callable[[], Any]) -> Any:
        def tell() -> Any:
            result = work()
            if isinstance(result, list):
                committed(result)
            return result

        return transact(connection, tell)

    WritingConnection.transact = transact_and_tell  # type: ignore[method-assign,assignment]


class _Careless(ModuleType):
    """The module `os`, but for syncs that never happen."""

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def fsync(self, descriptor: int) -> None:
        pass


def _forget_slots() -> None:
    """Take and overwrite key slots without a sync."""
    storage.slots.os = _Careless("os")  # type: ignore[attr-defined]


def _forget_journal() -> None:
    """Erase somebody whom no synced record names."""
    storage.erasures.os = _Careless("os")  # type: ignore[attr-defined]


MUTATIONS: dict[str, Callable[[], None]] = {
    "normal": lambda: _set("synchronous = NORMAL"),
    "early": _answer_early,
    "unsynced-slots": _forget_slots,
    "unsynced-journal": _forget_journal,
}


if __name__ == "__main__":
    _set(f"wal_autocheckpoint = {PAGES_A_CHECKPOINT}")
    storage.writer.SIGN_SECONDS = SIGN_SECONDS  # type: ignore[misc]
    storage.spans.LENGTH = SPAN  # type: ignore[misc]
    for mutation in sys.argv[4:]:
        MUTATIONS[mutation]()
    scribe = Scribe(Path(sys.argv[1]), int(sys.argv[2]))
    for rounds in sys.argv[3].split(","):
        if rounds.endswith("e"):
            # A checkpoint by the clock would come between other steps each time.
            storage.writer.SIGN_SECONDS = 3600  # type: ignore[misc]
            scribe.erase(int(rounds[:-1]))
        else:
            scribe.live(int(rounds))
