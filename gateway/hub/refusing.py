"""Refusing: how a session is told that a request of its cannot be granted.

Rules: nothing is recorded and the connection stays; why stands in the code. Owned by the loop.
"""

from __future__ import annotations

from typing import Final

from gateway.core import wire
from gateway.core.errors import Refusal
from gateway.core.session import Session

PUT_OFF: Final = Refusal("storage_unavailable", "this cannot be recorded now", status=503, temporary=True)


def refuse(session: Session, refusal: Refusal, answered: str | None = None, *, ack: wire.Ack | None = None) -> None:
    """Answer with an `error`, which names the frame by its id or, having none, the ack."""
    code, message, temporary = refusal.code, refusal.detail, refusal.temporary
    session.send(wire.error(code=code, message=message, temporary=temporary, id=answered, ack=ack))
