"""Chats: what ACS chat events and Microsoft Graph chat messages mean.

Rules: only the words of users of an ACS resource are kept, and only to be their last message; both families of
chat events (per thread, per user) name the same message; of Graph only the recording's system messages count.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from gateway.core import fields
from gateway.core.fields import CONTENT_LIMIT
from gateway.core.happenings import CapabilityClaimed, Happening, Ignored, MessageSent
from gateway.core.items import Malformed
from gateway.core.occurrences import Occurrence, person, raw_id, reference
from gateway.core.residency import RAW_ID_LIMIT
from gateway.core.types import Capability, State

_RECORDING_DETAIL: Final = "callrecordingeventmessagedetail"
_RECORDING_STATUS: Final = {
    "initial": (State.ACTIVE, False),
    "success": (State.INACTIVE, False),
    "failure": (State.INACTIVE, True),
}
_CHAT: Final = re.compile(r"chats(?:\('(?P<quoted>[^']+)'\)|/(?P<plain>[^/]+))")


def _message(*, deleted: bool) -> Callable[[Occurrence], Happening]:
    return lambda occurrence: _sent(occurrence, deleted=deleted)


def _sent(occurrence: Occurrence, *, deleted: bool) -> Happening:
    data = occurrence.data
    sender = raw_id(data.get("senderCommunicationIdentifier")) or fields.optional_name(data, "senderId", RAW_ID_LIMIT)
    if sender is None:
        raise Malformed("senderCommunicationIdentifier is missing")
    someone = person(sender)
    if someone is None:
        return Ignored()
    content = None if deleted else fields.optional_text(data, "messageBody", CONTENT_LIMIT)
    if content is None and not deleted:
        raise Malformed("messageBody is missing")
    return MessageSent(
        participant=someone.participant,
        thread=fields.name(data, "threadId"),
        message=fields.name(data, "messageId"),
        version=fields.whole(data, "version"),
        sent_at=fields.optional_time(data, "composeTime") or occurrence.occurred_at,
        content=content,
        deleted=deleted,
    )


def _graph_message(occurrence: Occurrence) -> Happening:
    """A chatMessage, or a change notification with it as `resourceData`."""
    message = fields.inner(occurrence.data, "resourceData") or occurrence.data
    detail = fields.inner(message, "eventDetail")
    kind = fields.optional_name(detail, "@odata.type") or ""
    status = fields.optional_name(detail, "callRecordingStatus") or ""
    if not kind.lower().endswith(_RECORDING_DETAIL) or status.lower() not in _RECORDING_STATUS:
        return Ignored()
    state, failed = _RECORDING_STATUS[status.lower()]
    resource = fields.optional_name(occurrence.data, "resource") or occurrence.source
    chat = _CHAT.search(resource)
    thread = fields.optional_name(message, "chatId") or ((chat["quoted"] or chat["plain"]) if chat else None)
    changed_at = fields.optional_time(message, "lastModifiedDateTime")
    return CapabilityClaimed(
        reference=reference(None, None, (fields.optional_name(detail, "callId"), thread)),
        organization=occurrence.organization,
        capability=Capability.RECORDING,
        state=state,
        failed=failed,
        source="graph",
        authority=True,
        reported_by=None,
        occurred_at=changed_at or fields.optional_time(message, "createdDateTime") or occurrence.occurred_at,
        cause=None,
    )


PARSERS: Final[dict[str, Callable[[Occurrence], Happening]]] = {
    "Microsoft.Communication.ChatMessageReceivedInThread": _message(deleted=False),
    "Microsoft.Communication.ChatMessageEditedInThread": _message(deleted=False),
    "Microsoft.Communication.ChatMessageDeletedInThread": _message(deleted=True),
    "Microsoft.Communication.ChatMessageReceived": _message(deleted=False),
    "Microsoft.Communication.ChatMessageEdited": _message(deleted=False),
    "Microsoft.Communication.ChatMessageDeleted": _message(deleted=True),
    "Microsoft.Graph.ChatMessageCreated": _graph_message,
    "Microsoft.Graph.ChatMessageUpdated": _graph_message,
}
"""Event type to parser. Teams updates a recording's message in place, so both Graph types are read."""
