"""uvicorn's HTTP protocol with the bounds it lacks: on a head's size and time, on a body's time, on what is pipelined.

Rules: parsing stays with httptools; a head is all that comes before the body; what comes after a body is thrown away.
"""

from __future__ import annotations

import asyncio
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_LIMIT: Final = 32_768
"""The largest request head, in bytes, give or take what arrives in one read."""
HEAD_SECONDS: Final = 10.0
"""How long a request's head may take to arrive, from the connection or the head's first byte."""

MESSAGE_SECONDS: Final = 60.0
"""How long a request may take to arrive after its head."""
UNREAD_SECONDS: Final = 2.0
"""How long the rest of a request that is answered already may take to arrive."""
PIPELINED: Final = 8
"""How many requests may wait behind one that is being answered."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection of the control API; owned by the loop."""

    _head_bytes = 0
    _head_due: asyncio.TimerHandle | None = None
    _rest_due: asyncio.TimerHandle | None = None
    _in_head = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn narrows it, too
        """A connection is there: its first head is awaited."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._head_arrived()
        self._rest_arrived()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """The first byte of a head was seen."""
        super().on_message_begin()
        self._in_head = True
        self._await_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header of the head; a trailer (RFC 9112 §7.1.2) means nothing here and is not kept."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """A head is whole. Raises `ValueError`, which ends the connection, where too much waits already."""
        self._in_head = False
        self._head_arrived()
        if len(self.pipeline) >= PIPELINED:
            raise ValueError("too many requests at once")
        self._await_rest(MESSAGE_SECONDS)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """A request is whole."""
        self._rest_arrived()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """A request is answered, whole or not."""
        super().on_response_complete()
        if self._rest_due is not None and self.cycle.response_complete:
            self._await_rest(UNREAD_SECONDS)

    def data_received(self, data: bytes) -> None:
        """Bytes of a head, a body or both."""
        if self._head_due is not None:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_LIMIT and b"\r\n\r\n" not in data:
                self._unset_keepalive_if_required()
                self.send_400_response("Request head too large.")
                return
        super().data_received(data)

    def _await_head(self) -> None:
        if self._head_due is None:
            self._head_bytes = 0
            self._head_due = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _await_rest(self, seconds: float) -> None:
        self._rest_arrived()
        self._rest_due = self.loop.call_later(seconds, self.transport.close)

    def _rest_arrived(self) -> None:
        if self._rest_due is not None:
            self._rest_due.cancel()
            self._rest_due = None

    def _head_arrived(self) -> None:
        if self._head_due is not None:
            self._head_due.cancel()
            self._head_due = None
