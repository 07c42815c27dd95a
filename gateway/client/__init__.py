"""The Python client of `notices.v1.json`, for apps: `connect`, and what it gives.

Rules: what is named here is the interface; the modules behind it are not.
"""

from gateway.client.api import Client, connect
from gateway.client.frames import (
    CallState,
    CapabilityState,
    ClientClosed,
    ClientError,
    Forked,
    Receipt,
    Refused,
    Stored,
    Text,
    TokenFailed,
    TooMuchUnconfirmed,
    Welcome,
)
from gateway.client.notice import Notice

__all__ = [
    "CallState",
    "CapabilityState",
    "Client",
    "ClientClosed",
    "ClientError",
    "Forked",
    "Notice",
    "Receipt",
    "Refused",
    "Stored",
    "Text",
    "TokenFailed",
    "TooMuchUnconfirmed",
    "Welcome",
    "connect",
]
