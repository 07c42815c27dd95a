"""The opening handshake (RFC 6455 §4.2): which requests become WebSockets, and what answers them.

Rules: only `GET` of one path with one `Host`, the sub-protocol and an allowed origin is upgraded; a request as browsers
and libraries write it is read here in plain code, whatever is unusual in any way goes to the library's
`ServerProtocol`, and both give the same answer. An answer quotes nothing of the request.
"""

from __future__ import annotations

import logging
import re
import time
from binascii import b2a_base64
from collections.abc import Iterable, Sequence
from email.utils import formatdate
from hashlib import sha1
from http import HTTPStatus
from typing import Final, NamedTuple, cast

from websockets.http11 import Request, Response
from websockets.server import ServerProtocol
from websockets.typing import Origin, Subprotocol

from gateway.core import wire

PATH: Final = "/v1/ws"
LARGEST_HEAD: Final = 16 * 1024
"""Bytes of a request with all its headers."""

# Frames and headers are never logged, not even for debugging: they hold tokens and messages.
LOG: Final = logging.getLogger("gateway.listener.library")
LOG.setLevel(logging.ERROR)

_LARGEST_USUAL: Final = 8 * 1024
_MOST_FIELDS: Final = 64
# Names as RFC 9110 §5.6.2 has them; values without tabs and bytes that only few agree about.
_FIELDS: Final = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]++: [ -~]*+\r\n)++\r\n")
# Sixteen bytes in base64, written the one way that encoders write them.
_KEY: Final = re.compile(rb"[A-Za-z0-9+/]{21}[AQgw]==")
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_UPGRADES: Final = frozenset({b"Upgrade", b"upgrade", b"keep-alive, Upgrade"})
_BODY: Final = frozenset({b"content-length", b"transfer-encoding"})


class Answer(NamedTuple):
    """What is written back; where that `upgraded` the connection, with the bearer token that the request carried."""

    written: bytes
    upgraded: bool
    token: str | None = None


class Opening:
    """Opens the connections of one listener."""

    def __init__(self, origins: Iterable[str], *, path: str = PATH, subprotocol: str | None = wire.SUBPROTOCOL) -> None:
        """Without a `subprotocol` none is negotiated, whatever is offered."""
        self._path: Final = path
        # None stands for a missing Origin: whoever sends none is no browser (RFC 6455 §10.2).
        self._origins: Final = [*(Origin(origin) for origin in origins), None]
        self._subprotocols: Final = None if subprotocol is None else [Subprotocol(subprotocol)]
        self._request_line: Final = f"GET {path} HTTP/1.1\r\n".encode()
        self._usual_origins: Final = {None, *(each.encode() for each in self._origins if each and each.isascii())}
        self._usual_subprotocol: Final = None if subprotocol is None else subprotocol.encode()
        chosen = "" if subprotocol is None else f"Sec-WebSocket-Protocol: {subprotocol}\r\n"
        self._tail: Final = f"\r\n{chosen}\r\n".encode()
        self._second = 0
        self._head = b""

    def answer(self, head: bytes) -> Answer:
        """The answer to a request, which `head` holds whole, up to and with its empty line."""
        return self._answer_usual(head) or self._consult(head)

    def refuse(self, status: HTTPStatus) -> Answer:
        """The answer to a request that never ends."""
        library = self._library()
        written = _refused(library, library.reject(status, ""))
        library.parser.close()
        return Answer(written, upgraded=False)

    # -- the usual request -------------------------------------------------------------------------------------

    def _answer_usual(self, head: bytes) -> Answer | None:
        """The upgrade, at a quarter of the library's price; None for every request that is unusual or refused."""
        fields = self._read(head)
        if fields is None or b"host" not in fields or not _BODY.isdisjoint(fields):
            return None
        key = fields.get(b"sec-websocket-key", b"")
        if (
            fields.get(b"upgrade", b"").lower() != b"websocket"
            or fields.get(b"connection") not in _UPGRADES
            or fields.get(b"sec-websocket-version") != b"13"
            or fields.get(b"sec-websocket-protocol") != self._usual_subprotocol
            or fields.get(b"origin") not in self._usual_origins
            or not _KEY.fullmatch(key)
        ):
            return None
        accepted = b2a_base64(sha1(key + _GUID, usedforsecurity=False).digest(), newline=False)
        credentials = fields.get(b"authorization")
        token = None if credentials is None else bearer([credentials.decode("ascii").strip()])
        return Answer(b"%b%b%b" % (self._dated(), accepted, self._tail), upgraded=True, token=token)

    def _read(self, head: bytes) -> dict[bytes, bytes] | None:
        """The header fields, names in lower case; None where one comes twice or anything is unusual."""
        begin = len(self._request_line)
        if not head.startswith(self._request_line) or len(head) > _LARGEST_USUAL or not _FIELDS.fullmatch(head, begin):
            return None
        lines = head[begin:-4].split(b"\r\n")
        fields: dict[bytes, bytes] = {}
        for line in lines:
            name, _, value = line.partition(b": ")
            fields[name.lower()] = value
        return fields if len(fields) == len(lines) <= _MOST_FIELDS else None

    def _dated(self) -> bytes:
        """The answer up to its key, with a date that is written once a second (RFC 9110 §6.6.1)."""
        second = int(time.time())
        if second != self._second:
            self._second = second
            date = formatdate(second, usegmt=True)
            self._head = (
                f"HTTP/1.1 101 Switching Protocols\r\nDate: {date}\r\n"
                "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
            ).encode()
        return self._head

    # -- every other request -----------------------------------------------------------------------------------

    def _library(self) -> ServerProtocol:
        # It takes no extension, so nothing is ever decompressed.
        return ServerProtocol(origins=self._origins, subprotocols=self._subprotocols, logger=LOG)

    def _consult(self, head: bytes) -> Answer:
        library = self._library()
        library.receive_data(head)
        requests = library.events_received()
        if requests:
            answer = self._judge(library, cast(Request, requests[0]))
        else:
            # Malformed, and already answered or to be cut off.
            answer = Answer(b"".join(library.data_to_send()), upgraded=False)
        # Its parser refers to itself, so closing it spares the garbage collector the work.
        library.parser.close()
        return answer

    def _judge(self, library: ServerProtocol, request: Request) -> Answer:
        if request.path.partition("?")[0] != self._path:
            response = library.reject(HTTPStatus.NOT_FOUND, "")
        elif request.protocol == "HTTP/1.1" and len(request.headers.get_all("Host")) != 1:
            response = library.reject(HTTPStatus.BAD_REQUEST, "")  # RFC 9112 §3.2
        else:
            response = library.accept(request)
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            return Answer(_refused(library, response), upgraded=False)
        library.send_response(response)
        token = bearer(request.headers.get_all("Authorization"))
        return Answer(b"".join(library.data_to_send()), upgraded=True, token=token)


def _refused(library: ServerProtocol, response: Response) -> bytes:
    # The library's texts quote headers; an answer of ours quotes nothing.
    response.body = f"{response.reason_phrase}\n".encode()
    del response.headers["Content-Length"]
    response.headers["Content-Length"] = str(len(response.body))
    library.send_response(response)
    return b"".join(library.data_to_send())


def bearer(values: Sequence[str]) -> str | None:
    """The token in an upgrade's `Authorization` (RFC 6750 §2.1); other schemes are not ours, two tokens are none."""
    schemes = [value.partition(" ") for value in values]
    tokens = [token.strip() for scheme, _, token in schemes if scheme.lower() == "bearer"]
    if not tokens:
        return None
    return tokens[0] if len(tokens) == 1 else ""
