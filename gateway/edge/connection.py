"""One connection: a socket speaking WebSocket (RFC 6455) on one side, a session of the edge on the other.

Rules: `gateway.edge.opening` opens it; the library's `ServerProtocol` reads every frame that is not one whole text, and
is dropped in between; no connection has a task, a queue or a timer; at most `UNSENT` bytes wait for a client that does
not read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, cast

from websockets.frames import Close, Frame, Opcode
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from gateway.core import wire
from gateway.core.errors import Bye
from gateway.core.framing import MASK_LENGTH, frame, is_whole_text, measure, only_frame
from gateway.core.session import Session
from gateway.edge.edge import Edge
from gateway.edge.opening import LARGEST_HEAD, LOG, Opening

try:
    from websockets.speedups import apply_mask
except ImportError:  # the library was installed without its compiled part
    from websockets.utils import apply_mask

UNSENT: Final = 256 * 1024
"""Bytes that may wait for one client in this process."""

_HIGH: Final = 64 * 1024
_LOW: Final = 16 * 1024
_END_OF_HEAD: Final = b"\r\n\r\n"


def _farewell(code: int, reason: str) -> bytes:
    return frame(wire.bye(code, reason, Bye(code, reason).retry))


@dataclass(frozen=True, slots=True)
class Dialect:
    """How the connections of one listener open, and what they speak beyond RFC 6455."""

    opening: Opening
    longest: int = wire.LONGEST_FRAME
    """Bytes of the largest message."""
    farewell: Callable[[int, str], bytes] = _farewell
    """The frame to say before closing with a code, for a reason; empty for none."""


class _Engine(ServerProtocol):
    """The library's protocol, saying farewell before it closes on an error, and 4413 for what is too large."""

    def __init__(self, dialect: Dialect) -> None:
        super().__init__(state=OPEN, max_size=dialect.longest, logger=LOG)
        self._farewell = dialect.farewell

    def fail(self, code: int, reason: str = "") -> None:
        if self.state is OPEN and code != 1006:
            code, reason = (4413, "frame too large") if code == 1009 else (code, "protocol error")
            self.writes.append(self._farewell(code, reason))
        super().fail(code, reason)


class WebSocket(asyncio.Protocol):
    """One connection: bytes in, whole messages out to the edge, and back. It is the session's `Socket`."""

    __slots__ = (
        "_buffer",
        "_dialect",
        "_edge",
        "_ended",
        "_engine",
        "_message",
        "_paused",
        "_session",
        "_sockets",
        "_to",
    )

    _to: asyncio.Transport

    def __init__(self, edge: Edge, dialect: Dialect, sockets: set[WebSocket]) -> None:
        """`sockets` holds it while it is connected."""
        self._edge = edge
        self._dialect = dialect
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
        # Each refers to the other: thousands would wait for the collector, the system's buffers with them.
        self._session = None

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

    def hold(self) -> None:
        """See `gateway.core.session.Socket`."""
        if not self._to.is_closing():
            self._to.pause_reading()

    def resume(self) -> None:
        """See `gateway.core.session.Socket`."""
        if not self._to.is_closing():
            self._to.resume_reading()

    # -- bytes -------------------------------------------------------------------------------------------------

    def _open(self, data: bytes) -> bytes:
        """The handshake (RFC 6455 §4.2); returns what came after it."""
        end = data.find(_END_OF_HEAD)
        if end < 0 and len(data) <= LARGEST_HEAD:
            self._buffer = data
            return b""
        if end < 0 or end + len(_END_OF_HEAD) > LARGEST_HEAD:
            answer = self._dialect.opening.refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        else:
            answer = self._dialect.opening.answer(data[: end + len(_END_OF_HEAD)])
        if not answer.upgraded:
            self._write_last([answer.written], None)
            return b""
        self._to.write(answer.written)
        self._session = self._edge.opened(self, answer.token)
        return data[end + len(_END_OF_HEAD) :]

    def _read(self, session: Session, data: bytes) -> None:
        """Hand on every complete frame and keep the beginning of the next."""
        start = 0
        while not self._ended:
            begin, end = measure(data, start)
            hopeless = begin > 0 and (data[start + 1] < 0x80 or end - begin > self._dialect.longest)
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
        engine = self._engine or _Engine(self._dialect)
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
            self._edge.heard_binary(session)
        if self._ended:
            return
        if part.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
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
