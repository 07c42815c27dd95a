"""Entries: canonical JSON and leaf hashes."""

from __future__ import annotations

from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from storage.entry import canonical, decode

SCALARS = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text()
KEYS = st.text(st.characters(max_codepoint=127))
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner), max_leaves=20)


@given(st.dictionaries(KEYS, VALUES))
def test_canonical_equals_the_reference(fields: dict[str, Any]) -> None:
    """What we write is what RFC 8785 prescribes, byte for byte."""
    assert canonical(fields) == rfc8785.dumps(fields)


@given(st.dictionaries(KEYS, VALUES))
def test_decoding_gives_back_what_was_written(fields: dict[str, Any]) -> None:
    """A leaf says exactly what was put in, and saying it again gives the same bytes."""
    assert canonical(decode(canonical(fields))) == canonical(fields)


def test_tuples_are_lists() -> None:
    """A tuple is written as a list."""
    assert canonical({"a": ("x", 1)}) == b'{"a":["x",1]}'


@pytest.mark.parametrize("number", [2**53, -(2**53), 2**64])
def test_numbers_that_readers_disagree_on_are_refused(number: int) -> None:
    """Integers of 2^53 and beyond are refused."""
    with pytest.raises(ValueError, match="2\\^53"):
        canonical({"n": number})


@pytest.mark.parametrize("value", [1.0, float("nan"), float("inf"), b"x", {1, 2}, object()])
def test_what_has_no_canonical_form_here_is_refused(value: object) -> None:
    """Floats, bytes, sets and objects are refused, at any depth."""
    with pytest.raises(ValueError, match="cannot hold"):
        canonical({"list": [{"deep": value}]})


@pytest.mark.parametrize("fields", [{"é": 1}, {"a": {"ü": 1}}, {1: 2}, {"a": [{None: 1}]}])
def test_keys_that_sort_differently_are_refused(fields: dict[Any, Any]) -> None:
    """Keys are ASCII strings, at any depth."""
    with pytest.raises(ValueError, match="ASCII"):
        canonical(fields)


def test_a_lone_surrogate_is_refused_and_not_quoted() -> None:
    """Text that has no UTF-8 is refused, and the refusal does not repeat it."""
    with pytest.raises(ValueError, match="surrogate") as refusal:
        canonical({"text": "secret\ud800"})
    assert "secret" not in str(refusal.value)
    assert refusal.value.__cause__ is None


def test_bottomless_nesting_is_refused() -> None:
    """Nesting deeper than the encoder goes is an error, not a crash."""
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(ValueError, match="deep"):
        canonical({"a": value})
    while value:
        value = value.pop()


@pytest.mark.parametrize("leaf", [b"", b"[]", b"1", b"{", b'{"a":1}x', b"\xff"])
def test_what_is_no_object_is_no_leaf(leaf: bytes) -> None:
    """Only one whole JSON object can be read back."""
    with pytest.raises(ValueError, match="one JSON object"):
        decode(leaf)
