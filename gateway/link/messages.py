"""What the two ends of a link say to each other, as bytes: MessagePack arrays, many in one batch.

Rules: a batch is its length in four bytes (big-endian) and then an array of messages; both ends are of one version,
started from the same files, so a message that cannot be read is a fault of ours and ends the link. `number` names a
session of its worker and is never used twice; times are aware UTC.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final, Generic, TypeVar

import msgspec

from gateway.core.frames import Join, Leave, Message, Observed
from gateway.core.types import Level, Role

LENGTH: Final = 4
"""Bytes before each batch that say how long it is."""
LONGEST: Final = 256 * 1024 * 1024
"""No batch is as long as this; a length beyond it is garbage."""
HEAVY: Final = 8
"""What a join weighs, or an end, against an ack."""


class Word(msgspec.Struct, array_like=True):
    """One message; the subclasses are the messages."""

    @property
    def weight(self) -> int:
        """How much there is to do, in acks or in sockets written to, so that long batches can be taken in slices."""
        return 1


# -- from a worker to the region service -------------------------------------------------------------------------------


class Listening(Word, tag=1):
    """The worker accepts connections."""


class Entered(Word, tag=2):
    """A `hello` was believed: the fields of `gateway.core.session.Session`."""

    number: int
    id: str
    participant: str
    organization: str
    region: str
    role: Role
    calls: frozenset[str]
    name: str | None
    device: str | None
    locale: str
    capabilities: frozenset[str]
    expires_at: datetime

    @property
    def weight(self) -> int:
        """Much more than an ack's."""
        return HEAVY


class Asked(Word, tag=3):
    """The session waits for what its welcome shows to who has `seen` that checkpoint."""

    number: int
    seen: str | None


class Acked(Word, tag=4):
    """The fields of an `ack` frame: nine of ten messages are this one."""

    number: int
    notice: str
    level: Level
    at: datetime
    digest: str | None


class Said(Word, tag=5):
    """Any other frame that the hub takes."""

    number: int
    frame: Join | Leave | Observed | Message

    @property
    def weight(self) -> int:
        """Much more than an ack's."""
        return HEAVY


class Renewed(Word, tag=6):
    """The session goes on with a newer token."""

    number: int
    calls: frozenset[str]
    name: str | None
    expires_at: datetime


class Lost(Word, tag=7):
    """The session is gone; nothing more is said of its number."""

    number: int
    reason: str

    @property
    def weight(self) -> int:
        """Much more than an ack's: a presence has lost a session in each call."""
        return HEAVY


class FellBehind(Word, tag=8):
    """The client reads too slowly: what is sent to it is dropped."""

    number: int


class CaughtUp(Word, tag=9):
    """What was unsent has drained: the client wants fresh state."""

    number: int


class TurnedAway(Word, tag=10):
    """Somebody whose data may not be here said hello."""

    reason: str


class Written(Word, tag=11):
    """Everything up to the oldest `Mark` not yet answered was handed to sockets, but to these sessions'."""

    dropped: list[int]


class Counted(Word, tag=12):
    """What the worker counted since it said so last; `lags` in seconds. It also says that the worker lives."""

    frames: int
    closes: dict[int, int]
    lags: list[float]


# -- from the region service to a worker -------------------------------------------------------------------------------


class Begin(Word, tag=32):
    """What a worker is to do: the first message. `keys` is a JWK Set; `placements` says (region, organisation)."""

    worker: int
    address: str
    origins: tuple[str, ...]
    placements: dict[str, tuple[str, str]]
    served: frozenset[str]
    issuer: str
    audience: str
    keys: bytes
    ping_seconds: int
    sessions: int
    connections: int
    strangers: int
    reconnects_per_second: int
    log_level: str


class Tell(Word, tag=33):
    """Write these bytes, one whole WebSocket frame, to each of these sessions."""

    framed: bytes
    numbers: list[int]

    @property
    def weight(self) -> int:
        """As many as there are sockets."""
        return len(self.numbers)


class Mark(Word, tag=34):
    """Say what became of everything up to here."""


class Shown(Word, tag=35):
    """What the session's welcome shows: see `gateway.core.wire.welcome`."""

    number: int
    checkpoint: str | None
    consistency: tuple[int, int, Sequence[bytes]] | None


class End(Word, tag=36):
    """Say `bye` to the session and close it."""

    number: int
    code: int
    reason: str


class Believe(Word, tag=37):
    """Believe these keys (a JWK Set) from now on, and no others."""

    keys: bytes


class Drain(Word, tag=38):
    """Send every client away, closing `grace` seconds after the first word of it."""

    grace: float


ToRegion = (
    Acked | Said | Entered | Asked | Lost | Written | FellBehind | CaughtUp | Renewed | TurnedAway | Counted | Listening
)
ToWorker = Tell | Mark | Shown | End | Begin | Believe | Drain

W = TypeVar("W", bound=Word)

_ENCODER: Final = msgspec.msgpack.Encoder()


def batch(words: Sequence[Word]) -> bytes:
    """These messages as one batch."""
    body = bytearray(LENGTH)
    _ENCODER.encode_into(words, body, LENGTH)
    body[:LENGTH] = (len(body) - LENGTH).to_bytes(LENGTH, "big")
    return bytes(body)


class Batches(Generic[W]):
    """Bytes in whatever pieces, batches of messages out. `kinds` is a union such as `ToRegion`."""

    def __init__(self, decoder: msgspec.msgpack.Decoder[list[W]]) -> None:
        self._decoder = decoder
        self._pending = bytearray()

    def feed(self, data: bytes) -> Iterator[list[W]]:
        """Every batch that is whole by now. Raises `ValueError` for what is no batch of these messages."""
        pending = self._pending
        pending += data
        start = 0
        try:
            while len(pending) >= start + LENGTH:
                end = start + LENGTH + int.from_bytes(pending[start : start + LENGTH], "big")
                if end - start > LONGEST:
                    raise ValueError("a batch without end")
                if end > len(pending):
                    break
                words = self._decoder.decode(bytes(pending[start + LENGTH : end]))
                start = end
                yield words
        finally:
            del pending[:start]


def from_workers() -> Batches[ToRegion]:
    """What a worker says."""
    return Batches(msgspec.msgpack.Decoder(list[ToRegion]))


def from_region() -> Batches[ToWorker]:
    """What the region service says."""
    return Batches(msgspec.msgpack.Decoder(list[ToWorker]))
