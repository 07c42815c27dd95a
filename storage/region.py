"""A region's storage: its ledger, vault and last messages, behind one writer thread and one reader thread.

Rules: one process holds a region at a time; what `committed` was given is durable; nothing here knows an event loop.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, TypeVar

from storage.clock import Clock, system_clock
from storage.engine import sqlite3
from storage.errors import RegionRefused, StorageError, StorageUnavailable
from storage.identity import Keys, establish
from storage.operations import Operation, SweepOutcome
from storage.premises import Premises
from storage.reader import Reader, ReaderThread
from storage.retention import Terms
from storage.writer import Completed, Writer

T = TypeVar("T")

LEDGER: Final = "notification-gateway"
"""Whose ledger it is, unless somebody says."""

MONTH: Final = Terms(timedelta(days=30))
"""How long a message is kept, unless somebody says."""


class Region:
    """An open region. Every method is safe from any thread."""

    def __init__(self, name: str, lock: int, keys: Keys, writer: Writer, reader: ReaderThread) -> None:
        """Use `Region.open`."""
        self.name = name
        self._lock = lock
        self._keys = keys
        self._writer = writer
        self._reader = reader
        self._closed = False

    @classmethod
    def open(
        cls,
        name: str,
        *,
        directory: Path,
        key_directory: Path,
        committed: Callable[[list[Completed]], None],
        failing: Callable[[StorageError | None], None],
        ledger: str = LEDGER,
        terms: Terms = MONTH,
        clock: Clock = system_clock,
    ) -> Region:
        """Open the region in `directory` with its keys in `key_directory`, making both if there is neither.

        `ledger` is whose ledger it is: it goes into the origin `<ledger>/<name>` when the keys are made, for good.
        `terms` apply from now on, to what is stored already too.
        `committed` hears of each group commit, `failing` of a disk that fails (once) and works again (None); both are
        called on the writer's thread and must not block or raise. What a crash left undone is finished first. Raises
        RegionRefused: no keys for the data, no file for the keys, parts of another region, in use, modes, links,
        SQLite too old.
        """
        premises = Premises(name, Path(directory), Path(key_directory))
        with contextlib.ExitStack() as undo:
            try:
                premises.prepare()
                lock = premises.take_lock()
                undo.callback(os.close, lock)
                keys = establish(premises, ledger)
                undo.callback(keys.vault.close)
                writer = Writer(name, premises.database, keys, clock, terms, committed, failing)
                undo.callback(writer.close)
                reader = ReaderThread(name, premises.database, keys.vault, terms)
                undo.callback(reader.close)
                writer.finish_leftovers()
                premises.prepare()
                keys.memory.write(writer.checkpoint)
            except RegionRefused:
                raise
            except (OSError, sqlite3.Error, StorageUnavailable) as error:
                reason = error.strerror if isinstance(error, OSError) else error
                raise premises.refuse(f"cannot be opened ({reason})", premises.directory, "check the disk") from error
            undo.pop_all()
        writer.start()
        return cls(name, lock, keys, writer, reader)

    @property
    def pending(self) -> int:
        """Submissions not yet durable."""
        return self._writer.pending

    @property
    def origin(self) -> str:
        """What the region's checkpoints are of: `<ledger>/<region>`."""
        return self._keys.signer.verifier.name

    @property
    def verifier(self) -> str:
        """What `verifier.vkey` holds: the public keys of checkpoints and of cosignatures, a line each."""
        return self._keys.public

    @property
    def checkpoint(self) -> str | None:
        """The newest durable checkpoint's note; None only while the disk has not taken a first one."""
        return self._writer.checkpoint

    @property
    def failure(self) -> StorageError | None:
        """Why nothing can be written now; None while writing works."""
        return self._writer.failure

    def submit(self, operations: Sequence[Operation], token: object) -> None:
        """Queue operations, in order, to become durable together or not at all.

        `committed` gets `token` back with the results, or with the error of a submission that can never succeed.
        Raises StorageError once closed.
        """
        self._writer.submit(operations, token)

    def read(self, question: Callable[[Reader], T]) -> Future[T]:
        """Ask on the reader's thread, in one snapshot of what is committed; the future raises StorageUnavailable.

        Raises StorageError once closed.
        """
        return self._reader.read(question)

    def sweep(
        self, now: datetime, limit: int, clock: datetime | None = None, *, by_clock: bool = False
    ) -> Future[SweepOutcome]:
        """One step of a sweep: erase somebody who is to be erased, else judge copies by rules that changed, else delete
        at most `limit` messages due at `now`. What goes is shredded and certified; call again while anything remains.

        `clock` is the time it is, where that is not `now`. A sweep `by_clock` takes no wall clock's word for a time
        that cannot have come yet: after a jump ahead it deletes what was due without the jump.

        The future raises StorageUnavailable while the disk fails: either nothing was deleted, or the certificate
        follows as soon as writing works. Raises StorageError once closed, ValueError for a limit below one.
        """
        return self._writer.sweep(now, limit, clock or now, by_clock)

    def close(self, timeout: float = 5.0) -> int:
        """Write what is queued, for up to `timeout` seconds, and give everything back.

        Answers how many submissions could not be written; none of them was confirmed. Closing twice does nothing.
        """
        if self._closed:
            return 0
        self._closed = True
        unwritten = self._writer.stop(timeout)
        self._keys.memory.write(self._writer.checkpoint)
        self._reader.close()
        self._writer.close()
        self._keys.vault.close()
        os.close(self._lock)
        return unwritten
