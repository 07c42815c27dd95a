"""Showing: whoever looks at a call piece by piece sees each piece as it was when they began.

Rules: everything that a fact changes of people, or of what they proved, is shown before the fact is applied and before
it is confirmed; of notices and episodes onlookers keep what they need, for these are few.
"""

from __future__ import annotations

from collections.abc import Iterable

from gateway.core import facts
from gateway.core.call import Call
from gateway.core.presence import Presence
from gateway.core.proofs import Proof


def show(call: Call, fact: facts.AnyFact) -> None:
    """Let everyone who looks on see what `fact` will change of this call."""
    match fact:
        case facts.LevelProved():
            show_proof(call, call.presences[fact.presence])
        case facts.NoticesSent():
            _show_presences(call, fact.presences)
        case facts.PresencesErased():
            _show_presences(call, fact.presences)
        case (
            facts.PresenceOpened()
            | facts.PresenceListed()
            | facts.SessionJoined()
            | facts.SessionLeft()
            | facts.PresenceClosed()
        ):
            _show_presences(call, (fact.presence,))
        case facts.CallMerged():
            source = call.sources.get(fact.source, call)
            for each in (*call.onlookers, *source.onlookers):
                each.before_everything()


def show_proof(call: Call, presence: Presence) -> None:
    """Let them see what the person of this presence has proved, which is about to change."""
    for each in call.onlookers:
        each.before_proof(presence)


def show_confirmation(call: Call, proofs: Iterable[Proof]) -> None:
    """Let them see these proofs, which are about to count as durable."""
    for each in call.onlookers:
        each.before_confirmation(proofs)


def _show_presences(call: Call, presences: tuple[str, ...]) -> None:
    for name in presences:
        presence = call.presences.get(name)
        if presence is not None:
            for each in call.onlookers:
                each.before(presence)
