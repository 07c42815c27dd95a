"""What a client may send: one structure per frame of the protocol `notices.v1.json`, told apart by `type`.

Rules: unknown fields are ignored; a time has an offset, is kept in UTC and lies in years that sums with times can
bear; strings have limits so that nothing a client names can fill memory or the ledger.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final

import msgspec

from gateway.core.strict_json import LARGEST
from gateway.core.types import Capability, Level, State

_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]
_Short = Annotated[str, msgspec.Meta(max_length=256)]
_Note = Annotated[str, msgspec.Meta(max_length=4096)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=LARGEST)]
_Moment = Annotated[datetime, msgspec.Meta(tz=True)]

_FIRST_YEAR: Final = 1970
_LAST_YEAR: Final = 9000


def _utc(moment: datetime) -> datetime:
    # Beyond these years ordinary sums with times overflow; and so does the change to UTC itself.
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        raise ValueError("time out of range")
    return moment if moment.tzinfo is UTC else moment.astimezone(UTC)


class Frame(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", gc=False):
    """What a client may send; the subclasses are the frames."""


class Hello(Frame, frozen=True, kw_only=True, tag="hello"):
    """The first frame. `token` may be left out where the upgrade carried one; `device` is opaque and stable.

    `checkpoint` is the newest note of the region's ledger that the client has seen; it may be anything.
    """

    token: str | None = None
    device: _Short | None = None
    locale: _Short | None = None
    capabilities: Annotated[tuple[_Short, ...], msgspec.Meta(max_length=32)] = ()
    client: _Short | None = None
    checkpoint: _Note | None = None


class Join(Frame, frozen=True, kw_only=True, tag="join"):
    """Take part in `call`; `revision` is the last one seen."""

    id: _Id
    call: _Name
    revision: _Count | None = None


class Leave(Frame, frozen=True, kw_only=True, tag="leave"):
    """Leave `call` and stay connected."""

    id: _Id
    call: _Name


class Ack(Frame, frozen=True, kw_only=True, tag="ack"):
    """`level` of `notice` was reached at `at` by the client's clock; `digest` as received."""

    notice: _Id
    level: Level
    at: _Moment
    digest: _Short | None = None

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "at", _utc(self.at))


class Observed(Frame, frozen=True, kw_only=True, tag="observed"):
    """The client's SDK says that `capability` is in `state`."""

    call: _Name
    capability: Capability
    state: State
    at: _Moment
    cause: _Short | None = None

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "at", _utc(self.at))


class Message(Frame, frozen=True, kw_only=True, tag="message"):
    """The participant's message in a thread; `deleted` comes without `content`, everything else with it."""

    id: _Id
    thread: _Name
    message: _Name
    version: _Count
    sent_at: _Moment
    content: str | None = None
    deleted: bool = False

    def __post_init__(self) -> None:
        if (self.content is None) is not self.deleted:
            raise ValueError("content and deleted exclude each other")
        msgspec.structs.force_setattr(self, "sent_at", _utc(self.sent_at))


class Refresh(Frame, frozen=True, kw_only=True, tag="refresh"):
    """A new token for the same participant."""

    token: str


class Pong(Frame, frozen=True, kw_only=True, tag="pong"):
    """The answer to a ping, with the ping's `at`."""

    at: _Short


class Goodbye(Frame, frozen=True, kw_only=True, tag="bye"):
    """The client leaves for good."""


ClientFrame = Hello | Join | Leave | Ack | Observed | Message | Refresh | Pong | Goodbye

KINDS: Final[dict[str, type[ClientFrame]]] = {
    "hello": Hello,
    "join": Join,
    "leave": Leave,
    "ack": Ack,
    "observed": Observed,
    "message": Message,
    "refresh": Refresh,
    "pong": Pong,
    "bye": Goodbye,
}
"""Every `type` there is."""
