"""Surveys: coverage of calls as it is asked for, taken in slices between which the loop does everything else.

Rules: one slice of one survey in a turn of the loop, whoever asks for how many; an answer is of a moment after it was
asked for, and everyone who asked for the same before that moment has the same; of those who wait for a call to be
complete one looks for all, no further than to the first gap and for a tenth of the time. Owned by the loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

from gateway.core.survey import Survey
from gateway.core.types import CallKey, Level
from gateway.hub.live import LiveCall

SLICE: Final = 2000
"""Presences × notices looked at before the loop may turn to something else: a few milliseconds."""
PAUSE: Final = 0.05
"""Seconds between two looks at a call whose coverage somebody waits for."""
REST: Final = 9
"""How many times as long as a look took nobody looks again."""

Find = Callable[[], Awaitable[LiveCall]]
"""Finds the call that is asked about, which may meanwhile have become part of another."""


class Answer(NamedTuple):
    """What a survey found, as JSON in pieces; `number` says which one it was of those of its question."""

    number: int
    pieces: Sequence[bytes]
    proved: bool


@dataclass(slots=True, eq=False)
class Question:
    """One level of one call, while anybody asks about it. `begun` counts its surveys; the next look for a gap begins
    with the presence at `place`, where the last one ended."""

    askers: int = 0
    begun: int = 0
    place: int = 0
    answer: Answer | None = None
    surveying: asyncio.Lock = field(default_factory=asyncio.Lock)
    looking: asyncio.Lock = field(default_factory=asyncio.Lock)

    def since(self, asked: int) -> Answer | None:
        """The newest answer, if its survey began after so many others had."""
        return self.answer if self.answer is not None and self.answer.number > asked else None


class Surveys:
    """Takes surveys."""

    def __init__(self, calls: Mapping[CallKey, LiveCall], now: Callable[[], datetime]) -> None:
        """`calls` are those in memory."""
        self._calls: Final = calls
        self._now: Final = now
        self._questions: Final[dict[tuple[CallKey, Level], Question]] = {}
        self._turn: Final = asyncio.Lock()
        self._ending = False
        self._loop: Final = asyncio.get_running_loop()

    def stop_waiting(self) -> None:
        """Answer everyone who waits with what there is: the process ends."""
        self._ending = True
        for live in self._calls.values():
            live.changed()

    async def coverage(self, find: Find, level: Level, wait: float) -> Sequence[bytes]:
        """Who was told what, with every gap; waits up to `wait` seconds for there to be none.

        Raises what `find` raises.
        """
        deadline = self._loop.time() + wait
        live = await find()
        if wait > 0:
            with self._question(live, level) as question:
                answer = await self._complete(question, live, level, deadline)
            if answer is not None:
                return answer.pieces
            # Meanwhile it may have become part of another call, or was let go and read back.
            live = await find()
        with self._question(live, level) as question:
            return (await self._whole(question, live, level)).pieces

    @contextmanager
    def _question(self, live: LiveCall, level: Level) -> Iterator[Question]:
        key = live.key, level
        question = self._questions.setdefault(key, Question())
        question.askers += 1
        try:
            yield question
        finally:
            question.askers -= 1
            if question.askers == 0:
                del self._questions[key]

    async def _whole(self, question: Question, live: LiveCall, level: Level) -> Answer:
        """What there is now."""
        asked = question.begun
        async with question.surveying:
            answer = question.since(asked)
            if answer is None:
                answer, _ = await self._survey(question, live.current(), level, to_gap=False)
            return answer

    async def _complete(self, question: Question, live: LiveCall, level: Level, deadline: float) -> Answer | None:
        """That nobody lacks anything, as soon as it is so; None when time is over, or the process ends."""
        asked = question.begun
        with suppress(TimeoutError):
            async with asyncio.timeout_at(deadline), question.looking:
                while not self._ending:
                    answer, took = question.since(asked), 0.0
                    if answer is None or not answer.proved:
                        live = live.current()
                        with _listening(live) as changed:
                            answer, took = await self._survey(question, live, level, to_gap=True)
                            if not answer.proved:
                                await changed
                    if answer.proved:
                        return answer
                    await asyncio.sleep(max(PAUSE, REST * took))
        return None

    async def _survey(self, question: Question, live: LiveCall, level: Level, *, to_gap: bool) -> tuple[Answer, float]:
        """A whole survey, or one up to a gap, which begins where the last one found it; and how long it took."""
        question.begun += 1
        number, first, looked = question.begun, question.place if to_gap else 0, 0
        async with self._turn:
            began = time.perf_counter()
            survey = Survey(live.call, level, self._now(), _behind(live), first)
            took = time.perf_counter() - began
        with closing(survey):
            while not survey.finished and (survey.proved or not to_gap):
                async with self._turn:
                    began, looked = time.perf_counter(), survey.looked
                    survey.advance(SLICE)
                    took += time.perf_counter() - began
                    await asyncio.sleep(0)
        if to_gap and not survey.proved:
            question.place = first + looked
            return Answer(number, (), proved=False), took
        question.answer = Answer(number, survey.report(), survey.proved)
        return question.answer, took


@contextmanager
def _listening(live: LiveCall) -> Iterator[asyncio.Future[None]]:
    """Resolves when anything of the call has changed since."""
    changed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    live.waiters.append(changed)
    try:
        yield changed
    finally:
        if changed in live.waiters:
            live.waiters.remove(changed)


def _behind(live: LiveCall) -> set[str]:
    """Presences whose sessions all read too slowly."""
    slow = {session.id: session.participant for session in live.audience if session.behind}
    presences = (live.call.present(participant) for participant in slow.values())
    return {each.id for each in presences if each is not None and slow.keys() >= set(each.sessions)}
