"""What an auditor brings along in files: verifier keys, and checkpoints seen before.

Rules: whatever cannot be read is refused with its file's name, and never passed over.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from storage.audit.verdict import TAMPERED, UNVERIFIABLE, Refused
from storage.note import COSIGNATURE, ED25519, Checkpoint, Note, Verifier, parse_verifiers
from storage.signing import BadSignature, NoteRefused, opened

_LARGEST: Final = 1 << 24


def read_text(path: Path) -> str:
    """A small file of text. Raises Refused."""
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise Refused(UNVERIFIABLE, f"{path}: larger than {_LARGEST} bytes")
        return data.decode("utf-8")
    except OSError as error:
        raise Refused(UNVERIFIABLE, f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Refused(UNVERIFIABLE, f"{path}: not a text file") from None


def read_verifiers(paths: Iterable[Path]) -> list[Verifier]:
    """The keys of ledgers in these files; those of witnesses may stand among them. Raises Refused."""
    return _read_keys(paths, ED25519, "no key of a ledger")


def read_witnesses(paths: Iterable[Path]) -> list[Verifier]:
    """The keys of witnesses in these files; those of ledgers may stand among them. Raises Refused."""
    return _read_keys(paths, COSIGNATURE, "no key of a witness")


def _read_keys(paths: Iterable[Path], algorithm: int, missing: str) -> list[Verifier]:
    found: list[Verifier] = []
    for path in paths:
        try:
            wanted = [each for each in parse_verifiers(read_text(path)) if each.algorithm == algorithm]
        except ValueError as error:
            raise Refused(UNVERIFIABLE, f"{path}: no verifier keys ({error})") from None
        if not wanted:
            raise Refused(UNVERIFIABLE, f"{path}: {missing} is in it")
        found += wanted
    return found


def read_checkpoint(path: Path, verifiers: Sequence[Verifier]) -> tuple[Checkpoint, Note]:
    """A checkpoint that one of the keys signed. Raises Refused."""
    try:
        return opened(read_text(path), verifiers)
    except NoteRefused as error:
        code = TAMPERED if isinstance(error, BadSignature) else UNVERIFIABLE
        raise Refused(code, f"{path}: {error}") from None
