"""`scripts/load_test`: puts a load on a running gateway, shows how it fares, and says what was not proved.

Rules: exits 0 when everything was proved that should be, 1 when it was not or the load could not go on, 2 on bad
usage, 130 when interrupted; no process is left behind.
"""

from __future__ import annotations

import asyncio
import io
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click
import httpx
import uvloop
from rich.console import Console

from gateway.core.errors import GatewayError

from . import findings, lockstep, page, show
from .crew import Crew
from .drive import Drive
from .machine import command as typed
from .machine import machine, versions
from .options import command
from .plan import Plan
from .server import Server
from .targets import Covered, LoadFailed, Target
from .telling import Telling
from .watching import Watching

_TEXT: Final = "Put a load on a running gateway, show how it fares, and say what was not proved. See docs/load.md."


def main(
    *,
    participants: int | None,
    json_file: Path | None,
    html_file: Path | None,
    compare: tuple[Path, Path] | None,
    **wishes: Any,
) -> None:
    """Do what the command line asks for."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal that cannot show a sign gets a question mark, not a traceback.
        sys.stdout.reconfigure(errors="replace")
    try:
        status = 0
        if compare:
            _compare(compare, html_file)
        else:
            plan = Plan(**wishes)
            if participants:
                plan = replace(plan, calls=max(1, plan.sessions // participants))
            plan.check()
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                found = runner.run(_run(plan, plan.target()))
            if found is not None:
                _write(found, json_file, html_file)
                show.show(Console(), found)
                status = 1 if found["unproved"] else 0
    except (KeyboardInterrupt, asyncio.CancelledError):
        status = 130
    except httpx.HTTPError as error:
        click.echo(f"load_test: the server does not answer: {str(error) or type(error).__name__}", err=True)
        status = 1
    except (LoadFailed, GatewayError) as error:
        click.echo(f"load_test: {error}", err=True)
        status = 1
    sys.exit(status)


async def _run(plan: Plan, target: Target) -> findings.Findings | None:
    """The whole load; nothing is found in lockstep, where it was said. Raises LoadFailed."""
    await target.greet()
    calls = plan.names()
    telling, server = Telling(target, calls), Server([target.url, target.control])
    about = {"command": typed("scripts/load_test"), "machine": machine(server.cores()), "versions": versions()}
    crew = await Crew.start(plan.orders(target.url, calls, await target.tokens(plan.sessions, calls)))
    try:
        if plan.lockstep:
            await lockstep.obey(plan, target, crew, telling)
            return None
        with show.Progress() as progress:
            control = target.control if plan.metrics else ""
            watching = Watching(crew, server, control, lambda: telling.told, progress.show)
            drive = Drive(plan, crew, telling, server, watching)
            watched = asyncio.create_task(watching.run(), name="watching")
            try:
                await drive.run()
            finally:
                watched.cancel()
                await watching.close()
        try:
            covered: Covered | str | None = await target.cover(calls, plan.levels[-1])
        except httpx.HTTPError as error:
            covered = str(error) or type(error).__name__
        return findings.findings(plan, drive.phases, watching.rows, covered, about)
    finally:
        await crew.end()


def _write(found: Mapping[str, Any], json_file: Path | None, html_file: Path | None) -> None:
    if json_file:
        json_file.write_text(json.dumps(found, indent=1) + "\n")
    if html_file:
        html_file.write_text(page.page(found))


def _compare(files: tuple[Path, Path], html_file: Path | None) -> None:
    left, right = (findings.read(each) for each in files)
    show.compare(Console(), left, right)
    if html_file:
        html_file.write_text(page.comparison(left, right))


if __name__ == "__main__":
    command(main, _TEXT)()
