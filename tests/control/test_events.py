"""Events over HTTP: handshakes, layouts, limits, and what is answered when."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from gateway.core.errors import NotDurable
from tests.control.desk import (
    BEARER,
    EVENT,
    NOW,
    SECRET,
    TOKEN,
    VECTORS,
    Room,
    is_problem,
    listening,
    post,
)


@pytest.mark.parametrize("path", sorted(VECTORS.glob("*.json")), ids=lambda path: path.stem)
async def test_every_known_payload_is_taken(http: httpx.AsyncClient, room: Room, path: Path) -> None:
    """Whatever schema and media type a service delivers in, it is answered 200 with nothing refused."""
    vector = json.loads(path.read_text())
    answer = await post(http, vector["payload"], content_type=vector["media_type"], **vector["headers"])
    assert answer.status_code == 200
    if "SubscriptionValidation" in str(vector["headers"]):
        assert answer.json() == {"validationResponse": "512d38b6-c7b8-40c8-89fe-f46f9e9622b6"}
        assert room.taken == []
    else:
        assert answer.json() == {"accepted": len(vector["means"]), "duplicates": 0, "refused": []}
        assert len(room.taken) == len(vector["means"])


async def test_a_binary_cloudevent_is_taken(http: httpx.AsyncClient, room: Room) -> None:
    """CloudEvents HTTP binding §3.1."""
    attributes = {f"ce-{name}": str(EVENT[name]) for name in ("specversion", "id", "source", "type")}
    assert (await post(http, EVENT["data"], **attributes)).json()["accepted"] == 1
    assert room.taken[0].occurred_at == NOW


async def test_a_malformed_item_is_recorded_and_does_not_fail_the_rest(http: httpx.AsyncClient, room: Room) -> None:
    """W4: Event Grid's batches are all or none, so one bad event must not cost the others."""
    items = [
        '{"a": NaN}',
        json.dumps(EVENT),
        '{"id":"1","id":"2"}',
        "[" * 5000 + "]" * 5000,
        json.dumps({**EVENT, "id": "2"}),
    ]
    answer = await post(http, f"[{','.join(items)}]".encode())
    assert answer.status_code == 200
    assert answer.json()["accepted"] == 2
    assert [refused["index"] for refused in answer.json()["refused"]] == [0, 2, 3]
    assert [item.door for item in room.refused] == ["http"] * 3


async def test_what_the_hub_turns_away_is_named_by_its_place_in_the_body(http: httpx.AsyncClient, room: Room) -> None:
    """The hub counts events, the sender counts items."""
    room.late = ((1, "the participant's ACS resource is not configured"),)
    answer = await post(http, [{}, EVENT, 7, {**EVENT, "id": "2"}])
    assert answer.json()["accepted"] == 1
    assert [(refused["index"], refused["reason"][:15]) for refused in answer.json()["refused"]] == [
        (0, "the item is nei"),
        (2, "the item is not"),
        (3, "the participant"),
    ]


@pytest.mark.parametrize("body", [b"", b"hello", b"\xff\xfe", b"{", b"[" * 100_000])
async def test_a_body_that_is_not_json_is_one_refused_item(http: httpx.AsyncClient, room: Room, body: bytes) -> None:
    """A 4xx would lose it without a trace: Event Grid never retries one."""
    answer = await post(http, body)
    assert answer.status_code == 200
    assert [refused["index"] for refused in answer.json()["refused"]] == [0]
    assert len(room.refused) == 1


async def test_storage_that_cannot_write_is_503(http: httpx.AsyncClient, room: Room) -> None:
    """P10: not 200, and not a 4xx that no source retries."""
    room.error = NotDurable("disk full")
    answer = await post(http, EVENT)
    assert is_problem(answer, 503, "not_durable")
    assert int(answer.headers["retry-after"]) > 0


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-webhook-secret": ""},
        {"x-webhook-secret": SECRET[:-1]},
        {"x-webhook-secret": SECRET + "x"},
        {"x-webhook-secret": SECRET.upper()},
        {"x-webhook-secret": TOKEN},
        BEARER,
    ],
)
@pytest.mark.parametrize("method", ["POST", "OPTIONS"])
async def test_without_the_webhook_secret_nothing_is_taken_and_no_hand_is_shaken(
    http: httpx.AsyncClient, room: Room, headers: dict[str, str], method: str
) -> None:
    """W2: the handshakes are no authentication, and the control token is not the webhook secret."""
    validation = (VECTORS / "event_grid_subscription_validation.json").read_text()
    body = json.dumps(json.loads(validation)["payload"])
    origin = {"webhook-request-origin": "eventgrid.azure.net"}
    answer = await http.request(method, "/v1/events?code=wrong", content=body, headers={**headers, **origin})
    assert is_problem(answer, 401, "unauthorized")
    assert "512d38b6" not in answer.text
    assert "webhook-allowed-origin" not in answer.headers
    assert room.asked == []


