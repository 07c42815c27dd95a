"""A client's token: the one the app gave, or a fresh one each time it is needed.

Rules: whatever the app's callable does wrong is TokenFailed, with its own error as the cause; no token is kept or
logged here.
"""

from __future__ import annotations

import inspect

from gateway.client.frames import TokenFailed
from gateway.client.settings import Token


async def fetch(token: Token) -> str:
    """The token, or what its callable gives now. Raises TokenFailed."""
    if not callable(token):
        return token
    try:
        given = token()
        fresh = await given if inspect.isawaitable(given) else given
    except Exception as error:  # the callable is the app's: it may raise anything
        raise TokenFailed("the token callable failed") from error
    if not isinstance(fresh, str) or not fresh:
        raise TokenFailed("the token callable gave no text")
    return fresh
