"""The rules of the log: one line of printable ASCII for each entry, whoever wrote it, and nobody named in it."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import log
from gateway.core.errors import Refusal
from gateway.core.types import rfc3339

SOMEONE = "8:acs:11111111-1111-1111-1111-111111111111_0000-canary"
TOKEN = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJjYW5hcnkifQ.canary-canary"


class Written:
    """What the log wrote, entry by entry."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    @property
    def text(self) -> str:
        """Everything, as it stands on standard error."""
        return self.stream.getvalue()

    @property
    def entries(self) -> list[dict[str, object]]:
        """Every line, decoded."""
        return [json.loads(line) for line in self.text.splitlines()]


@pytest.fixture
def written() -> Iterator[Written]:
    """The log, configured to write here; the process's loggers are put back afterwards."""
    names = ["", "gateway", "py.warnings", *log.OUTSIDE]
    loggers = [logging.getLogger(name) for name in names]
    before = [(each, each.handlers[:], each.level, each.disabled, each.propagate) for each in loggers]
    written = Written()
    log.configure("info", written.stream)
    yield written
    logging.captureWarnings(capture=False)
    for each, handlers, level, disabled, propagate in before:
        each.handlers[:], each.level, each.disabled, each.propagate = handlers, level, disabled, propagate


def test_an_entry_is_one_json_line_with_time_level_room_and_fields(written: Written) -> None:
    """A log can be read by a program: each line is an object with the same head."""
    log.logger("hub").info("notice issued", region="europe", count=3, quick=True)
    (entry,) = written.entries
    assert list(entry)[:4] == ["at", "level", "logger", "event"]
    assert str(entry["at"]).endswith("Z")
    assert {key: entry[key] for key in list(entry)[1:]} == {
        "level": "info",
        "logger": "gateway.hub",
        "event": "notice issued",
        "region": "europe",
        "count": 3,
        "quick": True,
    }


@pytest.mark.parametrize(
    "forged",
    [
        'GET /\r\n{"level":"info","event":"forged"} HTTP/1.1',
        "\x1b[31mred\x1b[0m\x1b]0;title\x07",
        "a\nb",
        "a\x85b\u2028c\u2029d",
        "\x7f\x9b2J",
        "\u202egnp.exe",
        "\x00",
    ],
)
def test_l1_control_characters_never_make_a_line_or_steer_a_terminal(written: Written, forged: str) -> None:
    """L1: ANSI or CRLF in a path, a header or a display name stays one line of printable ASCII."""
    log.logger("listener").warning(forged, reason=forged, x={"y": [forged]})
    logging.getLogger("websockets.server").error(forged)
    logging.getLogger("uvicorn.error").warning("bad request: %s", forged)
    lines = written.text.removesuffix("\n").split("\n")
    assert len(lines) == 3
    assert all(line.isascii() and line.isprintable() for line in lines)
    assert json.loads(lines[0])["reason"] == forged


def test_l1_a_lone_surrogate_is_no_reason_to_lose_a_line() -> None:
    """L1: what no encoding takes is written escaped."""
    assert json.loads(log.render({"event": "\ud800"}))["event"] == "\ud800"


@given(st.text(max_size=200))
def test_l1_no_text_at_all_breaks_the_line(text: str) -> None:
    """L1: whatever the text, the rendered entry is one printable line."""
    line = log.render({"event": text, "field": [text, {"inner": text}]})
    assert line.isascii()
    assert line.isprintable()
    json.loads(line)


@pytest.mark.parametrize("field", sorted(log.WITHHELD))
def test_l2_fields_about_people_are_withheld(written: Written, field: str) -> None:
    """L2: even a careless call writes no name, token or body: the field is there, its value is not."""
    log.logger("hub").warning("careless", **{field: "canary"}, nested={field: "canary"})
    assert "canary" not in written.text
    assert written.entries[0][field] == "[withheld]"


@pytest.mark.parametrize(
    "leak",
    [
        SOMEONE,
        f"joined {SOMEONE}, told",
        "8:orgid:00000000-0000-0000-0000-canary",
        "4:+canary-4425551234",
        "28:bot-canary",
        f"token {TOKEN} refused",
        "Authorization: Bearer canary",
        "/v1/events?code=canary&x=1",
        "mqtt://me:canary@broker:1883",
        "https://canary@host/",
    ],
)
def test_l2_raw_ids_tokens_and_secrets_are_struck_out_of_any_text(written: Written, leak: str) -> None:
    """L2: what slips into a text of ours or of a library is replaced before it is written."""
    log.logger("hub").warning(leak, reason=leak, list=[leak], map={"key": leak})
    logging.getLogger("asyncio").error(leak)
    assert "canary" not in written.text
    assert len(written.entries) == 2


@pytest.mark.parametrize("clock", ["20:28:08", "28:28:28", "04:04:04", "08:28:28", "20:04:28", "08:08:08"])
@pytest.mark.parametrize("end", [".123Z", "Z", "+08:00", "-04:28"])
def test_a_time_is_no_raw_id(written: Written, clock: str, end: str) -> None:
    """Minute 28 of an hour looks like the start of a bot's raw id: a whole time stays, wherever it stands."""
    time = f"2026-11-23T{clock}{end}"
    log.logger("hub").warning(f"due {time}", reason=f"({time}, {time})", times=[time])
    (entry,) = written.entries
    assert (entry["event"], entry["reason"], entry["times"]) == (f"due {time}", f"({time}, {time})", [time])


