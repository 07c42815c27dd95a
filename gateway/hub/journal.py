"""The journal: translates what happened into ledger entries of the right region (see `entries` for the way back).

Rules: an entry carries no personal data. A person goes into the region's vault and the entry keeps a commitment,
SHA-256 over a random 256-bit salt and the raw id; a client's device becomes a digest under the same salt. A
fact about a presence belongs to the presence's region, a fact about the call to the call's home, and what the
call's other regions must know to stand alone is mirrored there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import msgspec

from gateway.core import facts
from gateway.core.types import CallKey, Capability, Change, Level, Role, State, rfc3339
from storage.entry import canonical
from storage.operations import Append, CloseCall, MoveCall, OpenCall, Operation, SealPresence

MIRRORED: Final = (facts.CallOpened, facts.CallEnded, facts.CallMerged, facts.NoticeIssued)
"""Facts about a call that every region of the call keeps, so that its ledger can be read alone."""

SPREAD: Final = "call.spread"
"""The kind of entry by which a call's home says that another region came into the call. It is no fact of the call."""

Entropy = Callable[[int], bytes]
"""So many random bytes."""


class Box(msgspec.Struct, frozen=True):
    """What the vault keeps of a presence: the person, and the salt (hex) that opens the commitment."""

    participant: str
    name: str | None
    salt: str


@dataclass(slots=True, eq=False)
class Ink:
    """What translation must remember of one call: its regions so far and the salts of its presences.

    `unserved` are the regions of its organisation that are not served now.
    """

    regions: dict[str, None] = field(default_factory=dict)
    salts: dict[str, bytes] = field(default_factory=dict)
    unserved: tuple[str, ...] = ()

    @property
    def home(self) -> str | None:
        """The region that owns the call: the first that heard of it."""
        return next(iter(self.regions), None)


def commitment(salt: bytes, participant: str) -> str:
    """What an entry says of a person: nobody without the salt can tell who it is."""
    return "sha256:" + hashlib.sha256(salt + participant.encode()).hexdigest()


def device_digest(salt: bytes, device: str) -> str:
    """A client's device as an entry names it: the same within one presence, and nowhere else."""
    return hashlib.sha256(salt + device.encode("utf-8", "surrogatepass")).hexdigest()[:32]


_WRITTEN: Final[dict[type, Callable[[Any], object]]] = {
    datetime: rfc3339,
    tuple: list,
    Capability: str,
    Change: str,
    Level: str,
    Role: str,
    State: str,
}
"""How a value that is not plain JSON stands in an entry."""

_ENCODE: Final = msgspec.json.Encoder().encode
_FIELDS: Final = {kind: tuple(name for name in kind.__struct_fields__ if name != "call") for kind in facts.KINDS}


def to_entry(fact: facts.AnyFact, ink: Ink) -> bytes:
    """The ledger entry of a fact, canonical JSON (RFC 8785)."""
    entry: dict[str, object] = {"kind": facts.kind_of(fact), "organization": fact.call.organization}
    entry["call"] = fact.call.call
    for name in _FIELDS[type(fact)]:
        value = getattr(fact, name)
        if value is not None:
            written = _WRITTEN.get(type(value))
            entry[name] = value if written is None else written(value)
    match fact:
        case facts.CallOpened():
            entry["home"] = ink.home
            if ink.unserved:
                entry["unserved"] = list(ink.unserved)
        case facts.PresenceOpened():
            entry.pop("name", None)
            entry.pop("participant", None)
            entry["commitment"] = commitment(ink.salts[fact.presence], fact.participant or "")
        case facts.SessionJoined() | facts.LevelProved() if fact.device is not None:
            salt = ink.salts.get(fact.presence)
            if salt is None:
                # Of an erased presence, whose device would lead to the person without it.
                del entry["device"]
            else:
                entry["device"] = device_digest(salt, fact.device)
    return canonical(entry)


LevelRow = tuple[str, str, str, str | None]
"""One proof in an entry `levels`: presence, session, the client's own time as RFC 3339, the device's digest."""


class LevelForm:
    """What all entries `levels` for one level of a notice with one digest in one region have in common."""

    __slots__ = ("_begin", "_end")

    def __init__(self, call: CallKey, notice: str, level: Level, digest: str | None, region: str) -> None:
        fields = {"call": call.call, "kind": "levels", "level": level.value, "notice": notice}
        fields |= {"organization": call.organization} | ({} if digest is None else {"digest": digest})
        self._begin: Final = b'","' + canonical(fields)[2:-1] + b',"proofs":'
        self._end: Final = b"," + canonical({"region": region})[1:]

    def write(self, at: bytes, rows: Sequence[LevelRow]) -> bytes:
        """The entry, canonical JSON (RFC 8785), of what these rows prove; `at` as RFC 3339."""
        return b'{"at":"%b%b%b%b' % (at, self._begin, _ENCODE(rows), self._end)


Written = tuple[Operation, facts.AnyFact | None]
"""An operation, with the fact whose entry number it gives, if it gives one."""


class Scribe:
    """Decides which operations write a step's facts, region by region. Owned by the loop."""

    def __init__(self, entropy: Entropy) -> None:
        self._entropy: Final = entropy

    def write(self, ink: Ink, recorded: Iterable[facts.AnyFact]) -> dict[str, list[Written]]:
        """The operations of one commit, by region; facts come in the order in which they hold."""
        batches: dict[str, list[Written]] = {}
        for fact in recorded:
            for place, region in enumerate(self._route(ink, fact)):
                batches.setdefault(region, []).extend(self._write(ink, fact, counts=place == 0))
        return batches

    def enter(self, ink: Ink, region: str, mirrored: Iterable[facts.AnyFact]) -> list[Written]:
        """What a region that was not in the call yet must be told before its first presence is written there."""
        ink.regions[region] = None
        return [each for fact in mirrored for each in self._write(ink, fact, counts=False)]

    def spread(self, entered: facts.PresenceOpened) -> Written:
        """What the home keeps of a region that comes into the call: whoever holds its entries misses that region's."""
        fields = {
            "kind": SPREAD,
            "organization": entered.call.organization,
            "call": entered.call.call,
            "at": rfc3339(entered.at),
            "into": entered.region,
        }
        return Append(canonical(fields), entered.call), None

    def _route(self, ink: Ink, fact: facts.AnyFact) -> list[str]:
        """The regions in which `fact` is written, the one whose entry counts first."""
        region = getattr(fact, "region", None)
        if region is not None:
            return [region]
        regions = list(ink.regions)
        return regions if isinstance(fact, MIRRORED) else regions[:1]

    def _write(self, ink: Ink, fact: facts.AnyFact, *, counts: bool) -> list[Written]:
        call = fact.call
        if isinstance(fact, facts.PresenceOpened):
            salt = ink.salts[fact.presence] = self._entropy(32)
            participant = fact.participant or ""
            box = msgspec.json.encode(Box(participant, fact.name, salt.hex()))
            return [
                (Append(to_entry(fact, ink), call), fact if counts else None),
                (SealPresence(fact.presence, call, participant, box, fact.at), None),
            ]
        append: Written = (Append(to_entry(fact, ink), call), fact if counts else None)
        match fact:
            case facts.CallOpened():
                return [(OpenCall(call), None), append]
            case facts.CallEnded():
                return [append, (CloseCall(call), None)]
            case facts.CallMerged():
                source = CallKey(fact.call.organization, fact.source)
                return [append, (MoveCall(source=source, target=call), None), (CloseCall(source), None)]
            case _:
                return [append]
