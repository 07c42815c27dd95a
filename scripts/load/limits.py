"""How many sockets one process may hold, and what that means for a load.

Rules: the soft limit is raised to the hard one at the start; the hard one is said when it bounds.
"""

from __future__ import annotations

import resource
from typing import Final

SPARE: Final = 100
"""File descriptors a load process needs besides its sessions."""


def raise_limits() -> int:
    """Let this process have as many sockets as it may; how many files that is."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def processes_for(sessions: int) -> int:
    """How many processes it takes to hold so many sessions."""
    room = max(1, raise_limits() - SPARE)
    return -(-sessions // room)
