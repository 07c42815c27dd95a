"""Persistence: what must be written is tried until the disk takes it, and everybody is told while it does not.

Rules: `failure` says why nothing can be written now and is read by any thread; the rest is the writer's thread's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, TypeVar

from storage.errors import StorageError, StorageUnavailable

R = TypeVar("R")

RETRY_SECONDS: Final = 0.25
"""How long a failing disk is left alone between attempts."""


class Abandoned(Exception):
    """Closing, and the disk still fails."""


class Persistence:
    """Does things until they succeed. `failing` hears of a disk that fails (once) and works again (None)."""

    def __init__(
        self, failing: Callable[[StorageError | None], None], meanwhile: Callable[[StorageUnavailable], None]
    ) -> None:
        """`meanwhile` is called after each attempt that failed."""
        self._failing: Final = failing
        self._meanwhile: Final = meanwhile
        self.abandoned: Final = threading.Event()
        """Set by whoever closes: nothing is tried again. Any thread."""
        self.failure: StorageError | None = None

    def __call__(self, step: Callable[[], R], waiting: Future[Any] | None = None) -> R:
        """`step`, again and again until the disk takes it; who waits does not wait that long. Raises Abandoned."""
        while True:
            try:
                result = step()
            except StorageUnavailable as error:
                self.fail(error)
                if waiting is not None and not waiting.done():
                    waiting.set_exception(error)
                self._meanwhile(error)
            else:
                self._recover()
                return result
            if self.abandoned.wait(RETRY_SECONDS):
                raise Abandoned

    def fail(self, error: StorageError) -> None:
        """Nothing can be written now."""
        if self.failure is None:
            self.failure = error
            self._failing(error)

    def _recover(self) -> None:
        if self.failure is not None:
            self.failure = None
            self._failing(None)
