"""An open region for tests: submit and wait, ask and wait, and remember what was said about failures."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from storage.clock import Clock, system_clock
from storage.entry import canonical, given
from storage.errors import StorageError
from storage.operations import Append, Call, KeepMessage, Operation
from storage.reader import Reader
from storage.region import Region
from storage.retention import Terms
from storage.writer import Completed

T = TypeVar("T")

START = datetime(2026, 11, 23, 14, 0, 0, 123000, tzinfo=UTC)
MONTH = timedelta(days=30)
TERMS = Terms(MONTH, {"r": "contoso", "s": "contoso", "f": "fabrikam"}, lambda raw: raw.split(":")[-1].split("_")[0])
"""30 days, and two organisations whose resources have short names."""
CALL: Call = ("contoso", "call-1")
PATIENCE = 30.0


class Desk:
    """A region under `root`, or in the given directories; the token of each submission is its future."""

    def __init__(
        self,
        root: Path,
        name: str = "europe",
        *,
        data: Path | None = None,
        keys: Path | None = None,
        clock: Clock = system_clock,
        terms: Terms = TERMS,
    ) -> None:
        self.data = data or root / "data" / name
        self.keys = keys or root / "keys" / name
        self.failures: list[StorageError | None] = []
        self.groups: list[int] = []
        self.changed: Callable[[StorageError | None], None] = lambda error: None
        self.region = Region.open(
            name,
            directory=self.data,
            key_directory=self.keys,
            committed=self._committed,
            failing=self._failing,
            clock=clock,
            terms=terms,
        )

    def _committed(self, done: list[Completed]) -> None:
        self.groups.append(len(done))
        for completed in done:
            future = completed.token
            assert isinstance(future, Future)
            if completed.error is not None:
                future.set_exception(completed.error)
            else:
                future.set_result(completed.results)

    def _failing(self, error: StorageError | None) -> None:
        self.failures.append(error)
        self.changed(error)

    def submit(self, *operations: Operation) -> Future[tuple[Any, ...]]:
        future: Future[tuple[Any, ...]] = Future()
        self.region.submit(operations, future)
        return future

    def do(self, *operations: Operation) -> tuple[Any, ...]:
        return self.submit(*operations).result(PATIENCE)

    def ask(self, question: Callable[[Reader], T]) -> T:
        return self.region.read(question).result(PATIENCE)

    def leaves(self) -> list[bytes]:
        return [unstamped(leaf) for leaf in self.ask(lambda reader: reader.entries(0, reader.size()))]

    def close(self) -> int:
        return self.region.close()


def forget(keys: Path) -> None:
    """Make a region's keys forget how far its ledger had come, as whoever deceives them with an older file must."""
    (keys / "newest").unlink(missing_ok=True)


def append(text: str, call: Call | None = None) -> Append:
    """An entry that is recognised by its text."""
    return Append(canonical({"text": text}), call)


def unstamped(leaf: bytes) -> bytes:
    """A leaf as it was given to the ledger; of what `append` made, only the text."""
    fields = given(leaf)
    return fields["text"].encode() if fields.keys() == {"text"} else canonical(fields)


def message(
    content: str | None = "hello",
    *,
    participant: str = "8:acs:r_1",
    thread: str = "t",
    message: str = "m1",
    version: int = 1,
    sent_at: datetime = START,
    deleted: bool = False,
    at: datetime | None = None,
) -> KeepMessage:
    return KeepMessage(
        participant=participant,
        resource=TERMS.resource_of(participant) or "",
        thread=thread,
        message=message,
        version=version,
        sent_at=sent_at,
        content=None if deleted else content,
        deleted=deleted,
        at=at or sent_at,
    )
