"""The routes of ledgers: entries, checkpoints and proofs, as text and in numbers that are whole."""

from __future__ import annotations

import httpx
import pytest

from gateway.core.errors import NotDurable, Refusal
from tests.control.desk import BEARER, Room, is_problem


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


async def test_a_checkpoint_is_given_as_it_was_signed(http: httpx.AsyncClient, room: Room) -> None:
    """Byte for byte, as text: whoever checks the signature needs nothing else."""
    answer = await http.get("/v1/ledgers/europe/checkpoint", headers=BEARER)
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.content == room.note.encode()
    assert room.asked == [("checkpoint", "europe")]


async def test_a_proof_is_given_as_text(http: httpx.AsyncClient, room: Room) -> None:
    """For the entry that a receipt names."""
    answer = await http.get("/v1/ledgers/europe/proof/17", headers=BEARER)
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text == f"index 17\n\n{room.note}"
    assert room.asked == [("proof", "europe", 17)]


@pytest.mark.parametrize(
    "entry", ["-1", "x", "1.0", "1e3", "+1", "%D9%A1", "0x1", "1%20", "%2F", "99999999999999999", "9" * 4000]
)
async def test_an_entry_that_is_no_number_is_400(http: httpx.AsyncClient, room: Room, entry: str) -> None:
    """Guessing which was meant would prove another."""
    assert is_problem(await http.get(f"/v1/ledgers/europe/proof/{entry}", headers=BEARER), 400, "bad_request")
    assert room.asked == []


async def test_consistency_comes_with_its_sizes_and_hashes(http: httpx.AsyncClient, room: Room) -> None:
    """In base64 (RFC 4648 §4); without `to`, up to the newest checkpoint."""
    hashes = ["//////////////////////////////////////////8="]
    answer = await http.get("/v1/ledgers/europe/consistency?from=3&to=5", headers=BEARER)
    assert answer.json() == {"from": 3, "to": 5, "hashes": hashes}
    answer = await http.get("/v1/ledgers/europe/consistency?from=3", headers=BEARER)
    assert answer.json() == {"from": 3, "to": 12, "hashes": hashes}
    assert room.asked == [("consistency", "europe", 3, 5), ("consistency", "europe", 3, None)]


@pytest.mark.parametrize(
    "query",
    ["", "to=3", "from=", "from=x&to=3", "from=-1&to=3", "from=1&to=", "from=1&to=x", "from=1&from=2&to=3",
     "from=1&to=3&to=4", "from=1.0&to=3", "from=99999999999999999"],
)  # fmt: skip
async def test_sizes_that_are_none_are_400(http: httpx.AsyncClient, room: Room, query: str) -> None:
    """There is no default for where a proof begins."""
    assert is_problem(await http.get(f"/v1/ledgers/europe/consistency?{query}", headers=BEARER), 400, "bad_request")
    assert room.asked == []


@pytest.mark.parametrize("path", ["checkpoint", "proof/1", "consistency?from=1"])
@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Refusal("unknown_region", "no", status=404), 404, "unknown_region"),
        (Refusal("unknown_entry", "no", status=404), 404, "unknown_entry"),
        (Refusal("bad_request", "no"), 400, "bad_request"),
        (NotDurable("no"), 503, "not_durable"),
        (RuntimeError("no"), 500, "internal"),
    ],
)
async def test_what_cannot_be_proved_is_said_with_its_status(
    http: httpx.AsyncClient, room: Room, path: str, error: Exception, status: int, code: str
) -> None:
    """An answer that is no proof never looks like one."""
    room.error = error
    answer = await http.get(f"/v1/ledgers/europe/{path}", headers=BEARER)
    assert is_problem(answer, status, code)
    assert ("retry-after" in answer.headers) == (status == 503)


@pytest.mark.parametrize("path", ["checkpoint", "proof/1", "consistency?from=1", "entries"])
async def test_ledgers_are_read_only(http: httpx.AsyncClient, room: Room, path: str) -> None:
    """Nothing can be written here."""
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        answer = await http.request(method, f"/v1/ledgers/europe/{path}", headers=BEARER, content=b"{}")
        assert answer.status_code == 405
    assert room.asked == []


async def test_a_cosignature_is_handed_on_as_it_came(http: httpx.AsyncClient, room: Room) -> None:
    """Whose lines are kept is the answer."""
    headers = {**BEARER, "content-type": "text/plain"}
    answer = await http.post("/v1/ledgers/europe/cosignatures", headers=headers, content=room.note.encode())
    assert (answer.status_code, answer.json()) == (200, {"kept": ["witness.example/w1"]})
    assert room.asked == [("cosign", "europe", room.note)]


async def test_a_cosignature_is_not_anybodys_to_give(http: httpx.AsyncClient, room: Room) -> None:
    """It needs the control token, and changes nothing by GET."""
    path = "/v1/ledgers/europe/cosignatures"
    assert is_problem(await http.post(path, content=room.note.encode()), 401, "unauthorized")
    assert is_problem(await http.get(path, headers=BEARER), 405)
    assert room.asked == []


@pytest.mark.parametrize(("body", "status"), [(b"\xff", 400), (b"\xe2\x80", 400), (b"a" * 262_145, 413)])
async def test_a_cosignature_that_is_no_text_of_a_size_is_refused(
    http: httpx.AsyncClient, room: Room, body: bytes, status: int
) -> None:
    """Before anybody looks into it."""
    answer = await http.post("/v1/ledgers/europe/cosignatures", headers=BEARER, content=body)
    assert is_problem(answer, status)
    assert room.asked == []


@pytest.mark.parametrize(
    ("error", "status"),
    [(Refusal("other_history", "not ours", status=409), 409), (NotDurable("no"), 503), (Refusal("bad", "no"), 400)],
)
async def test_what_the_ledger_says_of_a_cosignature_is_passed_on(
    http: httpx.AsyncClient, room: Room, error: Exception, status: int
) -> None:
    """Another history is 409, a disk that fails 503."""
    room.error = error
    answer = await http.post("/v1/ledgers/europe/cosignatures", headers=BEARER, content=room.note.encode())
    assert is_problem(answer, status)
