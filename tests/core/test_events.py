"""Events: every payload of the services we hear is understood, and what lacks its meaning is refused."""

from __future__ import annotations

import copy
import json
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core import cloudevents, events
from gateway.core.events import Event, Refused

VECTORS = sorted((Path(__file__).parent.parent / "vectors" / "events").glob("*.json"))
TOPIC = (
    "/subscriptions/50ad1522-5c2c-4d9a-a6c8-67c11ecb75b8/resourcegroups/acse2e"
    "/providers/microsoft.communication/communicationservices/teams-voice"
)
TOPICS = {TOPIC: "contoso"}
RECEIVED_AT = datetime(2026, 11, 23, 14, tzinfo=UTC)
ALICE = "8:acs:816df1ca-971b-44d7-b8b1-8fba90748500_00000013-2ff6-dd51-54b7-a43a0d001998"


def understand(payload: object, headers: dict[str, str] | None = None) -> list[Event | Refused]:
    read = cloudevents.read_http(json.dumps(payload).encode(), headers or {})
    return list(events.understand(read, topics=TOPICS, received_at=RECEIVED_AT, door="http"))


def happening(payload: object) -> Any:
    (event,) = understand(payload)
    assert isinstance(event, Event), event
    return event.happening


def refusal(payload: object) -> str:
    (item,) = understand(payload)
    assert isinstance(item, Refused), item
    assert item.door == "http"
    return item.reason


def load(name: str) -> Any:
    vector = json.loads((VECTORS[0].parent / f"{name}.json").read_text())["payload"]
    return vector[0] if isinstance(vector, list) else vector


def own(kind: str, **data: object) -> dict[str, object]:
    return {"specversion": "1.0", "id": "1", "source": "/s", "type": f"notices.{kind}", "data": data}


def plain(value: object) -> Any:
    """A happening as the vectors write it: times as text, durations in seconds, the reference laid open."""
    if is_dataclass(value):
        found = {field.name: plain(getattr(value, field.name)) for field in fields(value)}
        return found | found.pop("reference", {})
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    return [plain(each) for each in value] if isinstance(value, tuple) else value


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_a_known_payload_means_what_it_says(path: Path) -> None:
    """Every payload of the services' documentation, in each layout that occurs, is understood as noted beside it."""
    vector = json.loads(path.read_text())
    understood = understand(vector["payload"], {"content-type": vector["media_type"]})
    assert len(understood) == len(vector["means"])
    for event, expected in zip(understood, vector["means"], strict=True):
        assert isinstance(event, Event), event
        wanted = dict(expected)
        assert type(event.happening).__name__ == wanted.pop("happening")
        found = plain(event.happening)
        for field, value in wanted.items():
            if field == "occurred_at" or field.endswith("_at"):
                assert datetime.fromisoformat(found[field]) == datetime.fromisoformat(value)
            else:
                assert found[field] == value, field


def test_every_type_we_know_has_a_vector() -> None:
    """A parser that no real payload reaches is untested."""
    seen = set()
    for path in VECTORS:
        vector = json.loads(path.read_text())
        for item in cloudevents.read_http(json.dumps(vector["payload"]).encode(), {}):
            assert isinstance(item, cloudevents.Envelope)
            seen.add(item.type.lower())
    assert set(events.PARSERS) <= seen


def test_source_and_id_make_an_event_the_same() -> None:
    """CloudEvents §3.1: in whatever schema or door it comes again, its digest is the same, and only then."""
    event = load("cloudevents_call_participant_removed")
    grid = {
        "id": event["id"],
        "topic": event["source"],
        "eventType": event["type"],
        "eventTime": event["time"],
        "subject": event["subject"],
        "data": event["data"],
    }
    (first,), (second,) = understand(event), understand([grid])
    assert isinstance(first, Event)
    assert isinstance(second, Event)
    assert first.digest == second.digest == events.digest(event["source"], event["id"])
    assert events.digest("ab", "c") != events.digest("a", "bc")
    assert events.digest("a", "b") != events.digest("b", "a")


def test_an_event_without_a_time_happened_when_it_was_received() -> None:
    """`time` is optional in CloudEvents."""
    event = load("own_capability_observed_operator")
    del event["data"]["at"]
    assert happening(event).occurred_at == RECEIVED_AT
    (taken,) = understand({**event, "time": "2022-08-11T23:42:45.5346632-07:00"})
    assert isinstance(taken, Event)
    assert taken.occurred_at == datetime(2022, 8, 12, 6, 42, 45, 534663, UTC)


