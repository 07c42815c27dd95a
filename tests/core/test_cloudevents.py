"""Envelopes: every mode and schema is read, and a bad item spoils only itself."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.cloudevents import Envelope, Unreadable, read_http, read_mqtt

EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "1",
    "source": "/s",
    "type": "t",
    "subject": "x",
    "time": "2022-08-11T23:42:45.5346632+02:00",
    "data": {"a": 1},
}
GRID: dict[str, Any] = {
    "id": "1",
    "topic": "/s",
    "subject": "x",
    "eventType": "t",
    "eventTime": "2022-08-11T21:42:45.5346632Z",
    "data": {"a": 1},
    "dataVersion": "1.0",
    "metadataVersion": "1",
}
TIME = datetime(2022, 8, 11, 21, 42, 45, 534663, UTC)
BINARY = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "t", "content-type": "application/json"}


def read(body: bytes | str | object, **headers: str) -> list[Envelope | Unreadable]:
    raw = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
    return list(read_http(raw, {name.replace("_", "-"): value for name, value in headers.items()}))


def one(body: bytes | str | object, **headers: str) -> Envelope:
    (item,) = read(body, **headers)
    assert isinstance(item, Envelope), item
    return item


def reasons(items: list[Envelope | Unreadable]) -> list[str | None]:
    return [item.reason if isinstance(item, Unreadable) else None for item in items]


@pytest.mark.parametrize(
    "media_type",
    [
        "application/cloudevents+json; charset=utf-8",
        "application/cloudevents-batch+json",
        "application/json",
        "text/plain",
        "",
    ],
)
@pytest.mark.parametrize("event", [EVENT, GRID])
def test_an_object_or_an_array_is_taken_under_any_media_type(media_type: str, event: dict[str, Any]) -> None:
    """Event Grid names no media type for its batches: the body tells what it is."""
    for body in (event, [event]):
        envelope = one(body, content_type=media_type)
        assert (envelope.id, envelope.source, envelope.type, envelope.subject) == ("1", "/s", "t", "x")
        assert envelope.time == TIME
        assert envelope.data == {"a": 1}


def test_attribute_names_are_compared_without_case() -> None:
    """An official CloudEvents sample of RecordingFileStatusUpdated spells `specVersion`."""
    renamed = {("specVersion" if name == "specversion" else name.upper()): value for name, value in EVENT.items()}
    assert one(renamed).id == "1"


def test_the_binary_mode_takes_its_attributes_from_headers() -> None:
    """HTTP binding §3.1: header values are unquoted, then percent-decoded; the body is the data."""
    envelope = one(
        {"a": "\N{SNOWMAN}"},
        **{**BINARY, "ce-subject": '"a \\"b\\""', "ce-source": "/s%20%E2%98%83", "ce-time": EVENT["time"]},
    )
    assert envelope.subject == 'a "b"'
    assert envelope.source == "/s \N{SNOWMAN}"
    assert envelope.data == {"a": "\N{SNOWMAN}"}
    assert envelope.time == TIME


def test_a_structured_media_type_wins_over_attribute_headers() -> None:
    """HTTP binding §3: the media type alone decides between structured and binary."""
    assert one(EVENT, **{**BINARY, "ce-id": "other", "content-type": "application/cloudevents+json"}).id == "1"


def test_base64_data_is_decoded() -> None:
    """JSON format §3.1.1: `data_base64` holds the bytes of data."""
    event = {**EVENT, "data_base64": base64.b64encode(b'{"a":2}').decode()}
    del event["data"]
    assert one(event).data == {"a": 2}


def test_a_body_may_begin_with_a_byte_order_mark_and_space() -> None:
    """Some senders cannot help it."""
    assert one(b"\xef\xbb\xbf \r\n" + json.dumps(EVENT).encode() + b"\n").id == "1"


def test_an_empty_array_holds_nothing() -> None:
    """Nothing to take is nothing to refuse."""
    assert read("[ ]") == []


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ("{", "not JSON"),
        ("{]}", "not JSON"),
        ("nonsense", "not JSON"),
        ("'single'", "not JSON"),
        ('{"a": 01}', "not JSON"),
        ('{"a": NaN}', "does not know"),
        ('{"a": [-Infinity]}', "does not know"),
        ('{"a": 1e999}', "too large"),
        ('{"a": ' + "9" * 5000 + "}", "not JSON"),
        ('{"a": 1, "a": 2}', "repeats a name"),
        ('{"b": {"a": 1, "\\u0061": 2}}', "repeats a name"),
        ('{"id": "1", "ID": "2"}', "repeats a name"),
        ("[" * 33 + "]" * 33, "nested too deeply"),
        ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
        ('{"a":' * 50_000 + "1" + "}" * 50_000, "nested too deeply"),
        ("null", "not an object"),
        ('"text"', "not an object"),
        ("[1]", "not an object"),
        ("{}", "neither a CloudEvent nor an Event Grid event"),
    ],
)
def test_a_broken_item_spoils_only_itself(broken: str, reason: str) -> None:
    """F20: what is wrong in one item of a batch never costs the others, wherever it stands."""
    if broken == "{":
        broken = '{"a" 1}'
    good = json.dumps(EVENT)
    for position in range(3):
        batch = [good, good]
        batch.insert(position, broken)
        found = reasons(read(f"[{' , '.join(batch)}]"))
        assert [each is None for each in found] == [index != position for index in range(3)]
        assert reason in str(found[position])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"id": ""}, "id is missing"),
        ({"id": None}, "id is missing"),
        ({"id": 7}, "id is not a string"),
        ({"id": "a\nb"}, "control characters"),
        ({"id": "x" * 3000}, "too long"),
        ({"id": "\ud800"}, "not a string"),
        ({"source": ""}, "source is missing"),
        ({"type": ""}, "type is missing"),
        ({"specversion": "0.3"}, "specversion"),
        ({"specversion": 1.0}, "specversion"),
        ({"time": "yesterday"}, "time"),
        ({"time": "2022-08-11T23:42:45"}, "time"),
        ({"time": "2022-02-30T00:00:00Z"}, "time"),
        ({"time": "2022-08-11T25:00:00Z"}, "time"),
        ({"time": "0001-01-01T00:00:00+01:00"}, "time"),
        ({"time": 1660000000}, "time"),
        ({"data_base64": "e30="}, "data_base64"),
        ({"data": None, "data_base64": "no base64!"}, "data_base64"),
        ({"data": None, "data_base64": ["e30="]}, "data_base64"),
    ],
)
def test_a_malformed_envelope_is_refused_without_quoting_it(changes: dict[str, Any], reason: str) -> None:
    """CloudEvents §3.1: what is required is required; the reason is ours to log, so it holds nothing of theirs."""
    (item,) = read([{**EVENT, **changes}])
    assert isinstance(item, Unreadable)
    assert reason in item.reason
    assert "yesterday" not in item.reason


@pytest.mark.parametrize("body", [b"", b"   ", b"\x00\x01", b"hello", b"<xml/>", b"\xff\xfe{", b"a=b&c=d"])
def test_what_is_not_json_at_all_is_one_refused_item(body: bytes) -> None:
    """Event Grid never retries a 4xx, so even this is an item, known by the digest of its bytes."""
    (item,) = read(body)
    assert isinstance(item, Unreadable)
    assert item.fingerprint == hashlib.sha256(body).digest()


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"[%s", [True, False]),
        (b"[%s,", [True, False]),
        (b"[%s] more", [True, False]),
        (b"[%s %s]", [False]),
        (b"[,%s]", [False, True]),
        (b"%s %s", [False]),
    ],
)
def test_a_torn_body_gives_what_is_whole_in_it(body: bytes, found: list[bool]) -> None:
    """A recording that started must be told even if the sender cut its batch off."""
    filled = body.replace(b"%s", json.dumps(EVENT).encode())
    assert [isinstance(item, Envelope) for item in read(filled)] == found


def test_bytes_that_are_not_utf8_spoil_only_their_item() -> None:
    """A broken name in one event does not cost the others."""
    good = json.dumps(EVENT).encode()
    items = read(b"[" + good + b"," + good.replace(b'"/s"', b'"/\xff"') + b"," + good + b"]")
    assert [reason is None for reason in reasons(items)] == [True, False, True]


def test_more_items_than_are_taken_at_once_end_in_one_refusal() -> None:
    """P9: a body of millions of tiny items is not a list of millions of refusals."""
    items = read("[" + "1," * 25_000 + "1]")
    assert len(items) == 20_001
    assert "more items" in str(reasons(items)[-1])


def test_the_worst_body_is_read_in_time() -> None:
    """P9: 8 MiB of anything is read in linear time."""
    for filler in (b"[", b'"', b'\\"', b'["', b"{", b"[{", b",", b"\xff"):
        read((b"[" + filler * 500_000)[: 1024 * 1024])


@given(st.binary(max_size=200))
def test_no_bytes_raise(body: bytes) -> None:
    """Whatever a stranger sends, reading it ends in items."""
    for item in (*read(body), *read(b"[" + body + b"]"), *read(body, **BINARY)):
        assert isinstance(item, Envelope | Unreadable)


@given(
    st.recursive(
        st.none() | st.booleans() | st.text() | st.integers(), lambda v: st.lists(v) | st.dictionaries(st.text(), v)
    )
)
def test_no_json_raises(value: object) -> None:
    """Well-formed JSON of any shape ends in items too."""
    for item in (*read([value]), *read({**EVENT, "time": value}), *read({"value": value})):
        assert isinstance(item, Envelope | Unreadable)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"ce-id": ""}, b"{}"),
        ({"ce-type": "%FF"}, b"{}"),
        ({"ce-time": "now"}, b"{}"),
        ({}, b"{"),
        ({}, b'{"a":1,"a":2}'),
    ],
)
def test_a_malformed_binary_event_is_refused(headers: dict[str, str], body: bytes) -> None:
    """The binary mode is judged as strictly as the others."""
    (item,) = read(body, **{**BINARY, **headers})
    assert isinstance(item, Unreadable)


def test_mqtt_5_knows_binary_and_structured_messages() -> None:
    """MQTT binding §3: user properties are the unprefixed attributes; a structured media type wins."""
    properties = [("specversion", "1.0"), ("id", "2"), ("source", "/s%20"), ("type", "t"), ("time", EVENT["time"])]
    (binary,) = read_mqtt(b'{"a":1}', "application/json", properties)
    assert isinstance(binary, Envelope)
    assert (binary.id, binary.source, binary.time, binary.data) == ("2", "/s%20", TIME, {"a": 1})
    body = json.dumps(EVENT).encode()
    for content_type, given_properties in (
        ("application/cloudevents+json", properties),
        (None, []),
        ("application/json", [("trace", "x")]),
        (None, None),
    ):
        (structured,) = read_mqtt(body, content_type, given_properties)
        assert isinstance(structured, Envelope)
        assert structured.id == "1"


@pytest.mark.parametrize(
    "properties",
    [
        [("specversion", "1.0")],
        [("specversion", "1.0"), ("id", "1"), ("id", "2"), ("source", "/s"), ("type", "t")],
        [("specversion", "2.0"), ("id", "1"), ("source", "/s"), ("type", "t")],
    ],
)
def test_a_malformed_mqtt_message_is_refused(properties: list[tuple[str, str]]) -> None:
    """A message that lacks or repeats an attribute is one refused item."""
    (item,) = read_mqtt(b"{}", "application/json", properties)
    assert isinstance(item, Unreadable)


def test_graph_change_notifications_come_as_a_collection() -> None:
    """Microsoft Graph posts `{"value": [...]}`; one that is no notification spoils only itself."""
    notification = {"resource": "chats('19:x')/messages('1')", "changeType": "created", "resourceData": {"id": "1"}}
    updated = {**notification, "changeType": "updated", "resourceData": {"id": "1", "etag": "2"}}
    items = read({"value": [notification, 7, {"changeType": "created"}, updated], "validationTokens": []})
    assert [isinstance(item, Envelope) for item in items] == [True, False, False, True]
    first, last = items[0], items[3]
    assert isinstance(first, Envelope)
    assert isinstance(last, Envelope)
    assert first.type == "Microsoft.Graph.ChatMessageCreated"
    assert first.id != last.id
