"""What the two kinds of load process say to each other: orders to those with the sessions, reports from them.

Rules: one JSON object a line, its kind in `do` or `is`; times are seconds, moments those of `time.perf_counter`, which
all processes of a machine share; histograms travel encoded.
"""

from __future__ import annotations

from typing import Final

import msgspec


class Prepare(msgspec.Struct, tag="prepare", tag_field="do"):
    """Make these sessions: one for each token, in the call at the same place of `places`."""

    url: str
    number: int
    calls: list[str]
    places: list[int]
    tokens: list[str]
    levels: list[str]
    think: float
    jitter: float
    receipts: bool
    clients: int
    slow: int
    at_once: int


class Connect(msgspec.Struct, tag="connect", tag_field="do"):
    """Connect everyone, `rate` a second (0: as fast as it goes)."""

    rate: float = 0.0


class Event(msgspec.Struct, tag="event", tag_field="do"):
    """An event with the time `at` is being sent, in `calls` by their places (none: in all).

    With `whole`, report when every session has done its part; `values` asks for each time by itself.
    """

    at: str
    began_at: float
    calls: list[int] = []
    whole: bool = False
    values: bool = False


class Churn(msgspec.Struct, tag="churn", tag_field="do"):
    """Drop `rate` sessions a second from now on, each back within `back` seconds; 0 ends it."""

    rate: float
    back: float


class Read(msgspec.Struct, tag="read", tag_field="do"):
    """The slow sessions read, or stop reading."""

    on: bool


class Storm(msgspec.Struct, tag="storm", tag_field="do"):
    """Drop everyone at once, and let them come back."""


class Settle(msgspec.Struct, tag="settle", tag_field="do"):
    """Wait until everyone is there and has proved everything, or until nothing has changed for `patience` seconds."""

    patience: float


class Take(msgspec.Struct, tag="take", tag_field="do"):
    """Report everything since the last time."""


class Leave(msgspec.Struct, tag="leave", tag_field="do"):
    """Say good-bye and end."""


Order = Prepare | Connect | Event | Churn | Read | Storm | Settle | Take | Leave


class Done(msgspec.Struct, tag="done", tag_field="is"):
    """An order is carried out: `seconds` it took, `cpu` the processor time of this process meanwhile."""

    order: str
    seconds: float
    cpu: float


class Round(msgspec.Struct, tag="round", tag_field="is"):
    """Every session has done its part of the event: the moments of the last frame and the last receipt."""

    seconds: float
    cpu: float
    histograms: dict[str, str]
    values: dict[str, list[float]]


class Pulse(msgspec.Struct, tag="pulse", tag_field="is"):
    """Once a second: counts so far, and what this process itself needed since the last pulse."""

    counts: dict[str, int]
    connected: int
    behind: int
    cpu: float
    waited: float
    lag: float


class Taken(msgspec.Struct, tag="taken", tag_field="is"):
    """Everything since the last time."""

    counts: dict[str, int]
    faults: dict[str, int]
    away: int
    unheard: int
    behind: int
    histograms: dict[str, str]


Report = Done | Round | Pulse | Taken

ORDERS: Final = msgspec.json.Decoder(Order)
REPORTS: Final = msgspec.json.Decoder(Report)


def line(said: Order | Report) -> bytes:
    """`said` as one line."""
    return msgspec.json.encode(said) + b"\n"
