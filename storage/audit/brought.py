"""What an auditor brings along in files: verifier keys, and checkpoints seen before.

Rules: whatever cannot be read is refused with its file's name, and never passed over.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from storage.audit.plain import read_text
from storage.audit.verdict import TAMPERED, UNVERIFIABLE, Refused
from storage.note import COSIGNATURE, ED25519, Checkpoint, Note, Verifier, parse_verifiers
from storage.signing import BadSignature, NoteRefused, opened


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
