"""The rulebook of a region: rules are set and removed, and what is stored is reviewed by them, a batch at a time.

Rules: runs inside the writer's transaction; a rule holds from the commit that sets it on, for every deletion is decided
anew when it is done; the review brings the times by which copies are found up to date, and begins again whenever rules
or terms change. Each change is an entry, which says how many threads and people a rule names, never which.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import msgspec

from storage.copies import Copy, Judge, copies
from storage.moment import from_microseconds, microseconds, rfc3339
from storage.operations import RemoveRule, Rule, SetRule
from storage.retention import Action, Terms
from storage.rows import rule_row
from storage.rules import read_rules, sealed, written
from storage.transaction import Transaction

BEGINNING: Final = 0
"""The place from which everything is reviewed."""
LONGEST_DAYS: Final = 36_500
"""A century: what is added to a time has to stay one."""


def set_rule(transaction: Transaction, operation: SetRule) -> None:
    """From now on this rule holds. Raises ValueError for a policy that decides nothing, or a hold that decides."""
    rule = _checked(transaction, operation.rule)
    keep_rule(transaction, rule)
    transaction.append_entry({"kind": f"{rule.kind}.set", "at": rfc3339(rule.set_at), "name": rule.name, **_told(rule)})
    begin_review(transaction, microseconds(rule.set_at))


def _checked(transaction: Transaction, rule: Rule) -> Rule:
    decides = rule.action in tuple(Action) and rule.days is not None and 1 <= rule.days <= LONGEST_DAYS
    if not (decides if rule.kind == "policy" else rule.action is None and rule.days is None):
        raise ValueError("a policy has an action and its days, a hold has neither")
    # A clock that was set back must not make it look like a rule from before the erasure of somebody it names.
    people = [transaction.vault.look_up("person", each) for each in rule.participants]
    set_at = max([transaction.erased.after(each, microseconds(rule.set_at)) for each in people], default=0)
    return rule if set_at <= microseconds(rule.set_at) else replace(rule, set_at=from_microseconds(set_at))


def keep_rule(transaction: Transaction, rule: Rule) -> None:
    """Write a rule in place of the one of its name, whose box is shredded."""
    _drop(transaction, rule.kind, rule.name)
    row = written(rule, *transaction.seal("rules", rule_row(rule.kind, rule.name), sealed(rule)))
    transaction.execute("INSERT INTO rules VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    transaction.forget_rules()


def _told(rule: Rule) -> dict[str, object]:
    told: dict[str, object] = {
        "everything": rule.everything,
        "organizations": list(rule.organizations),
        "resources": list(rule.resources),
        "threads": len(rule.threads),
        "participants": len(rule.participants),
    }
    if rule.kind == "hold":
        return told | {"calls": list(rule.calls)}
    # Not `action` beside the others: nothing in an entry sorts before its stamps.
    return told | {"terms": {"action": rule.action, "days": rule.days}}


def remove_rule(transaction: Transaction, operation: RemoveRule) -> bool:
    """From now on there is no such rule; whether there was one."""
    if not _drop(transaction, operation.kind, operation.name):
        return False
    transaction.append_entry({"kind": f"{operation.kind}.removed", "at": rfc3339(operation.at), "name": operation.name})
    begin_review(transaction, microseconds(operation.at))
    return True


def _drop(transaction: Transaction, kind: str, name: str) -> bool:
    row = transaction.execute("DELETE FROM rules WHERE kind = ? AND name = ? RETURNING slot", (kind, name)).fetchone()
    if row is not None:
        transaction.free(row[0])
        transaction.forget_rules()
    return row is not None


def named(transaction: Transaction) -> Iterator[tuple[bytes, int]]:
    """Everyone whom some rule names, and when it was set, in microseconds since 1970."""
    for rule in read_rules(transaction.connection, transaction.vault):
        for participant in rule.participants:
            yield transaction.vault.look_up("person", participant), microseconds(rule.set_at)


def strike(transaction: Transaction, person: bytes, until: int) -> None:
    """Name this person in no rule set up to then any more; a rule that named nobody else is about nobody then."""
    for rule in read_rules(transaction.connection, transaction.vault):
        left = tuple(each for each in rule.participants if transaction.vault.look_up("person", each) != person)
        if left != rule.participants and microseconds(rule.set_at) <= until:
            keep_rule(transaction, replace(rule, participants=left))


def begin_review(transaction: Transaction, set_at: int) -> None:
    """What is stored is to be judged anew, because of a change at `set_at`, in microseconds since 1970."""
    # Where a full disk kept the configured terms from being taken at open, they are taken later.
    transaction.execute(
        "INSERT INTO review(id, set_at, terms, next) VALUES (1, ?, '', ?) ON CONFLICT (id) DO UPDATE"
        " SET set_at = max(set_at, excluded.set_at), next = excluded.next",
        (set_at, BEGINNING),
    )
    transaction.ruled = True


def take_terms(transaction: Transaction) -> None:
    """At open: what is configured now applies, and where that is new, everything is reviewed by it."""
    terms = _fingerprint(transaction.terms)
    transaction.execute(
        "INSERT INTO review(id, set_at, terms, next) VALUES (1, 0, ?, ?) ON CONFLICT (id) DO UPDATE"
        " SET terms = excluded.terms, next = excluded.next WHERE terms != excluded.terms",
        (terms, BEGINNING),
    )


def _fingerprint(terms: Terms) -> str:
    fields = {"default": round(terms.default.total_seconds() * 1000), "organizations": dict(terms.organizations)}
    return msgspec.json.encode(fields, order="sorted").decode()


def under_review(transaction: Transaction) -> bool:
    """Whether there are copies yet to be reviewed."""
    row = transaction.execute("SELECT next FROM review WHERE id = 1").fetchone()
    return row is not None and row[0] is not None


def review(transaction: Transaction, limit: int) -> None:
    """Judge the next copies, at most so many, by the rules as they are."""
    (begin,) = transaction.execute("SELECT next FROM review WHERE id = 1").fetchone()
    if begin is None:
        return
    found = copies(transaction.connection, "WHERE id >= ? ORDER BY id LIMIT ?", (begin, limit))
    judge = Judge(transaction.connection, transaction.rules, transaction.vault)
    for copy in found:
        known = copy if copy.thread is not None else _learn(transaction, copy, judge)
        settle(transaction, known, judge)
    following = found[-1].row + 1 if len(found) == limit else None
    transaction.execute("UPDATE review SET next = ? WHERE id = 1", (following,))


def settle(transaction: Transaction, copy: Copy, judge: Judge) -> bool:
    """Write down when a copy is due and whether it is held; whether that was news."""
    decision, holds = judge.copy(copy)
    due_at, held = microseconds(decision.due_at), int(bool(holds))
    if (due_at, held) == (copy.due_at, copy.held):
        return False
    transaction.execute("UPDATE messages SET due_at = ?, held = ? WHERE id = ?", (due_at, held, copy.row))
    return True


def _learn(transaction: Transaction, copy: Copy, judge: Judge) -> Copy:
    """Write down what policies need to know of a copy from before there were any."""
    owner, thread = judge.whose(copy)
    resource = transaction.resource_id(owner) if owner else None
    transaction.execute("UPDATE messages SET thread = ?, resource = ? WHERE id = ?", (thread, resource, copy.row))
    return copy._replace(thread=thread, resource=resource)
