"""Notices as live state: what everyone must be told of, and what is proved of it by whom.

Rules: a level is kept with the time at which it was first proved, and counts once its entry is durable; of the
consent levels the last one said holds. Proofs are kept by level, then by person: ten thousand people then cost ten
thousand proofs, and no table each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeVar

import msgspec

from gateway.core import facts
from gateway.core.types import CONSENT, RANKED, TERMINAL, Level

T = TypeVar("T")

HIGHEST: Final = RANKED[-1]
"""The level that none but itself proves."""
PROVING: Final = {
    **{level: frozenset(RANKED[rank:]) for rank, level in enumerate(RANKED)},
    **{level: frozenset({level}) for level in CONSENT},
}
"""What proves each level."""

_AT_LEAST: Final = {level: RANKED[rank:] for rank, level in enumerate(RANKED)}


class Proof(msgspec.Struct, eq=False, gc=False):
    """One level of one person for one notice: `entry` is its place in the ledger, None until it is durable.

    It leads nowhere, so the collector need not walk the hundred thousands of them.
    """

    at: datetime
    entry: int | None = None

    def confirm(self, at: datetime, entry: int) -> None:
        """What was proved at `at` is durable; an earlier or later word for the same level is not this one."""
        if self.entry is None and self.at == at:
            self.entry = entry


@dataclass(slots=True, eq=False)
class Notice:
    """One change everyone must be told of, with what is proved of it.

    `ranked` is level → who → proof, `consents` who → level → proof with the last word behind the others, `sent`
    presence → proof; presences that were told together share theirs. `overdue` are presences of which it is written
    that they passed their deadline; where the episode is over nobody needs to know.
    """

    fact: facts.NoticeIssued
    durable: bool = False
    ranked: dict[Level, dict[str, Proof]] = field(default_factory=dict)
    consents: dict[str, dict[Level, Proof]] = field(default_factory=dict)
    sent: dict[str, Proof] = field(default_factory=dict)
    overdue: set[str] = field(default_factory=set)

    def prove(self, who: str, level: Level, at: datetime) -> Proof:
        """Keep the first proof of a level; of consent keep each word again, behind the others."""
        if level in CONSENT:
            words = self.consents.setdefault(who, {})
            words.pop(level, None)
            proof = words[level] = Proof(at)
            return proof
        proofs = self.ranked.get(level)
        if proofs is None:
            proofs = self.ranked[level] = {}
        standing = proofs.get(who)
        if standing is None:
            standing = proofs[who] = Proof(at)
        return standing

    def said(self, who: str, level: Level) -> Proof | None:
        """The proof of exactly this level."""
        if level in CONSENT:
            return self.consents.get(who, {}).get(level)
        proofs = self.ranked.get(level)
        return None if proofs is None else proofs.get(who)

    def rename(self, who: str, name: str) -> None:
        """The person called `who` here is known as `name`."""
        _rename(self.consents, who, name)
        for proofs in self.ranked.values():
            _rename(proofs, who, name)

    @property
    def id(self) -> str:
        """The id every participant, device and gateway knows it by."""
        return self.fact.notice

    @property
    def terminal(self) -> bool:
        """Whether it ends its episode: then `received` is all that is owed, by those present when it was issued."""
        return self.fact.change in TERMINAL


def _rename(table: dict[str, T], who: str, name: str) -> None:
    if who in table:
        table[name] = table.pop(who)


def proved_at(notice: Notice, who: str, level: Level) -> Proof | None:
    """The earliest proof of `level` or, for the ranked levels, of a higher one."""
    if level is HIGHEST:
        # Asked for every ack.
        proofs = notice.ranked.get(level)
        return None if proofs is None else proofs.get(who)
    return proofs_of(notice, level)(who)


def proofs_of(notice: Notice, level: Level) -> Callable[[str], Proof | None]:
    """As `proved_at`, for many people: what was proved by now, and from now on perhaps more."""
    if level in CONSENT:
        return lambda who: notice.said(who, level) if newest_consent(notice, who) is level else None
    tables = [notice.ranked[each] for each in _AT_LEAST[level] if each in notice.ranked]
    if len(tables) == 1:
        return tables[0].get

    def earliest(who: str) -> Proof | None:
        found: Proof | None = None
        for proofs in tables:
            proof = proofs.get(who)
            if proof is not None and (found is None or _is_earlier(proof, found)):
                found = proof
        return found

    return earliest


def _is_earlier(proof: Proof, other: Proof) -> bool:
    """Within a millisecond the ledger tells: everything of one person is in one."""
    if proof.at != other.at:
        return proof.at < other.at
    return proof.entry is not None and (other.entry is None or proof.entry < other.entry)


def provers(notice: Notice, level: Level) -> set[str]:
    """Everyone who has proved the level."""
    if level in CONSENT:
        return {who for who in notice.consents if newest_consent(notice, who) is level}
    return {who for each in _AT_LEAST[level] for who in notice.ranked.get(each, ())}


def newest_consent(notice: Notice, who: str) -> Level | None:
    """The last word about consent; consenting again undoes a withdrawal."""
    return next(reversed(notice.consents.get(who, {})), None)
