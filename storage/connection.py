"""The connection that writes: one transaction at a time, and what to do when the disk refuses one.

Rules: owned by the writer's thread; a failed transaction is rolled back whole; after anything but a full disk the
connection is replaced before the next attempt, since a sync that failed once must not be taken for one that worked.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from storage.clock import Clock
from storage.engine import connect_writer, is_storage_failure, sqlite3
from storage.errors import StorageUnavailable
from storage.identity import Keys
from storage.ledger import Ledger
from storage.retention import Terms
from storage.transaction import FAILED_BY_ITSELF, Transaction

R = TypeVar("R")

_PAGES_GIVEN_BACK: Final = 256


class WritingConnection:
    """The region's file as its writer sees it."""

    def __init__(self, path: Path, keys: Keys, clock: Clock, terms: Terms) -> None:
        """Connect. Raises sqlite3.Error."""
        self._path = path
        self._vault = keys.vault
        self._memory = keys.memory
        self._suspect = False
        connection = connect_writer(path)
        ledger = Ledger(connection, keys.signer, clock)
        self.transaction: Final = Transaction(connection, keys.vault, ledger, keys.witness, keys.erased, terms)

    def transact(self, work: Callable[[], R]) -> R:
        """`work` in a transaction of its own. Raises StorageUnavailable, or what `work` brought upon itself."""
        transaction = self.transaction
        try:
            if self._suspect:
                self._reconnect()
            transaction.begin()
            result = work()
            transaction.commit()
        except (StorageUnavailable, *FAILED_BY_ITSELF) as error:
            self._roll_back(error)
            if is_storage_failure(error):
                raise StorageUnavailable(f"the region's file cannot be written: {error}") from error
            raise
        self._memory.keep(transaction.ledger.checkpoint)
        return result

    def look(self, question: Callable[[], R]) -> R:
        """What `question` reads between two transactions. Raises StorageUnavailable."""
        try:
            if self._suspect:
                self._reconnect()
            return question()
        except sqlite3.Error as error:
            self._suspect = True
            raise StorageUnavailable(f"the region's file cannot be read: {error}") from error

    def _roll_back(self, error: BaseException) -> None:
        # After a failed sync the connection's idea of the file is not to be trusted, and the log may hold the whole
        # commit all the same. A full disk is harmless: the log lacks the end of it.
        unclear = is_storage_failure(error) and _primary(error) != sqlite3.SQLITE_FULL
        if unclear:
            self._suspect = True
        try:
            self.transaction.rollback(for_good=not unclear)
            if _primary(error) == sqlite3.SQLITE_FULL:
                # A log that is copied into the file begins anew and needs no more room.
                self.transaction.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.Error:
            self._suspect = True

    def _reconnect(self) -> None:
        self.transaction.connection.close()
        self.transaction.move_to(connect_writer(self._path))
        self._vault.recover()
        self._suspect = False

    def give_pages_back(self, spare: int) -> bool:
        """Shorten the file by some pages if more than `spare` are free; whether to go on. What fails is for later."""
        if self._suspect:
            return False
        execute = self.transaction.execute
        try:
            (free,) = execute("PRAGMA freelist_count").fetchone()
            if free > spare:
                execute(f"PRAGMA incremental_vacuum({_PAGES_GIVEN_BACK:d})").fetchall()
                return True
            # The file itself is shortened when the log is copied into it.
            execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.Error as error:
            self._suspect = _primary(error) != sqlite3.SQLITE_FULL
        return False

    def close(self) -> None:
        """Copy the log into the file, where possible, and give the connection back."""
        # The log is durable as it is; only its size is at stake, so nobody waits for a stranger who reads on.
        with contextlib.suppress(sqlite3.Error):
            self.transaction.execute("PRAGMA busy_timeout = 0").fetchall()
            self.transaction.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        self.transaction.connection.close()


def _primary(error: BaseException) -> int:
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF
