"""What an event can mean, in the gateway's own words: what event parsers produce and the hub consumes.

Rules: values only; times are aware UTC; a happening names its call the way its event did, never resolved;
people here are users of an ACS resource, everyone else was counted or dropped by the parser.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway.core.types import Capability, Person, State


def abbreviate(name: str, digits: int) -> str:
    """The first hexadecimal `digits` of SHA-256 over `name`: stable, and it tells nothing of the name."""
    return hashlib.sha256(name.encode()).hexdigest()[:digits]


def unnamed(name: str) -> str:
    """The call id of a call that is known by no more than this name, which may say too much to be an id itself."""
    return f"unnamed-{abbreviate(name, 32)}"


@dataclass(frozen=True, slots=True)
class CallReference:
    """How an event names its call.

    `call` is our own call id, where the event has it. `names` are the source's own names, to be matched with
    aliases in this order: serverCallId, correlationId, callConnectionId, group, room, thread. `fallback` is
    the call id to use when neither leads to a known call.
    """

    call: str | None
    names: tuple[str, ...]
    fallback: str


@dataclass(frozen=True, slots=True)
class CapabilityClaimed:
    """One source's claim about a capability.

    `source` is `operator`, `graph`, or `call_automation/<16 hex digits>` (one recording, or one connection);
    it is empty where `reported_by` names the participant whose claim is passed on. `failed` marks a stop by
    failure. `cause` is a short word of the source, never free text.
    """

    reference: CallReference
    organization: str | None
    capability: Capability
    state: State
    failed: bool
    source: str
    authority: bool
    reported_by: str | None
    occurred_at: datetime
    cause: str | None


@dataclass(frozen=True, slots=True)
class RosterGiven:
    """The whole roster as one connection saw it; a higher `sequence` of the same `connection` is newer.

    `people` are users of ACS resources, `others` counts everyone else.
    """

    reference: CallReference
    organization: str | None
    connection: str
    sequence: int
    people: tuple[Person, ...]
    others: int
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class PresenceReported:
    """A source says that one person is now in the call (`present`), or no longer."""

    reference: CallReference
    organization: str | None
    person: Person
    present: bool
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class CallBegun:
    """A source says that the call is on, without a word about who is in it."""

    reference: CallReference
    organization: str | None
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class CallOver:
    """A source that sees the call itself, not one leg of it, says that it ended."""

    reference: CallReference
    organization: str | None
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class MessageSent:
    """A participant's chat message as of `version`; `content` is None exactly when it was `deleted`."""

    participant: str
    thread: str
    message: str
    version: int
    sent_at: datetime
    content: str | None
    deleted: bool


@dataclass(frozen=True, slots=True)
class RecordingFound:
    """A recording file turned up: late evidence of a recording from `started_at` for `duration`."""

    reference: CallReference
    organization: str | None
    started_at: datetime
    duration: timedelta


@dataclass(frozen=True, slots=True)
class Ignored:
    """The event means nothing to the gateway; it is accepted, and a duplicate of it is recognised."""


Happening = (
    CapabilityClaimed | RosterGiven | PresenceReported | CallBegun | CallOver | MessageSent | RecordingFound | Ignored
)


@dataclass(frozen=True, slots=True)
class Event:
    """One event taken in; `digest` identifies it by source and id (CloudEvents §3.1), however it arrives.

    `type` is the source's word for it, or `other` where that word is not fit to be written down.
    """

    digest: bytes
    type: str
    occurred_at: datetime
    happening: Happening


@dataclass(frozen=True, slots=True)
class Refused:
    """An item that could not be taken: why (quotes nothing), SHA-256 of its bytes, and by which door it came.

    A door is `http` or `mqtt`.
    """

    reason: str
    digest: bytes
    door: str
