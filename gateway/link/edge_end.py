"""The edge's end of a link: the hub as an edge in a process of its own sees it, and what the hub says to its sessions.

Rules: a session is known to the other end from `enter` to `lost`, by a number that is never given again; what the hub
sends is written or dropped as its client reads, and the hub is told which; while the link is full, whoever says
something is not read any more until it has drained, so that nothing piles up here. Owned by the loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gateway.core import wire
from gateway.core.errors import Bye
from gateway.core.session import Session
from gateway.edge.hub import End, Shown
from gateway.link import messages
from gateway.link.link import Link
from gateway.link.messages import ToWorker, Word

MOST_DROPPED: Final = 100_000
"""Frames dropped since the last mark that are remembered: more than the region service sends in one turn."""


class EdgeEnd:
    """Implements `gateway.edge.hub.Hub` by messages. `instruct` gets those that are not about sessions."""

    def __init__(self, instruct: Callable[[messages.Begin | messages.Believe | messages.Drain], None]) -> None:
        self._instruct: Final = instruct
        self.link: Final[Link[ToWorker]] = Link(messages.from_region(), self._take)
        self.link.drained = self._resume
        self._count = 0
        self._numbers: Final[dict[Session, int]] = {}
        self._sessions: Final[dict[int, Session]] = {}
        self._end: End | None = None
        self._welcomes: Final[dict[int, Shown]] = {}
        self._behind: Final[set[int]] = set()
        self._dropped: list[int] = []
        self._held: Final[set[Session]] = set()

    # -- what the edge asks of the hub -------------------------------------------------------------------------

    def enter(self, session: Session, end: End) -> None:
        """Give the session a number and let the hub decide whether there are too many."""
        self._count += 1
        number = self._count
        self._numbers[session] = number
        self._sessions[number] = session
        self._end = end
        self.link.say(
            messages.Entered(
                number=number,
                id=session.id,
                participant=session.participant,
                organization=session.organization,
                region=session.region,
                role=session.role,
                calls=session.calls,
                name=session.name,
                device=session.device,
                locale=session.locale,
                capabilities=session.capabilities,
                expires_at=session.expires_at,
            )
        )

    def greet(self, session: Session, seen: str | None, then: Shown) -> None:
        """Ask what the welcome shows; asked again, whatever comes first is shown."""
        number = self._numbers[session]
        self._welcomes[number] = then
        self.link.say(messages.Asked(number, seen))

    def acknowledge(self, session: Session, frame: wire.Ack) -> None:
        """The client proves a level."""
        ack = messages.Acked(self._numbers[session], frame.notice, frame.level, frame.at, frame.digest)
        self._say(session, ack)

    def join(self, session: Session, frame: wire.Join) -> None:
        """The session takes part in a call."""
        self._say(session, messages.Said(self._numbers[session], frame))

    def leave(self, session: Session, frame: wire.Leave) -> None:
        """The session leaves a call."""
        self._say(session, messages.Said(self._numbers[session], frame))

    def observed(self, session: Session, frame: wire.Observed) -> None:
        """The client's SDK reports a state."""
        self._say(session, messages.Said(self._numbers[session], frame))

    def message(self, session: Session, frame: wire.Message) -> None:
        """The client's message."""
        self._say(session, messages.Said(self._numbers[session], frame))

    def renewed(self, session: Session) -> None:
        """The session goes on with a newer token."""
        number = self._numbers[session]
        self._say(session, messages.Renewed(number, session.calls, session.name, session.expires_at))

    def turned_away(self, reason: str) -> None:
        """Somebody whose data may not be here said hello."""
        self.link.say(messages.TurnedAway(reason))

    def lost(self, session: Session, reason: str) -> None:
        """The session is gone, and its number with it."""
        number = self._numbers.pop(session)
        del self._sessions[number]
        self._welcomes.pop(number, None)
        self._behind.discard(number)
        self._held.discard(session)
        self.link.say(messages.Lost(number, reason))

    def refresh_state(self, session: Session) -> None:
        """The client has caught up."""
        number = self._numbers[session]
        self._behind.discard(number)
        self.link.say(messages.CaughtUp(number))

    def _say(self, session: Session, word: Word) -> None:
        self.link.say(word)
        if self.link.full and session not in self._held:
            self._held.add(session)
            session.hold()

    def _resume(self) -> None:
        for session in self._held:
            session.resume()
        self._held.clear()

    # -- what the hub says -------------------------------------------------------------------------------------

    def _take(self, word: ToWorker) -> None:
        match word:
            case messages.Tell():
                self._tell(word.framed, word.numbers)
            case messages.Mark():
                dropped, self._dropped = self._dropped, []
                self.link.say(messages.Written(dropped))
            case messages.Shown():
                welcome = self._welcomes.pop(word.number, None)
                if welcome is not None:
                    proved = word.consistency
                    welcome(word.checkpoint, None if proved is None else wire.Consistency(*proved))
            case messages.End():
                session = self._sessions.get(word.number)
                if session is not None and self._end is not None:
                    self._end(session, Bye(word.code, word.reason))
            case _:
                self._instruct(word)

    def _tell(self, framed: bytes, numbers: list[int]) -> None:
        sessions = self._sessions
        for number in numbers:
            session = sessions.get(number)
            if session is None:
                self._dropped.append(number)
            elif not session.send_framed(framed):
                self._dropped.append(number)
                if session.behind and number not in self._behind:
                    self._behind.add(number)
                    self.link.say(messages.FellBehind(number))
        if len(self._dropped) > MOST_DROPPED:
            del self._dropped[:-MOST_DROPPED]
