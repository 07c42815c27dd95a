"""Intake: events from webhooks and from MQTT, each taken once and confirmed only when durable.

Rules: an event is known by (source, id); one that was applied and could not be written yet is not applied again when
its source retries; the mark that says "taken" is written after everything the event did. Which organisation an
event without one counts in is answered by the registry.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from gateway.core.errors import NotDurable
from gateway.core.fusion import ANCIENT
from gateway.core.happenings import Event, Refused
from gateway.core.residency import Unserved
from gateway.core.types import rfc3339
from gateway.hub.enactment import Enactment, Outcome, resolve
from gateway.hub.interpreter import Interpreter
from storage.entry import canonical
from storage.operations import Append, MarkEvents

REMEMBER: Final = timedelta(days=8)
"""How long an event is known; Event Grid retries for one day, dead letters are replayed within a week."""
RECENT: Final = 65_536
"""How many events just taken are known without asking storage."""
PATIENCE: Final = 10.0
"""Seconds a source waits for durability before it is told to come again."""


@dataclass(frozen=True, slots=True)
class Taken:
    """How many events were new and how many known; `refused` are positions among the events, with reasons."""

    accepted: int
    duplicates: int
    refused: tuple[tuple[int, str], ...] = ()


class Intake:
    """Takes events in. Owned by the loop."""

    def __init__(self, interpreter: Interpreter, enactment: Enactment) -> None:
        self._interpreter: Final = interpreter
        self._ledgers: Final = interpreter.ledgers
        self._metrics: Final = interpreter.metrics
        self._enactment: Final = enactment
        self._region: Final = interpreter.homes.unclaimed
        """Keeps the marks of events, which say nothing of their content."""
        self._taking: Final[dict[bytes, Outcome]] = {}
        self._recent: Final[dict[bytes, None]] = {}
        self._done: list[tuple[Event, Outcome]] = []
        """What this turn of the loop finished, to be marked when it ends."""
        self._loop: Final = asyncio.get_running_loop()

    async def take(self, events: Sequence[Event], refused: Sequence[Refused]) -> Taken:
        """Take events in; returns when everything they did is durable. Raises `NotDurable` when that cannot be."""
        known = await self._known([event.digest for event in events])
        duplicates = 0
        outcomes: list[Outcome] = []
        turned_away: list[tuple[int, str]] = []
        for position, event in enumerate(events):
            under_way = self._taking.get(event.digest)
            if event.digest in known or event.digest in self._recent or under_way is not None:
                duplicates += 1
                outcomes += [] if under_way is None else [under_way]
                continue
            outcome = self._taking[event.digest] = self._loop.create_future()
            outcomes.append(outcome)
            try:
                writes = await self._enactment.apply(event)
            except Unserved as unserved:
                turned_away.append((position, unserved.detail))
                self._turn_away(event, unserved.code, outcome)
                continue
            except BaseException:
                del self._taking[event.digest]
                outcome.cancel()
                raise
            self._finish(event, writes, outcome)
        outcomes += [self._enactment.refuse(item.door, item.reason, item.digest) for item in refused]
        await self._durable(outcomes)
        accepted = len(events) - duplicates - len(turned_away)
        self._metrics.event("accepted", accepted)
        self._metrics.event("duplicate", duplicates)
        self._metrics.event("refused", len(refused) + len(turned_away))
        return Taken(accepted, duplicates, tuple(turned_away))

    async def _known(self, wanted: Sequence[bytes]) -> set[bytes]:
        if not wanted:
            return set()
        return set(await self._ledgers.read(self._region, lambda reader: reader.known_events(wanted)))

    def _finish(self, event: Event, writes: Sequence[Outcome], outcome: Outcome) -> None:
        """Mark the event as taken once everything it did is durable, however long that takes."""
        left = len(writes)

        def written(_: object = None) -> None:
            nonlocal left
            left -= 1
            if left <= 0:
                self._mark(event, outcome)

        for write in writes:
            write.add_done_callback(written)
        if not writes:
            self._mark(event, outcome)

    def _turn_away(self, event: Event, reason: str, outcome: Outcome) -> None:
        """The event is refused, and not marked as taken: its source may send it to whom it concerns."""

        def refused(_: Outcome) -> None:
            self._taking.pop(event.digest, None)
            resolve(outcome)

        self._enactment.refuse("event", reason, event.digest).add_done_callback(refused)

    def _mark(self, event: Event, outcome: Outcome) -> None:
        """Mark it together with what else is done in this turn: thousands may come at once."""
        if not self._done:
            self._loop.call_soon(self._write_marks)
        self._done.append((event, outcome))

    def _write_marks(self) -> None:
        now = self._interpreter.now()
        done, self._done = self._done, []
        appends = [Append(_taken(event, now), None, event=event.digest) for event, _ in done]
        marks = MarkEvents(tuple(event.digest for event, _ in done), now + REMEMBER)
        self._ledgers.submit(self._region, [*appends, marks], lambda _: self._marked(done))

    def _marked(self, done: Iterable[tuple[Event, Outcome]]) -> None:
        for event, outcome in done:
            self._taking.pop(event.digest, None)
            # Whoever asked storage before this commit does not know of it yet.
            self._recent[event.digest] = None
            if len(self._recent) > RECENT:
                del self._recent[next(iter(self._recent))]
            resolve(outcome)

    async def _durable(self, outcomes: Iterable[Outcome]) -> None:
        pending = {outcome for outcome in outcomes if not outcome.done()}
        deadline = self._loop.time() + PATIENCE
        while pending:
            done, pending = await asyncio.wait(pending, timeout=0.1)
            if any(outcome.cancelled() for outcome in done):
                raise NotDurable("the same event is being taken and failed")
            if pending and (self._ledgers.failing or self._loop.time() > deadline):
                raise NotDurable("storage cannot write now")


def _taken(event: Event, now: datetime) -> bytes:
    """The entry of an event that was taken, which says nothing of its content."""
    late = now - event.occurred_at > ANCIENT
    entry = {
        "kind": "event",
        "type": event.type,
        "digest": event.digest.hex(),
        "occurred_at": rfc3339(event.occurred_at),
        "at": rfc3339(now),
        "outcome": "late_event" if late else "accepted",
    }
    return canonical(entry)
