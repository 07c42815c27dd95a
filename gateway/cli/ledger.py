"""The commands `gateway ledger …`: verify a region's ledger, and be an independent witness of one.

Rules: they need no gateway, configuration or network; the verdict is one line and its exit status that of
`storage.audit`; the checking is done there and nowhere else.
"""

from __future__ import annotations

import time
from pathlib import Path

import click

# What cannot be read is a verdict, by those who read it, and no bad usage.
_file = click.Path(path_type=Path, readable=False)
_keys = click.option(
    "--key",
    "keys",
    type=_file,
    required=True,
    multiple=True,
    metavar="VKEY_FILE",
    help="The key that signs the ledger: its verifier.vkey; may be repeated.",
)


@click.group()
def ledger() -> None:
    """Verify a region's ledger, or witness it."""


@ledger.command()
@click.argument("source", type=_file, metavar="DIR_OR_DB")
@_keys
@click.option(
    "--checkpoint",
    "checkpoints",
    type=_file,
    multiple=True,
    metavar="FILE",
    help="A checkpoint seen elsewhere, which the ledger must still continue; may be repeated.",
)
@click.option(
    "--witness",
    "witnesses",
    type=_file,
    multiple=True,
    metavar="VKEY_FILE",
    help="The key of a witness that must have cosigned the ledger; may be repeated.",
)
@click.option("--tsa", type=_file, metavar="CA_PEM", help="Whom to trust for the newest time stamp, and demand one.")
def verify(
    source: Path, keys: tuple[Path, ...], checkpoints: tuple[Path, ...], witnesses: tuple[Path, ...], tsa: Path | None
) -> int:
    """Check every entry, hash and signature of the ledger in DIR_OR_DB; exit 0, 10, 20, 30 or 40."""
    from storage.audit.judging import judge_ledger

    verdict = judge_ledger(source, keys, checkpoints=checkpoints, witnesses=witnesses, authorities=tsa)
    click.echo(verdict.line)
    return verdict.exit


@ledger.command("witness-key")
@click.argument("name")
@click.option("--out", type=_file, required=True, metavar="FILE", help="Where the private key goes; public: FILE.vkey.")
def witness_key(name: str, out: Path) -> None:
    """Make the key of an independent witness called NAME, like witness.example/w1; overwrite nothing."""
    from storage.audit.witness import make_key

    try:
        public = make_key(name, out)
    except ValueError as error:
        raise click.UsageError(f"NAME is none ({error})") from None
    click.echo(f"wrote {out}")
    click.echo(f"wrote {public}")


@ledger.command()
@click.argument("source", type=_file)
@_keys
@click.option(
    "--witness-key", type=_file, required=True, metavar="FILE", help="Our key, by `gateway ledger witness-key`."
)
@click.option("--state", type=_file, required=True, metavar="FILE", help="What was seen last; made at first.")
@click.option("--consistency", type=_file, metavar="FILE", help="With a checkpoint: the answer of /consistency.")
@click.option(
    "--out", type=_file, metavar="FILE", help="Where the cosigned checkpoint goes (standard output); a new file."
)
def cosign(
    source: Path, keys: tuple[Path, ...], witness_key: Path, state: Path, consistency: Path | None, out: Path | None
) -> int:
    """Cosign the newest checkpoint in SOURCE (DIR, database or checkpoint) if it continues the last one seen.

    Exit 20, 30 or 40, and one line on standard error, where it does not.
    """
    from storage.audit.offered import Misused
    from storage.audit.verdict import Refused
    from storage.audit.witness import cosign_files

    now = int(time.time())
    try:
        cosigned = cosign_files(source, keys, witness_key, state, seconds=now, consistency=consistency, out=out)
    except Refused as refused:
        click.echo(refused.verdict.line, err=True)
        return refused.verdict.exit
    except Misused as error:
        raise click.UsageError(str(error)) from None
    if cosigned.first:
        click.echo("seen for the first time: there was nothing to compare", err=True)
    if out is None:
        click.echo(cosigned.note, nl=False)
    return 0
