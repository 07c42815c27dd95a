"""Ledgers on real files for tests of the services that prove them, and notes that lie under a true signature."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from gateway.core import wire
from gateway.hub.ledgers import Ledgers
from gateway.metrics import Metrics
from storage import signing
from storage.engine import sqlite3
from storage.note import Checkpoint, Note, parse_checkpoint, parse_note
from storage.operations import Operation, SignCheckpoint
from storage.reader import Reader
from tests.storage.desk import append

T = TypeVar("T")
OTHER = b"\x5a" * 32
"""A root that no tree here has."""


class Counting(Ledgers):
    """The ledgers, counting what is read for those who cannot wait; `behind` stands for a memory not yet up to date."""

    def __init__(self, changed: Callable[[], None], broken: Callable[[str], None]) -> None:
        super().__init__(changed, broken)
        self.asked = 0
        self.behind: str | None = None

    def ask(self, region: str, question: Callable[[Reader], T], then: Callable[[T | None], None]) -> None:
        self.asked += 1
        super().ask(region, question, then)

    def checkpoint(self, region: str) -> str | None:
        return self.behind or super().checkpoint(region)


class World:
    """One process's regions; `troubles` is what was said to be broken."""

    def __init__(self, root: Path, *regions: str) -> None:
        self.root = root
        self.troubles: list[str] = []
        self.metrics = Metrics()
        self.ledgers = Counting(lambda: None, self.troubles.append)
        for region in regions or ("europe",):
            self.ledgers.open(region, root / "data" / region, root / "keys" / region, "contoso")

    async def do(self, *operations: Operation, region: str = "europe") -> list[Any]:
        """Commit them; their answers."""
        done: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self.ledgers.submit(region, operations, lambda commit: done.set_result(commit.results))
        return await asyncio.wait_for(done, 30)

    async def grow(self, count: int) -> str:
        """So many entries more, and the note of the checkpoint that covers them."""
        await self.do(*(append(f"{number}") for number in range(count)), SignCheckpoint())
        note = self.ledgers.regions["europe"].checkpoint
        assert note is not None
        return note

    async def leaves(self) -> list[bytes]:
        """Every entry there is."""
        return await self.ledgers.read("europe", lambda reader: reader.entries(0, reader.size()))

    def signed(self, size: int, root: bytes = OTHER, *, region: str = "europe", origin: str | None = None) -> str:
        """A note of the region's own key, whether it is true or not."""
        signer = signing.load((self.root / "keys" / region / "signing.key").read_text())
        body = Checkpoint(origin or f"contoso/{region}", size, root).body()
        return Note(body, (signer.sign(body),)).text()

    @contextmanager
    def stuck(self, region: str = "europe") -> Iterator[sqlite3.Connection]:
        """While this lasts the region's file cannot be written, but by who holds it."""
        other = sqlite3.connect(self.root / "data" / region / "region.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        try:
            yield other
        finally:
            other.close()


def checkpoint(note: str) -> Checkpoint:
    """What a note says."""
    return parse_checkpoint(parse_note(note).body)


class Answer:
    """Waits for what a client is shown."""

    def __init__(self) -> None:
        self._shown: Future[tuple[str | None, wire.Consistency | None]] = Future()

    def __call__(self, note: str | None, consistency: wire.Consistency | None) -> None:
        self._shown.set_result((note, consistency))

    @property
    def given(self) -> bool:
        """Whether it has come; a second one is an error."""
        return self._shown.done()

    @property
    def now(self) -> tuple[str | None, wire.Consistency | None]:
        """What came at once."""
        return self._shown.result(0)

    async def shown(self) -> tuple[str | None, wire.Consistency | None]:
        """What comes."""
        return await asyncio.wait_for(asyncio.wrap_future(self._shown), 10)
