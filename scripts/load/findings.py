"""What came of a load, as plain data: the form of `--json`, which the table, the page and the comparison read.

Rules: times in seconds, memory in bytes, processor time in seconds; every histogram is there whole; a figure that was
not measured is absent, never 0.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from .drive import Phase
from .histogram import Histogram
from .metrics import quantile
from .plan import Plan
from .targets import Covered, LoadFailed
from .watching import Row

FORMAT: Final = 1
BUSY: Final = 0.9
"""Share of a core from which on a process of the load counts as what held things up."""
CROWDED: Final = 0.25
"""Share of a second without a core from which on the machine counts as too busy for its figures."""

Findings = dict[str, Any]

TIMES: Final = {
    "frame": "event → frame",
    "receipt": "event → receipt",
    "confirm": "ack → receipt",
    "connect": "connect → state",
    "lag": "own loop's lag",
}
"""The histograms, by kind."""


def findings(
    plan: Plan, phases: Sequence[Phase], rows: Sequence[Row], covered: Covered | str | None, about: Mapping[str, Any]
) -> Findings:
    """Everything that is known at the end."""
    told = [_phase(each, plan, [row for row in rows if row.phase == each.name]) for each in phases]
    return {
        "format": FORMAT,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        **about,
        "plan": {name: value if isinstance(value, int | float | bool) else str(value) for name, value in _plan(plan)},
        "phases": told,
        "rows": [asdict(row) for row in rows],
        "coverage": covered._asdict() if isinstance(covered, Covered) else None,
        "bottleneck": [each for phase in told for each in _held_up(phase)],
        "unproved": _unproved(plan, phases, covered),
    }


def read(path: Path) -> Findings:
    """What was written to `path`. Raises LoadFailed if it is none of that."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise LoadFailed(f"{path}: cannot be read: {error}") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise LoadFailed(f"{path}: no findings of a load in the form of this version")
    return found


def histogram(phase: Mapping[str, Any], kind: str) -> Histogram:
    """One histogram of a phase of findings."""
    return Histogram.decode(phase["histograms"][kind])


def _plan(plan: Plan) -> list[tuple[str, Any]]:
    return [
        (name, ",".join(value) if name == "levels" else value)
        for name, value in vars(plan).items()
        if value is not None and name not in ("lockstep", "values")
    ]


def _phase(phase: Phase, plan: Plan, rows: Sequence[Row]) -> dict[str, Any]:
    figures = {"seconds": phase.seconds, **_coming(phase, plan), **_telling(phase, rows), **_spending(phase, rows)}
    for kind, each in phase.sum.histograms.items():
        if len(each):
            figures |= {f"{TIMES[kind]} {name}": value for name, value in each.parts().items()}
    return {
        "name": phase.name,
        "events": phase.told,
        "figures": figures,
        "counts": dict(phase.sum.counts),
        "faults": dict(phase.sum.faults),
        "histograms": {kind: each.encode() for kind, each in phase.sum.histograms.items() if len(each)},
    }


def _coming(phase: Phase, plan: Plan) -> dict[str, float]:
    if phase.name != "ramp":
        return {}
    figures = {"connections per second": plan.sessions / phase.seconds}
    if phase.resident_after:
        figures["memory per session"] = (phase.resident_after - phase.resident_before) / plan.sessions
    return figures


def _telling(phase: Phase, rows: Sequence[Row]) -> dict[str, float]:
    if not phase.told:
        return {}
    counts = phase.sum.counts
    proved = counts["proved"] + counts["caught up"]
    figures = {
        "notices per second": counts["heard"] / phase.seconds,
        "proofs per second": proved / phase.seconds,
        "most proofs in a second": max((row.proved for row in rows), default=0.0),
    }
    if proved and phase.server_cpu:
        figures["server CPU per proved notice"] = phase.server_cpu / proved
    return figures


def _spending(phase: Phase, rows: Sequence[Row]) -> dict[str, float]:
    figures = dict[str, float]()
    if phase.server_cpu:
        figures["server CPU"] = phase.server_cpu / phase.seconds
    if phase.lag:
        figures |= {f"server loop's lag {name}": quantile(phase.lag, part) for name, part in _LAGS.items()}
    if rows or phase.busiest:
        figures["load CPU"] = max([phase.busiest, *(row.load_cpu for row in rows)])
    if rows:
        figures["load without a core"] = max(row.load_waited for row in rows)
    return figures


_LAGS: Final = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "max": 1.0}


def _held_up(phase: Mapping[str, Any]) -> list[str]:
    """In which ways the load itself, or the machine, made the figures of this phase worse."""
    figures, said = phase["figures"], []
    if (share := figures.get("load CPU", 0.0)) >= BUSY:
        said.append(f"{phase['name']}: a process of the load used {share:.0%} of a core; give it --processes, or cores")
    if (share := figures.get("load without a core", 0.0)) >= CROWDED:
        said.append(f"{phase['name']}: a process of the load waited {share:.0%} of a second for a core")
    own, told = figures.get(f"{TIMES['lag']} p99", 0.0), figures.get(f"{TIMES['frame']} p99", 0.0)
    if told and own > told / 4:
        said.append(
            f"{phase['name']}: the load's own loop was up to {own * 1e3:.0f} ms late (p99), which is in the times"
        )
    return said


def _unproved(plan: Plan, phases: Sequence[Phase], covered: Covered | str | None) -> list[str]:
    """What should have been proved and was not; empty if the load found no fault."""
    said = []
    if not phases:
        return ["the load ended before its first phase"]
    last = phases[-1].sum
    if last.away:
        said.append(f"{last.away} sessions are not in their call")
    if last.unheard:
        said.append(f"{last.unheard} notices were not heard")
    if last.behind > last.unheard:
        said.append(f"{last.behind - last.unheard} notices were heard and not proved")
    told = sum(each.told for each in phases)
    if isinstance(covered, str):
        said.append(f"coverage could not be asked: {covered}")
    elif covered is not None:
        owed = told * plan.sessions / plan.calls
        if covered.proved != covered.owed or covered.owed != owed:
            why = ", ".join(f"{count} {reason}" for reason, count in sorted(covered.gaps.items()))
            said.append(
                f"coverage counts {covered.proved} proofs of {covered.owed} owed, and {owed:.0f} were told"
                + (f": {why}" if why else "")
            )
    return said
