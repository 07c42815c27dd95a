"""The two ends of a link: what is asked reaches the hub, what is sent reaches the sockets, and nothing piles up."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core import wire
from gateway.core.session import Phase, Session
from gateway.core.types import Level
from gateway.hub.roll import Roll
from gateway.link.link import SLICE, Link
from gateway.link.messages import Drain, Listening
from gateway.link.tally import Tally
from gateway.metrics import Metrics
from tests.edge_world import Recorder
from tests.link.ends import Ends, framed, settle

NOW = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)
JOIN = wire.Join(id="1", call="c")


def transport(link: Link[Any]) -> asyncio.Transport:
    """What carries one end."""
    assert link._to is not None
    return link._to


def recorder(**limits: int) -> Recorder:
    """A hub with a roll of its own."""
    return Recorder(Roll(**limits), Metrics())


async def test_the_hub_sees_the_session_as_the_edge_has_it() -> None:
    """Whatever a decision may rest on is there; it is welcomed with what the hub shows."""
    async with Ends.joined() as ends:
        ends.hub.checkpoint = "newest"
        session = ends.enter("ada", "laptop", "c", "d")
        await settle()
        assert session.phase is Phase.OPEN
        far = ends.far(session)
        fields = ("id", "participant", "organization", "region", "role", "calls", "name", "device", "locale")
        for field in (*fields, "capabilities", "expires_at"):
            assert getattr(far, field) == getattr(session, field), field
        assert (far.phase, far.carrier, len(ends.region), len(ends.hub.roll)) == (Phase.OPEN, ends.region, 1, 1)


async def test_frames_reach_the_hub_as_they_are_and_in_order() -> None:
    """The first thing said after the welcome and the last before the end are heard, and answers come back."""
    frames = [
        JOIN,
        wire.Ack(notice="n_1", level=Level.ACKNOWLEDGED, at=NOW, digest="sha256:00"),
        wire.Leave(id="2", call="c"),
        wire.Message(id="3", thread="t", message="m", version=1, sent_at=NOW, content="x"),
    ]
    async with Ends.joined() as ends:
        session = ends.enter()
        await settle()
        ends.edge.join(session, JOIN)
        ends.edge.acknowledge(session, frames[1])  # type: ignore[arg-type]  # it is an Ack
        ends.edge.leave(session, frames[2])  # type: ignore[arg-type]  # it is a Leave
        ends.edge.message(session, frames[3])  # type: ignore[arg-type]  # it is a Message
        ends.lose(session, "left")
        await settle()
        assert [what for name, _, what in ends.hub.heard if name != "lost"] == frames
        assert ends.hub.losses() == ["left"]
        assert (len(ends.region), len(ends.hub.roll)) == (0, 0)


async def test_a_fault_in_one_frame_ends_that_session_only() -> None:
    """4002, as where the edge is in the same process; the fault is reported."""
    faults: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault))
    async with Ends.joined() as ends:
        session, other = ends.enter(), ends.enter("eve")
        await settle()
        ends.edge.acknowledge(session, wire.Ack(notice="n_fault", level=Level.RECEIVED, at=NOW))
        await settle()
        assert ends.clients[session].closed_with == 4002
        assert (ends.hub.losses(), other.phase, len(faults)) == (["disconnected"], Phase.OPEN, 1)


async def test_limits_and_devices_hold_over_workers() -> None:
    """4409 ends the session of another worker, which the hub has lost before it hears of the new; 4429 and 4013
    count everybody."""
    hub = recorder(most=3, most_each=2)
    async with Ends.joined(hub) as one, Ends.joined(hub) as other:
        old = one.enter("ada", "laptop")
        await settle()
        new = other.enter("ada", "laptop")
        await settle()
        assert (one.clients[old].closed_with, new.phase, hub.losses()) == (4409, Phase.OPEN, ["disconnected"])
        one.enter("ada")
        third = other.enter("ada")
        await settle()
        assert other.clients[third].closed_with == 4429
        one.enter("eve")
        many = other.enter("joe")
        await settle()
        assert (other.clients[many].closed_with, len(hub.roll)) == (4013, 3)


async def test_what_a_replaced_session_still_says_is_not_heard() -> None:
    """It is lost when its successor comes, not when its worker hears of that."""
    hub = recorder()
    async with Ends.joined(hub) as one, Ends.joined(hub) as other:
        old = one.enter("ada", "laptop")
        await settle()
        other.enter("ada", "laptop")
        one.edge.acknowledge(old, wire.Ack(notice="n_1", level=Level.RECEIVED, at=NOW))
        await settle()
        assert [name for name, *_ in hub.heard if name in ("lost", "acknowledge")] in (
            ["acknowledge", "lost"],
            ["lost"],
        )
        one.edge.turned_away("region_not_served")
        await settle()
        assert hub.losses() == ["disconnected"]


async def test_a_renewed_token_counts_at_the_hub() -> None:
    """It may cover more; where it does not cover what was joined the session ends with 4403."""
    async with Ends.joined() as ends:
        session = ends.enter()
        await settle()
        ends.edge.join(session, JOIN)
        session.calls, session.name = frozenset({"c", "d"}), "Ada"
        ends.edge.renewed(session)
        await settle()
        assert (ends.far(session).may("d"), ends.far(session).name) == (True, "Ada")
        session.calls = frozenset({"d"})
        ends.edge.renewed(session)
        await settle()
        assert ends.clients[session].closed_with == 4403


async def test_a_fan_out_is_one_message_and_comes_in_order() -> None:
    """The same bytes to many are said once; each socket gets its frames in the order in which they were sent."""
    async with Ends.joined() as ends:
        sessions = [ends.enter(f"u{number}") for number in range(50)]
        await settle()
        before = ends.region.link.said
        far = [ends.far(each) for each in sessions]
        one, other = framed("one"), framed("other")
        for place, each in enumerate(far):
            assert each.send_framed((one, other)[place % 2])
        for each in far[:10]:
            each.send_framed(one)
        assert ends.region.link.said - before == 3
        await settle()
        for place, session in enumerate(sessions):
            expected = [(one, other)[place % 2], *([one] if place < 10 else [])]
            assert ends.clients[session].written == expected


async def test_written_is_what_sockets_took() -> None:
    """Not before the worker says so; not for who reads too slowly, nor for who was gone."""
    async with Ends.joined() as ends:
        taken, slow, gone = (ends.enter(name) for name in ("ada", "eve", "joe"))
        await settle()
        noted: list[list[str]] = []
        far = [ends.far(each) for each in (taken, slow, gone)]
        ends.clients[slow].reads = False
        ends.lose(gone)
        for each in far:
            each.send_framed(framed("notice"))
        ends.region.confirm([(each, each.participant) for each in far], noted.append)
        assert noted == []
        await settle()
        assert noted == [["ada"]]


async def test_a_slow_client_is_known_to_be_and_gets_fresh_state() -> None:
    """While it is behind nothing more is sent over the link for it."""
    async with Ends.joined() as ends:
        session = ends.enter()
        await settle()
        ends.edge.join(session, JOIN)
        await settle()
        far = ends.far(session)
        ends.clients[session].reads = False
        assert far.send_framed(framed("dropped"))
        await settle()
        assert far.behind
        said = ends.region.link.said
        assert not far.send_framed(framed("not even said"))
        assert ends.region.link.said == said
        ends.clients[session].reads, session.behind = True, False
        ends.edge.refresh_state(session)
        await settle()
        assert not far.behind
        assert b"state" in ends.clients[session].written[-1]


async def test_a_worker_that_does_not_read_costs_a_bounded_amount() -> None:
    """Beyond the link's measure what is for its sessions is dropped; once it reads, each of them gets fresh state."""
    async with Ends.joined() as ends:
        sessions = [ends.enter(f"u{number}") for number in range(3)]
        await settle()
        for session in sessions:
            ends.edge.join(session, JOIN)
        await settle()
        far = [ends.far(each) for each in sessions]
        stalled, link = transport(ends.edge.link), transport(ends.region.link)
        link.set_write_buffer_limits(100_000, 10_000)
        stalled.pause_reading()
        sent = 0
        while far[0].send_framed(framed("x" * 1000)):
            sent += 1
            await asyncio.sleep(0)
            assert sent < 5000
        for _ in range(1000):
            assert not far[1].send_framed(framed("x" * 1000))
        assert (ends.region.link.full, [each.behind for each in far]) == (True, [True, True, False])
        assert link.get_write_buffer_size() < 200_000
        assert ends.region.look() == 1
        stalled.resume_reading()
        await settle()
        assert ([each.behind for each in far], ends.region.link.full) == ([False] * 3, False)
        states = [sum(b"state" in each for each in ends.clients[session].written) for session in sessions]
        assert states == [2, 2, 1]


