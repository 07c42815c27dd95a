"""Envelopes: CloudEvents 1.0 in every mode, the Event Grid schema, and Graph change notifications.

Rules: an envelope is judged by what it holds, not by the media type it came under; attribute names are compared
without case (an official sample spells `specVersion`); one bad item refuses itself alone; nothing here knows
what an event means.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import unquote

from gateway.core import fields, items
from gateway.core.fields import Fields
from gateway.core.items import Malformed

_PREFIX: Final = "ce-"
_JSON: Final = re.compile(r"\s*(?:[\w.+-]+/(?:[\w.-]+\+)?json\b.*)?", re.IGNORECASE | re.DOTALL)
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Envelope:
    """One event as it came: its attributes and its data, and SHA-256 of its bytes.

    `source` is the Event Grid schema's `topic` where the event came in that schema.
    """

    id: str
    source: str
    type: str
    subject: str | None
    time: datetime | None
    data: object
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An item that holds no envelope: why, and SHA-256 of its bytes."""

    reason: str
    fingerprint: bytes


Read = Iterator[Envelope | Unreadable]
"""What was read, item by item, in the order in which it came."""


def read_http(body: bytes, headers: Mapping[str, str]) -> Read:
    """The events of one HTTP request (CloudEvents HTTP binding §3; Event Grid); `headers` by lower-case name."""
    content_type = headers.get("content-type", "")
    if f"{_PREFIX}specversion" in headers and not _is_structured(content_type):
        attributes = {
            header.removeprefix(_PREFIX): _unescape(value)
            for header, value in headers.items()
            if header.startswith(_PREFIX)
        }
        yield _binary(body, attributes, content_type)
        return
    for item in items.split(body):
        yield from _structured(item)


def read_mqtt(body: bytes, content_type: str | None, properties: list[tuple[str, str]] | None) -> Read:
    """The event of one MQTT message (CloudEvents MQTT binding §3).

    `properties` are the user properties of MQTT 5, None on 3.1.1, where every message is structured.
    """
    if properties is None or _is_structured(content_type or "") or not _carries_attributes(properties):
        for item in items.split(body):
            yield from _structured(item)
        return
    attributes = {attribute.lower(): value for attribute, value in properties}
    if len(attributes) != len(properties):
        yield Unreadable("the message repeats an attribute", hashlib.sha256(body).digest())
        return
    yield _binary(body, attributes, content_type or "")


def _carries_attributes(properties: list[tuple[str, str]]) -> bool:
    """Whether the message is in binary mode; some publishers send structured events without a content type."""
    return any(attribute.lower() == "specversion" for attribute, _ in properties)


def _is_structured(content_type: str) -> bool:
    return content_type.strip().lower().startswith("application/cloudevents")


def _binary(body: bytes, attributes: Mapping[str, str], content_type: str) -> Envelope | Unreadable:
    fingerprint = hashlib.sha256(body).digest()
    try:
        data = None
        if body and _JSON.fullmatch(content_type):
            data = items.parse(body.decode("utf-8", "surrogateescape"))
        return _cloud_event(attributes, data, fingerprint)
    except Malformed as refusal:
        return Unreadable(refusal.detail, fingerprint)


def _structured(item: items.Item) -> Read:
    fingerprint = hashlib.sha256(item.raw).digest()
    try:
        if item.refusal is not None:
            raise item.refusal
        attributes = _folded(fields.members(item.value, "the item"))
        notifications = attributes.get("value")
        if isinstance(notifications, list) and not attributes.keys() & {"specversion", "eventtype"}:
            yield from _graph_collection(notifications, fingerprint)
        else:
            yield _envelope(attributes, fingerprint)
    except Malformed as refusal:
        yield Unreadable(refusal.detail, fingerprint)


def _folded(attributes: Fields) -> Fields:
    folded = {attribute.lower(): value for attribute, value in attributes.items()}
    if len(folded) != len(attributes):
        raise Malformed("the item repeats a name")
    return folded


def _envelope(attributes: Fields, fingerprint: bytes) -> Envelope:
    if "specversion" in attributes:
        return _cloud_event(attributes, _data(attributes), fingerprint)
    if "eventtype" in attributes:
        return _event_grid(attributes, fingerprint)
    raise Malformed("the item is neither a CloudEvent nor an Event Grid event")


def _cloud_event(attributes: Fields, data: object, fingerprint: bytes) -> Envelope:
    """CloudEvents §3.1: id, source, specversion and type are required and not empty."""
    if not fields.name(attributes, "specversion").startswith("1."):
        raise Malformed("specversion is not 1.0")
    return Envelope(
        id=fields.name(attributes, "id"),
        source=fields.name(attributes, "source"),
        type=fields.name(attributes, "type"),
        subject=fields.optional_name(attributes, "subject"),
        time=fields.optional_time(attributes, "time"),
        data=data,
        fingerprint=fingerprint,
    )


def _event_grid(attributes: Fields, fingerprint: bytes) -> Envelope:
    return Envelope(
        id=fields.name(attributes, "id"),
        source=fields.optional_name(attributes, "topic") or "",
        type=fields.name(attributes, "eventtype"),
        subject=fields.optional_name(attributes, "subject"),
        time=fields.optional_time(attributes, "eventtime"),
        data=attributes.get("data"),
        fingerprint=fingerprint,
    )


def _graph_collection(notifications: list[object], fingerprint: bytes) -> Read:
    """The change notifications of one Microsoft Graph request: `{"value": [...]}`."""
    for notification in notifications:
        try:
            yield _graph_notification(fields.members(notification, "the notification"), fingerprint)
        except Malformed as refusal:
            yield Unreadable(refusal.detail, fingerprint)


def _graph_notification(notification: Fields, fingerprint: bytes) -> Envelope:
    """A change notification has no event id: what changed, and to which version, tells it from others."""
    resource = fields.name(notification, "resource")
    change = fields.name(notification, "changeType", 32)
    content = fields.inner(notification, "resourceData")
    version = fields.optional_name(content, "etag") or fields.optional_name(content, "lastModifiedDateTime") or ""
    identity = fields.optional_name(notification, "id") or f"{fields.name(content, 'id')}/{change}/{version}"
    return Envelope(
        id=identity,
        source=resource,
        type=f"Microsoft.Graph.ChatMessage{change.capitalize()}",
        subject=None,
        time=None,
        data=notification,
        fingerprint=fingerprint,
    )


def _data(attributes: Fields) -> object:
    """CloudEvents JSON format §3.1: `data`, or `data_base64` for bytes."""
    encoded = attributes.get("data_base64")
    if encoded is None:
        return attributes.get("data")
    content_type = fields.optional_text(attributes, "datacontenttype") or ""
    if attributes.get("data") is not None or not isinstance(encoded, str):
        raise Malformed("data_base64 is not a string, or stands beside data")
    try:
        body = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise Malformed("data_base64 is not base64") from None
    return items.parse(body.decode("utf-8", "surrogateescape")) if _JSON.fullmatch(content_type) else None


def _unescape(value: str) -> str:
    """A header value back to its attribute (HTTP binding §3.1.3.2): unquoted, then percent-decoded."""
    quoted = _QUOTED.fullmatch(value)
    plain = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else value
    return unquote(plain, errors="surrogateescape") if "%" in plain else plain
