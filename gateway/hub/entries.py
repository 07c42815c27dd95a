"""What entries say: the facts that a ledger's lines hold, the people in their boxes, and the regions that they name.

Rules: the way back from the journal, and from what journals of other days wrote; a line of a kind that is no fact of a
call says nothing here; what cannot be read is an error and never guessed. Safe on every thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any, Final, NamedTuple

import msgspec

from gateway.core import facts
from gateway.core.types import CallKey, Level
from gateway.hub.journal import Box

LEVELS: Final = "levels"
"""The kind of entry that holds what many proved at once: a fact `level` for each of its proofs."""


class _Word(NamedTuple):
    """What one session proved, as an entry for many lists it; `device` is None where there is none to be named."""

    presence: str
    session: str
    reported_at: datetime
    device: str | None


class _Levels(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag=LEVELS):
    """An entry for all who proved one level of one notice in one turn of the loop."""

    call: CallKey
    at: datetime
    region: str
    notice: str
    level: Level
    proofs: Annotated[tuple[_Word, ...], msgspec.Meta(min_length=1)]
    digest: str | None = None


# msgspec learns a type at its first use, and crashes the process where two regions' threads are both the first.
_LEARNT: Final = tuple(msgspec.json.Decoder(kind) for kind in (*facts.KINDS, _Levels, Box))


def facts_of(leaf: bytes, boxes: Mapping[str, Box | None]) -> tuple[facts.AnyFact, ...]:
    """The facts of an entry in the order in which they hold; of most kinds one, of those that are no facts none.

    A person comes from its box (None once shredded). Raises `msgspec.ValidationError` where a field is not as it must
    be.
    """
    entry: dict[str, Any] = msgspec.json.decode(leaf)
    kind = entry.get("kind")
    if kind != LEVELS and kind not in facts.BY_KIND:
        return ()
    entry["call"] = [entry.pop("organization"), entry["call"]]
    if kind == LEVELS:
        return _apart(msgspec.convert(entry, _Levels))
    if kind == "presence.opened":
        box = boxes.get(entry["presence"])
        entry["participant"] = None if box is None else box.participant
        entry["name"] = None if box is None else box.name
    return (msgspec.convert(entry, facts.BY_KIND[kind]),)


def _apart(entry: _Levels) -> tuple[facts.LevelProved, ...]:
    """What each of them proved, as if it stood alone."""
    return tuple(
        facts.LevelProved(
            call=entry.call,
            at=entry.at,
            presence=word.presence,
            region=entry.region,
            notice=entry.notice,
            level=entry.level,
            reported_at=word.reported_at,
            session=word.session,
            device=word.device,
            digest=entry.digest,
        )
        for word in entry.proofs
    )


def named_regions(leaves: Iterable[bytes]) -> frozenset[str]:
    """The regions in which, by these entries, a call was or may have been."""
    found: set[str] = set()
    for leaf in leaves:
        # Most entries are about presences and need not be read.
        if b'"kind":"call.' in leaf:
            fields: dict[str, Any] = msgspec.json.decode(leaf)
            found.update(fields[name] for name in ("home", "into") if name in fields)
            found.update(fields.get("unserved", ()))
    return frozenset(found)


def open_box(box: bytes | None) -> Box | None:
    """The person in an opened box."""
    return None if box is None else msgspec.json.decode(box, type=Box)
