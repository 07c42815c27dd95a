"""A region's chores, between two groups of its writer: reviews, erasures, sweeps, certificates, and space given back.

Rules: owned by the writer's thread; each step is small, so that whoever writes never waits for more than one; every
step is safe to repeat. Where nothing can be written the keys of what is due are destroyed all the same: that needs no
room.
"""

from __future__ import annotations

import contextlib
from collections import deque
from concurrent.futures import Future
from datetime import datetime
from functools import partial
from typing import Final, NamedTuple

from storage.certificates import Certifiable, certify, destroy, leftovers
from storage.connection import WritingConnection
from storage.engine import sqlite3
from storage.erasing import Step, Wanted, brought_back, erase, next_wanted, reach, slots_left
from storage.errors import StorageUnavailable
from storage.moment import from_microseconds, microseconds
from storage.operations import SweepOutcome
from storage.persistence import Persistence
from storage.rulebook import review, take_terms, under_review
from storage.sweep import delete_due, due_slots

AT_ONCE: Final = 500
"""Presences erased in one transaction at open."""
REVIEWED_AT_ONCE: Final = 250
"""Copies judged anew in one transaction."""
SPARE_PAGES: Final = 256
"""Free pages that stay in the file for what comes next."""


class Sweep(NamedTuple):
    """A step of a sweep that somebody asked for."""

    now: datetime
    limit: int
    clock: datetime
    by_clock: bool
    future: Future[SweepOutcome]


class Chores:
    """What is to be done in a region's file besides writing what is submitted."""

    def __init__(self, connection: WritingConnection, persist: Persistence) -> None:
        """Take the configured terms, and overwrite what a crash left to overwrite. Raises sqlite3.Error."""
        self._connection: Final = connection
        self._transaction: Final = connection.transaction
        self._vault: Final = connection.transaction.vault
        self._persist: Final = persist
        self._uncertified: Final[deque[Certifiable]] = deque(leftovers(self._transaction))
        self._destroyed: frozenset[int] = frozenset()
        """Slots of due messages that were destroyed while their rows could not be deleted."""
        for batch in self._uncertified:
            destroy(self._vault, batch)
        self._settled = False
        self.reviewing = True
        """Whether copies wait to be judged, by new rules or by the terms that are configured now."""
        # On a full disk they are taken later: people must be told meanwhile.
        with contextlib.suppress(StorageUnavailable):
            self._settle()

    def _settle(self) -> None:
        """Take the configured terms, once, and see whether there is anything to review."""
        if not self._settled:
            self._connection.transact(lambda: take_terms(self._transaction))
            self._settled = True
        self.reviewing = under_review(self._transaction)

    def look(self) -> None:
        """After a commit: it may have changed the rules."""
        if self._transaction.ruled:
            self._transaction.ruled = False
            self.reviewing = self.reviewing or under_review(self._transaction)

    def erase_again(self) -> None:
        """At open: whoever was erased and is there again was brought back by a backup, or left by a crash.

        Where the disk takes nothing their keys are destroyed, and the rest follows later. Raises StorageUnavailable.
        """
        for wanted in brought_back(self._transaction):
            self._erase_at_open(wanted, self._transaction.erased.persons[wanted.person])
        with contextlib.suppress(StorageUnavailable):
            self.certify_all()

    def _erase_at_open(self, wanted: Wanted, until: int) -> None:
        whole = False
        while not whole:
            try:
                # The list of slots names none twice: what a full disk kept from being certified comes first.
                self.certify_all()
                step = self._erase(wanted, until, until, AT_ONCE)
            except StorageUnavailable:
                self._vault.destroy(slots_left(self._transaction, wanted.person, until))
                return
            self._transaction.shred()
            if step.batch is not None:
                destroy(self._vault, step.batch)
            whole = step.whole

    def certify_all(self) -> int | None:
        """Certify the batches whose slots are overwritten; the last certificate's sequence."""
        last: int | None = None
        while self._uncertified:
            batch = self._uncertified[0]
            last = self._connection.transact(partial(certify, self._transaction, batch))
            self._uncertified.popleft()
        return last

    # -- sweeping -------------------------------------------------------------------------------------------------

    def sweep(self, request: Sweep) -> SweepOutcome | None:
        """One step: of the review, else of an erasure, else of what is due; None where the disk fails amid it.

        Raises StorageUnavailable where nothing was done, and what the step brought upon itself.
        """
        wanted = self._connection.look(lambda: next_wanted(self._transaction))
        if wanted is not None:
            at = max(wanted.asked_at, microseconds(request.clock))
            until = max(at, self._connection.look(lambda: reach(self._transaction, wanted.person)))
            step = self._erase(wanted, until, at, request.limit)
            certificate = self._finish(step.batch, request.future)
            outcome = SweepOutcome(step.messages, True, certificate, step.erased, int(step.whole))
            return None if request.future.done() else outcome
        if self.reviewing:
            self.review(request.limit)
            return SweepOutcome(0, True, None)
        return self._delete(request)

    def _delete(self, request: Sweep) -> SweepOutcome | None:
        now = self._moment(request)
        clock = min(now, request.clock)
        batch, remaining = self._connection.transact(lambda: delete_due(self._transaction, now, request.limit, clock))
        if batch is not None:
            self._uncertified.append(batch)
        certificate = self._finish(batch, request.future)
        self._destroyed = frozenset() if batch is None else self._destroyed - batch.slots.keys()
        count = 0 if batch is None else len(batch.slots)
        return None if request.future.done() else SweepOutcome(count, remaining, certificate)

    def _moment(self, request: Sweep) -> datetime:
        sure = from_microseconds(self._transaction.ledger.sure)
        return min(request.now, sure) if request.by_clock else request.now

    def _finish(self, batch: Certifiable | None, waiting: Future[SweepOutcome]) -> int | None:
        # The boxes of rules that named somebody.
        self._persist(self._transaction.shred, waiting)
        if batch is None:
            return None
        self._persist(lambda: destroy(self._vault, batch), waiting)
        return self._persist(self.certify_all, waiting)

    def _erase(self, wanted: Wanted, until: int, at: int, limit: int) -> Step:
        # Before anything goes: a backup from before it must not bring the person back.
        self._transaction.erased.add(wanted.person, until)
        step = self._connection.transact(lambda: erase(self._transaction, wanted, until, at, limit))
        if step.batch is not None:
            self._uncertified.append(step.batch)
        return step

    def destroy_due(self, request: Sweep) -> None:
        """The disk takes nothing: destroy the keys of what is due, so that it is gone although its rows are not.

        What cannot even be read is left to the next sweep.
        """
        with contextlib.suppress(StorageUnavailable, sqlite3.Error):
            for slots in due_slots(self._transaction, self._moment(request), request.limit, self._destroyed):
                self._vault.destroy(slots)
                self._destroyed |= set(slots)

    # -- when there is time ---------------------------------------------------------------------------------------

    def review(self, limit: int = REVIEWED_AT_ONCE) -> None:
        """Judge some copies by the rules as they are. Raises StorageUnavailable."""
        self._settle()
        if self.reviewing:
            self._connection.transact(lambda: review(self._transaction, limit))
            self.reviewing = under_review(self._transaction)

    def tidy(self) -> bool:
        """Give some free pages back; whether there may be more to give. Raises nothing."""
        return self._connection.give_pages_back(SPARE_PAGES)
