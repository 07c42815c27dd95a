"""What each event means: a table from event type to the parser that reads it.

Rules: an unknown type is accepted and ignored; a known type that lacks what makes it meaningful is a refusal
whose text never quotes the input.
"""

from __future__ import annotations

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

__all__ = [
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
]
