"""Departures: sessions whose connections are gone, told of in slices, for a network takes thousands at once.

Rules: whoever is here is closed already and takes nothing; each is told of once, in the order in which they went.
Owned by the loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from gateway.core.session import Session

SLICE: Final = 200
"""Sessions told of before the loop may turn to something else."""


class Departures:
    """Sessions that are gone and not yet told of."""

    def __init__(self, tell: Callable[[Session], None]) -> None:
        self._tell: Final = tell
        self._gone: Final[deque[Session]] = deque()

    def add(self, session: Session) -> None:
        """Tell of this session in its turn."""
        if not self._gone:
            asyncio.get_running_loop().call_soon(self._tell_slice)
        self._gone.append(session)

    def settle(self) -> None:
        """Tell of all of them now."""
        while self._gone:
            self._tell(self._gone.popleft())

    def _tell_slice(self) -> None:
        try:
            for _ in range(min(SLICE, len(self._gone))):
                self._tell(self._gone.popleft())
        finally:
            if self._gone:  # the fault of one costs nobody else
                asyncio.get_running_loop().call_soon(self._tell_slice)
