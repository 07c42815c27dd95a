"""The commands `gateway backup` and `gateway restore`: regions' files copied away, and taken back.

Rules: the files are read and written here, by whoever may do so anyway, and never through the control API, whose bearer
must not get to write anywhere; the work is `storage`'s.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from gateway.cli.asking import config_option
from gateway.config import load
from gateway.settings import Settings
from storage.premises import Premises

_directory = click.argument("directory", type=click.Path(path_type=Path, readable=False), metavar="DIR")
_regions = click.option(
    "--region", "names", multiple=True, metavar="R", help="This region only; may be repeated (all regions)."
)


@click.command()
@_directory
@_regions
@config_option
def backup(directory: Path, names: tuple[str, ...], config: Path) -> None:
    """Copy each region's file to DIR/<region>/region.db, whether a gateway runs or not; keys are not copied."""
    from storage.backup import back_up

    settings = load(config, os.environ)
    regions = _chosen(settings, names)
    _check_apart(settings, directory)
    for copied in back_up(regions, directory):
        click.echo(f"wrote {copied.path}: {copied.entries} entries, checkpoint of {copied.signed}")


@click.command()
@_directory
@_regions
@config_option
def restore(directory: Path, names: tuple[str, ...], config: Path) -> None:
    """Take DIR/<region>/region.db for good, where the newer file is lost; no gateway may run.

    The ledger goes on from there, in a new epoch, and says so.
    """
    from storage.restore import restore

    settings = load(config, os.environ)
    chosen = [each.name for each in _chosen(settings, names)]
    regions = _chosen(settings, ())
    at = datetime.now(UTC)
    for each in restore(regions, chosen, directory, ledger=settings.ledger.name, at=at):
        missing = "an unknown number" if each.missing is None else each.missing
        click.echo(f"restored {each.path}: {each.entries} entries, {missing} missing, epoch {each.epoch}")


def _chosen(settings: Settings, names: Sequence[str]) -> list[Premises]:
    """The premises of these regions, or of all. Raises UsageError for a region that is not configured."""
    for name in names:
        if name not in settings.regions:
            raise click.UsageError(f"--region {name} is not in the configuration; it has {', '.join(settings.regions)}")
    storage = settings.storage
    return [
        Premises(name, storage.directory / name, storage.key_directory / name)
        for name in sorted(set(names) or settings.regions)
    ]


def _check_apart(settings: Settings, directory: Path) -> None:
    place = directory.resolve()
    for other in (settings.storage.directory.resolve(), settings.storage.key_directory.resolve()):
        if place.is_relative_to(other) or other.is_relative_to(place):
            raise click.UsageError(f"DIR lies with {other}; name a directory apart from data and keys")
