"""Erasing a person: their messages, who they were in every call, and the rules that name them.

Rules: runs inside the writer's transaction; what is asked for is remembered until it is done, so that a crash or a hold
only puts it off; entries keep their random presence ids and commitments, which nobody can open any more. Each call's
entry says which of its presences were erased, so that whoever reads it can tell them from names that were left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from storage.certificates import Certifiable, announce
from storage.copies import OF_PERSON, Copy, Judge, copies
from storage.entry import canonical
from storage.messages import mark
from storage.moment import from_microseconds, microseconds, rfc3339
from storage.operations import AskErasure, Erased
from storage.rulebook import named, strike
from storage.rules import compile_rules, read_rules
from storage.transaction import Transaction

_PRESENCES: Final = """SELECT presences.id, presence, presences.slot, organization, calls.call
    FROM presences JOIN calls ON calls.id = presences.call
    WHERE person = ? AND coalesce(sealed_at, 0) <= ? ORDER BY presences.id LIMIT ?"""
_LATEST: Final = """SELECT max(
    coalesce((SELECT max(sealed_at) FROM presences WHERE person = ?), 0),
    coalesce((SELECT max(stored_at) FROM messages WHERE person = ? AND (gone IS NULL OR gone > '')), 0))"""


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
    holds = Judge(transaction.connection, transaction.rules, transaction.vault).person(person, operation.resource)
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
    judge = Judge(transaction.connection, transaction.rules, transaction.vault)
    return next((Wanted(person, at) for person, resource, at in rows if not judge.person(person, resource)), None)


def reach(transaction: Transaction, person: bytes) -> int:
    """When the latest was sealed or set of what there is of a person, in microseconds since 1970; it may be to come.

    Clocks are set back: what is there is there, whatever time it was thought to be.
    """
    (latest,) = transaction.execute(_LATEST, (person, person)).fetchone()
    return max([int(latest), *(set_at for each, set_at in named(transaction) if each == person)])


def brought_back(transaction: Transaction) -> Iterator[Wanted]:
    """Those erased of whom there is something again from before: a backup brought it back, or a crash left it.

    A hold that was set since they were to be erased keeps them: then nothing can have gone yet.
    """
    oldest: dict[bytes, int] = {}
    for person, set_at in named(transaction):
        oldest[person] = min(set_at, oldest.get(person, set_at))
    for person, until in transaction.erased.persons.items():
        if oldest.get(person, until + 1) <= until or _is_left(transaction, person, until):
            row = transaction.execute("SELECT resource, asked_at FROM erasures WHERE person = ?", (person,)).fetchone()
            if row is None:
                yield Wanted(person, until)
            elif not _judge_of_holds_since(transaction, until).person(person, row[0]):
                yield Wanted(person, min(row[1], until))


def _is_left(transaction: Transaction, person: bytes, until: int) -> bool:
    return bool(
        transaction.execute(_PRESENCES, (person, until, 1)).fetchone()
        or copies(transaction.connection, OF_PERSON + " AND stored_at <= ? LIMIT 1", (person, until))
    )


def slots_left(transaction: Transaction, person: bytes, until: int) -> list[int]:
    """The key slots of what is there of a person that was sealed up to then, for where nothing can be written."""
    presences = [_Presence(*row) for row in transaction.execute(_PRESENCES, (person, until, -1))]
    found = copies(transaction.connection, OF_PERSON + " AND stored_at <= ?", (person, until))
    return [slot for slot in (*(each.slot for each in presences), *(each.slot for each in found)) if slot is not None]


def _judge_of_holds_since(transaction: Transaction, until: int) -> Judge:
    connection, vault = transaction.connection, transaction.vault
    later = [each for each in read_rules(connection, vault) if microseconds(each.set_at) > until]
    return Judge(connection, compile_rules(connection, vault, transaction.terms, later), vault)


def erase(transaction: Transaction, wanted: Wanted, until: int, at: int, limit: int) -> Step:
    """Erase at `at` what was sealed of a person up to `until`, at most so many presences and messages at a time."""
    presences = [_Presence(*row) for row in transaction.execute(_PRESENCES, (wanted.person, until, limit))]
    where = OF_PERSON + " AND stored_at <= ? ORDER BY id LIMIT ?"
    found = copies(transaction.connection, where, (wanted.person, until, limit - len(presences)))
    strike(transaction, wanted.person, until)
    whole = len(presences) + len(found) < limit
    if whole:
        transaction.execute("DELETE FROM erasures WHERE person = ?", (wanted.person,))
    slots = [slot for slot in (*(each.slot for each in presences), *(each.slot for each in found)) if slot is not None]
    if not presences and not found:
        return Step(None, (), 0, whole)
    batch = announce(transaction, _fields(wanted, at, len(presences), len(found)), slots)
    _unseal(transaction, presences)
    _drop(transaction, found)
    return Step(batch, _tell(transaction, presences, at), len(found), whole)


def _fields(wanted: Wanted, at: int, presences: int, messages: int) -> dict[str, object]:
    return {
        "class": "person",
        "asked_at": rfc3339(from_microseconds(wanted.asked_at)),
        "at": rfc3339(from_microseconds(at)),
        "late_ms": (at - wanted.asked_at) // 1000,
        "presences": presences,
        "messages": messages,
    }


def _unseal(transaction: Transaction, presences: list[_Presence]) -> None:
    transaction.connection.executemany(
        "UPDATE presences SET person = NULL, slot = NULL, box = NULL WHERE id = ?", [(each.row,) for each in presences]
    )


def _drop(transaction: Transaction, found: list[Copy]) -> None:
    default = transaction.terms.default
    for copy in found:
        # A policy that had it deleted early may go: it must not come back then.
        until = max(copy.due_at, microseconds(from_microseconds(copy.sent_at) + default))
        mark(transaction, copy.ident, copy.version, until)
    transaction.connection.executemany("DELETE FROM messages WHERE id = ?", [(copy.row,) for copy in found])


def _tell(transaction: Transaction, presences: list[_Presence], moment: int) -> tuple[Erased, ...]:
    """One entry for each call, about its presences."""
    at = from_microseconds(moment)
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
