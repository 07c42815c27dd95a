"""Ids: a prefix and 128 bits in lower-case base32, from chance or from what must give the same id again.

Rules: an id says nothing; ids that an event causes follow from the event, so that the same event taken again after a
crash, or by another gateway, names the same notice.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable

NewId = Callable[[str], str]
"""Makes a new id with the given prefix."""


def written(prefix: str, bits: bytes) -> str:
    """The id of 16 bytes: `n_` and 26 characters (RFC 4648 §6, without padding)."""
    return f"{prefix}_{base64.b32encode(bits).decode().rstrip('=').lower()}"


def derived(*seeds: bytes) -> NewId:
    """Ids that follow from `seeds`: the same calls in the same order give the same ids."""
    seed = b"".join(hashlib.sha256(each).digest() for each in seeds)
    count = 0

    def new_id(prefix: str) -> str:
        nonlocal count
        count += 1
        return written(prefix, hashlib.sha256(seed + count.to_bytes(4, "big") + prefix.encode()).digest()[:16])

    return new_id
