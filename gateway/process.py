"""What every process of the gateway does for itself: its files, its memory, its chance.

Rules: nothing here knows what the process is for; a worker imports this and nothing of the house.
"""

from __future__ import annotations

import gc
import resource
import secrets
from typing import Final

from gateway.core.ids import written

COLLECT: Final = (20_000, 10, 20)
"""How many objects more there are before the collector looks: at the newest, so often at newer ones, at all."""


def random_id(prefix: str) -> str:
    """A new id: the prefix and 128 random bits."""
    return written(prefix, secrets.token_bytes(16))


def raise_file_limit() -> None:
    """As many sockets as the system allows this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def settle() -> None:
    """Spare the collector what is there for good: each full collection would walk it, for a tenth of a second.

    What comes later is walked seldom: it is what open calls hold, which lives as long as they do.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT)
