"""The bytes a load's sessions send and look for, made once and shared by all of them.

Rules: frames are masked as RFC 6455 §5.3 demands, with one random mask for all who send the same bytes; a frame of the
gateway is told from its first bytes where it comes by the thousand, and parsed like any JSON where it does not.
"""

from __future__ import annotations

import base64
import os
from typing import Final
from urllib.parse import urlsplit

import msgspec
from websockets.frames import Frame, Opcode

from gateway.core.wire import SUBPROTOCOL

SWITCHED: Final = b"HTTP/1.1 101 "
HEAD_END: Final = b"\r\n\r\n"
TEXT, CLOSE, PING = 0x81, 0x88, 0x89
"""First bytes of a text frame in one piece, of a close and of a ping."""


class Heard(msgspec.Struct):
    """A frame of the gateway, as far as the load looks; a notice within a state has no type."""

    type: str = "notice"
    notice: str = ""
    digest: str = ""
    level: str = ""
    at: str = ""
    occurred_at: str = ""
    code: int | str = 0
    notices: list[Heard] = []


DECODER: Final = msgspec.json.Decoder(Heard)


def framed(frame: dict[str, object]) -> bytes:
    """`frame` as one masked WebSocket text frame."""
    return Frame(Opcode.TEXT, msgspec.json.encode(frame)).serialize(mask=True)


def pong(data: bytes) -> bytes:
    """The answer to a WebSocket ping that carried `data`."""
    return Frame(Opcode.PONG, data).serialize(mask=True)


def upgrade(url: str) -> bytes:
    """The request that opens every session: the same key will do, nobody caches (RFC 6455 §4.1)."""
    parts = urlsplit(url)
    lines = [
        f"GET {parts.path or '/'} HTTP/1.1",
        f"Host: {parts.netloc}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Protocol: {SUBPROTOCOL}",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def receipt(notice: str, level: str) -> bytes:
    """What the receipt of `level` begins with."""
    return msgspec.json.encode({"type": "receipt", "notice": notice, "level": level})[:-1]
