"""Entries as a verifier reads them: canonical JSON lines, and of those that tell of a call what coverage follows from.

Rules: nothing is believed because of where it stands: every line is one canonical JSON object (RFC 8785), every field
that is used has its type, every moment is in UTC; the first line that is not so is `Malformed`, with its place. Kinds
that are not listed here say nothing about who was told what.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeVar, get_args

import msgspec

from storage.entry import canonical

Moment = Annotated[datetime, msgspec.Meta(tz=True)]
Capability = Literal["recording", "transcription"]
Level = Literal["sent", "received", "displayed", "acknowledged", "consented", "declined", "withdrawn"]
Role = Literal["participant", "observer"]

LEVELS: Final[tuple[str, ...]] = get_args(Level)

S = TypeVar("S", bound=msgspec.Struct)


class Malformed(ValueError):
    """What was read is not what it must be; the text says where and what."""


class Told(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """An entry that tells of a call. Only what a verifier uses is read."""

    organization: str
    call: str
    at: Moment


class CallOpened(Told, frozen=True, kw_only=True, tag="call.opened"):
    """The call is on; `home` is the region that owns it. `unserved` are regions that were not served then."""

    home: str
    unserved: tuple[str, ...] = ()


class CallEnded(Told, frozen=True, kw_only=True, tag="call.ended"):
    """The call is over, and every episode with it."""


class CallMerged(Told, frozen=True, kw_only=True, tag="call.merged"):
    """The call `source` became part of this one. `same` pairs persons (there, here), `united` presences (part of)."""

    source: str
    revision: int
    same: tuple[tuple[str, str], ...] = ()
    united: tuple[tuple[str, str], ...] = ()


class CallSpread(Told, frozen=True, kw_only=True, tag="call.spread"):
    """The region `into` came into the call; said at the call's home."""

    into: str


class Observed(Told, frozen=True, kw_only=True, tag="observation"):
    """A source's claim about a capability; `event` is the digest of the event that it came with."""

    capability: Capability
    state: str
    source: str
    event: str | None = None


class Changed(Told, frozen=True, kw_only=True, tag="capability"):
    """A state changed without anything to tell."""

    capability: Capability
    state: str


class Issued(Told, frozen=True, kw_only=True, tag="notice"):
    """A notice: `at` is when it was issued."""

    revision: int
    notice: str
    capability: Capability
    change: Literal["started", "paused", "resumed", "stopped", "failed"]
    episode: str
    occurred_at: Moment
    require: Level
    deadline_at: Moment
    digests: dict[str, str]


class Entered(Told, frozen=True, kw_only=True, tag="presence.opened"):
    """Somebody came into the call. `who` is the person's first presence in it."""

    presence: str
    who: str
    region: str
    role: Role
    listed: bool
    commitment: str


class Listed(Told, frozen=True, kw_only=True, tag="presence.listed"):
    """A roster names the presence, or ceased to."""

    presence: str
    region: str
    listed: bool


class Joined(Told, frozen=True, kw_only=True, tag="session.joined"):
    """A session of the presence's person is in the call."""

    presence: str
    region: str
    session: str
    role: Role
    device: str | None = None


class Lost(Told, frozen=True, kw_only=True, tag="session.left"):
    """That session is gone."""

    presence: str
    region: str
    session: str
    reason: str


class Closed(Told, frozen=True, kw_only=True, tag="presence.closed"):
    """The presence is over."""

    presence: str
    region: str
    reason: str


class Erased(Told, frozen=True, kw_only=True, tag="presence.erased"):
    """What told who these presences were is destroyed: nobody can name them any more."""

    region: str
    presences: tuple[str, ...]


class Sent(Told, frozen=True, kw_only=True, tag="sent"):
    """These notices were written to a socket of each of these presences."""

    region: str
    notices: tuple[str, ...]
    presences: tuple[str, ...]


class Word(NamedTuple):
    """What one session confirmed, as an entry of many lists it."""

    presence: str
    session: str
    reported_at: Moment
    device: str | None


