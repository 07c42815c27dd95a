"""The note a running gateway leaves in its data directory, so that commands find its control API.

Rules: written whole or not at all, mode 0600, and removed on exit; what a killed process left behind names an
address where nobody answers, and counts as no gateway.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from gateway.keys import write_private

FILE: Final = "ready.json"


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """Where a gateway can be reached, as real addresses."""

    ready: bool = True
    websocket: str
    control: str


def write(directory: Path, *, websocket: str, control: str) -> str:
    """Leaves the note in `directory` and returns it as the one JSON line for standard output."""
    content = msgspec.json.encode(Ready(websocket=websocket, control=control))
    fresh = directory / f"{FILE}.new"
    fresh.unlink(missing_ok=True)
    write_private(fresh, content + b"\n")
    fresh.replace(directory / FILE)
    return content.decode()


def read(directory: Path) -> Ready | None:
    """The note, or None where no gateway left a readable one."""
    with suppress(OSError, msgspec.MsgspecError):
        return msgspec.json.decode((directory / FILE).read_bytes(), type=Ready)
    return None


def remove(directory: Path) -> None:
    """Takes the note away."""
    (directory / FILE).unlink(missing_ok=True)
