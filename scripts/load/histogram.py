"""High dynamic range histograms of times: the one place that knows the library.

Rules: microseconds inside, seconds outside, three significant digits from one microsecond to five minutes; what is
longer counts as five minutes.
"""

from __future__ import annotations

import binascii
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final, Self

from hdrh.codec import HdrCookieException, HdrHistogramSettingsException, HdrLengthException
from hdrh.histogram import HdrHistogram

PARTS: Final = {"p50": 50.0, "p99": 99.0, "p99.9": 99.9, "max": 100.0}
"""What is shown of a histogram: names, and percentiles."""

_LONGEST: Final = 300_000_000
_MALFORMED: Final = (
    *(HdrCookieException, HdrHistogramSettingsException, HdrLengthException),
    *(binascii.Error, zlib.error, IndexError, ValueError),
)
"""What the library lets through when it reads something that is no histogram."""
_DIGITS: Final = 3
_KEPT_BITS: Final = 11
"""Bits of a number that matter where three digits do (2^11 > 2 · 10^3)."""


class Histogram:
    """How often each time was seen; of any number of values, in constant memory."""

    def __init__(self) -> None:
        self._counts = HdrHistogram(1, _LONGEST, _DIGITS)

    def __len__(self) -> int:
        """How many values it holds."""
        return int(self._counts.get_total_count())

    def record(self, values: Iterable[float]) -> None:
        """Take in `values`, in seconds."""
        # Values that the histogram cannot tell apart are counted first: recording is the dear part.
        alike = Counter(_rounded(int(each * 1e6)) for each in values)
        for value, count in alike.items():
            self._counts.record_value(value, count)

    def add(self, other: Histogram) -> None:
        """Take in everything `other` holds."""
        self._counts.add(other._counts)

    def at(self, percentile: float) -> float:
        """The value in seconds that so many percent do not exceed; 0 of nothing, the greatest at 100."""
        if not len(self):
            return 0.0
        if percentile >= 100.0:
            return float(self._counts.get_max_value()) / 1e6
        return float(self._counts.get_value_at_percentile(percentile)) / 1e6

    def parts(self) -> dict[str, float]:
        """The values of `PARTS`, in seconds."""
        return {name: self.at(percentile) for name, percentile in PARTS.items()}

    def curve(self) -> Iterator[tuple[float, float]]:
        """(percentile below 100, seconds), for plots in which each next nine takes as much room."""
        highest = 100.0 * (1 - 1 / max(2, len(self)))
        left = 100.0
        while 100.0 - left < highest:
            yield 100.0 - left, self.at(100.0 - left)
            left /= 1.25
        yield highest, self.at(100.0)

    def encode(self) -> str:
        """Everything as text: HdrHistogram's V2 format, compressed, base64."""
        return bytes(self._counts.encode()).decode("ascii")

    @classmethod
    def decode(cls, text: str) -> Self:
        """What `encode` made. Raises `ValueError` if it is none of that."""
        made = cls()
        try:
            made._counts.decode_and_add(text)
        except _MALFORMED as error:
            raise ValueError(f"not an encoded histogram: {error}") from None
        return made


def _rounded(value: int) -> int:
    if value < 1:
        return 1
    if value >= _LONGEST:
        return _LONGEST
    spare = max(0, value.bit_length() - _KEPT_BITS)
    return value >> spare << spare
