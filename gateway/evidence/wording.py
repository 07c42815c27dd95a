"""Wording: how the report says what the entries say in codes.

Rules: plain English without our own words where there are others; times are UTC to the millisecond, as in the ledger;
a length of time is never rounded to nothing.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from gateway.core.types import Capability, Change, Level, Reason, rfc3339

REASONS: Final[dict[Reason, str]] = {
    Reason.DECLINED: "declined, or took consent back",
    Reason.UNRECORDED: "was told, but it was not written down yet",
    Reason.UNREACHABLE: "never connected to the gateway: known from events only",
    Reason.LEFT: "left, or the call ended, before it was proved",
    Reason.DISCONNECTED: "lost the connection and did not come back in time",
    Reason.SLOW: "was connected, but read too slowly",
    Reason.OVERDUE: "was connected, and the deadline passed without proof",
    Reason.PENDING: "was connected, and the deadline had not passed yet",
}

CHANGES: Final[dict[Change, str]] = {
    Change.STARTED: "started",
    Change.PAUSED: "paused",
    Change.RESUMED: "resumed",
    Change.STOPPED: "stopped",
    Change.FAILED: "failed",
}

CAPABILITIES: Final[dict[Capability, str]] = {
    Capability.RECORDING: "Recording",
    Capability.TRANSCRIPTION: "Transcription",
}

LEVELS: Final[dict[Level, str]] = {
    Level.SENT: "written to the participant's connection",
    Level.RECEIVED: "the participant's client confirmed that it has the notice",
    Level.DISPLAYED: "the client confirmed that it showed these very words",
    Level.ACKNOWLEDGED: "the participant confirmed having seen it",
    Level.CONSENTED: "the participant consented",
    Level.DECLINED: "the participant declined",
    Level.WITHDRAWN: "the participant took consent back",
}


def what(capability: Capability, change: Change) -> str:
    """What a notice tells: `Recording started`."""
    return f"{CAPABILITIES[capability]} {CHANGES[change]}"


def day(moment: datetime) -> str:
    """The date in UTC."""
    return rfc3339(moment)[:10]


def full(moment: datetime) -> str:
    """Date and time in UTC."""
    written = rfc3339(moment)
    return f"{written[:10]} {written[11:-1]} UTC"


def length(span: timedelta) -> str:
    """How long: `0.120 s`, `3 min 12.0 s`, `2 h 05 min 09 s`."""
    milliseconds = span // timedelta(milliseconds=1)
    seconds, rest = divmod(milliseconds, 1000)
    minutes, second = divmod(seconds, 60)
    if not minutes:
        return f"{second}.{rest:03} s"
    if minutes < 60:
        return f"{minutes} min {second}.{rest // 100} s"
    return f"{minutes // 60} h {minutes % 60:02} min {second:02} s"


def counted(number: int, one: str, many: str | None = None) -> str:
    """`1 gap`, `2 gaps`."""
    return f"{number} {one if number == 1 else many or one + 's'}"
