"""A call while it is live: its folded state, who listens, and what waits to be sent.

Rules: what is sent about a call is sent in the order in which it was decided, each after its own commit, or
without waiting for it once storage fails, because people must be told all the same. Fan-out yields to the loop
after every slice, so that a big call never delays the others. Everything is owned by the loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any, Final

import msgspec

from gateway.core import wire
from gateway.core.call import Call
from gateway.core.catalogue import text
from gateway.core.delivery import NEWEST, newest_owed
from gateway.core.effects import Announce, Effect, Refresh, Resend
from gateway.core.framing import frame
from gateway.core.presence import Presence
from gateway.core.proofs import Notice
from gateway.core.session import Session
from gateway.core.types import CallKey, Capability, Level
from gateway.hub.commits import Commit
from gateway.hub.journal import Ink
from gateway.hub.ledgers import Ledgers
from gateway.hub.written import once_written
from gateway.metrics import Metrics

SLICE: Final = 1000
"""Sockets written to before the loop may turn to something else."""
MOST_TEXTS: Final = 10_000
"""How many notices are kept written as states hold them."""
PATIENCE: Final = 2.0
"""Seconds that a notice waits for a commit that neither succeeds nor fails."""
RETURN_SECONDS: Final = 2.0
"""Every so often one participant may leave a call and come back, on average."""
RETURNS_AT_ONCE: Final = 30
"""So many returns in a row are well."""

Reply = Callable[[], None]
"""Something to send once the step's commit is durable."""


@dataclass(slots=True, eq=False)
class Posting:
    """What one step sends. `posted` is the loop's time, for the metric."""

    commit: Commit | None
    effects: tuple[Effect, ...]
    reply: Reply | None
    posted: float


@dataclass(slots=True, eq=False)
class LiveCall:
    """One call in memory. `members` are the sessions that joined it, `audience` those told live, each with
    the name it knows the call by; `moved_to` is the call it became part of."""

    call: Call
    ink: Ink
    touched_at: datetime
    members: set[Session] = field(default_factory=set)
    moved_to: LiveCall | None = None
    returns: dict[str, float] = field(default_factory=dict)
    audience: dict[Session, str] = field(default_factory=dict)
    outbox: deque[Posting] = field(default_factory=deque)
    delivery: Iterator[None] | None = None
    receipts: dict[tuple[str, str, Level], list[Session]] = field(default_factory=dict)
    waiters: list[asyncio.Future[None]] = field(default_factory=list)
    alarm_at: datetime | None = None

    @property
    def key(self) -> CallKey:
        """Organisation and call id."""
        return self.call.key

    def current(self) -> LiveCall:
        """This call, or the one it became part of."""
        return self if self.moved_to is None else self.moved_to.current()

    def may_return(self, participant: str, now: float) -> bool:
        """Whether somebody who left may come back at `now`, in the loop's seconds: each time leaves lines for good."""
        latest = self.call.latest.get(participant)
        if latest is None or latest.open:
            return True
        full_at = max(self.returns.get(participant, 0.0), now) + RETURN_SECONDS
        if full_at - now > RETURNS_AT_ONCE * RETURN_SECONDS:
            return False
        self.returns[participant] = full_at
        return True

    def forget(self, presences: Iterable[str]) -> None:
        """These presences are being erased: nothing beside the call's own state may tell whose they were."""
        for name in presences:
            self.ink.salts.pop(name, None)
            presence = self.call.presences.get(name)
            if presence is not None and presence.participant is not None:
                self.returns.pop(presence.participant, None)

    def changed(self) -> None:
        """Let whoever waits for coverage look again."""
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(None)
        self.waiters.clear()


