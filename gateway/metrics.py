"""What the gateway counts about itself, in Prometheus text; everything is owned by the loop.

Rules: no label ever names a person, a call or an organisation, and every label has few values. All metrics:

| metric | kind | labels | counts |
|---|---|---|---|
| `gateway_notices_issued_total` | counter | `capability`, `change` | notices issued |
| `gateway_notices_sent_total` | counter | | notices written to sockets, alone or in a state |
| `gateway_frames_sent_total` | counter | | frames of every kind written to sockets |
| `gateway_receipts_total` | counter | `level` | receipts given, each after its commit |
| `gateway_events_total` | counter | `outcome` | events taken: `accepted`, `duplicate`, `refused` |
| `gateway_closes_total` | counter | `code` | connections ended, by close code |
| `gateway_turned_away_total` | counter | `door` | people refused because their region is not served here |
| `gateway_overdue_total` | counter | | presences that passed a notice's deadline without its level |
| `gateway_sweep_deleted_total` | counter | | rows deleted by sweeps |
| `gateway_forks_reported_total` | counter | `region` | checkpoints of our own key that our ledger does not continue |
| `gateway_cosignatures_total` | counter | `region` | checkpoints of this region that another one here vouched for |
| `gateway_cosignatures_refused_total` | counter | `region` | checkpoints of this region that contradict what was seen |
| `gateway_timestamps_total` | counter | `outcome` | time stamps asked for: `kept`, `failed` |
| `gateway_workers_lost_total` | counter | | workers that ended unasked, each replaced |
| `gateway_sessions` | gauge | | sessions open now |
| `gateway_workers` | gauge | | workers that accept connections now |
| `gateway_gaps_open` | gauge | | presences without the required level of a notice whose episode is open |
| `gateway_writer_queue` | gauge | `region` | submissions not yet durable |
| `gateway_storage_failing` | gauge | `region` | 1 while proof cannot be written or the region is not open, else 0 |
| `gateway_event_to_last_frame_seconds` | histogram | | from an event's arrival to its notice's last frame |
| `gateway_ack_to_durable_seconds` | histogram | | from a client's ack to its commit |
| `gateway_sweep_seconds` | histogram | | how long a sweep of one region took |
| `gateway_event_loop_lag_seconds` | histogram | | how late the loop ran what was due, 50 times a second |
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from itertools import accumulate
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
"""The media type of `Metrics.render()`."""

Outcome = Literal["accepted", "duplicate", "refused"]

_FAST: Final = (
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.015,
    0.02,
    0.025,
    0.035,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
)
_PROTOCOL_CODES: Final = (1000, 1001, 1002, 1003, 1006, 1007, 1009, 1011)
CLOSE_CODES: Final = (4001, 4002, 4003, 4008, 4013, 4101, 4301, 4400, 4401, 4403, 4408, 4409, 4413, 4429)
"""The gateway's own close codes (RFC 6455 §7.4.2 leaves 4000-4999 to applications)."""

_CODES: Final = frozenset(_PROTOCOL_CODES + CLOSE_CODES)


class Durations(Collector):
    """A histogram that takes many like durations as one: acks and receipts come by the hundred in one moment."""

    def __init__(self, name: str, about: str) -> None:
        self._name: Final = name
        self._about: Final = about
        self._counts: Final = [0] * (len(_FAST) + 1)
        self._sum = 0.0

    def observe(self, seconds: float, count: int = 1) -> None:
        """`count` times it took so long."""
        self._counts[bisect_left(_FAST, seconds)] += count
        self._sum += seconds * count

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """As the library's registry asks for it."""
        bounds = [*map(str, _FAST), "+Inf"]
        buckets = list(zip(bounds, accumulate(self._counts), strict=True))
        yield HistogramMetricFamily(self._name, self._about, buckets=buckets, sum_value=self._sum)


