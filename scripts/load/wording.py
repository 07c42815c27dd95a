"""How the figures of a load are said to people: units, rounding, and what the load says of itself.

Rules: one place for all that is shown, so that table, page and comparison say the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def said(name: str, value: float) -> str:
    """A figure of findings with its unit."""
    if name == "seconds":
        return f"{value:.2f} s"
    if name.startswith("memory"):
        return f"{value / 1024:.2f} KiB"
    if "CPU per" in name:
        return f"{value * 1e6:.1f} µs"
    if "CPU" in name or "without a core" in name:
        return f"{value:.0%}"
    if "per second" in name or "in a second" in name:
        return f"{value:,.0f}"
    return f"{value * 1e3:,.2f} ms" if value < 0.1 else f"{value * 1e3:,.0f} ms"


def title(found: Mapping[str, Any]) -> str:
    """What the load was."""
    plan = found["plan"]
    calls = "one call" if plan["calls"] == 1 else f"{plan['calls']:,} calls"
    return f"{plan['sessions']:,} sessions in {calls}, {plan['processes']} process(es) of the load"


def machine(found: Mapping[str, Any]) -> str:
    """On what it ran."""
    about, versions = found["machine"], found["versions"]
    cores = f"server on {about['cores of the server'] or '?'}, load on {about['cores of the load']}"
    return (
        f"{about['processor']}, {about['cores']} cores ({cores}), Linux {about['kernel']}, load average before "
        f"{about['load average before']}; " + ", ".join(f"{name} {each}" for name, each in versions.items())
    )


def verdict(found: Mapping[str, Any]) -> list[str]:
    """What must be said: what is not proved, what went wrong on the way, what the load did to its own figures."""
    lines = [f"NOT PROVED: {each}." for each in found["unproved"]]
    covered = found["coverage"]
    if not lines and covered is not None:
        lines.append(
            f"Everything is proved: coverage counts {covered['proved']:,} of {covered['owed']:,}, without a gap."
        )
    elif not lines:
        lines.append("Everyone heard everything; the server keeps no coverage that could be asked.")
    for phase in found["phases"]:
        for fault, count in sorted(phase["faults"].items()):
            lines.append(f"{phase['name']}: {count} × {fault}.")
    held = [f"The load itself held things up: {each}." for each in found["bottleneck"]]
    return lines + (held or ["The load was not the bottleneck."])
