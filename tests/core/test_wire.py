"""The frames of `notices.v1.json`: what is taken, what ends the connection, and what is written."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.core import wire
from gateway.core.errors import Bye, Refusal
from gateway.core.frames import KINDS
from gateway.core.types import Capability, Change, Level, State, rfc3339

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
AT = datetime(2026, 11, 23, 14, 0, 0, 123000, tzinfo=UTC)
ACK = b'{"type":"ack","notice":"n_1","level":"received","at":"2026-11-23T14:00:00.123Z"}'
MOMENTS = st.integers(0, 221_000_000_000_000).map(lambda elapsed: EPOCH + timedelta(milliseconds=elapsed))
NAMES = st.sampled_from(["id", "call", "notice", "level", "at", "digest", "token", "version", "sent_at", "deleted"])
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


def frame(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


class TestTaken:
    @pytest.mark.parametrize(
        ("data", "expected"),
        [
            (
                frame(type="hello", token="t", device="d", locale="de", capabilities=["displayed"], client="js/1.0"),
                wire.Hello(token="t", device="d", locale="de", capabilities=("displayed",), client="js/1.0"),
            ),
            (frame(type="hello"), wire.Hello()),
            (frame(type="hello", checkpoint="x" * 4096), wire.Hello(checkpoint="x" * 4096)),
            (frame(type="hello", checkpoint=None), wire.Hello()),
            (frame(type="join", id="1", call="c"), wire.Join(id="1", call="c")),
            (frame(type="join", id="1", call="c", revision=7), wire.Join(id="1", call="c", revision=7)),
            (frame(type="leave", id="1", call="c"), wire.Leave(id="1", call="c")),
            (ACK, wire.Ack(notice="n_1", level=Level.RECEIVED, at=AT)),
            (
                frame(type="ack", notice="n", level="consented", at="2026-11-23T14:00:00.123Z", digest="sha256:0"),
                wire.Ack(notice="n", level=Level.CONSENTED, at=AT, digest="sha256:0"),
            ),
            (
                frame(type="observed", call="c", capability="recording", state="paused", at=rfc3339(AT)),
                wire.Observed(call="c", capability=Capability.RECORDING, state=State.PAUSED, at=AT),
            ),
            (
                frame(type="message", id="1", thread="t", message="m", version=1, sent_at=rfc3339(AT), content=""),
                wire.Message(id="1", thread="t", message="m", version=1, sent_at=AT, content=""),
            ),
            (
                frame(type="message", id="1", thread="t", message="m", version=1, sent_at=rfc3339(AT), deleted=True),
                wire.Message(id="1", thread="t", message="m", version=1, sent_at=AT, deleted=True),
            ),
            (frame(type="refresh", token="t"), wire.Refresh(token="t")),
            (frame(type="pong", at="x"), wire.Pong(at="x")),
            (b'{"type":"bye"}', wire.Goodbye()),
        ],
    )
    def test_every_frame_of_the_contract_is_read(self, data: bytes, expected: wire.ClientFrame) -> None:
        """Each frame comes out as the structure of its type, with the contract's fields."""
        assert wire.decode(data) == expected

    def test_unknown_fields_are_ignored_on_both_paths(self) -> None:
        """New fields may be added at any time: an ack with one is the same ack."""
        for extra in (b'"more":"x"', b'"more":null', b'"more":{"a":[1,2.5,true]}', b'"m\\u00e9":1', '"ö":1'.encode()):
            assert wire.decode(ACK[:-1] + b"," + extra + b"}") == wire.decode(ACK)

    @pytest.mark.parametrize(
        ("written", "moment"),
        [
            ("2026-11-23T14:00:00.1234567Z", AT + timedelta(microseconds=457)),
            ("2026-11-23T16:00:00.123+02:00", AT),
            ("2026-11-23T14:00:00Z", AT.replace(microsecond=0)),
            ("2026-11-23t14:00:00.123z", AT),
        ],
    )
    def test_times_with_more_digits_or_an_offset_are_taken_in_utc(self, written: str, moment: datetime) -> None:
        """RFC 3339 in, UTC kept."""
        taken = wire.decode(frame(type="ack", notice="n", level="received", at=written))
        assert isinstance(taken, wire.Ack)
        assert taken.at == moment
        assert taken.at.utcoffset() == timedelta(0)


