"""Erasing a person: their messages, who they were in every call, and the rules that name them.

Rules: runs inside the writer's transaction; what is asked for is remembered until it is done, so that a crash or a hold
only puts it off; entries keep their random presence ids and commitments, which nobody can open any more. Each call's
entry says which of its presences were erased, so that whoever reads it can tell them from names that were left out.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from storage.certificates import Certifiable, announce
from storage.copies import Copy, Judge, copies
from storage.entry import canonical
from storage.messages import mark
from storage.moment import from_microseconds, microseconds, rfc3339
from storage.operations import AskErasure, Erased
from storage.rulebook import strike
from storage.transaction import Transaction

_PRESENCES: Final = """SELECT presences.id, presence, presences.slot, organization, calls.call
    FROM presences JOIN calls ON calls.id = presences.call
    WHERE person = ? AND coalesce(sealed_at, 0) <= ? ORDER BY presences.id LIMIT ?"""


class Wanted(NamedTuple):
    """Somebody who is to be erased, as a keyed hash; `asked_at` in microseconds since 1970."""

    person: bytes
    asked_at: int


class Step(NamedTuple):
    """What one transaction erased, and whether that was all."""

    batch: Certifiable | None
    erased: tuple[Erased, ...]
    messages: int
    whole: bool


class _Presence(NamedTuple):
    row: int
    presence: str
    slot: int | None
    organization: str
    call: str


def ask_erasure(transaction: Transaction, operation: AskErasure) -> tuple[str, ...]:
    """Remember whom to erase; the names of the holds that forbid it for now."""
    person = transaction.vault.look_up("person", operation.participant)
    holds = Judge(transaction.connection, transaction.rules).person(person, operation.resource)
    new = transaction.execute(
        "INSERT INTO erasures(person, resource, asked_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        (person, operation.resource, microseconds(operation.at)),
    ).rowcount
    if holds and new:
        transaction.append_entry({"kind": "erasure.waiting", "at": rfc3339(operation.at), "held_by": list(holds)})
    return holds


def next_wanted(transaction: Transaction) -> Wanted | None:
    """Whose erasure was asked for first, of those whom no hold keeps."""
    rows = transaction.execute("SELECT person, resource, asked_at FROM erasures ORDER BY asked_at").fetchall()
    if not rows:
        return None
    judge = Judge(transaction.connection, transaction.rules)
    return next((Wanted(person, at) for person, resource, at in rows if not judge.person(person, resource)), None)


def is_left(transaction: Transaction, person: bytes, until: int) -> bool:
    """Whether anything is there of a person that was sealed up to then: only a backup can have brought it back."""
    return bool(
        transaction.execute(_PRESENCES, (person, until, 1)).fetchone()
        or copies(transaction.connection, "WHERE person = ? AND stored_at <= ? LIMIT 1", (person, until))
    )


def erase(transaction: Transaction, wanted: Wanted, until: int, limit: int) -> Step:
    """Erase what there is of a person up to `until`, at most so many presences at a time."""
    presences = [_Presence(*row) for row in transaction.execute(_PRESENCES, (wanted.person, until, limit))]
    found = copies(transaction.connection, "WHERE person = ? AND stored_at <= ?", (wanted.person, until))
    strike(transaction, wanted.person)
    whole = len(presences) < limit
    if whole:
        transaction.execute("DELETE FROM erasures WHERE person = ?", (wanted.person,))
    slots = [slot for slot in (*(each.slot for each in presences), *(each.slot for each in found)) if slot is not None]
    if not presences and not found:
        return Step(None, (), 0, whole)
    batch = announce(transaction, _fields(wanted, until, len(presences), len(found)), slots)
    _unseal(transaction, presences)
    _drop(transaction, found)
    return Step(batch, _tell(transaction, presences, until), len(found), whole)


def _fields(wanted: Wanted, until: int, presences: int, messages: int) -> dict[str, object]:
    return {
        "class": "person",
        "asked_at": rfc3339(from_microseconds(wanted.asked_at)),
        "at": rfc3339(from_microseconds(until)),
        "late_ms": (until - wanted.asked_at) // 1000,
        "presences": presences,
        "messages": messages,
    }


def _unseal(transaction: Transaction, presences: list[_Presence]) -> None:
    transaction.connection.executemany(
        "UPDATE presences SET person = NULL, slot = NULL, box = NULL WHERE id = ?", [(each.row,) for each in presences]
    )


def _drop(transaction: Transaction, found: list[Copy]) -> None:
    for copy in found:
        mark(transaction, copy.ident, copy.version, copy.due_at)
    transaction.connection.executemany("DELETE FROM messages WHERE id = ?", [(copy.row,) for copy in found])


def _tell(transaction: Transaction, presences: list[_Presence], until: int) -> tuple[Erased, ...]:
    """One entry for each call, about its presences."""
    at = from_microseconds(until)
    calls: dict[tuple[str, str], list[str]] = {}
    for each in presences:
        calls.setdefault((each.organization, each.call), []).append(each.presence)
    for (organization, call), names in calls.items():
        fields = {
            "kind": "presence.erased",
            "organization": organization,
            "call": call,
            "at": rfc3339(at),
            "region": transaction.vault.region,
            "presences": names,
        }
        transaction.append(canonical(fields), (organization, call))
    return tuple(Erased(call, tuple(names), at) for call, names in calls.items())