async def test_who_reads_too_slowly_stays_behind_when_the_link_has_drained() -> None:
    """Two reasons to keep something back: fresh state comes when neither holds any more."""
    async with Ends.joined() as ends:
        session = ends.enter()
        await settle()
        ends.edge.join(session, JOIN)
        await settle()
        far, link = ends.far(session), ends.region.link
        link.full = True
        assert not far.send_framed(framed("kept back"))
        ends.clients[session].reads = False
        ends.edge._tell(framed("dropped"), [ends.edge._numbers[session]])
        await settle()
        link.resume_writing()
        await settle()
        assert far.behind
        ends.clients[session].reads, session.behind = True, False
        ends.edge.refresh_state(session)
        await settle()
        assert not far.behind
        assert [b"state" in each for each in ends.clients[session].written] == [True, True]


async def test_what_comes_all_at_once_is_taken_in_slices() -> None:
    """Others get their turn while thousands of acks are taken; nothing is lost or overtaken by that."""
    async with Ends.joined() as ends:
        session = ends.enter()
        await settle()
        for number in range(3000):
            ends.edge.acknowledge(session, wire.Ack(notice=f"n_{number}", level=Level.RECEIVED, at=NOW))
        heard, seen = ends.hub.heard, [0]
        while len(heard) < 3000:
            await asyncio.sleep(0)
            seen.append(len(heard))
        assert max(after - before for before, after in pairwise(seen)) <= SLICE
        assert [what.notice for _, _, what in heard] == [f"n_{number}" for number in range(3000)]


