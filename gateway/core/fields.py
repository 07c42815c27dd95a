"""Reads typed fields out of decoded JSON objects of strangers, and the times and names in them.

Rules: what a field must be is checked here and nowhere else; a refusal names the field and never quotes its
value; unknown fields are nobody's business; null counts as absent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from gateway.core.items import Malformed

NAME_LIMIT: Final = 2048
"""The longest name (call, thread, source, id) taken, in characters. A serverCallId has about 300."""
CONTENT_LIMIT: Final = 262_144
"""The longest message taken, in characters; ACS itself ends at 28 KiB."""
NUMBER_LIMIT: Final = 2**53
"""Integers from here on are not exact in every JSON implementation (RFC 8259 §6)."""

_TIME: Final = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)[Tt ](?P<clock>\d\d:\d\d):(?P<second>\d\d)(?:\.(?P<fraction>\d{1,18}))?"
    r"(?P<offset>[Zz]|[+-]\d\d:\d\d)",
    re.ASCII,
)
_DIGITS: Final = re.compile(r"[0-9]{1,16}")
_WORD: Final = re.compile(r"[A-Za-z0-9_.:/-]{1,64}")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")

Fields = Mapping[str, object]
"""The members of a decoded JSON object."""


def members(value: object, what: str) -> Fields:
    """`value` as a JSON object; raises `Malformed` naming `what`."""
    if not isinstance(value, dict):
        raise Malformed(f"{what} is not an object")
    return value


def inner(fields: Fields, field: str) -> Fields:
    """The object in `field`, or an empty one where there is none."""
    value = fields.get(field)
    return value if isinstance(value, dict) else {}


def optional_text(fields: Fields, field: str, limit: int = NAME_LIMIT) -> str | None:
    """The string in `field` as it is; None if absent; raises `Malformed` beyond `limit` characters."""
    value = fields.get(field)
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > limit or not is_unicode(value):
        raise Malformed(f"{field} is not a string, or too long")
    return value


def optional_name(fields: Fields, field: str, limit: int = NAME_LIMIT) -> str | None:
    """The non-empty string without control characters in `field`; None if absent or empty."""
    value = optional_text(fields, field, limit)
    if value is not None and _CONTROL.search(value):
        raise Malformed(f"{field} has control characters")
    return value or None


def name(fields: Fields, field: str, limit: int = NAME_LIMIT) -> str:
    """The non-empty string without control characters in `field`."""
    value = optional_name(fields, field, limit)
    if value is None:
        raise Malformed(f"{field} is missing")
    return value


def word(fields: Fields, field: str) -> str | None:
    """The short plain word in `field`, fit for the ledger; None for anything else, which may name people."""
    value = fields.get(field)
    return value if isinstance(value, str) and _WORD.fullmatch(value) else None


def whole(fields: Fields, field: str) -> int:
    """The integer from 0 to 2^53 - 1 in `field`; an integral float or a string of digits counts too."""
    value = fields.get(field)
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        value = float(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < NUMBER_LIMIT:
        raise Malformed(f"{field} is not a whole number in range")
    return value


def optional_time(fields: Fields, field: str) -> datetime | None:
    """The RFC 3339 time in `field`, in UTC; None if absent."""
    value = fields.get(field)
    if value is None or value == "":
        return None
    moment = instant(value) if isinstance(value, str) else None
    if moment is None:
        raise Malformed(f"{field} is not an RFC 3339 time")
    return moment


def instant(text: str) -> datetime | None:
    """The moment an RFC 3339 text names, in UTC, cut to microseconds; None if it names none.

    A leap second counts as the second before it.
    """
    found = _TIME.fullmatch(text)
    if found is None:
        return None
    second = "59" if found["second"] == "60" else found["second"]
    micro = (found["fraction"] or "")[:6].ljust(6, "0")
    offset = "+00:00" if found["offset"] in "Zz" else found["offset"]
    try:
        moment = datetime.fromisoformat(f"{found['date']}T{found['clock']}:{second}.{micro}{offset}")
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def is_unicode(value: str) -> bool:
    """Whether `value` can be written as UTF-8: it has no lone surrogates."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
