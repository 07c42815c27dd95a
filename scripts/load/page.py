"""A load's findings as one HTML file: tables, plots, and what must be said; nothing outside of it is needed.

Rules: everything that is not ours is escaped; plots are inlined; no script.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

from . import plots
from .show import compared, names
from .wording import machine, said, title, verdict

_STYLE: Final = """body{font:15px/1.45 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.2rem .8rem;border-bottom:1px solid #ddd;text-align:right}
td:first-child,th:first-child{text-align:left}svg{max-width:100%;height:auto}code{overflow-wrap:anywhere}
.bad{color:#a00;font-weight:600}"""
_TIMES: Final = ("frame", "receipt", "confirm")
_PANELS: Final = {
    "a second": {"notices told": "heard", "notices proved": "proved"},
    "ms": {"server loop's lag p99": "lag_p99", "at most": "lag_max", "own loop's lag at most": "load_lag"},
    "cores": {"server": "server_cpu", "busiest process of the load": "load_cpu"},
}


def page(found: Mapping[str, Any]) -> str:
    """The page of one load."""
    phases = found["phases"]
    rows = [
        [name, *(said(name, each["figures"][name]) if name in each["figures"] else "" for each in phases)]
        for name in names(phases)
    ]
    drawn = [plots.courses(found["rows"], _PANELS)] if found["rows"] else []
    for phase in phases:
        kinds = [kind for kind in (*_TIMES, "connect") if kind in phase["histograms"]]
        if kinds:
            drawn.append(plots.percentiles({"": found}, phase["name"], kinds))
    lines = "".join(
        f'<p class="{"bad" if each.startswith(("NOT", "The load itself")) else "good"}">{escape(each)}</p>'
        for each in verdict(found)
    )
    body = lines + _table(["", *(each["name"] for each in phases)], rows) + "".join(drawn) + _about("", found)
    return _whole(title(found), body)


def comparison(left: Mapping[str, Any], right: Mapping[str, Any]) -> str:
    """The page of two loads, A and B."""
    parts = []
    for phase, rows in compared(left, right):
        parts.append(f"<h2>{escape(phase)}</h2>" + _table(["", "A", "B", "B / A"], rows))
        for kind in (*_TIMES, "connect"):
            if all(
                each["name"] != phase or kind in each["histograms"]
                for found in (left, right)
                for each in found["phases"]
            ):
                parts.append(plots.percentiles({"A": left, "B": right}, phase, [kind]))
    return _whole("How many times A is B", "".join(parts) + _about("A: ", left) + _about("B: ", right))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(each)}</th>" for each in head)
    lines = ("".join(f"<td>{escape(each)}</td>" for each in row) for row in rows)
    return f"<table><tr>{top}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def _about(name: str, found: Mapping[str, Any]) -> str:
    return (
        f"<p>{escape(name)}<code>{escape(found['command'])}</code><br>{escape(machine(found))}<br>"
        f"{escape(found['at'])}</p>"
    )


def _whole(heading: str, body: str) -> str:
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(heading)}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{escape(heading)}</h1>{body}</body></html>\n"
    )
