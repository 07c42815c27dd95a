"""Strict JSON (RFC 8259) from strangers, item by item: one bad item of an array spoils only itself.

Rules: no repeated names, no NaN or Infinity, no number beyond a double, no deep nesting; a refusal never quotes
the text. Bytes that are not UTF-8 come out as lone surrogates, which `gateway.core.fields` refuses where they
would be used, so that they too spoil only the item they stand in.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NoReturn

from gateway.core.errors import Refusal
from gateway.core.strict_json import is_deeper

DEPTH: Final = 32
"""Deepest nesting taken. Real events stay below ten."""
ITEMS: Final = 20_000
"""Most items taken from one body; Event Grid sends at most 5,000."""

_LOST: Final = 1_000_000
"""Nesting from which the end of a broken item is not looked for: the search would take seconds."""
_SPACE: Final = re.compile(r"[ \t\n\r]*")
_TOKEN: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)|[\[\]{},]', re.DOTALL)


class Malformed(Refusal):
    """The input is not what it should be; trying again will not help."""

    def __init__(self, detail: str) -> None:
        super().__init__("malformed", detail)


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a body: its text, and its value or why it has none."""

    text: str
    value: object
    refusal: Malformed | None = None

    @property
    def raw(self) -> bytes:
        """The item's bytes as they came."""
        return self.text.encode("utf-8", "surrogateescape")


def split(body: bytes) -> Iterator[Item]:
    """The items of a body: the elements of an array, or the one value it is."""
    text = body.decode("utf-8", "surrogateescape").removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}")
    start = _skip(text, 0)
    if text[start : start + 1] == "[":
        yield from _elements(text, start + 1)
    else:
        yield _whole(text)


def parse(text: str) -> object:
    """The value of a whole JSON text; raises `Malformed`."""
    value, end = _value(text, _skip(text, 0))
    if _skip(text, end) != len(text):
        raise Malformed("there is text after the JSON value")
    return value


def _whole(text: str) -> Item:
    try:
        return Item(text, parse(text))
    except Malformed as refusal:
        return Item(text, None, refusal)


def _elements(text: str, start: int) -> Iterator[Item]:
    start = _skip(text, start)
    if text[start : start + 1] == "]":
        yield from _rest(text, start + 1, "there is text after the JSON array")
        return
    for count in range(ITEMS + 1):
        if count == ITEMS:
            yield from _rest(text, start, "the array has more items than are taken at once")
            return
        item, end = _element(text, start)
        yield item
        if text[end : end + 1] != ",":
            break
        start = _skip(text, end + 1)
    if text[end : end + 1] == "]":
        yield from _rest(text, end + 1, "there is text after the JSON array")
    elif item.refusal is None:
        yield Item(text[end:], None, Malformed("the JSON array has no end"))


def _element(text: str, start: int) -> tuple[Item, int]:
    """The element at `start`, and where the separator after it stands."""
    try:
        value, end = _value(text, start)
        after = _skip(text, end)
        if after < len(text) and text[after] not in ",]":
            raise Malformed("the item is not JSON")
    except Malformed as refusal:
        after = _separator(text, start)
        return Item(text[start:after], None, refusal), after
    return Item(text[start:end], value), after


def _rest(text: str, start: int, reason: str) -> Iterator[Item]:
    if _skip(text, start) != len(text):
        yield Item(text[start:], None, Malformed(reason))


def _separator(text: str, start: int) -> int:
    """Where the comma or bracket after a broken element stands, going by brackets and strings alone."""
    depth = 0
    for token in _TOKEN.finditer(text, start):
        sign = token[0][0]
        if depth > _LOST:
            break
        if sign in "[{":
            depth += 1
        elif sign in ",]" and depth == 0:
            return token.start()
        elif sign in "]}":
            depth = max(depth - 1, 0)
    return len(text)


def _value(text: str, start: int) -> tuple[object, int]:
    try:
        value, end = _DECODER.raw_decode(text, start)
    except RecursionError:
        raise Malformed("the item is nested too deeply") from None
    except ValueError:
        raise Malformed("the item is not JSON") from None
    if is_deeper(value, DEPTH):
        raise Malformed("the item is nested too deeply")
    return value, end


def _skip(text: str, start: int) -> int:
    space = _SPACE.match(text, start)
    return space.end() if space else start


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise Malformed("the item repeats a name")
    return members


def _real(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise Malformed("the item has a number that is too large")
    return value


def _no_constant(_: str) -> NoReturn:
    raise Malformed("the item has a number that JSON does not know")


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_members, parse_float=_real, parse_constant=_no_constant)
