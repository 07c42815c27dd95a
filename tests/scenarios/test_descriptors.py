"""A real process that may open few files: who is beyond is told so, and everybody else is served."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from gateway.config import ConfigError
from gateway.descriptors import LATE, OTHERS, fit
from gateway.edge.limits import Limits
from tests.scenarios.events import observed
from tests.scenarios.harness import Gateway, person
from tests.scenarios.peers import Dial, Ended

ALLOWED = OTHERS + 80
ROOM = 60
"""Sessions that fit: of what the others leave, a quarter is for those who come too late."""


def limited(gateway: Gateway, files: int) -> Gateway:
    """The gateway, to be started with so many files at most."""
    limit = f"resource.setrlimit(resource.RLIMIT_NOFILE, ({files}, {files}))"
    gateway.program = ("-c", f"import resource, runpy; {limit}; runpy.run_module('gateway', run_name='__main__')")
    return gateway


def spent(gateway: Gateway) -> float:
    """Seconds of processor time so far."""
    return time.clock_gettime((~gateway.pid << 3) | 2)


@contextmanager
def silent(gateway: Gateway, number: int) -> Iterator[None]:
    """So many connections that say nothing."""
    parts = urlsplit(gateway.websocket)
    with ExitStack() as stack:
        for _ in range(number):
            with suppress(ConnectionError):
                stack.enter_context(closing(socket.create_connection((parts.hostname or "", parts.port or 0))))
        yield


async def test_whoever_is_beyond_the_last_descriptor_is_told(own_gateway: Gateway) -> None:
    """4013 and `reconnect`, after a whole handshake; the log said at start how many fit; who leaves makes room."""
    limited(own_gateway, ALLOWED).start()
    said = [json.loads(line) for line in own_gateway.log.read_text().splitlines()]
    (warning,) = [each for each in said if each["event"].startswith("fewer sessions than configured")]
    assert (warning["sessions"], warning["max_sessions"], warning["descriptors"]) == (ROOM, 50_000, ALLOWED)
    async with Dial(own_gateway) as dial:
        peers = await dial.many([f"u-{number}" for number in range(ROOM)], "c")
        for number in range(30):
            late = await dial.open()
            await late.send("hello", token=own_gateway.token(person(f"late-{number}"), "c"))
            bye = await late.hear("bye")
            assert (bye["code"], bye["retry"]) == (4013, "reconnect")
            assert await late.ended() == 4013
        await peers[0].send("bye")
        assert await peers[0].ended() == 1000
        await dial("back", "c")


async def test_when_descriptors_run_out_the_loop_goes_on(own_gateway: Gateway) -> None:
    """Hundreds of silent connections: whoever is in is told, storage and the control API have what they need, nothing
    spins, and nothing is broken afterwards."""
    limited(own_gateway, ALLOWED).start()
    async with Dial(own_gateway) as dial:
        peers = await dial.many([f"u-{number}" for number in range(ROOM)], "c")
        with silent(own_gateway, 400):
            await asyncio.sleep(0.3)
            assert len(list(Path(f"/proc/{own_gateway.pid}/fd").iterdir())) <= ALLOWED - OTHERS + 100
            before = spent(own_gateway)
            await own_gateway.tell(observed("c"))
            for peer in peers:
                await peer.prove(await peer.hear("notice"))
            await asyncio.sleep(0.5)
            assert spent(own_gateway) - before < 0.5
        await peers[0].send("bye")
        assert await peers[0].ended() == 1000
        with suppress(Ended):
            await dial("back", "c")
    events = {json.loads(line)["event"] for line in own_gateway.log.read_text().splitlines()}
    assert len(events) == 1, events


def test_too_few_descriptors_for_anybody_are_refused(own_gateway: Gateway) -> None:
    """One line that says what to do, and exit status 2."""
    process = limited(own_gateway, OTHERS).spawn()
    assert process.wait(20) == 2
    assert process.stdout is not None
    process.stdout.close()
    (line,) = own_gateway.log.read_text().splitlines()
    assert "ulimit -n" in line


@pytest.mark.parametrize(
    ("wanted", "descriptors", "sessions"),
    [(50_000, 20_000, 19_552), (19_500, 20_000, 19_500), (50_000, 1 << 20, 50_000), (50_000, 1024, 624), (9, 200, 6)],
)
def test_so_many_fit(wanted: int, descriptors: int, sessions: int) -> None:
    """What is configured, or what the descriptors leave; connections never take what is not theirs."""
    limits = fit(Limits(sessions=wanted), descriptors)
    assert limits.sessions == sessions
    assert sessions < limits.connections == descriptors - OTHERS
    assert limits.connections - sessions <= max(LATE, descriptors - OTHERS - wanted)


def test_nobody_fits_below_what_the_others_need() -> None:
    """Nothing negative, and no session without a descriptor."""
    with pytest.raises(ConfigError):
        fit(Limits(), OTHERS)
