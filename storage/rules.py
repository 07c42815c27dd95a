"""Policies and holds as a region's file keeps them, and what they come to for its copies.

Rules: persons, threads and reasons stand in a sealed box, and are compared by keyed hash; every region has every rule,
and one about others' people only is about nobody here; what names a call means every call of that id, all that turned
out to be the same one, whichever became part of which, and the threads that go by its names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any, Final, cast

import msgspec

from storage.engine import sqlite3
from storage.moment import from_microseconds, microseconds
from storage.operations import Rule
from storage.retention import Action, Hold, Policy, Rules, Scope, Subject, Terms
from storage.rows import call_row, rule_row
from storage.vault import Vault

_RULES: Final = """
    SELECT kind, name, set_at, action, days, everything, organizations, resources, calls, slot, box FROM rules
    ORDER BY kind, name"""
_FAMILY: Final = """WITH RECURSIVE family(id) AS (
    SELECT id FROM calls WHERE call IN (SELECT value FROM json_each(?))
    UNION SELECT merges.source FROM merges JOIN family ON merges.target = family.id
    UNION SELECT merges.target FROM merges JOIN family ON merges.source = family.id)
    SELECT id, organization, call, slot, box FROM calls JOIN family USING (id)"""


class Sealed(msgspec.Struct, frozen=True):
    """What is in a rule's box."""

    threads: tuple[str, ...]
    participants: tuple[str, ...]
    reason: str


# As of `storage.copies`: learnt before threads need it.
_SEALED: Final = msgspec.json.Decoder(Sealed)


def read_rules(connection: sqlite3.Connection, vault: Vault) -> list[Rule]:
    """Every rule, by kind and name. Raises sqlite3.Error, StorageUnavailable."""
    return [_opened(vault, *row) for row in connection.execute(_RULES).fetchall()]


def _opened(
    vault: Vault, kind: str, name: str, set_at: int, action: Any, days: Any, everything: int, *more: Any
) -> Rule:
    organizations, resources, calls, slot, box = more
    clear = vault.open("rules", rule_row(kind, name), slot, box)
    secret = Sealed((), (), "") if clear is None else _SEALED.decode(clear)
    return Rule(
        kind=cast("Any", kind),
        name=name,
        set_at=from_microseconds(set_at),
        everything=bool(everything),
        action=action,
        days=days,
        organizations=_listed(organizations),
        resources=_listed(resources),
        calls=_listed(calls),
        threads=secret.threads,
        participants=secret.participants,
        reason=secret.reason,
        readable=clear is not None,
    )


def _listed(text: str) -> tuple[str, ...]:
    return msgspec.json.decode(text, type=tuple[str, ...])


def written(rule: Rule, slot: int, box: bytes) -> tuple[object, ...]:
    """The row of a rule whose box is sealed, in the order of its columns."""
    lists = (msgspec.json.encode(each).decode() for each in (rule.organizations, rule.resources, rule.calls))
    head = rule.kind, rule.name, microseconds(rule.set_at), rule.action, rule.days, int(rule.everything)
    return (*head, *lists, slot, box)


def sealed(rule: Rule) -> bytes:
    """What goes into a rule's box."""
    return msgspec.json.encode(Sealed(rule.threads, rule.participants, rule.reason))


def compile_rules(connection: sqlite3.Connection, vault: Vault, terms: Terms, said: Iterable[Rule]) -> Rules:
    """What these rules come to, by keyed hashes and by the rows of calls. Raises sqlite3.Error."""
    policies: list[Policy] = []
    holds: list[Hold] = []
    said = list(said)
    for rule in said:
        # Where nobody can say any more whom a rule is about, nothing may be deleted.
        scope = _scope(connection, vault, rule) if rule.readable else Scope(everything=True)
        if rule.kind == "hold" or not rule.readable:
            holds.append(Hold(rule.name, scope))
        else:
            assert rule.action is not None
            assert rule.days is not None
            policies.append(Policy(rule.name, Action(rule.action), timedelta(days=rule.days), scope))
    return Rules(terms, tuple(policies), tuple(holds), frozenset(call for rule in said for call in rule.calls))


def _scope(connection: sqlite3.Connection, vault: Vault, rule: Rule) -> Scope:
    threads, calls = set(rule.threads), set[int]()
    for identity, names in _named_calls(connection, vault, rule.calls):
        calls.add(identity)
        threads.update(names)
    return Scope(
        everything=rule.everything,
        organizations=frozenset(rule.organizations),
        resources=frozenset(each.lower() for each in rule.resources),
        threads=frozenset(thread_hash(vault, each) for each in threads),
        people=frozenset(vault.look_up("person", each) for each in rule.participants),
        calls=frozenset(calls),
    )


def _named_calls(
    connection: sqlite3.Connection, vault: Vault, calls: tuple[str, ...]
) -> Iterator[tuple[int, tuple[str, ...]]]:
    """The row of every call of these ids and of all that turned out to be one of them, with the names it goes by."""
    if not calls:
        return
    for row, organization, name, slot, box in connection.execute(_FAMILY, (msgspec.json.encode(calls).decode(),)):
        clear = None if slot is None else vault.open("calls", call_row((organization, name)), slot, box)
        aliases = () if clear is None else msgspec.json.decode(clear, type=tuple[str, ...])
        yield row, (name, *aliases)


def thread_hash(vault: Vault, thread: str) -> bytes:
    """The keyed hash that stands for a thread."""
    return vault.look_up("thread", thread)


def subject(
    connection: sqlite3.Connection, rules: Rules, person: bytes, resource: str, threads: Iterable[bytes]
) -> Subject:
    """A person of a resource with these threads, as the rules see them. Raises sqlite3.Error."""
    calls: frozenset[int] = frozenset()
    if rules.by_call:
        rows = connection.execute("SELECT DISTINCT call FROM presences WHERE person = ?", (person,))
        calls = frozenset(call for (call,) in rows)
    organization = rules.terms.organizations.get(resource, "")
    return Subject(organization, resource, person, frozenset(threads), calls)