@pytest.mark.parametrize("event_type", ["Contoso.Something", "x" * 500, "Anna Muster <anna@example.com>"])
def test_an_unknown_type_is_accepted_and_ignored(event_type: str) -> None:
    """Its data are not looked at, and a type that may hold anything is not written down."""
    (event,) = understand({**own("x"), "type": event_type, "data": ["whatever"]})
    assert isinstance(event, Event)
    assert event.happening == events.Ignored()
    assert event.type in {"Contoso.Something", "other"}


def test_types_are_compared_without_case() -> None:
    """A source's spelling must not cost a notice."""
    event = load("call_automation_recording_state_changed")
    assert happening({**event, "type": event["type"].upper()}).state == "active"


def test_the_topic_names_the_organisation_whatever_its_case() -> None:
    """Azure compares resource ids without case; an unknown topic belongs to nobody in particular."""
    event = load("cloudevents_call_participant_removed")
    assert happening({**event, "source": TOPIC.upper()}).organization == "contoso"
    assert happening({**event, "source": TOPIC + "2"}).organization is None


def test_recordings_of_one_call_are_told_apart_and_their_stop_matches_their_start() -> None:
    """A source is one recording: its `inactive` withdraws its own `active` and no other's."""
    event = load("call_automation_recording_state_changed")
    first = happening(event).source
    event["data"]["state"] = "inactive"
    assert happening(event).source == first
    event["data"]["recordingId"] = "another"
    assert happening(event).source != first
    assert "another" not in happening(event).source


def test_a_call_without_server_call_id_gets_a_name_of_its_own() -> None:
    """The fallback is stable and tells nothing of the name it was made of."""
    reference = happening(load("graph_chat_message_recording_initial")).reference
    assert reference.fallback.startswith("unnamed-")
    assert len(reference.fallback) == len("unnamed-") + 32
    assert reference.names[0] not in reference.fallback


def test_the_server_call_id_is_found_in_the_source_if_the_data_lack_it() -> None:
    """A recording started by a call locator may come without any id in its data."""
    event = load("call_automation_recording_state_changed")
    server_call = event["data"].pop("serverCallId")
    del event["data"]["correlationId"], event["data"]["callConnectionId"]
    assert happening(event).reference.fallback == server_call


def test_the_group_id_that_everybody_shares_names_nothing() -> None:
    """The all-zero group of Rooms calls would otherwise join all of them into one."""
    names = happening(load("event_grid_call_started")).reference.names
    assert "00000000-0000-0000-0000-000000000000" not in names


def test_the_same_person_twice_in_a_roster_is_one() -> None:
    """Two devices are one presence."""
    event = load("call_automation_participants_updated")
    event["data"]["participants"] += event["data"]["participants"]
    given_roster = happening(event)
    assert len(given_roster.people) == 2
    assert given_roster.others == 4


@pytest.mark.parametrize("entry", [None, 7, "8:acs:x_y", {}, {"identifier": {}}, {"identifier": {"kind": "unknown"}}])
def test_a_roster_entry_nobody_can_read_is_counted(entry: object) -> None:
    """It is somebody, so the count must not miss it."""
    event = load("call_automation_participants_updated")
    event["data"]["participants"] = [entry]
    assert (happening(event).people, happening(event).others) == ((), 1)