CORPUS: list[tuple[str, bytes, int]] = [
    ("nothing", b"", 4400),
    ("space", b"  ", 4400),
    ("no JSON", b"hello", 4400),
    ("cut off", b'{"type":"join"', 4400),
    ("two values", b'{"type":"bye"}{"type":"bye"}', 4400),
    ("trailing comma", b'{"type":"bye",}', 4400),
    ("comment", b'{"type":"bye"/**/}', 4400),
    ("single quotes", b"{'type':'bye'}", 4400),
    ("byte order mark", b'\xef\xbb\xbf{"type":"bye"}', 4400),
    ("array", b'[{"type":"bye"}]', 4400),
    ("string", b'"bye"', 4400),
    ("null", b"null", 4400),
    ("number", b"7", 4400),
    ("no type", b"{}", 4400),
    ("type is a number", b'{"type":1}', 4400),
    ("type is null", b'{"type":null}', 4400),
    ("type twice", b'{"type":"bye","type":"bye"}', 4400),
    ("field twice", ACK[:-1] + b',"notice":"n_2"}', 4400),
    ("field twice, one of them null", ACK[:-1] + b',"digest":null,"digest":"x"}', 4400),
    ("field twice, escaped", ACK[:-1] + b',"n\\u006ftice":"n_2"}', 4400),
    ("unknown field twice", ACK[:-1] + b',"x":1,"x":1}', 4400),
    ("field twice deep down", ACK[:-1] + b',"x":{"y":[{"z":1,"z":1}]}}', 4400),
    ("NaN", ACK[:-1] + b',"x":NaN}', 4400),
    ("Infinity", ACK[:-1] + b',"x":Infinity}', 4400),
    ("minus Infinity", ACK[:-1] + b',"x":-Infinity}', 4400),
    ("overflowing number", ACK[:-1] + b',"x":1e999}', 4400),
    ("integer beyond 2^53", ACK[:-1] + b',"x":9007199254740993}', 4400),
    ("integer below -2^53", ACK[:-1] + b',"x":-9007199254740993}', 4400),
    ("thirty thousand digits", ACK[:-1] + b',"x":' + b"9" * 30000 + b"}", 4400),
    ("lone surrogate", ACK[:-1] + b',"x":"\\ud800"}', 4400),
    ("lone low surrogate", ACK[:-1] + b',"x":"\\udc00\\ud800"}', 4400),
    ("lone surrogate as a name", ACK[:-1] + b',"\\uD800":1}', 4400),
    ("lone surrogate in a quick frame", b'{"type":"pong","at":"\\ud800"}', 4400),
    ("control character", ACK[:-1] + b',"x":"\x01"}', 4400),
    ("nine deep", ACK[:-1] + b',"x":' + b"[" * 8 + b"]" * 8 + b"}", 4400),
    ("nine deep, objects", ACK[:-1] + b',"x":' + b'{"x":' * 8 + b"1" + b"}" * 8 + b"}", 4400),
    ("fifteen thousand deep", ACK[:-1] + b',"x":' + b"[" * 15000 + b"]" * 15000 + b"}", 4400),
    ("thirty thousand brackets", b"[" * 30000, 4400),
    ("thirty thousand braces", b'{"a":' * 6000, 4400),
    ("bad UTF-8", ACK[:-1] + b',"x":"\xff"}', 1007),
    ("overlong UTF-8", ACK[:-1] + b',"x":"\xc0\xaf"}', 1007),
    ("surrogate in UTF-8", ACK[:-1] + b',"x":"\xed\xa0\x80"}', 1007),
    ("UTF-16", '{"type":"bye"}'.encode("utf-16"), 1007),
    ("too large", b'{"type":"bye","x":"' + b"x" * 32768 + b'"}', 4413),
    ("too large and not even JSON", b"\xff" * 32769, 4413),
    ("missing field", frame(type="join", id="1"), 4400),
    ("field of another type", frame(type="join", id=1, call="c"), 4400),
    ("empty id", frame(type="join", id="", call="c"), 4400),
    ("endless id", frame(type="join", id="x" * 129, call="c"), 4400),
    ("null where a string must be", frame(type="leave", id="1", call=None), 4400),
    ("negative revision", frame(type="join", id="1", call="c", revision=-1), 4400),
    ("revision true", frame(type="join", id="1", call="c", revision=True), 4400),
    ("revision 1.5", frame(type="join", id="1", call="c", revision=1.5), 4400),
    ("unknown level", frame(type="ack", notice="n", level="read", at=rfc3339(AT)), 4400),
    ("time without offset", frame(type="ack", notice="n", level="sent", at="2026-11-23T14:00:00"), 4400),
    ("time as a number", frame(type="ack", notice="n", level="sent", at=1), 4400),
    ("no such day", frame(type="ack", notice="n", level="sent", at="2026-02-30T14:00:00Z"), 4400),
    ("before all time", frame(type="ack", notice="n", level="sent", at="0001-01-01T00:00:00+14:00"), 4400),
    ("after all time", frame(type="ack", notice="n", level="sent", at="9999-12-31T23:59:59-14:00"), 4400),
    ("content and deleted", frame(type="message", id="1", thread="t", message="m", version=1,
                                  sent_at=rfc3339(AT), content="x", deleted=True), 4400),
    ("neither content nor deleted", frame(type="message", id="1", thread="t", message="m", version=1,
                                          sent_at=rfc3339(AT)), 4400),
    ("unknown state", frame(type="observed", call="c", capability="recording", state="on", at=rfc3339(AT)), 4400),
    ("unknown capability", frame(type="observed", call="c", capability="x", state="active", at=rfc3339(AT)), 4400),
    ("refresh without token", frame(type="refresh"), 4400),
    ("a checkpoint too long", frame(type="hello", checkpoint="x" * 4097), 4400),
    ("a checkpoint in parts", frame(type="hello", checkpoint={"size": 1}), 4400),
    ("a checkpoint that is a number", frame(type="hello", checkpoint=1), 4400),
    ("capabilities not a list", frame(type="hello", capabilities="displayed"), 4400),
]  # fmt: skip


