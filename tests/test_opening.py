"""The opening handshake: the quick way gives the library's answer or none, whatever a request looks like."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.edge.opening import Answer, Opening
from tests.edge_world import ORIGIN, request

OPENING = Opening([ORIGIN, "http://127.0.0.1:8000"])
BARE = Opening([], path="/", subprotocol=None)

USUAL = [
    (b"Host", b"gateway.example"),
    (b"Upgrade", b"websocket"),
    (b"Connection", b"Upgrade"),
    (b"Sec-WebSocket-Key", b"MDEyMzQ1Njc4OWFiY2RlZg=="),
    (b"Sec-WebSocket-Version", b"13"),
    (b"Sec-WebSocket-Protocol", b"notices.v1.json"),
]
VALUES = {
    b"Host": [b"", b"a:1", b"a, b", b"[::1]:80"],
    b"Upgrade": [b"WebSocket", b"websocket, h2c", b"h2c", b"", b"websocket/13", b"web socket"],
    b"Connection": [b"upgrade", b"keep-alive, Upgrade", b"keep-alive", b"close, upgrade", b"UPGRADE", b"", b",Upgrade"],
    b"Sec-WebSocket-Key": [
        b"",
        b"x",
        b"MDEyMzQ1Njc4OWFiY2RlZh==",
        b"MDEyMzQ1Njc4OWFiY2Rl",
        b"MDEyMzQ1Njc4OWFiY2RlZmc=",
    ],
    b"Sec-WebSocket-Version": [b"8", b"013", b"13, 8", b"", b"\xb9\xb3"],
    b"Sec-WebSocket-Protocol": [b"", b"other, notices.v1.json", b"NOTICES.V1.JSON", b"notices.v1.json,", b'"x"'],
    b"Origin": [
        ORIGIN.encode(),
        b"http://127.0.0.1:8000",
        b"null",
        b"",
        b"https://APP.example",
        b"https://app.example/",
    ],
    b"Authorization": [b"Bearer abc", b"bearer  abc ", b"Basic abc", b"Bearer", b"Bearer a b", b"", b"Bearer \xc3\xa9"],
    b"Content-Length": [b"0", b"5", b"", b"00", b"-1"],
    b"Transfer-Encoding": [b"chunked", b"identity"],
    b"Sec-WebSocket-Extensions": [b"permessage-deflate; client_max_window_bits", b";;"],
    b"Cookie": [b"a=b", b"x" * 9000, b"a\tb", b"a\x00b", b"\xff"],
    b"X": [b""],
}
FIELD = st.sampled_from(sorted(VALUES)).flatmap(
    lambda name: st.tuples(
        st.just(name), st.sampled_from([*VALUES[name], *(each for key, each in USUAL if key == name)])
    )
)
SPACES = [b"%b:%b\r\n", b"%b : %b\r\n", b"%b:  %b \r\n", b"%b:\t%b\t\r\n", b" %b: %b\r\n"]
ODDLY = st.sampled_from([*SPACES, b"%b: %b\n", b"%b %b\r\n", b"%b: \r\n %b\r\n", b"%b\xe9: %b\r\n"])
Case = Callable[[bytes], bytes]
CASE: st.SearchStrategy[Case] = st.sampled_from([bytes, bytes, bytes.lower, bytes.upper])
LINES = st.sampled_from(
    [b"GET /v1/ws HTTP/1.1"] * 12
    + [b"GET / HTTP/1.1", b"GET /v1/ws HTTP/1.0", b"GET /v1/ws?token=x HTTP/1.1", b"get /v1/ws HTTP/1.1"]
    + [b"POST /v1/ws HTTP/1.1", b"GET  /v1/ws HTTP/1.1", b"GET /v1/ws HTTP/1.1 ", b"GET /v1/ws HTTP/2.0"]
    + [b"GET http://gateway.example/v1/ws HTTP/1.1", b""]
)


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    """A request near the usual one: fields missing, twice, changed, added, in any order, and oddly written."""
    fields = [each for each in USUAL if draw(st.integers(0, 30))]
    fields += draw(st.lists(FIELD, max_size=3))
    for _ in range(draw(st.integers(0, 2))):
        fields = [
            (name, draw(st.sampled_from(VALUES[name])) if not draw(st.integers(0, 9)) else value)
            for name, value in fields
        ]
    if draw(st.booleans()):
        fields = draw(st.permutations(fields))
    odd = draw(st.sampled_from([*[-1] * len(fields), *range(-1, len(fields))]))
    lines = [
        (draw(ODDLY) if place == odd else b"%b: %b\r\n") % (draw(CASE)(name), value)
        for place, (name, value) in enumerate(fields)
    ]
    return draw(LINES) + b"\r\n" + b"".join(lines) + b"\r\n"


def undated(answer: Answer) -> Answer:
    """The answer without its date, for a second may pass between two."""
    return answer._replace(written=re.sub(rb"Date: [^\r]*", b"Date: now", answer.written))


@given(heads())
@example(request())
@example(request(Authorization="  Bearer x "))
def test_both_ways_give_one_answer(head: bytes) -> None:
    """Where the quick way answers at all, it is to the byte what the library answers: status, headers and token."""
    for opening in (OPENING, BARE):
        quick = opening._answer_usual(head)
        if quick is not None:
            assert quick.upgraded
            assert undated(quick) == undated(opening._consult(head))


@given(st.permutations(USUAL), CASE)
def test_what_clients_send_goes_the_quick_way(fields: list[tuple[bytes, bytes]], case: Case) -> None:
    """In any order and case of names, with cookies and agents: else the property above would say nothing."""
    more = [(b"User-Agent", b"Mozilla/5.0 (X11; Linux)"), (b"Cookie", b"a=b; c=d"), (b"Authorization", b"Bearer abc")]
    lines = [b"%b: %b\r\n" % (case(name), value) for name, value in [*more, *fields]]
    answer = OPENING._answer_usual(b"GET /v1/ws HTTP/1.1\r\n" + b"".join(lines) + b"\r\n")
    assert answer is not None
    assert answer.token == "abc"


CHANGES = [
    (b"GET /v1/ws HTTP/1.1", b"GET /v1/ws HTTP/1.0"),
    (b"GET /v1/ws HTTP/1.1", b"GET /v1/ws?x HTTP/1.1"),
    (b"GET /v1/ws HTTP/1.1", b"GET /v1/ws/ HTTP/1.1"),
    (b"Host: gateway.example\r\n", b""),
    (b"Host: gateway.example\r\n", b"Host: a\r\nhost: b\r\n"),
    (b"Host: ", b"Host : "),
    (b"Host: ", b"Host:"),
    (b"Host: ", b"Host:\t"),
    (b"Host: gateway.example", b"Host: gateway.example\r\n folded"),
    (b"Host: gateway.example", b"Host: gateway.example\nX: y"),
    (b"Host: gateway.example", b"Host: gateway.example\rX: y"),
    (b"Host: gateway.example", b"Host: gateway\x00example"),
    (b"Host: gateway.example", b"Host: g\xe4teway.example"),
    (b"Host: gateway.example", b"Host: gateway.example\r\nContent-Length: 0"),
    (b"Host: gateway.example", b"Host: gateway.example\r\ncontent-length: 5"),
    (b"Host: gateway.example", b"Host: gateway.example\r\nTRANSFER-ENCODING: chunked"),
    (b"Host: gateway.example", b"Host: gateway.example\r\nOrigin: https://evil.example"),
    (b"Host: gateway.example", b"Host: gateway.example\r\nOrigin: https://app.example, https://evil.example"),
    (b"Host: gateway.example", b"Host: gateway.example\r\nOrigin: https://app.example\r\norigin: https://app.example"),
    (b"Host: gateway.example", b"Host: gateway.example\r\nAuthorization: Bearer a\r\nAuthorization: Bearer b"),
    (b"Host: gateway.example", b"Host: gateway.example\r\nX: " + b"y" * 9000),
    (b"Host: gateway.example", b"Host: gateway.example" + b"".join(b"\r\nX%d: y" % each for each in range(70))),
    (b"Upgrade: websocket", b"Upgrade: websocket, h2c"),
    (b"Connection: Upgrade", b"Connection: close"),
    (b"Connection: Upgrade", b"Connection: close, Upgrade"),
    (b"Key: MDEy", b"Key: MDE"),
    (b"RlZg==", b"RlZh=="),
    (b"RlZg==", b"RlZg== "),
    (b"Version: 13", b"Version: 8"),
    (b"Protocol: notices.v1.json", b"Protocol: other, notices.v1.json"),
    (b"Sec-WebSocket-Protocol: notices.v1.json\r\n", b""),
]


@pytest.mark.parametrize(("usual", "unusual"), CHANGES)
def test_nothing_unusual_goes_the_quick_way(usual: bytes, unusual: bytes) -> None:
    """Smuggled bodies, fields twice or folded, odd spaces and bytes, other versions: the library decides."""
    head = request()
    assert usual in head
    assert OPENING._answer_usual(head) is not None
    assert OPENING._answer_usual(head.replace(usual, unusual)) is None


@pytest.mark.parametrize("hosts", [[], [b"a", b"b"], [b"a", b"a"]])
def test_a_request_has_one_host(hosts: list[bytes]) -> None:
    """RFC 9112 §3.2: none or two are a bad request."""
    fields = b"".join(b"Host: %b\r\n" % each for each in hosts)
    head = request().replace(b"Host: gateway.example\r\n", fields)
    answer = OPENING.answer(head)
    assert answer.written.startswith(b"HTTP/1.1 400 ")
    assert not answer.upgraded


def test_the_date_is_todays() -> None:
    """It is written once a second, and no longer than that."""
    dates = []
    for _ in range(2):
        found = re.search(rb"Date: ([^\r]*)", OPENING.answer(request()).written)
        assert found is not None
        dates.append(found[1])
        OPENING._second -= 1
        OPENING._head = b"Date: long ago\r\n"
    said = time.mktime(time.strptime(dates[1].decode(), "%a, %d %b %Y %H:%M:%S GMT")) - time.timezone
    assert abs(said - time.time()) < 5
