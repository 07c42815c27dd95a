"""The hub: what sessions ask for, brought to the calls it concerns.

Rules: receipts come only from commits; a request that cannot be granted is answered and changes nothing; nothing
here decides anything about calls. Owned by the loop; nothing here waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Final

from gateway.core import attendance, observing, wire
from gateway.core.catalogue import digests
from gateway.core.errors import Refusal
from gateway.core.fusion import Claim
from gateway.core.session import Phase, Session
from gateway.core.step import Step
from gateway.core.types import Role
from gateway.hub.acks import MOST_WAITING, Acks
from gateway.hub.continuity import Continuity, Shown
from gateway.hub.entrances import Entrances
from gateway.hub.interpreter import Interpreter, joining
from gateway.hub.live import LiveCall
from gateway.hub.messages import Messages
from gateway.hub.porter import Porter
from gateway.hub.refusing import PUT_OFF, refuse
from gateway.hub.roll import End, Roll

MOST_CALLS: Final = 1000
"""Calls one session may have joined at a time."""
NOT_YOURS: Final = Refusal("not_your_call", "the token does not cover this call", status=403)
TOO_MANY: Final = Refusal("too_many_calls", "too many calls joined")
TOO_OFTEN: Final = Refusal("too_many_joins", "joined and left too often: wait", status=429, temporary=True)


class Hub:
    """The way in for sessions."""

    def __init__(
        self, interpreter: Interpreter, messages: Messages, porter: Porter, continuity: Continuity, roll: Roll
    ) -> None:
        self._interpreter: Final = interpreter
        self._continuity: Final = continuity
        self._messages: Final = messages
        self._porter: Final = porter
        self._roll: Final = roll
        self._registry: Final = interpreter.registry
        self._ledgers: Final = interpreter.ledgers
        self._metrics: Final = interpreter.metrics
        self._fanout: Final = interpreter.fanout
        self._entrances: Final = Entrances()
        self._acks: Final = Acks(interpreter, self._entrances)
        self._loop: Final = asyncio.get_running_loop()

    def join(self, session: Session, frame: wire.Join) -> None:
        """The session takes part in a call: presence first, then the whole state."""
        if not session.may(frame.call):
            refuse(session, NOT_YOURS, frame.id)
        else:
            self._enter(session, frame.call, lambda live, step: None, frame.id)

    def _enter(self, session: Session, name: str, also: Callable[[LiveCall, Step], None], join_id: str | None) -> None:
        if len(session.joined) + self._entrances.count(session) >= MOST_CALLS:
            return refuse(session, TOO_MANY, join_id)
        key = self._registry.key(session.organization, name)

        def enter(found: LiveCall) -> None:
            live = found.current()
            if not session.may(name):
                refuse(session, NOT_YOURS, join_id)
            elif not live.may_return(session.participant, self._loop.time()):
                refuse(session, TOO_OFTEN, join_id)
            elif session.phase is Phase.OPEN:
                step = self._interpreter.step(live)
                attendance.join(step, joining(session))
                session.enter(live.key, name)
                live.members.add(session)
                also(live, step)
                self._interpreter.perform(live, step, reply=lambda: self._fanout.show(live, session, join_id))
            self._entrances.end(session, key)

        if key not in self._registry.calls:
            self._entrances.begin(session, key)
        self._registry.with_call(key, enter)
        return None

    def leave(self, session: Session, frame: wire.Leave) -> None:
        """The session leaves a call and stays connected."""
        key = self._registry.key(session.organization, frame.call)
        if self._entrances.defer(session, key, lambda: self.leave(session, frame)):
            return
        live = self._registry.calls.get(key)
        if session.quit(key) is None or live is None:
            session.send(wire.left(id=frame.id))
            return
        step = self._part(live, session, "left")
        self._interpreter.perform(live, step, reply=lambda: void(session.send(wire.left(id=frame.id))))

    def _part(self, live: LiveCall, session: Session, reason: str) -> Step:
        live.audience.pop(session, None)
        live.members.discard(session)
        step = self._interpreter.step(live)
        attendance.lose(step, session.id, session.participant, reason)
        return step

    def enter(self, session: Session, end: End) -> None:
        """Somebody's `hello` was believed. Raises `Bye` where there are too many sessions."""
        self._roll.enter(session, end)
        self._metrics.sessions(len(self._roll))

    def greet(self, session: Session, seen: str | None, then: Shown) -> None:
        """The session is to be welcomed: `then` takes what is shown to who has `seen` that checkpoint of its region."""
        self._continuity.show(session.region, seen, then)

    def renewed(self, session: Session) -> None:
        """The session has a new token: what it may do is read from it each time."""

    def turned_away(self, reason: str) -> None:
        """Somebody whose data may not be here said hello: recorded without saying who."""
        self._porter.turn_away("hello", reason)

    def lost(self, session: Session, reason: str) -> None:
        """The session is gone from all its calls: `left`, `disconnected` or `slow`."""
        self._roll.strike(session)
        self._metrics.sessions(len(self._roll))
        for key in session.quit_all():
            live = self._registry.calls.get(key)
            if live is not None:
                self._interpreter.perform(live, self._part(live, session, reason))

    def refresh_state(self, session: Session) -> None:
        """The session has caught up: one fresh state per call makes good whatever was dropped."""
        for key in session.joined:
            live = self._registry.calls.get(key)
            if live is not None:
                self._fanout.post(live, None, (), partial(self._fanout.show, live, session, None))

    def acknowledge(self, session: Session, frame: wire.Ack) -> None:
        """The client proves a level; the receipt follows from the commit."""
        self._acks.take(session, frame)

    def observed(self, session: Session, frame: wire.Observed) -> None:
        """The client's SDK reports a state: one claim among others. Who reports on a call is in it."""
        if not session.may(frame.call):
            return refuse(session, NOT_YOURS)
        limited = session.role is Role.PARTICIPANT
        if limited and not self._registry.policy.participants_observe:
            return refuse(session, Refusal("observations_off", "participants' observations are not counted here"))

        def claim(live: LiveCall, step: Step) -> None:
            presence = live.call.present(session.participant)
            if presence is not None:
                said = Claim(presence.who, frame.state, authority=False, occurred_at=step.now, limited=limited)
                observing.observe(step, frame.capability, said, digests)

        key = self._registry.key(session.organization, frame.call)
        live = self._registry.calls.get(key)
        if live is None or key not in session.joined or live.call.present(session.participant) is None:
            self._enter(session, frame.call, claim, None)
            return None
        step = self._interpreter.step(live)
        claim(live, step)
        self._interpreter.perform(live, step)
        return None

    def message(self, session: Session, frame: wire.Message) -> None:
        """The client's message: kept as the participant's last, if it is."""

        def stored(expires_at: datetime | None) -> None:
            session.send(wire.stored(id=frame.id, expires_at=expires_at))

        if self._ledgers.regions[session.region].pending > MOST_WAITING or session.region in self._ledgers.failing:
            return refuse(session, PUT_OFF, frame.id)
        self._messages.keep(session.region, session.participant, frame, stored)
        return None


def void(_: object) -> None:
    """Drop a result nobody needs."""
