"""A session: one WebSocket connection that says who it is with its first frame, and may then speak for them.

Rules: what a session takes in each phase stands in `TAKES` and nowhere else; nothing is written to it while it is
behind or after it began to leave. A session is owned by the loop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Final, Protocol, TypeVar

from gateway.core import wire
from gateway.core.claims import EVERY_CALL, Claims
from gateway.core.errors import Bye
from gateway.core.framing import frame
from gateway.core.types import CallKey, Role


class Phase(StrEnum):
    """Where a session is in its life; it only ever goes forward."""

    AWAITING = "awaiting hello"
    GREETING = "awaiting its welcome"
    OPEN = "open"
    LEAVING = "leaving"
    CLOSED = "closed"


TAKES: Final[Mapping[Phase, Mapping[type[wire.ClientFrame], Phase]]] = {
    Phase.AWAITING: {
        wire.Hello: Phase.GREETING,
        wire.Goodbye: Phase.LEAVING,
    },
    Phase.GREETING: {},
    Phase.OPEN: {
        wire.Join: Phase.OPEN,
        wire.Leave: Phase.OPEN,
        wire.Ack: Phase.OPEN,
        wire.Observed: Phase.OPEN,
        wire.Message: Phase.OPEN,
        wire.Refresh: Phase.OPEN,
        wire.Pong: Phase.OPEN,
        wire.Goodbye: Phase.LEAVING,
    },
    Phase.LEAVING: {},
    Phase.CLOSED: {},
}
"""The frames each phase takes and the phase each leads to.

While GREETING, what comes in is kept; it is taken in the order it came when the phase is OPEN, which it becomes by
itself with the welcome: at once, or as soon as what the `hello` asked to be proved is there.
"""

LIVING: Final = frozenset({Phase.AWAITING, Phase.GREETING, Phase.OPEN})
"""The phases in which the connection has not begun to end."""


def next_phase(phase: Phase, sent: wire.ClientFrame) -> Phase:
    """The phase after `sent` came in `phase`. Raises `Bye` (4400) where that frame has no place."""
    following = TAKES[phase].get(type(sent))
    if following is None:
        raise Bye(4400, "the first frame is hello" if phase is Phase.AWAITING else "hello comes once")
    return following


T = TypeVar("T")
_OPEN: Final = Phase.OPEN
"""An enumeration looks its members up for longer than a dictionary does, and this one is asked for at every frame."""
_NEVER: Final = datetime.min.replace(tzinfo=UTC)


_NOWHERE: Final[Mapping[CallKey, str]] = {}


@lru_cache(maxsize=4096)
def _alone(call: CallKey, name: str) -> Mapping[CallKey, str]:
    return {call: name}


class Socket(Protocol):
    """What a session needs of its connection."""

    def write(self, framed: bytes) -> bool:
        """Hand over one complete frame; False, and nothing written, where too much is still unsent."""

    def finish(self, code: int, reason: str, last: bytes) -> None:
        """Write the frame `last`, where it is not empty, and close with `code`, whatever is still unsent."""

    def abort(self) -> None:
        """Cut the connection now."""

    def hold(self) -> None:
        """Read nothing from the client until `resume`."""

    def resume(self) -> None:
        """Read again."""


class Carrier(Protocol):
    """What takes frames to sockets that another process holds: there `send` says only that they are on their way."""

    def confirm(self, handed: Sequence[tuple[Session, T]], then: Callable[[list[T]], None]) -> None:
        """Call `then` with the seconds of those whose sockets took all that was sent to them up to now.

        It is called on the loop once that is known, and never where the process is lost before.
        """


class Session:
    """One connection and, from phase `GREETING` on, who it speaks for; until then those fields are empty.

    `joined` maps each call to the name the client joined it by; the hub keeps it, by `enter` and `quit`, and whoever is
    in one call only shares it with the others there. `behind` says that too much is unsent, so that what is sent now is
    dropped; the hub's `refresh_state` follows when it has drained. `carrier` is there
    where another process holds the socket.
    """

    __slots__ = (
        "_fell_behind",
        "_socket",
        "awaits_pong",
        "behind",
        "calls",
        "capabilities",
        "carrier",
        "device",
        "expires_at",
        "frames_until",
        "granted",
        "id",
        "joined",
        "locale",
        "name",
        "organization",
        "participant",
        "phase",
        "region",
        "role",
    )

    def __init__(self, socket: Socket, fell_behind: Callable[[Session], None]) -> None:
        self._socket = socket
        self._fell_behind = fell_behind
        self.carrier: Carrier | None = None
        self.phase = Phase.AWAITING
        self.behind = False
        self.awaits_pong = False
        self.frames_until = 0.0
        """The edge's account of how much this session has sent (see `Edge`)."""
        self.granted: Claims | None = None
        """What a token on the upgrade said, until the `hello`."""
        self.id = ""
        self.participant = ""
        self.organization = ""
        self.region = ""
        self.role = Role.PARTICIPANT
        self.calls: frozenset[str] = frozenset()
        self.name: str | None = None
        self.device: str | None = None
        self.locale = ""
        self.capabilities: frozenset[str] = frozenset()
        self.expires_at = _NEVER
        self.joined: Mapping[CallKey, str] = _NOWHERE

    def send(self, payload: bytes) -> bool:
        """Send one text frame; False if it was dropped because the session is behind or not open."""
        return self.send_framed(frame(payload))

    def send_framed(self, framed: bytes) -> bool:
        """Send what `gateway.core.framing.frame` made, the same bytes to many; as `send` otherwise."""
        if self.phase is not _OPEN or self.behind:
            return False
        if self._socket.write(framed):
            return True
        self.behind = True
        self._fell_behind(self)
        return False

    def close(self, code: int, reason: str, retry: str) -> None:
        """Say `bye` and close; what comes in from now on is ignored. Does nothing the second time."""
        if self.phase in LIVING:
            self.phase = Phase.LEAVING
            self._socket.finish(code, reason, frame(wire.bye(code, reason, retry)))

    def part(self) -> None:
        """Close as the client wished: normally (RFC 6455 §7.4.1) and without a word."""
        if self.phase in LIVING:
            self.phase = Phase.LEAVING
            self._socket.finish(1000, "", b"")

    def enter(self, call: CallKey, name: str) -> None:
        """The session has joined `call`, by this name."""
        self.joined = {**self.joined, call: name} if self.joined else _alone(call, name)

    def quit(self, call: CallKey) -> str | None:
        """The session is in `call` no more; the name by which it was, None if it was not."""
        name = self.joined.get(call)
        if name is not None:
            self.joined = {each: known for each, known in self.joined.items() if each != call} or _NOWHERE
        return name

    def quit_all(self) -> Mapping[CallKey, str]:
        """The session is in no call any more; those in which it was."""
        joined, self.joined = self.joined, _NOWHERE
        return joined

    def hold(self) -> None:
        """Take nothing more in until `resume`; what was read already is still handled."""
        self._socket.hold()

    def resume(self) -> None:
        """Take in again what the client says."""
        self._socket.resume()

    def renew(self, claims: Claims) -> None:
        """Speak by a newer token of the same participant. Raises `Bye` (4403) where it leaves out what is joined."""
        if EVERY_CALL not in claims.calls and not claims.calls.issuperset(self.joined.values()):
            raise Bye(4403, "the token does not cover a joined call")
        self.calls = claims.calls
        self.name = claims.name
        self.expires_at = claims.expires_at

    def may(self, call: str) -> bool:
        """Whether the token covers `call`."""
        return call in self.calls or EVERY_CALL in self.calls
