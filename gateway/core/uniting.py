"""Uniting: two calls that are one, with what happened in both.

Rules: nothing of either is lost; whoever is in both is one person, and there once; of two open episodes of a
capability the earlier is kept, for everyone was told of one of them. Who is in both is decided once, by their raw
ids, and recorded by presence, so that folding needs nobody's name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.core.call import Call
from gateway.core.facts import CallMerged
from gateway.core.presence import Presence

Pairs = tuple[tuple[str, str], ...]
"""Names of presences, each with another."""


def together(call: Call, source: Call) -> tuple[Pairs, Pairs]:
    """Who is in both: `same` and `united` of `CallMerged`. Somebody present in both stays by what began first."""
    same: list[tuple[str, str]] = []
    united: list[tuple[str, str]] = []
    for participant, theirs in source.latest.items():
        ours = call.latest.get(participant)
        if ours is None or ours is theirs:
            continue
        same.append((theirs.who, ours.who))
        if ours.open and theirs.open:
            kept, other = (ours, theirs) if ours.opened_at <= theirs.opened_at else (theirs, ours)
            united.append((other.id, kept.id))
    return tuple(same), tuple(united)


def unite(call: Call, source: Call, merged: CallMerged) -> None:
    """Make `source` part of `call`; nothing is asked of `source` afterwards."""
    call.sources.update({name: call for name, each in call.sources.items() if each is source})
    call.clock = max(call.clock, source.clock)
    _unite_people(call, source, merged)
    episodes = {**source.episodes, **call.episodes}
    call.episodes = dict(sorted(episodes.items(), key=lambda item: item[1].started_at))
    notices = {**source.notices, **call.notices}
    call.notices = dict(sorted(notices.items(), key=lambda item: item[1].fact.at))
    call.sequences = {**source.sequences, **call.sequences}
    call.others = max(call.others, source.others)
    for moment, _, what, subject in source.wakes:
        call.wake(moment, what, subject)
    call.file_all()
    for capability, track in call.tracks.items():
        call.end_episode(track.absorb(source.tracks[capability]), merged.at)
        call.wake(merged.at, "fuse", capability)


def _unite_people(call: Call, source: Call, merged: CallMerged) -> None:
    """Whoever is in both calls is one person, and there once, by the presence that began first."""
    same, united = merged.same, merged.united
    if same is None and united is None:
        same, united = together(call, source)
    for theirs_was, ours_is in same or ():
        _rename(source, theirs_was, ours_is)
    call.presences = {**source.presences, **call.presences}
    _absorb(call, source, united or ())
    call.inside = {each.id: each for each in call.presences.values() if each.open}
    for participant, theirs in source.latest.items():
        ours = call.latest.get(participant, theirs)
        newer = not ours.open and (theirs.open or theirs.opened_at > ours.opened_at)
        call.latest[participant] = theirs if newer else ours
    # Whoever became part of another is found there, also where only one of the two can be named any more.
    call.latest = {participant: call.presences[each.id] for participant, each in call.latest.items()}
    for who, heard_at in source.heard_of.items():
        call.hear_of(who, heard_at)


def _absorb(call: Call, source: Call, pairs: Sequence[tuple[str, str]]) -> None:
    became: dict[Presence, Presence] = {}
    for part, whole in pairs:
        other, kept = call.presences.get(part), call.presences.get(whole)
        if other is None or kept is None or other is kept:
            continue
        kept.absorb(other)
        became[other] = kept
        for notice in (*source.notices.values(), *call.notices.values()):
            if other.id in notice.sent:
                notice.sent.setdefault(kept.id, notice.sent[other.id])
            if other.id in notice.overdue:
                notice.overdue.add(kept.id)
    if became:
        # Whatever had become part of one that is absorbed now is part of the same whole.
        call.presences = {name: became.get(each, each) for name, each in call.presences.items()}


def _rename(source: Call, who: str, name: str) -> None:
    """The person called `who` here is known as `name`."""
    for presence in source.presences.values():
        if presence.who == who:
            presence.who = name
    for notice in source.notices.values():
        notice.rename(who, name)
    maps: list[dict[str, Any]] = [each for track in source.tracks.values() for each in (track.words, track.opened)]
    for table in (*maps, source.heard_of):
        if who in table:
            table[name] = table.pop(who)
