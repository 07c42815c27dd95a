"""Living on: what to do with the gateway that is left running after the meeting.

Rules: what is to be copied is printed whole, on lines of its own that are never broken; every line works as printed.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.text import Text

from .cast import Person
from .control import Control
from .processes import Gateway
from .story import CALL

VISITOR: Final = Person("Visitor", "europe", 0x7F, "en")
_SNIPPET: Final = """\
import asyncio

from gateway.client import connect


async def main() -> None:
    async with connect(url, token=token) as client:
        async for notice in client.notices("{call}"):
            print(notice.text.title, notice.text.body)
            print(await notice.acknowledge())


asyncio.run(main())
"""


async def show_how_to_connect(console: Console, gateway: Gateway, control: Control, home: Path) -> None:
    """Say how to enter the meeting, how to ask about it, and how to end it. Raises DemoFailed."""
    token = await control.token(VISITOR.participant, CALL, VISITOR.name, 86_400)
    snippet = _SNIPPET.format(call=CALL)
    visitor = home / "visitor.py"
    visitor.touch(mode=0o600)
    visitor.write_text(f'url = "{gateway.websocket}"\ntoken = "{token}"\n\n{snippet}')
    control_token = (home / "keys" / "control.token").read_text().strip()
    command = Path(sys.executable).with_name("gateway")

    console.print()
    console.rule("The gateway goes on running, and transcription is still on", style="dim")
    _say(console, "WebSocket (notices.v1.json)", gateway.websocket)
    _say(console, f"a client's token for the call {CALL}, good for a day", token)
    _say(console, "in Python, with url and token as above", *snippet.rstrip().splitlines())
    _say(console, "the same, ready to run: you are told at once that you are being transcribed")
    _copy(console, f"{sys.executable} {visitor}")
    _say(console, "control API and its token", gateway.control, control_token)
    _say(console, "who is told by now", f"{command} coverage {CALL} --config {home / 'gateway.toml'}")
    url = f"{gateway.control}/v1/calls/{CALL}/coverage"
    _copy(console, f"curl -H 'Authorization: Bearer {control_token}' {url}")
    console.print()
    console.print(Text("Ctrl-C stops it and removes everything it wrote.", style="bold"))


def _say(console: Console, what: str, *lines: str) -> None:
    console.print()
    console.print(Text(f"{what}:", style="dim"))
    for line in lines:
        _copy(console, line)


def _copy(console: Console, line: str) -> None:
    console.print(Text(line), soft_wrap=True)
