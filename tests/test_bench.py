"""The bench's parts: what is asked of its figures, where they are written, and the packets a broker's clients say."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benching import mqtt, report
from benching.figures import BOUNDS, Figure, Result
from benching.frames import ack_payload, notice_payload
from benching.processes import Process
from benching.sides import Side, rest, take_turns
from benching.workloads import WORKLOADS
from gateway.core import wire

DOCUMENT = Path(__file__).parents[1] / "docs" / "performance.md"


def result(workload: str, *figures: Figure) -> Result:
    """What a workload may have given."""
    return Result(
        workload, "2026-11-27T12:00:00+00:00", "scripts/bench", "a machine", 0.5, {"node": "20"}, 60, [*figures]
    )


SERVER = """
import json, sys, time

def work(seconds):
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass

say = lambda **answer: print(json.dumps(answer), flush=True)
say(ready=True)
while sys.stdin.readline():
    work(0.04)
    say(last_frame=1.0)
    time.sleep(0.05)
    work(0.04)
"""
"""A server and its load in one, which puts half of its work off until it has answered."""


@pytest.mark.parametrize("settling", [0.0, 0.2])
def test_what_a_server_puts_off_is_charged_to_its_rounds(settling: float) -> None:
    """Whether it falls into the while after a round or between the rounds."""
    process = Process("server", [sys.executable, "-c", SERVER], core=None)
    try:
        side = Side("side", process, process, sessions=8, place=Path(), settling=settling)
        process.hear()
        rest([side], 0.05, lambda said: None)
        began = process.cpu()
        take_turns([side], 2, 0.3, lambda said: None)
        while process.cpu() < began + 4 * 0.08:
            time.sleep(0.05)  # on a busy machine it may still be at work
        costs = side.costs()
    finally:
        process.stop()
    assert len(costs) == 2
    assert 0.008 < sum(costs) / 2 < 0.013  # half of it would be 0.005


def test_a_figure_is_what_was_aimed_at_what_must_be_or_neither() -> None:
    """Bounds are inclusive, for those where less is better and for those where more is."""
    node, rate = (next(each for each in BOUNDS if each.key == key) for key in ("node", "rate"))
    assert [node.judge(each) for each in (1.2, 1.21, 1.6, 1.61)] == ["aim", "must", "must", "missed"]
    assert [rate.judge(each) for each in (40_000, 39_999, 25_000, 24_999)] == ["aim", "must", "must", "missed"]


def test_every_figure_has_a_workload_and_every_workload_a_description() -> None:
    """Nothing is asked that nobody measures, and the document says what runs."""
    assert {each.workload for each in BOUNDS} == set(WORKLOADS)
    text = DOCUMENT.read_text()
    assert [name for name in WORKLOADS if f"| `{name}` |" not in text] == []


def test_a_run_of_one_workload_replaces_its_rows_and_nothing_else(tmp_path: Path) -> None:
    """What stands around the table stays to the letter; rows of other workloads keep their figures and dates."""
    document, kept = tmp_path / "performance.md", tmp_path / "performance.json"
    document.write_text(f"before\n\n{report.BEGIN}\nold\n{report.END}\n\nafter\n")
    results = {
        "lag": result("lag", Figure("lag", 12.0)),
        "meeting": result("meeting", Figure("meeting", 1.5, "20 rounds")),
    }
    report.keep(kept, results)
    again = report.ordered({**report.read(kept), "lag": result("lag", Figure("lag", 60.0))}, list(WORKLOADS))
    report.write(document, again)
    text = document.read_text()
    assert text.startswith(f"before\n\n{report.BEGIN}\n")
    assert text.endswith(f"{report.END}\n\nafter\n")
    assert f"{report.BEGIN}\nold" not in text
    assert "| 60.0 ms |  | ≤ 50.0 ms | ≤ 25.0 ms | **no** |" in text
    assert "| 1.50 ms | 20 rounds | ≤ 5.00 ms | ≤ 2.00 ms | aim |" in text


def test_a_document_without_its_place_is_left_alone(tmp_path: Path) -> None:
    """Markers that are missing or the wrong way round are said, and nothing is written."""
    for text in ("no place", f"{report.END}\n{report.BEGIN}\n"):
        document = tmp_path / "performance.md"
        document.write_text(text)
        with pytest.raises(report.ReportBroken):
            report.write(document, {})
        assert document.read_text() == text


def test_the_table_in_the_document_is_what_was_measured() -> None:
    """Nobody writes figures by hand: the table is made of those kept beside it."""
    kept = report.ordered(report.read(DOCUMENT.with_suffix(".json")), list(WORKLOADS))
    assert report.table(kept) in DOCUMENT.read_text()


def test_yardsticks_are_told_what_a_gateway_would_tell_and_answer_what_it_would_take() -> None:
    """The frames are the gateway's own."""
    notice = notice_payload(3)
    ack = wire.decode(ack_payload(notice))
    assert isinstance(ack, wire.Ack)
    assert ack.notice == msgspec.json.decode(notice)["notice"]
    assert 500 < len(notice) < 700


@pytest.mark.parametrize(("length", "digits"), [(127, 1), (128, 2), (16_383, 2), (16_384, 3), (2_097_152, 4)])
def test_a_packets_length_has_as_many_digits_as_the_standard_says(length: int, digits: int) -> None:
    """MQTT 3.1.1 §2.2.3, table 2.4."""
    overhead = len("\x00\x01t\x00\x01")
    packet = mqtt.publish("t", 1, b"x" * (length - overhead))
    assert len(packet) == 1 + digits + length
    ((found, end),) = mqtt.packets(packet)
    assert (found.kind, end, mqtt.identifier(found.body)) == (mqtt.PUBLISH, len(packet), b"\x00\x01")


@given(st.lists(st.tuples(st.integers(1, 65_535), st.binary(max_size=300)), max_size=4), st.data())
def test_packets_are_found_wherever_the_stream_is_cut(said: list[tuple[int, bytes]], data: st.DataObject) -> None:
    """What is whole is taken, the rest waits; nothing is taken twice."""
    stream = b"".join(mqtt.publish("calls/1", number, payload) for number, payload in said)
    cut = data.draw(st.integers(0, len(stream)))
    found, rest = [], b""
    for part in (stream[:cut], stream[cut:]):
        rest += part
        done = 0
        for packet, end in mqtt.packets(rest):
            found.append((int.from_bytes(mqtt.identifier(packet.body), "big"), packet.body[11:]))
            done = end
        rest = rest[done:]
    assert (found, rest) == (said, b"")


def test_a_length_that_is_none_is_refused() -> None:
    """At most four bytes (§2.2.3)."""
    with pytest.raises(ValueError, match="four bytes"):
        list(mqtt.packets(b"\x30\x80\x80\x80\x80\x01"))
