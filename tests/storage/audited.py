"""A ledger that was written properly, copies of it, and what somebody with access to its file can do to a copy."""

from __future__ import annotations

import contextlib
import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from storage import tree
from storage.audit import ledger
from storage.audit.verdict import Verdict
from storage.engine import connect_writer, sqlite3
from storage.entry import canonical
from storage.merkle import Edge, leaf_hash
from storage.note import COSIGNATURE, ED25519, Checkpoint, Note, Verifier, parse_note, parse_verifiers
from storage.operations import Append, Call, KeepCosignature, Operation, SignCheckpoint
from storage.signing import Signer, load
from tests.storage.desk import Desk, forget

ORIGIN = "notification-gateway/europe"
SIGNED = (0, 100, 300, 301, 600)
"""The sizes of which the ledger has checkpoints."""
WITNESSED = 301
WITNESS = Signer("witness.example/w1", COSIGNATURE, bytes(range(32)))
STRANGER = Signer(ORIGIN, ED25519, bytes(range(1, 33)))
"""Somebody who calls himself as the ledger is called."""
AT = 1_795_442_400

Connection = sqlite3.Connection
Edit = Callable[[Connection], object]


def noted(number: int, word: str = "") -> Append:
    """The entry with this number: three of four are about a call."""
    call: Call | None = None if number % 4 == 3 else ("contoso", f"call-{number % 4}")
    fields: dict[str, object] = {"kind": "noted", "number": number, "word": word}
    if call is not None:
        fields |= {"organization": call[0], "call": call[1]}
    return Append(canonical(fields), call)


class Written:
    """A region's directory and its keys, closed; every copy is made from here."""

    def __init__(self, root: Path) -> None:
        self.root = root
        desk = Desk(root)
        for start, end in itertools.pairwise(SIGNED):
            desk.do(*map(noted, range(start, end)), SignCheckpoint())
            if end == WITNESSED:
                assert desk.region.checkpoint is not None
                line = WITNESS.cosign(parse_note(desk.region.checkpoint).body, AT).text()
                desk.do(KeepCosignature(end, WITNESS.verifier.name, line))
        assert desk.close() == 0
        self.data, self.keys = desk.data, desk.keys
        self.public = self.keys / "verifier.vkey"
        self.verifiers = parse_verifiers(self.public.read_text())
        self.signer = load((self.keys / "signing.key").read_text())

    def copy(self, place: Path) -> Copied:
        """The region's file alone, elsewhere."""
        place.mkdir(parents=True)
        shutil.copy(self.data / "region.db", place)
        return Copied(self.verifiers, place)

    def another_history(self, place: Path, *operations: Operation, upto: int | None = None) -> Copied:
        """The same region with the same keys, cut after `upto` entries, in which something else then happened."""
        shutil.copytree(self.data, place / "data" / "europe")
        shutil.copytree(self.keys, place / "keys" / "europe")
        with edited(place / "data" / "europe" / "region.db") as connection:
            if upto is not None:
                truncate(connection, upto, forget=True)
        forget(place / "keys" / "europe")
        desk = Desk(place)
        desk.do(*operations, SignCheckpoint())
        assert desk.close() == 0
        return Copied(self.verifiers, desk.data)


class Copied:
    """A copy of the region's file."""

    def __init__(self, verifiers: list[Verifier], place: Path) -> None:
        self.verifiers = verifiers
        self.place = place
        self.path = place / "region.db"

    def edit(self, *edits: Edit) -> Copied:
        """Do this to the file."""
        with edited(self.path) as connection:
            for each in edits:
                each(connection)
        return self

    def checkpoint(self, size: int | None = None, name: str = "seen.txt") -> Path:
        """A checkpoint of the copy in a file beside it: the newest, or that of `size`."""
        with edited(self.path) as connection:
            rows = connection.execute("SELECT size, note FROM checkpoints ORDER BY size").fetchall()
        return self.lay(name, dict(rows)[rows[-1][0] if size is None else size])

    def lay(self, name: str, text: str) -> Path:
        """A file beside the copy."""
        path = self.place / name
        path.write_text(text)
        return path

    def judge(
        self, *checkpoints: Path, verifiers: list[Verifier] | None = None, witnesses: list[Verifier] | None = None
    ) -> Verdict:
        """What the verifier says."""
        found = ledger.verify(
            self.place,
            self.verifiers if verifiers is None else verifiers,
            checkpoints=checkpoints,
            witnesses=witnesses or [],
        )
        assert "\n" not in found.line
        return found


