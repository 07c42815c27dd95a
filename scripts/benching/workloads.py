"""The workloads of the bench: what each puts up, runs, and which figures it gives.

Rules: each stands alone, with servers and loads of its own that end with it; sides that are compared take turns in one
run; a workload gives what it measured, and `figures` alone knows what is asked of it.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from benching.asking import Desk
from benching.figures import Figure
from benching.sides import WARM_UP, Side, Step, connect, finish, rest, take_turns
from benching.stand import Stand, serves_by_workers
from load.metrics import quantile, since


@dataclass(frozen=True)
class Size:
    """How much there is of everything; times in seconds."""

    many: int = 10_000
    most: int = 19_500
    workers: int = 36_000
    few: int = 1_000
    meeting: int = 10
    stalled: int = 500
    loads: int = 2
    notices: int = 10
    rounds: int = 5
    pause: float = 0.3
    rest: float = 15.0
    """As long as from one heartbeat to the next."""
    idle: float = 60.0
    race: float = 10.0


QUICK: Final = Size(20, 30, 40, 10, 10, 2, 2, 2, 1, 0.05, 0.2, 0.5, 0.5)
"""To see that everything works, and for nothing else."""


class Given(NamedTuple):
    """What a workload gave: its figures, and the rounds behind them."""

    figures: list[Figure]
    raw: dict[str, list[float]]


class NotOffered(Exception):
    """This build cannot be measured so; the text says why."""


SEEN: Final = ("last_frame", "last_receipt", "accepted", "busiest")


def _raw(sides: Sequence[Side]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for side in sides:
        found[f"{side.title}: CPU per notice"] = side.costs()
        found[f"{side.title}: CPU while nothing happens"] = [side.calm]
        found[f"{side.title}: CPU put off"] = [side.put_off()]
        found[f"{side.title}: memory"] = [side.memory]
        for name in SEEN:
            values = [each.seen[name] for each in side.turns if name in each.seen]
            if values:
                found[f"{side.title}: {name}"] = values
    return found


def _compare(sides: Sequence[Side], size: Size, step: Step) -> dict[str, list[float]]:
    """Everything from connecting to the servers' word on what was proved."""
    connect(sides, step)
    rest(sides, size.rest, step)
    take_turns(sides, size.rounds, size.pause, step)
    raw = _raw(sides)
    finish(sides, step)
    return raw


def _ratio(key: str, left: float, right: float) -> Figure:
    """What a notice costs on the left, against the right."""
    return Figure(key, left / right, f"{left * 1e6:.1f} µs to {right * 1e6:.1f} µs")


def call(stand: Stand, size: Size, step: Step) -> Given:
    """Everyone in one call, beside the yardsticks."""
    gateway = stand.gateway("gateway", size.many)
    beside = [stand.node(size.many), stand.mosquitto(size.many), stand.websockets(size.many), stand.bare(size.many)]
    raw = _compare([gateway, *beside], size, step)
    cost = {name: statistics.median(values) for name, values in raw.items()}
    figures = [
        _ratio(side.title.split()[0], cost["gateway: CPU per notice"], cost[f"{side.title}: CPU per notice"])
        for side in beside
    ]
    for key in ("last_frame", "last_receipt"):
        worst = max(raw[f"gateway: {key}"])
        detail = f"{size.many:,} sessions, at worst {worst * 1e3:.0f} ms"
        figures.append(Figure(key, gateway.median(key) * 1e3, detail))
    return Given(figures, raw)


