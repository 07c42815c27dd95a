"""Decoding: what a client sent, as a frame.

Rules: what is not strict JSON or lacks a field ends the connection; the two frames that come by the thousand are read
by a quick parser, which is believed only where there is nothing that it could be too kind about.
"""

from __future__ import annotations

from typing import Final

import msgspec

from gateway.core.errors import Bye, Refusal
from gateway.core.frames import KINDS, Ack, ClientFrame, Pong
from gateway.core.strict_json import parse

LONGEST_FRAME: Final = 32 * 1024
"""Bytes of the largest message a client may send, in one frame or in fragments."""

_DEEPEST: Final = 8
_COMMON: Final[msgspec.json.Decoder[Ack | Pong]] = msgspec.json.Decoder(Ack | Pong)
_LONGEST_COMMON: Final = 512
_PONG: Final = len('{"type":"pong","at":""}')
_ACK: Final = len('{"type":"ack","notice":"","level":"","at":""}')
_DIGEST: Final = len(',"digest":""')
_LONG_TIME: Final = len("2026-11-23T14:00:00.123+00:00")


def decode(data: bytes) -> ClientFrame:
    """The frame in a message's bytes. Raises `Bye` (4400, 4413, 1007) or, for an unknown type, `Refusal`."""
    # The two frames that come by the thousand, at a twentieth of the price.
    if len(data) <= _LONGEST_COMMON and b"\\" not in data:
        try:
            common = _COMMON.decode(data)
        except (ValueError, OverflowError, RecursionError):
            pass  # the strict parser says why
        else:
            if len(data) <= _roomless(common) or _has_only_strings(data, common):
                return common
    return _decode_strictly(data)


def _roomless(common: Ack | Pong) -> int:
    """The length up to which there is no room for two members of one name, hence nothing the quick parser is too kind
    about: `,"":0,"":0` is ten bytes, and the shortest time leaves nine.
    """
    if isinstance(common, Pong):
        return _PONG + len(common.at)
    length = _ACK + _LONG_TIME + len(common.notice) + len(common.level)
    return length if common.digest is None else length + _DIGEST + len(common.digest)


def _has_only_strings(data: bytes, common: Ack | Pong) -> bool:
    """Whether there is no other field, because all fields are strings, and there are four quotes for each."""
    fields = 2 if isinstance(common, Pong) else 4 if common.digest is None else 5
    return data.isascii() and data.count(b'"') == 4 * fields


def _decode_strictly(data: bytes) -> ClientFrame:
    if len(data) > LONGEST_FRAME:
        raise Bye(4413, "frame too large")
    try:
        value = parse(data, depth=_DEEPEST)
    except UnicodeDecodeError:
        raise Bye(1007, "text is not UTF-8") from None
    except ValueError:
        raise Bye(4400, "not strict JSON") from None
    if not isinstance(value, dict) or not isinstance(kind := value.get("type"), str):
        raise Bye(4400, "not an object with a type")
    shape = KINDS.get(kind)
    if shape is None:
        raise Refusal("unknown_type", "this type of frame is not known")
    try:
        return msgspec.convert(value, shape)
    except (msgspec.ValidationError, OverflowError):
        raise Bye(4400, "a field is missing or has a wrong value") from None
