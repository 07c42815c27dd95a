"""One end of a link: a connected socket between two processes of this machine that carries batches of messages.

Rules: what one turn of the loop says leaves in one write; what comes in is taken in slices with a turn in between,
and no more is read meanwhile; who says more than the other end reads is told that the link is full and has to stop
by itself. Owned by the loop.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from typing import Final, Generic, TypeVar, cast

from gateway.link.messages import Batches, Word, batch

FULL: Final = 16 * 1024 * 1024
"""Bytes unsent from which on the link is full."""
ROOM: Final = 4 * 1024 * 1024
"""Bytes unsent at which it is not full any more."""
CLOSE_SECONDS: Final = 2.0
"""How long the other end may take to read the last messages."""
SLICE: Final = 400
"""How much is taken in one turn, by weight."""

W = TypeVar("W", bound=Word)


class Link(asyncio.Protocol, Generic[W]):
    """One end. Set `closing`, `drained` and `ended` before it is connected.

    `closing` is called before the messages of a turn leave and may say the last of them; `drained` when the link is not
    full any more; `ended` once, when the other end is gone or was no peer.
    """

    def __init__(self, batches: Batches[W], take: Callable[[W], None], *, full: int = FULL, room: int = ROOM) -> None:
        self._batches = batches
        self._take = take
        self._limits = full, room
        self._loop = asyncio.get_running_loop()
        self._to: asyncio.Transport | None = None
        self._saying: list[Word] = []
        self._inbox: deque[W] = deque()
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self.full = False
        """Whether so much is unsent that nothing should be said but what has to be."""
        self.said = 0
        """Messages said so far; they go out in this order."""
        self.closing: Callable[[], None] = _nothing
        self.drained: Callable[[], None] = _nothing
        self.ended: Callable[[], None] = _nothing

    # -- what the event loop calls -----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._to = cast(asyncio.Transport, transport)
        self._to.set_write_buffer_limits(*self._limits)

    def data_received(self, data: bytes) -> None:
        idle = not self._inbox
        try:
            for words in self._batches.feed(data):
                self._inbox.extend(words)
        except ValueError as error:
            self._loop.call_exception_handler({"message": "a link said what cannot be read", "exception": error})
            self.abort()
            return
        if idle:
            self._work()

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False
        self.drained()

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone.set_result(None)
        # What was said before the end holds: it is taken before the end is told.
        if not self._inbox:
            self.ended()

    # -- what its end calls ------------------------------------------------------------------------------------

    def say(self, word: Word) -> int:
        """Say this with everything else of this turn; returned is its place among all that was said."""
        if self._gone.done():
            return self.said
        if not self._saying:
            self._loop.call_soon(self._flush)
        self._saying.append(word)
        self.said += 1
        return self.said

    async def close(self) -> None:
        """Say what is still to be said and be gone, in `CLOSE_SECONDS` in any case."""
        self._flush()
        if self._to is not None:
            self._to.close()
            await asyncio.wait([self._gone], timeout=CLOSE_SECONDS)

    def abort(self) -> None:
        """Be gone now."""
        if self._to is not None:
            self._to.abort()

    def _flush(self) -> None:
        if not self._saying:
            return
        self.closing()
        words, self._saying = self._saying, []
        if self._to is not None and not self._to.is_closing():
            self._to.write(batch(words))

    def _work(self) -> None:
        weight = 0
        inbox = self._inbox
        while inbox and weight < SLICE:
            word = inbox.popleft()
            weight += word.weight
            self._take(word)
        self._pace(waiting=bool(inbox))
        if inbox:
            self._loop.call_soon(self._work)
        elif self._gone.done():
            self.ended()

    def _pace(self, *, waiting: bool) -> None:
        """Read only while nothing waits."""
        to = self._to
        if to is None or to.is_closing():
            return
        if waiting and to.is_reading():
            to.pause_reading()
        elif not waiting and not to.is_reading():
            to.resume_reading()


async def connect(link: Link[W], end: socket.socket) -> None:
    """Let `link` speak over this end of a socket pair; it belongs to the link from now on."""
    end.setblocking(False)
    await asyncio.get_running_loop().create_unix_connection(lambda: link, sock=end)


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected ends, without a path on any disk; the second is for another process."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)


def _nothing() -> None:
    """Until somebody listens."""
