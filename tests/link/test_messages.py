"""The messages of a link: whatever is said, in whatever pieces, is heard as it was said; what is garbage is found."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import pairwise
from typing import TypeVar

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.frames import Ack, Join, Leave, Message, Observed
from gateway.core.types import Capability, Level, Role, State
from gateway.link import messages as m

W = TypeVar("W", bound=m.Word)

NUMBERS = st.integers(1, 2**50)
WORDS = st.text(max_size=20)
MAYBE = st.none() | WORDS
SETS = st.frozensets(WORDS, max_size=3)
FIRST, LAST = (datetime(year, 1, 1, tzinfo=UTC).replace(tzinfo=None) for year in (1970, 9000))
MOMENTS = st.datetimes(FIRST, LAST, timezones=st.just(UTC))
NAMES = st.text(min_size=1, max_size=20)
FRAMES = st.one_of(
    st.builds(Join, id=NAMES, call=NAMES, revision=st.none() | st.integers(0, 2**53)),
    st.builds(Leave, id=NAMES, call=NAMES),
    st.builds(
        Observed,
        call=NAMES,
        capability=st.sampled_from(Capability),
        state=st.sampled_from(State),
        at=MOMENTS,
        cause=MAYBE,
    ),
    st.builds(
        Message, id=NAMES, thread=NAMES, message=NAMES, version=st.integers(0, 2**53), sent_at=MOMENTS, content=WORDS
    ),
)
TO_REGION: st.SearchStrategy[m.ToRegion] = st.one_of(
    st.builds(m.Acked, NUMBERS, NAMES, st.sampled_from(Level), MOMENTS, MAYBE),
    st.builds(m.Said, NUMBERS, FRAMES),
    st.builds(
        m.Entered,
        *(NUMBERS, WORDS, WORDS, WORDS, WORDS, st.sampled_from(Role)),
        *(SETS, MAYBE, MAYBE, WORDS, SETS, MOMENTS),
    ),
    st.builds(m.Asked, NUMBERS, MAYBE),
    st.builds(m.Renewed, NUMBERS, SETS, MAYBE, MOMENTS),
    st.builds(m.Lost, NUMBERS, WORDS),
    st.builds(m.FellBehind, NUMBERS),
    st.builds(m.CaughtUp, NUMBERS),
    st.builds(m.TurnedAway, WORDS),
    st.builds(m.Written, st.lists(NUMBERS)),
    st.builds(m.Counted, NUMBERS, st.dictionaries(NUMBERS, NUMBERS), st.lists(st.floats(0, 9))),
    st.builds(m.Listening),
)
TO_WORKER: st.SearchStrategy[m.ToWorker] = st.one_of(
    st.builds(m.Tell, st.binary(), st.lists(NUMBERS)),
    st.builds(m.Mark),
    st.builds(m.Shown, NUMBERS, MAYBE, st.none() | st.tuples(NUMBERS, NUMBERS, st.lists(st.binary()))),
    st.builds(m.End, NUMBERS, st.integers(1000, 4999), WORDS),
    st.builds(m.Believe, st.binary()),
    st.builds(m.Drain, st.floats(0, 9)),
    st.builds(
        m.Begin,
        *(NUMBERS, WORDS, st.lists(WORDS).map(tuple), st.dictionaries(WORDS, st.tuples(WORDS, WORDS)), SETS),
        *(WORDS, WORDS, st.binary(), NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS, WORDS),
    ),
)
CUTS = st.lists(st.integers(0, 2**16))


def heard(batches: m.Batches[W], data: bytes, cuts: Sequence[int]) -> list[list[W]]:
    """What comes out when the bytes come in, cut at these places."""
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [words for start, end in pairwise(edges) for words in batches.feed(data[start:end])]


@settings(max_examples=40)
@given(st.lists(st.lists(TO_REGION)), CUTS)
def test_what_a_worker_says_is_heard_as_it_was_said(said: list[list[m.ToRegion]], cuts: list[int]) -> None:
    """Batch by batch, wherever a read begins and ends."""
    assert heard(m.from_workers(), b"".join(m.batch(words) for words in said), cuts) == said


@settings(max_examples=40)
@given(st.lists(st.lists(TO_WORKER)), CUTS)
def test_what_the_region_service_says_is_heard_as_it_was_said(said: list[list[m.ToWorker]], cuts: list[int]) -> None:
    """The same the other way."""
    assert heard(m.from_region(), b"".join(m.batch(words) for words in said), cuts) == said


@given(MOMENTS)
def test_a_time_is_a_frames_time_afterwards(at: datetime) -> None:
    """To the microsecond and in UTC, so that what the ledger says of a client's clock is the same either way."""
    ((word,),) = heard(m.from_workers(), m.batch([m.Acked(1, "n", Level.RECEIVED, at, None)]), [])
    assert isinstance(word, m.Acked)
    assert Ack(notice="n", level=Level.RECEIVED, at=word.at) == Ack(notice="n", level=Level.RECEIVED, at=at)
    assert word.at.tzinfo is UTC


@given(st.binary(min_size=1))
def test_garbage_is_found(body: bytes) -> None:
    """A batch of any bytes is read or raises `ValueError`; nothing else is ever raised."""
    with suppress(ValueError):
        assert len(heard(m.from_workers(), len(body).to_bytes(m.LENGTH, "big") + body, [])) == 1


@pytest.mark.parametrize(
    "data",
    [
        (m.LONGEST + 1).to_bytes(m.LENGTH, "big"),
        m.batch([m.Tell(b"x", [1])]),
        b"\x00\x00\x00\x01\xc0",
        len(msgspec.msgpack.encode([[99, 1]])).to_bytes(m.LENGTH, "big") + msgspec.msgpack.encode([[99, 1]]),
    ],
    ids=["too long", "of the other end", "no array", "of no kind"],
)
def test_what_no_worker_says_is_refused(data: bytes) -> None:
    """A length without end, the region service's own words, and words that do not exist."""
    with pytest.raises(ValueError):  # the message is the library's
        heard(m.from_workers(), data, [])


@given(st.lists(NUMBERS))
def test_a_fan_out_weighs_as_much_as_it_has_sockets(numbers: list[int]) -> None:
    """So that a long one is followed by a turn of the loop."""
    assert m.Tell(b"", numbers).weight == len(numbers)
    assert m.Mark().weight == 1