class Fanout:
    """Sends what was decided about calls."""

    def __init__(
        self,
        ledgers: Ledgers,
        metrics: Metrics,
        sent: Callable[[LiveCall, Sequence[str], Iterable[Presence]], None],
    ) -> None:
        """`sent` hears which notices were written to which presences."""
        self._ledgers: Final = ledgers
        self._metrics: Final = metrics
        self._sent: Final = sent
        self._texts: Final[dict[tuple[str, str, str, datetime], msgspec.Raw]] = {}
        self._loop: Final = asyncio.get_running_loop()

    def post(self, live: LiveCall, commit: Commit | None, effects: Iterable[Effect], reply: Reply | None) -> None:
        """Send these effects and this reply when their turn has come."""
        live.outbox.append(Posting(commit, tuple(effects), reply, self._loop.time()))
        self.flush(live)

    def flush(self, live: LiveCall) -> None:
        """Send whatever may be sent by now."""
        if live.delivery is None and live.outbox and self._released(live.outbox[0]):
            live.delivery = self._deliver(live)
            self._advance(live)

    def _advance(self, live: LiveCall) -> None:
        if live.delivery is None:
            return
        try:
            next(live.delivery)
        except StopIteration:
            live.delivery = None
            self.flush(live)
        except BaseException:
            # What failed is lost; what waits behind it must not be.
            live.delivery = None
            self._loop.call_soon(self.flush, live)
            raise
        else:
            self._loop.call_soon(self._advance, live)

    def _released(self, posting: Posting) -> bool:
        commit = posting.commit
        return (
            commit is None
            or commit.durable
            or any(region in self._ledgers.failing for region in commit.regions)
            or self._loop.time() - posting.posted > PATIENCE
        )

    def _deliver(self, live: LiveCall) -> Iterator[None]:
        while live.outbox and self._released(live.outbox[0]):
            posting = live.outbox.popleft()
            resends: list[Resend] = []
            for effect in posting.effects:
                match effect:
                    case Announce():
                        yield from self._announce(live, live.call.notices[effect.notice], posting)
                    case Resend():
                        resends.append(effect)
                    case Refresh():
                        yield from self._refresh(live)
            if resends:
                yield from self._resend(live, resends)
            if posting.reply is not None:
                posting.reply()

    def _announce(self, live: LiveCall, notice: Notice, posting: Posting) -> Iterator[None]:
        framed: dict[tuple[str, str], bytes] = {}
        sessions = iter(list(live.audience.items()))
        written = 0
        while batch := list(islice(sessions, SLICE)):
            handed = []
            for session, name in batch:
                if session not in live.audience:
                    continue
                told = framed.get((session.locale, name))
                if told is None:
                    told = framed[session.locale, name] = frame(notice_frame(notice, name, session.locale))
                if session.send_framed(told):
                    written += 1
                    presence = live.call.latest.get(session.participant)
                    if presence is not None and presence.open:
                        handed.append((session, presence))
            once_written(handed, partial(self._sent, live, (notice.id,)))
            yield
        self._metrics.notices_sent(written)
        self._metrics.event_to_last_frame(self._loop.time() - posting.posted)

    def _resend(self, live: LiveCall, resends: Iterable[Resend]) -> Iterator[None]:
        """Send each of these to whom it is for, all in one round: there may be many of few, or one of many."""
        wanted: dict[str, list[Notice]] = {}
        for resend in resends:
            for presence in resend.presences:
                wanted.setdefault(presence, []).append(live.call.notices[resend.notice])
        found = ((session, live.call.present(session.participant)) for session in live.audience)
        sessions = [(session, wanted[each.id]) for session, each in found if each is not None and each.id in wanted]
        framed: dict[tuple[str, str, str], bytes] = {}
        for place, (session, notices) in enumerate(sessions, 1):
            for notice in notices if session in live.audience else ():
                key = (notice.id, session.locale, live.audience[session])
                if key not in framed:
                    framed[key] = frame(notice_frame(notice, key[2], session.locale))
                session.send_framed(framed[key])
            if place % SLICE == 0:
                yield

    def _refresh(self, live: LiveCall) -> Iterator[None]:
        sessions = iter(list(live.audience))
        while batch := list(islice(sessions, SLICE)):
            for session in batch:
                if session in live.audience:
                    self.show(live, session, None)
            yield

    def show(self, live: LiveCall, session: Session, join_id: str | None) -> None:
        """Send a session the whole state; from here on it is told live. What it owes and got is noted as sent."""
        live = live.current()
        name = session.joined.get(live.key)
        if name is None:
            return
        live.audience[session] = name
        presence = live.call.present(session.participant)
        shown, more = ([], 0) if presence is None else newest_owed(live.call, presence, NEWEST)
        payload = wire.state(
            id=join_id,
            call=name,
            revision=live.call.revision,
            capabilities=capabilities(live.call),
            notices=[self._written(live, notice, name, session.locale, presence) for notice in shown],
            more=more,
        )
        if session.send(payload) and presence is not None:
            if fresh := tuple(notice.id for notice in shown if presence.id not in notice.sent):
                once_written([(session, presence)], partial(self._sent, live, fresh))
            self._metrics.notices_sent(len(shown))

    def _written(
        self, live: LiveCall, notice: Notice, name: str, locale: str, presence: Presence | None
    ) -> msgspec.Raw:
        """A notice as a state holds it, written once for all who share it: a state may hold a hundred."""
        deadline_at = notice.fact.deadline_at
        if presence is not None:
            deadline_at = max(presence.opened_at + live.call.policy.deadline, deadline_at)
        key = (notice.id, name, locale, deadline_at)
        written = self._texts.get(key)
        if written is None:
            fields = wire.notice_fields(**{**_arguments(notice, name, locale), "deadline_at": deadline_at})
            if len(self._texts) >= MOST_TEXTS:
                self._texts.clear()
            written = self._texts[key] = msgspec.Raw(msgspec.json.encode(fields))
        return written


def capabilities(call: Call) -> dict[str, dict[str, object]]:
    """What is on in the call, as a `state` frame shows it."""
    return {
        capability.value: {"state": track.state.value, "episode": track.episode, "since": track.since}
        for capability, track in ((each, call.tracks[each]) for each in Capability)
    }


def notice_frame(notice: Notice, name: str, locale: str) -> bytes:
    """The payload of a `notice` frame; the same for everyone who shares locale and name of the call."""
    return wire.notice(**_arguments(notice, name, locale))


def _arguments(notice: Notice, name: str, locale: str) -> dict[str, Any]:
    fact = notice.fact
    return {
        "call": name,
        "revision": fact.revision,
        "notice": fact.notice,
        "capability": fact.capability,
        "change": fact.change,
        "episode": fact.episode,
        "occurred_at": fact.occurred_at,
        "issued_at": fact.at,
        "text": text(fact.capability, fact.change, locale),
        "digest": fact.digests[locale],
        "require": fact.require,
        "deadline_at": fact.deadline_at,
    }
