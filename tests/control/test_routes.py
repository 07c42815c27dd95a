"""The routes of operators and auditors: who may ask what, and what is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import httpx
import pytest

from gateway.control.server import application
from gateway.core.errors import Refusal
from gateway.core.keeping import Hold, Policy
from gateway.core.types import Level
from tests.control.desk import (
    ALICE,
    BEARER,
    SECRET,
    TOKEN,
    Room,
    desk,
    is_problem,
    listening,
)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/calls"),
        ("GET", "/v1/calls/c"),
        ("GET", "/v1/calls/c/coverage"),
        ("GET", "/v1/calls/c/evidence"),
        ("PUT", "/v1/calls/c/aliases"),
        ("GET", "/v1/messages/p"),
        ("POST", "/v1/retention/sweep"),
        ("GET", "/v1/retention/certificates"),
        ("GET", "/v1/ledgers/europe/entries"),
        ("GET", "/v1/ledgers/europe/checkpoint"),
        ("GET", "/v1/ledgers/europe/proof/0"),
        ("GET", "/v1/ledgers/europe/consistency"),
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
        "/v1/calls/c/coverage/",
        "/v1/retention/policy",
        "/v1/ledgers/europe",
        "/v1/ledgers/europe/proof",
        "/v1/ledgers/europe/proof/1/2",
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


async def test_evidence_is_asked_as_the_query_says(http: httpx.AsyncClient, room: Room) -> None:
    """Level, organisation and any number of regions; without them each notice's own level and every region."""
    answer = await http.get("/v1/calls/a%2Fb/evidence", headers=BEARER)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
    assert answer.headers["content-disposition"] == 'attachment; filename="evidence-c.zip"'
    assert answer.headers["cache-control"] == "no-store"
    assert answer.content == b"PK\x05\x06"
    query = "region=europe&region=asia&level=displayed&organization=contoso"
    await http.get(f"/v1/calls/c/evidence?{query}", headers=BEARER)
    assert room.asked == [
        ("pack", "a/b", None, None, None),
        ("pack", "c", "contoso", Level.DISPLAYED, ["europe", "asia"]),
    ]


@pytest.mark.parametrize(
    "query",
    [
        "level=seen",
        "level=",
        "level=sent&level=sent",
        "region=",
        "region=europe&region=",
        "region=a%0Ab",
        "region=" + "r" * 5000,
        "organization=",
        "organization=a&organization=b",
    ],
)
async def test_a_question_for_evidence_that_cannot_be_meant_is_refused(
    http: httpx.AsyncClient, room: Room, query: str
) -> None:
    """400, and the hub hears nothing."""
    assert is_problem(await http.get(f"/v1/calls/c/evidence?{query}", headers=BEARER), 400, "bad_request")
    assert room.asked == []


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
    """The contract of client tokens: an ACS user, some calls, at most a day, every call for observers only."""
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


async def test_rules_reach_the_hub_by_name(http: httpx.AsyncClient, room: Room) -> None:
    """Policies and holds are asked for, set and removed by the path they are of; their bodies arrive whole."""
    for kind, path in (("policy", "policies"), ("hold", "holds")):
        room.asked.clear()
        assert (await http.get(f"/v1/retention/{path}", headers=BEARER)).json() == {path: [{"name": "a"}]}
        assert (await http.get(f"/v1/retention/{path}/a.b", headers=BEARER)).json() == {"name": "a.b"}
        body = {"action": "delete", "days": 3, "calls": ["c"], "threads": ["t"], "later": True}
        assert (await http.put(f"/v1/retention/{path}/a%2Fb", headers=BEARER, json=body)).status_code == 200
        assert (await http.delete(f"/v1/retention/{path}/a", headers=BEARER)).json() == {"removed": "a"}
        assert room.asked[:2] == [("rules", kind), ("rule", kind, "a.b")]
        assert room.asked[2][:2] == (f"set {kind}", "a/b")
        said = room.asked[2][2]
        assert isinstance(said, Policy | Hold)
        assert said.threads == ["t"]
        assert room.asked[3] == ("remove", kind, "a")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/retention/policies"),
        ("PUT", "/v1/retention/policies/a"),
        ("DELETE", "/v1/retention/holds/a"),
        ("GET", "/v1/retention/explain/a"),
        ("DELETE", "/v1/participants/a"),
    ],
)
async def test_retention_is_for_bearers_of_the_token(
    http: httpx.AsyncClient, room: Room, method: str, path: str
) -> None:
    """Without the control token nothing is asked, set or erased, and nothing about anybody is cached."""
    assert (await http.request(method, path, json={})).status_code == 401
    assert room.asked == []
    answer = await http.request(method, path, headers=BEARER, json={})
    assert answer.status_code == 200
    assert (method == "DELETE" and "holds" in path) or answer.headers["cache-control"] == "no-store"
