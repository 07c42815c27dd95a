"""The bytes of WebSocket frames (RFC 6455 §5.2), as far as the common case needs them.

Rules: only a server's side: frames written are unmasked, frames read are masked. Read here is one complete text
frame in one piece; everything else is left to a full implementation of the protocol.
"""

from __future__ import annotations

from typing import Final

WHOLE_TEXT: Final = 0x81
"""First byte of a text frame in one piece, without extension bits."""

MASK_LENGTH: Final = 4
"""Bytes of the mask, right before the payload (RFC 6455 §5.3)."""

_MASKED: Final = 0x80
_SHORT: Final = 2 + MASK_LENGTH
_MEDIUM: Final = 4 + MASK_LENGTH
"""Bytes before the payload of a masked frame: below 126 bytes of it, and below 65,536."""


def frame(payload: bytes) -> bytes:
    """`payload`, which is UTF-8, as one unmasked text frame: the same bytes may go to any number of sockets."""
    length = len(payload)
    if length < 126:
        return bytes((WHOLE_TEXT, length)) + payload
    if length < 65536:
        return bytes((WHOLE_TEXT, 126)) + length.to_bytes(2, "big") + payload
    return bytes((WHOLE_TEXT, 127)) + length.to_bytes(8, "big") + payload


def measure(data: bytes, start: int) -> tuple[int, int]:
    """Where the payload of the frame at `start` begins and ends; `(0, 0)` while its header is incomplete.

    The end may lie beyond `data`. An unmasked frame begins before its mask would: such a frame is an error that
    the full implementation reports (RFC 6455 §5.1).
    """
    if len(data) < start + 2:
        return 0, 0
    length = data[start + 1] & 0x7F
    begin = start + 2
    if length > 125:
        begin += 2 if length == 126 else 8
        if len(data) < begin:
            return 0, 0
        length = int.from_bytes(data[start + 2 : begin], "big")
    if data[start + 1] & _MASKED:
        begin += MASK_LENGTH
    return begin, begin + length


def only_frame(data: bytes) -> int:
    """Where the payload begins in `data` that is exactly one masked text frame in one piece; 0 where it is not.

    What a client says comes like this nearly always: one look, and nothing to remember.
    """
    size = len(data)
    if size < _SHORT or data[0] != WHOLE_TEXT:
        return 0
    length = data[1] - _MASKED
    if length < 126:
        return _SHORT if length == size - _SHORT else 0
    if length > 126 or size < _MEDIUM:
        return 0
    return _MEDIUM if data[2] << 8 | data[3] == size - _MEDIUM else 0


def is_whole_text(data: bytes, start: int) -> bool:
    """Whether the frame at `start` is masked text in one piece."""
    return data[start] == WHOLE_TEXT and data[start + 1] >= _MASKED
