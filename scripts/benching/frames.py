"""The frames that yardsticks send and hear: those of the gateway, by its own encoder.

Rules: a yardstick's notice and ack are as long as the gateway's, so that what differs is what the servers do.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from gateway.core import catalogue, wire
from gateway.core.types import Capability, Change, Level


def notice_payload(number: int) -> bytes:
    """A notice's JSON, the `number`-th of its call."""
    at, notice = datetime.now(UTC), f"n_{number:026}"
    change = Change.STARTED if number % 2 else Change.PAUSED
    text = catalogue.text(Capability.RECORDING, change, catalogue.FALLBACK)
    return wire.notice(
        call="load-100000-0",
        revision=number,
        notice=notice,
        capability=Capability.RECORDING,
        change=change,
        episode=f"e_{'a' * 26}",
        occurred_at=at,
        issued_at=at,
        text=text,
        digest=catalogue.digest(notice, Capability.RECORDING, change, text),
        require=Level.ACKNOWLEDGED,
        deadline_at=at,
    )


def ack_payload(notice: bytes) -> bytes:
    """The JSON of a client's word that it was shown this notice."""
    told = msgspec.json.decode(notice)
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    frame = {"type": "ack", "notice": told["notice"], "level": "acknowledged", "digest": told["digest"], "at": at}
    return msgspec.json.encode(frame)
