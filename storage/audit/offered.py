"""What a witness is offered: the newest checkpoint of a ledger, or one that somebody brought, and proof of growth.

Rules: a ledger proves by its own entries, which must be those that were signed; a checkpoint alone needs the gateway's
answer brought along, for the very sizes in question.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from storage.audit.file import reading
from storage.audit.plain import begins_with, read_bytes, read_text
from storage.audit.verdict import ROLLED_BACK, TAMPERED, UNVERIFIABLE, Refused
from storage.merkle import Tiles, consistency_path, root_at
from storage.note import Checkpoint, decoded
from storage.tree import tiles

_SQLITE: Final = b"SQLite format 3\x00"

Prove = Callable[[int, Checkpoint], Sequence[bytes]]
"""(old, new) -> the proof that the entries of checkpoint `new` begin with the first `old`. Raises Refused."""


class Misused(ValueError):
    """What was asked makes no sense together; the text says what to leave or change."""


class _Consistency(msgspec.Struct):
    """What `GET /v1/ledgers/{region}/consistency` answers."""

    start: int = msgspec.field(name="from")
    end: int = msgspec.field(name="to")
    hashes: list[str]


@contextlib.contextmanager
def offered(source: Path, consistency: Path | None) -> Iterator[tuple[str, Prove]]:
    """The newest note in `source`, a region's directory, its file or a note, and a way to ask for proofs.

    `consistency` is the gateway's answer for a note. Raises Refused, and Misused where it is given with a ledger.
    """
    try:
        directory = source.is_dir()
    except OSError as error:
        raise Refused(UNVERIFIABLE, f"{source}: {error.strerror}") from None
    if not directory and not begins_with(source, _SQLITE):
        yield read_text(source), _by_answer(consistency)
        return
    if consistency is not None:
        raise Misused(f"--consistency goes with a checkpoint; {source} is a ledger, which proves by its entries")
    with reading(source) as connection:
        row = connection.execute("SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1").fetchone()
        if row is None:
            raise Refused(UNVERIFIABLE, f"{source}: nothing is signed")
        yield str(row[0]), _by_tree(tiles(connection.execute))


def _by_tree(tree: Tiles) -> Prove:
    """Proofs from the entries themselves, which must be those that were signed."""

    def prove(old: int, new: Checkpoint) -> Sequence[bytes]:
        size = new.size
        try:
            root = root_at(size, tree.node)
            proof = consistency_path(old, size, tree.node)
        except ValueError:
            raise Refused(ROLLED_BACK, f"{new.origin}: fewer entries are there than the {size} signed") from None
        if root != new.root:
            raise Refused(TAMPERED, f"{new.origin}: the first {size} entries are not those signed")
        return proof

    return prove


def _by_answer(consistency: Path | None) -> Prove:
    """The one proof that somebody brought along."""

    def prove(old: int, new: Checkpoint) -> Sequence[bytes]:
        if old in (0, new.size):
            return ()
        wanted = f"give the answer of /consistency?from={old}&to={new.size} by --consistency"
        if consistency is None:
            raise Refused(UNVERIFIABLE, f"{old} entries were seen before; {wanted}")
        try:
            answer = msgspec.json.decode(read_bytes(consistency), type=_Consistency)
            path = [decoded(each) for each in answer.hashes]
        except ValueError:
            raise Refused(UNVERIFIABLE, f"{consistency}: no answer of /consistency") from None
        if (answer.start, answer.end) != (old, new.size):
            raise Refused(UNVERIFIABLE, f"{consistency}: is from {answer.start} to {answer.end}; {wanted}")
        return path

    return prove
