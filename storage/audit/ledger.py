"""The verifier of a whole ledger: every entry, the tree over them, and everything that was ever signed about them.

Rules: needs the file, public keys and nothing else; entries are read once, in order, and each is hashed; what is wrong
first is said, with its place. A changed ledger is told from an older or another one: the former contradicts itself,
the latter only what was signed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from storage.audit.brought import read_checkpoint
from storage.audit.erased import check_erasures
from storage.audit.file import reading
from storage.audit.scan import Scan
from storage.audit.verdict import (
    INCOMPLETE,
    ROLLED_BACK,
    SOUND,
    TAMPERED,
    UNVERIFIABLE,
    Refused,
    Verdict,
    verdict,
)
from storage.engine import sqlite3
from storage.merkle import TILE_WIDTH
from storage.note import Checkpoint, Note, Verifier, parse_signature
from storage.signing import ForeignKey, NoteRefused, judge, opened


class _Signed(NamedTuple):
    """What was signed about the ledger."""

    origin: str
    own: dict[int, Checkpoint]
    """The file's own checkpoints, by size."""
    brought: list[tuple[Path, Checkpoint, Note]]


def verify(
    source: Path,
    verifiers: Sequence[Verifier],
    *,
    checkpoints: Sequence[Path] = (),
    witnesses: Sequence[Verifier] = (),
) -> Verdict:
    """Verify the ledger in `source`, a region's directory or its file, which is not changed.

    `verifiers` are the keys its checkpoints must be signed with. Each of `checkpoints` is a file with a checkpoint
    seen elsewhere, which the ledger must still continue. Each of `witnesses` must have cosigned one of its checkpoints.
    """
    try:
        with reading(source) as connection:
            return _verify(connection, source, verifiers, checkpoints, witnesses)
    except Refused as refused:
        return refused.verdict


def _verify(
    connection: sqlite3.Connection,
    source: Path,
    verifiers: Sequence[Verifier],
    checkpoints: Sequence[Path],
    witnesses: Sequence[Verifier],
) -> Verdict:
    signed = _read_signed(connection, source, verifiers, checkpoints)
    origin = signed.origin
    _check_pages(connection, origin)
    scan = Scan(connection, origin, {size: checkpoint.root for size, checkpoint in signed.own.items()})
    roots = scan.run(checkpoint.size for _, checkpoint, _ in signed.brought)
    size = scan.edge.size
    newest = max(signed.own)
    if newest > size:
        raise Refused(ROLLED_BACK, f"{origin}: {size} entries are there and {newest} were signed")
    for path, checkpoint, _ in signed.brought:
        if checkpoint.size > size:
            raise Refused(ROLLED_BACK, f"{origin}: {size} entries are there and {path} shows {checkpoint.size}")
        if roots[checkpoint.size] != checkpoint.root:
            raise Refused(ROLLED_BACK, f"{origin}: the first {checkpoint.size} entries are not those that {path} shows")
    _check_tree(connection, origin, scan)
    misfiled = scan.filing.end()
    if misfiled is not None:
        raise Refused(TAMPERED, f"{origin}: {misfiled}")
    lost = check_erasures(connection, origin)
    said = "".join(_witnessed(connection, signed, each) for each in witnesses)
    covered = max([newest, *(checkpoint.size for _, checkpoint, _ in signed.brought)])
    if lost:
        said += f"; of {lost} {'presence' if lost == 1 else 'presences'} the name is gone and no entry says why"
    if covered < size:
        return verdict(INCOMPLETE, f"{origin}: {_span(covered, size)} not signed yet, all before is sound{said}")
    if lost:
        return verdict(INCOMPLETE, f"{origin}: nothing is wrong in {size} entries{said}")
    return verdict(SOUND, f"{origin}: {size} entries, {len(signed.own)} checkpoints{said}")


def _span(start: int, end: int) -> str:
    return f"entry {start} is" if end - start == 1 else f"entries {start} to {end - 1} are"


# -- what was signed --------------------------------------------------------------------------------------------------


