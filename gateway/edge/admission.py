"""Whom a token lets in: the claims of a `hello` or a `refresh`, and what they make of a session.

Rules: a session speaks for one participant with one role until it ends; its organisation and region follow from
the participant's ACS resource and nothing a client says; no token, a cookie, or somebody else's token is no token.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import lru_cache

from gateway.core import catalogue, wire
from gateway.core.claims import BadToken, Claims, Expired
from gateway.core.errors import Bye
from gateway.core.residency import Placement, Residency, Unserved
from gateway.core.session import Session


@lru_cache(maxsize=128)
def _shared(capabilities: tuple[str, ...]) -> frozenset[str]:
    """One set for all whose apps can do the same."""
    return frozenset(capabilities)


class Admission:
    """Turns a token into who a session speaks for. Every method raises `Bye` where it does not."""

    def __init__(self, residency: Residency, verify: Callable[[str, datetime], Claims]) -> None:
        self._residency = residency
        self._verify = verify

    def grant(self, session: Session, token: str, now: datetime) -> None:
        """The upgrade carried `token`: keep what it says for the `hello`."""
        session.granted = self._verify(token, now)

    def greet(self, session: Session, hello: wire.Hello, now: datetime) -> None:
        """Fill in who the session is, by the token of its `hello` or else of its upgrade."""
        claims = session.granted if hello.token is None else self._verify(hello.token, now)
        if claims is None:
            raise BadToken
        if claims.expires_at <= now:
            raise Expired
        placement = self._place(claims.participant)
        session.granted = None
        session.participant = claims.participant
        session.organization = placement.organization
        session.region = placement.region
        session.role = claims.role
        session.calls = claims.calls
        session.name = claims.name
        session.expires_at = claims.expires_at
        session.device = hello.device
        session.locale = catalogue.match(hello.locale)
        session.capabilities = _shared(hello.capabilities)

    def renew(self, session: Session, token: str, now: datetime) -> None:
        """A new token for the same participant, which must cover every call the session has joined."""
        claims = self._verify(token, now)
        if claims.participant != session.participant or claims.role is not session.role:
            raise BadToken
        session.renew(claims)

    def _place(self, participant: str) -> Placement:
        try:
            return self._residency.place(participant)
        except Unserved as unserved:
            raise Bye(4301, unserved.detail) from None
