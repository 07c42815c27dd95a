"""The interpreter: performs what the core decides about calls.

Rules: all facts of a step share one commit, then everything is sent; if the commit fails the notices go out all the
same and the facts wait until they can be written. Owned by the loop; nothing here waits.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import Final

from gateway.core import attendance, delivery, facts, fold, observing
from gateway.core.call import Policy
from gateway.core.catalogue import digests
from gateway.core.effects import Effect, Record
from gateway.core.fusion import Claim
from gateway.core.ids import NewId
from gateway.core.presence import Presence
from gateway.core.residency import Homes
from gateway.core.session import Session
from gateway.core.step import Step
from gateway.core.types import CallKey, Capability
from gateway.hub.commits import Commit
from gateway.hub.journal import Entropy, Scribe, Written, to_entry
from gateway.hub.ledgers import Ledgers
from gateway.hub.live import Fanout, LiveCall, Reply
from gateway.hub.registry import Registry
from gateway.metrics import Metrics
from storage.operations import Erased

MOST_AWAKENED: Final = 500
"""How much of what time brings is done in one tick, the rest in later ones: who is lost together is over together."""
ALONE: Final = (facts.SessionJoined, facts.SessionLeft, facts.NoticesSent)
"""What is one entry of the presence's region and nothing else, and comes by the thousand: it is written by the turn."""


