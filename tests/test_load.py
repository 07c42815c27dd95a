"""The load's parts: what its sessions say and count, its histograms, its findings and what is shown of them."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.console import Console
from websockets.utils import apply_mask

from gateway.core import wire
from gateway.core.framing import MASK_LENGTH, frame, measure
from gateway.core.types import Level
from load import findings, page, show
from load.crew import Sum
from load.drive import Phase
from load.frames import upgrade
from load.histogram import Histogram
from load.metrics import quantile, read, since
from load.plan import Plan
from load.sessions import Session
from load.tally import Call, Manner, Tally
from load.targets import Covered, LoadFailed
from load.watching import Row

AT = datetime(2026, 11, 27, 12, tzinfo=UTC)
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"


class Wire(asyncio.Transport):
    """A transport that keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def abort(self) -> None:
        """Nothing more is written."""

    def frames(self) -> Iterator[dict[str, Any]]:
        """What was said after the upgrade."""
        start = self.written.index(b"\r\n\r\n") + 4
        while start < len(self.written):
            begin, end = measure(self.written, start)
            said = apply_mask(self.written[begin:end], self.written[begin - MASK_LENGTH : begin])
            yield json.loads(said) if self.written[start] == 0x81 else {"type": "pong", "data": said}
            start = end


def notice_fields(number: int) -> dict[str, Any]:
    """A notice as it goes over the wire."""
    return {
        "call": "c",
        "revision": number,
        "notice": f"n_{number:026}",
        "capability": "recording",
        "change": "started",
        "occurred_at": f"2026-11-27T12:00:00.{number:03}Z",
        "text": {"locale": "en", "title": "T", "body": "B", "link": "https://x"},
        "digest": "sha256:" + "0" * 64,
    }


def notice(number: int) -> bytes:
    """The frame of a notice."""
    return frame(json.dumps({"type": "notice", **notice_fields(number)}, separators=(",", ":")).encode())


def receipt(number: int, level: str = "acknowledged", entry: int = 9) -> bytes:
    """The frame of a receipt, by the gateway's own writer."""
    return frame(wire.receipt(notice=f"n_{number:026}", level=Level(level), entry=entry, at=AT))


def state(owed: Sequence[int] = ()) -> bytes:
    """The frame of a state with these notices owed, by the gateway's own writer."""
    notices = [notice_fields(number) for number in owed]
    return frame(wire.state(id="1", call="c", revision=0, capabilities={}, notices=notices, more=0))


class World:
    """One session, its wire and what is counted."""

    def __init__(self, levels: Sequence[str] = ("acknowledged",)) -> None:
        self.tally = Tally(Manner(levels))
        self.call = Call("c")
        self.session = Session(upgrade("ws://127.0.0.1:1/v1/ws"), "token", self.call, self.tally)
        self.wire = Wire()

    def connect(self) -> None:
        """A new connection."""
        self.wire = Wire()
        self.session.start()
        self.session.connection_made(self.wire)

    def event(self, number: int, began_at: float = 0.0) -> None:
        """An event whose notice has this number."""
        self.tally.event(f"2026-11-27T12:00:00.{number:03}Z", began_at)
        self.call.events += 1


async def test_whatever_way_the_bytes_are_cut_a_session_says_and_counts_the_same() -> None:
    """Fast paths for whole frames must not be what makes it right: every cut of the stream gives the same."""
    pieces = [SWITCHED, state(), notice(0), receipt(0), notice(1), b"\x89\x02hi", receipt(1, entry=10**6)]
    stream, ends = b"".join(pieces), list(itertools.accumulate(len(each) for each in pieces))[:-1]

    @settings(max_examples=100, deadline=None)
    @example({ends[2]})  # a usual frame, and more behind it
    @given(st.sets(st.sampled_from(ends) | st.integers(1, len(stream) - 1), max_size=12))
    def holds(cuts: set[int]) -> None:
        world = World()
        world.event(0)
        world.event(1)
        world.connect()
        for begin, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(stream)], strict=True):
            world.session.data_received(stream[begin:end])
        assert [each["type"] for each in world.wire.frames()] == ["hello", "join", "ack", "ack", "pong"]
        assert world.session.joined.done()
        assert world.session.unheard == world.session.behind == 0
        times = world.tally.drain()
        assert [len(times[kind]) for kind in ("frame", "receipt", "confirm", "connect")] == [2, 2, 2, 1]
        assert not world.tally.faults

    holds()


async def test_a_reminder_counts_once_and_is_not_answered_again() -> None:
    """What a session heard it has heard; else a slow gateway would look like one that proves twice."""
    world = World()
    world.event(0)
    world.connect()
    world.session.data_received(SWITCHED)
    for data in (state(), notice(0), notice(0), receipt(0), receipt(0)):
        world.session.data_received(data)
    assert [each["type"] for each in world.wire.frames()] == ["hello", "join", "ack"]
    assert world.tally.counts["repeated"] == 1
    assert [len(each) for each in world.tally.drain().values()][:3] == [1, 1, 1]


