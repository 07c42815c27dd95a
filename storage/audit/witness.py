"""An independent witness: it vouches for a ledger's checkpoint after checking that it continues the last one it saw.

Rules: what was seen is written and synced before a cosignature leaves, so that no two histories are ever vouched for;
one witness at a time works in the directory of what was seen; what is not shown is refused, in one line. Nothing but
sizes, hashes and public keys is kept.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from storage.audit.brought import read_text, read_verifiers
from storage.audit.file import reading
from storage.audit.verdict import ROLLED_BACK, TAMPERED, UNVERIFIABLE, Refused
from storage.merkle import Tiles, consistency_path, root_at
from storage.note import COSIGNATURE, ED25519, Checkpoint, Note, Verifier, decoded, encoded
from storage.premises import write_file
from storage.signing import BadSignature, NoteRefused, Signer, judge, load, new_key, opened
from storage.tree import tiles
from storage.witness import Contradiction, Seen, check_growth

_LARGEST_FILE: Final = 1 << 24
_FORMAT: Final = "witness/1"
_SQLITE: Final = b"SQLite format 3\x00"
_OTHERS: Final = 0o077

Prove = Callable[[int, Checkpoint], Sequence[bytes]]
"""(old, new) -> the proof that the entries of checkpoint `new` begin with the first `old`. Raises Refused."""


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


class _Consistency(msgspec.Struct):
    """What `GET /v1/ledgers/{region}/consistency` answers."""

    start: int = msgspec.field(name="from")
    end: int = msgspec.field(name="to")
    hashes: list[str]


def make_key(name: str, path: Path) -> Path:
    """Make a witness's key in `path` (mode 0600) and its public half beside it, in a file that ends in `.vkey`.

    Answers the public file. Raises ValueError for a name that cannot be one, and FileExistsError, before anything is
    written, if either file is there.
    """
    private = new_key(name, COSIGNATURE)
    public = path.with_name(path.name + ".vkey")
    for each in (path, public):
        if os.path.lexists(each):
            raise FileExistsError(errno.EEXIST, "exists and is not overwritten", str(each))
    write_file(path, private.encode())
    write_file(public, f"{load(private).verifier.text()}\n".encode())
    return public


def read_key(path: Path) -> Signer:
    """A witness's private key. Raises Refused; the file is its owner's alone."""
    text = _read(path, private=True)
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
    signature is broken, 30 it does not continue what was seen, 40 it cannot be judged.
    """
    with _claimed(state), _offered(source, consistency) as (text, prove):
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
    """As `cosign`, with keys in files, and the note whole in the file `out` where one is named. Raises Refused."""
    cosigned = cosign(
        source, read_verifiers(keys), read_key(witness_key), state, seconds=seconds, consistency=consistency
    )
    if out is not None:
        try:
            write_file(out, cosigned.note.encode())
        except OSError as error:
            raise Refused(UNVERIFIABLE, f"{out}: {error.strerror}") from None
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


# -- where the checkpoint comes from ---------------------------------------------------------------------------------


@contextlib.contextmanager
def _offered(source: Path, consistency: Path | None) -> Iterator[tuple[str, Prove]]:
    """The note, and a way to ask for proofs."""
    try:
        database = source.is_dir() or _begins_like_a_database(source)
    except OSError as error:
        raise Refused(UNVERIFIABLE, f"{source}: {error.strerror}") from None
    if not database:
        yield read_text(source), _by_answer(consistency)
        return
    with reading(source) as connection:
        row = connection.execute("SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1").fetchone()
        if row is None:
            raise Refused(UNVERIFIABLE, f"{source}: nothing is signed")
        yield str(row[0]), _by_tree(tiles(connection.execute))


def _begins_like_a_database(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_SQLITE)) == _SQLITE


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
            answer = msgspec.json.decode(_read(consistency), type=_Consistency)
            path = [decoded(each) for each in answer.hashes]
        except ValueError:
            raise Refused(UNVERIFIABLE, f"{consistency}: no answer of /consistency") from None
        if (answer.start, answer.end) != (old, new.size):
            raise Refused(UNVERIFIABLE, f"{consistency}: is from {answer.start} to {answer.end}; {wanted}")
        return path

    return prove


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
        state = msgspec.json.decode(_read(path, private=True), type=_State)
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


def _read(path: Path, *, private: bool = False) -> bytes:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if private and stat.S_IMODE(mode) & _OTHERS:
                raise Refused(UNVERIFIABLE, f"{path}: open to group or others; run chmod 600 on it")
            data = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise Refused(UNVERIFIABLE, f"{path}: {error.strerror}") from None
    if len(data) > _LARGEST_FILE:
        raise Refused(UNVERIFIABLE, f"{path}: larger than {_LARGEST_FILE} bytes")
    return data
