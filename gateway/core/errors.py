"""Errors that carry their consequence: a refusal answers one request, a bye ends a connection.

Rules: a message never quotes input and names no person, so that it may be logged and sent as it is.
"""

from __future__ import annotations

from typing import Final

RETRY: Final = {
    4001: "reconnect",
    4002: "reconnect",
    4003: "reconnect",
    4008: "reconnect",
    4013: "reconnect",
    4101: "refresh",
    4301: "elsewhere",
}
"""What a client should do after a close code; every code not named here means `never`."""


class GatewayError(Exception):
    """What every error of the gateway's own descends from."""


class Refusal(GatewayError):
    """One request is refused and nothing is lost: `code` for machines, `detail` for people, `status` for HTTP.

    `temporary` says that the same request may succeed later.
    """

    def __init__(self, code: str, detail: str, *, status: int = 400, temporary: bool = False) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.status = status
        self.temporary = temporary


class Bye(GatewayError):
    """The connection ends with `code` (RFC 6455 §7.4; 4000–4999 are ours) and `reason`."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason

    @property
    def retry(self) -> str:
        """`reconnect`, `refresh`, `elsewhere` or `never`."""
        return RETRY.get(self.code, "never")


class NotDurable(GatewayError):
    """Storage cannot write: the notices are out, the entries wait, and nothing may be confirmed (HTTP 503)."""
