"""Moments as the tables and the ledger write them.

Rules: tables hold whole microseconds since 1970-01-01T00:00Z, so that no comparison rounds; entries hold RFC 3339 UTC
with milliseconds; a naive datetime is refused.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def microseconds(moment: datetime) -> int:
    """`moment` in microseconds since the epoch. Raises TypeError if it is naive."""
    return (moment - _EPOCH) // _MICROSECOND


def from_microseconds(value: int) -> datetime:
    """The aware UTC moment `value` microseconds after the epoch."""
    return _EPOCH + timedelta(microseconds=value)


def rfc3339(moment: datetime) -> str:
    """`moment` as RFC 3339 UTC with milliseconds, cut, not rounded. Raises ValueError if it is naive."""
    if moment.tzinfo is None:
        raise ValueError("a moment needs a time zone")
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
