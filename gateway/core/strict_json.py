"""JSON read without mercy (RFC 8259): what other parsers disagree about is refused instead of guessed.

Rules: UTF-8 only; no duplicate names, no NaN or infinity, no lone surrogates, no integer beyond 2^53 (RFC 7493
§2.2), no nesting beyond the given depth. Whatever the bytes are, nothing but `ValueError` is raised.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

import msgspec

LARGEST: Final = 2**53
"""Integers beyond this differ between readers (RFC 7493 §2.2)."""

_LONGEST_INTEGER: Final = len(str(-LARGEST))


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("duplicate name in an object")
    return members


def _integer(digits: str) -> int:
    # The length is looked at first: converting a hundred thousand digits is the attack.
    if len(digits) > _LONGEST_INTEGER or abs(number := int(digits)) > LARGEST:
        raise ValueError("integer beyond 2^53")
    return number


def _real(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise ValueError("number out of range")
    return number


def _constant(name: str) -> float:
    raise ValueError("not a JSON number")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_real, parse_constant=_constant
)


def parse(data: bytes, *, depth: int) -> object:
    """The value `data` holds, whose arrays and objects are nested at most `depth` deep.

    Raises `UnicodeDecodeError` for what is not UTF-8 and `ValueError`, its parent, for everything else.
    """
    text = data.decode("utf-8")
    try:
        value: object = _DECODER.decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if is_deeper(value, depth):
        raise ValueError("nested too deeply")
    if "\\u" in text:
        _check_surrogates(value)
    return value


def is_deeper(value: object, depth: int) -> bool:
    """Whether arrays and objects of a parsed value are nested more than `depth` deep."""
    containers = [value]
    for _ in range(depth):
        containers = [child for each in containers for child in _children(each) if isinstance(child, (dict, list))]
        if not containers:
            return False
    return True


def _children(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _check_surrogates(value: object) -> None:
    try:
        msgspec.json.encode(value)
    except UnicodeEncodeError:
        raise ValueError("lone surrogate") from None
