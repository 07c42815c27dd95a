"""The one thread that writes a region: it drains its queue into group commits.

Rules: whatever waits is one commit, there is no collecting window; nothing is confirmed before it is durable and the
keys it freed are overwritten; a submission is whole or not at all; while the disk fails, the queue waits in order; no
entry stays longer than `SIGN_SECONDS` without a checkpoint that covers it.
Everything here is owned by the writer's thread except `submit`, `sweep`, `pending`, `failure` and `stop`.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from storage import sweep
from storage.apply import apply
from storage.clock import Clock
from storage.connection import WritingConnection
from storage.engine import is_storage_failure
from storage.errors import OperationFailed, StorageError, StorageUnavailable
from storage.identity import Keys
from storage.moment import from_microseconds
from storage.operations import Operation, SweepOutcome
from storage.transaction import FAILED_BY_ITSELF

R = TypeVar("R")

RETRY_SECONDS: Final = 0.25
"""How long a failing disk is left alone between attempts."""

SIGN_SECONDS: Final = 0.5
"""How long committed entries may wait for a checkpoint."""

_LARGEST_GROUP: Final = 4096


@dataclass(frozen=True, slots=True)
class Completed:
    """A submission that is durable, with each operation's answer in order; or `error`, and nothing of it written."""

    token: object
    results: tuple[Any, ...]
    error: StorageError | None


class _Submission(NamedTuple):
    operations: tuple[Operation, ...]
    token: object


class _Sweep(NamedTuple):
    now: datetime
    limit: int
    clock: datetime
    by_clock: bool
    future: Future[SweepOutcome]


class _Abandoned(Exception):
    """Closing, and the disk still fails."""


