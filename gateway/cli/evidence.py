"""The commands `gateway evidence …`: write one call's evidence to a file, and check such a file.

Rules: exporting asks the running gateway, or where none runs takes the regions' locks; the file is written whole or not
at all, readable by its owner only, and nothing is overwritten. Checking needs no gateway, configuration or network,
and is done by `storage.audit` alone.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from urllib.parse import quote

import click

from gateway.cli.asking import LEVELS, call_argument, config_option, organization_option, running
from gateway.config import load
from gateway.settings import Settings
from storage.newfile import new_file

# What cannot be read is a verdict, by those who read it, and no bad usage.
_file = click.Path(path_type=Path, readable=False)


@click.group()
def evidence() -> None:
    """Write one call's evidence to a file, or check such a file."""


@evidence.command()
@call_argument
@click.option("--out", type=_file, required=True, metavar="FILE", help="Where it goes; a new file.")
@click.option(
    "--region",
    "regions",
    multiple=True,
    metavar="R",
    help="Name the people of this region only; may be repeated (all regions).",
)
@click.option("--level", type=click.Choice(LEVELS), help="What counts as proof (for each notice its own).")
@organization_option
@config_option
def export(
    call: str, out: Path, regions: tuple[str, ...], level: str | None, organization: str | None, config: Path
) -> None:
    """Write the evidence of CALL to one file: entries, proofs, signed checkpoints, and a report to read and print."""
    settings = load(config, os.environ)
    with new_file(out) as write:
        write(_pack(settings, call, organization, level, regions))
    click.echo(f"wrote {out}")


@evidence.command()
@click.argument("file", type=_file)
@click.option(
    "--key",
    "keys",
    type=_file,
    multiple=True,
    required=True,
    metavar="VKEY_FILE",
    help="The public keys of the ledgers it comes from; may be repeated.",
)
@click.option("--tsa", type=_file, metavar="CA_PEM", help="Whom to trust for its time stamps.")
def verify(file: Path, keys: tuple[Path, ...], tsa: Path | None) -> int:
    """Check every claim of the evidence pack FILE, with public keys alone; exits 0, 10, 20 or 40."""
    from storage.audit.judging import judge_pack

    judged = judge_pack(file, keys, authorities=tsa)
    click.echo(judged.line)
    return judged.exit


def _pack(
    settings: Settings, call: str, organization: str | None, level: str | None, regions: tuple[str, ...]
) -> bytes:
    """The pack, from the running gateway or else from the files."""
    from gateway.outbound import NotRunning

    query = [("region", region) for region in regions]
    query += [(name, value) for name, value in (("organization", organization), ("level", level)) if value is not None]
    try:
        return running(settings).download(f"/v1/calls/{quote(call, safe='')}/evidence", query)
    except NotRunning:
        return asyncio.run(_offline(settings, call, organization, level, regions))


async def _offline(
    settings: Settings, call: str, organization: str | None, level: str | None, regions: tuple[str, ...]
) -> bytes:
    from gateway import app
    from gateway.core.types import Level

    async with app.offline(settings) as house:
        asked = None if level is None else Level(level)
        return (await house.evidence.pack(call, organization, asked, regions or None)).data
