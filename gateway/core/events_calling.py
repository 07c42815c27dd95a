"""Calls: what Call Automation callbacks and Event Grid calling events mean.

Rules: Call Automation knows no pause, its `inactive` is a stop; a failure is a stop that says so; our own leg's
end is not the call's; the roster is whole and ordered by its sequence number; a recording file is late evidence.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from gateway.core import fields
from gateway.core.happenings import (
    CallBegun,
    CallOver,
    CapabilityClaimed,
    Happening,
    Ignored,
    PresenceReported,
    RecordingFound,
    RosterGiven,
    abbreviate,
)
from gateway.core.items import Malformed
from gateway.core.occurrences import Occurrence, connection, person, raw_id, reference, server_reference
from gateway.core.types import Capability, Person, State

_TRANSCRIPTION_STATES: Final = {
    "transcriptionstarted": State.ACTIVE,
    "transcriptionresumed": State.ACTIVE,
    "transcriptionstopped": State.INACTIVE,
}
_RECORDING_STATES: Final = {"active": State.ACTIVE, "inactive": State.INACTIVE}
_RECORDED: Final = re.compile(r"recording/call/(?P<call>.+)/serverCallId/(?P<server>.+)/recordingId/")
_PARTICIPANT: Final = re.compile(r"call/.+/participant/(?P<raw_id>[^/]+)")
_LONGEST_RECORDING: Final = timedelta(days=366)


def _claim(occurrence: Occurrence, capability: Capability, state: State, *, failed: bool = False) -> CapabilityClaimed:
    named = server_reference(occurrence)
    instance = connection(occurrence)
    if capability is Capability.RECORDING:
        instance = fields.optional_name(occurrence.data, "recordingId") or instance
    return CapabilityClaimed(
        reference=named,
        organization=occurrence.organization,
        capability=capability,
        state=state,
        failed=failed,
        source=f"call_automation/{abbreviate(instance or named.fallback, 16)}",
        authority=True,
        reported_by=None,
        occurred_at=occurrence.occurred_at,
        cause=_failure(occurrence) if failed else fields.word(occurrence.data, "recordingKind"),
    )


def _failure(occurrence: Occurrence) -> str | None:
    """The service's own numbers for what went wrong, as `code.subcode`."""
    result = fields.inner(occurrence.data, "resultInformation")
    code, sub_code = result.get("code"), result.get("subCode")
    return f"{code}.{sub_code}" if isinstance(code, int) and isinstance(sub_code, int) else None


def _recording_changed(occurrence: Occurrence) -> Happening:
    state = _RECORDING_STATES.get(fields.name(occurrence.data, "state").lower())
    if state is None:
        raise Malformed("state is not active or inactive")
    return _claim(occurrence, Capability.RECORDING, state)


def _transcription_updated(occurrence: Occurrence) -> Happening:
    update = fields.inner(occurrence.data, "transcriptionUpdate")
    status = fields.optional_name(update, "transcriptionStatus") or ""
    state = _TRANSCRIPTION_STATES.get(status.lower())
    return Ignored() if state is None else _claim(occurrence, Capability.TRANSCRIPTION, state)


def _always(capability: Capability, state: State, *, failed: bool = False) -> Callable[[Occurrence], Happening]:
    return lambda occurrence: _claim(occurrence, capability, state, failed=failed)


def _roster(occurrence: Occurrence) -> Happening:
    listed = occurrence.data.get("participants")
    if not isinstance(listed, list):
        raise Malformed("participants is not a list")
    people: dict[str, Person] = {}
    others = 0
    for entry in listed:
        found = person(raw_id(entry))
        if found is None:
            others += 1
        else:
            people[found.participant] = found
    named = server_reference(occurrence)
    return RosterGiven(
        reference=named,
        organization=occurrence.organization,
        connection=abbreviate(connection(occurrence) or named.fallback, 16),
        sequence=fields.whole(occurrence.data, "sequenceNumber"),
        people=tuple(people.values()),
        others=others,
        occurred_at=occurrence.occurred_at,
    )


def _begun(occurrence: Occurrence) -> Happening:
    return CallBegun(server_reference(occurrence), occurrence.organization, occurrence.occurred_at)


def _over(occurrence: Occurrence) -> Happening:
    return CallOver(server_reference(occurrence), occurrence.organization, occurrence.occurred_at)


def _presence(present: bool) -> Callable[[Occurrence], Happening]:
    return lambda occurrence: _reported(occurrence, present=present)


def _reported(occurrence: Occurrence, *, present: bool) -> Happening:
    found = _PARTICIPANT.search(occurrence.subject or "")
    participant = raw_id(occurrence.data.get("user")) or (found["raw_id"] if found else None)
    if participant is None:
        raise Malformed("user is missing")
    someone = person(participant, occurrence.data.get("displayName"))
    if someone is None:
        return Ignored()
    return PresenceReported(
        reference=server_reference(occurrence),
        organization=occurrence.organization,
        person=someone,
        present=present,
        occurred_at=occurrence.occurred_at,
    )


def _recording_found(occurrence: Occurrence) -> Happening:
    """The data name no call; the subject does: `/recording/call/{call}/serverCallId/{id}/recordingId/{id}`."""
    found = _RECORDED.search(occurrence.subject or "")
    started_at = fields.optional_time(occurrence.data, "recordingStartTime")
    if found is None or started_at is None:
        raise Malformed("the subject names no call, or recordingStartTime is missing")
    duration = timedelta(milliseconds=fields.whole(occurrence.data, "recordingDurationMs"))
    return RecordingFound(
        reference=reference(None, found["server"], (found["call"],)),
        organization=occurrence.organization,
        started_at=started_at,
        duration=min(duration, _LONGEST_RECORDING),
    )


PARSERS: Final[dict[str, Callable[[Occurrence], Happening]]] = {
    "Microsoft.Communication.RecordingStateChanged": _recording_changed,
    "Microsoft.Communication.StartRecordingFailed": _always(Capability.RECORDING, State.INACTIVE, failed=True),
    "Microsoft.Communication.TranscriptionStarted": _always(Capability.TRANSCRIPTION, State.ACTIVE),
    "Microsoft.Communication.TranscriptionResumed": _always(Capability.TRANSCRIPTION, State.ACTIVE),
    "Microsoft.Communication.TranscriptionUpdated": _transcription_updated,
    "Microsoft.Communication.TranscriptionStopped": _always(Capability.TRANSCRIPTION, State.INACTIVE),
    "Microsoft.Communication.TranscriptionFailed": _always(Capability.TRANSCRIPTION, State.INACTIVE, failed=True),
    "Microsoft.Communication.ParticipantsUpdated": _roster,
    "Microsoft.Communication.CallConnected": _begun,
    "Microsoft.Communication.CallDisconnected": lambda _: Ignored(),
    "Microsoft.Communication.CallStarted": _begun,
    "Microsoft.Communication.CallEnded": _over,
    "Microsoft.Communication.CallParticipantAdded": _presence(present=True),
    "Microsoft.Communication.CallParticipantRemoved": _presence(present=False),
    "Microsoft.Communication.RecordingFileStatusUpdated": _recording_found,
}
"""Event type to parser. CallDisconnected is the end of our own leg and says nothing of the call."""
