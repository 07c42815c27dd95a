"""Merging: a call that opened under an alias turns out to be another call of the same organisation.

Rules: nothing of either is lost; the same two calls read back from the ledger are folded the same way;
whoever is in both is there once, by the presence that is open.
"""

from __future__ import annotations

from gateway.core.call import Call
from gateway.core.facts import CallMerged
from gateway.core.step import Step
from gateway.core.uniting import together


def merge(step: Step, source: Call) -> None:
    """Make `source` part of the step's call, under a revision that is newer than both.

    Who is one person is written down by presence: names may be erased before the call is folded again.
    """
    step.open()
    step.call.sources[source.key.call] = source
    revision = max(step.call.revision, source.revision) + 1
    same, united = together(step.call, source)
    # After a clock was set back the source may be ahead: what is read back must not come before the merger then.
    at = max(step.now, source.clock)
    step.record(
        CallMerged(
            call=step.call.key,
            at=at,
            source=source.key.call,
            revision=revision,
            same=same,
            united=united,
        )
    )
    step.refresh()
