"""The table of what must be reached and what was, for a terminal and for docs/performance.md.

Rules: the document's part between the two markers is made here and by nobody else, what stands around it is written by
hand and kept to the letter; a run of some workloads replaces their rows and leaves the others, each with its own date.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console
from rich.table import Table

from benching.figures import BOUNDS, Bound, Figure, Result, shown

BEGIN: Final = "<!-- scripts/bench writes from here -->"
END: Final = "<!-- scripts/bench writes to here -->"
HEADER: Final = ("figure", "measured", "made of", "must", "aim", "reached")
WORDS: Final = {"aim": "aim", "must": "must", "missed": "**no**", "": ""}


class ReportBroken(Exception):
    """The document has no place for the table; the text says what is missing."""


def rows(results: Mapping[str, Result]) -> Iterator[tuple[str, ...]]:
    """The cells of the table, a row for each figure that was measured."""
    for bound in BOUNDS:
        result = results.get(bound.workload)
        for figure in result.figures if result else ():
            if figure.key == bound.key:
                yield _row(bound, figure)


def _row(bound: Bound, figure: Figure) -> tuple[str, ...]:
    sign = "≥" if bound.least else "≤"
    must, aim = ("" if each is None else f"{sign} {shown(each, bound.unit)}" for each in (bound.must, bound.aim))
    reached = WORDS[bound.judge(figure.value)]
    return bound.title, shown(figure.value, bound.unit), figure.detail, must, aim, reached


def table(results: Mapping[str, Result]) -> str:
    """The part of the document that is made here, markers and all."""
    lines = [BEGIN, "", "| " + " | ".join(HEADER) + " |", "|---" * len(HEADER) + "|"]
    lines += ["| " + " | ".join(cells) + " |" for cells in rows(results)]
    lines += ["", "Where, when and how each workload was measured:", ""]
    for name, each in results.items():
        versions = ", ".join(f"{program} {version}" for program, version in each.versions.items())
        lines.append(f"- **{name}**: `{each.command}`, {each.at}, {each.seconds:.0f} s; {each.machine}; {versions}")
    return "\n".join([*lines, "", END])


def write(document: Path, results: Mapping[str, Result]) -> None:
    """Put the table into its place in `document`. Raises ReportBroken where that has no markers, in order."""
    text = document.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ReportBroken(f"{document} has no part between {BEGIN} and {END}")
    document.write_text(before + table(results) + after, encoding="utf-8")


def read(file: Path) -> dict[str, Result]:
    """The results kept in `file`, by workload; none where it is not there."""
    if not file.exists():
        return {}
    return {each.workload: each for each in msgspec.json.decode(file.read_bytes(), type=list[Result])}


def keep(file: Path, results: Mapping[str, Result]) -> None:
    """Keep the results in `file`, for `read`."""
    file.write_bytes(msgspec.json.format(msgspec.json.encode(list(results.values())), indent=1) + b"\n")


def ordered(results: Mapping[str, Result], names: Sequence[str]) -> dict[str, Result]:
    """The results in the order of the workloads' names."""
    return {name: results[name] for name in names if name in results}


def show(console: Console, results: Mapping[str, Result]) -> None:
    """The same for a person."""
    made = Table()
    for title in HEADER:
        made.add_column(title, justify="left" if title in ("figure", "made of") else "right")
    for cells in rows(results):
        *most, reached = (cell.replace("`", "").replace("**", "") for cell in cells)
        made.add_row(*most, f"[red]{reached}[/red]" if reached == "no" else reached)
    console.print(made)
    for each in results.values():
        console.print(f"{each.workload}: {each.seconds:.0f} s; {each.machine}", highlight=False)