class Interpreter:
    """Performs steps: writes what they record, sends what they announce, and wakes calls when time has passed."""

    def __init__(
        self,
        ledgers: Ledgers,
        metrics: Metrics,
        policy: Policy,
        homes: Homes,
        now: Callable[[], datetime],
        new_id: NewId,
        entropy: Entropy,
        broken: Callable[[str], None],
    ) -> None:
        self.ledgers: Final = ledgers
        self.metrics: Final = metrics
        self.now: Final = now
        self.new_id: Final = new_id
        self.homes: Final = homes
        self._scribe: Final = Scribe(entropy)
        self._alarms: list[tuple[datetime, CallKey]] = []
        self._sending: Final[set[LiveCall]] = set()
        """Calls in whose outbox something may wait: a thousand that are quiet cost nothing."""
        self.registry: Final = Registry(ledgers, policy, homes.organizations, now, self._ready, broken)
        self.fanout: Final = Fanout(ledgers, metrics, self._note_sent)

    # Steps

    def step(self, live: LiveCall, new_id: NewId | None = None) -> Step:
        """Begin to decide about a call, with ids from chance unless `new_id` makes them."""
        live.touched_at = self.now()
        return Step(live.call, live.touched_at, new_id or self.new_id)

    def perform(
        self,
        live: LiveCall,
        step: Step,
        *,
        reply: Reply | None = None,
        then: Callable[[], None] | None = None,
    ) -> Commit | None:
        """Do what the step asks for. `reply` is sent in turn, `then` runs once everything is durable."""
        recorded = [effect.fact for effect in step.effects if isinstance(effect, Record)]
        if any(isinstance(fact, facts.CallOpened) for fact in recorded):
            recorded += self._welcome_back(live, step)
        commit = self._write(live, recorded, then) if recorded else None
        if commit is None and then is not None:
            then()
        sends: list[Effect] = [effect for effect in step.effects if not isinstance(effect, Record)]
        if sends or reply is not None:
            self._sending.add(live)
            self.fanout.post(live, commit, sends, reply)
        self._set_alarm(live)
        live.changed()
        return commit

    def _welcome_back(self, live: LiveCall, step: Step) -> list[facts.AnyFact]:
        """Sessions that stayed when the call ended are in it again now that it is back."""
        before = len(step.effects)
        for session in live.audience:
            attendance.join(step, joining(session))
        return [effect.fact for effect in step.effects[before:] if isinstance(effect, Record)]

    def _write(self, live: LiveCall, recorded: Sequence[facts.AnyFact], then: Callable[[], None] | None) -> Commit:
        durable = partial(self._confirm, live, then)
        ink = live.ink
        if len(recorded) == 1 and isinstance(recorded[0], ALONE) and recorded[0].region in ink.regions:
            return self.ledgers.append(recorded[0].region, to_entry(recorded[0], ink), recorded[0], durable)
        batches: dict[str, list[Written]] = {}
        home = ink.home or self.homes.of(live.key.organization)
        ink.regions.setdefault(home)
        ink.unserved = self.homes.unserved(live.key.organization)
        for fact in recorded:
            if isinstance(fact, facts.CallOpened):
                live.call.unserved.update(ink.unserved)
            if isinstance(fact, facts.NoticeIssued):
                self.registry.notices[fact.notice] = live
                self.metrics.notice_issued(fact.capability, fact.change)
            if isinstance(fact, facts.NoticeOverdue):
                self.metrics.overdue(len(fact.presences))
            if isinstance(fact, facts.PresenceOpened) and fact.region not in ink.regions:
                batches[fact.region] = self._scribe.enter(ink, fact.region, self._known(live, recorded))
                batches.setdefault(home, []).append(self._scribe.spread(fact))
        for region, written in self._scribe.write(ink, recorded).items():
            batches.setdefault(region, []).extend(written)
        return self.ledgers.write(batches, durable)

    def _confirm(self, live: LiveCall, then: Callable[[], None] | None, commit: Commit) -> None:
        """What a step recorded is durable."""
        for fact, entry in commit.confirmed:
            fold.confirm(live.call, fact, entry)
        if then is not None:
            then()
        live.changed()
        self.fanout.flush(live)

    def _known(self, live: LiveCall, recorded: Sequence[facts.AnyFact]) -> list[facts.AnyFact]:
        """What a region that comes into the call must hold beforehand, beyond what it is about to be told."""
        told: list[facts.AnyFact] = []
        if not any(isinstance(fact, facts.CallOpened) for fact in recorded):
            told.append(facts.CallOpened(call=live.key, at=live.call.opened_at or self.now()))
        told += [fact for fact in live.call.mergers if fact not in recorded]
        told += [notice.fact for notice in live.call.open_notices() if notice.fact not in recorded]
        return told

    def _ready(self, live: LiveCall, missing: list[facts.AnyFact]) -> None:
        """A call is in memory: what an earlier process could not finish is finished."""
        if missing:
            self._write(live, missing, None)
        step = self.step(live)
        for presence in live.call.open_presences():
            for session in list(presence.sessions):
                attendance.part(step, presence, session, "restarted")
        adopted = self.registry.calls.get(CallKey("", live.key.call)) if live.key.organization else None
        if adopted is not None and adopted is not live and (live.call.opened_at is None or live.call.ended):
            adopt(step, adopted)
        self.perform(live, step)

    def _note_sent(self, live: LiveCall, notices: Sequence[str], presences: Iterable[Presence]) -> None:
        live = live.current()
        by_region: dict[str, list[str]] = {}
        for presence in presences:
            by_region.setdefault(presence.region, []).append(presence.id)
        if not notices or not by_region:
            return
        step = self.step(live)
        for region, ids in by_region.items():
            step.record(
                facts.NoticesSent(
                    call=live.key, at=step.now, region=region, notices=tuple(notices), presences=tuple(ids)
                )
            )
        self.perform(live, step)

    def forget(self, region: str, erased: Iterable[Erased]) -> None:
        """Name these presences of a region no more: storage destroyed what told who they were, and wrote it down."""
        for each in erased:
            key = CallKey(*each.call)
            fact = facts.PresencesErased(call=key, at=each.at, region=region, presences=each.presences)
            self.registry.with_near(self.registry.key(*key), partial(_unname, fact=fact))

    # Time

    def _set_alarm(self, live: LiveCall) -> None:
        if live.call.wakes and (live.alarm_at is None or live.call.wakes[0][0] < live.alarm_at):
            live.alarm_at = live.call.wakes[0][0]
            heapq.heappush(self._alarms, (live.alarm_at, live.key))

    def tick(self) -> None:
        """Time has passed: do what is due, and send what waited too long for its commit."""
        now = self.now()
        most = MOST_AWAKENED
        while most > 0 and self._alarms and self._alarms[0][0] <= now:
            _, key = heapq.heappop(self._alarms)
            live = self.registry.calls.get(key)
            if live is not None:
                most -= self._wake(live, now, most)
        self.flush()

    def flush(self) -> None:
        """Send what waited too long for its commit, or whose commit fails."""
        for live in list(self._sending):
            if live.outbox:
                self.fanout.flush(live)
            else:
                self._sending.discard(live)

    def _wake(self, live: LiveCall, now: datetime, most: int) -> int:
        """Do what is due in a call, so much of it at most; how much that was."""
        live.alarm_at = None
        step, call = Step(live.call, now, self.new_id), live.call
        done = 0
        while done < most and call.wakes and call.wakes[0][0] <= now:
            done += 1
            _, _, what, subject = heapq.heappop(call.wakes)
            match what:
                case "fuse":
                    observing.settle(step, Capability(subject), digests)
                case "notice":
                    delivery.remind_of_notice(step, subject)
                case "presence":
                    delivery.remind_presence(step, subject)
                case "lapse":
                    observing.lapse(step, subject, digests)
                case "absence":
                    attendance.expire(step, subject)
        self.perform(live, step)
        return done

    def tidy(self) -> None:
        """End calls that nobody listens to or speaks of, and let those go from memory that ended long ago."""
        now = self.now()
        for live in self.registry.idle(now):
            step = self.step(live)
            observing.end(step, "idle", now, digests)
            self.perform(live, step)
        for key in self.registry.stale(now):
            self.registry.forget(key)

    def gaps_open(self) -> int:
        """Presences and notices of open calls without the required level now."""
        return sum(delivery.gaps_open(live.call) for live in self.registry.calls.values())


def _unname(live: LiveCall, fact: facts.PresencesErased) -> None:
    live = live.current()
    live.forget(fact.presences)
    fold.apply(live.call, fact)
    live.changed()


def adopt(step: Step, unclaimed: LiveCall) -> None:
    """What sources said of a call before any organisation knew it is said of this one."""
    for capability, track in unclaimed.call.tracks.items():
        for source, word in track.words.items():
            claim = Claim(source, word.state, authority=word.authority, occurred_at=word.occurred_at, event=word.event)
            observing.observe(step, capability, claim, digests)


def joining(session: Session) -> attendance.Joining:
    """What attendance needs to know of a session that joins a call."""
    return attendance.Joining(
        session=session.id,
        participant=session.participant,
        region=session.region,
        role=session.role,
        name=session.name,
        device=session.device,
    )
