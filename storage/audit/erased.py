"""Whether erasures were carried out: what a ledger's entries say of it, against what the file still has of its people.

Rules: entry and erasure are one commit, so that a box which is there although an entry says otherwise was put there
since; a row that has lost its box without an entry contradicts nothing, and is counted. Nobody is named.
"""

from __future__ import annotations

from typing import Final

from storage.audit.verdict import TAMPERED, Refused
from storage.engine import sqlite3
from storage.entry import decode

_ENTRIES: Final = "SELECT seq, leaf FROM entries WHERE instr(leaf, ?) > 0 ORDER BY seq"
_MARK: Final = b'"kind":"presence.erased"'
"""What every entry of this kind contains, for entries are canonical JSON; others hardly ever."""
_HELD: Final = "SELECT presence FROM presences WHERE box IS NOT NULL OR slot IS NOT NULL OR person IS NOT NULL"
_EMPTY: Final = "SELECT presence FROM presences WHERE box IS NULL"


def check_erasures(connection: sqlite3.Connection, origin: str) -> int:
    """How many people's boxes are gone of whom no entry says that they were erased. The entries are those signed.

    Raises Refused where an entry says that somebody was erased, and something is left of who it was.
    """
    told = _told(connection, origin)
    for (presence,) in connection.execute(_HELD):
        if presence in told:
            raise Refused(TAMPERED, f"{origin}: entry {told[presence]} says who was erased, and it is not carried out")
    return sum(presence not in told for (presence,) in connection.execute(_EMPTY))


def _told(connection: sqlite3.Connection, origin: str) -> dict[object, int]:
    """The presences that were erased by the word of an entry, each with its number."""
    told: dict[object, int] = {}
    for number, leaf in connection.execute(_ENTRIES, (_MARK,)):
        found = decode(leaf)
        if found.get("kind") != "presence.erased":
            continue
        presences = found.get("presences")
        if not isinstance(presences, list) or not all(isinstance(each, str) for each in presences):
            raise Refused(TAMPERED, f"{origin}: entry {number} does not say who was erased")
        told.update(dict.fromkeys(presences, number))
    return told
