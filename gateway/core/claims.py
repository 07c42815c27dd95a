"""What a client token claims, and whether that may be believed now.

Rules: each claim is one value of exactly its type (`exp` an integer, never a string, a float or a truth value);
`exp` lies at most 24 hours ahead; `*` among the calls is for observers; unknown claims are ignored.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Final

import msgspec

from gateway.core.errors import Bye
from gateway.core.strict_json import parse
from gateway.core.types import Role

LIFETIME_SECONDS: Final = 24 * 3600
"""How far ahead `exp` may lie."""
LEEWAY_SECONDS: Final = 60
"""How far the issuer's clock may be ahead of ours, for `iat` and `nbf`."""
EVERY_CALL: Final = "*"

_DEEPEST: Final = 8


class BadToken(Bye):
    """The token is not one to believe, for a reason that is nobody's business."""

    def __init__(self) -> None:
        super().__init__(4401, "bad token")


class Expired(Bye):
    """The token was good and is over: a new one is wanted."""

    def __init__(self) -> None:
        super().__init__(4101, "token expired")


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says. `calls` may hold `*`, every call, for observers."""

    participant: str
    calls: frozenset[str]
    role: Role
    name: str | None
    expires_at: datetime


_Text = Annotated[str, msgspec.Meta(min_length=1)]


class _Payload(msgspec.Struct, frozen=True):
    iss: _Text
    aud: _Text
    sub: _Text
    exp: int
    iat: int
    calls: tuple[_Text, ...]
    nbf: int | None = None
    name: str | None = None
    role: Role = Role.PARTICIPANT


@lru_cache(maxsize=4096)
def _shared(calls: tuple[str, ...]) -> frozenset[str]:
    """The calls as a set: one for all whose tokens name the same, since a token may be remembered for each of them."""
    return frozenset(calls)


def judge(payload: bytes, *, issuer: str, audience: str, now: datetime) -> Claims:
    """The claims in a genuine token's payload. Raises `Expired` where only time is wrong, else `BadToken`."""
    try:
        claims = msgspec.convert(parse(payload, depth=_DEEPEST), _Payload)
    except ValueError:
        raise BadToken from None
    at = now.timestamp()
    if (
        claims.iss != issuer
        or claims.aud != audience
        or claims.iat > at + LEEWAY_SECONDS
        or (claims.nbf is not None and claims.nbf > at + LEEWAY_SECONDS)
        or claims.exp > at + LIFETIME_SECONDS
        or (EVERY_CALL in claims.calls and claims.role is not Role.OBSERVER)
    ):
        raise BadToken
    if claims.exp <= at:
        raise Expired
    return Claims(
        participant=claims.sub,
        calls=_shared(claims.calls),
        role=claims.role,
        name=claims.name,
        expires_at=datetime.fromtimestamp(claims.exp, UTC),
    )