@pytest.mark.parametrize(
    ("vector", "path", "value", "reason"),
    [
        ("call_automation_recording_state_changed", "data", None, "data"),
        ("call_automation_recording_state_changed", "data", [], "data"),
        ("call_automation_recording_state_changed", "data", "{}", "data"),
        ("call_automation_recording_state_changed", "data.state", None, "state"),
        ("call_automation_recording_state_changed", "data.state", "paused?", "state"),
        ("call_automation_recording_state_changed", "data.state", 1, "state"),
        ("call_automation_recording_state_changed", "data.serverCallId", {"a": 1}, "serverCallId"),
        ("call_automation_participants_updated", "data.participants", None, "participants"),
        ("call_automation_participants_updated", "data.participants", {}, "participants"),
        ("call_automation_participants_updated", "data.sequenceNumber", None, "sequenceNumber"),
        ("call_automation_participants_updated", "data.sequenceNumber", -1, "sequenceNumber"),
        ("call_automation_participants_updated", "data.sequenceNumber", 1.5, "sequenceNumber"),
        ("call_automation_participants_updated", "data.sequenceNumber", True, "sequenceNumber"),
        ("call_automation_participants_updated", "data.sequenceNumber", 2**53, "sequenceNumber"),
        ("event_grid_recording_file_status_updated", "subject", "/recording/nothing", "subject"),
        ("event_grid_recording_file_status_updated", "data.recordingStartTime", None, "recordingStartTime"),
        ("event_grid_recording_file_status_updated", "data.recordingStartTime", "2021", "recordingStartTime"),
        ("event_grid_recording_file_status_updated", "data.recordingDurationMs", "long", "recordingDurationMs"),
        ("chat_message_received_in_thread", "data.senderCommunicationIdentifier", None, "sender"),
        ("chat_message_received_in_thread", "data.messageBody", None, "messageBody"),
        ("chat_message_received_in_thread", "data.messageBody", "x" * 300_000, "messageBody"),
        ("chat_message_received_in_thread", "data.messageBody", "\udc00", "messageBody"),
        ("chat_message_received_in_thread", "data.messageId", "", "messageId"),
        ("chat_message_received_in_thread", "data.threadId", None, "threadId"),
        ("chat_message_received_in_thread", "data.version", "v1", "version"),
        ("chat_message_received_in_thread", "data.version", "\u0661", "version"),
        ("chat_message_received_in_thread", "data.composeTime", "soon", "composeTime"),
        ("own_capability_observed_operator", "data.call", None, "no call"),
        ("own_capability_observed_operator", "data.call", "", "no call"),
        ("own_capability_observed_operator", "data.call", "a\u0000b", "call"),
        ("own_capability_observed_operator", "data.capability", "surveillance", "capability"),
        ("own_capability_observed_operator", "data.state", "ACTIVE!", "state"),
        ("own_capability_observed_operator", "data.at", "noon", "at is"),
        ("own_capability_observed_reported_by", "data.reported_by", "8:orgid:x", "reported_by"),
        ("own_participant_joined", "data.participant", None, "participant"),
        ("own_participant_joined", "data.call", None, "no call"),
        ("own_message_sent", "data.participant", "8:orgid:x", "participant"),
        ("own_message_sent", "data.content", None, "content or deleted"),
        ("own_message_sent", "data.deleted", True, "content or deleted"),
        ("own_message_sent", "data.deleted", "yes", "content or deleted"),
        ("own_message_sent", "data.version", None, "version"),
    ],
)
def test_an_event_that_lacks_its_meaning_is_refused(vector: str, path: str, value: object, reason: str) -> None:
    """The reason names the field and never what stood in it."""
    event = copy.deepcopy(load(vector))
    *parents, last = path.split(".")
    target = event
    for parent in parents:
        target = target[parent]
    target[last] = value
    assert reason in refusal(event)
    if isinstance(value, str) and len(value) > 3:
        assert value[:20] not in refusal(event)


@pytest.mark.parametrize("cause", ["two words", "x" * 65, 7, "Анна", "a\nb", ""])
def test_a_cause_that_is_no_plain_word_is_dropped(cause: object) -> None:
    """Free text may name people; it stays out of the ledger, and the observation still counts."""
    claimed = happening(own("capability.observed", call="c", capability="recording", state="active", cause=cause))
    assert claimed.cause is None
    assert claimed.state == "active"


@pytest.mark.parametrize("display_name", [7, {"a": 1}, "\ud800", "   ", ""])
def test_a_display_name_that_cannot_be_used_costs_nobody_a_notice(display_name: object) -> None:
    """P4: the person is in the call whatever their name is."""
    reported = happening(own("participant.joined", call="c", participant=ALICE, name=display_name))
    assert reported.person.participant == ALICE
    assert reported.person.name is None


@pytest.mark.parametrize("participant", ["8:orgid:x", "4:+49170", "28:orgid:x", "8:acs:nobody", "x"])
def test_people_without_an_acs_resource_are_not_followed(participant: str) -> None:
    """They owe nothing and are never stored."""
    assert happening(own("participant.joined", call="c", participant=participant)) == events.Ignored()


@given(st.data())
@settings(max_examples=150)
def test_no_damage_to_a_real_payload_raises(data: st.DataObject) -> None:
    """F20: whatever replaces whatever in a real event, the outcome is an event or a refusal."""
    payload = copy.deepcopy(load(data.draw(st.sampled_from([path.stem for path in VECTORS]))))
    target: Any = payload
    while True:
        keys = list(target) if isinstance(target, dict) else list(range(len(target)))
        key = data.draw(st.sampled_from(keys))
        if isinstance(target[key], dict | list) and target[key] and data.draw(st.booleans()):
            target = target[key]
            continue
        target[key] = data.draw(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats(allow_nan=False, allow_infinity=False)
            | st.text()
            | st.just([])
            | st.just({})
            | st.just([{}])
        )
        break
    for item in understand(payload):
        assert isinstance(item, Event | Refused)
