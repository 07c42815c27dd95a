"""The commands `gateway evidence …`: write one call's evidence to a file, and check such a file.

Rules: exporting asks the running gateway, or where none runs takes the regions' locks; the file is written whole or not
at all, readable by its owner only, and nothing is overwritten. Checking needs no gateway, configuration or network,
and is done by `storage.audit` alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote

import click

from gateway.cli.asking import LEVELS, config_option, organization_option, running
from gateway.config import load
from gateway.settings import Settings

_NO_LINKS: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
"""What a file system says that knows no second name for a file."""


@click.group()
def evidence() -> None:
    """Write one call's evidence to a file, or check such a file."""


@evidence.command()
@click.argument("call")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, metavar="FILE", help="Where it goes; a new file."
)
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
    with new_file(out) as aside:
        pack = _pack(settings, call, organization, level, regions)
        descriptor = os.open(aside, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "wb") as file:
            file.write(pack)
            file.flush()
            os.fsync(descriptor)
    click.echo(f"wrote {out}")


@evidence.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--key",
    "keys",
    type=click.Path(path_type=Path),
    multiple=True,
    required=True,
    metavar="VKEY_FILE",
    help="The public keys of the ledgers it comes from; may be repeated.",
)
@click.option("--tsa", type=click.Path(path_type=Path), metavar="CA_PEM", help="Whom to trust for its time stamps.")
def verify(file: Path, keys: tuple[Path, ...], tsa: Path | None) -> int:
    """Check every claim of the evidence pack FILE, with public keys alone; exits 0, 10, 20 or 40."""
    from storage.audit import pack
    from storage.audit.brought import read_verifiers
    from storage.audit.stamp import read_roots
    from storage.audit.verdict import Refused

    try:
        verifiers = read_verifiers(keys)
        judged = pack.verify(file, verifiers, roots=None if tsa is None else read_roots(tsa))
    except Refused as refused:
        judged = refused.verdict
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


@contextlib.contextmanager
def new_file(out: Path) -> Iterator[Path]:
    """A file beside `out` that takes its name when all went well, and is gone otherwise.

    Raises FileExistsError before anything is asked for if there is such a file, and OSError where none can be made.
    """
    if os.path.lexists(out):
        raise _exists(out)
    aside = out.with_name(f".{out.name[:200]}.{secrets.token_hex(8)}")
    os.close(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    try:
        yield aside
        try:
            # Unlike a rename, a link never replaces what somebody else wrote there meanwhile.
            os.link(aside, out)
        except FileExistsError:
            raise _exists(out) from None
        except OSError as error:
            if error.errno not in _NO_LINKS or os.path.lexists(out):
                raise
            aside.rename(out)
    finally:
        aside.unlink(missing_ok=True)


def _exists(out: Path) -> FileExistsError:
    return FileExistsError(errno.EEXIST, "exists and is not overwritten; give --out a new name", str(out))
