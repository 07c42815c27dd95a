"""Webhooks: the events that Azure sends about this meeting, in the layouts of its documentation and SDKs.

Rules: Call Automation callbacks are arrays of CloudEvents that name the call by serverCallId only; chat events come
from Event Grid, in its own schema and as CloudEvents; every event has an id of its own unless it is a redelivery.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

SERVER_CALL: Final = "aHR0cHM6Ly9jb252LWRlbW8uZXhhbXBsZS5jb20vY29udi9RdWFydGVybHlSZXZpZXc_aT0xJmU9NjM4"
CONNECTION: Final = "491f1300-0c70-4f8c-97b4-94474f2a371b"
CORRELATION: Final = "ccadc1b4-63c5-4e0f-a5c4-8a0b6f6f2d10"
RECORDING: Final = "eyJQbGF0Zm9ybUVuZHBvaW50SWQiOiJkZW1vIn0"
THREAD: Final = "19:meeting_UXVhcnRlcmx5UmV2aWV3@thread.v2"
ALIASES: Final = (SERVER_CALL, CORRELATION, CONNECTION, THREAD)
"""The names by which Azure's sources know the call."""

_TOPIC: Final = "/subscriptions/demo/resourcegroups/demo/providers/microsoft.communication/communicationservices/"

Event = dict[str, Any]


def _call_automation(kind: str, subject: str, data: Event) -> Event:
    known = {"callConnectionId": CONNECTION, "serverCallId": SERVER_CALL, "correlationId": CORRELATION}
    return {
        "id": str(uuid.uuid4()),
        "source": subject,
        "type": f"Microsoft.Communication.{kind}",
        "data": {**data, **known},
        "time": datetime.now(UTC).isoformat(),
        "specversion": "1.0",
        "datacontenttype": "application/json",
        "subject": subject,
    }


def _user(participant: str) -> Event:
    if not participant.startswith("8:acs:"):
        return {"rawId": participant, "kind": "microsoftTeamsUser"}
    return {"rawId": participant, "kind": "communicationUser", "communicationUser": {"id": participant}}


def call_connected() -> Event:
    """Call Automation is in the call."""
    return _call_automation("CallConnected", f"calling/callConnections/{CONNECTION}", {})


def participants_updated(sequence: int, participants: Sequence[str]) -> Event:
    """The whole roster."""
    listed = [{"identifier": _user(each), "isMuted": False, "isOnHold": False} for each in participants]
    data = {"participants": listed, "sequenceNumber": sequence, "type": "participantsUpdated"}
    return _call_automation("ParticipantsUpdated", f"calling/callConnections/{CONNECTION}/ParticipantsUpdated", data)


def recording_state_changed(state: str) -> Event:
    """Recording is `active` or `inactive`."""
    data = {
        "type": "recordingStateChanged",
        "recordingId": RECORDING,
        "state": state,
        "startDateTime": datetime.now(UTC).isoformat(),
        "recordingKind": "azureCommunicationServices",
    }
    subject = f"calling/recordings/{SERVER_CALL}/recordingId/{RECORDING}"
    return _call_automation("RecordingStateChanged", subject, data)


def transcription_started() -> Event:
    """Call Automation's own word for what a participant's client reported before."""
    update = {"transcriptionStatus": "transcriptionStarted", "transcriptionStatusDetails": "subscriptionStarted"}
    result = {"code": 200, "subCode": 0, "message": "Transcription started successfully."}
    data = {"resultInformation": result, "transcriptionUpdate": update, "version": "2023-01-15-preview"}
    return _call_automation("TranscriptionStarted", f"calling/callConnections/{CONNECTION}", data)


def chat_event(
    kind: str, region: str, participant: str, name: str, message: str, version: int, sent_at: datetime, body: str | None
) -> Event:
    """`ChatMessageReceivedInThread`, `…EditedInThread` or `…DeletedInThread`, as Event Grid delivers it."""
    data: Event = {
        "messageId": message,
        "type": "Text",
        "version": str(version),
        "senderDisplayName": name,
        "senderCommunicationIdentifier": {"rawId": participant, "communicationUser": {"id": participant}},
        "composeTime": sent_at.isoformat(),
        "threadId": THREAD,
        "transactionId": "foMkntkKS0O/MhMlIE5Aag.1.1.1.1.1004077250.1",
    }
    if body is not None:
        data |= {"messageBody": body, "metadata": {}}
    return {
        "id": str(uuid.uuid4()),
        "topic": _TOPIC + region,
        "subject": f"thread/{THREAD}/sender/{participant}",
        "data": data,
        "eventType": f"Microsoft.Communication.{kind}",
        "dataVersion": "1.0",
        "metadataVersion": "1",
        "eventTime": datetime.now(UTC).isoformat(),
    }