class Metrics:
    """One process's metrics in a registry of its own, so that tests and processes never share counts."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._notices_issued = self._counter("notices_issued", "Notices issued", "capability", "change")
        self._notices_sent = self._counter("notices_sent", "Notices written to sockets")
        self._frames_sent = self._counter("frames_sent", "Frames of every kind written to sockets")
        self._receipts = self._counter("receipts", "Receipts given after their commit", "level")
        self._events = self._counter("events", "Events taken", "outcome")
        self._closes = self._counter("closes", "Connections ended", "code")
        self._turned_away = self._counter("turned_away", "People whose region is not served here", "door")
        self._overdue = self._counter("overdue", "Presences without the required level at the deadline")
        self._sweep_deleted = self._counter("sweep_deleted", "Rows deleted by sweeps")
        self._forks_reported = self._counter("forks_reported", "Own checkpoints the ledger does not continue", "region")
        self._cosignatures = self._counter("cosignatures", "Checkpoints vouched for", "region")
        self._refused = self._counter("cosignatures_refused", "Checkpoints that contradict what was seen", "region")
        self._timestamps = self._counter("timestamps", "Time stamps asked for", "outcome")
        self._workers_lost = self._counter("workers_lost", "Workers that ended unasked")
        self._sessions = self._gauge("sessions", "Sessions open now")
        self._workers = self._gauge("workers", "Workers that accept connections now")
        self._gaps_open = self._gauge("gaps_open", "Gaps of open episodes")
        self._writer_queue = self._gauge("writer_queue", "Submissions not yet durable", "region")
        self._storage_failing = self._gauge("storage_failing", "1 while proof cannot be written", "region")
        self._event_to_last_frame = self._histogram("event_to_last_frame", "From event to last frame")
        self._ack_to_durable = self._histogram("ack_to_durable", "From a client's ack to its commit")
        self._sweep_seconds = self._histogram("sweep", "Duration of a region's sweep")
        self._event_loop_lag = self._histogram("event_loop_lag", "How late the loop ran what was due")
        self._children: dict[tuple[Counter, tuple[str, ...]], Counter] = {}
        self._gather: Callable[[], None] = _nothing

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        return Counter(f"gateway_{name}", about, labels, registry=self._registry)

    def _gauge(self, name: str, about: str, *labels: str) -> Gauge:
        return Gauge(f"gateway_{name}", about, labels, registry=self._registry)

    def _histogram(self, name: str, about: str) -> Durations:
        durations = Durations(f"gateway_{name}_seconds", about)
        self._registry.register(durations)
        return durations

    def _child(self, counter: Counter, *labels: str) -> Counter:
        # Looking a child up through the library costs four times as much.
        child = self._children.get((counter, labels))
        if child is None:
            child = self._children[counter, labels] = counter.labels(*labels)
        return child

    def notice_issued(self, capability: str, change: str) -> None:
        """One notice about `change` of `capability` was issued."""
        self._child(self._notices_issued, capability, change).inc()

    def notices_sent(self, count: int = 1) -> None:
        """`count` notices were written to sockets."""
        self._notices_sent.inc(count)

    def frames_sent(self, count: int = 1) -> None:
        """`count` frames were written to sockets."""
        self._frames_sent.inc(count)

    def receipts(self, level: str, count: int = 1) -> None:
        """`count` receipts for `level` were given."""
        self._child(self._receipts, level).inc(count)

    def event(self, outcome: Outcome, count: int = 1) -> None:
        """`count` events came in with this outcome."""
        self._child(self._events, outcome).inc(count)

    def closed(self, code: int) -> None:
        """A connection ended with `code`; one a client made up counts as `other`, or labels had no bound."""
        self._child(self._closes, str(code) if code in _CODES else "other").inc()

    def turned_away(self, door: str) -> None:
        """Somebody was refused at `door` because their region is not served here."""
        self._child(self._turned_away, door).inc()

    def overdue(self, count: int = 1) -> None:
        """`count` presences passed a deadline."""
        self._overdue.inc(count)

    def fork_reported(self, region: str) -> None:
        """A client brought a checkpoint that `region` signed and does not continue."""
        self._forks_reported.labels(region).inc()

    def cosigned(self, region: str) -> None:
        """A checkpoint of `region` was vouched for by another region."""
        self._cosignatures.labels(region).inc()

    def cosignature_refused(self, region: str) -> None:
        """A checkpoint of `region` contradicts one that was seen before."""
        self._refused.labels(region).inc()

    def timestamp(self, outcome: Literal["kept", "failed"]) -> None:
        """An authority was asked for a time stamp, with this outcome."""
        self._timestamps.labels(outcome).inc()

    def sessions(self, count: int) -> None:
        """`count` sessions are open now."""
        self._sessions.set(count)

    def workers(self, count: int) -> None:
        """`count` workers accept connections now."""
        self._workers.set(count)

    def worker_lost(self) -> None:
        """A worker ended unasked."""
        self._workers_lost.inc()

    def gaps_open(self, count: int) -> None:
        """`count` gaps stand in open episodes now."""
        self._gaps_open.set(count)

    def writer_queue(self, region: str, count: int) -> None:
        """`count` submissions of `region` are not yet durable."""
        self._writer_queue.labels(region).set(count)

    def storage_failing(self, region: str, failing: bool) -> None:
        """Whether `region` cannot write its proof now."""
        self._storage_failing.labels(region).set(int(failing))

    def event_to_last_frame(self, seconds: float) -> None:
        """A notice's last frame was written so long after its event arrived."""
        self._event_to_last_frame.observe(seconds)

    def ack_to_durable(self, seconds: float, count: int = 1) -> None:
        """The commit of `count` acks came so long after them."""
        self._ack_to_durable.observe(seconds, count)

    def swept(self, deleted: int, seconds: float) -> None:
        """A region's sweep deleted so many rows in so long."""
        self._sweep_deleted.inc(deleted)
        self._sweep_seconds.observe(seconds)

    def event_loop_lag(self, seconds: float) -> None:
        """The loop ran what was due so much too late."""
        self._event_loop_lag.observe(seconds)

    def gather_with(self, gather: Callable[[], None]) -> None:
        """`gather` brings gauges up to date that are dear to keep, each time somebody asks."""
        self._gather = gather

    def render(self) -> bytes:
        """Everything in the Prometheus text format, of type `CONTENT_TYPE`."""
        self._gather()
        return generate_latest(self._registry)


def _nothing() -> None:
    """Until somebody says how, nothing is gathered."""
