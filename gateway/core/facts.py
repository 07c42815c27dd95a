"""What happened, as the ledger remembers it: the facts that live state, recovery and coverage are folded from.

Rules: a fact is decided once and never changed; its `kind` is the ledger's word for it. Facts name people by
presence id; only `PresenceOpened` carries the person, and the journal seals that part away before it writes.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, get_args

import msgspec

from gateway.core.types import CallKey, Capability, Change, Level, Role, State


class Fact(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", gc=False):
    """Something that happened in `call` at `at` by the gateway's clock."""

    call: CallKey
    at: datetime


class CallOpened(Fact, frozen=True, kw_only=True, tag="call.opened"):
    """The call became known, or came back after it had ended."""


class CallEnded(Fact, frozen=True, kw_only=True, tag="call.ended"):
    """The call is over: open episodes end here and every presence closes. `occurred_at` is the source's time."""

    revision: int
    reason: str
    occurred_at: datetime


class CallMerged(Fact, frozen=True, kw_only=True, tag="call.merged"):
    """The call `source`, opened under an alias, became part of this one; `revision` is newer than both.

    `same` holds who are one person: the name (`who`) in the source, and the name here. `united` holds which presence
    became part of which other, of either call. Both are None in entries written before there were such fields.
    """

    source: str
    revision: int
    same: tuple[tuple[str, str], ...] | None = None
    united: tuple[tuple[str, str], ...] | None = None


class ObservationMade(Fact, frozen=True, kw_only=True, tag="observation"):
    """One source's claim about a capability. `verdict` says what became of it (see `gateway.core.fusion`).

    `event` is the digest (hex) of the event it came with, None for what a client said on its own connection.
    """

    capability: Capability
    state: State
    source: str
    authority: bool
    occurred_at: datetime
    verdict: str
    failed: bool = False
    cause: str | None = None
    event: str | None = None


class ClaimLapsed(Fact, frozen=True, kw_only=True, tag="claim.lapsed"):
    """A client's claim fell away because its reporter has been gone for ten seconds."""

    capability: Capability
    source: str


class CapabilityChanged(Fact, frozen=True, kw_only=True, tag="capability"):
    """A visible state changed without anything to tell: to unknown and back, or a silent end."""

    revision: int
    capability: Capability
    state: State
    episode: str | None = None


class NoticeIssued(Fact, frozen=True, kw_only=True, tag="notice"):
    """A change everyone in the call must be told of. `at` is `issued_at`; `digests` maps locale to digest."""

    revision: int
    notice: str
    capability: Capability
    change: Change
    episode: str
    occurred_at: datetime
    require: Level
    deadline_at: datetime
    digests: dict[str, str]


class PresenceOpened(Fact, frozen=True, kw_only=True, tag="presence.opened"):
    """One participant came into the call. The person goes into the vault, never into the entry.

    `who` is the first presence of the same participant in this call: the person's name in this ledger.
    """

    presence: str
    who: str
    region: str
    participant: str | None = None
    name: str | None = None
    role: Role
    listed: bool


class PresenceListed(Fact, frozen=True, kw_only=True, tag="presence.listed"):
    """A roster began (`listed`) or ceased to name this presence; `occurred_at` is the source's time."""

    presence: str
    region: str
    listed: bool
    occurred_at: datetime


class SessionJoined(Fact, frozen=True, kw_only=True, tag="session.joined"):
    """A session of the presence's participant joined the call in `role`. `device` is the client's opaque id."""

    presence: str
    region: str
    session: str
    role: Role
    device: str | None = None


class SessionLeft(Fact, frozen=True, kw_only=True, tag="session.left"):
    """That session left the call (`left`) or was lost (`disconnected`, `slow`, `restarted`)."""

    presence: str
    region: str
    session: str
    reason: str


class PresenceClosed(Fact, frozen=True, kw_only=True, tag="presence.closed"):
    """The presence is over: `left`, `disconnected` or `ended`."""

    presence: str
    region: str
    reason: str


class PresencesErased(Fact, frozen=True, kw_only=True, tag="presence.erased"):
    """Who these presences were can be told by nobody any more. Storage says so, which alone knows what it destroyed."""

    region: str
    presences: tuple[str, ...]


class RosterSeen(Fact, frozen=True, kw_only=True, tag="roster"):
    """A whole roster was applied: its order in its connection, and how many in it are not ACS users."""

    connection: str
    sequence: int
    others: int
    occurred_at: datetime


class NoticesSent(Fact, frozen=True, kw_only=True, tag="sent"):
    """Each of these notices was written to a socket of each of these presences."""

    region: str
    notices: tuple[str, ...]
    presences: tuple[str, ...]


class LevelProved(Fact, frozen=True, kw_only=True, tag="level"):
    """A client confirmed a level. `reported_at` is the client's own time, kept as its claim."""

    presence: str
    region: str
    notice: str
    level: Level
    reported_at: datetime
    session: str
    device: str | None = None
    digest: str | None = None


class NoticeOverdue(Fact, frozen=True, kw_only=True, tag="overdue"):
    """The deadline passed for these presences without the required level."""

    region: str
    notice: str
    presences: tuple[str, ...]


AnyFact = (
    CallOpened
    | CallEnded
    | CallMerged
    | ObservationMade
    | ClaimLapsed
    | CapabilityChanged
    | NoticeIssued
    | PresenceOpened
    | PresenceListed
    | SessionJoined
    | SessionLeft
    | PresenceClosed
    | PresencesErased
    | RosterSeen
    | NoticesSent
    | LevelProved
    | NoticeOverdue
)

KINDS: Final[tuple[type[AnyFact], ...]] = get_args(AnyFact)
BY_KIND: Final[dict[str, type[AnyFact]]] = {str(kind.__struct_config__.tag): kind for kind in KINDS}
"""The ledger's word for a fact, and the fact."""


def kind_of(fact: AnyFact) -> str:
    """The ledger's word for this fact."""
    return str(fact.__struct_config__.tag)
