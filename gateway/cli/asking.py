"""What commands share: the options they have in common, and the way to the gateway that runs.

Rules: an option means the same in every command that has it; who asks the running gateway finds it by the note it
left beside its data. Heavy rooms are imported when they are needed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import click

from gateway.settings import Settings

if TYPE_CHECKING:
    from gateway.house import House
    from gateway.outbound import ControlClient

LEVELS: Final = ("received", "displayed", "acknowledged", "consented")
"""The levels a participant can owe."""


def _named(_: click.Context, __: click.Parameter, call: str) -> str:
    if not call:
        raise click.UsageError("CALL is empty; name the call")
    return call


call_argument = click.argument("call", callback=_named)
config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=Path("gateway.toml"),
    envvar="GATEWAY_CONFIG",
    show_default=True,
    help="The configuration file.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
organization_option = click.option("--organization", help="Whose call, where several have one of this id.")


T = TypeVar("T")


def either(
    settings: Settings,
    ask: Callable[[ControlClient], T],
    do: Callable[[House], Awaitable[T]],
    *,
    whole: bool = False,
) -> T:
    """What the gateway that runs answers to `ask`, or where none runs what `do` does with the regions themselves.

    `whole` says that it takes every region, one that cannot be opened too. Raises what they raise.
    """
    from gateway.outbound import NotRunning

    try:
        return ask(running(settings))
    except NotRunning:
        return asyncio.run(_alone(settings, do, whole))


async def _alone(settings: Settings, do: Callable[[House], Awaitable[T]], whole: bool) -> T:
    from gateway import app

    async with app.offline(settings) as house:
        if whole:
            house.demand(house.refused)
        return await do(house)


def running(settings: Settings) -> ControlClient:
    """The gateway that runs on these settings' data. Raises `NotRunning` if none left its note."""
    from gateway import keys, ready
    from gateway.outbound import ControlClient, NotRunning

    note = ready.read(settings.storage.directory)
    if note is None:
        raise NotRunning(f"no gateway runs on {settings.storage.directory}; start it with `gateway serve`")
    return ControlClient(note.control, keys.control_token(settings))
