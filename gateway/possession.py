"""Possession: one process at a time has the data directory, whichever of its regions it could open.

Rules: the directory itself is locked, by its descriptor and without a file; what the system forgets with the process
needs no tidying after `kill -9`.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.core.errors import GatewayError


class InUse(GatewayError):
    """Another process has the data directory; the message is one line: which, and what to do."""


@contextmanager
def possession(directory: Path) -> Iterator[None]:
    """Hold the data directory, made if it is missing (0700), for the length of the block. Raises `InUse`, `OSError`."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InUse(f"{directory}: in use by another process; stop that one first") from None
        yield
    finally:
        os.close(descriptor)
