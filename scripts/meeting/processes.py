"""Processes: the gateway and the client groups, started, spoken to and ended.

Rules: each is a process of its own session, so that Ctrl-C reaches the demo alone, which then ends them in order;
tokens travel by standard input, never by a command line.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self

LOG: Final = "gateway.log"
START_SECONDS: Final = 20.0
"""How long the gateway may take to listen, and a process to end."""

Observation = dict[str, Any]


class DemoFailed(Exception):
    """The meeting cannot go on; the text says why."""


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without settings of any other gateway, and with these."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    return {**inherited, **settings}


class Gateway:
    """One running `gateway serve` in `directory`."""

    def __init__(self, process: asyncio.subprocess.Process, ready: Mapping[str, str], directory: Path) -> None:
        self._process: Final = process
        self.websocket: Final = ready["websocket"]
        self.control: Final = ready["control"]
        self.directory: Final = directory

    @classmethod
    async def start(cls, directory: Path, settings: Mapping[str, str]) -> Self:
        """`gateway init`, then `gateway serve` on ports the system chooses. Raises DemoFailed."""
        log = directory / LOG
        gateway, env = (sys.executable, "-m", "gateway"), environment(settings)
        with log.open("wb") as errors:
            made = await asyncio.create_subprocess_exec(
                *(*gateway, "init", str(directory)),
                env=env,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )
            if await made.wait() != 0:
                raise DemoFailed(f"gateway init failed; last logged: {_last_line(log)}")
            process = await asyncio.create_subprocess_exec(
                *(*gateway, "serve", "--config", str(directory / "gateway.toml")),
                env=env,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(START_SECONDS):
                ready = json.loads(await process.stdout.readline() or "null")
        except BaseException:
            process.kill()
            await process.wait()
            raise
        if ready is None:
            await process.wait()
            raise DemoFailed(f"gateway serve ended at once; last logged: {_last_line(log)}")
        return cls(process, ready, directory)

    def last_word(self) -> str:
        """The last line of its log."""
        return _last_line(self.directory / LOG)

    async def stop(self) -> int:
        """SIGTERM, and the exit status."""
        return await _end(self._process, self._process.terminate)

    async def ended(self) -> int:
        """Wait until it ends by itself."""
        return await self._process.wait()


class ClientGroup:
    """One process of client apps; what they see goes to `heard`."""

    def __init__(self, process: asyncio.subprocess.Process, heard: Callable[[Observation], None]) -> None:
        self._process: Final = process
        self._heard: Final = heard
        self._listening: Final = asyncio.create_task(self._listen())
        self._expected = False

    @classmethod
    async def start(cls, log: Path, heard: Callable[[Observation], None]) -> Self:
        """A process that waits to be told who is in it."""
        with log.open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "meeting.people"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                env=environment({}),
                start_new_session=True,
            )
        return cls(process, heard)

    @property
    def lost(self) -> bool:
        """Whether the process ended though nobody asked it to."""
        return self._listening.done() and not self._expected

    def brief(self, *, websocket: str, call: str, people: Sequence[Mapping[str, object]]) -> None:
        """Say who is in this group; nobody enters yet."""
        self.order({"websocket": websocket, "call": call, "people": list(people)})

    def order(self, order: Mapping[str, object]) -> None:
        """Have something done."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")

    async def kill(self) -> None:
        """End the process as a power cut would: no goodbye, not even from the socket's owner."""
        self._expected = True
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        await self._listening

    async def stop(self) -> int:
        """Let everybody leave, and the exit status."""
        self._expected = True
        assert self._process.stdin is not None
        status = await _end(self._process, self._process.stdin.close)
        await self._listening
        return status

    async def _listen(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            with suppress(json.JSONDecodeError):  # half a line of a killed process
                self._heard(json.loads(line))


async def _end(process: asyncio.subprocess.Process, ask: Callable[[], None]) -> int:
    with suppress(ProcessLookupError):
        ask()
    try:
        async with asyncio.timeout(START_SECONDS):
            return await process.wait()
    except TimeoutError:
        process.kill()
        return await process.wait()
    except BaseException:
        # Interrupted a second time: nothing may be left behind.
        with suppress(ProcessLookupError):
            process.kill()
        raise


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    return lines[-1] if lines else "nothing logged"
