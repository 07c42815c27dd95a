"""What a decision asks for: the core returns effects, and one interpreter in the hub performs them.

Rules: all `Record`s of a step share one commit; everything else happens after it, in the order given, what is
sent once more last.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.core.facts import AnyFact


@dataclass(frozen=True, slots=True)
class Record:
    """Write this fact to the ledger; it is applied to the live state already."""

    fact: AnyFact


@dataclass(frozen=True, slots=True)
class Announce:
    """Send this notice to every session of the call."""

    notice: str


@dataclass(frozen=True, slots=True)
class Resend:
    """Send this notice once more to the sessions of these presences: they owe it past its deadline."""

    notice: str
    presences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Refresh:
    """Send every session of the call its fresh state: something changed that no notice tells."""


Effect = Record | Announce | Resend | Refresh
