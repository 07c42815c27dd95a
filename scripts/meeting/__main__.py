"""`scripts/demo`: starts a gateway, runs the meeting, shows what came of it, and with `--once` judges it.

Rules: whatever happens, every process is ended and the temporary directory removed; exits 0 when every figure is as
the scenario demands, 1 when one is not or the meeting could not go on, 2 on bad usage, 130 when interrupted.
"""

from __future__ import annotations

import asyncio
import io
import signal
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import click
import httpx
from rich.console import Console

from . import audit, evidence, figures, living, report
from .cast import cast
from .control import Control
from .narrator import Narrator
from .processes import DemoFailed, Gateway
from .story import Meeting

SETTINGS: Final = {
    "GATEWAY_LISTEN__ADDRESS": "127.0.0.1:0",
    "GATEWAY_CONTROL__ADDRESS": "127.0.0.1:0",
    "GATEWAY_NOTICES__DEADLINE_SECONDS": "2",
}
"""What differs from the configuration that `gateway init` writes."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--once", is_flag=True, help="End after the meeting; exit 1 if any figure is not as it must be.")
@click.option(
    "--silent",
    type=click.IntRange(0, 5),
    default=1,
    show_default=True,
    help="How many people never acknowledge; the figures demand 1.",
)
def main(*, once: bool, silent: int) -> None:
    """Run a meeting of 26 external users in two regions through a real gateway, and show who was told what."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal that cannot show a sign gets a question mark, not a traceback.
        sys.stdout.reconfigure(errors="replace")
    try:
        with tempfile.TemporaryDirectory(prefix="gateway-demo-") as directory:
            home = Path(directory).resolve()
            status = asyncio.run(_run(Console(highlight=False), home, once=once, silent=silent))
    except (KeyboardInterrupt, asyncio.CancelledError):
        status = 130
    except DemoFailed as failure:
        click.echo(f"demo: {failure}", err=True)
        status = 1
    sys.exit(status)


async def _run(console: Console, home: Path, *, once: bool, silent: int) -> int:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with AsyncExitStack() as stack:
        narrator = Narrator(console)
        gateway = await Gateway.start(home, SETTINGS)
        stack.push_async_callback(gateway.stop)
        narrator.tell(f"A gateway serves regions europe and unitedstates at {gateway.websocket}.")
        control = await stack.enter_async_context(Control(gateway.control, home / "keys"))
        meeting = Meeting(gateway, control, cast(silent), narrator, home / "clients.log")
        stack.push_async_callback(meeting.stop)
        try:
            await meeting.run()
            found = await evidence.gather(meeting, control, narrator, home)
            audited = await audit.examine(gateway, home / "auditor")
            searched = await asyncio.to_thread(audit.search, home / audit.PACK, meeting.people)
        except (httpx.HTTPError, DemoFailed) as error:
            raise DemoFailed(
                f"{error or type(error).__name__}; the gateway last logged: {gateway.last_word()}"
            ) from error
        report.show(console, found)
        report.show_spoken(console, "The evidence, verified in an empty directory", audited)
        report.show_searched(console, searched)
        judged = [*figures.judge(found), *audit.figures(audited, searched)]
        if once:
            judged += figures.ending(await meeting.stop(), await gateway.stop())
            books = await audit.close_the_books(gateway)
            report.show_spoken(console, "The ledgers, after the gateway has ended", books)
            judged += audit.closing_figures(books)
        right = report.show_figures(console, judged)
        if not once:
            await _stay(console, gateway, control, home)
        return 0 if right else 1


async def _stay(console: Console, gateway: Gateway, control: Control, home: Path) -> None:
    """Leave everything running until Ctrl-C. Raises DemoFailed if the gateway ends first."""
    await living.show_how_to_connect(console, gateway, control, home)
    try:
        status = await gateway.ended()
    except asyncio.CancelledError:
        console.print("Stopping.")
        return
    raise DemoFailed(f"the gateway ended by itself with {status}; it last logged: {gateway.last_word()}")


if __name__ == "__main__":
    main()
