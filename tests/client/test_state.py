"""The pure part of the client at its edges: limits, pace, order, what is newer, what is final."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.client.frames import (
    BadFrame,
    Complaint,
    TooMuchUnconfirmed,
    read,
    verdict,
)
from gateway.client.outbox import BURST, LIMITS, PER_SECOND, Backoff
from gateway.client.state import SEEN_LIMIT, UNSHOWN_LIMIT, ClientState
from gateway.core.types import Capability, Level, State
from tests.client.frames import SAID, notice, sent, state, take


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=40))
def test_delays_are_fully_jittered_and_capped(chances: list[float]) -> None:
    """The n-th delay lies between 0 and min(30, 0.5 * 2^n) seconds; a reset starts anew."""
    backoff = Backoff()
    for attempt, chance in enumerate(chances):
        assert backoff.delay(chance) == pytest.approx(chance * min(30.0, 0.5 * 2**attempt))
    backoff.reset()
    assert backoff.delay(1.0) == 0.5


def test_repeating_much_is_paced_and_a_pong_is_not_held_back() -> None:
    """After a burst frames go at a rate that the gateway takes; pongs overtake everything."""
    client = ClientState()
    for number in range(BURST + 10):
        client.prove(f"n{number}", Level.RECEIVED, None, SAID)
    client.outbox.connected(0.0)
    burst = [client.outbox.next_frame(0.0) for _ in range(BURST + 1)]
    assert burst[-1] is None
    assert None not in burst[:-1]
    client.outbox.pong("now")
    assert b"pong" in (client.outbox.next_frame(0.0) or b"")
    assert client.outbox.next_frame(0.0) is None
    pause = client.outbox.wait(0.0)
    assert pause == pytest.approx(1 / PER_SECOND)
    assert client.outbox.next_frame(1.01 / PER_SECOND) is not None


def test_limits_refuse_the_app_and_keep_what_is_there() -> None:
    """At the limit nothing more is taken, nothing is dropped, and notices are still shown."""
    client = ClientState()
    for number in range(LIMITS["ack"]):
        client.prove(f"n{number}", Level.RECEIVED, None, SAID)
    with pytest.raises(TooMuchUnconfirmed):
        client.prove("one more", Level.ACKNOWLEDGED, "d", SAID)
    client.prove("n1", Level.RECEIVED, None, SAID)
    assert client.outbox.unconfirmed == LIMITS["ack"]
    client.join("c")
    take(client, notice(1))
    assert client.next_notice("c") is not None


def test_notices_nobody_takes_are_bounded_and_come_back_while_they_are_owed() -> None:
    """Without a listener the oldest is forgotten, not marked as shown: a later state brings it again."""
    client = ClientState()
    client.join("c")
    for number in range(1, UNSHOWN_LIMIT + 3):
        take(client, notice(number))
    take(client, state("c", UNSHOWN_LIMIT + 2, notice(1)))
    shown = []
    while (frame := client.next_notice("c")) is not None:
        shown.append(frame.revision)
    assert len(shown) == UNSHOWN_LIMIT
    assert shown[-1] == 1


def test_what_was_seen_is_remembered_longer_than_a_state_is_long() -> None:
    """A state lists at most 100 notices; all of the newest 100 are still known as seen."""
    client = ClientState()
    client.join("c")
    total = SEEN_LIMIT + 200
    for number in range(1, total + 1):
        take(client, notice(number))
        client.next_notice("c")
    take(client, state("c", total, *(notice(number) for number in range(total - 99, total + 1))))
    assert client.next_notice("c") is None


def test_a_return_to_a_call_shows_nothing_again() -> None:
    """Leaving and joining again begins without a revision and keeps what was seen."""
    client = ClientState()
    client.join("c")
    take(client, notice(1))
    assert client.next_notice("c") is not None
    client.leave("c")
    client.join("c")
    assert client.call("c") is None
    take(client, state("c", 1, notice(1)))
    assert client.next_notice("c") is None
    assert [frame["type"] for frame in sent(client)] == ["ack", "join"]


def test_a_late_repetition_is_shown_where_the_state_said_there_is_more() -> None:
    """An older revision is dropped, except while notices are owed that nothing has brought."""
    for more, expected in ((0, None), (3, "c2")):
        client = ClientState()
        client.join("c")
        take(client, state("c", 200, more=more))
        take(client, notice(2))
        frame = client.next_notice("c")
        assert (frame and frame.notice) == expected


def test_a_refusal_without_an_address_refuses_nothing() -> None:
    """An error that answers no request of ours is no reason to forget one."""
    client = ClientState()
    client.prove("n", Level.ACKNOWLEDGED, "d", SAID)
    assert take(client, Complaint(code="x")) == []
    assert take(client, Complaint(code="x", id="r99")) == []
    assert client.outbox.unconfirmed == 1


def test_a_temporary_refusal_without_an_address_has_every_ack_repeated() -> None:
    """The gateway put something off and did not say what: nothing of it is lost on a connection that stays."""
    client = ClientState()
    client.outbox.connected(0.0)
    for name in ("n", "m"):
        client.prove(name, Level.RECEIVED, None, SAID)
    assert len(sent(client, 0.0)) == 2
    for _ in range(3):
        client.take(Complaint(code="x", temporary=True), at=SAID, now=10.0, chance=1.0)
    assert client.outbox.next_frame(10.4) is None
    assert client.outbox.wait(10.0) == pytest.approx(0.5)
    assert [frame["notice"] for frame in sent(client, 10.6)] == ["n", "m"]


def test_a_state_nobody_asked_for_has_every_ack_repeated() -> None:
    """A client that fell behind gets one state for all that was dropped: its receipts may have been among that."""
    client = ClientState()
    client.join("c")
    client.prove("n1", Level.ACKNOWLEDGED, "d", SAID)
    client.outbox.connected(0.0)
    while client.outbox.next_frame(0.0) is not None:
        pass
    take(client, state("c", 3))
    assert b"n1" in (client.outbox.next_frame(1.0) or b"")


def test_a_withdrawn_consent_given_again_is_said_last() -> None:
    """The order of consent is the person's."""
    client = ClientState()
    for level in (Level.CONSENTED, Level.WITHDRAWN, Level.CONSENTED):
        client.prove("n", level, "d", SAID)
    assert [frame["level"] for frame in sent(client)] == ["withdrawn", "consented"]


