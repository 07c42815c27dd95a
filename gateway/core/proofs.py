"""Notices as live state: what everyone must be told of, and what is proved of it by whom.

Rules: a level is kept with the time at which it was first proved, and counts once its entry is durable; of the
consent levels the last one said holds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from gateway.core import facts
from gateway.core.types import CONSENT, RANK, TERMINAL, Level


@dataclass(slots=True, eq=False)
class Proof:
    """One level of one person for one notice: `entry` is its place in the ledger, None until it is durable."""

    at: datetime
    entry: int | None = None

    def confirm(self, at: datetime, entry: int) -> None:
        """What was proved at `at` is durable; an earlier or later word for the same level is not this one."""
        if self.entry is None and self.at == at:
            self.entry = entry


@dataclass(slots=True, eq=False)
class Notice:
    """One change everyone must be told of, with what is proved of it: who → level → proof, presence → sent."""

    fact: facts.NoticeIssued
    durable: bool = False
    proofs: dict[str, dict[Level, Proof]] = field(default_factory=dict)
    sent: dict[str, Proof] = field(default_factory=dict)

    def prove(self, who: str, level: Level, at: datetime) -> None:
        """Keep the first proof of a level; of consent keep each word again, behind the others."""
        proofs = self.proofs.setdefault(who, {})
        if level in CONSENT:
            proofs.pop(level, None)
        proofs.setdefault(level, Proof(at))

    @property
    def id(self) -> str:
        """The id every participant, device and gateway knows it by."""
        return self.fact.notice

    @property
    def terminal(self) -> bool:
        """Whether it ends its episode: then `received` is all that is owed, by those present when it was issued."""
        return self.fact.change in TERMINAL


def proved_at(notice: Notice, who: str, level: Level) -> Proof | None:
    """The earliest proof of `level` or, for the ranked levels, of a higher one."""
    proofs = notice.proofs.get(who)
    if not proofs:
        return None
    if level not in RANK:
        return proofs[level] if newest_consent(notice, who) is level else None
    fitting = [proof for each, proof in proofs.items() if each in RANK and RANK[each] >= RANK[level]]
    return min(fitting, key=lambda proof: proof.at, default=None)


def newest_consent(notice: Notice, who: str) -> Level | None:
    """The last word about consent; consenting again undoes a withdrawal."""
    return next((level for level in reversed(notice.proofs.get(who, {})) if level in CONSENT), None)
