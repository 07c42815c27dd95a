"""Keeping: what an operator may say of retention, how it is said, and what a decision means in words.

Rules: a rule about nobody is refused where that can be seen, for a hold that holds nothing is found out too late; names
are plain, for they stand in the ledger for good.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final, Literal

import msgspec

from gateway.core.errors import Refusal
from gateway.core.fields import NAME_LIMIT

Kind = Literal["policy", "hold"]

ACTIONS: Final = ("retain", "delete", "retain_then_delete")
MOST_DAYS: Final = 36_500
"""The longest period, in days: a century."""
MOST_NAMED: Final = 1_000
"""The most entries in one list of a rule."""
MOST_RULES: Final = 1_000
"""The most policies, and the most holds."""

MOST_REASON: Final = 1_000
"""The longest reason, in characters."""

RESERVED: Final = "default"
"""What certificates call the period that applies where no policy deletes."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

MEANING: Final[Mapping[str, str]] = {
    "retention_wins": "retention wins over deletion",
    "longest_retention": "the longest retention wins",
    "explicit_wins": "explicit inclusion wins over implicit inclusion",
    "shortest_deletion": "the shortest deletion wins",
    "only": "no policy says otherwise",
    "default": "no policy deletes it, so the default does",
    "deleted": "its author deleted it, and nothing retains it",
    "superseded": "a later message took its place",
}
"""What decided, in words."""


class Scope(msgspec.Struct):
    """Whom a rule is about: everyone where all lists are empty."""

    organizations: list[str] = []
    resources: list[str] = []
    threads: list[str] = []
    participants: list[str] = []

    def lists(self) -> dict[str, list[str]]:
        """The lists by name, each entry once and in order, resources in lower case. Raises `Refusal`."""
        found = {name: getattr(self, name) for name in self.__struct_fields__ if isinstance(getattr(self, name), list)}
        return {name: _entries(name, entries) for name, entries in found.items()}


class Policy(Scope):
    """A retention policy as it is sent and shown."""

    action: str = ""
    days: int = 0


class Hold(Scope):
    """A hold as it is sent and shown."""

    calls: list[str] = []
    reason: str = ""


def _entries(what: str, entries: list[str]) -> list[str]:
    if len(entries) > MOST_NAMED:
        raise Refusal("bad_request", f"{what} has more than {MOST_NAMED} entries")
    if any(not 0 < len(each) <= NAME_LIMIT or not each.isprintable() for each in entries):
        raise Refusal("bad_request", f"an entry of {what} is empty, too long or not printable")
    return sorted({each.lower() for each in entries} if what == "resources" else set(entries))


def check_name(name: str) -> str:
    """The name of a rule, if it can be one. Raises `Refusal`."""
    if not _NAME.fullmatch(name):
        raise Refusal("bad_request", "a name has 1 to 64 letters, digits, dots, dashes and underscores")
    return name


def check_policy(name: str, policy: Policy) -> None:
    """Whether there can be such a policy. Raises `Refusal`."""
    if name.lower() == RESERVED:
        raise Refusal("bad_request", "'default' is what applies without policies: give it another name")
    if policy.action not in ACTIONS:
        raise Refusal("bad_request", f"action is not one of {', '.join(ACTIONS)}")
    if not 1 <= policy.days <= MOST_DAYS:
        raise Refusal("bad_request", f"days is not a number from 1 to {MOST_DAYS}")


def check_hold(hold: Hold) -> None:
    """Whether there can be such a hold. Raises `Refusal`."""
    if len(hold.reason) > MOST_REASON or not all(each.isprintable() or each == "\n" for each in hold.reason):
        raise Refusal("bad_request", "reason is too long or not printable")


def check_known(lists: Mapping[str, Collection[str]], known: Mapping[str, Collection[str]]) -> None:
    """Refuse organisations and resources that nobody configured: the rule would be about nobody. Raises `Refusal`."""
    for name, configured in known.items():
        if not set(lists[name]) <= set(configured):
            raise Refusal("not_configured", f"an entry of {name} is not configured here", status=404)


def explained(principle: str, policies: Collection[str]) -> dict[str, Any]:
    """What decided, for machines and in words."""
    return {"policies": list(policies), "principle": principle, "because": MEANING[principle]}