class Proved(Told, frozen=True, kw_only=True, tag="level"):
    """A client confirmed a level of a notice."""

    presence: str
    region: str
    notice: str
    level: Level
    reported_at: Moment
    session: str
    device: str | None = None
    digest: str | None = None

    @property
    def proofs(self) -> tuple[Word, ...]:
        """The only one."""
        return (Word(self.presence, self.session, self.reported_at, self.device),)


class ProvedTogether(Told, frozen=True, kw_only=True, tag="levels"):
    """Clients confirmed the same level of the same notice at once, each of another presence."""

    region: str
    notice: str
    level: Level
    proofs: Annotated[tuple[Word, ...], msgspec.Meta(min_length=1)]
    digest: str | None = None


class Lapsed(Told, frozen=True, kw_only=True, tag="claim.lapsed"):
    """A client's claim fell away."""


class Rostered(Told, frozen=True, kw_only=True, tag="roster"):
    """A whole roster was applied."""


class Overdue(Told, frozen=True, kw_only=True, tag="overdue"):
    """The deadline of a notice passed for some."""

    region: str


Fact = (
    CallOpened
    | CallEnded
    | CallMerged
    | CallSpread
    | Observed
    | Changed
    | Issued
    | Entered
    | Listed
    | Joined
    | Lost
    | Closed
    | Erased
    | Sent
    | Proved
    | ProvedTogether
    | Lapsed
    | Rostered
    | Overdue
)

_FACTS: Final[dict[str, type[Fact]]] = {str(kind.__struct_config__.tag): kind for kind in get_args(Fact)}


class Entry(NamedTuple):
    """One line of a region's ledger: its place there, what it holds, and the fact if it is one."""

    region: str
    number: int
    fields: dict[str, Any]
    fact: Fact | None


def lines(where: str, data: bytes) -> list[bytes]:
    """The lines of a file, each without its newline. Raises Malformed."""
    if not data:
        return []
    found = data.split(b"\n")
    if found.pop() or not all(found):
        raise Malformed(f"{where}: it is not made of whole lines")
    return found


def only_line(where: str, data: bytes) -> bytes:
    """The one line of a file, without its newline. Raises Malformed."""
    found = lines(where, data)
    if len(found) != 1:
        raise Malformed(f"{where}: it is not one line")
    return found[0]


def fields(where: str, line: bytes) -> dict[str, Any]:
    """The object that `line` is, canonical JSON. Raises Malformed."""
    try:
        found = msgspec.json.decode(line, type=dict[str, Any])
        if canonical(found) != line:
            raise Malformed(f"{where}: it is not canonical JSON")
    except (msgspec.MsgspecError, RecursionError):
        raise Malformed(f"{where}: it is not a JSON object") from None
    except ValueError as error:
        raise error if isinstance(error, Malformed) else Malformed(f"{where}: {error}") from None
    return found


def shaped(where: str, found: object, shape: type[S]) -> S:
    """`found` as `shape`. Raises Malformed."""
    try:
        made = msgspec.convert(found, shape)
    except (msgspec.MsgspecError, RecursionError, OverflowError) as error:
        # Only the place: the library's words quote what was read, and that may be somebody's name.
        _, at, place = str(error).partition(" - at ")
        raise Malformed(f"{where}: it has not the shape that it must have{at}{place}") from None
    for name in made.__struct_fields__:
        value = getattr(made, name)
        # Elsewhere than in UTC a moment at either end of time could not be written down.
        if isinstance(value, datetime) and value.utcoffset():
            raise Malformed(f"{where}: {name} is not in UTC")
    return made


def read(where: str, region: str, number: int, line: bytes) -> Entry:
    """The entry that `line` is. Raises Malformed."""
    found = fields(where, line)
    kind = found.get("kind")
    shape = _FACTS.get(kind) if isinstance(kind, str) else None
    fact = None if shape is None else shaped(where, found, shape)
    if isinstance(fact, ProvedTogether) and any(word.reported_at.utcoffset() for word in fact.proofs):
        raise Malformed(f"{where}: reported_at is not in UTC")
    return Entry(region, number, found, fact)
