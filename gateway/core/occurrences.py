"""What event parsers start from: an event's data beside what its envelope says, and how ACS names calls and people.

Rules: three layouts of a participant exist in the wild and all are read; only users of an ACS resource become
persons; a name that everybody shares (the all-zero GUID) names nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from gateway.core import fields
from gateway.core.fields import Fields
from gateway.core.happenings import CallReference, unnamed
from gateway.core.items import Malformed
from gateway.core.residency import RAW_ID_LIMIT, resource_of
from gateway.core.types import Person

DISPLAY_NAME_LIMIT: Final = 256
"""Display names are cut here, in characters."""

_NOBODY: Final = "00000000-0000-0000-0000-000000000000"
_CONNECTION: Final = re.compile(r"callConnections/([^/]+)")
_RECORDED_CALL: Final = re.compile(r"recordings/(.+?)/recordingId/")
_WRAPPERS: Final = ("communicationIdentifier", "identifier")


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One event with its envelope resolved; `occurred_at` is the event's time, or when it was received."""

    source: str
    subject: str | None
    data: Fields
    organization: str | None
    occurred_at: datetime


def raw_id(value: object) -> str | None:
    """The raw id in an ACS identifier of any layout: bare, or nested in a wrapper, with or without `kind`."""
    if not isinstance(value, dict):
        return None
    for wrapper in _WRAPPERS:
        if isinstance(value.get(wrapper), dict):
            return raw_id(value[wrapper])
    user = fields.inner(value, "communicationUser")
    return fields.optional_name(value, "rawId", RAW_ID_LIMIT) or fields.optional_name(user, "id", RAW_ID_LIMIT)


def person(participant: str | None, display_name: object = None) -> Person | None:
    """The person with that raw id; None for everyone who is not a user of an ACS resource.

    A display name that cannot be used is dropped: nobody goes untold because of it.
    """
    if participant is None or resource_of(participant) is None:
        return None
    usable = isinstance(display_name, str) and fields.is_unicode(display_name) and display_name.strip()
    return Person(participant, usable[:DISPLAY_NAME_LIMIT] if usable else None)


def reference(call: str | None, server_call: str | None, others: Iterable[str | None]) -> CallReference:
    """How an event names its call; raises `Malformed` if it does not."""
    named = dict.fromkeys(name for name in (server_call, *others) if name and name != _NOBODY)
    names = tuple(named)
    if call is None and not names:
        raise Malformed("no call is named")
    fallback = call or server_call or unnamed(names[0])
    return CallReference(call=call, names=names, fallback=fallback)


def server_reference(occurrence: Occurrence) -> CallReference:
    """The reference of an event that ACS itself sent about a call."""
    data = occurrence.data
    recorded = _RECORDED_CALL.search(occurrence.source)
    return reference(
        None,
        fields.optional_name(data, "serverCallId") or (recorded[1] if recorded else None),
        (
            fields.optional_name(data, "correlationId"),
            connection(occurrence),
            fields.optional_name(fields.inner(data, "group"), "id"),
            fields.optional_name(fields.inner(data, "room"), "id"),
        ),
    )


def connection(occurrence: Occurrence) -> str | None:
    """The call connection an event of Call Automation came from."""
    found = _CONNECTION.search(occurrence.source)
    return fields.optional_name(occurrence.data, "callConnectionId") or (found[1] if found else None)
