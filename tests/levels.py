"""What many proved at once as one entry, written the long way: for worlds that write ledgers, and beside fast forms."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core import facts
from gateway.core.types import rfc3339
from gateway.hub.journal import Ink, device_digest
from storage.entry import canonical


def levels_entry(proved: Sequence[facts.LevelProved], ink: Ink) -> bytes:
    """The entry for all of these, which differ in presence, session, device and what the client's clock said."""
    first = proved[0]
    shared = {(each.call, each.at, each.region, each.notice, each.level, each.digest) for each in proved}
    assert len(shared) == 1
    fields = {
        "at": rfc3339(first.at),
        "call": first.call.call,
        "kind": "levels",
        "level": first.level.value,
        "notice": first.notice,
        "organization": first.call.organization,
        "proofs": [[each.presence, each.session, rfc3339(each.reported_at), _device(each, ink)] for each in proved],
        "region": first.region,
    }
    return canonical(fields if first.digest is None else {**fields, "digest": first.digest})


def _device(proved: facts.LevelProved, ink: Ink) -> str | None:
    salt = ink.salts.get(proved.presence)
    return None if salt is None or proved.device is None else device_digest(salt, proved.device)
