"""One connection: a socket speaking WebSocket (RFC 6455) on one side, a session of the edge on the other.

Rules: only `GET /v1/ws` with the sub-protocol of `gateway.core.wire` and an allowed origin is upgraded; the
library's `ServerProtocol` does the handshake and every frame that is not one whole text, and is dropped in between;
no connection has a task, a queue or a timer; at most `UNSENT` bytes wait for a client that does not read.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final, cast

from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import OPEN
from websockets.server import ServerProtocol
from websockets.typing import Origin, Subprotocol

from gateway.core import wire
from gateway.core.errors import Bye
from gateway.core.framing import MASK_LENGTH, frame, is_whole_text, measure, only_frame
from gateway.core.session import Session
from gateway.edge.edge import Edge

try:
    from websockets.speedups import apply_mask
except ImportError:  # the library was installed without its compiled part
    from websockets.utils import apply_mask

PATH: Final = "/v1/ws"
UNSENT: Final = 256 * 1024
"""Bytes that may wait for one client in this process."""
LARGEST_HEAD: Final = 16 * 1024
"""Bytes of a request with all its headers."""

_HIGH: Final = 64 * 1024
_LOW: Final = 16 * 1024
_END_OF_HEAD: Final = b"\r\n\r\n"
# Frames and headers are never logged, not even for debugging: they hold tokens and messages.
_LOG: Final = logging.getLogger("gateway.listener.library")
_LOG.setLevel(logging.ERROR)


class _Engine(ServerProtocol):
    """The library's protocol, saying `bye` before it closes on an error, and 4413 for what is too large."""

    def fail(self, code: int, reason: str = "") -> None:
        if self.state is OPEN and code != 1006:
            code, reason = (4413, "frame too large") if code == 1009 else (code, "protocol error")
            self.writes.append(frame(wire.bye(code, reason, Bye(code, reason).retry)))
        super().fail(code, reason)


class _Opening(ServerProtocol):
    """The library's protocol for the handshake; it takes no extension, so nothing is ever decompressed."""

    def __init__(self, origins: Sequence[str]) -> None:
        # None stands for a missing Origin: whoever sends none is no browser (RFC 6455 §10.2).
        allowed = [*(Origin(origin) for origin in origins), None]
        super().__init__(origins=allowed, subprotocols=[Subprotocol(wire.SUBPROTOCOL)], logger=_LOG)

    def answer(self, head: bytes) -> Request | None:
        """Take a whole head and write the answer; the request where that is an upgrade, else None."""
        self.receive_data(head)
        requests = self.events_received()
        if not requests:
            return None  # malformed, and already answered or to be cut off
        request = cast(Request, requests[0])
        if request.path.partition("?")[0] == PATH:
            response = self.accept(request)
        else:
            response = self.reject(HTTPStatus.NOT_FOUND, "")
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            _say_only_status(response)
        self.send_response(response)
        return request if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS else None

    def refuse(self, status: HTTPStatus) -> None:
        """Answer a head that never ends."""
        response = self.reject(status, "")
        _say_only_status(response)
        self.send_response(response)


def _say_only_status(response: Response) -> None:
    # The library's texts quote headers; an answer of ours quotes nothing.
    response.body = f"{response.reason_phrase}\n".encode()
    del response.headers["Content-Length"]
    response.headers["Content-Length"] = str(len(response.body))


def _bearer(request: Request) -> str | None:
    """The bearer token of the upgrade (RFC 6750 §2.1); other schemes are not ours, two headers are no token."""
    values = request.headers.get_all("Authorization")
    schemes = [value.partition(" ") for value in values]
    tokens = [token.strip() for scheme, _, token in schemes if scheme.lower() == "bearer"]
    if not tokens:
        return None
    return tokens[0] if len(tokens) == 1 else ""


