"""uvicorn's HTTP protocol with the bound it lacks: request heads are limited in size and in time.

Rules: parsing stays with httptools; a head is all that comes before the body.
"""

from __future__ import annotations

import asyncio
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_LIMIT: Final = 32_768
"""The largest request head, in bytes, give or take what arrives in one read."""
HEAD_SECONDS: Final = 10.0
"""How long a request's head may take to arrive, from the connection or the head's first byte."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection of the control API; owned by the loop."""

    _head_bytes = 0
    _head_due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A connection is there: its first head is awaited."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._head_arrived()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """The first byte of a head was seen."""
        super().on_message_begin()
        self._await_head()

    def on_headers_complete(self) -> None:
        """A head is whole."""
        self._head_arrived()
        super().on_headers_complete()

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

    def _head_arrived(self) -> None:
        if self._head_due is not None:
            self._head_due.cancel()
            self._head_due = None
