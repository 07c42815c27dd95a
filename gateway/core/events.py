"""What each event means: a table from event type to the parser that reads it.

Rules: an unknown type is accepted and ignored; a known type that lacks what makes it meaningful is a refusal
whose text never quotes the input; an event without a time happened when it was received.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Final

from gateway.core import events_calling, events_chat, events_own, fields
from gateway.core.cloudevents import Envelope, Unreadable
from gateway.core.errors import Refusal
from gateway.core.happenings import (
    CallBegun,
    CallOver,
    CallReference,
    CapabilityClaimed,
    Event,
    Happening,
    Ignored,
    MessageSent,
    PresenceReported,
    RecordingFound,
    Refused,
    RosterGiven,
)
from gateway.core.occurrences import Occurrence

__all__ = [
    "PARSERS",
    "CallBegun",
    "CallOver",
    "CallReference",
    "CapabilityClaimed",
    "Event",
    "Happening",
    "Ignored",
    "MessageSent",
    "PresenceReported",
    "RecordingFound",
    "Refused",
    "RosterGiven",
    "digest",
    "parse",
    "understand",
]

PARSERS: Final[dict[str, Callable[[Occurrence], Happening]]] = {
    event_type.lower(): parser
    for table in (events_calling.PARSERS, events_chat.PARSERS, events_own.PARSERS)
    for event_type, parser in table.items()
}
"""Event type in lower case to parser; every other type is ignored."""

_PLAIN_TYPE: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}")


def digest(source: str, event_id: str) -> bytes:
    """SHA-256 over source and id, each led by its length in eight bytes: what makes two events the same."""
    parts = (source.encode(), event_id.encode())
    return hashlib.sha256(b"".join(len(part).to_bytes(8, "big") + part for part in parts)).digest()


def parse(envelope: Envelope, *, topics: Mapping[str, str], received_at: datetime) -> Event:
    """What the event in `envelope` means; raises `Refusal` if it is malformed.

    `topics` maps an Event Grid topic, in lower case (Azure compares resource ids without case), to the
    organisation its events belong to.
    """
    occurred_at = envelope.time or received_at
    parser = PARSERS.get(envelope.type.lower())
    happening: Happening = Ignored()
    if parser is not None:
        happening = parser(
            Occurrence(
                source=envelope.source,
                subject=envelope.subject,
                data=fields.members(envelope.data, "data"),
                organization=topics.get(envelope.source.lower()),
                occurred_at=occurred_at,
            )
        )
    return Event(
        digest=digest(envelope.source, envelope.id),
        type=envelope.type if _PLAIN_TYPE.fullmatch(envelope.type) else "other",
        occurred_at=occurred_at,
        happening=happening,
    )


def understand(
    read: Iterable[Envelope | Unreadable], *, topics: Mapping[str, str], received_at: datetime, door: str
) -> Iterator[Event | Refused]:
    """Each item that was read, in order, as an event or as refused; one bad item spoils only itself."""
    for item in read:
        if isinstance(item, Unreadable):
            yield Refused(item.reason, item.fingerprint, door)
            continue
        try:
            yield parse(item, topics=topics, received_at=received_at)
        except Refusal as refusal:
            yield Refused(refusal.detail, item.fingerprint, door)
