"""A load for people at a terminal: how it is going, and what came of it.

Rules: progress goes to standard error, and nowhere if that is no terminal; the result goes to standard output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from .watching import Row
from .wording import machine, said, title, verdict

_COLUMNS: Final = ("phase", "connected", "events", "told/s", "proved/s", "behind", "server CPU", "lag", "load CPU")


class Progress:
    """The latest second, while it is entered."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        self._live = Live(console=console, transient=True, auto_refresh=False) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, row: Row) -> None:
        """Put up another second."""
        if self._live is None:
            return
        table = Table(box=None)
        for name in _COLUMNS:
            table.add_column(name, justify="right")
        table.add_row(
            *(row.phase, f"{row.connected:,}", f"{row.told:,}", f"{row.heard:,.0f}", f"{row.proved:,.0f}"),
            *(f"{row.behind:,}", f"{row.server_cpu:.0%}", f"{row.lag_p99 * 1e3:.0f} ms", f"{row.load_cpu:.0%}"),
        )
        self._live.update(table, refresh=True)


def show(console: Console, found: Mapping[str, Any]) -> None:
    """The summary: one column a phase, then what must be said."""
    phases: Sequence[Mapping[str, Any]] = found["phases"]
    table = Table(title=title(found))
    table.add_column("")
    for phase in phases:
        table.add_column(phase["name"], justify="right")
    for name in names(phases):
        cells = [said(name, phase["figures"][name]) if name in phase["figures"] else "" for phase in phases]
        table.add_row(name, *cells)
    for name in sorted({name for phase in phases for name in phase["counts"]} - {"heard", "proved", "confirmed"}):
        table.add_row(name, *(f"{phase['counts'].get(name, 0):,}" for phase in phases))
    console.print(table)
    for each in (*verdict(found), machine(found), found["command"]):
        console.print(each, markup=False, highlight=False)


def compare(console: Console, left: Mapping[str, Any], right: Mapping[str, Any]) -> None:
    """Two findings next to each other, and how many times the second is the first."""
    table = Table(title="How many times A is B")
    for name in ("", "A", "B", "B / A"):
        table.add_column(name, justify="left" if not name else "right")
    for phase, rows in compared(left, right):
        table.add_section()
        table.add_row(f"[bold]{phase}[/bold]")
        for row in rows:
            table.add_row(*row)
    console.print(table)
    for name, found in (("A", left), ("B", right)):
        console.print(f"{name}: {found['command']}", f"   {machine(found)}", sep="\n", markup=False, highlight=False)


def names(phases: Sequence[Mapping[str, Any]]) -> list[str]:
    """The figures of any of these phases, in their order."""
    return list(dict.fromkeys(name for phase in phases for name in phase["figures"]))


def compared(left: Mapping[str, Any], right: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str, str, str]]]]:
    """For each phase that both have: (figure, A, B, ratio)."""
    others = {phase["name"]: phase["figures"] for phase in right["phases"]}
    found = []
    for phase in left["phases"]:
        if phase["name"] not in others:
            continue
        rows = []
        for name, value in phase["figures"].items():
            other = others[phase["name"]].get(name)
            if other is not None:
                rows.append((name, said(name, value), said(name, other), f"{other / value:.2f}" if value else "-"))
        found.append((phase["name"], rows))
    return found
