"""Last messages: one per participant, kept in the participant's region until it expires.

Rules: content goes to the region's storage and nowhere else; which message is the newest is decided there, in the
commit that keeps it. A time more than five minutes ahead counts as the time of receipt.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, Protocol

from gateway.core.residency import resource_of
from gateway.core.types import milliseconds
from gateway.hub.commits import Commit
from gateway.hub.ledgers import Ledgers
from storage.operations import KeepMessage, MessageOutcome

AHEAD: Final = timedelta(minutes=5)
"""How far a sender's clock may be ahead before it is not believed."""


class Sent(Protocol):
    """A message as a frame or an event brings it."""

    @property
    def thread(self) -> str: ...
    @property
    def message(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def sent_at(self) -> datetime: ...
    @property
    def content(self) -> str | None: ...
    @property
    def deleted(self) -> bool: ...


class Messages:
    """Keeps last messages for as long as the rules of their region say."""

    def __init__(self, ledgers: Ledgers, now: Callable[[], datetime]) -> None:
        self._ledgers: Final = ledgers
        self._now: Final = now

    def keep(self, region: str, participant: str, sent: Sent, then: Callable[[datetime | None], None]) -> Commit:
        """Keep the message if it is the newest; `then` hears, once that is durable, when what is kept expires."""
        now = self._now()
        sent_at = milliseconds(sent.sent_at if sent.sent_at - now <= AHEAD else now)

        def kept(commit: Commit) -> None:
            outcome: MessageOutcome = commit.results[0]
            then(outcome.expires_at)

        keep = KeepMessage(
            participant=participant,
            resource=resource_of(participant) or "",
            thread=sent.thread,
            message=sent.message,
            version=sent.version,
            sent_at=sent_at,
            content=sent.content,
            deleted=sent.deleted,
            at=now,
        )
        return self._ledgers.submit(region, [keep], kept)
