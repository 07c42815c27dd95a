"""What was written: from frames handed to sessions to the presences whose sockets took them.

Rules: a socket of this process took what `send` says it took; of a socket that another process holds that process has
to say so first, and where it is lost nobody ever says it. Owned by the loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from gateway.core.presence import Presence
from gateway.core.session import Carrier, Session

Handed = Sequence[tuple[Session, Presence]]
"""Sessions whose `send` said yes, each with the presence it was for."""


def once_written(handed: Handed, note: Callable[[Iterable[Presence]], None]) -> None:
    """Let `note` hear whose sockets have been written to: of our own at once, of each carrier's later."""
    here: dict[str, Presence] = {}
    away: dict[Carrier, list[tuple[Session, Presence]]] = {}
    for session, presence in handed:
        if session.carrier is None:
            here[presence.id] = presence
        else:
            away.setdefault(session.carrier, []).append((session, presence))
    if here:
        note(here.values())
    for carrier, those in away.items():
        carrier.confirm(those, note)
