"""The Python client of `notices.v1.json`, for apps: `connect`, and what it gives.

Rules: what is named here is the interface; the modules behind it are not.
"""

from gateway.client.api import (
    CallState,
    CapabilityState,
    Client,
    ClientClosed,
    ClientError,
    Notice,
    Receipt,
    Refused,
    Stored,
    Text,
    TokenFailed,
    TooMuchUnconfirmed,
    Welcome,
    connect,
)

__all__ = [
    "CallState",
    "CapabilityState",
    "Client",
    "ClientClosed",
    "ClientError",
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
