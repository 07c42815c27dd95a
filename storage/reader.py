"""What a region answers: committed data only, each question in one snapshot.

Rules: owned by the reader's thread and its read-only connection; personal data is opened here and nowhere kept. A box
whose key is gone reads as None, never as an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from storage.engine import connect_reader, sqlite3
from storage.entry import given
from storage.errors import StorageError, StorageUnavailable
from storage.kept import Kept
from storage.merkle import Tiles, consistency_path, inclusion_path
from storage.operations import Call, StoredMessage
from storage.retention import Terms
from storage.rows import call_row
from storage.spans import Tail
from storage.tree import tiles
from storage.vault import Vault
from storage.witness import Seen

T = TypeVar("T")


class Reader:
    """The questions. Valid only inside `Region.read`."""

    def __init__(self, connection: sqlite3.Connection, vault: Vault, terms: Terms) -> None:
        self._connection = connection
        self._execute = connection.execute
        self._vault = vault
        self._tail = Tail()
        """What was seen of the entries behind the spans: entries stay, so that each is looked at once."""
        self.kept: Final = Kept(connection, vault, terms)
        """What is asked about messages and the rules of their retention."""

    def refresh(self) -> None:
        """Look at what is committed by now."""
        if self._connection.in_transaction:
            self._execute("COMMIT")
        self._execute("BEGIN")

    def known_events(self, digests: Iterable[bytes]) -> set[bytes]:
        """Which of these events were taken already."""
        find = self._execute
        return {
            digest
            for digest in digests
            if find("SELECT 1 FROM events WHERE digest = ?", (digest,)).fetchone() is not None
        }

    def open_calls(self) -> list[Call]:
        """The calls that are on, as (organisation, call), in the order they became known."""
        return self._execute("SELECT organization, call FROM calls WHERE open = 1 ORDER BY id").fetchall()

    def has_call(self, call: Call) -> bool:
        """Whether anything was ever written about this call."""
        organization, name = call
        row = self._execute("SELECT 1 FROM calls WHERE call = ? AND organization = ?", (name, organization)).fetchone()
        return row is not None

    def call_entries(self, call: Call) -> list[tuple[int, bytes]]:
        """The ledger's lines about this call and those merged into it, as (sequence, leaf), in order."""
        family = self._family(call)
        self._tail.follow(self._execute)
        numbers = self._tail.numbers(self._execute, msgspec.json.decode(family, type=list[int]))
        return self._execute(
            "SELECT seq, leaf FROM entries WHERE seq IN (SELECT value FROM json_each(?))"
            " AND call IN (SELECT value FROM json_each(?)) ORDER BY seq",
            (msgspec.json.encode(numbers).decode("ascii"), family),
        ).fetchall()

    def presences(self, call: Call) -> dict[str, bytes | None]:
        """The presences of this call and those merged into it: id to opened box, None where it was shredded."""
        rows = self._execute(
            "SELECT presence, slot, box FROM presences WHERE call IN (SELECT value FROM json_each(?)) ORDER BY id",
            (self._family(call),),
        )
        return {presence: self._open("presences", presence, slot, box) for presence, slot, box in rows}

    def aliases(self, call: Call) -> tuple[str, ...]:
        """The call's own aliases, as last given."""
        organization, name = call
        row = self._execute(
            "SELECT slot, box FROM calls WHERE call = ? AND organization = ?", (name, organization)
        ).fetchone()
        clear = None if row is None else self._open("calls", call_row(call), *row)
        return () if clear is None else msgspec.json.decode(clear, type=tuple[str, ...])

    def message(self, participant: str) -> StoredMessage | None:
        """The participant's last message, None if there is none."""
        former: object = None
        while True:
            row = self.kept.last(participant)
            stored = None if row is None else self.kept.opened(row)
            if row is None or stored is not None or row == former:
                return stored
            # Superseded or swept since the snapshot was taken: what counts is what is there now.
            former = row
            self.refresh()

    def size(self) -> int:
        """How many entries the ledger has."""
        (last,) = self._execute("SELECT max(seq) FROM entries").fetchone()
        return 0 if last is None else int(last) + 1

    def entries(self, start: int, limit: int) -> list[bytes]:
        """At most `limit` leaves from sequence `start` on."""
        rows = self._execute("SELECT leaf FROM entries WHERE seq >= ? ORDER BY seq LIMIT ?", (start, max(limit, 0)))
        return [leaf for (leaf,) in rows]

    def leaf(self, entry: int) -> bytes | None:
        """The leaf with this number, None if there is none yet."""
        row = self._execute("SELECT leaf FROM entries WHERE seq = ?", (entry,)).fetchone()
        return None if row is None else row[0]

    def event_entry(self, digest: bytes) -> tuple[int, bytes] | None:
        """The entry that tells of the event with this digest, as (sequence, leaf)."""
        found: tuple[int, bytes] | None = self._execute(
            "SELECT seq, leaf FROM event_entries JOIN entries USING (seq) WHERE digest = ?", (digest,)
        ).fetchone()
        return found

    def checkpoint(self) -> tuple[int, str] | None:
        """How many entries the newest checkpoint covers, and its note with the cosignatures it has by now."""
        row = self._execute("SELECT size, note FROM checkpoints ORDER BY size DESC LIMIT 1").fetchone()
        if row is None:
            return None
        size, note = row
        lines = self._execute("SELECT line FROM cosignatures WHERE size = ? ORDER BY name", (size,))
        return size, note + "".join(line for (line,) in lines)

    def checkpoint_of(self, size: int) -> str | None:
        """The note of the checkpoint that covers just `size` entries, None if none was signed then."""
        row = self._execute("SELECT note FROM checkpoints WHERE size = ?", (size,)).fetchone()
        return None if row is None else row[0]

    def cosigners(self, size: int) -> set[str]:
        """Who vouched for the checkpoint of `size` entries."""
        return {name for (name,) in self._execute("SELECT name FROM cosignatures WHERE size = ?", (size,))}

    def witnessed(self, origin: str) -> Seen | None:
        """The newest checkpoint of another ledger that this region vouched for."""
        row = self._execute("SELECT vkey, size, root FROM witnessed WHERE origin = ?", (origin,)).fetchone()
        return None if row is None else Seen(*row)

    def timestamp(self) -> tuple[int, bytes] | None:
        """How many entries the newest checkpoint with a time stamp covers, and its token."""
        stamped: tuple[int, bytes] | None = self._execute(
            "SELECT size, token FROM timestamps ORDER BY size DESC LIMIT 1"
        ).fetchone()
        return stamped

    def tiles(self) -> Tiles:
        """The stored Merkle tree, in this snapshot."""
        return tiles(self._execute)

    def inclusion(self, entry: int, size: int) -> list[bytes]:
        """The path from an entry to the root of the first `size` entries. Raises ValueError if it is not among them."""
        return inclusion_path(entry, self._covered(size), self.tiles().node)

    def consistency(self, old: int, new: int) -> list[bytes]:
        """The proof that the first `old` entries begin the first `new`. Raises ValueError beyond the ledger's end."""
        return consistency_path(old, self._covered(new), self.tiles().node)

    def _covered(self, size: int) -> int:
        if size > self.size():
            raise ValueError("the ledger is not that long")
        return size

    def family(self, call: Call) -> list[Call]:
        """The call and all that were merged into it, directly or not, in the order they became known."""
        return self._execute(
            "SELECT organization, call FROM calls WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id",
            (self._family(call),),
        ).fetchall()

    def named_calls(self) -> list[tuple[Call, tuple[str, ...]]]:
        """Every call that has aliases, with them."""
        rows = self._execute("SELECT organization, call, slot, box FROM calls WHERE slot IS NOT NULL")
        named: list[tuple[Call, tuple[str, ...]]] = []
        for organization, name, slot, box in rows:
            clear = self._open("calls", call_row((organization, name)), slot, box)
            if clear is not None:
                named.append(((organization, name), msgspec.json.decode(clear, type=tuple[str, ...])))
        return named

    def merges(self) -> list[tuple[Call, Call]]:
        """Every call that became part of another, with that other."""
        rows = self._execute(
            "SELECT source.organization, source.call, target.organization, target.call FROM merges"
            " JOIN calls AS source ON source.id = merges.source JOIN calls AS target ON target.id = merges.target"
        )
        return [((one, name), (other, into)) for one, name, other, into in rows]

    def certificates(self) -> list[dict[str, Any]]:
        """The retention certificates, oldest first, each with its sequence as `entry`."""
        rows = self._execute("SELECT seq, leaf FROM certificates JOIN entries USING (seq) ORDER BY seq")
        return [{"entry": seq, **given(leaf)} for seq, leaf in rows]

    def _family(self, call: Call) -> str:
        """The rows of a call and of all that were merged into it, directly or not, as a JSON list."""
        organization, name = call
        rows = self._execute(
            "WITH RECURSIVE family(id) AS (SELECT id FROM calls WHERE call = ? AND organization = ?"
            " UNION SELECT merges.source FROM merges JOIN family ON merges.target = family.id) SELECT id FROM family",
            (name, organization),
        )
        return msgspec.json.encode([identity for (identity,) in rows]).decode("ascii")

    def _open(self, table: str, row: str, slot: int | None, box: bytes | None) -> bytes | None:
        return None if slot is None or box is None else self._vault.open(table, row, slot, box)


class ReaderThread:
    """The thread that asks, and its connection."""

    def __init__(self, name: str, path: Path, vault: Vault, terms: Terms) -> None:
        """Connect. Raises sqlite3.Error."""
        self._connection = connect_reader(path)
        # Mapping the log's index now keeps it alive whenever the writer has to reconnect.
        self._connection.execute("SELECT count(*) FROM identity").fetchall()
        self._reader = Reader(self._connection, vault, terms)
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"reader {name}")

    def read(self, question: Callable[[Reader], T]) -> Future[T]:
        """Ask; see `Region.read`."""
        try:
            return self._executor.submit(self._ask, question)
        except RuntimeError as error:
            raise StorageError("the region is closed") from error

    def _ask(self, question: Callable[[Reader], T]) -> T:
        try:
            self._reader.refresh()
            try:
                return question(self._reader)
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            raise StorageUnavailable(f"the region's file cannot be read: {error}") from error

    def close(self) -> None:
        """Answer what was asked and give the connection back."""
        self._executor.shutdown(wait=True)
        self._connection.close()
