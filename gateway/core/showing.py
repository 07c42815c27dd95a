"""Showing: whoever looks at a call piece by piece sees each piece as it was when they began.

Rules: everything that a fact changes of people, or of what they proved, is shown before the fact is applied and before
it is confirmed; of notices and episodes onlookers keep what they need, for these are few.
"""

from __future__ import annotations

from gateway.core import facts
from gateway.core.call import Call


def show(call: Call, fact: facts.AnyFact) -> None:
    """Let everyone who looks on see what `fact` will change of this call."""
    match fact:
        case facts.LevelProved():
            for each in call.onlookers:
                each.before_proof(call.presences[fact.presence])
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


def _show_presences(call: Call, presences: tuple[str, ...]) -> None:
    for name in presences:
        presence = call.presences.get(name)
        if presence is not None:
            for each in call.onlookers:
                each.before(presence)
