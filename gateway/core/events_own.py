"""Our own events, sent by the operator's systems: their data have the fields of the WebSocket frames.

Rules: what is observed is the operator's word, an authority, unless `reported_by` says whose claim is passed on;
`organization` may name whose call it is; an observation's `cause` is kept only if it is a plain word.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gateway.core import fields
from gateway.core.fields import CONTENT_LIMIT, Fields
from gateway.core.happenings import (
    CallReference,
    CapabilityClaimed,
    Happening,
    Ignored,
    MessageSent,
    PresenceReported,
)
from gateway.core.items import Malformed
from gateway.core.occurrences import Occurrence, person, reference
from gateway.core.residency import RAW_ID_LIMIT, resource_of
from gateway.core.types import Capability, State


def _observed(occurrence: Occurrence) -> Happening:
    data = occurrence.data
    reporter = fields.optional_name(data, "reported_by", RAW_ID_LIMIT)
    if reporter is not None and resource_of(reporter) is None:
        raise Malformed("reported_by belongs to no ACS resource")
    try:
        capability = Capability(fields.name(data, "capability"))
        state = State(fields.name(data, "state"))
    except ValueError:
        raise Malformed("capability or state is not a word we know") from None
    return CapabilityClaimed(
        reference=_reference(data),
        organization=_organization(occurrence),
        capability=capability,
        state=state,
        failed=False,
        source="" if reporter else "operator",
        authority=reporter is None,
        reported_by=reporter,
        occurred_at=fields.optional_time(data, "at") or occurrence.occurred_at,
        cause=fields.word(data, "cause"),
    )


def _presence(*, present: bool) -> Callable[[Occurrence], Happening]:
    return lambda occurrence: _reported(occurrence, present=present)


def _reported(occurrence: Occurrence, *, present: bool) -> Happening:
    data = occurrence.data
    display_name = data.get("name") or data.get("displayName")
    someone = person(fields.name(data, "participant", RAW_ID_LIMIT), display_name)
    named = _reference(data)
    if someone is None:
        return Ignored()
    return PresenceReported(
        reference=named,
        organization=_organization(occurrence),
        person=someone,
        present=present,
        occurred_at=fields.optional_time(data, "at") or occurrence.occurred_at,
    )


def _message(occurrence: Occurrence) -> Happening:
    data = occurrence.data
    deleted = data.get("deleted") or False
    content = fields.optional_text(data, "content", CONTENT_LIMIT)
    if not isinstance(deleted, bool) or deleted is not (content is None):
        raise Malformed("a message has either content or deleted: true")
    participant = fields.name(data, "participant", RAW_ID_LIMIT)
    if resource_of(participant) is None:
        raise Malformed("participant belongs to no ACS resource")
    return MessageSent(
        participant=participant,
        thread=fields.name(data, "thread"),
        message=fields.name(data, "message"),
        version=fields.whole(data, "version"),
        sent_at=fields.optional_time(data, "sent_at") or occurrence.occurred_at,
        content=content,
        deleted=deleted,
    )


def _reference(data: Fields) -> CallReference:
    """Our own `call`; a source that knows only another system's names may give those instead."""
    return reference(
        fields.optional_name(data, "call"),
        fields.optional_name(data, "serverCallId"),
        (
            fields.optional_name(data, "correlationId"),
            fields.optional_name(data, "callConnectionId"),
            fields.optional_name(data, "group"),
            fields.optional_name(data, "thread"),
        ),
    )


def _organization(occurrence: Occurrence) -> str | None:
    return fields.optional_name(occurrence.data, "organization", 256) or occurrence.organization


PARSERS: Final[dict[str, Callable[[Occurrence], Happening]]] = {
    "notices.capability.observed": _observed,
    "notices.participant.joined": _presence(present=True),
    "notices.participant.left": _presence(present=False),
    "notices.message.sent": _message,
}
"""Event type to parser."""