class WebSocket(asyncio.Protocol):
    """One connection: bytes in, whole messages out to the edge, and back. It is the session's `Socket`."""

    __slots__ = (
        "_buffer",
        "_edge",
        "_ended",
        "_engine",
        "_message",
        "_origins",
        "_paused",
        "_session",
        "_sockets",
        "_to",
    )

    _to: asyncio.Transport

    def __init__(self, edge: Edge, origins: Sequence[str], sockets: set[WebSocket]) -> None:
        """`sockets` holds it while it is connected."""
        self._edge = edge
        self._origins = origins
        self._sockets = sockets
        self._session: Session | None = None
        self._engine: _Engine | None = None
        self._buffer = b""
        self._message: bytearray | None = None
        self._paused = False
        self._ended = False

    # -- what the event loop calls -----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._to = cast(asyncio.Transport, transport)
        self._to.set_write_buffer_limits(high=_HIGH, low=_LOW)
        self._sockets.add(self)
        self._edge.admit(self)

    def data_received(self, data: bytes) -> None:
        if self._ended:
            return
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        elif self._session is not None and self._message is None and (begin := only_frame(data)):
            self._edge.received(self._session, apply_mask(data[begin:], data[begin - MASK_LENGTH : begin]))
            return
        if self._session is None:
            data = self._open(data)
        if self._session is not None:
            self._read(self._session, data)

    def eof_received(self) -> None:
        # The transport closes itself now, once everything is written: which may be never, hence the deadline.
        if self._session is not None:
            self._edge.lost(self._session)
        if not self._ended:
            self._ended = True
            self._edge.closing(self, None if self._session is None else 1006)

    def connection_lost(self, exc: Exception | None) -> None:
        self.eof_received()
        self._edge.gone(self)
        self._sockets.discard(self)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if self._session is not None:
            self._edge.writable(self._session)

    # -- what a session calls ----------------------------------------------------------------------------------

    def write(self, framed: bytes) -> bool:
        """See `gateway.core.session.Socket`."""
        if self._paused and self._to.get_write_buffer_size() + len(framed) > UNSENT:
            return False
        self._to.write(framed)
        self._edge.frames_written += 1
        return True

    def finish(self, code: int, reason: str, last: bytes) -> None:
        """See `gateway.core.session.Socket`."""
        close = Frame(Opcode.CLOSE, Close(code, reason).serialize()).serialize(mask=False)
        self._write_last([last + close], code)

    def abort(self) -> None:
        """See `gateway.core.session.Socket`."""
        self._to.abort()

    # -- bytes -------------------------------------------------------------------------------------------------

    def _open(self, data: bytes) -> bytes:
        """The handshake (RFC 6455 §4.2); returns what came after it."""
        end = data.find(_END_OF_HEAD)
        if end < 0 and len(data) <= LARGEST_HEAD:
            self._buffer = data
            return b""
        head = data[: end + len(_END_OF_HEAD)]
        opening = _Opening(self._origins)
        request = None
        if end < 0 or len(head) > LARGEST_HEAD:
            opening.refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        else:
            request = opening.answer(head)
        opening.parser.close()
        written = opening.data_to_send()
        if request is None:
            self._write_last(written, None)
            return b""
        self._to.writelines(written)
        self._session = self._edge.opened(self, _bearer(request))
        return data[len(head) :]

    def _read(self, session: Session, data: bytes) -> None:
        """Hand on every complete frame and keep the beginning of the next."""
        start = 0
        while not self._ended:
            begin, end = measure(data, start)
            hopeless = begin > 0 and (data[start + 1] < 0x80 or end - begin > wire.LONGEST_FRAME)
            if hopeless:
                self._consult(session, data[start:])
                return
            if begin == 0 or end > len(data):
                self._buffer = data[start:]
                return
            if self._message is None and is_whole_text(data, start):
                self._edge.received(session, apply_mask(data[begin:end], data[begin - MASK_LENGTH : begin]))
            else:
                self._consult(session, data[start:end])
            start = end

    def _consult(self, session: Session, data: bytes) -> None:
        """Let the library judge a frame that is not one whole text; between frames it is not kept."""
        engine = self._engine or _Engine(state=OPEN, max_size=wire.LONGEST_FRAME, logger=_LOG)
        self._engine = engine
        engine.receive_data(data)
        for event in engine.events_received():
            self._take(session, cast(Frame, event))
        written = engine.data_to_send()
        if engine.state is not OPEN:
            code = (engine.close_rcvd or engine.close_sent or Close(1006, "")).code
            self._write_last(written, code)
            self._edge.lost(session)
        elif not self._ended:
            for pong in written:
                self.write(pong)
        if engine.state is not OPEN or engine.current_size is None:
            # Its parser refers to itself, so closing it spares the garbage collector the work.
            engine.parser.close()
            self._engine = None

    def _take(self, session: Session, part: Frame) -> None:
        if part.opcode is Opcode.BINARY:
            self._edge.end(session, Bye(1003, "binary frames are not taken"))
        elif part.opcode in (Opcode.TEXT, Opcode.CONT):
            if self._message is None:
                self._message = bytearray()
            self._message += part.data
            if part.fin:
                whole, self._message = bytes(self._message), None
                self._edge.received(session, whole)
            else:
                self._edge.heard(session)
        elif part.opcode is not Opcode.CLOSE:
            self._edge.heard(session)

    def _write_last(self, written: Sequence[bytes], code: int | None) -> None:
        """Write and say that nothing follows; what still comes in is thrown away until the client closes too."""
        if self._ended:
            return
        self._ended = True
        self._buffer = b""
        if not self._to.is_closing():
            self._to.write(b"".join(written))
            if self._to.can_write_eof():
                self._to.write_eof()
            else:
                self._to.close()
        self._edge.closing(self, code)
