"""What can be asked of a region's writer, and what it answers.

Rules: values only; a call is the pair (organisation, call id); times are aware UTC; every operation is safe to repeat
unless it says otherwise. The answer of each stands in brackets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

Call = tuple[str, str]
"""(organisation, call id); the organisation is empty while nobody claimed the call."""


@dataclass(frozen=True, slots=True)
class Append:
    """Append `leaf` to the ledger, about `call` or about none [its sequence: int, zero-based]. Not repeatable.

    The ledger puts its stamps in front. An entry that tells of an event is found again by that event's digest.
    """

    leaf: bytes
    call: Call | None
    event: bytes | None = None


@dataclass(frozen=True, slots=True)
class AppendAll:
    """Append these leaves, each about its call, one behind the other [the first one's sequence]. Not repeatable.

    At least one. What comes by the thousand is cheaper so than by as many `Append`.
    """

    leaves: Sequence[tuple[bytes, Call]]


@dataclass(frozen=True, slots=True)
class SignCheckpoint:
    """The commit in which this is carried out ends with a checkpoint that covers all of it [None]."""


@dataclass(frozen=True, slots=True)
class OpenCall:
    """The call is on [None]."""

    call: Call


@dataclass(frozen=True, slots=True)
class CloseCall:
    """The call is over; what is known of it stays [None]."""

    call: Call


@dataclass(frozen=True, slots=True)
class NameCall:
    """Replace the call's aliases; they are sealed in the vault and the list before is shredded [None]."""

    call: Call
    aliases: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class SealPresence:
    """Seal who a presence is; `box` is opaque to storage [None]. A presence is sealed once: a second is refused."""

    presence: str
    call: Call
    participant: str = field(repr=False)
    box: bytes = field(repr=False)
    at: datetime


@dataclass(frozen=True, slots=True)
class MoveCall:
    """From now on entries and presences of `source`, later ones included, are found under `target` too [None]."""

    source: Call
    target: Call


@dataclass(frozen=True, slots=True)
class MarkEvents:
    """Remember that the events with these digests were taken, until `until` or longer [None]."""

    digests: tuple[bytes, ...]
    until: datetime


@dataclass(frozen=True, slots=True)
class KeepMessage:
    """Take a message, an edit or (`deleted`) a deletion into account at `at` [MessageOutcome].

    The newest (sent_at, version) of a participant is kept until the policies that are about it have it deleted. An edit
    is the same thread and message with a higher version; a deletion needs no content. Nothing due at `at` is stored.
    """

    participant: str = field(repr=False)
    resource: str
    thread: str = field(repr=False)
    message: str = field(repr=False)
    version: int
    sent_at: datetime
    content: str | None = field(repr=False)
    deleted: bool
    at: datetime


@dataclass(frozen=True, slots=True)
class Rule:
    """A retention policy or a hold, as an operator said it. `set_at` tells newer from older.

    `everything`: no list was given, so that it is about everyone. A rule whose lists have nothing for this region is
    about nobody here. A policy has `action` and `days`, a hold may have `calls` and `reason`. Of a rule that is not
    `readable` the key is lost: it keeps everything until it is set anew or removed.
    """

    kind: Literal["policy", "hold"]
    name: str
    set_at: datetime
    everything: bool
    action: Literal["retain", "delete", "retain_then_delete"] | None = None
    days: int | None = None
    organizations: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()
    threads: tuple[str, ...] = field(default=(), repr=False)
    participants: tuple[str, ...] = field(default=(), repr=False)
    reason: str = field(default="", repr=False)
    readable: bool = True


@dataclass(frozen=True, slots=True)
class SetRule:
    """From now on this rule holds, in place of one of its name [None]. What is stored is reviewed afterwards."""

    rule: Rule


@dataclass(frozen=True, slots=True)
class RemoveRule:
    """From now on there is no such rule [bool: there was one]. What is stored is reviewed afterwards."""

    kind: Literal["policy", "hold"]
    name: str
    at: datetime


@dataclass(frozen=True, slots=True)
class AskErasure:
    """Remember that a person is to be erased, as the next step of a sweep does [tuple: names of holds that forbid it].

    Where a hold forbids it, it is done once none does any more.
    """

    participant: str = field(repr=False)
    resource: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Cosign:
    """Vouch at `at` for the checkpoint `note` of another region's ledger [CosignOutcome].

    `vkey` is the key that signs for `origin`: the first one given counts for good. `hashes` prove that the checkpoint
    continues the first `old` entries, which must be those seen last.
    """

    origin: str
    vkey: str
    note: str
    old: int
    hashes: tuple[bytes, ...]
    at: datetime


@dataclass(frozen=True, slots=True)
class ResetWitness:
    """Forget what was seen of the ledger `origin`, which goes on from a backup, and say so [entries seen, or None]."""

    origin: str
    at: datetime


@dataclass(frozen=True, slots=True)
class KeepCosignature:
    """Keep the witness `name`'s signature line under the checkpoint of `size` entries [bool: there is such one]."""

    size: int
    name: str
    line: str


@dataclass(frozen=True, slots=True)
class KeepTimestamp:
    """Keep a time stamp of the checkpoint of `size` entries, if it has none yet [bool: there is such one]."""

    size: int
    token: bytes


Operation = (
    Append
    | AppendAll
    | SignCheckpoint
    | OpenCall
    | CloseCall
    | NameCall
    | SealPresence
    | MoveCall
    | MarkEvents
    | KeepMessage
    | SetRule
    | RemoveRule
    | AskErasure
    | Cosign
    | ResetWitness
    | KeepCosignature
    | KeepTimestamp
)


@dataclass(frozen=True, slots=True)
class MessageOutcome:
    """What became of a message; `expires_at` is set where this very message and version is the one now stored."""

    kind: Literal["stored", "ignored", "deleted"]
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class CosignOutcome:
    """What a witness says of a checkpoint: `name` and `line` are its signature where it vouches for it.

    `seen` is how many entries it has seen by now. For `other start` it wants a proof from there.
    """

    kind: Literal["cosigned", "other start", "rolled back", "forked", "foreign key", "not signed"]
    seen: int
    name: str = ""
    line: str = ""


@dataclass(frozen=True, slots=True)
class Erased:
    """Presences of a call that nobody can name any more since `at`."""

    call: Call
    presences: tuple[str, ...]
    at: datetime


@dataclass(frozen=True, slots=True)
class SweepOutcome:
    """One step of a sweep: how many messages were deleted, whether there is more to do, and the certificate's sequence.

    `erased` are presences of persons whose erasure came to be done in this step, `persons` how many of them were then
    erased whole.
    """

    deleted: int
    remaining: bool
    certificate: int | None
    erased: tuple[Erased, ...] = ()
    persons: int = 0


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A participant's last message, opened; from `hidden_at` on it is not to be shown, at `expires_at` it goes."""

    participant: str = field(repr=False)
    thread: str = field(repr=False)
    message: str = field(repr=False)
    version: int
    sent_at: datetime
    content: str = field(repr=False)
    hidden_at: datetime
    expires_at: datetime
