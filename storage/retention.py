"""Retention: when a copy of a message goes, which policies decide that and by which principle, and what holds it back.

Rules: the principles are those of Microsoft Purview, each a tie-breaker for the one before it: retention wins over
deletion, the longest retention wins, explicit inclusion wins over implicit, the shortest deletion wins. Periods count
from sending. A hold suspends deletion, whatever was decided. Persons and threads are told apart by keyed hashes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Literal

DEFAULT: Final = "default"
"""What stands for a policy where none deletes."""

NOTHING: Final[frozenset[bytes]] = frozenset()

Gone = Literal["deleted", "superseded"]
"""Why a copy is kept that is not the last message any more: its author deleted it, or a later one took its place."""


class Action(StrEnum):
    """What a policy does with a message when its days are over, and until then."""

    RETAIN = "retain"
    DELETE = "delete"
    RETAIN_THEN_DELETE = "retain_then_delete"

    @property
    def retains(self) -> bool:
        """Whether nothing is deleted before the days are over."""
        return self is not Action.DELETE

    @property
    def deletes(self) -> bool:
        """Whether a message is deleted once the days are over."""
        return self is not Action.RETAIN


class Principle(StrEnum):
    """What decided. The four principles, and where there was nothing to decide between."""

    RETENTION_WINS = "retention_wins"
    LONGEST_RETENTION = "longest_retention"
    EXPLICIT_WINS = "explicit_wins"
    SHORTEST_DELETION = "shortest_deletion"
    ONLY = "only"
    DEFAULT = "default"
    DELETED = "deleted"
    SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose copy it is. `calls` are the calls that this person was in, of those that some hold names."""

    organization: str
    resource: str
    person: bytes
    threads: frozenset[bytes] = NOTHING
    calls: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Scope:
    """Whom a rule is about: all, or whoever any of these lists includes."""

    everything: bool = False
    organizations: frozenset[str] = frozenset()
    resources: frozenset[str] = frozenset()
    threads: frozenset[bytes] = NOTHING
    people: frozenset[bytes] = NOTHING
    calls: frozenset[int] = frozenset()

    def names(self, subject: Subject) -> bool:
        """Whether the subject is included by name (explicit): by resource, thread, person or call."""
        return (
            subject.resource in self.resources
            or subject.person in self.people
            or not self.threads.isdisjoint(subject.threads)
            or not self.calls.isdisjoint(subject.calls)
        )

    def includes(self, subject: Subject) -> bool:
        """Whether the subject is included at all."""
        return self.everything or subject.organization in self.organizations or self.names(subject)


@dataclass(frozen=True, slots=True)
class Policy:
    """A retention policy, its period counted from sending."""

    name: str
    action: Action
    period: timedelta
    scope: Scope


@dataclass(frozen=True, slots=True)
class Hold:
    """What keeps everything in its scope from being deleted."""

    name: str
    scope: Scope


@dataclass(frozen=True, slots=True)
class Terms:
    """What is configured: how long a message is kept by default, whose each resource is, and whose a raw id is."""

    default: timedelta
    organizations: Mapping[str, str] = field(default_factory=dict)
    resource_of: Callable[[str], str | None] = lambda _: None


@dataclass(frozen=True, slots=True)
class Decision:
    """When a copy may be deleted (`due_at`), from when on it is not shown any more, and what decided that.

    `hidden_by` are the policies that put it out of sight before it may be deleted.
    """

    due_at: datetime
    hidden_at: datetime
    policies: tuple[str, ...]
    principle: Principle
    hidden_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rules:
    """Every policy and hold of a region, and what applies without any."""

    terms: Terms
    policies: tuple[Policy, ...] = ()
    holds: tuple[Hold, ...] = ()
    calls: frozenset[str] = frozenset()
    """The ids of calls that some hold names."""

    @property
    def by_call(self) -> bool:
        """Whether it matters who was in which call."""
        return bool(self.calls)

    def decide(self, subject: Subject, sent_at: datetime, gone: tuple[Gone, datetime] | None = None) -> Decision:
        """What is to become of a copy; `gone` says since when it is kept only by a hold or a period of retention."""
        covering = [each for each in self.policies if each.scope.includes(subject)]
        retaining = [(sent_at + each.period, each.name) for each in covering if each.action.retains]
        if gone is not None:
            return _after(gone, retaining)
        deletion = _deletion(sent_at, subject, [each for each in covering if each.action.deletes], self.terms.default)
        return _postponed(deletion, retaining)

    def holding(self, subject: Subject) -> tuple[str, ...]:
        """The names of the holds that keep the subject's copies.

        Whose a resource is that is not configured any more, nobody knows: every organisation's hold keeps it.
        """
        return tuple(
            each.name
            for each in self.holds
            if each.scope.includes(subject) or (each.scope.organizations and not subject.organization)
        )


def _deletion(sent_at: datetime, subject: Subject, deleting: Collection[Policy], default: timedelta) -> Decision:
    """When the message would be deleted if nothing retained it: the third and the fourth principle."""
    if not deleting:
        return Decision(sent_at + default, sent_at + default, (DEFAULT,), Principle.DEFAULT)
    explicit = [each for each in deleting if each.scope.names(subject)]
    eligible = explicit or list(deleting)
    period = min(each.period for each in eligible)
    if any(each.period != period for each in eligible):
        principle = Principle.SHORTEST_DELETION
    elif any(each.period != period for each in deleting):
        principle = Principle.EXPLICIT_WINS
    else:
        principle = Principle.ONLY
    names = tuple(sorted(each.name for each in eligible if each.period == period))
    return Decision(sent_at + period, sent_at + period, names, principle)


def _postponed(deletion: Decision, retaining: Sequence[tuple[datetime, str]]) -> Decision:
    """The deletion, put off while anything retains the message: the first and the second principle.

    It is hidden once a policy would have deleted it; where only the default would have, it stays in sight.
    """
    until = max((end for end, _ in retaining), default=deletion.due_at)
    if until <= deletion.due_at:
        return deletion
    names, principle = _longest(retaining, until)
    if deletion.principle is Principle.DEFAULT:
        return Decision(until, until, names, principle)
    return Decision(until, deletion.due_at, names, principle, hidden_by=deletion.policies)


def _longest(retaining: Sequence[tuple[datetime, str]], until: datetime) -> tuple[tuple[str, ...], Principle]:
    names = tuple(sorted(name for end, name in retaining if end == until))
    several = any(end != until for end, _ in retaining)
    return names, Principle.LONGEST_RETENTION if several else Principle.RETENTION_WINS


def _after(gone: tuple[Gone, datetime], retaining: Sequence[tuple[datetime, str]]) -> Decision:
    """A copy that is no last message any more: what a period of retention keeps is what its author deleted."""
    why, gone_at = gone
    until = max((end for end, _ in retaining), default=gone_at)
    if why == "deleted" and until > gone_at:
        return Decision(until, gone_at, *_longest(retaining, until))
    return Decision(gone_at, gone_at, (), Principle(why))
