"""The plots of a load's page, as SVG that goes into HTML: the one place that knows the library.

Rules: the library is imported when a page is wanted, for it takes a second; nothing is fetched from anywhere; text
stays text.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

from .findings import TIMES, histogram

_NINES: Final = (0.0, 90.0, 99.0, 99.9, 99.99, 99.999)
Curve = tuple[str, Sequence[float], Sequence[float]]


def percentiles(findings: Mapping[str, Mapping[str, Any]], phase: str, kinds: Sequence[str]) -> str:
    """Times by percentile in one phase of each of `findings` (by name), a nine as wide as the next."""
    curves = list[Curve]()
    for name, found in findings.items():
        for each in found["phases"]:
            for kind in kinds:
                if each["name"] == phase and kind in each["histograms"]:
                    points = list(histogram(each, kind).curve())
                    across = [1.0 / (1.0 - percentile / 100.0) for percentile, _ in points]
                    curves.append((f"{name} {TIMES[kind]}".strip(), across, [value * 1e3 for _, value in points]))
    ticks = [(1.0 / (1.0 - nine / 100.0), f"{nine:g}") for nine in _NINES]
    return _draw(f"{phase}: times by percentile", "percentile", [("ms", curves)], nines=ticks)


def courses(rows: Sequence[Mapping[str, Any]], panels: Mapping[str, Mapping[str, str]]) -> str:
    """Rows over time: for each panel (by unit) its lines, row's field by name."""
    across = [row["at"] for row in rows]
    drawn = [
        (
            unit,
            [(name, across, [row[key] * (1e3 if unit == "ms" else 1) for row in rows]) for name, key in lines.items()],
        )
        for unit, lines in panels.items()
    ]
    return _draw("over time", "seconds", drawn)


def _draw(
    title: str,
    across: str,
    panels: Sequence[tuple[str, Sequence[Curve]]],
    *,
    nines: Sequence[tuple[float, str]] | None = None,
) -> str:
    import matplotlib as mpl  # noqa: PLC0415 - it takes a second, and most loads write no page
    from matplotlib.figure import Figure  # noqa: PLC0415 - likewise

    # The same findings make the same bytes.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "load", "font.size": 9.0}):
        figure = Figure(figsize=(9.0, 0.6 + 2.4 * len(panels)), layout="constrained")
        figure.suptitle(title)
        for number, (unit, curves) in enumerate(panels):
            axes = figure.add_subplot(len(panels), 1, number + 1)
            for name, x, y in curves:
                axes.plot(x, y, label=name, linewidth=1.2)
            if nines is not None:
                axes.set_xscale("log")
                axes.set_xticks([place for place, _ in nines], [name for _, name in nines])
                axes.minorticks_off()
            axes.set_ylim(bottom=0.0)
            axes.set_ylabel(unit)
            axes.grid(alpha=0.3)
            if curves:
                axes.legend(frameon=False)
        axes.set_xlabel(across)
        written = io.StringIO()
        figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None})
    # Within HTML there is no document type and no declaration.
    return written.getvalue().partition("<svg")[1] + written.getvalue().partition("<svg")[2]
