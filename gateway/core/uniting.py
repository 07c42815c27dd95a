"""Uniting: two calls that are one, with what happened in both.

Rules: nothing of either is lost; whoever is in both is one person, and there once; of two open episodes of a
capability the earlier is kept, for everyone was told of one of them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from gateway.core.call import Call


def unite(call: Call, source: Call, at: datetime) -> None:
    """Make `source` part of `call`; nothing is asked of `source` afterwards."""
    call.sources.update({name: call for name, each in call.sources.items() if each is source})
    call.clock = max(call.clock, source.clock)
    _unite_people(call, source)
    episodes = {**source.episodes, **call.episodes}
    call.episodes = dict(sorted(episodes.items(), key=lambda item: item[1].started_at))
    notices = {**source.notices, **call.notices}
    call.notices = dict(sorted(notices.items(), key=lambda item: item[1].fact.at))
    call.sequences = {**source.sequences, **call.sequences}
    call.others = max(call.others, source.others)
    for moment, _, what, subject in source.wakes:
        call.wake(moment, what, subject)
    for capability, track in call.tracks.items():
        call.end_episode(track.absorb(source.tracks[capability]), at)
        call.wake(at, "fuse", capability)


def _unite_people(call: Call, source: Call) -> None:
    """Whoever is in both calls is one person, and there once, by the presence that began first."""
    for participant, theirs in source.latest.items():
        ours = call.latest.setdefault(participant, theirs)
        if ours is not theirs:
            _rename(source, theirs.who, ours.who)
    call.presences = {**source.presences, **call.presences}
    for participant, theirs in source.latest.items():
        ours = call.latest[participant]
        if not ours.open and (theirs.open or theirs.opened_at > ours.opened_at):
            call.latest[participant] = theirs
        elif ours.open and theirs.open and ours is not theirs:
            kept, other = (ours, theirs) if ours.opened_at <= theirs.opened_at else (theirs, ours)
            kept.absorb(other)
            call.latest[participant] = call.presences[other.id] = kept
            for notice in (*source.notices.values(), *call.notices.values()):
                if other.id in notice.sent:
                    notice.sent.setdefault(kept.id, notice.sent[other.id])
    for who, heard_at in source.heard_of.items():
        call.hear_of(who, heard_at)


def _rename(source: Call, who: str, name: str) -> None:
    """The person called `who` here is known as `name`."""
    for presence in source.presences.values():
        if presence.who == who:
            presence.who = name
    maps: list[dict[str, Any]] = [notice.proofs for notice in source.notices.values()]
    maps += [table for track in source.tracks.values() for table in (track.words, track.opened)]
    for table in (*maps, source.heard_of):
        if who in table:
            table[name] = table.pop(who)
