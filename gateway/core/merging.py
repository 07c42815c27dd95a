"""Merging: a call that opened under an alias turns out to be another call of the same organisation.

Rules: nothing of either is lost; the same two calls read back from the ledger in one fold give the same result;
whoever is in both is there once, by the presence that is open.
"""

from __future__ import annotations

from gateway.core.call import Call
from gateway.core.facts import CallMerged
from gateway.core.step import Step


def merge(step: Step, source: Call) -> None:
    """Make `source` part of the step's call, under a revision that is newer than both."""
    step.open()
    _absorb(step.call, source)
    revision = max(step.call.revision, source.revision) + 1
    step.record(CallMerged(call=step.call.key, at=step.now, source=source.key.call, revision=revision))
    step.refresh()


def _absorb(target: Call, source: Call) -> None:
    target.episodes = dict(sorted({**source.episodes, **target.episodes}.items(), key=lambda item: item[1].started_at))
    target.notices = dict(sorted({**source.notices, **target.notices}.items(), key=lambda item: item[1].fact.at))
    target.presences.update(source.presences)
    for participant, presence in source.latest.items():
        known = target.latest.get(participant)
        if known is None or not known.open:
            target.latest[participant] = presence
    target.observers = {**source.observers, **target.observers}
    target.sequences = {**source.sequences, **target.sequences}
    target.heard_of = {**source.heard_of, **target.heard_of}
    target.others = max(target.others, source.others)
    for capability, track in source.tracks.items():
        ours = target.tracks[capability]
        for name, word in track.words.items():
            known_word = ours.words.get(name)
            if known_word is None or known_word.occurred_at < word.occurred_at:
                ours.words[name] = word
        ours.opened = {**track.opened, **ours.opened}
    for at, _, what, subject in source.wakes:
        target.wake(at, what, subject)
