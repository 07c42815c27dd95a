"""What must be the same of two folds of one call: everything that anything is decided or told by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import datetime, timedelta
from typing import Any, cast

from msgspec import structs
from msgspec.structs import replace

from gateway.core.call import Call, Episode
from gateway.core.delivery import owed_notices
from gateway.core.presence import Presence
from gateway.core.types import Level
from tests.core.covered import cover


def remembered(call: Call, now: datetime | None = None) -> dict[str, Any]:
    """Everything a call remembers at `now`, as plain values: but for repeated reminders, which begin anew."""
    now = now or call.clock
    reminders = {(notice.fact.deadline_at, "notice", name) for name, notice in call.notices.items()}
    due = {(at, what, subject) for at, _, what, subject in call.wakes if at > now}
    return {
        "key": call.key,
        "revision": call.revision,
        "clock": call.clock,
        "life": (call.opened_at, call.ended, call.ended_at),
        "tracks": {capability.value: asdict(track) for capability, track in call.tracks.items()},
        "episodes": {name: _episode(episode) for name, episode in call.episodes.items()},
        "running": list(call.running),
        "ends": {capability.value: notice.id for capability, notice in call.ends.items()},
        "notices": {
            name: (
                notice.fact,
                notice.durable,
                _plain({level: proofs for level, proofs in notice.ranked.items() if proofs}),
                _plain(notice.consents),
                _plain(notice.sent),
            )
            for name, notice in call.notices.items()
        },
        "presences": {name: person(presence) for name, presence in call.presences.items()},
        "inside": {name: each.id for name, each in call.inside.items()},
        "latest": {name: each.id for name, each in call.latest.items() if each.participant is not None},
        "rosters": (call.sequences, call.heard_of, call.others),
        "owed": {
            presence.id: [notice.id for notice in owed_notices(call, presence)] for presence in call.open_presences()
        },
        "coverage": [
            (each.notice.id, each.owed, each.proved, each.gaps) for level in Level for each in cover(call, level, now)
        ],
        "due": {each for each in due if each[1] != "notice" or each in reminders},
    }


def _episode(episode: Episode) -> dict[str, Any]:
    plain = {name: getattr(episode, name) for name in ("id", "capability", "started_at", "ended_at")}
    settled = {who: count for who, count in episode.settled.items() if count}
    return {**plain, "notices": [notice.id for notice in episode.notices], "settled": settled}


def person(presence: Presence) -> dict[str, Any]:
    """A presence as plain values; a device is kept by its digest only, so it is left out."""
    return {**asdict(presence), "sessions": sorted(presence.sessions)}


def _plain(table: Mapping[Any, Any]) -> dict[Any, Any]:
    return {name: _plain(each) if isinstance(each, dict) else structs.asdict(each) for name, each in table.items()}


def without_names(call: Call, now: datetime | None = None) -> dict[str, Any]:
    """The same but for who anybody is: what an erasure must leave as it was."""
    found = remembered(call, now)
    del found["latest"]
    for presence in found["presences"].values():
        presence["participant"] = presence["name"] = None
    found["coverage"] = [
        (*counts, [replace(gap, participant=None) for gap in gaps]) for *counts, gaps in found["coverage"]
    ]
    return found


def texts_of(value: object, seen: set[int] | None = None) -> set[str]:
    """Every text that is reachable from a value by whatever attributes, keys and items."""
    seen = set() if seen is None else seen
    if isinstance(value, str):
        return {str(value)}
    if id(value) in seen or value is None or isinstance(value, int | float | bytes | datetime | timedelta):
        return set()
    seen.add(id(value))
    if isinstance(value, dict):
        inner: list[object] = [*value.keys(), *value.values()]
    elif isinstance(value, list | tuple | set | frozenset):
        inner = list(value)
    else:
        names = getattr(value, "__struct_fields__", None) or [each.name for each in fields(cast(Any, value))]
        inner = [getattr(value, name) for name in names]
    return set[str]().union(*(texts_of(each, seen) for each in inner))
