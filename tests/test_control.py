"""The control API: what it lets in, what it answers, and what it never does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.control.http import HEAD_LIMIT
from gateway.control.server import ControlServer, Desk, application
from gateway.core.errors import NotDurable, Refusal
from gateway.core.events import Event, Refused
from gateway.core.types import Level, Role
from gateway.metrics import Metrics

NOW = datetime(2026, 11, 23, 14, tzinfo=UTC)
TOKEN, SECRET = "control-token-0123456789", "webhook-secret-0123456789"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
ALICE = "8:acs:816df1ca-971b-44d7-b8b1-8fba90748500_00000013-2ff6-dd51-54b7-a43a0d001998"
VECTORS = Path(__file__).parent / "vectors" / "events"
EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "1",
    "source": "/contoso",
    "type": "notices.capability.observed",
    "data": {"call": "c", "capability": "recording", "state": "active"},
}


@dataclass
class Taken:
    accepted: int
    duplicates: int = 0
    refused: tuple[tuple[int, str], ...] = ()


@dataclass
class Room:
    """Stands where the hub will: it notes what it is asked and answers as told."""

    error: Exception | None = None
    late: tuple[tuple[int, str], ...] = ()
    taken: list[Event] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    asked: list[tuple[object, ...]] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    ledger: list[bytes] = field(default_factory=list)

    def _ask(self, *question: object) -> None:
        self.asked.append(question)
        if self.error is not None:
            raise self.error

    async def take(self, events: Sequence[Event], refused: Sequence[Refused], /) -> Taken:
        self._ask("take")
        self.taken += events
        self.refused += refused
        return Taken(len(events) - len(self.late), refused=self.late)

    def calls(self) -> Sequence[Mapping[str, Any]]:
        self._ask("calls")
        return [{"call": "c"}]

    async def call(self, call: str, organization: str | None) -> Mapping[str, Any]:
        self._ask("call", call, organization)
        return {"call": call}

    async def coverage(self, call: str, organization: str | None, level: Level, wait: float) -> Mapping[str, Any]:
        self._ask("coverage", call, organization, level, wait)
        return {"call": call, "level": level, "notices": [], "complete": True}

    async def name(self, call: str, organization: str | None, aliases: tuple[str, ...]) -> None:
        self._ask("name", call, organization, aliases)

    async def stored_message(self, participant: str) -> Mapping[str, Any] | None:
        self._ask("message", participant)
        return {"content": "last"} if participant == ALICE else None

    async def sweep(self, now: datetime | None) -> Mapping[str, Any]:
        self._ask("sweep", now)
        return {"deleted": 0}

    async def certificates(self) -> Sequence[Mapping[str, Any]]:
        self._ask("certificates")
        return []

    async def entries(self, region: str, start: int, limit: int) -> Sequence[bytes]:
        self._ask("entries", region, start, limit)
        return self.ledger[start : start + limit]

    def readiness(self) -> Sequence[str]:
        return self.reasons


def issue(
    *, participant: str, calls: tuple[str, ...], lifetime: timedelta, role: Role, name: str | None
) -> tuple[str, datetime]:
    return f"{participant}|{','.join(calls)}|{role}|{name}", NOW + lifetime


def desk(room: Room, **changes: Any) -> Desk:
    given: dict[str, Any] = {
        "hub": room,
        "take": room.take,
        "token": TOKEN,
        "webhook_secret": SECRET,
        "topics": {"/Subscriptions/X": "contoso"},
        "now": lambda: NOW,
        "issue_token": issue,
        "metrics": Metrics(),
    }
    return Desk(**{**given, **changes})


@pytest.fixture
def room() -> Room:
    return Room()


@pytest.fixture
async def http(room: Room) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(application(desk(room)), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway.test") as client:
        yield client


@contextlib.asynccontextmanager
async def listening(room: Room) -> AsyncIterator[tuple[ControlServer, httpx.AsyncClient]]:
    """A real server on a real socket."""
    server = ControlServer(application(desk(room)), "127.0.0.1", 0)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(server.serve(), name="control")
        base = "http://{}:{}".format(*server.address)
        async with httpx.AsyncClient(base_url=base, trust_env=False) as client:
            yield server, client
        server.stop()


def is_problem(answer: httpx.Response, status: int, code: str | None = None) -> bool:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    return code is None or problem["code"] == code


async def post(http: httpx.AsyncClient, body: object, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {"x-webhook-secret": SECRET, "content-type": "application/json"}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await http.post("/v1/events", content=content, headers={**given, **named})


# Events


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


# Everything else


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/calls"),
        ("GET", "/v1/calls/c"),
        ("GET", "/v1/calls/c/coverage"),
        ("PUT", "/v1/calls/c/aliases"),
        ("GET", "/v1/messages/p"),
        ("POST", "/v1/retention/sweep"),
        ("GET", "/v1/retention/certificates"),
        ("GET", "/v1/ledgers/europe/entries"),
        ("POST", "/v1/tokens"),
    ],
)
async def test_the_control_token_guards_every_route(
    http: httpx.AsyncClient, room: Room, method: str, path: str
) -> None:
    """No token, a wrong one, one in the wrong place: 401, and the hub hears nothing."""
    for headers in (
        {},
        {"authorization": TOKEN},
        {"authorization": "Bearer"},
        {"authorization": "Bearer "},
        {"authorization": f"Bearer {TOKEN}x"},
        {"authorization": f"Bearer {SECRET}"},
        {"authorization": f"Basic {TOKEN}"},
        {"x-webhook-secret": SECRET, "cookie": f"token={TOKEN}"},
    ):
        answer = await http.request(method, f"{path}?token={TOKEN}&code={SECRET}", headers=headers, content=b"{}")
        assert is_problem(answer, 401, "unauthorized")
        assert answer.headers["www-authenticate"] == "Bearer"
    assert room.asked == []


@pytest.mark.parametrize("empty", [{"token": ""}, {"webhook_secret": ""}])
def test_an_empty_secret_is_no_secret(empty: dict[str, str]) -> None:
    """Nobody is let in because a file was empty."""
    with pytest.raises(ValueError, match="must not be empty"):
        application(desk(Room(), **empty))


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_scheme_is_compared_without_case(http: httpx.AsyncClient, scheme: str) -> None:
    """RFC 9110 §11.1."""
    answer = await http.get("/v1/calls", headers={"authorization": f"{scheme} {TOKEN}"})
    assert answer.json() == {"calls": [{"call": "c"}]}


@pytest.mark.parametrize(
    ("sent", "call"),
    [
        ("meeting-1", "meeting-1"),
        ("aHR0cHM6Ly9jb252%2FLXVz%2B%3D%3D", "aHR0cHM6Ly9jb252/LXVz+=="),
        ("a+b", "a+b"),
        ("19%3Ameeting_ZDM1@thread.v2", "19:meeting_ZDM1@thread.v2"),
        ("100%25%20sure%3F", "100% sure?"),
        ("%252F", "%2F"),
        ("%C3%BC", "\N{LATIN SMALL LETTER U WITH DIAERESIS}"),
        ("coverage", "coverage"),
        ("%2e%2e%2fcalls", "../calls"),
    ],
)
async def test_a_call_id_in_a_path_may_hold_any_character(room: Room, sent: str, call: str) -> None:
    """serverCallIds are base64: `%2F` is part of the id and no separator, over a real socket too."""
    async with listening(room) as (_, http):
        for suffix in ("", "/coverage"):
            answer = await http.get(httpx.URL(f"{http.base_url}/v1/calls/{sent}{suffix}"), headers=BEARER)
            assert answer.status_code == 200
            assert answer.json()["call"] == call
        answer = await http.put(f"/v1/calls/{sent}/aliases", json={"aliases": ["x"]}, headers=BEARER)
        assert answer.status_code == 200
    assert room.asked[-1] == ("name", call, None, ("x",))


@pytest.mark.parametrize("sent", ["%FF", "%00", "a%0Ab", "x" * 2049])
async def test_a_call_id_that_cannot_exist_is_refused(http: httpx.AsyncClient, room: Room, sent: str) -> None:
    """Neither bytes that are no text, nor control characters, nor novels."""
    assert is_problem(await http.get(f"/v1/calls/{sent}", headers=BEARER), 400)
    assert room.asked == []


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1",
        "/v1/nothing",
        "/v1/calls/",
        "/v1/calls/a/b",
        "/v1/calls/c/evidence",
        "/v1/calls/c/coverage/",
        "/v1/retention/policies",
        "/v1/ledgers/europe/checkpoint",
        "/v1/ledgers/europe/proof/1",
        "/v1//calls",
        "//v1/calls",
        "/V1/calls",
        "/v1%2Fcalls",
    ],
)
async def test_what_does_not_exist_is_404(http: httpx.AsyncClient, path: str) -> None:
    """As a problem document, and never a redirect: webhooks must not be redirected."""
    assert is_problem(await http.get(f"http://gateway.test{path}", headers=BEARER), 404, "not_found")


async def test_a_method_a_route_lacks_is_405(http: httpx.AsyncClient) -> None:
    """With the methods it has."""
    answer = await http.delete("/v1/calls", headers=BEARER)
    assert is_problem(answer, 405)
    assert "GET" in answer.headers["allow"]
    assert is_problem(await http.get("/v1/events", headers=BEARER), 405)


@pytest.mark.parametrize("host", ["evil.example", "gateway.test/v1/tokens?", "[::1", "a b"])
async def test_the_host_header_decides_nothing(http: httpx.AsyncClient, host: str) -> None:
    """W5: routing and authorisation go by the path alone."""
    assert (await http.get("/v1/calls", headers={"host": host})).status_code == 401
    assert (await http.get("/v1/calls", headers={**BEARER, "host": host})).status_code == 200


async def test_coverage_is_asked_as_the_query_says(http: httpx.AsyncClient, room: Room) -> None:
    """Level, wait and organisation reach the hub; without them: acknowledged, at once, whoever knows the call."""
    await http.get("/v1/calls/c/coverage", headers=BEARER)
    await http.get("/v1/calls/c/coverage?level=displayed&wait=2.5&organization=contoso", headers=BEARER)
    assert room.asked == [
        ("coverage", "c", None, Level.ACKNOWLEDGED, 0.0),
        ("coverage", "c", "contoso", Level.DISPLAYED, 2.5),
    ]


@pytest.mark.parametrize(
    "query",
    [
        "level=",
        "level=perfect",
        "level=ACKNOWLEDGED",
        "level=sent&level=received",
        "wait=-1",
        "wait=nan",
        "wait=inf",
        "wait=301",
        "wait=ten",
        "wait=%D9%A1",
        "organization=",
        "organization=a%00b",
        "organization=a&organization=b",
    ],
)
async def test_a_wrong_query_is_400(http: httpx.AsyncClient, room: Room, query: str) -> None:
    """Guessing what was meant would answer another question."""
    assert is_problem(await http.get(f"/v1/calls/c/coverage?{query}", headers=BEARER), 400)
    assert room.asked == []


@pytest.mark.parametrize(
    ("code", "status"), [("unknown_call", 404), ("ambiguous", 409), ("alias_taken", 409), ("storage_unavailable", 503)]
)
async def test_the_hubs_refusals_keep_their_status(http: httpx.AsyncClient, room: Room, code: str, status: int) -> None:
    """An error carries its consequence; a temporary one says when to try again."""
    room.error = Refusal(code, "no", status=status, temporary=status == 503)
    for request in (
        http.get("/v1/calls/c", headers=BEARER),
        http.put("/v1/calls/c/aliases", headers=BEARER, json={"aliases": []}),
    ):
        answer = await request
        assert is_problem(answer, status, code)
        assert ("retry-after" in answer.headers) == (status == 503)


async def test_a_failure_is_500_and_says_nothing(http: httpx.AsyncClient, room: Room) -> None:
    """What went wrong inside is not for the caller to read."""
    room.error = RuntimeError(f"no such person {ALICE}")
    answer = await http.get("/v1/calls/c", headers=BEARER)
    assert is_problem(answer, 500, "internal")
    assert ALICE not in answer.text


async def test_aliases_reach_the_hub_once_each(http: httpx.AsyncClient, room: Room) -> None:
    """In the order given, which is the order of nothing."""
    answer = await http.put(
        "/v1/calls/c/aliases?organization=contoso", headers=BEARER, json={"aliases": ["b", "a", "b"], "later": 1}
    )
    assert answer.json() == {"call": "c", "aliases": ["b", "a"]}
    assert room.asked == [("name", "c", "contoso", ("b", "a"))]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b'{"aliases": "a"}',
        b'{"aliases": [1]}',
        b'{"aliases": [""]}',
        b'{"aliases": ["a\\u0000"]}',
        b'{"aliases": [NaN]}',
        b'{"aliases": [], "aliases": ["a"]}',
        b'{"aliases": ["\\ud800"]}',
        b"[" * 10_000,
        b"\xff",
        json.dumps({"aliases": [str(each) for each in range(65)]}).encode(),
        json.dumps({"aliases": ["x" * 2049]}).encode(),
    ],
)
async def test_a_wrong_body_is_400(http: httpx.AsyncClient, room: Room, body: bytes) -> None:
    """And nothing of it reaches the hub."""
    assert is_problem(await http.put("/v1/calls/c/aliases", headers=BEARER, content=body), 400, "bad_request")
    assert room.asked == []


async def test_json_bodies_are_limited(http: httpx.AsyncClient) -> None:
    """P9: only events come in megabytes."""
    for path, method in (("/v1/calls/c/aliases", "PUT"), ("/v1/tokens", "POST"), ("/v1/retention/sweep", "POST")):
        assert is_problem(await http.request(method, path, headers=BEARER, content=b" " * 300_000), 413)


async def test_the_last_message_is_shown_or_404(http: httpx.AsyncClient) -> None:
    """By raw id, which holds colons."""
    assert (await http.get(f"/v1/messages/{ALICE}", headers=BEARER)).json() == {"content": "last"}
    assert is_problem(await http.get(f"/v1/messages/{ALICE}0", headers=BEARER), 404)


@pytest.mark.parametrize(
    ("body", "now"),
    [
        (b"", None),
        (b"{}", None),
        (b'{"now": null}', None),
        (b'{"now": "2026-12-24T15:00:00.1234567+01:00"}', datetime(2026, 12, 24, 14, 0, 0, 123456, UTC)),
    ],
)
async def test_a_sweep_may_be_told_the_time(
    http: httpx.AsyncClient, room: Room, body: bytes, now: datetime | None
) -> None:
    """In UTC, whatever offset it was given with."""
    assert (await http.post("/v1/retention/sweep", headers=BEARER, content=body)).json() == {"deleted": 0}
    assert room.asked == [("sweep", now)]


@pytest.mark.parametrize("body", [b'{"now": "tomorrow"}', b'{"now": 1}', b'{"now": "2026-12-24"}', b"[]"])
async def test_a_sweep_at_no_time_is_refused(http: httpx.AsyncClient, room: Room, body: bytes) -> None:
    """Deleting by a misread time cannot be undone."""
    assert is_problem(await http.post("/v1/retention/sweep", headers=BEARER, content=body), 400)
    assert room.asked == []


async def test_certificates_are_listed(http: httpx.AsyncClient) -> None:
    """None yet is an empty list."""
    assert (await http.get("/v1/retention/certificates", headers=BEARER)).json() == {"certificates": []}


async def test_ledger_entries_come_byte_for_byte_one_a_line(http: httpx.AsyncClient, room: Room) -> None:
    """Line n is the leaf of entry n; a long ledger comes page by page, as far as it is asked for."""
    room.ledger = [f'{{"n":{number}}}'.encode() for number in range(2500)]
    for query, expected in (
        ("", room.ledger),
        ("?from=2400", room.ledger[2400:]),
        ("?from=10&limit=3", room.ledger[10:13]),
        ("?limit=1500", room.ledger[:1500]),
        ("?from=2500", []),
        ("?limit=0", []),
    ):
        answer = await http.get(f"/v1/ledgers/europe/entries{query}", headers=BEARER)
        assert answer.headers["content-type"] == "application/x-ndjson"
        assert answer.content == b"".join(line + b"\n" for line in expected)
    assert max(question[3] for question in room.asked if isinstance(question[3], int)) <= 1000


@pytest.mark.parametrize(
    "query", ["from=-1", "limit=-1", "from=x", "limit=1e3", "from=1&from=2", "from=99999999999999999"]
)
async def test_a_wrong_range_of_entries_is_400(http: httpx.AsyncClient, query: str) -> None:
    """Entries are numbered from zero in whole numbers."""
    assert is_problem(await http.get(f"/v1/ledgers/europe/entries?{query}", headers=BEARER), 400)


async def test_a_token_is_issued(http: httpx.AsyncClient) -> None:
    """For an hour, if nothing else is asked for."""
    wanted = {"participant": ALICE, "calls": ["c"], "ttl_seconds": 60, "role": "observer", "name": "Alice"}
    answer = await http.post("/v1/tokens", headers=BEARER, json=wanted)
    assert answer.json() == {"token": f"{ALICE}|c|observer|Alice", "expires_at": "2026-11-23T14:01:00.000Z"}
    answer = await http.post("/v1/tokens", headers=BEARER, json={"participant": ALICE, "calls": ["c"]})
    assert answer.json() == {"token": f"{ALICE}|c|participant|None", "expires_at": "2026-11-23T15:00:00.000Z"}


@pytest.mark.parametrize(
    "changes",
    [
        {"participant": "8:orgid:x"},
        {"participant": ""},
        {"participant": None},
        {"calls": []},
        {"calls": "c"},
        {"calls": [""]},
        {"calls": ["*"]},
        {"calls": [str(each) for each in range(65)]},
        {"ttl_seconds": 0},
        {"ttl_seconds": -1},
        {"ttl_seconds": 86_401},
        {"ttl_seconds": 1.5},
        {"ttl_seconds": True},
        {"ttl_seconds": "60"},
        {"role": "owner"},
        {"role": None},
        {"name": ""},
        {"name": "a\nb"},
    ],
)
async def test_a_token_that_nobody_could_use_is_not_issued(http: httpx.AsyncClient, changes: dict[str, object]) -> None:
    """CONTRACT of client tokens: an ACS user, some calls, at most a day, every call for observers only."""
    wanted = {"participant": ALICE, "calls": ["c"], "ttl_seconds": 60, "role": "participant", **changes}
    assert is_problem(await http.post("/v1/tokens", headers=BEARER, json=wanted), 400)


async def test_health_readiness_and_metrics_need_no_token(http: httpx.AsyncClient, room: Room) -> None:
    """Readiness turns red with its reasons."""
    assert (await http.get("/healthz")).status_code == 200
    assert (await http.get("/readyz")).json() == {"ready": True, "reasons": []}
    room.reasons = ["storage of europe cannot write"]
    answer = await http.get("/readyz")
    assert (answer.status_code, answer.json()["reasons"]) == (503, room.reasons)
    metrics = await http.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert b"gateway_sessions" in metrics.content


# The server


async def test_requests_are_never_logged(room: Room, caplog: pytest.LogCaptureFixture) -> None:
    """L2: paths name people and queries hold the secret, so no line of any logger shows either."""
    caplog.set_level(logging.DEBUG)
    async with listening(room) as (_, http):
        await http.get(f"/v1/messages/{ALICE}", headers=BEARER)
        await http.post(f"/v1/events?code={SECRET}", content=b"nonsense")
        await http.get("/v1/nothing/\N{SNOWMAN}", headers=BEARER)
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))]
    assert not [line for line in ours if ALICE in line or SECRET in line or TOKEN in line or "/v1/" in line]


async def test_signals_stay_with_the_root(room: Room) -> None:
    """uvicorn would take SIGTERM away from the process and raise it again when it ends."""
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    async with listening(room) as (_, http):
        await http.get("/healthz")
        assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


async def test_a_taken_port_is_an_error_and_not_the_end_of_the_process(room: Room) -> None:
    """The root says so in one line; the server does not exit on its own."""
    async with listening(room) as (server, _):
        with pytest.raises(OSError):
            ControlServer(application(desk(room)), *server.address)
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    "head",
    [
        b"GET /healthz HTTP/1.1\r\nX: " + b"a" * (2 * HEAD_LIMIT),
        b"GET /healthz HTTP/1.1\r\n" + b"X: a\r\n" * HEAD_LIMIT,
        b"GET /" + b"a" * (2 * HEAD_LIMIT),
        b"\x16\x03\x01\x02\x00\x01",
        b"GET /v1/\xff HTTP/1.1\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
async def test_a_head_without_end_or_sense_ends_the_connection(room: Room, head: bytes) -> None:
    """P9: the memory of a request's head is bounded, and nonsense costs only its sender."""
    async with listening(room) as (server, http):
        reader, writer = await asyncio.open_connection(*server.address)
        with contextlib.closing(writer):
            writer.write(head)
            with contextlib.suppress(ConnectionError):
                answer = await asyncio.wait_for(reader.read(100), 5)
                assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 404"))
        assert (await http.get("/healthz")).status_code == 200


async def test_a_webhook_that_hangs_up_costs_nothing(room: Room) -> None:
    """The half of a request is no request."""
    async with listening(room) as (server, http):
        _, writer = await asyncio.open_connection(*server.address)
        head = f"POST /v1/events?code={SECRET} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
        writer.write(head.encode() + b"[")
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        assert (await http.get("/healthz")).status_code == 200
    assert (room.taken, room.refused) == ([], [])
