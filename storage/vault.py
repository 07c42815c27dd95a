"""The vault: sealed boxes for personal data, and the look-up of a person without naming them.

Rules: a box is AES-256-GCM under HMAC-SHA256(master key, slot secret), one box per secret; its associated data names
region, table and row, so that a box opens nowhere else; overwriting the slot destroys the box wherever it was copied.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Iterable
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from storage.slots import SIZE, Slots

MASTER_SIZE: Final = 32
"""Bytes in a region's master key."""

_NONCE: Final = 12


def derive(master: bytes, *words: str) -> bytes:
    """The 32 bytes that `master` gives for `words`; never a box's key, whose input is a bare 32-byte secret."""
    return hmac.digest(master, _joined(*words), "sha256")


def _joined(*words: str) -> bytes:
    """`words` with their lengths in front, so that no two lists give the same bytes."""
    parts = [b"storage"]
    for word in words:
        # A raw id may hold a lone surrogate; it must still have one look-up.
        data = word.encode("utf-8", "surrogatepass")
        parts.append(len(data).to_bytes(8, "big") + data)
    return b"".join(parts)


class Vault:
    """One region's sealed boxes. The writer's thread seals and shreds; any thread opens and looks up."""

    def __init__(self, region: str, master: bytes, slots: Slots) -> None:
        self.region: Final = region
        self._master = master
        self._slots = slots
        self._lookup = derive(master, "lookup", region)

    def __repr__(self) -> str:
        return f"Vault({self.region!r})"

    def _bound(self, table: str, row: str) -> bytes:
        return _joined(self.region, table, row)

    def _cipher(self, secret: bytes) -> AESGCM:
        return AESGCM(hmac.digest(self._master, secret, "sha256"))

    def seal(self, table: str, row: str, clear: bytes) -> tuple[int, bytes]:
        """Seal `clear` for this row in a fresh slot: (slot, box). Raises StorageUnavailable."""
        slot, secret = self._slots.take()
        nonce = os.urandom(_NONCE)
        return slot, nonce + self._cipher(secret).encrypt(nonce, clear, self._bound(table, row))

    def open(self, table: str, row: str, slot: int, box: bytes) -> bytes | None:
        """What is in the box; None if its key is gone or it belongs elsewhere. Raises StorageUnavailable."""
        secret = self._slots.read(slot)
        if slot < 1 or len(secret) != SIZE or len(box) < _NONCE:
            return None
        try:
            return self._cipher(secret).decrypt(box[:_NONCE], box[_NONCE:], self._bound(table, row))
        except InvalidTag:
            return None

    def look_up(self, *words: str) -> bytes:
        """The keyed hash that stands for `words` (a raw id; or a participant, thread and message) in an index."""
        return hmac.digest(self._lookup, _joined(*words), "sha256")

    def shred(self, slots: Iterable[int]) -> None:
        """Destroy the keys in these slots for good, synced. Raises StorageUnavailable; then call again."""
        self._slots.overwrite(slots)

    def destroy(self, slots: Iterable[int]) -> None:
        """As `shred`, but the slots stay taken: their rows cannot be deleted yet."""
        self._slots.destroy(slots)

    def fingerprint(self, slot: int) -> bytes:
        """What tells whether a slot still holds what it holds now, and nothing of that. Raises StorageUnavailable."""
        return hashlib.sha256(self._slots.read(slot)).digest()

    def recover(self) -> None:
        """After a storage failure: stop trusting the open descriptor."""
        self._slots.reopen()

    def close(self) -> None:
        """Give the slot file back."""
        self._slots.close()