TOO_LONG_TO_BE_QUICK = b" " * 600
MEMBERS = [
    *('"type":"ack"', '"type":"pong"', '"notice":"n"', '"level":"received"', '"level":"sent"', '"digest":"x"'),
    *('"at":"2026-11-23T14:00:00.123Z"', '"at":"\\u0032026-11-23T14:00:00.123Z"', '"at":"\\ud800"', '"digest":null'),
    *('"at":"2026-11-23T14:00:00Z"', '"at":"2026-11-23T14:00:00.1Z"', '"":0', '"notice":"né"'),
    *('"x":1', '"x":NaN', '"x":[[[[[[[[[]]]]]]]]]', '"x":99999999999999999999', '"":""', "1:1"),
    *('"notice":"\\"n\\""', '"n\\u006ftice":"n"', '"digest":"\\ud800"', '"notice":null'),
]


class TestRefused:
    @pytest.mark.parametrize(("data", "code"), [row[1:] for row in CORPUS], ids=[row[0] for row in CORPUS])
    def test_what_is_not_a_frame_ends_the_connection_with_its_code(self, data: bytes, code: int) -> None:
        """4400 for what is no strict JSON or no frame, 1007 for bad UTF-8, 4413 beyond 32 KiB."""
        with pytest.raises(Bye) as caught:
            wire.decode(data)
        assert caught.value.code == code

    def test_the_reason_never_quotes_the_frame(self) -> None:
        """A refusal may be logged: nothing a client sent is in it."""
        for _, data, _ in CORPUS:
            with pytest.raises(Bye) as caught:
                wire.decode(data.replace(b"received", b"canary-7"))
            assert "canary" not in caught.value.reason
            assert caught.value.__cause__ is None
            assert caught.value.__suppress_context__ or caught.value.__context__ is None

    def test_eight_deep_and_two_to_the_53_are_taken(self) -> None:
        """The limits themselves are allowed."""
        for extra in (b"[" * 7 + b"]" * 7, b"[" * 7 + b"1" + b"]" * 7, b"9007199254740992", b"-9007199254740992"):
            assert wire.decode(ACK[:-1] + b',"x":' + extra + b"}") == wire.decode(ACK)

    def test_a_surrogate_pair_is_a_character(self) -> None:
        r"""`\ud83d\ude00` is one character, not two halves."""
        taken = wire.decode(b'{"type":"leave","id":"1","call":"\\ud83d\\ude00"}')
        assert taken == wire.Leave(id="1", call="\U0001f600")

    def test_exactly_32_kib_is_taken(self) -> None:
        """The limit is inclusive."""
        data = b'{"type":"bye","x":"' + b"x" * (32768 - 21) + b'"}'
        assert len(data) == 32768
        assert wire.decode(data) == wire.Goodbye()

    @pytest.mark.parametrize("kind", ["subscribe", "", "ACK", "welcome", "bye "])
    def test_an_unknown_type_is_refused_and_does_not_end_anything(self, kind: str) -> None:
        """New frames may be added: an older gateway answers with an error."""
        with pytest.raises(Refusal) as caught:
            wire.decode(frame(type=kind, at=1))
        assert caught.value.code == "unknown_type"
        assert kind not in caught.value.detail or not kind

    @given(st.binary(max_size=300))
    def test_arbitrary_bytes_raise_nothing_else(self, data: bytes) -> None:
        """Whatever comes in, it is a frame, a bye or a refusal."""
        with suppress(Bye, Refusal):
            wire.decode(data)

    @given(
        st.sampled_from(sorted(KINDS)),
        st.dictionaries(
            NAMES | TEXT,
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
                lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
                max_leaves=12,
            ),
            max_size=8,
        ),
    )
    def test_arbitrary_fields_raise_nothing_else(self, kind: str, fields: dict[str, Any]) -> None:
        """Also where the bytes are JSON and the type is known."""
        with suppress(Bye, Refusal):
            wire.decode(json.dumps({**fields, "type": kind}).encode("utf-8", "surrogatepass"))

    @given(st.integers(0, len(ACK)), st.binary(max_size=4), st.integers(0, 4))
    def test_both_paths_agree(self, place: int, inserted: bytes, removed: int) -> None:
        """An ack that the quick path takes is what the strict path would have read."""
        data = ACK[:place] + inserted + ACK[place + removed :]
        assert outcome(data) == outcome(data + TOO_LONG_TO_BE_QUICK)

    @given(st.lists(st.sampled_from(MEMBERS), min_size=1, max_size=7))
    @example(['"type":"ack"', '"notice":"n"', '"level":"received"', '"at":"2026-11-23T14:00:00Z"', '"":0'])
    @example(['"type":"pong"', '"at":"2026-11-23T14:00:00Z"', '"at":"2026-11-23T14:00:00.1Z"'])
    def test_both_paths_agree_on_any_members(self, members: list[str]) -> None:
        """Nothing slips through the counting of bytes: duplicates, nulls, escapes, numbers, depth."""
        data = ("{" + ",".join(members) + "}").encode()
        assert outcome(data) == outcome(data + TOO_LONG_TO_BE_QUICK)