@pytest.mark.parametrize(
    "moment", [datetime(2026, 11, 27, 20, 28, 8, 123000, UTC), datetime(2028, 4, 8, 4, 28, 4, tzinfo=UTC)]
)
def test_our_own_times_are_not_searched(written: Written, moment: datetime) -> None:
    """The time of an entry, and one given as such, are written whole at every minute."""
    record = logging.makeLogRecord(
        {"name": "gateway.hub", "msg": "x", "levelname": "INFO", "created": moment.timestamp()}
    )
    logging.getLogger().handlers[0].handle(record)
    log.logger("hub").info("due", due_at=moment)
    first, second = written.entries
    assert first["at"] == second["due_at"] == rfc3339(moment)


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-23T20:28:08 28:canary",
        "2026-11-23T20:28:08Z, 8:acs:canary",
        "12:8:acs:canary",
        "20:28:08canary",
        "2026-11-23T20:28:08Z-canary",
        "8:2026-11-23T20:28:08Z-canary",
        "4:+1425canary",
        "(28:00000000-0000-0000-0000-canary)",
    ],
)
def test_l2_a_time_hides_no_raw_id(written: Written, text: str) -> None:
    """L2: what only begins like a time, or stands beside one, is struck out as ever."""
    log.logger("hub").warning(text, reason=text)
    assert "canary" not in written.text
    assert "[participant]" in written.text


def test_l2_a_foreign_error_is_told_by_type_and_place_without_its_message(written: Written) -> None:
    """L2: an outside error may quote a peer's bytes: its message, arguments and source lines stay out."""
    try:
        json.loads('{"canary": ')
    except ValueError:
        log.logger("control").exception("malformed")
        logging.getLogger("websockets.server").error("connection %s failed", "canary", exc_info=True)
    own, foreign = written.entries
    assert "canary" not in written.text
    assert isinstance(own["error"], dict)
    assert own["error"]["type"] == "json.decoder.JSONDecodeError"
    assert any("raw_decode" in place for place in own["error"]["raised"])
    assert foreign["event"] == "connection %s failed"
    assert "message" not in own["error"]


def test_our_own_error_keeps_its_message(written: Written) -> None:
    """Our errors quote no input, so their words may help whoever reads the log."""
    log.logger("hub").warning("refused", exc_info=Refusal("unknown_call", "no such call", status=404))
    error = written.entries[0]["error"]
    assert isinstance(error, dict)
    assert error["message"] == "no such call"


def test_the_systems_error_keeps_its_reason_but_no_path(written: Written) -> None:
    """A full disk is named as such; the path of the file is not part of it."""
    log.logger("hub").error("storage failing", exc_info=OSError(28, "No space left on device", "/data/canary"))
    error = written.entries[0]["error"]
    assert isinstance(error, dict)
    assert error["message"] == "No space left on device"
    assert "canary" not in written.text


def test_errors_in_a_group_and_behind_an_error_are_told_too(written: Written) -> None:
    """The cause of a failed task group is found in its one entry."""
    group = ExceptionGroup("tasks", [ValueError("canary"), Refusal("gone", "gone away")])
    error = RuntimeError("canary")
    error.__cause__ = group
    log.logger("app").error("stopped", exc_info=error)
    told = written.entries[0]["error"]
    assert isinstance(told, dict)
    assert [inner["type"] for inner in told["cause"]["errors"]] == [
        "builtins.ValueError",
        "gateway.core.errors.Refusal",
    ]
    assert "canary" not in written.text


def test_access_lines_are_never_written(written: Written) -> None:
    """The HTTP server's access log holds paths, and so raw ids and the webhook's secret: it is off."""
    logging.getLogger("uvicorn.access").critical("GET /v1/messages/canary")
    assert written.text == ""


def test_a_librarys_chatter_is_not_heard(written: Written) -> None:
    """Libraries log frames and headers when asked for more: only their warnings are heard, at any level of ours."""
    for name in ("websockets.server", "uvicorn.error", "paho", "asyncio", "mqtt"):
        logging.getLogger(name).info("chatter")
        logging.getLogger(name).debug("< TEXT canary")
    log.logger("hub").debug("below the level")
    assert written.text == ""


def test_a_librarys_own_handlers_are_gone(written: Written) -> None:
    """A library that brought its handler does not write past the format."""
    own = io.StringIO()
    library = logging.getLogger("uvicorn")
    library.addHandler(logging.StreamHandler(own))
    library.propagate = False
    log.configure("info", written.stream)
    library.warning("once")
    assert own.getvalue() == ""
    assert [entry["event"] for entry in written.entries] == ["once"]


def test_python_warnings_are_entries_too(written: Written) -> None:
    """Nothing else writes to standard error in the middle of the lines."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("first\nsecond", UserWarning, stacklevel=1)
    assert len(written.entries) == 1


@pytest.mark.parametrize("level", ["INFO", "loud", "", "critical", "10"])
def test_an_unknown_level_is_refused(level: str) -> None:
    """A slip in the level does not silence the log."""
    with pytest.raises(ValueError, match="no log level"):
        log.configure(level)