def rate(stand: Stand, size: Size, step: Step) -> Given:
    """As many notices as one core can prove: several loads, each telling its call again once all is proved."""
    share = size.many // size.loads
    sides = [stand.gateway("call 1", share)]
    sides += [stand.more(sides[0], f"call {number + 1}", share) for number in range(1, size.loads)]
    connect(sides, step)
    take_turns(sides, 0, 0.0, step)
    step(f"as fast as it goes, for {size.race:.0f} s")
    proved, over = [0] * len(sides), time.perf_counter() + size.race

    def race(number: int) -> None:
        while time.perf_counter() < over:
            sides[number].say("go")
            proved[number] += share

    server = sides[0].server
    began, before, loads = time.perf_counter(), server.cpu(), sum(each.load.cpu() for each in sides)
    threads = [threading.Thread(target=race, args=(number,)) for number in range(len(sides))]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    seconds = time.perf_counter() - began
    busy = (server.cpu() - before) / seconds
    loaded = (sum(each.load.cpu() for each in sides) - loads) / seconds
    finish(sides, step)
    detail = f"{sum(proved):,} in {seconds:.1f} s, {busy:.0%} of a core; the loads took {loaded:.0%} of theirs"
    return Given([Figure("rate", sum(proved) / seconds, detail)], {"share of a core": [busy], "loads": [loaded]})


def lag(stand: Stand, size: Size, step: Step) -> Given:
    """How late the loop is while everyone is told, round after round."""
    side = stand.gateway("gateway", size.many)
    connect([side], step)
    for _ in range(WARM_UP):
        side.say("go")
    desk = Desk(side.place / "gateway.toml")
    step("round after round")
    before = desk.lag()
    for _ in range(size.rounds * 4):
        side.say("go")
    late = since(before, desk.lag())
    finish([side], step)
    detail = f"{max(late.values()):,} looks, p50 {quantile(late, 0.5) * 1e3:.1f} ms"
    return Given([Figure("lag", quantile(late, 0.999) * 1e3, detail)], {})


def meeting(stand: Stand, size: Size, step: Step) -> Given:
    """One meeting, and nothing else."""
    side = stand.gateway("gateway", size.meeting)
    side.settling = 0.1
    connect([side], step)
    take_turns([side], size.rounds * 4, size.pause, step)
    finish([side], step)
    times = [each.seen["last_receipt"] for each in side.turns]
    detail = f"{len(times)} rounds, at worst {max(times) * 1e3:.1f} ms"
    return Given([Figure("meeting", statistics.median(times) * 1e3, detail)], {"last_receipt": times})


