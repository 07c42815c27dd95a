"""A notice in the hands of an app: what it says, and the means to confirm each level of it.

Rules: a method returns only with the gateway's receipt; a level once said is repeated over any number of
connections until then, also when the caller stopped waiting.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

from gateway.client.frames import NoticeFrame, Receipt, Text
from gateway.core.types import Capability, Change, Level


@dataclass(frozen=True, slots=True)
class Notice:
    """One change of a capability in a call that the person must be told of.

    `id` is the same for every participant, device and reconnect; `require` is the level owed, until `deadline_at`
    where there is a deadline. Times are aware UTC. The methods may be called in any order and repeated; each
    raises Refused if the gateway refuses for good, ClientClosed if the client ends first, TooMuchUnconfirmed if
    too many receipts are outstanding.
    """

    id: str
    call: str
    revision: int
    capability: Capability
    change: Change
    episode: str | None
    occurred_at: datetime | None
    issued_at: datetime
    text: Text
    digest: str
    require: Level
    deadline_at: datetime | None
    _prove: Callable[[Notice, Level], Awaitable[Receipt]] = field(repr=False, compare=False)

    @classmethod
    def of(cls, frame: NoticeFrame, prove: Callable[[Notice, Level], Awaitable[Receipt]]) -> Self:
        """The notice that came as `frame`, confirmed through `prove`."""
        return cls(
            id=frame.notice,
            call=frame.call,
            revision=frame.revision,
            capability=frame.capability,
            change=frame.change,
            episode=frame.episode,
            occurred_at=frame.occurred_at,
            issued_at=frame.issued_at,
            text=frame.text,
            digest=frame.digest,
            require=frame.require,
            deadline_at=frame.deadline_at,
            _prove=prove,
        )

    async def received(self) -> Receipt:
        """It reached this client. Said without being asked, unless the client was told not to."""
        return await self._prove(self, Level.RECEIVED)

    async def displayed(self) -> Receipt:
        """It stood where the person could read it."""
        return await self._prove(self, Level.DISPLAYED)

    async def acknowledge(self) -> Receipt:
        """The person confirmed having read it. Says nothing about consent."""
        return await self._prove(self, Level.ACKNOWLEDGED)

    async def consent(self) -> Receipt:
        """The person agrees."""
        return await self._prove(self, Level.CONSENTED)

    async def decline(self) -> Receipt:
        """The person does not agree."""
        return await self._prove(self, Level.DECLINED)

    async def withdraw(self) -> Receipt:
        """The person takes an earlier consent back."""
        return await self._prove(self, Level.WITHDRAWN)
