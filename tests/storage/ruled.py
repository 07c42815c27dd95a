"""Rules as tests set them, sweeps to their end, and what a region's file holds afterwards."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from storage.engine import sqlite3
from storage.entry import given
from storage.operations import Call, Erased, RemoveRule, Rule, SealPresence, SetRule
from tests.storage.desk import CALL, START, Desk, message

ANN, BOB = "8:acs:r_ann", "8:acs:f_bob"
"""Of contoso, and of fabrikam."""
INSTANT = timedelta(milliseconds=1)
DAY = timedelta(days=1)
SCOPES: dict[str, dict[str, Any]] = {
    "everyone": {},
    "an organisation": {"organizations": ("contoso",)},
    "a resource": {"resources": ("R",)},
    "a thread": {"threads": ("t",)},
    "a participant": {"participants": (ANN,)},
}
"""Every way to be about Ann, who is of resource `r` and wrote to thread `t`."""
ELSEWHERE: dict[str, dict[str, Any]] = {
    "another organisation": {"organizations": ("fabrikam",)},
    "another resource": {"resources": ("s",)},
    "another thread": {"threads": ("u",)},
    "another participant": {"participants": (BOB,)},
    "a list that has nothing for this region": {"everything": False},
}
"""Every way not to be."""
CALLS = {**SCOPES, "a call": {"calls": ("call-1",)}}

Action = Literal["retain", "delete", "retain_then_delete"]


def _rule(
    kind: Literal["policy", "hold"], name: str, at: datetime, more: dict[str, Any], scope: dict[str, Any]
) -> SetRule:
    everything = scope.pop("everything", not any(scope.values()))
    return SetRule(Rule(kind, name, at, everything, **more, **scope))


def policy(action: Action = "delete", days: int = 7, *, name: str = "p", at: datetime = START, **scope: Any) -> SetRule:
    """A policy is set; about everyone unless a list is given."""
    return _rule("policy", name, at, {"action": action, "days": days}, scope)


def hold(name: str = "h", *, at: datetime = START, **scope: Any) -> SetRule:
    """A hold is set; on everyone unless a list is given."""
    return _rule("hold", name, at, {"reason": "needle: a reason"}, scope)


def without(kind: Literal["policy", "hold"], name: str, at: datetime = START) -> RemoveRule:
    """A rule is removed."""
    return RemoveRule(kind, name, at)


def presence(name: str, participant: str = ANN, call: Call = CALL, at: datetime = START) -> SealPresence:
    """Somebody is in a call."""
    return SealPresence(name, call, participant, f"box of {participant}".encode(), at)


def fill_with_ann(desk: Desk) -> None:
    """Ann is in two calls, wrote, and is named by a policy; Bob is and wrote the like."""
    for number, participant in ((1, ANN), (3, BOB)):
        desk.do(
            presence(f"p_{number}", participant),
            presence(f"p_{number + 1}", participant, ("contoso", "call-2")),
            message(f"text of {participant}", participant=participant),
            policy("delete", 20, name=f"policy {number}", participants=(participant,)),
        )
    reviewed(desk)


def sweep(desk: Desk, now: datetime, limit: int = 500, clock: datetime | None = None) -> int:
    """Everything there is to do at `now` is done; how many messages went."""
    deleted, remaining = 0, True
    while remaining:
        outcome = desk.region.sweep(now, limit, clock).result(60)
        deleted, remaining = deleted + outcome.deleted, outcome.remaining
    return deleted


def erase(desk: Desk, now: datetime, limit: int = 500) -> list[Erased]:
    """As `sweep`; who was erased."""
    erased: list[Erased] = []
    remaining = True
    while remaining:
        outcome = desk.region.sweep(now, limit).result(60)
        erased += outcome.erased
        remaining = outcome.remaining
    return erased


def reviewed(desk: Desk) -> None:
    """Return once nothing waits to be judged."""
    while desk.ask(lambda reader: reader._execute("SELECT next FROM review").fetchone()) != (None,):
        desk.do()


def rows(desk: Desk, what: str, parameters: Collection[object] = ()) -> list[tuple[Any, ...]]:
    """What a query of the region's tables gives."""
    return desk.ask(lambda reader: reader._execute(what, tuple(parameters)).fetchall())


def contents(desk: Desk) -> list[tuple[str | None, str | None]]:
    """Why each copy is kept, and its text; None for one whose key is gone."""

    def opened(copy: str, slot: int, box: bytes) -> str | None:
        clear = desk.region._keys.vault.open("messages", copy, slot, box)
        return None if clear is None else str(json.loads(clear)[3])

    found = rows(desk, "SELECT gone, copy, slot, box FROM messages ORDER BY id")
    return [(gone, opened(copy, slot, box)) for gone, copy, slot, box in found]


def kinds(desk: Desk) -> list[str]:
    """What the ledger tells of, in order."""
    return [given(leaf)["kind"] for leaf in desk.ask(lambda reader: reader.entries(0, reader.size()))]


def last(desk: Desk, kind: str) -> dict[str, Any]:
    """The newest entry of a kind."""
    entries = [given(leaf) for leaf in desk.ask(lambda reader: reader.entries(0, reader.size()))]
    return next(each for each in reversed(entries) if each["kind"] == kind)


def edit(root: Path, change: Callable[[sqlite3.Connection], object]) -> None:
    """Change a closed region's file behind its back."""
    with contextlib.closing(
        sqlite3.connect(root / "data" / "europe" / "region.db", isolation_level=None)
    ) as connection:
        change(connection)
