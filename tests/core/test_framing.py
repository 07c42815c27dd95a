"""WebSocket frames as bytes, against the library's own reading and writing of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.utils import apply_mask

from gateway.core.framing import MASK_LENGTH, frame, is_whole_text, measure, only_frame


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65535, 65536, 70000])
def test_a_frame_is_what_the_library_writes(length: int) -> None:
    """All three forms of the length (RFC 6455 §5.2)."""
    payload = b"x" * length
    assert frame(payload) == Frame(Opcode.TEXT, payload).serialize(mask=False)


@given(st.binary(max_size=300), st.binary(max_size=20), st.integers(0, 20))
def test_a_masked_frame_is_found(payload: bytes, after: bytes, start: int) -> None:
    """Wherever it lies in what came in, and whatever follows."""
    whole = Frame(Opcode.TEXT, payload).serialize(mask=True)
    data = b"\x00" * start + whole + after
    begin, end = measure(data, start)
    assert end == start + len(whole)
    assert is_whole_text(data, start)
    assert apply_mask(data[begin:end], data[begin - MASK_LENGTH : begin]) == payload


@given(st.one_of(st.integers(0, 300), st.sampled_from([65535, 65536, 70000])), st.binary(max_size=3))
def test_a_frame_that_came_alone_is_known_at_one_look(length: int, after: bytes) -> None:
    """Where it lies is what the long way finds; with anything behind it, or in the third form, it goes the long way."""
    whole = Frame(Opcode.TEXT, b"x" * length).serialize(mask=True)
    assert only_frame(whole) == (measure(whole, 0)[0] if length < 65536 else 0)
    assert not after or only_frame(whole + after) == 0


@given(st.binary(max_size=300))
def test_whatever_else_comes_alone_goes_the_long_way(data: bytes) -> None:
    """One look never takes for a whole text what the long way does not."""
    begin = only_frame(data)
    assert begin == 0 or (is_whole_text(data, 0) and measure(data, 0) == (begin, len(data)))


@given(st.binary(min_size=1, max_size=300), st.data())
def test_an_unfinished_frame_is_never_taken_for_a_finished_one(payload: bytes, draw: st.DataObject) -> None:
    """However few of its bytes are there."""
    whole = Frame(Opcode.TEXT, payload).serialize(mask=True)
    part = whole[: draw.draw(st.integers(0, len(whole) - 1))]
    begin, end = measure(part, 0)
    assert begin == 0 or end > len(part)


@pytest.mark.parametrize(
    "other",
    [
        Frame(Opcode.TEXT, b"x", fin=False).serialize(mask=True),
        Frame(Opcode.CONT, b"x").serialize(mask=True),
        Frame(Opcode.BINARY, b"x").serialize(mask=True),
        Frame(Opcode.PING, b"x").serialize(mask=True),
        Frame(Opcode.CLOSE, b"\x03\xe8").serialize(mask=True),
        Frame(Opcode.TEXT, b"x").serialize(mask=False),
        b"\xc1\x81\x00\x00\x00\x00x",
        b"\x83\x81\x00\x00\x00\x00x",
    ],
    # Masks are random: left to themselves the names would differ between two runs of one suite.
    ids=["fragment", "continuation", "binary", "ping", "close", "unmasked", "extension bit", "unknown opcode"],
)
def test_everything_else_is_left_to_the_library(other: bytes) -> None:
    """Fragments, control frames, extension bits, unknown opcodes and unmasked frames are no whole text."""
    assert not is_whole_text(other, 0)
    assert only_frame(other) == 0
