"""`scripts/load_test`: puts a load on a running gateway, shows how it fares, and says what was not proved.

Rules: exits 0 when everything was proved that should be, 1 when it was not or the load could not go on, 2 on bad
usage, 130 when interrupted; no process is left behind.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from pathlib import Path

import click
import httpx
import uvloop

from gateway.core.errors import GatewayError

from .crew import Crew
from .lockstep import obey
from .plan import LEVELS, Plan
from .targets import LoadFailed, Target
from .telling import Telling


def levels_of(context: click.Context, parameter: click.Parameter, value: str) -> tuple[str, ...]:
    """The levels in a list with commas, in their order."""
    named = value.split(",")
    if not named or not set(named) <= set(LEVELS):
        raise click.BadParameter(f"give some of {', '.join(LEVELS)}, with commas")
    return tuple(level for level in LEVELS if level in named)


def command() -> click.Command:
    """The command line."""
    options = [
        click.Option(
            ["--config"],
            type=click.Path(path_type=Path),
            default=Path("gateway.toml"),
            help="Configuration of the running gateway (gateway.toml).",
        ),
        click.Option(["--yardstick"], metavar="URL", help="Load a server that speaks the same frames at URL instead."),
        click.Option(["--receipts/--no-receipts"], default=True, help="Whether it gives receipts; a gateway does."),
        click.Option(["--sessions"], type=click.IntRange(1), default=1000, show_default=True),
        click.Option(
            ["--calls"], type=click.IntRange(1), default=1, show_default=True, help="Calls they are spread over."
        ),
        click.Option(["--participants"], type=click.IntRange(1), help="Participants in each call, instead of --calls."),
        click.Option(
            ["--clients"],
            type=click.IntRange(0),
            default=0,
            show_default=True,
            help="How many of the sessions are real gateway.client clients.",
        ),
        click.Option(["--processes"], type=click.IntRange(1), default=1, show_default=True),
        click.Option(
            ["--at-once"], type=click.IntRange(1), default=256, show_default=True, help="Connections being opened."
        ),
        click.Option(
            ["--levels"],
            default="acknowledged",
            show_default=True,
            callback=levels_of,
            help=f"What each session confirms of a notice, with commas: {', '.join(LEVELS)}.",
        ),
        click.Option(["--ask-tokens"], is_flag=True, help="Ask the gateway for the tokens though the key is here."),
        click.Option(["--lockstep"], is_flag=True, help="For another program; docs/load.md says how."),
        click.Option(["--values"], is_flag=True, help="In lockstep, say each time by itself, too."),
    ]
    return click.Command(
        "load_test",
        params=list[click.Parameter](options),
        callback=start,
        help=__doc__.partition("\n")[0] if __doc__ else "",
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def start(*, participants: int | None, **wishes: object) -> None:
    """Run the load that the command line asks for."""
    plan = Plan(**wishes)  # type: ignore[arg-type]  # click has checked each of them
    status = 0
    try:
        plan.check()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(plan, plan.target()))
    except (KeyboardInterrupt, asyncio.CancelledError):
        status = 130
    except (LoadFailed, GatewayError, httpx.HTTPError) as error:
        click.echo(f"load_test: {error or type(error).__name__}", err=True)
        status = 1
    sys.exit(status)


async def run(plan: Plan, target: Target) -> None:
    """The whole load. Raises LoadFailed."""
    calls = plan.names()
    crew = await Crew.start(plan.orders(target.url, calls, await target.tokens(plan.sessions, calls)))
    gc.freeze()
    try:
        telling = Telling(target, calls)
        await obey(plan, target, crew, telling)
        await settle(plan, target, crew, telling)
    finally:
        await crew.end()


async def settle(plan: Plan, target: Target, crew: Crew, telling: Telling) -> None:
    """The server's word, and the sessions' own, once it is over. Raises LoadFailed where they do not agree."""
    found = await crew.take()
    if found.behind or found.faults:
        raise LoadFailed(f"{found.behind} notices not proved; faults: {dict(found.faults)}")
    covered = await target.cover(telling.calls, plan.levels[-1])
    if covered is not None and covered.proved != telling.told * plan.sessions // plan.calls:
        raise LoadFailed(f"the gateway counts {covered.proved} proofs")


if __name__ == "__main__":
    command()()