async def test_clients_are_not_read_while_the_region_service_does_not_read() -> None:
    """Whoever says something meanwhile is held until the link has drained; what they said is not lost."""
    async with Ends.joined() as ends:
        talker, quiet = ends.enter(), ends.enter("eve")
        await settle()
        stalled, link = transport(ends.region.link), transport(ends.edge.link)
        link.set_write_buffer_limits(100_000, 10_000)
        stalled.pause_reading()
        said = 0
        while not ends.clients[talker].held:
            ends.edge.acknowledge(talker, wire.Ack(notice=f"n_{said:0100}", level=Level.RECEIVED, at=NOW))
            said += 1
            await asyncio.sleep(0)
            assert said < 10_000
        assert (ends.clients[quiet].held, link.get_write_buffer_size() < 200_000) == (False, True)
        stalled.resume_reading()
        await settle()
        assert not ends.clients[talker].held
        assert [name for name, *_ in ends.hub.heard].count("acknowledge") == said


async def test_with_a_worker_all_its_sessions_are_lost_once() -> None:
    """Others' are not; nobody hears that anything was written; the closes are counted; its devices are free."""
    hub = recorder()
    async with Ends.joined(hub) as one, Ends.joined(hub) as other:
        for number in range(450):
            one.enter(f"u{number}", "laptop")
        stays = other.enter("eve")
        await settle()
        noted: list[list[str]] = []
        far = list(one.region._sessions.values())
        far[0].send_framed(framed("notice"))
        one.region.confirm([(far[0], "u0")], noted.append)
        one.edge.link.abort()
        await one.region.ended
        assert (hub.losses(), len(hub.roll), stays.phase) == (["disconnected"] * 450, 1, Phase.OPEN)
        assert b'gateway_closes_total{code="1006"} 450.0' in hub.metrics.render()
        assert noted == []
        assert not far[0].send(b"late")
        again = other.enter("u0", "laptop")
        await settle()
        assert again.phase is Phase.OPEN


async def test_a_word_that_cannot_be_read_ends_the_link() -> None:
    """It is a fault of ours; the sessions are lost rather than misunderstood."""
    faults: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault))
    async with Ends.joined() as ends:
        ends.enter()
        await settle()
        transport(ends.edge.link).write(b"\x00\x00\x00\x01\xc1")
        await ends.region.ended
        assert (ends.hub.losses(), len(faults)) == (["disconnected"], 1)


