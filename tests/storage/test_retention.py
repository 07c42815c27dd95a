"""Which policy decides, by which principle, and when: the documented examples, a table, and a plain re-statement."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.retention import Action, Decision, Gone, Hold, Policy, Principle, Rules, Scope, Subject, Terms

SENT = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)
YEAR = 365
ANN = Subject("contoso", "r", b"ann", frozenset({b"t"}), frozenset({7}))
ALL = Scope(everything=True)
OURS = Scope(organizations=frozenset({"contoso"}))
HERS = Scope(people=frozenset({b"ann"}))
THREAD = Scope(threads=frozenset({b"t"}))
RESOURCE = Scope(resources=frozenset({"r"}))
OTHERS = Scope(
    organizations=frozenset({"fabrikam"}),
    resources=frozenset({"s"}),
    threads=frozenset({b"u"}),
    people=frozenset({b"bob"}),
    calls=frozenset({8}),
)
RETAIN, DELETE, BOTH = Action.RETAIN, Action.DELETE, Action.RETAIN_THEN_DELETE
TERMS = Terms(timedelta(days=30))


def policy(name: str, action: Action, days: int, scope: Scope = ALL) -> Policy:
    return Policy(name, action, timedelta(days=days), scope)


def decide(*policies: Policy, gone: tuple[Gone, datetime] | None = None) -> Decision:
    return Rules(TERMS, policies).decide(ANN, SENT, gone)


class Outcome(NamedTuple):
    """In days from sending: when it goes and since when it is hidden; by which policies and which principle."""

    due: int
    hidden: int
    policies: str
    principle: Principle


EXAMPLES = {
    "no policy at all: the default": ((), Outcome(30, 30, "default", Principle.DEFAULT)),
    "retention wins: deleted from sight after three years, kept for five": (
        (policy("delete", DELETE, 3 * YEAR), policy("keep", BOTH, 5 * YEAR)),
        Outcome(5 * YEAR, 3 * YEAR, "keep", Principle.RETENTION_WINS),
    ),
    "the longest retention wins: five years and ten years": (
        (policy("five", RETAIN, 5 * YEAR), policy("ten", RETAIN, 10 * YEAR)),
        Outcome(10 * YEAR, 10 * YEAR, "ten", Principle.LONGEST_RETENTION),
    ),
    "explicit wins: all mailboxes after ten years, some after five": (
        (policy("org", DELETE, 10 * YEAR), policy("scoped", DELETE, 5 * YEAR, HERS)),
        Outcome(5 * YEAR, 5 * YEAR, "scoped", Principle.EXPLICIT_WINS),
    ),
    "explicit wins though it is longer": (
        (policy("org", DELETE, 5 * YEAR), policy("scoped", DELETE, 10 * YEAR, HERS)),
        Outcome(10 * YEAR, 10 * YEAR, "scoped", Principle.EXPLICIT_WINS),
    ),
    "the shortest deletion wins: two policies for the same account, ten and seven years": (
        (policy("ten", DELETE, 10 * YEAR, HERS), policy("seven", DELETE, 7 * YEAR, HERS)),
        Outcome(7 * YEAR, 7 * YEAR, "seven", Principle.SHORTEST_DELETION),
    ),
    "combined: delete after five, keep three then delete, keep seven": (
        (policy("five", DELETE, 5 * YEAR), policy("three", BOTH, 3 * YEAR), policy("seven", RETAIN, 7 * YEAR)),
        Outcome(7 * YEAR, 3 * YEAR, "seven", Principle.LONGEST_RETENTION),
    ),
    "one policy deletes": ((policy("a", DELETE, 7),), Outcome(7, 7, "a", Principle.ONLY)),
    "one policy deletes later than the default": ((policy("a", DELETE, 90),), Outcome(90, 90, "a", Principle.ONLY)),
    "one keeps and deletes": ((policy("a", BOTH, 7),), Outcome(7, 7, "a", Principle.ONLY)),
    "nothing deletes: the default, postponed and in sight": (
        (policy("a", RETAIN, 90),),
        Outcome(90, 90, "a", Principle.RETENTION_WINS),
    ),
    "nothing deletes and nothing postpones": ((policy("a", RETAIN, 7),), Outcome(30, 30, "default", Principle.DEFAULT)),
    "retention as long as the default changes nothing": (
        (policy("a", RETAIN, 30),),
        Outcome(30, 30, "default", Principle.DEFAULT),
    ),
    "retention ends before deletion": (
        (policy("keep", RETAIN, 7), policy("delete", DELETE, 20)),
        Outcome(20, 20, "delete", Principle.ONLY),
    ),
    "two say the same": (
        (policy("b", DELETE, 7), policy("a", DELETE, 7, OURS)),
        Outcome(7, 7, "a b", Principle.ONLY),
    ),
    "two retain as long": (
        (policy("b", RETAIN, 90), policy("a", RETAIN, 90, THREAD), policy("c", DELETE, 1)),
        Outcome(90, 1, "a b", Principle.RETENTION_WINS),
    ),
    "an organisation is no explicit inclusion": (
        (policy("org", DELETE, 10, OURS), policy("all", DELETE, 5)),
        Outcome(5, 5, "all", Principle.SHORTEST_DELETION),
    ),
    "a resource is explicit": (
        (policy("resource", DELETE, 10, RESOURCE), policy("all", DELETE, 5)),
        Outcome(10, 10, "resource", Principle.EXPLICIT_WINS),
    ),
    "a thread is explicit": (
        (policy("thread", DELETE, 10, THREAD), policy("all", DELETE, 5)),
        Outcome(10, 10, "thread", Principle.EXPLICIT_WINS),
    ),
    "several explicit ones: the shortest, after the implicit one fell away": (
        (policy("x", DELETE, 10, THREAD), policy("y", DELETE, 8, HERS), policy("all", DELETE, 5)),
        Outcome(8, 8, "y", Principle.SHORTEST_DELETION),
    ),
    "explicit deletion does not win over implicit retention": (
        (policy("x", DELETE, 1, HERS), policy("all", RETAIN, 60)),
        Outcome(60, 1, "all", Principle.RETENTION_WINS),
    ),
    "what is about others is about nobody here": (
        (policy("x", DELETE, 1, OTHERS), policy("y", RETAIN, 900, OTHERS), policy("z", DELETE, 2, Scope())),
        Outcome(30, 30, "default", Principle.DEFAULT),
    ),
}


@pytest.mark.parametrize(("policies", "outcome"), EXAMPLES.values(), ids=EXAMPLES)
def test_the_principles(policies: tuple[Policy, ...], outcome: Outcome) -> None:
    """Microsoft's worked examples and the cases between them, in whatever order the policies come."""
    for order in (policies, policies[::-1]):
        found = decide(*order)
        assert (found.due_at - SENT).days == outcome.due
        assert (found.hidden_at - SENT).days == outcome.hidden
        assert " ".join(found.policies) == outcome.policies
        assert found.principle == outcome.principle
        assert bool(found.hidden_by) is (outcome.hidden < outcome.due)


