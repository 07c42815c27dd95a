"""Coverage as tests ask for it: a notice's standings, counted."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from gateway.core.call import Call
from gateway.core.coverage import NOBODY, Gap, standings
from gateway.core.delivery import required
from gateway.core.proofs import Notice
from gateway.core.types import Level


class Covered(NamedTuple):
    """What is proved of one notice: how many owe it, how many proved it, and the others one by one."""

    notice: Notice
    owed: int
    proved: int
    gaps: tuple[Gap, ...]


def cover_notice(call: Call, notice: Notice, level: Level, now: datetime, behind: Collection[str] = NOBODY) -> Covered:
    """Coverage of one notice, asked at `level`."""
    found = list(standings(call, notice, required(notice, level), now, behind))
    gaps = tuple(standing.gap for standing in found if standing.gap is not None)
    return Covered(notice, len(found), len(found) - len(gaps), gaps)


def cover(call: Call, level: Level, now: datetime) -> list[Covered]:
    """Coverage of every notice."""
    return [cover_notice(call, notice, level, now) for notice in call.notices.values()]
