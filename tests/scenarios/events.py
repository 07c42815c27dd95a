"""Events as their sources send them: CloudEvents of Call Automation, Event Grid and the operator's own systems."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

Event = dict[str, Any]


def stamp(moment: datetime | None = None) -> str:
    """A time as it stands on the wire; now by default."""
    return (moment or datetime.now(UTC)).isoformat()


def event(kind: str, data: Event, *, at: datetime | None = None, source: str = "tests", id: str | None = None) -> Event:
    """One CloudEvent; its id is new unless given."""
    return {
        "specversion": "1.0",
        "id": id or str(uuid.uuid4()),
        "source": source,
        "type": kind,
        "time": stamp(at),
        "data": data,
    }


def recording(call: str, state: str = "active", *, recording_id: str = "r1", **more: Any) -> Event:
    """Call Automation's word about a recording; `call` is its serverCallId. It names no organisation."""
    data = {"serverCallId": call, "recordingId": recording_id, "state": state}
    return event("Microsoft.Communication.RecordingStateChanged", data, **more)


def transcription(call: str, change: str = "Started", **more: Any) -> Event:
    """Call Automation's word about a transcription: `Started`, `Resumed`, `Stopped` or `Failed`."""
    data = {"serverCallId": call, "callConnectionId": f"connection-{call}"}
    return event(f"Microsoft.Communication.Transcription{change}", data, **more)


def observed(
    call: str,
    state: str = "active",
    *,
    capability: str = "recording",
    organization: str | None = "contoso",
    reported_by: str | None = None,
    **more: Any,
) -> Event:
    """The operator's word, or a client's claim that the operator passes on."""
    data = {"call": call, "capability": capability, "state": state}
    data |= {"organization": organization} if organization else {}
    data |= {"reported_by": reported_by} if reported_by else {}
    return event("notices.capability.observed", data, **more)


def joined(call: str, participant: str, name: str | None = None, **more: Any) -> Event:
    """The operator says that somebody came."""
    return event("notices.participant.joined", {"call": call, "participant": participant, "name": name}, **more)


def left(call: str, participant: str, **more: Any) -> Event:
    """The operator says that somebody left."""
    return event("notices.participant.left", {"call": call, "participant": participant}, **more)


def roster(call: str, sequence: int, *people: str, **more: Any) -> Event:
    """Call Automation's whole list of participants."""
    data = {
        "serverCallId": call,
        "callConnectionId": f"connection-{call}",
        "sequenceNumber": sequence,
        "participants": [{"identifier": {"rawId": each}} for each in people],
    }
    return event("Microsoft.Communication.ParticipantsUpdated", data, **more)


def call_ended(call: str, **more: Any) -> Event:
    """Event Grid says that the call is over."""
    return event("Microsoft.Communication.CallEnded", {"serverCallId": call}, **more)


def message(
    participant: str,
    content: str | None,
    *,
    thread: str = "thread-1",
    id_of_message: str = "message-1",
    version: int = 1,
    sent_at: datetime | None = None,
    **more: Any,
) -> Event:
    """A message as the operator's system tells of it; without content it was deleted."""
    data = {
        "participant": participant,
        "thread": thread,
        "message": id_of_message,
        "version": version,
        "sent_at": stamp(sent_at),
        **({"deleted": True} if content is None else {"content": content}),
    }
    return event("notices.message.sent", data, **more)
