"""The gateway, broken on purpose: `python -m tests.scenarios.leaking WAY serve …` lets what it seals lie in clear, too.

WAY says where: `row` in the table's own row, `temporary` in a file it leaves behind, `deleted` in one that it deletes
and keeps open, `memory` in one that has no name, `log` on standard error.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from typing import IO

from gateway.cli.commands import main
from storage.vault import Vault

_OVERHEAD = 12 + 16
"""Bytes that a box is longer than what is in it."""

_seal, _open = Vault.seal, Vault.open


def _seal_in_clear(vault: Vault, table: str, row: str, clear: bytes) -> tuple[int, bytes]:
    slot, box = _seal(vault, table, row, clear)
    return slot, clear + box


def _open_in_clear(vault: Vault, table: str, row: str, slot: int, box: bytes) -> bytes | None:
    return _open(vault, table, row, slot, box[(len(box) - _OVERHEAD) // 2 :])


def _copied_to(file: IO[bytes]) -> Callable[[Vault, str, str, bytes], tuple[int, bytes]]:
    def seal(vault: Vault, table: str, row: str, clear: bytes) -> tuple[int, bytes]:
        file.write(clear)
        file.flush()
        return _seal(vault, table, row, clear)

    return seal


FILES: dict[str, Callable[[], IO[bytes]]] = {
    "temporary": lambda: os.fdopen(tempfile.mkstemp()[0], "wb"),
    "deleted": tempfile.TemporaryFile,
    "memory": lambda: os.fdopen(os.memfd_create("spill"), "wb"),
    "log": lambda: sys.stderr.buffer,
}

if __name__ == "__main__":
    _, way, *arguments = sys.argv
    if way == "row":
        Vault.seal, Vault.open = _seal_in_clear, _open_in_clear  # type: ignore[assignment,method-assign]  # on purpose
    else:
        Vault.seal = _copied_to(FILES[way]())  # type: ignore[assignment,method-assign]  # on purpose
    main(arguments)
