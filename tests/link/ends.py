"""Both ends of a link in one loop, over a real socket pair: an edge that has no listener, and a recorder for a hub."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

from gateway.core.framing import frame
from gateway.core.session import Phase, Session
from gateway.hub.roll import Roll
from gateway.link.edge_end import EdgeEnd
from gateway.link.link import connect, pair
from gateway.link.messages import Begin, Believe, Drain
from gateway.link.region_end import RegionEnd
from gateway.metrics import Metrics
from tests.edge_world import Recorder


class Client:
    """A socket as a session sees it: what came out of it, and whether its client reads."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.reads = True
        self.held = False
        self.closed_with = 0

    def write(self, framed: bytes) -> bool:
        if self.reads:
            self.written.append(framed)
        return self.reads

    def finish(self, code: int, reason: str, last: bytes) -> None:
        self.closed_with = code

    def abort(self) -> None:
        self.closed_with = 1006

    def hold(self) -> None:
        self.held = True

    def resume(self) -> None:
        self.held = False


class Ends:
    """One worker's link: `edge` is the worker's end, `region` the region service's, `hub` notes what it is told."""

    def __init__(self, hub: Recorder) -> None:
        self.hub = hub
        self.clients: dict[Session, Client] = {}
        self.told: list[Begin | Believe | Drain] = []
        self.listens = 0
        self.edge = EdgeEnd(self.told.append)
        self.region = RegionEnd(hub, hub.metrics, self._listens)

    def _listens(self, _word: object) -> None:
        self.listens += 1

    @classmethod
    @asynccontextmanager
    async def joined(cls, hub: Recorder | None = None) -> AsyncIterator[Self]:
        """Both ends, connected."""
        ends = cls(hub if hub is not None else Recorder(Roll(), Metrics()))
        one, other = pair()
        await connect(ends.region.link, one)
        await connect(ends.edge.link, other)
        try:
            yield ends
        finally:
            ends.region.link.abort()
            await ends.edge.link.close()
            await ends.region.ended

    def enter(self, participant: str = "ada", device: str | None = None, *calls: str) -> Session:
        """A session of the worker whose hello was believed; it is welcomed as soon as the hub says so."""
        client = Client()
        session = Session(client, lambda _: None)
        session.id, session.participant, session.organization = f"s-{participant}", participant, "contoso"
        session.region, session.device, session.calls = "europe", device, frozenset(calls or ("c",))
        session.phase = Phase.GREETING
        self.clients[session] = client
        self.edge.enter(session, self.end)
        self.edge.greet(session, None, lambda *_: self.welcome(session))
        return session

    def welcome(self, session: Session) -> None:
        """The hub has shown what a welcome shows."""
        if session.phase is Phase.GREETING:
            session.phase = Phase.OPEN

    def end(self, session: Session, bye: Exception) -> None:
        """As the edge ends a session."""
        session.close(getattr(bye, "code", 0), str(bye), "")
        self.lose(session)

    def lose(self, session: Session, reason: str = "disconnected") -> None:
        """The session is gone."""
        session.phase = Phase.CLOSED
        self.edge.lost(session, reason)

    def far(self, session: Session) -> Session:
        """The session as the hub has it."""
        return self.region._sessions[self.edge._numbers[session]]


async def settle() -> None:
    """Until everything that was said has been taken at both ends: a few turns with the sockets looked at."""
    for _ in range(12):
        await asyncio.sleep(0.0005)


def framed(text: str) -> bytes:
    """A frame of the gateway."""
    return frame(text.encode())
