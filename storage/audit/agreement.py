"""Whether the entries of a pack agree with one another: what is signed is not yet true, and may contradict itself.

Rules: a presence begins once, and what is said of it stands behind that in the same ledger; an entry of many has each
of them once; of a notice every copy is the same, and what was answered was told; a call has one home, unless the ledger
of another region says itself that the home was not served. Nothing here is believed of a single entry.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from storage.audit import entries
from storage.audit.entries import Entry, Malformed
from storage.audit.order import homes


def check_agreement(regions: Mapping[str, Sequence[Entry]]) -> None:
    """Raises Malformed at the first entry that contradicts another."""
    begun: set[str] = set()
    told: dict[str, entries.Issued] = {}
    home = homes(regions)
    for region in sorted(regions):
        here: set[str] = set()
        for entry in regions[region]:
            _check_presence(entry, begun, here)
            fact = entry.fact
            if isinstance(fact, entries.Issued) and told.setdefault(fact.notice, fact) != fact:
                raise Malformed(f"{_place(entry)}: another copy of the notice says otherwise")
            if isinstance(fact, entries.CallOpened) and home[fact.call] not in (fact.home, *fact.unserved):
                raise Malformed(f"{_place(entry)}: the call is at home elsewhere")
    for entry in (entry for region in sorted(regions) for entry in regions[region]):
        fact = entry.fact
        if isinstance(fact, entries.Proved | entries.ProvedTogether) and not _was_told(fact, told.get(fact.notice)):
            raise Malformed(f"{_place(entry)}: what was confirmed was never told")


def _was_told(proved: entries.Proved | entries.ProvedTogether, notice: entries.Issued | None) -> bool:
    """Whether the digest that clients sent back is one of the notice's texts."""
    return notice is None or proved.digest is None or proved.digest in notice.digests.values()


def _check_presence(entry: Entry, begun: set[str], here: set[str]) -> None:
    """What an entry says of presences it says in the ledger in which they began, and later."""
    match entry.fact:
        case entries.Entered(presence=presence):
            if presence in begun:
                raise Malformed(f"{_place(entry)}: the presence began before")
            begun.add(presence)
            here.add(presence)
        case (
            entries.Listed(presence=presence)
            | entries.Joined(presence=presence)
            | entries.Lost(presence=presence)
            | entries.Closed(presence=presence)
            | entries.Proved(presence=presence)
        ) if presence not in here:
            raise Malformed(f"{_place(entry)}: its presence did not begin in this ledger before")
        case entries.Sent(presences=presences) | entries.Erased(presences=presences) if not here.issuperset(presences):
            raise Malformed(f"{_place(entry)}: its presences did not begin in this ledger before")
        case entries.ProvedTogether(proofs=proofs):
            proved = {word.presence for word in proofs}
            if not proved <= here:
                raise Malformed(f"{_place(entry)}: its presences did not begin in this ledger before")
            if len(proved) != len(proofs):
                raise Malformed(f"{_place(entry)}: a presence is in it twice")


def _place(entry: Entry) -> str:
    return f"regions/{entry.region}/entries.jsonl: entry {entry.number}"
