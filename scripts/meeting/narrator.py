"""The narrator: says what happens while it happens, with a bar for whatever is being waited for.

Rules: on a terminal the bar is live and goes away; into a pipe or a file only whole lines are written, without
control characters.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table
from rich.text import Text


class Narrator:
    """Tells one meeting on one console."""

    def __init__(self, console: Console) -> None:
        self.console: Final = console
        self._began: Final = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began

    def tell(self, text: str, *, style: str = "") -> None:
        """One thing that happened, with the time since the beginning."""
        line = Table.grid(padding=(0, 2))
        line.add_column(justify="right", width=6, style="dim", no_wrap=True)
        line.add_column()
        line.add_row(f"{self.elapsed:.1f} s", Text(text, style=style))
        self.console.print(line)

    @contextmanager
    def waiting(self, what: str, total: int) -> Iterator[Callable[[int], None]]:
        """Show how much of `total` is there, until the block ends."""
        live = self.console.is_terminal and not self.console.is_dumb_terminal
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(24), MofNCompleteColumn())
        with Progress(*columns, console=self.console, transient=True, disable=not live) as progress:
            task = progress.add_task(what, total=total)
            yield lambda done: progress.update(task, completed=done)
