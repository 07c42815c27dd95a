"""WebSocket frames as bytes, against the library's own reading and writing of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from gateway.core.framing import frame, is_whole_text, measure, unmask


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65535, 65536, 70000])
def test_a_frame_is_what_the_library_writes(length: int) -> None:
    """All three forms of the length (RFC 6455 §5.2)."""
    payload = b"x" * length
    assert frame(payload) == Frame(Opcode.TEXT, payload).serialize(mask=False)


@given(st.binary(max_size=300), st.binary(max_size=20), st.integers(0, 20))
def test_a_masked_frame_is_found_and_unmasked(payload: bytes, after: bytes, start: int) -> None:
    """Wherever it lies in what came in, and whatever follows."""
    whole = Frame(Opcode.TEXT, payload).serialize(mask=True)
    data = b"\x00" * start + whole + after
    begin, end = measure(data, start)
    assert end == start + len(whole)
    assert is_whole_text(data, start)
    assert unmask(data, begin, end) == payload


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
