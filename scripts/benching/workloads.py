"""The workloads of the bench: what each puts up, runs, and which figures it gives.

Rules: each stands alone, with servers and loads of its own that end with it; sides that are compared take turns in one
run; a workload gives what it measured, and `figures` alone knows what is asked of it.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from benching.figures import Figure
from benching.sides import Side, Stand, take_turns

Step = Callable[[str], None]


@dataclass(frozen=True)
class Size:
    """How much there is of everything."""

    many: int = 10_000
    most: int = 19_500
    few: int = 1_000
    meeting: int = 10
    rounds: int = 5
    pause: float = 0.3


QUICK: Final = Size(many=20, most=30, few=10, rounds=1, pause=0.05)
"""To see that everything works, and for nothing else."""


class Given(NamedTuple):
    """What a workload gave: its figures, and the rounds behind them."""

    figures: list[Figure]
    raw: dict[str, list[float]]


def _raw(sides: Sequence[Side]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for side in sides:
        found[f"{side.title}: CPU per notice"] = side.costs()
        found[f"{side.title}: CPU when idle"] = [side.idle()]
        for name in ("last_frame", "last_receipt"):
            values = [each.seen[name] for each in side.turns if name in each.seen]
            if values:
                found[f"{side.title}: {name}"] = values
    return found


def _ratio(key: str, left: Side, right: Side) -> Figure:
    """What a notice costs on the left, against the right."""
    one, other = left.cost(), right.cost()
    return Figure(key, one / other, f"{one * 1e6:.1f} µs to {other * 1e6:.1f} µs")


def call(stand: Stand, size: Size, step: Step) -> Given:
    """Everyone in one call, beside the yardsticks."""
    gateway = stand.gateway("gateway", size.many)
    beside = {"node": stand.node(size.many), "mosquitto": stand.mosquitto(size.many)}
    sides = [gateway, *beside.values()]
    take_turns(sides, size.rounds, size.pause, step)
    figures = [_ratio(key, gateway, side) for key, side in beside.items()]
    for key in ("last_frame", "last_receipt"):
        worst = max(each.seen[key] for each in gateway.turns)
        figures.append(Figure(key, gateway.median(key) * 1e3, f"{size.many:,} sessions, at worst {worst * 1e3:.0f} ms"))
    return Given(figures, _raw(sides))


def meeting(stand: Stand, size: Size, step: Step) -> Given:
    """One meeting, and nothing else."""
    side = stand.gateway("gateway", size.meeting)
    side.settling = 0.1
    take_turns([side], size.rounds * 4, size.pause, step)
    times = sorted(each.seen["last_receipt"] for each in side.turns)
    detail = f"{len(times)} rounds, at worst {times[-1] * 1e3:.1f} ms"
    return Given([Figure("meeting", statistics.median(times) * 1e3, detail)], _raw([side]))


def meetings(stand: Stand, size: Size, step: Step) -> Given:
    """As many in meetings as in one call."""
    one = stand.gateway("one call", size.many)
    many = stand.gateway("meetings", size.many, calls=size.many // size.meeting)
    take_turns([one, many], size.rounds, size.pause, step)
    return Given([_ratio("meetings", many, one)], _raw([one, many]))


def growth(stand: Stand, size: Size, step: Step) -> Given:
    """As many as a process can have, against few."""
    few, most = stand.gateway("few", size.few), stand.gateway("most", size.most)
    take_turns([few, most], size.rounds, size.pause, step)
    return Given([_ratio("growth", most, few)], _raw([few, most]))


WORKLOADS: Final[Mapping[str, Callable[[Stand, Size, Step], Given]]] = {
    each.__name__: each for each in (call, meeting, meetings, growth)
}
"""All of them, by name, in the order in which they run."""

BESIDE: Final = frozenset({"call"})
"""Those with yardsticks."""
