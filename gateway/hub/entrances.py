"""Entrances: joins that wait for their call to be read back, and what their sessions say meanwhile.

Rules: what concerns a call that is not there yet is said again to it when it is; a session that says too much
meanwhile is answered at once. Owned by the loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gateway.core.session import Session
from gateway.core.types import CallKey

MOST_WAITING: Final = 1000
"""How much one session may have waiting."""

Act = Callable[[], None]


class Entrances:
    """The joins under way."""

    def __init__(self) -> None:
        self._waiting: Final[dict[Session, dict[CallKey, list[Act]]]] = {}

    def count(self, session: Session) -> int:
        """How many joins of the session are under way."""
        return len(self._waiting.get(session, ()))

    def begin(self, session: Session, key: CallKey) -> None:
        """The session waits for this call."""
        self._waiting.setdefault(session, {}).setdefault(key, [])

    def defer(self, session: Session, key: CallKey | None, act: Act) -> bool:
        """Do `act` once that call, or any where it is None, is there; False if the session waits for no such call."""
        waiting = self._waiting.get(session)
        acts = None if waiting is None else waiting.get(key) if key is not None else next(iter(waiting.values()))
        if acts is None or len(acts) >= MOST_WAITING:
            return False
        acts.append(act)
        return True

    def end(self, session: Session, key: CallKey) -> None:
        """The call is there: do what waited for it."""
        waiting = self._waiting.get(session)
        if waiting is None:
            return
        acts = waiting.pop(key, [])
        if not waiting:
            del self._waiting[session]
        for act in acts:
            act()
