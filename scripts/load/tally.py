"""What a load's sessions share: the calls, the notices they were told, and the times of all that.

Rules: owned by the loop of one load process; a notice counts once for each session, when it was heard first and when
its last level was proved first; times that say nothing about the gateway (of notices caught up with after being away)
are kept out of the histograms.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from .frames import Heard, framed, receipt
from .histogram import Histogram

KINDS: Final = ("frame", "receipt", "confirm", "connect", "lag")
"""What there are histograms of: event to frame, event to receipt, ack to receipt, connecting to state, own lateness."""


@dataclass(frozen=True)
class Manner:
    """How the sessions behave; `levels` in their order, times in seconds."""

    levels: Sequence[str]
    think: float = 0.0
    jitter: float = 0.0
    receipts: bool = True

    @property
    def at_once(self) -> int:
        """How many levels are confirmed without thinking: all, or `received` alone."""
        if self.think == 0.0:
            return len(self.levels)
        return 1 if self.levels[0] == "received" else 0


class Proof:
    """One level of one notice, as a session confirms it and waits for its receipt."""

    __slots__ = ("ack", "confirmed", "last", "level", "notice", "prefix")

    def __init__(self, notice: Notice, level: str, digest: str, *, last: bool) -> None:
        frame: dict[str, object] = {"type": "ack", "notice": notice.id, "level": level}
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        self.ack = framed({**frame, "at": at, "digest": digest})
        self.prefix = receipt(notice.id, level)
        self.notice = notice
        self.level = level
        self.last = last
        self.confirmed: list[float] = []


class Notice:
    """One notice of one call: its frame, the acks everyone sends, and when it was heard and proved.

    `bit` stands for it in the sets that sessions keep as numbers; times are of `time.perf_counter`.
    """

    __slots__ = ("acks", "at_once", "began_at", "bit", "frame", "heard", "id", "proofs", "proved")

    def __init__(self, heard: Heard, frame: bytes, number: int, began_at: float, manner: Manner) -> None:
        self.id = heard.notice
        self.frame = frame
        self.bit = 1 << number
        self.began_at = began_at
        last = len(manner.levels) - 1
        self.proofs = [
            Proof(self, level, heard.digest, last=place == last) for place, level in enumerate(manner.levels)
        ]
        self.at_once = self.proofs[: manner.at_once]
        self.acks = b"".join(each.ack for each in self.at_once)
        self.heard: list[float] = []
        self.proved: list[float] = []


NOTHING: Final = Notice(Heard("notice"), b"", 0, 0.0, Manner(("received",)))
"""What stands for a notice where none was told yet; no frame is like it."""


class Call:
    """One call as the sessions of this process know it; `events` counts what they must hear of."""

    __slots__ = ("events", "name", "newest", "notices")

    def __init__(self, name: str) -> None:
        self.name = name
        self.events = 0
        self.newest = NOTHING
        self.notices: dict[str, Notice] = {}


@dataclass
class Tally:
    """The counts and times of one load process."""

    manner: Manner
    histograms: dict[str, Histogram] = field(default_factory=lambda: {kind: Histogram() for kind in KINDS})
    counts: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    connects: list[float] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)
    awaited: int = 0
    """Sessions that the round waits for; below 1 when no round is on."""
    done: Callable[[], None] | None = None
    _events: dict[str, float] = field(default_factory=dict)
    _latest: float = 0.0
    fresh: dict[str, Notice] = field(default_factory=dict)
    """The notices that have times not yet drained."""
    _pong: tuple[str, bytes] = ("", b"")

    def event(self, at: str, began_at: float) -> None:
        """An event with the time `at` is on its way since `began_at`."""
        self._events[at] = self._latest = began_at

    def learn(self, call: Call, heard: Heard, frame: bytes = b"") -> Notice:
        """The notice that was `heard` in `call`, whose `frame` that was."""
        found = call.notices.get(heard.notice)
        if found is None:
            # Servers that do not say when the event occurred have one event at a time.
            began_at = self._events.get(heard.occurred_at, self._latest)
            found = Notice(heard, frame, len(call.notices), began_at, self.manner)
            call.notices[heard.notice] = found
        if frame:
            found.frame = frame
            call.newest = found
        return found

    def told(self, notice: Notice) -> None:
        """A session has heard of `notice` while it was news."""
        notice.heard.append(time.perf_counter())
        self.fresh[notice.id] = notice
        if not self.manner.receipts:
            self.settle()

    def settle(self) -> None:
        """A session has done its part of the round."""
        self.awaited -= 1
        if self.awaited == 0 and self.done is not None:
            self.done()

    def pong(self, at: str) -> bytes:
        """The answer to a ping, which all sessions of a moment send alike."""
        if self._pong[0] != at:
            self._pong = (at, framed({"type": "pong", "at": at}))
        return self._pong[1]

    def fault(self, what: str) -> None:
        """Something that should not happen has."""
        self.faults[what] += 1

    def drain(self) -> dict[str, list[float]]:
        """The times since last asked, by kind in seconds; they are in the histograms then."""
        times: dict[str, list[float]] = {"frame": [], "receipt": [], "confirm": []}
        for each in self.fresh.values():
            times["frame"] += [at - each.began_at for at in each.heard]
            times["receipt"] += [at - each.began_at for at in each.proved]
            each.heard.clear()
            each.proved.clear()
            for proof in each.proofs:
                times["confirm"] += proof.confirmed
                proof.confirmed.clear()
        self.fresh.clear()
        times["connect"], times["lag"] = self.connects, self.lags
        self.connects, self.lags = [], []
        for kind, values in times.items():
            self.histograms[kind].record(values)
        self.counts["heard"] += len(times["frame"])
        self.counts["proved"] += len(times["receipt"])
        self.counts["confirmed"] += len(times["confirm"])
        return times

    def take(self) -> dict[str, str]:
        """The histograms, encoded; they begin anew."""
        self.drain()
        taken = {kind: each.encode() for kind, each in self.histograms.items()}
        self.histograms = {kind: Histogram() for kind in KINDS}
        return taken
