"""The keys a region signs with: one for its checkpoints, one for the cosignatures it gives as a witness.

Rules: made once, with the region; a region whose ledger was ever signed is never given new ones silently, since
another key is another ledger to everyone who verifies; the public halves lie beside them for whoever asks.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import NamedTuple

from storage.engine import connect_resting
from storage.note import COSIGNATURE, ED25519, parse_note
from storage.premises import RESTORE, Premises, write_file
from storage.signing import Signer, judge, load, new_key


class Keyring(NamedTuple):
    """What a region signs with."""

    checkpoints: Signer
    cosignatures: Signer

    @property
    def public(self) -> str:
        """The contents of `verifier.vkey`."""
        return f"{self.checkpoints.verifier.text()}\n{self.cosignatures.verifier.text()}\n"


def take_keyring(premises: Premises, ledger: str) -> Keyring:
    """The region's keys, made in the name of `ledger` where nothing was ever signed. Raises RegionRefused, OSError."""
    may_make = _newest_note(premises) is None
    origin = f"{ledger}/{premises.name}"
    checkpoints = _take(premises, premises.signing, origin, ED25519, may_make=may_make)
    witness = f"{checkpoints.verifier.name}/witness"
    return Keyring(checkpoints, _take(premises, premises.witness, witness, COSIGNATURE, may_make=may_make))


def _newest_note(premises: Premises) -> str | None:
    if not premises.has(premises.database) or premises.database.stat().st_size == 0:
        return None
    with contextlib.closing(connect_resting(premises.database)) as connection:
        if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'checkpoints'").fetchone() is None:
            return None
        row = connection.execute("SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1").fetchone()
    return None if row is None else str(row[0])


def _take(premises: Premises, path: Path, name: str, algorithm: int, *, may_make: bool) -> Signer:
    if not premises.has(path):
        if not may_make:
            raise premises.refuse("there is a signed ledger but no key", path, RESTORE)
        write_file(path, f"{new_key(name, algorithm)}\n".encode())
    try:
        signer = load(path.read_text(encoding="utf-8").strip())
    except ValueError:
        # Not chained: what cannot be read may still be a key.
        raise premises.refuse("no signing key", path, RESTORE) from None
    if signer.verifier.algorithm != algorithm:
        raise premises.refuse("a key of another kind", path, RESTORE)
    return signer


def confirm(premises: Premises, keyring: Keyring) -> None:
    """Check that these keys signed what is signed, and lay their public halves beside them.

    Raises RegionRefused if they did not, or if other public halves lie there; OSError.
    """
    newest = _newest_note(premises)
    if newest is not None and judge(parse_note(newest), keyring.checkpoints.verifier) is not True:
        raise premises.refuse("not the key that signed this region's ledger", premises.signing, RESTORE)
    public = keyring.public.encode()
    if not premises.verifier.exists():
        write_file(premises.verifier, public)
    elif premises.verifier.read_bytes() != public:
        raise premises.refuse(
            "does not fit the signing keys", premises.verifier, "remove it: it is written anew from signing.key"
        )
