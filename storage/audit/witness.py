"""An independent witness: it vouches for a ledger's checkpoint after checking that it continues the last one it saw.

Rules: what was seen is written and synced before a cosignature leaves, so that no two histories are ever vouched for;
one witness at a time works in the directory of what was seen; what is not shown is refused, in one line. Nothing but
sizes, hashes and public keys is kept.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from storage.audit.brought import read_verifiers
from storage.audit.offered import Misused, Prove, offered
from storage.audit.plain import read_bytes
from storage.audit.verdict import ROLLED_BACK, TAMPERED, UNVERIFIABLE, Refused
from storage.newfile import new_file
from storage.note import COSIGNATURE, ED25519, Checkpoint, Note, Verifier, decoded, encoded
from storage.premises import write_file
from storage.signing import BadSignature, NoteRefused, Signer, judge, load, new_key, opened
from storage.witness import Contradiction, Seen, check_growth

_FORMAT: Final = "witness/1"


class Cosigned(NamedTuple):
    """A checkpoint vouched for."""

    note: str
    """The note as it came, with the witness's line behind the others."""
    first: bool
    """Whether nothing of this ledger had been seen before, so that there was nothing to compare."""


class _Row(msgspec.Struct, forbid_unknown_fields=True):
    root: str
    size: int
    vkey: str


class _State(msgspec.Struct, forbid_unknown_fields=True):
    """The file of what was seen: the newest checkpoint of each ledger, by origin."""

    format: str
    seen: dict[str, _Row]


def make_key(name: str, path: Path) -> Path:
    """Make a witness's key in `path` (mode 0600) and its public half beside it, in a file that ends in `.vkey`.

    Answers the public file. Raises ValueError for a name that cannot be one, and OSError where either file is there
    (FileExistsError) or cannot be made.
    """
    private = new_key(name, COSIGNATURE)
    public = path.with_name(path.name + ".vkey")
    with new_file(path) as write_private, new_file(public) as write_public:
        write_private(private.encode())
        write_public(f"{load(private).verifier.text()}\n".encode())
    return public


def read_key(path: Path) -> Signer:
    """A witness's private key. Raises Refused; the file is its owner's alone."""
    text = read_bytes(path, private=True)
    try:
        signer = load(text.decode("utf-8"))
    except ValueError:
        # Not chained: what cannot be read may still be a key.
        raise Refused(UNVERIFIABLE, f"{path}: no private key") from None
    if signer.verifier.algorithm != COSIGNATURE:
        raise Refused(UNVERIFIABLE, f"{path}: a ledger's key, not a witness's")
    return signer


def cosign(
    source: Path,
    verifiers: Sequence[Verifier],
    witness: Signer,
    state: Path,
    *,
    seconds: int,
    consistency: Path | None = None,
) -> Cosigned:
    """Vouch, at POSIX time `seconds`, for the newest checkpoint in `source`, signed by one of `verifiers`.

    `source` is a region's directory, its file, or a checkpoint's note; with a note `consistency` is the proof that it
    continues what `state` says was seen last. Raises Refused: 20 the checkpoint is not of these entries or its
    signature is broken, 30 it does not continue what was seen, 40 it cannot be judged. Raises Misused where there is
    nothing that `consistency` could prove.
    """
    with _claimed(state), offered(source, consistency) as (text, prove):
        checkpoint, note, verifier = _judged(text, verifiers)
        seen = _read_state(state)
        before = seen.get(checkpoint.origin)
        _check(checkpoint, verifier, before, prove)
        seen[checkpoint.origin] = Seen(verifier.text(), checkpoint.size, checkpoint.root)
        _write_state(state, seen)
    mine = witness.cosign(note.body, seconds)
    others = tuple(each for each in note.signatures if (each.name, each.key_id) != (mine.name, mine.key_id))
    return Cosigned(Note(note.body, (*others, mine)).text(), before is None)


def cosign_files(
    source: Path,
    keys: Sequence[Path],
    witness_key: Path,
    state: Path,
    *,
    seconds: int,
    consistency: Path | None = None,
    out: Path | None = None,
) -> Cosigned:
    """As `cosign`, with keys in files, and the note whole in the new file `out` where one is named.

    Raises OSError with the name of `out`, before anything is looked at, where it exists or cannot be made. Where the
    disk fails after that, what was seen is kept, and the same checkpoint can be cosigned again.
    """
    if out is not None and os.path.realpath(out) == os.path.realpath(state):
        raise Misused("--out and --state are one file; give --out a name of its own")
    with contextlib.ExitStack() as kept:
        write = None if out is None else kept.enter_context(new_file(out))
        verifiers, witness = read_verifiers(keys), read_key(witness_key)
        cosigned = cosign(source, verifiers, witness, state, seconds=seconds, consistency=consistency)
        if write is not None:
            write(cosigned.note.encode())
    return cosigned


def _judged(text: str, verifiers: Sequence[Verifier]) -> tuple[Checkpoint, Note, Verifier]:
    """The checkpoint, and which of the keys signed it."""
    try:
        checkpoint, note = opened(text, verifiers)
    except NoteRefused as error:
        code = TAMPERED if isinstance(error, BadSignature) else UNVERIFIABLE
        raise Refused(code, f"the checkpoint: {error}") from None
    for verifier in verifiers:
        if (verifier.name, verifier.algorithm) == (checkpoint.origin, ED25519) and judge(note, verifier):
            return checkpoint, note, verifier
    raise AssertionError("a checkpoint that was opened is signed")


def _check(checkpoint: Checkpoint, verifier: Verifier, before: Seen | None, prove: Prove) -> None:
    if before is None:
        prove(0, checkpoint)
        return
    if before.vkey != verifier.text():
        raise Refused(UNVERIFIABLE, f"{checkpoint.origin}: signed by another key than before")
    try:
        path = () if checkpoint.size < before.size else prove(before.size, checkpoint)
        check_growth(before, checkpoint, path)
    except Contradiction as error:
        raise Refused(ROLLED_BACK, f"{checkpoint.origin}: {error}") from None


# -- what was seen ----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _claimed(state: Path) -> Iterator[None]:
    """Nobody else reads or writes what was seen meanwhile: two of us could vouch for two histories."""
    try:
        descriptor = os.open(state.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise Refused(UNVERIFIABLE, f"{state.parent}: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _read_state(path: Path) -> dict[str, Seen]:
    if not os.path.lexists(path):
        return {}
    try:
        state = msgspec.json.decode(read_bytes(path, private=True), type=_State)
        seen = {origin: Seen(row.vkey, row.size, decoded(row.root)) for origin, row in state.seen.items()}
    except ValueError:
        raise Refused(UNVERIFIABLE, f"{path}: damaged, or not what a witness has seen") from None
    if state.format != _FORMAT:
        raise Refused(UNVERIFIABLE, f"{path}: of another format than {_FORMAT}")
    return seen


def _write_state(path: Path, seen: dict[str, Seen]) -> None:
    rows = {origin: {"root": encoded(each.root), "size": each.size, "vkey": each.vkey} for origin, each in seen.items()}
    try:
        write_file(path, msgspec.json.encode({"format": _FORMAT, "seen": rows}, order="sorted") + b"\n")
    except OSError as error:
        raise Refused(UNVERIFIABLE, f"{path}: what was seen cannot be kept ({error.strerror})") from None