async def test_times_run_from_the_event_that_the_notice_names() -> None:
    """With several notices under way each has its own beginning."""
    world = World()
    world.connect()
    now = asyncio.get_running_loop().time()
    world.event(1, now - 100)
    world.event(2, now - 10)
    world.session.data_received(SWITCHED)
    for data in (state(), notice(1), notice(2), receipt(2), receipt(1)):
        world.session.data_received(data)
    frames = world.tally.drain()["frame"]
    assert [round(each) for each in frames] == [100, 10]
    assert world.session.behind == 0


async def test_who_comes_back_catches_up_and_says_again_what_has_no_receipt() -> None:
    """Nothing may be missing in the end, and nothing of it may pass for the gateway's own time."""
    world = World()
    world.connect()
    world.session.data_received(SWITCHED)
    world.event(0)
    for data in (state(), notice(0)):
        world.session.data_received(data)
    world.session.drop()
    world.session.connection_lost(None)
    assert not world.session.connected
    world.event(1)
    world.connect()
    # The ack of 0 was written though no receipt came; of 1 it never heard.
    world.session.data_received(SWITCHED + state([1]))
    acks = [each["notice"] for each in world.wire.frames() if each["type"] == "ack"]
    assert sorted(acks) == [f"n_{number:026}" for number in (0, 1)]
    assert world.session.behind == 2
    world.session.data_received(receipt(1) + receipt(0))
    times = world.tally.drain()
    assert world.session.behind == world.session.unheard == 0
    assert (len(times["frame"]), len(times["receipt"])) == (1, 0)
    assert world.tally.counts["caught up"] == 2


async def test_every_level_is_confirmed_and_the_last_one_proves() -> None:
    """A receipt for a lower level is no proof."""
    world = World(("received", "displayed", "acknowledged"))
    world.event(0)
    world.connect()
    world.session.data_received(SWITCHED)
    world.session.data_received(state())
    world.session.data_received(notice(0))
    acks = [each for each in world.wire.frames() if each["type"] == "ack"]
    assert [each["level"] for each in acks] == ["received", "displayed", "acknowledged"]
    assert all(each["digest"] == notice_fields(0)["digest"] for each in acks)
    world.session.data_received(receipt(0, "received") + receipt(0, "displayed"))
    assert world.session.behind == 1
    world.session.data_received(receipt(0))
    assert world.session.behind == 0
    assert len(world.tally.drain()["confirm"]) == 3