def test_what_its_author_deleted_is_kept_while_it_is_retained() -> None:
    """It is hidden at once; it goes at the end of the longest retention, and at once where none runs."""
    gone_at = SENT + timedelta(days=3)
    assert decide(policy("a", DELETE, 9), gone=("deleted", gone_at)) == Decision(
        gone_at, gone_at, (), Principle.DELETED
    )
    kept = decide(policy("a", RETAIN, 60), policy("b", BOTH, 90), gone=("deleted", gone_at))
    assert kept == Decision(SENT + timedelta(days=90), gone_at, ("b",), Principle.LONGEST_RETENTION)
    over = decide(policy("a", RETAIN, 2), gone=("deleted", gone_at))
    assert over.due_at == gone_at


def test_what_was_superseded_is_not_retained() -> None:
    """One copy is kept, the last one: a period of retention is about that one."""
    gone_at = SENT + timedelta(days=3)
    assert decide(policy("a", RETAIN, 60), gone=("superseded", gone_at)).due_at == gone_at


@pytest.mark.parametrize("scope", [ALL, OURS, HERS, THREAD, RESOURCE, Scope(calls=frozenset({7}))])
def test_a_hold_is_about_whoever_its_scope_includes(scope: Scope) -> None:
    """By organisation, person, thread, resource or call, or about all; and about nobody else."""
    assert Rules(TERMS, (), (Hold("h", scope), Hold("o", OTHERS))).holding(ANN) == ("h",)


def test_a_hold_of_an_organisation_keeps_what_may_be_its_own() -> None:
    """A resource that was taken out of the configuration belongs to nobody known: no organisation's hold lets it go."""
    stranger = Subject("", "gone", b"eve")
    assert Rules(TERMS, (), (Hold("h", OURS), Hold("p", HERS), Hold("r", RESOURCE))).holding(stranger) == ("h",)
    assert Rules(TERMS, (policy("p", DELETE, 1, OURS),)).decide(stranger, SENT).principle is Principle.DEFAULT


days = st.integers(1, 12)
scopes = st.sampled_from([ALL, OURS, HERS, THREAD, RESOURCE, OTHERS])
policies = st.lists(st.tuples(st.sampled_from(Action), days, scopes), max_size=6)


def plainly(said: list[tuple[Action, int, Scope]], default: int) -> tuple[int, int]:
    """The principles as they read, day by day: on which day is it hidden, and on which does it go?"""
    about_her = [each for each in said if each[2] is not OTHERS]
    by_name = [each for each in about_her if each[2] in (HERS, THREAD, RESOURCE)]
    for_deletion = [each for each in about_her if each[0] is not RETAIN]
    named_for_deletion = [each for each in for_deletion if each in by_name]
    hidden = None
    for day in range(1000):
        retained = any(action is not DELETE and day < end for action, end, _ in about_her)
        if for_deletion:
            condemned = any(day >= end for _, end, _ in named_for_deletion or for_deletion)
            hidden = day if condemned and hidden is None else hidden
        else:
            condemned = day >= default
        if condemned and not retained:
            return (day if hidden is None else hidden), day
    raise AssertionError("kept for ever")


@given(policies, st.integers(1, 14))
def test_the_decision_is_what_the_principles_say(said: list[tuple[Action, int, Scope]], default: int) -> None:
    """Against a day-by-day reading of the principles, for any policies."""
    made = tuple(policy(f"p{number}", *each) for number, each in enumerate(said))
    found = Rules(Terms(timedelta(days=default)), made).decide(ANN, SENT)
    assert ((found.hidden_at - SENT).days, (found.due_at - SENT).days) == plainly(said, default)


@given(policies)
def test_who_is_said_to_have_decided_decided_alone(said: list[tuple[Action, int, Scope]]) -> None:
    """The policies that are named come to that very day by themselves, and each of them ends on it."""
    made = tuple(policy(f"p{number}", *each) for number, each in enumerate(said))
    found = Rules(TERMS, made).decide(ANN, SENT)
    deciding = [each for each in made if each.name in found.policies]
    if found.principle is Principle.DEFAULT:
        assert found.policies == ("default",)
        return
    assert deciding
    assert all(SENT + each.period == found.due_at for each in deciding)
    assert Rules(TERMS, tuple(deciding)).decide(ANN, SENT).due_at in (found.due_at, SENT + TERMS.default)
