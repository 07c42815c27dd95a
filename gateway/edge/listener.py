"""The listener: the listening socket, its connections and the one timer of the edge.

Rules: it binds one address and says which; what it accepts is a `gateway.edge.connection.WebSocket`.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import Final

from gateway.core.framing import frame
from gateway.edge.connection import Dialect, WebSocket
from gateway.edge.edge import Edge
from gateway.edge.opening import Opening
from gateway.edge.wheel import TICK_SECONDS

__all__ = ["Listener", "frame", "listen"]

# The kernel would take megabytes for a client that does not read, and nobody would notice that it is behind.
_KERNEL_BUFFER: Final = 64 * 1024
_BACKLOG: Final = 4096
_AT_ONCE: Final = 64
"""Connections asyncio accepts in one turn, before any of them is counted."""
_TURNS: Final = 100
"""Turns of the loop a cut connection is given to disappear; it needs two."""


class Listener:
    """A listening socket and all its connections, made by `listen`."""

    def __init__(self, edge: Edge, server: asyncio.Server, address: str, sockets: set[WebSocket]) -> None:
        self.address = address
        """`host:port` as bound, with the real port."""
        self._edge = edge
        self._server = server
        self._sockets = sockets
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(TICK_SECONDS, self._tick)

    async def close(self) -> None:
        """Stop listening and cut what is left; to part in peace, drain the edge before."""
        self._timer.cancel()
        self._server.close()
        for each in list(self._sockets):
            each.abort()
        for _ in range(_TURNS):
            if not self._sockets:
                break
            await asyncio.sleep(0)
        self._edge.departures.settle()

    def _tick(self) -> None:
        # Counted from now: after a pause nobody's time may run out in a burst of ticks.
        self._timer = self._loop.call_later(TICK_SECONDS, self._tick)
        self._edge.tick()


async def bind(address: str, *, shared: bool = False) -> socket.socket:
    """A socket bound to `address` (`host:port`, port 0 for any), with others if they share it too. Raises `OSError`."""
    loop = asyncio.get_running_loop()
    host, _, port = address.rpartition(":")
    found = await loop.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    family, kind, protocol, _, where = found[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _KERNEL_BUFFER)
        bound.bind(where)
    except OSError:
        bound.close()
        raise
    return bound


def located(address: str, bound: socket.socket) -> str:
    """`address` with the port that was bound."""
    return f"{address.rpartition(':')[0]}:{bound.getsockname()[1]}"


async def listen(
    edge: Edge, address: str, origins: Sequence[str] = (), *, dialect: Dialect | None = None, shared: bool = False
) -> Listener:
    """Listen on `address`, see `bind`, for browsers of `origins` and for all that are none.

    `dialect` is for who does not speak the gateway's protocol; it knows its origins itself. Raises `OSError`.
    """
    spoken = dialect or Dialect(Opening(origins))
    sockets: set[WebSocket] = set()
    bound = await bind(address, shared=shared)
    try:
        server = await asyncio.get_running_loop().create_server(
            lambda: WebSocket(edge, spoken, sockets), sock=bound, backlog=_AT_ONCE
        )
        bound.listen(_BACKLOG)
    except OSError:
        bound.close()
        raise
    return Listener(edge, server, located(address, bound), sockets)
