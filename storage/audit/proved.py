"""A region's part of a pack: a signed checkpoint, and entries that lead to it one by one.

Rules: RFC 9162 §2.1.3.2 for each entry, against the one checkpoint that a given key signed; entries stand in the order
of the ledger, and the export's own after them all, one for each call that it covers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Final, NamedTuple

import msgspec

from storage.audit import entries
from storage.audit.entries import Entry, Malformed
from storage.audit.verdict import UNVERIFIABLE, Refused
from storage.merkle import includes, leaf_hash
from storage.note import Checkpoint, Verifier, decoded
from storage.signing import ForeignKey, NoteRefused, opened

_LONGEST_PROOF: Final = 16_384
"""Bytes of a line of `proofs.jsonl` at most: a path has 63 hashes."""

_Count = Annotated[int, msgspec.Meta(ge=0)]


class Cover(msgspec.Struct, frozen=True):
    """How many entries of a call were exported."""

    call: str
    entries: _Count


class Export(msgspec.Struct, frozen=True):
    """The entry `evidence.exported`."""

    ahead: _Count
    at: entries.Moment
    call: str
    covers: tuple[Cover, ...]
    kind: str
    manifest: str
    organization: str
    regions: tuple[str, ...]


class _Proof(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A line of `proofs.jsonl`."""

    hashes: tuple[str, ...]
    index: _Count


class Part(NamedTuple):
    """What a region's ledger proves: entries in order, and those of the export, the pack's own call first."""

    region: str
    entries: list[Entry]
    exports: list[Export]


def check_part(files: Mapping[str, bytes], region: str, origin: str, verifiers: Sequence[Verifier]) -> Part:
    """The part of `region`, each entry proved. Raises Malformed, and Refused for a foreign key."""
    place = f"regions/{region}"
    checkpoint = _checkpoint(files[f"{place}/checkpoint.txt"], f"{place}/checkpoint.txt", verifiers)
    if checkpoint.origin != origin:
        raise Malformed(f"{place}/checkpoint.txt: it is of another ledger than manifest.json says")
    found = entries.lines(f"{place}/entries.jsonl", files[f"{place}/entries.jsonl"])
    exported = entries.lines(f"{place}/export.jsonl", files[f"{place}/export.jsonl"])
    proofs = entries.lines(f"{place}/proofs.jsonl", files[f"{place}/proofs.jsonl"])
    if not exported or len(proofs) != len(found) + len(exported):
        raise Malformed(f"{place}/proofs.jsonl: there is not one proof for each entry")
    read: list[Entry] = []
    last = -1
    for line, (leaf, proof) in enumerate(zip([*found, *exported], proofs, strict=True), 1):
        file, own = ("entries", line) if line <= len(found) else ("export", line - len(found))
        where = f"{place}/{file}.jsonl line {own}"
        number = _proved(f"{place}/proofs.jsonl line {line}", where, leaf, proof, checkpoint)
        if number <= last:
            raise Malformed(f"{where}: it does not stand in the order of the ledger")
        last = number
        read.append(entries.read(where, region, number, leaf))
    exports = [entries.shaped(f"{place}/export.jsonl", each.fields, Export) for each in read[len(found) :]]
    for each in exports:
        if each.kind != "evidence.exported" or each.covers != exports[0].covers:
            raise Malformed(f"{place}/export.jsonl: it is not of one export")
    if [each.call for each in exports] != [cover.call for cover in exports[0].covers]:
        raise Malformed(f"{place}/export.jsonl: it has not one entry for each call that is covered")
    return Part(region, read[: len(found)], exports)


def _checkpoint(text: bytes, where: str, verifiers: Sequence[Verifier]) -> Checkpoint:
    try:
        checkpoint, note = opened(text.decode("utf-8"), verifiers)
    except ForeignKey as error:
        raise Refused(UNVERIFIABLE, f"{where}: {error}") from None
    except (NoteRefused, UnicodeDecodeError) as error:
        raise Malformed(f"{where}: {error if isinstance(error, NoteRefused) else 'it is not text'}") from None
    if any(each.name != checkpoint.origin for each in note.signatures):
        # Nobody would judge it, and it would seem that somebody had.
        raise Malformed(f"{where}: somebody else's signature is there")
    return checkpoint


def _proved(place: str, where: str, leaf: bytes, line: bytes, checkpoint: Checkpoint) -> int:
    """The number of the entry `leaf` in the ledger, to which the proof in `line` leads. Raises Malformed."""
    if len(line) > _LONGEST_PROOF:
        raise Malformed(f"{place}: it is too long for a proof")
    proof = entries.shaped(place, entries.fields(place, line), _Proof)
    try:
        path = [decoded(each) for each in proof.hashes]
    except ValueError as error:
        raise Malformed(f"{place}: {error}") from None
    if not includes(proof.index, checkpoint.size, leaf_hash(leaf), path, checkpoint.root):
        raise Malformed(f"{where}: it is not in the ledger that was signed")
    return proof.index
