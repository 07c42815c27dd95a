"""The words of the gateway as types: what everything else is said in.

Rules: values only, no behaviour beyond comparison; times are aware UTC; a raw id is an ACS participant id
(`8:acs:<resource>_<user>`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec

_ENCODE: Final = msgspec.json.Encoder().encode
_WHOLE: Final = len('"2026-11-23T14:00:00Z"')


class Capability(StrEnum):
    """What a call can do to its participants that they must be told of."""

    RECORDING = "recording"
    TRANSCRIPTION = "transcription"


class State(StrEnum):
    """A capability's state, as claimed by one source or as fused from all; unknown is shown as on."""

    ACTIVE = "active"
    PAUSED = "paused"
    INACTIVE = "inactive"
    UNKNOWN = "unknown"


class Change(StrEnum):
    """What a notice tells: one change of an episode."""

    STARTED = "started"
    PAUSED = "paused"
    RESUMED = "resumed"
    STOPPED = "stopped"
    FAILED = "failed"


TERMINAL: Final = frozenset({Change.STOPPED, Change.FAILED})
"""Changes that end an episode: told to those present, owed at level `received` only."""


class Level(StrEnum):
    """How much is proved. The first four are ranked; the consent levels stand apart."""

    SENT = "sent"
    RECEIVED = "received"
    DISPLAYED = "displayed"
    ACKNOWLEDGED = "acknowledged"
    CONSENTED = "consented"
    DECLINED = "declined"
    WITHDRAWN = "withdrawn"


RANKED: Final = (Level.SENT, Level.RECEIVED, Level.DISPLAYED, Level.ACKNOWLEDGED)
RANK: Final = {level: rank for rank, level in enumerate(RANKED)}
CONSENT: Final = frozenset({Level.CONSENTED, Level.DECLINED, Level.WITHDRAWN})


class Role(StrEnum):
    """A participant owes notices; an observer may report observations and owes nothing."""

    PARTICIPANT = "participant"
    OBSERVER = "observer"


class Reason(StrEnum):
    """Why a presence lacks the required level of a notice; the first that holds, in this order."""

    DECLINED = "declined"
    UNRECORDED = "unrecorded"
    UNREACHABLE = "unreachable"
    LEFT = "left"
    DISCONNECTED = "disconnected"
    SLOW = "slow"
    OVERDUE = "overdue"
    PENDING = "pending"


class CallKey(NamedTuple):
    """A call: the organisation it belongs to (empty while nobody claimed it) and its id there."""

    organization: str
    call: str


@dataclass(frozen=True, slots=True)
class Person:
    """Someone in a call, by raw id; `name` is the display name where a source gave one."""

    participant: str
    name: str | None = None


def milliseconds(moment: datetime) -> datetime:
    """`moment` cut to whole milliseconds in UTC, the precision of the wire and of the ledger."""
    utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return utc.replace(microsecond=utc.microsecond // 1000 * 1000)


def rfc3339(moment: datetime) -> str:
    """`moment` as RFC 3339 UTC with milliseconds: `2026-11-23T14:00:00.123Z`."""
    # The library writes microseconds or no fraction at all, in a fifth of the time that `isoformat` takes.
    written = _ENCODE(moment if moment.tzinfo is UTC else moment.astimezone(UTC))
    return (written[1:24] if len(written) > _WHOLE else written[1:20] + b".000").decode() + "Z"
