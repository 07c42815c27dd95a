"""Who in the app waits for what: an answer of the gateway, a notice of a call, quiet, or the client's end.

Rules: everything belongs to one event loop; whoever waits when the client ends is told why; giving up waiting
changes nothing about what is waited for.
"""

from __future__ import annotations

import asyncio

from gateway.client.outbox import Key
from gateway.client.state import Answer


class Waiting:
    """The waiters of one client."""

    def __init__(self) -> None:
        self._answers: dict[Key, asyncio.Future[Answer]] = {}
        self._calls: dict[str, asyncio.Event] = {}
        self._quiet = asyncio.Event()
        self._over = asyncio.Event()
        self._error: Exception | None = None
        self._told = False
        self.closed_by_app = False

    @property
    def over(self) -> bool:
        """Whether the client has ended."""
        return self._over.is_set()

    def check(self) -> None:
        """Raise why the client ended, if it has."""
        if self._error is not None:
            self._told = True
            raise self._error

    def check_told(self) -> None:
        """Raise why the client ended, unless the app has been told already."""
        if not self._told:
            self.check()

    async def answer(self, key: Key) -> Answer:
        """The answer to `key`. Raises it if it is an error, and whatever ends the client first."""
        self.check()
        future = self._answers.setdefault(key, asyncio.get_running_loop().create_future())
        return await asyncio.shield(future)

    def give(self, key: Key, answer: Answer) -> None:
        """Hand `answer` to whoever waits for it."""
        future = self._answers.pop(key, None)
        if future is None:
            return
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)

    async def news(self, call: str) -> None:
        """Return when `wake(call)` is called from now on, or the client ends."""
        event = self._calls.setdefault(call, asyncio.Event())
        event.clear()
        if not self.over:
            await event.wait()

    def wake(self, call: str) -> None:
        """Something may have changed for those who wait for `news` of `call`."""
        if call in self._calls:
            self._calls.pop(call).set()

    async def quiet(self) -> None:
        """Return at the next `hush`. Raises whatever ended the client."""
        self._quiet.clear()
        if not self.over:
            await self._quiet.wait()
        self.check()

    def hush(self) -> None:
        """Nothing is unconfirmed just now."""
        self._quiet.set()

    async def end(self) -> Exception | None:
        """Wait until the client has ended; why, or None if the app ended it."""
        await self._over.wait()
        self._told = True
        return None if self.closed_by_app else self._error

    def close(self, error: Exception, *, own: bool = False) -> None:
        """The client has ended; the first reason counts. `own`: by the app's will, which is no error to report."""
        if self.over:
            return
        self._error, self._told, self.closed_by_app = error, own or bool(self._answers), own
        self._over.set()
        self._quiet.set()
        for event in self._calls.values():
            event.set()
        for future in self._answers.values():
            future.set_exception(error)
        self._answers.clear()
