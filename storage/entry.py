"""One line of the ledger, as canonical JSON.

Rules: RFC 8785 restricted to what entries need: ASCII keys, no floats, integers below 2^53 in size (so that every
reader agrees on every number). Anything else is refused, never bent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

STAMPS: Final = ("after_us", "ahead")
"""What the ledger puts in front of every entry (see `storage.ledger`); nobody else may."""

_LARGEST: Final = 2**53 - 1
_ENCODER: Final = msgspec.json.Encoder(order="sorted")
_DECODER: Final = msgspec.json.Decoder(dict[str, Any])


def _check_mapping(fields: Mapping[Any, object]) -> None:
    for key, value in fields.items():
        # RFC 8785 §3.2.3 sorts by UTF-16 units: for ASCII that is the byte order the encoder uses.
        if type(key) is not str or not key.isascii():
            raise ValueError("an entry's keys are ASCII strings")
        if type(value) is not str:
            _check(value)


def _check(value: object) -> None:
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return
    if kind is int:
        assert isinstance(value, int)
        if not -_LARGEST <= value <= _LARGEST:
            raise ValueError("an entry's integers are smaller than 2^53")
    elif isinstance(value, dict):
        _check_mapping(value)
    elif isinstance(value, list | tuple):
        for item in value:
            if type(item) is not str:
                _check(item)
    else:
        raise ValueError(f"an entry cannot hold a {kind.__name__}")


def canonical(fields: Mapping[str, object]) -> bytes:
    """`fields` as canonical JSON (RFC 8785), UTF-8.

    Values are None, bool, int, str, and lists, tuples and dicts of these. Raises ValueError for anything else,
    for lone surrogates, and for nesting too deep to encode.
    """
    plain = dict(fields)
    try:
        _check_mapping(plain)
        return _ENCODER.encode(plain)
    except RecursionError:
        raise ValueError("an entry is nested too deep") from None
    except UnicodeEncodeError:
        # Not chained: the codec's error quotes the text.
        raise ValueError("an entry holds a lone surrogate") from None


def given(leaf: bytes) -> dict[str, Any]:
    """The fields of a leaf without the ledger's stamps. Raises ValueError if it is not one JSON object."""
    fields = decode(leaf)
    for stamp in STAMPS:
        fields.pop(stamp, None)
    return fields


def decode(leaf: bytes) -> dict[str, Any]:
    """The fields of a leaf. Raises ValueError if it is not one JSON object."""
    try:
        return _DECODER.decode(leaf)
    except msgspec.MsgspecError as error:
        raise ValueError("a leaf is one JSON object") from error
