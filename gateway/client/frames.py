"""The frames of `notices.v1.json` as a client sees them, and the errors an app can meet.

Rules: pure values and their reading; unknown fields and unknown kinds of frame are ignored, a known kind that
cannot be read is an error; nothing here quotes what it read.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

import msgspec

from gateway.core.errors import RETRY, GatewayError
from gateway.core.types import Capability, Change, Level, State

SUBPROTOCOL: Final = "notices.v1.json"
FRAME_LIMIT: Final = 32 * 1024
"""The largest frame a gateway takes, in bytes; a larger one ends the connection (4413)."""


class ClientError(GatewayError):
    """What every error of the client's own descends from."""


class ClientClosed(ClientError):
    """The client is over and will not reconnect.

    `code` is the close code (RFC 6455 §7.4; 4000-4999 are the gateway's), or the HTTP status of a refused
    handshake. `retry` is the gateway's word: `never`, `elsewhere` (this region is not served here), `refresh`
    (a fixed token expired).
    """

    def __init__(self, code: int, reason: str, retry: str = "never") -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason
        self.retry = retry


class Forked(ClientClosed):
    """The gateway shows a ledger that does not continue the one this client has seen, or shows none any more.

    The client has ended. `known` and `shown` are the notes (C2SP signed-note) of what was seen and of what was shown
    instead, None where there is none: keep both, they are the evidence.
    """

    def __init__(self, reason: str, known: str | None, shown: str | None) -> None:
        super().__init__(1008, reason)
        self.known = known
        self.shown = shown


class Refused(ClientError):
    """The gateway refused one request for good and recorded nothing; the connection stays.

    `code` is for machines, the text for people.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class TooMuchUnconfirmed(ClientError):
    """So much waits for the gateway's confirmation already that no more is taken."""


class TokenFailed(ClientError):
    """The app's token callable raised, or gave no text; its own error is the cause."""


class BadFrame(ClientError):
    """The gateway sent something that is no frame of the protocol."""


class Text(msgspec.Struct, frozen=True):
    """What to show to the person, in the language `locale` (BCP 47)."""

    locale: str
    title: str
    body: str
    link: str | None = None


class CapabilityState(msgspec.Struct, frozen=True):
    """Where a capability stands in a call, in which episode, since when (aware UTC)."""

    state: State
    episode: str | None = None
    since: datetime | None = None

    @property
    def shown_on(self) -> bool:
        """Whether to show it as on: unknown counts as on, because being told too much harms nobody."""
        return self.state in (State.ACTIVE, State.UNKNOWN)


class CallState(msgspec.Struct, frozen=True):
    """A call as last heard: its revision and where each capability stands."""

    call: str
    revision: int
    capabilities: Mapping[Capability, CapabilityState]


class Receipt(msgspec.Struct, frozen=True):
    """The gateway's word that a level is durably recorded, as entry number `entry` of its region's ledger."""

    notice: str
    level: Level
    entry: int
    at: datetime


class Stored(msgspec.Struct, frozen=True):
    """The gateway's word that a message, or its deletion, is durable; `expires_at` is when the copy goes."""

    id: str
    expires_at: datetime | None = None


class NoticeFrame(msgspec.Struct, frozen=True):
    """One change of an episode that the participant must be told of."""

    call: str
    revision: int
    notice: str
    capability: Capability
    change: Change
    issued_at: datetime
    text: Text
    digest: str
    episode: str | None = None
    occurred_at: datetime | None = None
    require: Level = Level.ACKNOWLEDGED
    deadline_at: datetime | None = None


class Consistency(msgspec.Struct, frozen=True, rename={"start": "from", "end": "to"}):
    """The proof that the ledger of `end` entries continues what it was at `start`."""

    start: int
    end: int
    hashes: tuple[bytes, ...]


class Welcome(msgspec.Struct, frozen=True):
    """The session is open, until `expires_at` unless the token is refreshed.

    `checkpoint` is the newest of the region's ledger, `consistency` leads there from what the `hello` said was seen.
    """

    session: str
    participant: str
    region: str
    server_time: datetime
    ping_seconds: float
    expires_at: datetime
    checkpoint: str | None = None
    consistency: Consistency | None = None


class StateFrame(msgspec.Struct, frozen=True):
    """A call's whole state; `more` notices are owed beyond those listed."""

    call: str
    revision: int
    capabilities: dict[Capability, CapabilityState]
    notices: tuple[NoticeFrame, ...] = ()
    more: int = 0
    id: str | None = None


class Left(msgspec.Struct, frozen=True):
    """The answer to a leave."""

    id: str


class Complaint(msgspec.Struct, frozen=True):
    """An `error` frame: `id` (or `notice` and `level`) names what it answers, where it answers one."""

    code: str
    message: str = ""
    temporary: bool = False
    id: str | None = None
    notice: str | None = None
    level: Level | None = None


class Ping(msgspec.Struct, frozen=True):
    """To be answered with a pong of the same `at`."""

    at: str


class Goaway(msgspec.Struct, frozen=True):
    """The gateway is going down: come back after that many milliseconds."""

    reconnect_after_ms: int


class ByeFrame(msgspec.Struct, frozen=True):
    """The connection is about to close, why, and what to do about it."""

    code: int
    reason: str = ""
    retry: str | None = None


ServerFrame = Welcome | StateFrame | NoticeFrame | Receipt | Left | Stored | Complaint | Ping | Goaway | ByeFrame


class _Kind(msgspec.Struct):
    type: str


_kind: Final = msgspec.json.Decoder(_Kind)
_decoders: Final[dict[str, msgspec.json.Decoder[ServerFrame]]] = {
    kind: msgspec.json.Decoder(frame)
    for kind, frame in {
        "welcome": Welcome,
        "state": StateFrame,
        "notice": NoticeFrame,
        "receipt": Receipt,
        "left": Left,
        "stored": Stored,
        "error": Complaint,
        "ping": Ping,
        "goaway": Goaway,
        "bye": ByeFrame,
    }.items()
}


def read(data: bytes) -> ServerFrame | None:
    """The frame in `data`; None for a kind that this version does not know. Raises BadFrame."""
    try:
        decoder = _decoders.get(_kind.decode(data).type)
        return None if decoder is None else decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise BadFrame("the gateway sent a frame that cannot be read") from None


def write(frame: Mapping[str, object]) -> bytes:
    """`frame` as UTF-8 JSON without its empty fields. Raises ValueError if the gateway could not take it."""
    try:
        data = msgspec.json.encode({name: value for name, value in frame.items() if value is not None})
    except UnicodeEncodeError:
        raise ValueError("a text holds half a character (a lone surrogate)") from None
    if len(data) > FRAME_LIMIT:
        raise ValueError(f"a frame of {len(data)} bytes is over the limit of {FRAME_LIMIT}")
    return data


def checked(text: str, limit: int, what: str) -> str:
    """`text`, if the gateway takes it. Raises ValueError: a frame it does not take would end the session (4400)."""
    if not 1 <= len(text) <= limit:
        raise ValueError(f"{what} has {len(text)} characters; 1 to {limit} are allowed")
    return text


def verdict(code: int, retry: str | None) -> str:
    """`reconnect`, `refresh`, `elsewhere` or `never`: the gateway's word, else what the close code means.

    Codes outside 4000-4999 come from proxies, networks and RFC 6455 itself: they say nothing final.
    """
    if retry in ("reconnect", "refresh", "elsewhere", "never"):
        return retry
    return RETRY.get(code, "never") if 4000 <= code <= 4999 else "reconnect"
