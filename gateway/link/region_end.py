"""The region service's end of a link: the sessions that a worker holds, as the hub sees them.

Rules: while the link is full nothing more is sent to its sessions, as to clients that do not read, and they get fresh
state when it has drained; a session that is ended from here is lost at once, whatever the worker still says of it; with
the worker all its sessions are lost, in slices. Owned by the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from sys import intern
from typing import Any, Final, Protocol, TypeVar

from gateway.core import wire
from gateway.core.claims import Claims
from gateway.core.errors import Bye, Refusal
from gateway.core.session import Phase, Session
from gateway.edge.hub import Hub
from gateway.hub.refusing import refuse
from gateway.link import messages
from gateway.link.dispatch import Address, Dispatch
from gateway.link.link import Link
from gateway.link.messages import ToRegion

T = TypeVar("T")
SLICE: Final = 200
"""Sessions lost or shown fresh state in one turn."""


class Counts(Protocol):
    """What the region service counts for its workers."""

    def closed(self, code: int) -> None: ...
    def frames_sent(self, count: int) -> None: ...
    def event_loop_lag(self, seconds: float) -> None: ...


class RegionEnd:
    """One worker, and the `Carrier` of its sessions; `link` is to be connected. `report` hears when it listens."""

    def __init__(self, hub: Hub, counts: Counts, report: Callable[[messages.Listening], None]) -> None:
        self._hub: Final = hub
        self._counts: Final = counts
        self._report: Final = report
        self._loop: Final = asyncio.get_running_loop()
        self.link: Final[Link[ToRegion]] = Link(messages.from_workers(), self._take)
        self._dispatch: Final = Dispatch(self.link)
        self.link.closing = self._dispatch.close_turn
        self.link.drained = self._refresh
        self.link.ended = self._lose
        self.ended: Final[asyncio.Future[None]] = self._loop.create_future()
        """Done when the worker is gone and so are all its sessions."""
        self._silent = 0
        self._full = 0
        self._sessions: Final[dict[int, Session]] = {}
        self._numbers: Final[dict[Session, int]] = {}
        self._slow: Final[set[Session]] = set()
        self._kept_back: Final[set[Session]] = set()
        self._keep_back: Final = self._kept_back.add

    def __len__(self) -> int:
        """How many sessions it holds."""
        return len(self._sessions)

    def look(self) -> int:
        """Time has passed: for how many such looks nothing has been heard of the worker, or the link has been full."""
        self._silent += 1
        self._full = self._full + 1 if self.link.full else 0
        return max(self._silent, self._full)

    # -- what the hub sends ------------------------------------------------------------------------------------

    def tell(self, socket: _Socket, framed: bytes) -> bool:
        """See `gateway.core.session.Socket.write`."""
        if self.link.full:
            return False
        self._dispatch.tell(socket, framed)
        return True

    def confirm(self, handed: Sequence[tuple[Session, T]], then: Callable[[list[T]], None]) -> None:
        """See `gateway.core.session.Carrier`."""
        self._dispatch.confirm([(self._numbers.get(session, 0), item) for session, item in handed], then)

    def part(self, socket: _Socket, code: int, reason: str) -> None:
        """See `gateway.core.session.Socket.finish`: the worker is told, and the session is lost already."""
        socket.last = self.link.say(messages.End(socket.number, code, reason))
        self._drop(socket.number, "disconnected")

    # -- what the worker says ----------------------------------------------------------------------------------

    def _take(self, word: ToRegion) -> None:
        self._silent = 0
        match word:
            case messages.Acked():
                ack = wire.Ack(notice=word.notice, level=word.level, at=word.at, digest=word.digest)
                self._do(word.number, self._hub.acknowledge, ack)
            case messages.Said():
                self._do(word.number, self._hear, word.frame)
            case messages.Entered():
                self._enter(word)
            case messages.Asked():
                self._do(word.number, self._greet, word)
            case messages.Renewed():
                self._do(word.number, _renew, word)
            case messages.Lost():
                self._drop(word.number, word.reason)
            case messages.Written():
                self._dispatch.written(set(word.dropped))
            case messages.FellBehind() | messages.CaughtUp():
                self._pace(word)
            case _:
                self._note(word)

    def _note(self, word: messages.TurnedAway | messages.Counted | messages.Listening) -> None:
        match word:
            case messages.TurnedAway():
                self._hub.turned_away(word.reason)
            case messages.Counted():
                self._count(word)
            case _:
                self._report(word)

    def _do(self, number: int, act: Callable[[Session, Any], None], what: object) -> None:
        """Let the session's request be done, and answered where it is refused."""
        session = self._sessions.get(number)
        if session is None:
            return  # it was ended from here, and the worker did not know yet
        try:
            act(session, what)
        except Refusal as refusal:
            refuse(session, refusal, getattr(what, "id", None))
        except Bye as bye:
            end(session, bye)
        except Exception as error:  # a fault of ours in one frame must end this session only
            self._loop.call_exception_handler({"message": "a frame could not be handled", "exception": error})
            end(session, Bye(4002, "internal error"))

    def _hear(self, session: Session, frame: wire.Join | wire.Leave | wire.Observed | wire.Message) -> None:
        match frame:
            case wire.Join():
                self._hub.join(session, frame)
            case wire.Leave():
                self._hub.leave(session, frame)
            case wire.Observed():
                self._hub.observed(session, frame)
            case wire.Message():
                self._hub.message(session, frame)

    def _enter(self, word: messages.Entered) -> None:
        session = Session(_Socket(self, word.number), self._keep_back)
        session.carrier = self
        # What it says comes only after its welcome, so from here it looks open from the start.
        session.phase = Phase.OPEN
        session.id, session.participant, session.organization = word.id, word.participant, intern(word.organization)
        session.region, session.role, session.calls, session.name = (
            intern(word.region),
            word.role,
            _shared(word.calls),
            word.name,
        )
        session.device, session.locale, session.capabilities = (
            word.device,
            intern(word.locale),
            _shared(word.capabilities),
        )
        session.expires_at = word.expires_at
        try:
            self._hub.enter(session, end)
        except Bye as bye:
            self.link.say(messages.End(word.number, bye.code, bye.reason))
        else:
            self._sessions[word.number] = session
            self._numbers[session] = word.number

    def _greet(self, session: Session, word: messages.Asked) -> None:
        def show(checkpoint: str | None, consistency: wire.Consistency | None) -> None:
            self.link.say(messages.Shown(word.number, checkpoint, consistency))

        self._hub.greet(session, word.seen, show)

    def _drop(self, number: int, reason: str) -> None:
        session = self._sessions.pop(number, None)
        if session is None:
            return
        del self._numbers[session]
        self._slow.discard(session)
        self._kept_back.discard(session)
        session.phase = Phase.CLOSED
        self._hub.lost(session, reason)

    def _pace(self, word: messages.FellBehind | messages.CaughtUp) -> None:
        session = self._sessions.get(word.number)
        if session is None:
            return
        if isinstance(word, messages.FellBehind):
            self._slow.add(session)
            session.behind = True
        else:
            self._slow.discard(session)
            if session not in self._kept_back:
                session.behind = False
                self._hub.refresh_state(session)

    def _count(self, word: messages.Counted) -> None:
        self._counts.frames_sent(word.frames)
        for code, times in word.closes.items():
            for _ in range(times):
                self._counts.closed(code)
        for lag in word.lags:
            self._counts.event_loop_lag(lag)

    # -- what concerns all its sessions ------------------------------------------------------------------------

    def _refresh(self) -> None:
        """The link has drained: whoever something was kept back from gets fresh state instead."""
        self._slices(self._show(list(self._kept_back)))

    def _show(self, sessions: Iterable[Session]) -> Iterator[None]:
        for place, session in enumerate(sessions):
            if self.link.full:
                return  # the others' turn comes when it has drained again
            if session in self._kept_back:
                self._kept_back.discard(session)
                if session not in self._slow:
                    session.behind = False
                    self._hub.refresh_state(session)
            if place % SLICE == SLICE - 1:
                yield

    def _lose(self) -> None:
        self._slices(self._forget())

    def _forget(self) -> Iterator[None]:
        self._dispatch.give_up()
        for place, number in enumerate(list(self._sessions)):
            if number in self._sessions:
                self._counts.closed(1006)
                self._drop(number, "disconnected")
            if place % SLICE == SLICE - 1:
                yield
        self.ended.set_result(None)

    def _slices(self, work: Iterator[None]) -> None:
        if next(work, self) is None:
            self._loop.call_soon(self._slices, work)


class _Socket(Address):
    """A socket that the worker holds."""

    __slots__ = ("_end",)

    def __init__(self, end: RegionEnd, number: int) -> None:
        super().__init__(number)
        self._end = end

    def write(self, framed: bytes) -> bool:
        return self._end.tell(self, framed)

    def finish(self, code: int, reason: str, last: bytes) -> None:
        self._end.part(self, code, reason)

    def abort(self) -> None:
        self._end.part(self, 4002, "internal error")

    def hold(self) -> None:
        """The worker holds its clients back by itself, while the link is full."""

    def resume(self) -> None:
        """See `hold`."""


def end(session: Session, bye: Bye) -> None:
    """End a session that any worker holds."""
    session.close(bye.code, bye.reason, bye.retry)


@lru_cache(maxsize=4096)
def _shared(words: frozenset[str]) -> frozenset[str]:
    """One set for all who may, or can do, the same."""
    return words


def _renew(session: Session, word: messages.Renewed) -> None:
    session.renew(Claims(session.participant, word.calls, session.role, word.name, word.expires_at))