async def test_counts_reach_the_region_services_metrics() -> None:
    """Once each; and whoever is heard of is not silent."""
    async with Ends.joined() as ends:
        tally = Tally()
        tally.closed(4003)
        tally.closed(4003)
        tally.frames_sent(7)
        tally.event_loop_lag(0.002)
        assert [ends.region.look() for _ in range(3)] == [1, 2, 3]
        ends.edge.link.say(tally.take())
        ends.edge.link.say(tally.take())
        await settle()
        rendered = ends.hub.metrics.render()
        assert b'gateway_closes_total{code="4003"} 2.0' in rendered
        assert b"gateway_frames_sent_total 7.0" in rendered
        assert b"gateway_event_loop_lag_seconds_count 1.0" in rendered
        assert ends.region.look() == 1


async def test_what_is_for_the_worker_itself_reaches_it() -> None:
    """And that it listens reaches the region service."""
    async with Ends.joined() as ends:
        ends.region.link.say(Drain(1.5))
        ends.edge.link.say(Listening())
        await settle()
        assert (ends.told, ends.listens) == ([Drain(1.5)], 1)


WHAT = ("send", "send", "send", "enter", "lose", "end", "stall", "read", "turn", "confirm")


class History:
    """Sessions of one worker to which anything may happen, and what must be true of it."""

    def __init__(self, ends: Ends) -> None:
        self.ends = ends
        self.turn = 0
        self.sessions: list[Session] = []
        self.far: list[Session] = []
        self.sent: list[list[bytes]] = []
        self.frames: dict[tuple[int, int], bytes] = {}
        self.confirmed: list[tuple[int, bytes]] = []

    async def happen(self, what: str, which: int, frame: int) -> None:
        """One step, about one session."""
        if what == "enter" or not self.sessions:
            self.sessions.append(self.ends.enter(f"u{len(self.sessions)}"))
            self.sent.append([])
            await self.pass_turn()
            self.far.append(self.ends.far(self.sessions[-1]))
        elif what == "turn":
            await self.pass_turn()
        else:
            self.touch(what, which % len(self.sessions), frame)

    async def pass_turn(self) -> None:
        """Everything said so far arrives."""
        await settle()
        self.turn += 1

    def touch(self, what: str, place: int, frame: int) -> None:
        """One step that takes no time."""
        here, there, client = self.sessions[place], self.far[place], self.ends.clients[self.sessions[place]]
        if what == "send":
            content = self.frames.setdefault((self.turn, frame), framed(f"{frame} in turn {self.turn}"))
            if there.send_framed(content):
                self.sent[place].append(content)
        elif what == "confirm" and self.sent[place] and there.phase is Phase.OPEN:
            self.ends.region.confirm([(there, (place, self.sent[place][-1]))], self.confirmed.extend)
        elif what == "lose" and here.phase is Phase.OPEN:
            self.ends.lose(here)
        elif what == "end":
            there.close(4002, "internal error", "reconnect")
        elif what == "stall":
            client.reads = False
        elif what == "read":
            client.reads = True
            if here.behind and here.phase is Phase.OPEN:
                here.behind = False
                self.ends.edge.refresh_state(here)

    def judge(self) -> None:
        """Nothing made up, nothing out of order, nothing confirmed that was not written, each lost once."""
        written = [self.ends.clients[session].written for session in self.sessions]
        for came, sent in zip(written, self.sent, strict=True):
            rest = iter(sent)
            assert all(each in rest for each in came)
        for place, content in self.confirmed:
            assert content in written[place]
        still_open = sum(each.phase is Phase.OPEN for each in self.sessions)
        assert len(self.ends.region) == len(self.ends.hub.roll) == still_open
        lost = [session for name, session, _ in self.ends.hub.heard if name == "lost"]
        assert len(lost) == len(set(lost)) == len(self.sessions) - still_open


@settings(max_examples=50)
@given(st.lists(st.tuples(st.sampled_from(WHAT), st.integers(0, 7), st.integers(0, 3)), max_size=50))
def test_whatever_happens_order_and_what_was_written_hold(steps: list[tuple[str, int, int]]) -> None:
    """Any mixture of sending, losing, ending and stalling, with turns in between."""

    async def run() -> None:
        async with Ends.joined() as ends:
            history = History(ends)
            for step in steps:
                await history.happen(*step)
            await history.pass_turn()
            history.judge()

    asyncio.run(run())
