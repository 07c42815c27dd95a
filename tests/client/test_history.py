"""For any history, a notice is shown once and an unconfirmed ack is never forgotten."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gateway.client.frames import (
    Complaint,
    Receipt,
)
from gateway.client.state import ClientState
from gateway.core.types import Level
from tests.client.frames import AT, SAID, notice, sent, state, take


class History(RuleBasedStateMachine):
    """Any interleaving of calls, notices, acks, receipts, refusals, losses and returns."""

    def __init__(self) -> None:
        super().__init__()
        self.client = ClientState()
        self.client.outbox.connected(0.0)
        self.now = 0.0
        self.shown: list[str] = []
        self.unconfirmed: dict[tuple[str, str], None] = {}
        self.wanted: set[str] = set()
        self.surfaced: set[str] = set()

    calls = st.sampled_from(["c", "d"])
    numbers = st.integers(1, 12)
    levels = st.sampled_from([level for level in Level if level is not Level.SENT])

    @rule(call=calls)
    def join(self, call: str) -> None:
        self.client.join(call)
        self.wanted.add(call)

    @rule(call=calls)
    def leave(self, call: str) -> None:
        self.client.leave(call)
        self.wanted.discard(call)

    @rule(call=calls, number=numbers)
    def tell(self, call: str, number: int) -> None:
        known = self.client.call(call)
        newer = known is None or number > known.revision
        take(self.client, notice(number, call))
        if call in self.wanted and newer:
            self.surface(f"{call}{number}")

    @rule(call=calls, revision=numbers, numbers=st.sets(numbers, max_size=5))
    def restate(self, call: str, revision: int, numbers: set[int]) -> None:
        take(self.client, state(call, revision, *(notice(number, call) for number in numbers)))
        for number in numbers:
            if call in self.wanted:
                self.surface(f"{call}{number}")

    def surface(self, name: str) -> None:
        if name not in self.surfaced:
            self.surfaced.add(name)
            self.unconfirmed[name, "received"] = None

    @rule(call=calls)
    def show(self, call: str) -> None:
        frame = self.client.next_notice(call)
        if frame is not None:
            self.shown.append(frame.notice)

    @rule(call=calls, number=numbers, level=levels)
    def prove(self, call: str, number: int, level: Level) -> None:
        self.client.prove(f"{call}{number}", level, "d", SAID)
        self.unconfirmed[f"{call}{number}", level.value] = None

    @rule(call=calls, number=numbers, level=levels)
    def confirm(self, call: str, number: int, level: Level) -> None:
        name = f"{call}{number}"
        answers = take(self.client, Receipt(notice=name, level=level, entry=1, at=AT))
        assert bool(answers) == ((name, level.value) in self.unconfirmed)
        self.unconfirmed.pop((name, level.value), None)

    @rule(call=calls, number=numbers, level=levels, temporary=st.booleans())
    def refuse(self, call: str, number: int, level: Level, temporary: bool) -> None:
        name = f"{call}{number}"
        take(self.client, Complaint(code="x", temporary=temporary, notice=name, level=level), self.now)
        if not temporary:
            self.unconfirmed.pop((name, level.value), None)

    @rule(frames=st.integers(0, 5))
    def send(self, frames: int) -> None:
        for _ in range(frames):
            self.client.outbox.next_frame(self.now)
        self.now += 0.01

    @rule()
    def reconnect(self) -> None:
        self.now += 1.0
        self.client.outbox.connected(self.now)

    @invariant()
    def nothing_is_shown_twice(self) -> None:
        assert len(self.shown) == len(set(self.shown))

    @invariant()
    def nothing_unconfirmed_is_forgotten(self) -> None:
        for name, level in self.unconfirmed:
            assert ("ack", name, level) in self.client.outbox

    def teardown(self) -> None:
        """On the next connection every unconfirmed ack is said exactly once, after the joins."""
        self.client.outbox.connected(self.now)
        frames = sent(self.client, self.now)
        acks = [(frame["notice"], frame["level"]) for frame in frames if frame["type"] == "ack"]
        assert sorted(acks) == sorted(self.unconfirmed)
        joins = [frame["call"] for frame in frames[: len(self.wanted)] if frame["type"] == "join"]
        assert set(joins) == self.wanted


TestHistory = History.TestCase
TestHistory.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
