"""What a witness knows of a ledger, and whether a newer checkpoint continues it.

Rules: only sizes and hashes, so that a witness needs nothing of what a ledger holds; one checkpoint is remembered, the
newest; an older one is refused even if it was true once, for a cosignature says that nothing newer was seen (C2SP
tlog-cosignature).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from storage.merkle import is_consistent
from storage.note import Checkpoint


class Seen(NamedTuple):
    """The newest checkpoint of a ledger that a witness vouched for, and the key that signed it."""

    vkey: str
    size: int
    """Entries."""
    root: bytes


class Contradiction(ValueError):
    """A checkpoint that cannot be true together with the one seen before."""


class RolledBack(Contradiction):
    """The ledger has fewer entries than it had."""


class Forked(Contradiction):
    """The ledger is not shown to hold what it held."""


def check_growth(seen: Seen, new: Checkpoint, path: Sequence[bytes]) -> None:
    """Raises RolledBack or Forked unless `path` proves that `new` continues `seen` (RFC 6962 §2.1.2)."""
    if new.size < seen.size:
        raise RolledBack(f"it has {new.size} entries and had {seen.size}")
    if new.size == seen.size and new.root != seen.root:
        raise Forked(f"its first {seen.size} entries are not those it had")
    if not is_consistent(seen.size, new.size, path, seen.root, new.root):
        raise Forked(f"its {new.size} entries are not shown to continue the {seen.size} it had")
