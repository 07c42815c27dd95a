"""The edge: who is connected, what they may say and for how long; it holds sessions and no truth about calls.

Rules: a socket counts as nobody until its `hello` is believed; every connection ends with one close code and
every session is reported lost exactly once; limits are per connection, per participant and in total. One timer
calls `tick`, every `gateway.edge.wheel.TICK_SECONDS`. Everything here is owned by the loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Final

from gateway.core import wire
from gateway.core.claims import Claims, Expired
from gateway.core.errors import Bye, Refusal
from gateway.core.residency import Residency
from gateway.core.session import LIVING, Phase, Session, Socket, next_phase
from gateway.edge.admission import Admission
from gateway.edge.departures import Departures
from gateway.edge.greetings import Greetings
from gateway.edge.hub import Counts, Hub
from gateway.edge.limits import Limits
from gateway.edge.pulse import Pulse
from gateway.edge.wheel import Deadlines, Expiries

_GREETING: Final = Phase.GREETING
_SLICE: Final = 200
"""Sockets written to before others get their turn."""


class Edge:
    """All connections of one listener. `verify` is `gateway.core.tokens.Verifier.verify`."""

    def __init__(
        self,
        hub: Hub,
        residency: Residency,
        verify: Callable[[str, datetime], Claims],
        *,
        now: Callable[[], datetime],
        new_id: Callable[[str], str],
        metrics: Counts,
        limits: Limits | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hub = hub
        self._admission = Admission(residency, verify)
        self._now = now
        self._new_id = new_id
        self._metrics = metrics
        self._monotonic = monotonic
        self.limits = limits = limits or Limits()
        self.frames_written = 0
        """Frames handed to sockets since the last tick; sockets count here."""
        self._draining = False
        self._connections = 0
        self._quiet = asyncio.Event()
        self._handshakes = Deadlines[Socket](limits.handshake_seconds)
        self._strangers = Deadlines[Session](limits.hello_seconds)
        self._greetings = Greetings(limits, now)
        self._behind = Deadlines[Session](limits.behind_seconds)
        self._fell_behind: Final = self._behind.add  # made once, for it is kept by every session
        self._closing = Deadlines[Socket](limits.close_seconds)
        self._expiries = Expiries[Session]()
        self.departures = Departures(partial(self._forget, reason="disconnected"))
        self._pulse = Pulse(limits)

    def __len__(self) -> int:
        """How many sessions are open."""
        return len(self._pulse)

    # -- what the listener calls -------------------------------------------------------------------------------

    def admit(self, socket: Socket) -> None:
        """A connection was accepted; it has not said anything yet."""
        self._connections += 1
        self._handshakes.add(socket)
        if self._connections > self.limits.connections:
            # Whoever is asked politely keeps a descriptor meanwhile. Where nobody else waits, it is the new one.
            self._handshakes.pop_oldest().abort()
        elif len(self._handshakes) + len(self._strangers) > self.limits.strangers:
            if len(self._handshakes) > len(self._strangers):
                self._handshakes.pop_oldest().abort()
            else:
                self.end(self._strangers.pop_oldest(), Bye(4013, "too many connections without a hello"))

    def opened(self, socket: Socket, token: str | None) -> Session:
        """The upgrade is done; `token` is the bearer token it carried. The session awaits its hello."""
        self._handshakes.discard(socket)
        session = Session(socket, self._fell_behind)
        self._strangers.add(session)
        if self._draining:
            self.end(session, Bye(4001, "draining"))
        elif token is not None:
            try:
                self._admission.grant(session, token, self._now())
            except Bye as bad:
                self.end(session, bad)
        return session

    def received(self, session: Session, payload: bytes, *, kept: bool = False) -> None:
        """One whole text message came in, now or (`kept`) before the welcome."""
        if session.phase not in LIVING:
            return
        sent: wire.ClientFrame | None = None
        try:
            if not kept:
                self._spend(session)
            if session.phase is _GREETING:
                self._greetings.keep(session, payload)
                return
            sent = wire.decode(payload)
            next_phase(session.phase, sent)
            if type(sent) is wire.Ack:
                self._hub.acknowledge(session, sent)
            else:
                self._take(session, sent)
        except Refusal as refusal:
            self._refuse(session, sent, refusal)
        except Bye as bye:
            if bye.code == 4301:
                self._hub.turned_away("region_not_served")
            self.end(session, bye)
        except Exception as error:  # a fault of ours in one frame must end this connection only
            fault = {"message": "a frame could not be handled", "exception": error}
            asyncio.get_running_loop().call_exception_handler(fault)
            self.end(session, Bye(4002, "internal error"))

    def heard(self, session: Session) -> None:
        """A frame came in that is no message by itself: a ping, a pong, a fragment."""
        try:
            self._spend(session)
        except Bye as bye:
            self.end(session, bye)

    def heard_binary(self, session: Session) -> None:
        """A binary message begins: none is taken."""
        self.end(session, Bye(1003, "binary frames are not taken"))

    def writable(self, session: Session) -> None:
        """What was unsent has drained: a session that was behind gets fresh state instead of what it missed."""
        if session.behind and session.phase is Phase.OPEN:
            session.behind = False
            self._behind.discard(session)
            self._hub.refresh_state(session)

    def end(self, session: Session, bye: Bye, reason: str = "disconnected") -> None:
        """Close a session with `bye`; `reason` is what the hub is told."""
        session.close(bye.code, bye.reason, bye.retry)
        self._forget(session, reason)

    def closing(self, socket: Socket, code: int | None) -> None:
        """The socket has said its last word, with a close code unless it never was a WebSocket."""
        self._handshakes.discard(socket)
        self._closing.add(socket)
        if code is not None:
            self._metrics.closed(code)

    def lost(self, session: Session) -> None:
        """The client closed, broke the protocol or is gone."""
        session.phase = Phase.CLOSED
        self.departures.add(session)

    def gone(self, socket: Socket) -> None:
        """The connection is no more."""
        self._connections -= 1
        self._handshakes.discard(socket)
        self._closing.discard(socket)
        if not self._closing:
            self._quiet.set()

    def tick(self) -> None:
        """End everything whose time is over and ask whose turn it is whether they are there."""
        for socket in self._handshakes.tick():
            socket.abort()
        for stranger in self._strangers.tick():
            self.end(stranger, Bye(4408, "no hello in time"))
        for session in self._greetings.tick():
            self._hub.greet(session, None, partial(self._welcome, session))
        for session in self._behind.tick():
            self.end(session, Bye(4008, "too slow"), "slow")
        for socket in self._closing.tick():
            socket.abort()
        now = self._now()
        for session in self._expiries.tick(now):
            self.end(session, Expired())
        for session in self._pulse.silent():
            self.end(session, Bye(4003, "no pong"))
        self._pulse.tick(now)
        self._metrics.frames_sent(self.frames_written)
        self.frames_written = 0

    async def drain(self, grace: float = 1.0) -> None:
        """Ask every client to come back elsewhere, spread in time; after `grace` seconds close with 4001.

        Returns when every farewell has arrived, or after `close_seconds`.
        """
        self._draining = True
        for place, session in enumerate(list(self._pulse)):
            session.send(wire.goaway(place * 1000 // self.limits.reconnects_per_second))
            if place % _SLICE == 0:
                await asyncio.sleep(0)
        if len(self) or len(self._strangers):
            await asyncio.sleep(grace)
        for place, session in enumerate([*self._pulse, *self._strangers]):
            self.end(session, Bye(4001, "draining"))
            if place % _SLICE == 0:
                await asyncio.sleep(0)
        self._quiet.clear()
        if self._closing:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._quiet.wait(), self.limits.close_seconds)

    # -- frames ------------------------------------------------------------------------------------------------

    def _spend(self, session: Session) -> None:
        # A token bucket as one number: the time at which it will be full again. Raises Bye.
        now = self._monotonic()
        rate = self.limits.frames_per_second
        full_at = max(session.frames_until, now) + 1 / rate
        if full_at - now > self.limits.frames_at_once / rate:
            raise Bye(4013, "too many frames")
        session.frames_until = full_at

    def _take(self, session: Session, sent: wire.ClientFrame) -> None:
        match sent:
            case wire.Pong():
                session.awaits_pong = False
            case wire.Hello():
                self._greet(session, sent)
            case wire.Join():
                self._hub.join(session, sent)
            case wire.Leave():
                self._hub.leave(session, sent)
            case wire.Observed():
                self._hub.observed(session, sent)
            case wire.Message():
                self._hub.message(session, sent)
            case wire.Refresh():
                self._renew(session, sent.token)
            case wire.Goodbye():
                session.part()
                self._forget(session, "left")

    def _refuse(self, session: Session, sent: wire.ClientFrame | None, refusal: Refusal) -> None:
        if session.phase is Phase.AWAITING:
            self.end(session, Bye(4400, "the first frame is hello"))
            return
        answers = getattr(sent, "id", None)
        session.send(wire.error(code=refusal.code, message=refusal.detail, temporary=refusal.temporary, id=answers))

    def _greet(self, session: Session, hello: wire.Hello) -> None:
        self._admission.greet(session, hello, self._now())
        session.id = self._new_id("s")
        self._enter(session)
        self._strangers.discard(session)
        self._greetings.begin(session)
        self._pulse.add(session)
        self._expiries.add(session, session.expires_at)
        if len(self) > self.limits.sessions:
            self.departures.settle()
        if len(self) > self.limits.sessions:
            raise Bye(4013, "too many sessions")
        self._hub.greet(session, hello.checkpoint, partial(self._welcome, session))
        if session.phase is Phase.GREETING:
            self._greetings.wait(session)

    def _enter(self, session: Session) -> None:
        try:
            self._hub.enter(session, self.end)
        except Bye:
            # Whoever is gone makes room as soon as that is told.
            self.departures.settle()
            self._hub.enter(session, self.end)

    def _welcome(self, session: Session, checkpoint: str | None, consistency: wire.Consistency | None) -> None:
        for payload in self._greetings.welcome(session, checkpoint, consistency):
            self.received(session, payload, kept=True)

    def _renew(self, session: Session, token: str) -> None:
        before = session.expires_at
        self._admission.renew(session, token, self._now())
        self._hub.renewed(session)
        self._expiries.discard(session, before)
        self._expiries.add(session, session.expires_at)

    def _forget(self, session: Session, reason: str) -> None:
        self._strangers.discard(session)
        self._greetings.forget(session)
        self._behind.discard(session)
        if session in self._pulse:
            self._pulse.discard(session)
            self._expiries.discard(session, session.expires_at)
            self._hub.lost(session, reason)
