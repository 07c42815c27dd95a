"""The regions' storage as the loop sees it: commits under way, what they confirm, and calls read back.

Rules: nothing here blocks the loop; a commit is complete when every region it touches has it on disk; while a
region cannot write, its commits wait in order and whoever asks is told so. Everything is owned by the loop except
the two callbacks that the writer threads call, which only pass the word on.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from gateway.core import facts
from gateway.core.errors import NotDurable
from gateway.core.types import CallKey
from gateway.hub.commits import Commit, Gathering, Part, Row
from gateway.hub.journal import Written
from gateway.hub.recollection import StoredCall, stored_call
from storage.errors import StorageError
from storage.operations import AppendAll, Operation, SweepOutcome
from storage.reader import Reader
from storage.region import MONTH, Region
from storage.retention import Terms
from storage.writer import Completed

T = TypeVar("T")
CLOSE_SECONDS: Final = 4.0
"""How long a region may take to write what is queued when the process ends."""
PATIENCE_SECONDS: Final = 0.1
"""How long to wait for a commit before looking whether the disk fails."""
PATIENCE_TURNS: Final = 100
"""How often to look."""


class Ledgers:
    """All regions this process serves."""

    def __init__(self, changed: Callable[[], None], broken: Callable[[str], None]) -> None:
        """`changed` hears that a region began or ceased to fail; `broken` hears of a write that can never succeed."""
        self._loop: Final = asyncio.get_running_loop()
        self._changed: Final = changed
        self._broken: Final = broken
        self.regions: Final[dict[str, Region]] = {}
        self.failing: Final[dict[str, str]] = {}
        self._gathered: Final[list[Gathering]] = []
        self._rows: Final[dict[str, Row]] = {}

    def open(self, name: str, directory: Path, key_directory: Path, ledger: str, terms: Terms = MONTH) -> None:
        """Open a region, finishing what a crash left; `ledger` is whose ledger it is, where it has to be made.

        `terms` are those of retention that are configured.

        Raises `storage.errors.RegionRefused`.
        """

        def failing(error: StorageError | None) -> None:
            self._loop.call_soon_threadsafe(self._note_failure, name, None if error is None else str(error))

        self.regions[name] = Region.open(
            name,
            directory=directory,
            key_directory=key_directory,
            committed=self._hand_over,
            failing=failing,
            ledger=ledger,
            terms=terms,
        )

    def _hand_over(self, done: list[Completed]) -> None:
        """Called by a writer thread: the rest happens on the loop."""
        self._loop.call_soon_threadsafe(self._complete, done)

    def _complete(self, done: list[Completed]) -> None:
        faults: list[Exception] = []
        for completed in done:
            part = completed.token
            assert isinstance(part, Part | Gathering)
            if completed.error is not None:
                self._broken(str(completed.error))
                continue
            try:
                part.done(completed.results)
            except Exception as fault:  # one commit's fault must not cost the others their receipts
                faults.append(fault)
        if faults:
            raise ExceptionGroup("after a commit", faults)

    def _note_failure(self, name: str, error: str | None) -> None:
        if error is None:
            self.failing.pop(name, None)
        else:
            self.failing[name] = error
        self._changed()

    def write(self, batches: Mapping[str, Sequence[Written]], then: Callable[[Commit], None]) -> Commit:
        """Commit a step's operations; `then` runs once all of them are durable."""
        self._submit_gathered()
        commit = Commit(tuple(batches), then)
        for region, written in batches.items():
            operations = [operation for operation, _ in written]
            self.regions[region].submit(operations, Part(commit, tuple(fact for _, fact in written)))
        return commit

    def gather(self, gathering: Gathering) -> None:
        """Submit what it gathers when the turn ends, or before what is written next.

        So the ledger has everything in the order in which it was decided, and what was gathered for the region before
        takes no more.
        """
        if not self._gathered:
            self._loop.call_soon(self._submit_gathered)
        for each in self._gathered:
            if each.region == gathering.region:
                each.close()
        self._gathered.append(gathering)

    def _submit_gathered(self) -> None:
        for each in self._gathered:
            self.regions[each.region].submit([AppendAll(each.close())], each)
        self._gathered.clear()

    def append(self, region: str, leaf: bytes, fact: facts.AnyFact, then: Callable[[Commit], None]) -> Commit:
        """Commit a step that is one entry about a call, together with others of this turn; `then` as in `write`."""
        row = self._rows.get(region)
        if row is None or row.gathering.closed:
            row = self._rows[region] = Row(region, self._loop.call_soon)
            self.gather(row.gathering)
        return row.add(leaf, fact, then)

    def submit(self, region: str, operations: Sequence[Operation], then: Callable[[Commit], None]) -> Commit:
        """Commit operations that record no facts of a call."""
        return self.write({region: [(operation, None) for operation in operations]}, then)

    async def carry_out(self, region: str, operations: Sequence[Operation]) -> list[Any]:
        """Commit operations and wait for it: their answers. Raises `NotDurable`; they may still be carried out then."""
        done = asyncio.Event()
        commit = self.submit(region, operations, lambda _: done.set())
        for _ in range(PATIENCE_TURNS):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(done.wait(), PATIENCE_SECONDS)
                return commit.results
            if region in self.failing:
                break
        raise NotDurable(f"storage of region {region} cannot write now")

    async def read(self, region: str, question: Callable[[Reader], T]) -> T:
        """Ask a region's reader thread; raises `NotDurable` where storage cannot answer."""
        try:
            return await asyncio.wrap_future(self.regions[region].read(question))
        except StorageError as error:
            raise NotDurable(f"storage of region {region} cannot be read now") from error

    def ask(self, region: str, question: Callable[[Reader], T], then: Callable[[T | None], None]) -> None:
        """As `read`, for who cannot wait: `then` runs on the loop, with None where there is no answer."""

        def arrive(future: Future[T]) -> None:
            error = future.exception()
            if error is not None and not isinstance(error, StorageError):
                self._broken(f"the ledger of region {region} cannot be read back: {type(error).__name__}")
            then(future.result() if error is None else None)

        try:
            self.regions[region].read(question).add_done_callback(self._on_loop(arrive))
        except StorageError:  # it is being closed
            then(None)

    def checkpoint(self, region: str) -> str | None:
        """The newest checkpoint of a region that is served, from memory; None while the disk has not taken one."""
        return self.regions[region].checkpoint

    async def sweep(self, region: str, now: datetime, limit: int, clock: datetime, *, by_clock: bool) -> SweepOutcome:
        """Delete at most `limit` of what is due at `now`, while it is `clock`; raises `NotDurable`.

        `by_clock` says that `now` is only the clock's word, which may have been set ahead.
        """
        try:
            return await asyncio.wrap_future(self.regions[region].sweep(now, limit, clock, by_clock=by_clock))
        except StorageError as error:
            raise NotDurable(f"storage of region {region} cannot delete now") from error

    async def open_calls(self) -> list[CallKey]:
        """The calls that were not over when the process ended."""
        found: dict[CallKey, None] = {}
        for name in self.regions:
            for key in await self.read(name, lambda reader: reader.open_calls()):
                found[CallKey(*key)] = None
        return list(found)

    async def has_call(self, key: CallKey) -> bool:
        """Whether any region ever heard of the call."""
        for name in self.regions:
            if await self.read(name, lambda reader: reader.has_call(key)):
                return True
        return False

    async def aliases(self) -> dict[CallKey, tuple[str, ...]]:
        """The names of every call that has any, over or not."""
        found: dict[CallKey, tuple[str, ...]] = {}
        for name in self.regions:
            for key, aliases in await self.read(name, lambda reader: reader.named_calls()):
                found[CallKey(*key)] = aliases
        return found

    async def merges(self) -> dict[CallKey, CallKey]:
        """Which calls became part of which."""
        found: dict[CallKey, CallKey] = {}
        for name in self.regions:
            for source, target in await self.read(name, lambda reader: reader.merges()):
                found[CallKey(*source)] = CallKey(*target)
        return found

    def load(
        self, key: CallKey, parts: Sequence[CallKey], then: Callable[[dict[str, StoredCall], str | None], None]
    ) -> None:
        """Read a call and its parts back; `then` gets what there is by region, and an error if one occurred."""
        waiting = set(self.regions)
        stored: dict[str, StoredCall] = {}
        errors: list[str] = []

        def arrive(name: str, future: Future[StoredCall | None]) -> None:
            error = future.exception()
            if error is not None:
                errors.append(str(error))
            elif (found := future.result()) is not None:
                stored[name] = found
            waiting.discard(name)
            if not waiting:
                then(stored, errors[0] if errors else None)

        for name, region in self.regions.items():
            future = region.read(lambda reader: stored_call(reader, (key, *parts)))
            future.add_done_callback(self._on_loop(partial(arrive, name)))

    def _on_loop(self, act: Callable[[T], None]) -> Callable[[T], object]:
        """`act`, for a thread to call: it runs on the loop."""
        return lambda result: self._loop.call_soon_threadsafe(act, result)

    def queue(self) -> dict[str, int]:
        """How many submissions of each region are not yet durable."""
        return {name: region.pending for name, region in self.regions.items()}

    async def close(self) -> dict[str, int]:
        """Write what is queued, all regions at once, and give them back; how much could not be written, by region."""
        closing = [asyncio.to_thread(region.close, CLOSE_SECONDS) for region in self.regions.values()]
        return dict(zip(self.regions, await asyncio.gather(*closing), strict=True))
