"""How much of the gateway a connection may use; how many sessions there are in all processes is the roll's to know.

Rules: every limit has a number; what lies beyond it is refused or closed, never queued.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one connection and all of a process may use; times in seconds."""

    handshake_seconds: float = 5.0
    hello_seconds: float = 5.0
    greeting_seconds: float = 2.0
    """How long a welcome waits for the proof that the client's checkpoint is continued."""
    close_seconds: float = 2.0
    behind_seconds: float = 30.0
    ping_seconds: int = 15
    pong_seconds: int = 10
    """At most `ping_seconds`."""
    frames_per_second: float = 50.0
    frames_at_once: int = 400
    sessions: int = 50_000
    """Sessions of this process."""
    strangers: int = 8192
    """Connections that have not said who they are; beyond that the one that waited longest is closed."""
    connections: int = 60_000
    """Sockets in all, whoever is behind them; beyond that the one that waited longest for its handshake is cut."""
    reconnects_per_second: int = 500
    """How a drain spreads the clients' return."""

    @classmethod
    def of(cls, ping_seconds: int, sessions: int) -> Self:
        """The limits of so many clients that are asked so often whether they are there."""
        return cls(ping_seconds=ping_seconds, pong_seconds=min(10, ping_seconds), sessions=sessions)

    @property
    def tokens(self) -> int:
        """Verified tokens remembered: some sessions come and go, and a refresh brings a second."""
        return 2 * self.sessions