def test_claims_end_with_the_call() -> None:
    """After a leave nothing is claimed on the next connection."""
    client = ClientState()
    client.join("c")
    client.observe("c", Capability.RECORDING, State.ACTIVE, None, SAID)
    client.leave("c")
    client.outbox.connected(0.0)
    assert [frame["type"] for frame in sent(client)] == ["leave"]


@pytest.mark.parametrize(
    ("code", "retry", "expected"),
    [
        (4001, None, "reconnect"),
        (4101, None, "refresh"),
        (4301, None, "elsewhere"),
        (4409, None, "never"),
        (4999, None, "never"),
        (1006, None, "reconnect"),
        (1008, None, "reconnect"),
        (4409, "reconnect", "reconnect"),
        (1000, "never", "never"),
        (4403, "perhaps", "never"),
    ],
)
def test_the_verdict_is_the_gateways_word_else_the_codes_meaning(code: int, retry: str | None, expected: str) -> None:
    """A bye outranks the close code; codes that are not the gateway's are never final."""
    assert verdict(code, retry) == expected


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"type":"notice"}', b'{"type":"ping","at":1}', b"\xff", b'{"type":"bye","code":"x"}']
)
def test_what_cannot_be_read_is_an_error_that_quotes_nothing(data: bytes) -> None:
    """A known kind of frame in a wrong shape is refused; an unknown kind is none."""
    with pytest.raises(BadFrame, match=r"^the gateway sent a frame that cannot be read$"):
        read(data)
    assert read(b'{"type":"new"}') is None
