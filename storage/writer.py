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
from pathlib import Path
from typing import Any, Final, NamedTuple

from storage.apply import apply
from storage.chores import Chores, Sweep
from storage.clock import Clock
from storage.connection import WritingConnection
from storage.engine import is_storage_failure
from storage.errors import OperationFailed, StorageError, StorageUnavailable
from storage.identity import Keys
from storage.operations import Operation, SweepOutcome
from storage.persistence import Abandoned, Persistence
from storage.retention import Terms
from storage.transaction import FAILED_BY_ITSELF

SIGN_SECONDS: Final = 0.5
"""How long committed entries may wait for a checkpoint."""

IDLE_SECONDS: Final = 1.0
"""How long there must be nothing to do before space is given back."""

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


class Writer:
    """A region's queue, its thread and its writing connection."""

    def __init__(
        self,
        name: str,
        path: Path,
        keys: Keys,
        clock: Clock,
        terms: Terms,
        committed: Callable[[list[Completed]], None],
        failing: Callable[[StorageError | None], None],
    ) -> None:
        """Connect, and shred what a crash left to shred. Raises sqlite3.Error, StorageUnavailable."""
        self._committed = committed
        self._persist = Persistence(failing, self._refuse_sweeps)
        self._connection = WritingConnection(path, keys, clock, terms)
        self._transaction = self._connection.transaction
        self._ledger = self._transaction.ledger
        self._chores = Chores(self._connection, self._persist)
        self._queue: deque[_Submission] = deque()
        self._sweeps: deque[Sweep] = deque()
        self._in_flight = 0
        self._untidy = True
        self._awake = threading.Event()
        # Held for the moment between asking whether the region is open and queueing, so that nothing slips in behind.
        self._door = threading.Lock()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=f"writer {name}", daemon=True)

    def finish_leftovers(self) -> None:
        """At open, before `start`: certify and sign what a crash left; what the disk refuses is tried again later.

        Whoever a backup brought back is erased again, or their keys at least are destroyed. Raises StorageUnavailable.
        """
        with contextlib.suppress(StorageUnavailable):
            self._chores.certify_all()
        self._chores.erase_again()
        with contextlib.suppress(StorageUnavailable):
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
    def failure(self) -> StorageError | None:
        """Why nothing can be written now; None while writing works."""
        return self._persist.failure

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
        request = Sweep(now, limit, clock, by_clock, Future())
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
            self._persist.abandoned.set()
            self._thread.join()
        return self.pending

    def close(self) -> None:
        """Give the connection back, after `stop`."""
        self._connection.close()

    # -- the writer's thread --------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._persist(self._chores.certify_all)
            while not self._persist.abandoned.is_set() and self._work_waits():
                if self._queue:
                    self._write_group()
                if self._sweeps:
                    self._sweep_step(self._sweeps.popleft())
                elif self._chores.reviewing and not self._closing:
                    self._persist(self._chores.review)
            self._persist(self._sign)
        except Abandoned:
            pass
        except BaseException as error:  # a dead writer must not look like an idle one
            self._persist.failure = None
            self._persist.fail(StorageUnavailable(f"the writer stopped: {type(error).__name__}"))
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
            if self._chores.reviewing:
                return True
            if not self._awake.wait(self._patience()):
                self._rest()

    def _patience(self) -> float | None:
        """How long to sleep unless there is something to do; None: for as long as it takes."""
        waits = [max(0.0, self._sign_in())] if self._ledger.unsigned else []
        if self._untidy:
            waits.append(IDLE_SECONDS)
        return min(waits, default=None)

    def _rest(self) -> None:
        """Nothing came while it slept: sign what waits for that, else tidy up until something comes."""
        if self._ledger.unsigned:
            self._persist(self._sign)
            return
        while self._untidy and not self._awake.is_set():
            self._untidy = self._chores.tidy()

    def _write_group(self) -> None:
        count = min(len(self._queue), _LARGEST_GROUP)
        self._in_flight = count
        batch = [self._queue.popleft() for _ in range(count)]
        completed = self._persist(lambda: self._commit(batch))
        self._persist(self._transaction.shred)
        self._in_flight = 0
        self._untidy = True
        self._chores.look()
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

    def _sweep_step(self, request: Sweep) -> None:
        future = request.future
        if not future.set_running_or_notify_cancel():
            return
        try:
            outcome = self._chores.sweep(request)
        except (StorageUnavailable, *FAILED_BY_ITSELF) as error:
            if isinstance(error, StorageUnavailable):
                self._chores.destroy_due(request)
            future.set_exception(error)
            return
        self._untidy = True
        if outcome is not None:
            future.set_result(outcome)

    def _sign_in(self) -> float:
        return self._ledger.signed_at + SIGN_SECONDS - time.monotonic()

    def _sign(self) -> None:
        if self._ledger.unsigned:
            self._connection.transact(self._ledger.sign)

    def _refuse_sweeps(self, error: StorageError) -> None:
        while self._sweeps:
            request = self._sweeps.popleft()
            if request.future.set_running_or_notify_cancel():
                self._chores.destroy_due(request)
                request.future.set_exception(error)
