"""Descriptors: how many clients there is room for under the system's limit on open files.

Rules: some are left to storage, to the control API and to whatever else the process opens, and some to connections
beyond the last session, so that they are told (4013) and not cut; nothing here changes the limit.
"""

from __future__ import annotations

import resource
from dataclasses import replace
from typing import Final

from gateway.config import ConfigError
from gateway.edge.limits import Limits

OTHERS: Final = 192
"""Descriptors for everything that is no client."""
LATE: Final = 256
"""Connections beyond the last session: answered, and closed for good."""


def allowed() -> int:
    """How many descriptors this process may have open now."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def fit(limits: Limits, descriptors: int) -> Limits:
    """`limits` with no more sessions and connections than that leaves room for.

    Raises `ConfigError` where it leaves room for nobody.
    """
    room = descriptors - OTHERS
    late = min(LATE, room // 4)
    sessions = min(limits.sessions, room - late)
    if sessions < 1:
        raise ConfigError(f"{descriptors} open files are too few: raise `ulimit -n` to {OTHERS + LATE} or more")
    return replace(limits, sessions=sessions, connections=room)