async def test_the_secret_may_stand_in_the_query(http: httpx.AsyncClient) -> None:
    """Event Grid keeps the query of the endpoint it was given."""
    assert (await http.post("/v1/events", params={"code": SECRET}, json=EVENT)).json()["accepted"] == 1


async def test_the_cloudevents_handshake(http: httpx.AsyncClient) -> None:
    """CloudEvents webhooks §4: the origin that asks is allowed to post."""
    headers = {"webhook-request-origin": "eventgrid.azure.net", "webhook-request-callback": "http://169.254.169.254/"}
    answer = await http.options("/v1/events", params={"code": SECRET}, headers=headers)
    assert answer.status_code == 200
    assert answer.headers["webhook-allowed-origin"] == "eventgrid.azure.net"
    assert answer.headers["webhook-allowed-rate"] == "*"
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize("origin", ["", "a b", "x" * 300, "<script>"])
async def test_a_handshake_without_an_origin_is_refused(http: httpx.AsyncClient, origin: str) -> None:
    """What is echoed into a header must be able to be an origin."""
    answer = await http.options("/v1/events", params={"code": SECRET}, headers={"webhook-request-origin": origin})
    assert is_problem(answer, 400)


@pytest.mark.parametrize("code", [None, 7, "", "a\r\nb", "x" * 600, {"a": 1}])
async def test_a_validation_without_a_usable_code_is_an_event_like_others(
    http: httpx.AsyncClient, room: Room, code: object
) -> None:
    """Only a plain code is echoed."""
    payload = json.loads((VECTORS / "event_grid_subscription_validation.json").read_text())["payload"]
    payload[0]["data"]["validationCode"] = code
    answer = await post(http, payload)
    assert "validationResponse" not in answer.json()
    assert len(room.taken) == 1


async def test_no_address_in_a_body_is_ever_called(monkeypatch: pytest.MonkeyPatch, http: httpx.AsyncClient) -> None:
    """W3: validationUrl, callback and contentLocation are data; nothing connects anywhere."""
    connects: list[object] = []

    def no_connect(*target: object) -> None:
        connects.append(target)
        raise AssertionError("an outbound connection")

    monkeypatch.setattr("socket.socket.connect", no_connect)
    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", no_connect, raising=False)
    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", no_connect, raising=False)
    monkeypatch.setattr("socket.getaddrinfo", no_connect)
    for name in ("event_grid_subscription_validation", "event_grid_recording_file_status_updated"):
        payload = (VECTORS / f"{name}.json").read_text().replace("https://", "http://169.254.169.254/")
        assert (await post(http, json.loads(payload)["payload"])).status_code == 200
    assert connects == []


async def test_the_graph_handshake_echoes_its_token(http: httpx.AsyncClient) -> None:
    """Graph subscribes only to endpoints that give its token back as plain text; ours asks for the secret first."""
    answer = await http.post("/v1/events", params={"code": SECRET, "validationToken": "Validation: <b>x</b>"})
    assert (answer.status_code, answer.text) == (200, "Validation: <b>x</b>")
    assert answer.headers["content-type"].startswith("text/plain")
    assert (await http.post("/v1/events", params={"validationToken": "x"})).status_code == 401


async def test_large_batches_are_taken_and_larger_bodies_are_not_even_kept(room: Room) -> None:
    """W4: a full Event Grid batch (5,000 events, over 1 MiB) is taken; beyond 8 MiB the answer is 413."""
    batch = [{**EVENT, "id": str(index), "subject": "x" * 100} for index in range(5000)]
    body = json.dumps(batch).encode()
    assert len(body) > 1024 * 1024

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(200):
            yield b" " * 65_536

    async with listening(room) as (_, http):
        answer = await post(http, body)
        assert answer.json() == {"accepted": 5000, "duplicates": 0, "refused": []}
        declared = await post(http, b" " * (8 * 1024 * 1024 + 1))
        assert is_problem(declared, 413, "too_large")
        chunked = await http.post("/v1/events", params={"code": SECRET}, content=endless())
        assert is_problem(chunked, 413, "too_large")
        assert (await http.get("/healthz")).status_code == 200
    assert len(room.taken) == 5000


async def test_taking_a_batch_lets_others_run(http: httpx.AsyncClient) -> None:
    """P9: while thousands of events are read, the loop comes round again and again."""
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async with asyncio.TaskGroup() as tasks:
        counting = tasks.create_task(others())
        await post(http, [{**EVENT, "id": str(index)} for index in range(5000)])
        counting.cancel()
    assert turns >= 40