async def test_a_refused_upgrade_an_error_and_a_close_are_faults_by_name() -> None:
    """What goes wrong is said; it is not taken for silence."""
    world = World()
    world.connect()
    world.session.data_received(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")
    world.session.connection_lost(None)
    with pytest.raises(ConnectionError):
        await world.session.joined
    world.connect()
    world.session.data_received(SWITCHED + frame(wire.error(code="wrong_digest", message="no", temporary=False)))
    world.session.data_received(b"\x88\x02" + (4002).to_bytes(2, "big"))
    assert set(world.tally.faults) == {"refused with 503", "error wrong_digest", "closed with 4002"}


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(1e-6, 200.0), min_size=1, max_size=200), st.sampled_from([50.0, 99.0, 99.9, 100.0]))
def test_a_histogram_keeps_three_digits_of_every_time_through_encoding_and_adding(
    values: list[float], percentile: float
) -> None:
    """What is written to a file and added up from several processes is what was measured."""
    halves = [Histogram(), Histogram()]
    halves[0].record(values[::2])
    halves[1].record(values[1::2])
    whole = Histogram()
    for each in halves:
        whole.add(Histogram.decode(each.encode()))
    ordered = sorted(values)
    place = max(0, -(-len(values) * percentile // 100) - 1)
    assert len(whole) == len(values)
    assert whole.at(percentile) == pytest.approx(ordered[int(place)], rel=2e-3, abs=2e-6)


@pytest.mark.parametrize("text", ["", "x", "HISTFAAA", "HISTFAAAACh4nJNpmSzMwMCgwAABzFCaEUQ"])
def test_what_is_no_histogram_is_refused(text: str) -> None:
    """Findings are files, and files get damaged."""
    with pytest.raises(ValueError, match="not an encoded histogram"):
        Histogram.decode(text)


def test_the_gateways_lag_is_added_up_over_labels_and_taken_between_two_readings() -> None:
    """A region or a worker more changes no figure but its own share."""
    text = "\n".join(
        [
            "# TYPE gateway_event_loop_lag_seconds histogram",
            'gateway_event_loop_lag_seconds_bucket{le="0.01"} 90',
            'gateway_event_loop_lag_seconds_bucket{le="+Inf"} 100',
            'gateway_event_loop_lag_seconds_bucket{worker="2",le="0.01"} 10',
            'gateway_event_loop_lag_seconds_bucket{worker="2",le="+Inf"} 10',
            'gateway_writer_queue{region="a"} 3',
            'gateway_writer_queue{region="b"} 4',
        ]
    )
    reading = read(text)
    assert reading.lag == {0.01: 100, float("inf"): 110}
    assert reading.queue == 7
    assert since({0.01: 50}, reading.lag) == {0.01: 50, float("inf"): 110}
    assert quantile({0.01: 100, 0.02: 200}, 0.75) == pytest.approx(0.015)


def found(*, proved: int = 40, late: float = 0.001, cpu: float = 0.2, faults: int = 0) -> findings.Findings:
    """Findings of a load of ten sessions in two calls, with two notices in each."""
    result = Sum()
    for kind in ("frame", "receipt", "confirm", "connect"):
        result.histograms[kind].record([late] * 40)
    result.counts.update({"heard": 40, "proved": proved})
    result.faults.update({"closed with 4002": faults} if faults else {})
    result.behind = 40 - proved
    phase = Phase("steady", seconds=2.0, told=4, server_cpu=0.1, busiest=cpu, lag={0.01: 99, 0.02: 100}, sum=result)
    row = Row(1.0, "steady", 20, 4, 20.0, 20.0, 0, 0.1, 1 << 20, 0.001, 0.002, 0, cpu, 0.0, 0.001)
    about = {"command": "scripts/load_test <x>", "machine": MACHINE, "versions": {"python": "3"}}
    return findings.findings(PLAN, [phase], [row], Covered(40, proved, {"overdue": 40 - proved}), about)


PLAN = Plan(config=Path("gateway.toml"), sessions=20, calls=2)
MACHINE = {
    "processor": "P",
    "cores": 2,
    "cores of the load": [1],
    "cores of the server": [0],
    "kernel": "6",
    "load average before": 0.1,
}


def test_findings_say_what_is_unproved_and_what_the_load_itself_did() -> None:
    """Silence means proved; a load that was too slow says so."""
    assert found()["unproved"] == []
    assert found()["bottleneck"] == []
    assert found(faults=3)["unproved"] == []
    (mine, theirs) = found(proved=39)["unproved"]
    assert mine == "1 notices were heard and not proved"
    assert theirs == "coverage counts 39 proofs of 40 owed, and 40 were told: 1 overdue"
    (held,) = found(cpu=0.95)["bottleneck"]
    assert "95% of a core" in held
    lost = Sum(away=2)
    assert findings.findings(PLAN, [Phase("ramp", seconds=1.0, sum=lost)], [], None, {})["unproved"] == [
        "2 sessions are not in their call"
    ]
    figures = found()["phases"][0]["figures"]
    assert figures["server CPU per proved notice"] == pytest.approx(0.1 / 40)
    assert figures["proofs per second"] == 20
    assert figures["event → frame p99.9"] == pytest.approx(0.001, rel=2e-3)


def test_the_summary_the_page_and_the_comparison_show_what_was_found() -> None:
    """A page is complete in itself and escapes what is not ours; a comparison says ratios."""
    left, right = found(), found(late=0.003, proved=39, faults=2)
    console = Console(width=120, record=True, file=io.StringIO())
    show.show(console, right)
    show.compare(console, left, right)
    text = console.export_text()
    for said in ("NOT PROVED: 1 notices", "2 × closed with 4002", "1.00 ms", "3.00 ms", "scripts/load_test <x>"):
        assert said in text
    assert re.search(r"event → frame p99 .* 3\.00 ", text)
    for html in (page.page(right), page.comparison(left, right)):
        assert html.count("<svg") == html.count("</svg>") > 0
        assert "scripts/load_test &lt;x&gt;" in html
        assert "<script" not in html
        assert not re.search(r'(src|href)="(?!#)', html)
    assert page.page(right) == page.page(json.loads(json.dumps(right)))


def test_only_findings_of_this_form_are_read(tmp_path: Path) -> None:
    """Anything else is one line, no traceback."""
    file = tmp_path / "a.json"
    file.write_text(json.dumps(found()))
    assert findings.read(file) == json.loads(file.read_text())
    for other in ("", "[]", '{"format": 0}'):
        file.write_text(other)
        with pytest.raises(LoadFailed, match=r"a\.json"):
            findings.read(file)


@given(sessions=st.integers(1, 60), calls=st.integers(1, 60), processes=st.integers(1, 5), slow=st.integers(0, 60))
def test_the_sessions_are_shared_out_exactly_once(sessions: int, calls: int, processes: int, slow: int) -> None:
    """Each token has one session, in the call that it was made for, whatever the number of processes."""
    plan = Plan(config=Path("x"), sessions=sessions, calls=calls, processes=processes, slow=slow)
    if calls > sessions or slow > sessions:
        with pytest.raises(LoadFailed):
            plan.check()
        return
    plan.check()
    orders = plan.orders("ws://127.0.0.1:1/", plan.names(), [str(number) for number in range(sessions)])
    shared = {token: place for each in orders for token, place in zip(each.tokens, each.places, strict=True)}
    assert shared == {str(number): number % calls for number in range(sessions)}
    assert sum(each.slow for each in orders) == slow


def test_more_sessions_than_a_process_may_hold_are_refused_with_what_to_do() -> None:
    """The hard limit of open files is said to be what bounds."""
    with pytest.raises(LoadFailed, match=r"ulimit -Hn.*--processes"):
        Plan(config=Path("x"), sessions=10**9).check()
