"""Keys that sign checkpoints and witness them, and the judging of what they signed.

Rules: Ed25519 only (RFC 8032), as C2SP signed-note and tlog-cosignature use it; a private key is one line in the form
of Go's sumdb/note and never part of an error or a repr; a note that a known key signed badly is refused as a whole.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from storage.note import (
    COSIGNATURE,
    ED25519,
    KEY_SIZE,
    Checkpoint,
    Note,
    Signature,
    Verifier,
    check_name,
    cosigned,
    decoded,
    encoded,
    parse_checkpoint,
    parse_note,
)

_PRIVATE: Final = "PRIVATE+KEY+"
_TIME_SIZE: Final = 8


class NoteRefused(ValueError):
    """A note that proves nothing."""


class MalformedNote(NoteRefused):
    """It is not a signed checkpoint."""


class ForeignKey(NoteRefused):
    """None of the given keys signed it in the name of its log, which is called `origin`."""

    def __init__(self, origin: str) -> None:
        super().__init__(f"no given key signed for {origin}")
        self.origin = origin


class BadSignature(NoteRefused):
    """One of the given keys is named as its signer and did not sign it."""


class Signer:
    """A private key: it signs checkpoints, or cosigns those of others, by its algorithm."""

    def __init__(self, name: str, algorithm: int, seed: bytes) -> None:
        """Raises ValueError if the name, the algorithm or the seed's length is not one."""
        check_name(name)
        if algorithm not in (ED25519, COSIGNATURE) or len(seed) != KEY_SIZE:
            raise ValueError("a signing key is an algorithm and an Ed25519 seed")
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        public = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.verifier: Final = Verifier(name, algorithm, public)

    def __repr__(self) -> str:
        return f"Signer({self.verifier.text()!r})"

    def sign(self, body: str) -> Signature:
        """The signature over a note's body. Raises ValueError if this is a witness's key."""
        if self.verifier.algorithm != ED25519:
            raise ValueError("a witness's key signs no notes of its own")
        return Signature(self.verifier.name, self.verifier.key_id, self._key.sign(body.encode()))

    def cosign(self, body: str, seconds: int) -> Signature:
        """The cosignature of a checkpoint's body at this POSIX time. Raises ValueError if this is a log's key."""
        if self.verifier.algorithm != COSIGNATURE:
            raise ValueError("a log's key witnesses nothing")
        found = self._key.sign(cosigned(body, seconds))
        return Signature(self.verifier.name, self.verifier.key_id, seconds.to_bytes(_TIME_SIZE, "big") + found)


def new_key(name: str, algorithm: int) -> str:
    """A fresh private key's line. Raises ValueError if the name or the algorithm is not one."""
    seed = os.urandom(KEY_SIZE)
    key_id = Signer(name, algorithm, seed).verifier.key_id
    return f"{_PRIVATE}{name}+{key_id.hex()}+{encoded(bytes([algorithm]) + seed)}\n"


def load(text: str) -> Signer:
    """The signer of a private key's line. Raises ValueError, which does not quote it."""
    line = text.strip()
    name, _, rest = line.removeprefix(_PRIVATE).partition("+")
    key_id, _, key = rest.partition("+")
    if not line.startswith(_PRIVATE) or not key:
        raise ValueError("a private key is one line PRIVATE+KEY+<name>+<id>+<key>")
    typed = decoded(key)
    signer = Signer(name, typed[0], typed[1:])
    if signer.verifier.key_id.hex() != key_id:
        raise ValueError("a private key's id is not that of its name and key")
    return signer


def _valid(body: str, found: bytes, verifier: Verifier) -> bool:
    message = body.encode()
    if verifier.algorithm == COSIGNATURE:
        if len(found) < _TIME_SIZE or found[0] & 0x80:
            return False
        message = cosigned(body, int.from_bytes(found[:_TIME_SIZE], "big"))
        found = found[_TIME_SIZE:]
    try:
        Ed25519PublicKey.from_public_bytes(verifier.public).verify(found, message)
    except InvalidSignature:
        return False
    return True


def judge(note: Note, verifier: Verifier) -> bool | None:
    """Whether this key signed the note; None if no signature names it. One bad signature by it spoils the good."""
    mine = [each.blob for each in note.signatures if (each.name, each.key_id) == (verifier.name, verifier.key_id)]
    if not mine:
        return None
    return all(_valid(note.body, each, verifier) for each in mine)


def opened(text: str, verifiers: Iterable[Verifier]) -> tuple[Checkpoint, Note]:
    """The checkpoint of a note that one of the keys signed in the name of the log it is about.

    Raises NoteRefused: MalformedNote, BadSignature if any of the keys is named and did not sign, ForeignKey if no
    log's key of the note's origin signed.
    """
    try:
        note = parse_note(text)
        checkpoint = parse_checkpoint(note.body)
    except ValueError as error:
        raise MalformedNote(str(error)) from None
    signed = False
    for verifier in verifiers:
        judged = judge(note, verifier)
        if judged is False:
            raise BadSignature(f"the signature by {verifier.name} is not valid")
        # Whoever trusts several logs must not take one's word for another.
        if judged and verifier.algorithm == ED25519 and verifier.name == checkpoint.origin:
            signed = True
    if not signed:
        raise ForeignKey(checkpoint.origin)
    return checkpoint, note
