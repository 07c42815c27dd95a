"""What commands share: the options they have in common, and the way to the gateway that runs.

Rules: an option means the same in every command that has it; who asks the running gateway finds it by the note it
left beside its data. Heavy rooms are imported when they are needed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from gateway.settings import Settings

if TYPE_CHECKING:
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


def running(settings: Settings) -> ControlClient:
    """The gateway that runs on these settings' data. Raises `NotRunning` if none left its note."""
    from gateway import keys, ready
    from gateway.outbound import ControlClient, NotRunning

    note = ready.read(settings.storage.directory)
    if note is None:
        raise NotRunning(f"no gateway runs on {settings.storage.directory}; start it with `gateway serve`")
    return ControlClient(note.control, keys.control_token(settings))