def _read_signed(
    connection: sqlite3.Connection, source: Path, verifiers: Sequence[Verifier], checkpoints: Sequence[Path]
) -> _Signed:
    own: dict[int, Checkpoint] = {}
    origin = ""
    foreign: tuple[int, ForeignKey] | None = None
    for size, text in connection.execute("SELECT size, note FROM checkpoints ORDER BY size"):
        try:
            checkpoint, _ = opened(text if type(text) is str else "", verifiers)
        except ForeignKey as error:
            foreign = foreign or (size, error)
            continue
        except NoteRefused as error:
            raise Refused(TAMPERED, f"{source}: the checkpoint of {size} entries: {error}") from None
        if checkpoint.size != size or checkpoint.origin != (origin or checkpoint.origin):
            raise Refused(TAMPERED, f"{source}: the checkpoint of {size} entries is another one's")
        origin = checkpoint.origin
        own[size] = checkpoint
    if foreign is not None:
        if own:
            raise Refused(TAMPERED, f"{source}: the checkpoint of {foreign[0]} entries: {foreign[1]}")
        raise Refused(UNVERIFIABLE, f"{source}: none of the given keys is that of {foreign[1].origin}")
    if not own:
        raise Refused(UNVERIFIABLE, f"{source}: nothing in it is signed")
    brought = [(path, *read_checkpoint(path, verifiers)) for path in checkpoints]
    for path, checkpoint, _ in brought:
        if checkpoint.origin != origin:
            raise Refused(UNVERIFIABLE, f"{path}: a checkpoint of {checkpoint.origin}, not of {origin}")
    return _Signed(origin, own, brought)


# -- the file, the tree and its witnesses -----------------------------------------------------------------------------


def _check_pages(connection: sqlite3.Connection, origin: str) -> None:
    """Pages, columns and indexes fit one another, so that whoever reads by an index reads what is there."""
    (said,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if said != "ok":
        raise Refused(TAMPERED, f"{origin}: the file contradicts itself: {said.splitlines()[-1]}")


def _check_tree(connection: sqlite3.Connection, origin: str, scan: Scan) -> None:
    """The stored tiles and head are those of the entries."""
    tiles = {
        (level, number): b"".join(found[number * TILE_WIDTH : (number + 1) * TILE_WIDTH])
        for level, found in scan.levels.items()
        for number in range((len(found) + TILE_WIDTH - 1) // TILE_WIDTH)
    }
    for level, number, hashes in connection.execute("SELECT level, tile, hashes FROM tiles ORDER BY level, tile"):
        if tiles.pop((level, number), None) != hashes:
            raise Refused(TAMPERED, f"{origin}: tile {number} of level {level} was changed")
    for level, number in tiles:
        raise Refused(TAMPERED, f"{origin}: tile {number} of level {level} is missing")
    heads = connection.execute("SELECT size, root, edge FROM head").fetchall()
    if heads != [(scan.edge.size, scan.edge.root(), b"".join(scan.edge.hashes))]:
        raise Refused(TAMPERED, f"{origin}: the stored head is not that of the entries")


def _witnessed(connection: sqlite3.Connection, signed: _Signed, witness: Verifier) -> str:
    """How much of the ledger the witness vouched for. Raises Refused if nothing, or if a cosignature is not its own."""
    sizes = []
    for size, note in _cosigned(connection, signed, witness.name):
        judged = judge(note, witness)
        if judged is False:
            raise Refused(
                TAMPERED, f"{signed.origin}: the cosignature of {size} entries by {witness.name} is not valid"
            )
        if judged and size:
            sizes.append(size)
    if not sizes:
        raise Refused(UNVERIFIABLE, f"{signed.origin}: no cosignature of any entry by {witness.name}")
    return f"; {witness.name} witnessed the first {max(sizes)}"


def _cosigned(connection: sqlite3.Connection, signed: _Signed, name: str) -> Iterator[tuple[int, Note]]:
    """The checkpoints, verified by now, that claim a cosignature in this name."""
    yield from ((checkpoint.size, note) for _, checkpoint, note in signed.brought)
    rows = connection.execute("SELECT size, line FROM cosignatures WHERE name = ?", (name,))
    for size, line in rows:
        try:
            cosignature = parse_signature(line.removesuffix("\n"))
            body = signed.own[size].body()
        except (KeyError, ValueError, TypeError, AttributeError):
            raise Refused(TAMPERED, f"{signed.origin}: the cosignature of {size} entries is damaged") from None
        yield size, Note(body, (cosignature,))
