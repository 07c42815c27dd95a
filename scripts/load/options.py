"""The command line of `scripts/load_test`.

Rules: what it takes is a `Plan`, where to write, or two files to compare; everything has a default that works.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from .plan import LEVELS

_FILE: Final = click.Path(path_type=Path, dir_okay=False)
_COUNT: Final = click.IntRange(0)
_SOME: Final = click.IntRange(1)
_SECONDS: Final = click.FloatRange(0.0)


def levels_of(context: click.Context, parameter: click.Parameter, value: str) -> tuple[str, ...]:
    """The levels in a list with commas, in their order."""
    named = value.split(",")
    if not set(named) <= set(LEVELS):
        raise click.BadParameter(f"give some of {', '.join(LEVELS)}, with commas")
    return tuple(level for level in LEVELS if level in named)


def _option(*names: str, text: str, **more: Any) -> click.Option:
    shown = more.get("default") is not None and not more.get("is_flag")
    return click.Option(list(names), help=text, show_default=shown, **more)


def _target() -> list[click.Option]:
    return [
        _option(
            "--config", type=_FILE, default=Path("gateway.toml"), text="Configuration of the running gateway to load."
        ),
        _option("--yardstick", metavar="URL", text="Load a server that speaks the same frames at URL instead."),
        _option("--receipts/--no-receipts", default=True, is_flag=True, text="Whether it gives receipts."),
        _option("--ask-tokens", is_flag=True, text="Ask the gateway for every token, though the key is at hand."),
        _option("--metrics/--no-metrics", default=True, is_flag=True, text="Read its metrics once a second."),
    ]


def _sessions() -> list[click.Option]:
    return [
        _option("--sessions", type=_SOME, default=1000, text="Sessions, each of a participant of its own."),
        _option("--calls", type=_SOME, default=1, text="Calls they are spread over."),
        _option("--participants", type=_SOME, text="Participants in each call; decides --calls."),
        _option("--clients", type=_COUNT, default=0, text="How many are real gateway.client clients."),
        _option("--slow", type=_COUNT, default=0, text="How many stop reading while notices flow."),
        _option("--processes", type=_SOME, default=1, text="Processes that hold the sessions."),
        _option("--at-once", type=_SOME, default=256, text="Connections being opened at any time."),
        _option("--ramp", type=_SECONDS, default=0.0, text="Connections a second; 0 is as fast as it goes."),
    ]


def _notices() -> list[click.Option]:
    return [
        _option("--notices", type=_COUNT, default=10, text="Notices in every call."),
        _option("--every", type=_SECONDS, default=1.0, text="Seconds from one in a call to the next there."),
        _option("--together", is_flag=True, text="In all calls at the same moment, not one after the other."),
        _option(
            "--levels",
            default="acknowledged",
            callback=levels_of,
            text=f"What everyone confirms, with commas: {', '.join(LEVELS)}.",
        ),
        _option("--think", type=_SECONDS, default=0.0, text="Seconds before each level beyond received, on average."),
        _option(
            "--jitter", type=click.FloatRange(0.0, 1.0), default=0.5, text="How far thinking is off that, as a share."
        ),
        _option("--drops", type=_SECONDS, default=0.0, text="Sessions cut off a second while notices flow."),
        _option("--back", type=_SECONDS, default=5.0, text="Seconds until such a session is back, at most."),
        _option("--storms", type=_COUNT, default=0, text="How often all are cut off at once and come back."),
    ]


def _results() -> list[click.Option]:
    return [
        _option("--json", "json_file", type=_FILE, text="Write everything that was found there."),
        _option("--html", "html_file", type=_FILE, text="Write a page with plots there, complete in itself."),
        _option("--compare", nargs=2, type=_FILE, text="Load nothing; compare what two --json wrote: A, B."),
        _option("--lockstep", is_flag=True, text="For another program: it says when, line by line."),
        _option("--values", is_flag=True, text="In lockstep, say each time by itself, too."),
    ]


def command(run: Callable[..., None], text: str) -> click.Command:
    """The command line, which calls `run`."""
    return click.Command(
        "load_test",
        params=[*_target(), *_sessions(), *_notices(), *_results()],
        callback=run,
        help=text,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
