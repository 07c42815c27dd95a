"""How a client connects: what an app may choose, in one value.

Rules: values only; durations are in seconds; the clock and the randomness are given, never taken.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime

Token = str | Callable[[], str | Awaitable[str]]
"""A token, or what gives a fresh one; a plain function runs on the event loop and must not block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The choices of one client, see `gateway.client.connect`.

    `hello` lacks only its token; `silence` of None follows the gateway's ping interval; `now` is the wall clock in
    aware UTC; `chance` gives randomness in [0, 1).
    """

    url: str
    token: Token = field(repr=False)
    hello: dict[str, object]
    silence: float | None
    tls: ssl.SSLContext | None
    now: Callable[[], datetime]
    chance: Callable[[], float]
