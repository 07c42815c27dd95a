"""Dispatch: frames on their way to sessions that a worker holds, and what is known to have been written.

Rules: the same bytes go to all of a worker's sessions in one message; to one session things go in the order in which
they were sent; nobody hears that a frame was written before the worker says so, and nobody at all where it is lost.
Owned by the loop.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, TypeVar

from gateway.link.link import Link
from gateway.link.messages import Mark, Tell, ToRegion

T = TypeVar("T")


class Address:
    """Where a session is: its number, and the place among all messages of the last one about it."""

    __slots__ = ("last", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.last = 0


class _Run:
    """One frame to many, and its place among all messages."""

    __slots__ = ("place", "word")

    def __init__(self, word: Tell, place: int) -> None:
        self.word = word
        self.place = place


class _Handed:
    """What waits for a mark: what belongs to which number, and who wants to know."""

    __slots__ = ("items", "then")

    def __init__(self, items: Sequence[tuple[int, Any]], then: Callable[[list[Any]], None]) -> None:
        self.items = items
        self.then = then


class Dispatch:
    """What is sent to the sessions at the other end of `link`."""

    def __init__(self, link: Link[ToRegion]) -> None:
        self._link: Final = link
        self._runs: Final[dict[int, _Run]] = {}
        self._handed: list[_Handed] = []
        self._marks: Final[deque[list[_Handed]]] = deque()

    def tell(self, to: Address, framed: bytes) -> None:
        """Send one frame."""
        run = self._runs.get(id(framed))
        if run is None or run.place < to.last:
            word = Tell(framed, [])
            run = self._runs[id(framed)] = _Run(word, self._link.say(word))
        run.word.numbers.append(to.number)
        to.last = run.place

    def confirm(self, items: Sequence[tuple[int, T]], then: Callable[[list[T]], None]) -> None:
        """Call `then` with what belongs to those numbers to which all was written that this turn sends."""
        self._handed.append(_Handed(items, then))

    def close_turn(self) -> None:
        """The turn's messages are about to leave; a mark goes behind them if anybody wants to know."""
        self._runs.clear()
        if self._handed:
            self._marks.append(self._handed)
            self._handed = []
            self._link.say(Mark())

    def written(self, dropped: Collection[int]) -> None:
        """The worker has come to the oldest mark and wrote everything, but to these."""
        for each in self._marks.popleft():
            each.then([item for number, item in each.items if number not in dropped])

    def give_up(self) -> None:
        """The worker is gone: nobody will hear what it wrote."""
        self._marks.clear()
        self._handed.clear()