@contextlib.contextmanager
def edited(path: Path) -> Iterator[Connection]:
    """A connection that writes as it likes."""
    with contextlib.closing(connect_writer(path)) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("BEGIN")
        yield connection
        connection.execute("COMMIT")


def run(statement: str, *values: Any) -> Edit:
    """One statement."""
    return lambda connection: connection.execute(statement, values)


def change_leaf(number: int, old: bytes, new: bytes) -> Edit:
    """Other bytes in a leaf."""

    def edit(connection: Connection) -> None:
        (leaf,) = connection.execute("SELECT leaf FROM entries WHERE seq = ?", (number,)).fetchone()
        assert leaf.count(old) == 1
        connection.execute("UPDATE entries SET leaf = ? WHERE seq = ?", (leaf.replace(old, new), number))

    return edit


def rehash(connection: Connection) -> None:
    """Every stored hash is that of its leaf."""
    for number, leaf in connection.execute("SELECT seq, leaf FROM entries").fetchall():
        connection.execute("UPDATE entries SET hash = ? WHERE seq = ?", (leaf_hash(leaf), number))


def rebuild(connection: Connection) -> None:
    """Hashes, tiles and head fit the leaves again: all that can be done without the key."""
    rehash(connection)
    connection.execute("DELETE FROM tiles")
    connection.execute("DELETE FROM head")
    connection.execute("DELETE FROM spans")
    tree.plant(connection)


def resign(signer: Signer) -> Edit:
    """After `rebuild`: every checkpoint fits the entries again, signed by this key."""

    def edit(connection: Connection) -> None:
        hashes = [found for (found,) in connection.execute("SELECT hash FROM entries ORDER BY seq")]
        for (size,) in connection.execute("SELECT size FROM checkpoints").fetchall():
            edge, _ = Edge(0, ()).extend(hashes[:size])
            body = Checkpoint(ORIGIN, size, edge.root()).body()
            note = Note(body, (signer.sign(body),)).text()
            connection.execute("UPDATE checkpoints SET note = ? WHERE size = ?", (note, size))

    return edit


def truncate(connection: Connection, size: int, *, forget: bool) -> None:
    """Only the first `size` entries are left, as if never more had been; `forget` takes later checkpoints along."""
    connection.execute("DELETE FROM entries WHERE seq >= ?", (size,))
    if forget:
        connection.execute("DELETE FROM cosignatures WHERE size > ?", (size,))
        connection.execute("DELETE FROM checkpoints WHERE size > ?", (size,))
    rebuild(connection)


def shift(start: int, by: int) -> Edit:
    """Entries from `start` on get other numbers."""

    def edit(connection: Connection) -> None:
        # By way of negative numbers, so that no two ever share one.
        connection.execute("UPDATE entries SET seq = -1 - seq WHERE seq >= ?", (start,))
        connection.execute("UPDATE entries SET seq = -1 - seq + ? WHERE seq < 0", (by,))

    return edit


def swap(one: int, other: int) -> Edit:
    """Two entries change places, hashes and calls included."""

    def edit(connection: Connection) -> None:
        for old, new in ((one, -1), (other, one), (-1, other)):
            connection.execute("UPDATE entries SET seq = ? WHERE seq = ?", (new, old))

    return edit
