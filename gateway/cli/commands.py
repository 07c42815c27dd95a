"""The command `gateway`: reads the command line, does one thing, and says in one line why it could not.

Rules: exit 0 on success, 2 on a refusal or bad usage, 1 where the answer itself is bad news; no traceback for
anything a user can cause; what needs a running gateway asks its control API, and only where none runs do the
commands that may take the regions' locks themselves. Heavy rooms are imported by the command that needs them.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import click
import msgspec
from msgspec.structs import replace

from gateway.cli.asking import LEVELS, call_argument, config_option, either, json_option, organization_option, running
from gateway.cli.backup import backup, restore
from gateway.cli.evidence import evidence
from gateway.cli.ledger import ledger
from gateway.cli.retention import retention
from gateway.config import ConfigError, load
from gateway.core.errors import GatewayError
from gateway.settings import MOST_WORKERS
from storage.errors import StorageError

if TYPE_CHECKING:
    from gateway.house import House

_DAY_SECONDS: Final = 24 * 3600


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="notification-gateway", message="%(version)s")
def cli() -> None:
    """Tells everyone in a call that it is being recorded or transcribed, and proves it."""


@cli.command()
@click.argument("directory", type=click.Path(path_type=Path), default=Path(), metavar="[DIR]")
def init(directory: Path) -> None:
    """Write gateway.toml, fresh keys and the data directory into DIR (here)."""
    from gateway.cli.init import initialise

    for path in initialise(directory):
        click.echo(f"wrote {path}")


@cli.command()
@click.option(
    "--workers",
    type=click.IntRange(0, MOST_WORKERS),
    metavar="N",
    help="Hold the sockets in N processes beside this one; 0: in this one (as configured).",
)
@config_option
def serve(workers: int | None, config: Path) -> None:
    """Run the gateway until SIGTERM; print one JSON line when it listens."""
    from gateway import app, log
    from gateway.loop import fastest_loop

    settings = load(config, os.environ)
    if workers is not None:
        settings = replace(settings, listen=replace(settings.listen, workers=workers))
    log.configure(settings.log.level)
    with asyncio.Runner(loop_factory=fastest_loop()) as runner:
        runner.run(app.serve(settings))


@cli.command()
@click.option("--participant", required=True, metavar="RAWID", help="Whose token: an ACS raw id.")
@click.option("--call", "calls", required=True, multiple=True, help="A call it is good for; may be repeated.")
@click.option("--ttl", type=click.IntRange(1, _DAY_SECONDS), default=3600, show_default=True, help="Seconds.")
@click.option("--observer", is_flag=True, help="Reports observations and owes nothing; may name call '*'.")
@click.option("--name", help="The display name.")
@config_option
def token(participant: str, calls: tuple[str, ...], ttl: int, observer: bool, name: str | None, config: Path) -> None:
    """Print a client token signed with the key beside the configured JWKS file."""
    from gateway import keys
    from gateway.core.residency import resource_of
    from gateway.core.tokens import mint, verify
    from gateway.core.types import Role

    settings = load(config, os.environ)
    if resource_of(participant) not in settings.resources:
        raise click.UsageError("--participant is no raw id of a configured resource (8:acs:<resource>_<user>)")
    if "*" in calls and not observer:
        raise click.UsageError("--call '*' is for observers; add --observer or name the calls")
    if not all(calls):
        raise click.UsageError("--call is empty; name the call")
    now = datetime.now(UTC)
    clients = settings.clients
    minted = mint(
        keys.signing_key(settings),
        issuer=clients.issuer,
        audience=clients.audience,
        participant=participant,
        calls=calls,
        now=now,
        expires_at=now + timedelta(seconds=ttl),
        role=Role.OBSERVER if observer else Role.PARTICIPANT,
        name=name,
    )
    try:
        verify(minted, keys.client_keys(settings), issuer=clients.issuer, audience=clients.audience, now=now)
    except GatewayError:
        raise ConfigError(
            f"{clients.jwks_file}: [clients] jwks_file: does not believe the private key beside it; "
            "add that key's public part"
        ) from None
    click.echo(minted)


@cli.command()
@json_option
@config_option
def calls(as_json: bool, config: Path) -> None:
    """List the open calls and what is on in each."""
    from gateway.cli import views

    gateway = running(load(config, os.environ))
    answer = gateway.get("/v1/calls")
    (views.show_json if as_json else views.show_calls)(answer)


@cli.command()
@call_argument
@click.option("--level", type=click.Choice(LEVELS), help="What counts as proof (as configured).")
@organization_option
@click.option("--wait", type=click.FloatRange(0, 300), default=0.0, help="Wait so many seconds for completeness.")
@json_option
@config_option
def coverage(call: str, level: str | None, organization: str | None, wait: float, as_json: bool, config: Path) -> None:
    """Show who was told what in CALL, with every gap, its reason and its length."""
    from gateway.cli import views

    settings = load(config, os.environ)
    wanted = level or settings.notices.require.value
    path = f"/v1/calls/{quote(call, safe='')}/coverage"
    answer = either(
        settings,
        lambda gateway: gateway.get(path, level=wanted, organization=organization, wait=wait or None),
        lambda house: _covered(house, call, organization, wanted),
    )
    (views.show_json if as_json else views.show_coverage)(answer)


@cli.group()
def residue() -> None:
    """Look for what must be gone."""


@residue.command()
@click.option(
    "--data",
    "directories",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A directory, whole: data, backups, temporary files, logs.",
)
@click.option("--pid", "pids", multiple=True, type=click.IntRange(1), help="A process: every file it has open.")
@click.option(
    "--needle-file",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What to look for, one a line.",
)
def scan(directories: tuple[Path, ...], pids: tuple[int, ...], needle_file: Path) -> int:
    """Look for each line of NEEDLE_FILE in files that must not hold it; exit 1 if any is found."""
    from gateway.cli.views import printable
    from storage.residue import scan as search
    from storage.residue import scan_process

    if not directories and not pids:
        raise click.UsageError("Missing option '--data' or '--pid': say where to look.")
    needles = [line for line in needle_file.read_bytes().splitlines() if line.strip()]
    if not needles:
        raise click.UsageError("--needle-file holds no needle; write one on each line")
    hits = [hit for each in directories for hit in search(each, needles)]
    hits += [hit for each in pids for hit in scan_process(each, needles)]
    for hit in hits:
        click.echo(f"{printable(hit.where)}: needle {hit.needle + 1} as {hit.form}")
    click.echo(f"{len(hits)} found" if hits else f"none of {len(needles)} needles found")
    return 1 if hits else 0


cli.add_command(backup)
cli.add_command(restore)
cli.add_command(evidence)
cli.add_command(ledger)
cli.add_command(retention)


async def _covered(house: House, call: str, organization: str | None, level: str) -> Any:
    from gateway.core.types import Level

    answer = msgspec.json.decode(b"".join(await house.answers.coverage(call, organization, Level(level), 0.0)))
    house.demand(answer.get("unserved", ()))
    return answer


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script: runs the command line and exits."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Does what `arguments` (the process's own) ask and returns the exit status."""
    try:
        result = cli.main(args=arguments, prog_name="gateway", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return 2
    except click.ClickException as error:
        return _refuse(error.format_message())
    except (click.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        # Whoever read our output has enough; closing it again at exit would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (GatewayError, StorageError, OSError) as error:
        return _refuse(_reason(error))
    except BaseExceptionGroup as group:
        return _refuse(_reason(_first_cause(group)))
    return result if isinstance(result, int) else 0


def _first_cause(group: BaseExceptionGroup[BaseException]) -> Exception:
    """The first error of `group` that a user can cause; a fault of ours among them is raised whole."""
    ours, faults = group.split((GatewayError, StorageError, OSError))
    if ours is None or faults is not None:
        raise group
    first: BaseException = ours
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    assert isinstance(first, Exception)
    return first


def _reason(error: Exception) -> str:
    if not isinstance(error, OSError):
        return str(error)
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or type(error).__name__}"


def _refuse(reason: str) -> int:
    line = "".join(each if each.isprintable() else " " for each in reason)
    click.echo(f"gateway: {' '.join(line.split())}", err=True)
    return 2