class Writer:
    """A region's queue, its thread and its writing connection."""

    def __init__(
        self,
        name: str,
        path: Path,
        keys: Keys,
        clock: Clock,
        committed: Callable[[list[Completed]], None],
        failing: Callable[[StorageError | None], None],
    ) -> None:
        """Connect, and shred what a crash left to shred. Raises sqlite3.Error, StorageUnavailable."""
        self._vault = vault = keys.vault
        self._committed = committed
        self._failing = failing
        self._connection = WritingConnection(path, keys, clock)
        self._transaction = self._connection.transaction
        self._ledger = self._transaction.ledger
        self._uncertified: deque[sweep.Certifiable] = deque(sweep.leftovers(self._transaction))
        for batch in self._uncertified:
            vault.shred(batch.slots)
        self._queue: deque[_Submission] = deque()
        self._sweeps: deque[_Sweep] = deque()
        self._in_flight = 0
        self._awake = threading.Event()
        # Held for the moment between asking whether the region is open and queueing, so that nothing slips in behind.
        self._door = threading.Lock()
        self._closing = False
        self._abandoned = threading.Event()
        self.failure: StorageError | None = None
        """Why nothing can be written now; None while writing works. Set by the writer's thread, read by any."""
        self._thread = threading.Thread(target=self._run, name=f"writer {name}", daemon=True)

    def finish_leftovers(self) -> None:
        """At open, before `start`: certify and sign what a crash left; what the disk refuses is tried again later."""
        with contextlib.suppress(StorageUnavailable):
            self._certify_all()
            self._sign()

    def start(self) -> None:
        """Begin to serve the queue."""
        self._thread.start()

    # -- any thread -----------------------------------------------------------------------------------------------

    @property
    def pending(self) -> int:
        """Submissions not yet durable."""
        return len(self._queue) + self._in_flight

    @property
    def checkpoint(self) -> str | None:
        """The newest durable checkpoint's note; None while the disk has not taken a first one."""
        return self._ledger.checkpoint

    def submit(self, operations: Sequence[Operation], token: object) -> None:
        """Queue operations that succeed or fail together. Raises StorageError once closed."""
        submission = _Submission(tuple(operations), token)
        with self._door:
            if self._closing:
                raise StorageError("the region is closed")
            self._queue.append(submission)
        if not self._awake.is_set():
            self._awake.set()

    def sweep(self, now: datetime, limit: int, clock: datetime, by_clock: bool) -> Future[SweepOutcome]:
        """Queue one batch of a sweep; it runs between two groups. Raises StorageError once closed, ValueError."""
        if limit < 1:
            raise ValueError("a batch has at least one message")
        request = _Sweep(now, limit, clock, by_clock, Future())
        with self._door:
            if self._closing:
                raise StorageError("the region is closed")
            self._sweeps.append(request)
        self._awake.set()
        return request.future

    def stop(self, timeout: float) -> int:
        """Drain the queue for up to `timeout` seconds and end; how many submissions were not written."""
        with self._door:
            self._closing = True
        self._awake.set()
        if self._thread.ident is not None:
            self._thread.join(timeout)
            self._abandoned.set()
            self._thread.join()
        return self.pending

    def close(self) -> None:
        """Give the connection back, after `stop`."""
        self._connection.close()

    # -- the writer's thread --------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._persist(self._certify_all)
            while not self._abandoned.is_set() and self._work_waits():
                if self._queue:
                    self._write_group()
                if self._sweeps:
                    self._sweep_batch(self._sweeps.popleft())
            self._persist(self._sign)
        except _Abandoned:
            pass
        except BaseException as error:  # a dead writer must not look like an idle one
            self.failure = StorageUnavailable(f"the writer stopped: {type(error).__name__}")
            self._failing(self.failure)
            raise
        finally:
            with self._door:
                self._closing = True
            self._refuse_sweeps(StorageUnavailable("the region is closed"))

    def _work_waits(self) -> bool:
        """Sleep until there is something to do; False when closing and nothing is left."""
        while True:
            self._awake.clear()
            if self._queue or self._sweeps:
                return True
            if self._closing:
                return False
            patience = max(0.0, self._sign_in()) if self._ledger.unsigned else None
            if not self._awake.wait(patience):
                self._persist(self._sign)

    def _write_group(self) -> None:
        count = min(len(self._queue), _LARGEST_GROUP)
        self._in_flight = count
        batch = [self._queue.popleft() for _ in range(count)]
        completed = self._persist(lambda: self._commit(batch))
        self._persist(self._transaction.shred)
        self._in_flight = 0
        self._committed(completed)

    def _commit(self, batch: list[_Submission]) -> list[Completed]:
        # What an attempt before this one took; else a full disk would use up the slots.
        self._transaction.shred()
        try:
            return self._connection.transact(lambda: self._carry_out(batch))
        except FAILED_BY_ITSELF:
            # Savepoints are dear: only a group with a bad submission pays for them.
            return self._connection.transact(lambda: [self._attempt(each) for each in batch])

    def _carry_out(self, batch: list[_Submission]) -> list[Completed]:
        if self._sign_in() <= 0:
            self._ledger.sign()
        return [Completed(each.token, apply(self._transaction, each.operations), None) for each in batch]

    def _attempt(self, submission: _Submission) -> Completed:
        try:
            results = self._transaction.attempt(lambda: apply(self._transaction, submission.operations))
        except FAILED_BY_ITSELF as error:  # neither its text nor its cause goes along: both may quote what was given
            if is_storage_failure(error):
                raise
            return Completed(submission.token, (), OperationFailed(f"refused: {type(error).__name__}"))
        return Completed(submission.token, results, None)

    def _sweep_batch(self, request: _Sweep) -> None:
        future = request.future
        if not future.set_running_or_notify_cancel():
            return
        now = min(request.now, from_microseconds(self._ledger.sure)) if request.by_clock else request.now
        try:
            batch, remaining = self._connection.transact(
                lambda: sweep.delete_due(self._transaction, now, request.limit, min(now, request.clock))
            )
        except (StorageUnavailable, *FAILED_BY_ITSELF) as error:
            future.set_exception(error)
            return
        certificate: int | None = None
        if batch is not None:
            self._uncertified.append(batch)
            self._persist(lambda: self._vault.shred(batch.slots), future)
            certificate = self._persist(self._certify_all, future)
        if not future.done():
            future.set_result(SweepOutcome(0 if batch is None else len(batch.slots), remaining, certificate))

    def _certify_all(self) -> int | None:
        """Certify the batches whose slots are overwritten; the last certificate's sequence."""
        last: int | None = None
        while self._uncertified:
            batch = self._uncertified[0]
            last = self._connection.transact(partial(sweep.certify, self._transaction, batch))
            self._uncertified.popleft()
            self._connection.give_pages_back()
        return last

    def _sign_in(self) -> float:
        return self._ledger.signed_at + SIGN_SECONDS - time.monotonic()

    def _sign(self) -> None:
        if self._ledger.unsigned:
            self._connection.transact(self._ledger.sign)

    # -- failing and recovering -----------------------------------------------------------------------------------

    def _persist(self, step: Callable[[], R], waiting: Future[SweepOutcome] | None = None) -> R:
        """`step`, again and again until the disk takes it; a sweep's caller does not wait that long."""
        while True:
            try:
                result = step()
            except StorageUnavailable as error:
                self._note_failure(error)
                if waiting is not None and not waiting.done():
                    waiting.set_exception(error)
                self._refuse_sweeps(error)
            else:
                self._note_success()
                return result
            if self._abandoned.wait(RETRY_SECONDS):
                raise _Abandoned

    def _note_failure(self, error: StorageUnavailable) -> None:
        if self.failure is None:
            self.failure = error
            self._failing(error)

    def _note_success(self) -> None:
        if self.failure is not None:
            self.failure = None
            self._failing(None)

    def _refuse_sweeps(self, error: StorageError) -> None:
        while self._sweeps:
            future = self._sweeps.popleft().future
            if future.set_running_or_notify_cancel():
                future.set_exception(error)
