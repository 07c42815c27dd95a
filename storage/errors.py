"""What storage answers when it cannot do as asked.

Rules: a text names the place and the remedy, never a person, a body or a key; what passes by itself is
`StorageUnavailable`, what needs a person at start is `RegionRefused`, what will never succeed is `OperationFailed`.
"""

from __future__ import annotations

from pathlib import Path


class StorageError(Exception):
    """Storage could not do as asked."""


class StorageUnavailable(StorageError):
    """Nothing can be written or read for now (disk full, read-only, I/O error); the same request may work later."""


class OperationFailed(StorageError):
    """This submission contradicts itself or the data; nothing of it was written and a repeat fails alike."""


class RegionRefused(StorageError):
    """A region cannot be opened as it is: one line saying what, where, and what to do."""

    def __init__(self, region: str, what: str, where: Path, remedy: str) -> None:
        super().__init__(f"region {region}: {what}: {where}; {remedy}")
        self.region = region
