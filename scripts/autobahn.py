#!/usr/bin/env python3
"""Autobahn's cases against the listener: an echo server on the gateway's own connections, beside the library's own.

Rules: everything that reads and writes bytes is the gateway's, only what is answered is not; families 1 to 7 and 10,
for 9 measures speed and 12 and 13 compression, which is never negotiated. A case may be judged as the library's own
server is, and no worse; the exit status is 1 where one is.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import kosoku
from rich.console import Console
from rich.table import Table
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from gateway.clock import SteadyClock
from gateway.core.residency import Residency
from gateway.core.session import Phase, Session, Socket
from gateway.edge.connection import Dialect
from gateway.edge.edge import Edge
from gateway.edge.limits import Limits
from gateway.edge.listener import listen
from gateway.edge.opening import Opening
from gateway.metrics import Metrics

FAMILIES: Final = ("1", "2", "3", "4", "5", "6", "7", "10")
ORDER: Final = ("OK", "INFORMATIONAL", "NON-STRICT")
"""Verdicts from good to bad; every other one is worse."""
LONGEST: Final = 1 << 20
Verdict = tuple[str, str]
"""What is said of a case's messages, and of its close."""


class Echo(Edge):
    """An edge that says everything back, to anybody, instead of asking a hub about it."""

    def __init__(self) -> None:
        nobody: Any = None  # no hub is ever asked, and no token read
        super().__init__(
            nobody,
            Residency({}, frozenset()),
            nobody,
            now=SteadyClock(),
            new_id=str,
            metrics=Metrics(),
            limits=Limits(frames_per_second=1e6, frames_at_once=1_000_000, hello_seconds=3600),
        )
        self._sockets: dict[Session, Socket] = {}
        self._binary: set[Session] = set()

    def opened(self, socket: Socket, token: str | None) -> Session:
        """See `Edge`; there is no hello to wait for."""
        session = super().opened(socket, token)
        session.phase = Phase.OPEN
        self._sockets[session] = socket
        return session

    def heard_binary(self, session: Session) -> None:
        """See `Edge`; binary messages are taken."""
        self._binary.add(session)

    def received(self, session: Session, payload: bytes, *, kept: bool = False) -> None:
        """See `Edge`; text must be UTF-8 (RFC 6455 §8.1), as `gateway.core.wire.decode` demands it."""
        if session in self._binary:
            self._binary.discard(session)
            session.send_framed(Frame(Opcode.BINARY, payload).serialize(mask=False))
            return
        try:
            payload.decode()
        except UnicodeDecodeError:
            self._sockets[session].finish(1007, "", b"")
        else:
            session.send(payload)


async def echo(connection: ServerConnection) -> None:
    """The same by the library alone."""
    try:
        async for message in connection:
            await connection.send(message)
    except ConnectionClosed:
        return


async def judge(address: str, cases: Sequence[str], at_once: int) -> dict[str, Verdict]:
    """What Autobahn says of the server there, by case."""
    try:
        results = await kosoku.run_fuzzingclient(f"ws://{address}", cases, None, concurrency=at_once)
    except kosoku.FailureError as failure:
        results = failure.results
    return {each.case_id: (each.behavior.value, each.behavior_close.value) for each in results}


async def run(cases: Sequence[str], at_once: int) -> tuple[dict[str, Verdict], dict[str, Verdict]]:
    """Both servers' verdicts: ours, and the library's."""
    dialect = Dialect(Opening((), path="/", subprotocol=None), longest=LONGEST, farewell=lambda code, reason: b"")
    listener = await listen(Echo(), "127.0.0.1:0", dialect=dialect)
    async with serve(echo, "127.0.0.1", 0, compression=None, max_size=LONGEST) as library:
        host, port = next(iter(library.sockets)).getsockname()
        ours, theirs = await asyncio.gather(
            judge(listener.address, cases, at_once), judge(f"{host}:{port}", cases, at_once)
        )
    await listener.close()
    return ours, theirs


def worse(ours: Verdict, theirs: Verdict) -> bool:
    """Whether either word about ours is a worse one."""

    def rank(word: str) -> int:
        return ORDER.index(word) if word in ORDER else len(ORDER)

    return any(rank(mine) > rank(other) for mine, other in zip(ours, theirs, strict=True))


def show(ours: dict[str, Verdict], theirs: dict[str, Verdict], failures: Sequence[str], console: Console) -> None:
    """A table of every case that is not simply well, and how many are."""
    table = Table("case", "gateway", "websockets", "")
    for case, verdict in ours.items():
        if verdict != ("OK", "OK") or theirs[case] != ("OK", "OK"):
            remark = "worse than the library" if case in failures else ""
            table.add_row(case, " / ".join(verdict), " / ".join(theirs[case]), remark)
    console.print(table)
    counts = ", ".join(f"{count} {word}" for (word, _), count in Counter(ours.values()).most_common())
    console.print(f"{len(ours)} cases: {counts}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Autobahn's cases of RFC 6455 against the gateway's listener.")
    parser.add_argument("cases", nargs="*", help="cases or patterns like 6.*; default: families 1 to 7 and 10")
    parser.add_argument("--at-once", type=int, default=16, help="cases at a time (16)")
    options = parser.parse_args()
    cases = options.cases or [f"{family}.*" for family in FAMILIES]
    ours, theirs = asyncio.run(run(cases, options.at_once))
    failures = [case for case in theirs if case not in ours or worse(ours[case], theirs[case])]
    show(ours, theirs, failures, Console())
    if failures or not ours:
        sys.exit(1)


if __name__ == "__main__":
    main()