def outcome(data: bytes) -> object:
    try:
        return wire.decode(data)
    except Bye as bye:
        return bye.code
    except Refusal as refusal:
        return refusal.code


class TestWritten:
    @given(TEXT, TEXT, st.integers(0, 2**53), MOMENTS, MOMENTS)
    def test_a_notice_says_what_was_put_in(
        self, call: str, body: str, revision: int, occurred_at: datetime, issued_at: datetime
    ) -> None:
        """Every field of the contract is there, times with milliseconds and `Z`."""
        fields: dict[str, Any] = {
            "call": call,
            "revision": revision,
            "notice": "n_1",
            "capability": Capability.RECORDING,
            "change": Change.STARTED,
            "episode": "e_1",
            "occurred_at": occurred_at,
            "issued_at": issued_at,
            "text": ("de", "T", body, "https://x"),
            "digest": "sha256:0",
            "require": Level.ACKNOWLEDGED,
            "deadline_at": issued_at,
        }
        assert json.loads(wire.notice(**fields)) == {
            **fields,
            "type": "notice",
            "capability": "recording",
            "change": "started",
            "require": "acknowledged",
            "text": {"locale": "de", "title": "T", "body": body, "link": "https://x"},
            "occurred_at": written(occurred_at),
            "issued_at": written(issued_at),
            "deadline_at": written(issued_at),
        }
        shown = wire.state(
            id=None, call=call, revision=1, capabilities={}, notices=[wire.notice_fields(**fields)], more=0
        )
        assert json.loads(shown)["notices"] == [
            {name: value for name, value in json.loads(wire.notice(**fields)).items() if name != "type"}
        ]

    @given(MOMENTS, st.sampled_from(State))
    def test_a_state_names_the_join_it_answers_and_each_capability(self, since: datetime, state: State) -> None:
        """`id` only where a join is answered; `since` like every time."""
        capabilities: dict[str, dict[str, object]] = {
            "recording": {"state": state, "episode": "e_1", "since": since},
            "transcription": {"state": State.INACTIVE, "episode": None, "since": None},
        }
        sent = wire.state(id="1", call="c", revision=3, capabilities=capabilities, notices=[], more=2)
        assert json.loads(sent) == {
            "type": "state",
            "id": "1",
            "call": "c",
            "revision": 3,
            "capabilities": {
                "recording": {"state": state.value, "episode": "e_1", "since": written(since)},
                "transcription": {"state": "inactive", "episode": None, "since": None},
            },
            "notices": [],
            "more": 2,
        }
        unasked = wire.state(id=None, call="c", revision=3, capabilities=capabilities, notices=[], more=2)
        assert "id" not in json.loads(unasked)

    @given(MOMENTS)
    def test_the_small_frames(self, at: datetime) -> None:
        """Each with the contract's fields and no others."""
        sent: list[tuple[bytes, dict[str, Any]]] = [
            (
                wire.welcome(session="s", participant="p", region="r", server_time=at, ping_seconds=15, expires_at=at),
                {"type": "welcome", "session": "s", "participant": "p", "region": "r", "server_time": written(at),
                 "ping_seconds": 15, "expires_at": written(at)},
            ),
            (
                wire.welcome(session="s", participant="p", region="r", server_time=at, ping_seconds=15, expires_at=at,
                             checkpoint="o\n0\n", consistency=wire.Consistency(0, 2**53, [b"\xfb\xff", b""])),
                {"type": "welcome", "session": "s", "participant": "p", "region": "r", "server_time": written(at),
                 "ping_seconds": 15, "expires_at": written(at), "checkpoint": "o\n0\n",
                 "consistency": {"from": 0, "to": 2**53, "hashes": ["+/8=", ""]}},
            ),
            (
                wire.receipt(notice="n", level=Level.DISPLAYED, entry=5, at=at),
                {"type": "receipt", "notice": "n", "level": "displayed", "entry": 5, "at": written(at)},
            ),
            (wire.left(id="1"), {"type": "left", "id": "1"}),
            (wire.stored(id="1", expires_at=at), {"type": "stored", "id": "1", "expires_at": written(at)}),
            (wire.stored(id="1", expires_at=None), {"type": "stored", "id": "1"}),
            (
                wire.error(code="x", message="y", temporary=True),
                {"type": "error", "code": "x", "message": "y", "temporary": True},
            ),
            (
                wire.error(code="x", message="y", temporary=False, id="1"),
                {"type": "error", "code": "x", "message": "y", "temporary": False, "id": "1"},
            ),
            (wire.ping(at), {"type": "ping", "at": written(at)}),
            (wire.goaway(1500), {"type": "goaway", "reconnect_after_ms": 1500}),
            (wire.bye(4101, "r", "refresh"), {"type": "bye", "code": 4101, "reason": "r", "retry": "refresh"}),
        ]  # fmt: skip
        for data, expected in sent:
            assert json.loads(data) == expected

    @given(MOMENTS, TEXT)
    def test_what_a_client_writes_is_what_is_read(self, at: datetime, call: str) -> None:
        """Frames round-trip through JSON unchanged."""
        sent = {"type": "observed", "call": call, "capability": "recording", "state": "active", "at": written(at)}
        expected = wire.Observed(call=call, capability=Capability.RECORDING, state=State.ACTIVE, at=at)
        assert wire.decode(json.dumps(sent).encode()) == expected
        assert wire.decode(json.dumps(sent, ensure_ascii=False).encode()) == expected

    def test_times_in_other_zones_are_written_in_utc(self) -> None:
        """The wire knows one zone."""
        away = AT.astimezone(timezone(timedelta(hours=5, minutes=30)))
        assert json.loads(wire.ping(away)) == {"type": "ping", "at": "2026-11-23T14:00:00.123Z"}


def written(moment: datetime) -> str:
    return moment.strftime("%Y").rjust(4, "0") + moment.strftime("-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
