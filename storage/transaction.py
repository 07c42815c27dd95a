"""One group commit on the writer's connection: the ledger's end, the calls it touches, the slots it takes and frees.

Rules: owned by the writer's thread; slots taken by what is rolled back are never used again before they are
overwritten, and not overwritten while a crash could still bring their rows back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple, TypeVar

from storage.engine import is_storage_failure, sqlite3
from storage.entry import canonical
from storage.erasures import Erasures
from storage.errors import StorageUnavailable
from storage.ledger import Ledger
from storage.operations import Call
from storage.retention import Rules, Terms
from storage.rules import compile_rules, read_rules
from storage.signing import Signer
from storage.vault import Vault

R = TypeVar("R")

_REMEMBERED_CALLS: Final = 50_000
_REMEMBERED_RESOURCES: Final = 1_000

FAILED_BY_ITSELF: Final = (sqlite3.Error, ValueError, TypeError, AttributeError, LookupError, ArithmeticError)
"""What one submission can bring upon itself, unless `is_storage_failure` says that the disk did it."""


class _Mark(NamedTuple):
    """Where a submission began."""

    taken: int
    freed: int


class Transaction:
    """The open transaction, and between transactions what is left to shred."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        vault: Vault,
        ledger: Ledger,
        witness: Signer,
        erased: Erasures,
        terms: Terms,
    ) -> None:
        self.connection = connection
        self.execute = connection.execute
        self.vault = vault
        self.ledger = ledger
        self.witness = witness
        """By which this region vouches for others."""
        self.erased = erased
        self.terms = terms
        self.ruled = False
        """Whether rules were set or removed since somebody looked."""
        self._rules: Rules | None = None
        self.doomed: set[int] = set()
        """Slots whose rows are gone: to be shredded before anything is confirmed."""
        self._taken: list[int] = []
        self._freed: list[int] = []
        self._haunted: set[int] = set()
        """Slots of rows that failed to be committed, and may be in the log none the less until it is written over."""
        self._calls: dict[Call, int] = {}
        self._resources: dict[str, int] = {}

    # -- the frame ------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start a transaction that may write. Raises sqlite3.Error."""
        self.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Make everything since `begin` durable. Raises sqlite3.Error; then call `rollback`."""
        self.ledger.write()
        self.execute("COMMIT")
        self.ledger.settle()
        self.doomed.update(self._freed)
        # A durable commit lies where those before it failed: nothing brings them back now.
        self.doomed.update(self._haunted)
        self._haunted.clear()
        self._taken.clear()
        self._freed.clear()

    def rollback(self, *, for_good: bool) -> None:
        """Forget everything since `begin`; a crash may remember it unless it is `for_good`.

        Raises sqlite3.Error if even that fails.
        """
        (self.doomed if for_good else self._haunted).update(self._taken)
        self._taken.clear()
        self._freed.clear()
        self._calls.clear()
        self._resources.clear()
        self.forget_rules()
        self.ledger.forget()
        # A failed write may have rolled back by itself.
        if self.connection.in_transaction:
            self.execute("ROLLBACK")

    def attempt(self, work: Callable[[], R]) -> R:
        """`work` inside a savepoint: what it raises undoes its part alone. Raises what `work` raises."""
        mark, place = _Mark(len(self._taken), len(self._freed)), self.ledger.mark()
        self.execute("SAVEPOINT attempt")
        try:
            result = work()
            self.flush()
        except FAILED_BY_ITSELF as error:
            if is_storage_failure(error):
                raise
            self.execute("ROLLBACK TO attempt")
            self.execute("RELEASE attempt")
            self.doomed.update(self._taken[mark.taken :])
            del self._taken[mark.taken :], self._freed[mark.freed :]
            self._calls.clear()
            self._resources.clear()
            self.forget_rules()
            self.ledger.undo(place)
            raise
        self.execute("RELEASE attempt")
        return result

    def shred(self) -> None:
        """Overwrite the slots whose rows are gone. Raises StorageUnavailable; the slots stay doomed then."""
        if self.doomed:
            self.vault.shred(self.doomed)
            self.doomed.clear()

    def move_to(self, connection: sqlite3.Connection) -> None:
        """Go on with a fresh connection after a failure.

        Raises StorageUnavailable if the file no longer ends where the last confirmed commit left it.
        """
        self.connection = connection
        self.execute = connection.execute
        if not self.ledger.move_to(connection):
            raise StorageUnavailable("the ledger does not end where the last confirmed commit left it")

    # -- what operations use --------------------------------------------------------------------------------------

    def append(self, leaf: bytes, call: Call | None = None) -> int:
        """Append a leaf; its sequence."""
        if type(leaf) is not bytes:
            raise TypeError("a leaf is bytes")
        return self.ledger.append(leaf, None if call is None else self.call_id(call))

    def append_all(self, leaves: Iterable[tuple[bytes, Call]]) -> int:
        """Append leaves one behind the other, each about its call; the first one's sequence.

        Raises ValueError where there is none.
        """
        append, call_id = self.ledger.append, self.call_id
        first, *_ = [append(leaf, call_id(call)) for leaf, call in leaves]
        return first

    def append_entry(self, fields: Mapping[str, object]) -> int:
        """Append storage's own entry; its sequence."""
        return self.append(canonical(fields))

    def flush(self) -> None:
        """Insert the buffered entries, so that other tables can refer to them."""
        self.ledger.flush()

    @property
    def rules(self) -> Rules:
        """The policies and holds that apply now."""
        if self._rules is None:
            said = read_rules(self.connection, self.vault)
            self._rules = compile_rules(self.connection, self.vault, self.terms, said)
        return self._rules

    def forget_rules(self) -> None:
        """They changed, or may have: they are read again when they are needed next."""
        self._rules = None

    def note_calls(self) -> None:
        """A call goes by other names or became part of another: what a hold on calls means may have changed."""
        if self._rules is not None and self._rules.by_call:
            self._rules = None

    def call_id(self, call: Call) -> int:
        """The row of `call`, made closed if it is new."""
        found = self._calls.get(call)
        if found is not None:
            return found
        organization, name = call
        row = self.execute("SELECT id FROM calls WHERE call = ? AND organization = ?", (name, organization)).fetchone()
        if row is None:
            row = self.execute(
                "INSERT INTO calls(organization, call, open) VALUES (?, ?, 0) RETURNING id", (organization, name)
            ).fetchone()
            self.ledger.expect(row[0])
            if self._rules is not None and name in self._rules.calls:
                self._rules = None
        if len(self._calls) >= _REMEMBERED_CALLS:
            self._calls.clear()
        identity = int(row[0])
        self._calls[call] = identity
        return identity

    def resource_id(self, resource: str) -> int:
        """The row of an ACS resource, made if it is new."""
        found = self._resources.get(resource)
        if found is not None:
            return found
        row = self.execute("SELECT id FROM resources WHERE resource = ?", (resource,)).fetchone()
        if row is None:
            row = self.execute("INSERT INTO resources(resource) VALUES (?) RETURNING id", (resource,)).fetchone()
        if len(self._resources) >= _REMEMBERED_RESOURCES:
            self._resources.clear()
        identity = int(row[0])
        self._resources[resource] = identity
        return identity

    def seal(self, table: str, row: str, clear: bytes) -> tuple[int, bytes]:
        """Seal `clear` for a row of this transaction: (slot, box)."""
        slot, box = self.vault.seal(table, row, clear)
        self._taken.append(slot)
        return slot, box

    def free(self, slot: int | None) -> None:
        """The row of this slot goes with this transaction: shred it after the commit."""
        if slot is not None:
            self._freed.append(slot)