def meetings(stand: Stand, size: Size, step: Step) -> Given:
    """As many in meetings as in one call."""
    one = stand.gateway("one call", size.many)
    many = stand.gateway("meetings", size.many, "--calls", str(size.many // size.meeting))
    raw = _compare([one, many], size, step)
    left, right = (statistics.median(raw[f"{side.title}: CPU per notice"]) for side in (many, one))
    return Given([_ratio("meetings", left, right)], raw)


def growth(stand: Stand, size: Size, step: Step) -> Given:
    """As many as a process can have, against few."""
    few, most = stand.gateway("few", size.few), stand.gateway("most", size.most)
    few.repeat = size.most // size.few
    raw = _compare([few, most], size, step)
    left, right = (statistics.median(raw[f"{side.title}: CPU per notice"]) for side in (most, few))
    return Given([_ratio("growth", left, right)], raw)


def idle(stand: Stand, size: Size, step: Step) -> Given:
    """Everyone in one call, and nothing happens."""
    side = stand.gateway("gateway", size.many)
    connect([side], step)
    rest([side], size.rest, step)
    rest([side], size.idle, step)
    finish([side], step)
    spent = Figure("idle", side.calm * 100, f"{size.many:,} sessions, {size.idle:.0f} s")
    return Given([Figure("memory", side.memory / 1024, f"{size.many:,} sessions"), spent], {})


def storm(stand: Stand, size: Size, step: Step) -> Given:
    """Everyone is cut off at once and comes back."""
    side = stand.gateway("gateway", size.most)
    connect([side], step)
    times = []
    for number in range(size.rounds):
        step(f"storm {number + 1} of {size.rounds}")
        time.sleep(size.pause)
        times.append(float(side.say("storm")["seconds"]))
    finish([side], step)
    detail = f"{size.most:,} sessions, {len(times)} storms, at worst {max(times):.1f} s"
    return Given([Figure("storm", statistics.median(times), detail)], {"seconds": times})


def stalled(stand: Stand, size: Size, step: Step) -> Given:
    """Some read nothing any more; how that is for the others, beside a gateway where everybody reads."""
    # Who reads nothing answers no ping; without heartbeats nobody is cut off for it while it is measured.
    calm = stand.gateway("everybody reads", size.many, GATEWAY_LISTEN__PING_SECONDS="3600")
    held = stand.gateway("some do not", size.many, "--slow", str(size.stalled), GATEWAY_LISTEN__PING_SECONDS="3600")
    connect([calm, held], step)
    held.say("stall")
    take_turns([calm, held], size.rounds * 2, size.pause, step)
    held.say("resume")
    finish([calm, held], step)
    times = {side.title: [each.seen["receipt"]["p99"] for each in side.turns] for side in (calm, held)}
    left, right = (statistics.median(times[side.title]) for side in (held, calm))
    detail = f"{size.stalled} of {size.many:,} stalled; event to receipt, {left * 1e3:.0f} ms to {right * 1e3:.0f} ms"
    return Given([Figure("stalled", left / right, detail)], times)


def coverage(stand: Stand, size: Size, step: Step) -> Given:
    """An auditor asks for everything about everyone, while others want an answer, too."""
    # Everyone receives and nobody acknowledges, so that both can be asked for: all proved, and no one.
    side = stand.gateway("gateway", size.many, "--levels", "received", GATEWAY_NOTICES__DEADLINE_SECONDS="600")
    connect([side], step)
    for number in range(size.notices):
        step(f"notice {number + 1} of {size.notices}")
        side.say("go")
    desk, probe = Desk(side.place / "gateway.toml"), stand.probe(side)
    probe.hear()
    path, raw, length = desk.coverage(), dict[str, list[float]](), dict[str, int]()
    for level in ("received", "acknowledged"):
        for number in range(size.rounds + WARM_UP):
            step(f"coverage of {level}, {number + 1} of {size.rounds + WARM_UP}")
            time.sleep(size.pause)
            probe.go()
            time.sleep(0.1)
            began = time.perf_counter()
            length[level] = len(desk.ask(f"{path}&level={level}").content)
            seconds = time.perf_counter() - began
            probe.go()
            longest = float(probe.hear()["longest"])
            if number >= WARM_UP:
                raw.setdefault(level, []).append(seconds)
                raw.setdefault(f"{level}: longest", []).append(longest)
    finish([side], step)
    middle = {name: statistics.median(values) * 1e3 for name, values in raw.items()}
    proved = f"{middle['received']:.0f} ms where all have proved all"
    stall = max(raw["acknowledged: longest"]) * 1e3
    figures = [
        Figure(
            "coverage", middle["acknowledged"], f"nobody has proved anything, {length['acknowledged']:,} B; {proved}"
        ),
        Figure(
            "coverage_stall",
            middle["acknowledged: longest"],
            f"the longest answer of /healthz, at worst {stall:.1f} ms",
        ),
    ]
    return Given(figures, raw)


def workers(stand: Stand, size: Size, step: Step) -> Given:
    """More than one process can hold, on two workers that share the port."""
    if not serves_by_workers():
        raise NotOffered("`gateway serve` has no --workers")
    side = stand.workers(2, size.workers)
    raw = _compare([side], size, step)
    told = f"{size.workers:,} sessions, last receipt after {side.median('last_receipt') * 1e3:.0f} ms"
    return Given([Figure("workers", side.cost() * 1e6, told)], raw)


WORKLOADS: Final[Mapping[str, Callable[[Stand, Size, Step], Given]]] = {
    each.__name__: each
    for each in (call, rate, lag, meeting, meetings, growth, idle, storm, stalled, coverage, workers)
}
"""All of them, by name, in the order in which they run."""

BESIDE: Final = frozenset({"call"})
"""Those with yardsticks."""

UNPINNED: Final = frozenset({"workers"})
"""Those that take every core there is."""
