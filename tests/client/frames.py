"""What the tests of the client's pure part share: frames of a gateway, and all that a client would send."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from gateway.client.frames import NoticeFrame, StateFrame, Text
from gateway.client.state import ClientState
from gateway.core.types import Capability, Change

AT = datetime(2026, 11, 23, 14, tzinfo=UTC)
SAID = "2026-11-23T14:00:00.000Z"


def notice(number: int, call: str = "c") -> NoticeFrame:
    """The notice of revision `number` of `call`."""
    return NoticeFrame(
        call=call,
        revision=number,
        notice=f"{call}{number}",
        capability=Capability.RECORDING,
        change=Change.STARTED if number % 2 else Change.STOPPED,
        issued_at=AT,
        text=Text(locale="en", title="t", body="b"),
        digest=f"d{number}",
    )


def state(call: str, revision: int, *notices: NoticeFrame, more: int = 0, name: str | None = None) -> StateFrame:
    """A state of `call`."""
    return StateFrame(call=call, revision=revision, capabilities={}, notices=notices, more=more, id=name)


def take(client: ClientState, frame: Any, now: float = 0.0) -> list[Any]:
    """Apply `frame`."""
    return client.take(frame, at=SAID, now=now, chance=0.0)


def sent(client: ClientState, now: float = 1e6) -> list[dict[str, Any]]:
    """Everything the client would send in the next hour."""
    frames = []
    for second in range(3600):
        while (data := client.outbox.next_frame(now + second)) is not None:
            frames.append(json.loads(data))
        if client.outbox.wait(now + second) is None:
            break
    return frames
