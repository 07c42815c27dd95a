"""A survey: coverage of a whole call at one moment, taken piece by piece while the call goes on.

Rules: what a survey says is true of the moment at which it began and of no other. For that nothing is copied and
nothing is done again: whatever of a call is about to change is looked at before it does (see `showing`), and the rest
in its turn. What the answer says of each gap is written as JSON at once, so that its end takes no longer than its
pieces.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Final

import msgspec

from gateway.core.call import Call
from gateway.core.coverage import NOBODY, Asked, ask, lacking, standing_reason
from gateway.core.delivery import overlaps, proof_by, required
from gateway.core.presence import Presence
from gateway.core.proofs import Proof, proofs_of
from gateway.core.types import Level, Reason, rfc3339

_MILLISECOND: Final = timedelta(milliseconds=1)


class Row(msgspec.Struct, gc=False):
    """One gap, as it is written."""

    participant: str | None
    presence: str
    reason: Reason
    since: str
    exposure_ms: int


class Column:
    """One notice, and what has been found of it so far: `rows` are yet to be written, `written` are."""

    __slots__ = ("asked", "gaps", "issued_at", "owed", "proof_of", "rows", "written")

    def __init__(self, asked: Asked) -> None:
        self.asked: Final = asked
        self.issued_at: Final = rfc3339(asked.issued_at)
        self.proof_of: Final = proofs_of(asked.notice, asked.level)
        self.owed = 0
        self.gaps = 0
        self.rows: list[Row] = []
        self.written: list[bytes] = []

    def write(self) -> None:
        """Write what was found since."""
        if self.rows:
            self.gaps += len(self.rows)
            rows = msgspec.json.encode(self.rows)[1:-1]
            self.written.append(b"," + rows if self.written else rows)
            self.rows = []

    def head(self) -> bytes:
        """What is said of the notice itself, up to its gaps."""
        fact = self.asked.notice.fact
        fields = {
            "notice": fact.notice,
            "capability": fact.capability.value,
            "change": fact.change.value,
            "episode": fact.episode,
            "revision": fact.revision,
            "occurred_at": rfc3339(fact.occurred_at),
            "issued_at": self.issued_at,
            "owed": self.owed,
            "proved": self.owed - self.gaps,
        }
        return msgspec.json.encode(fields)[:-1] + b',"gaps":['


class Survey:
    """Coverage of `call` at `level`, as it is now. Owned by the loop; `close` it, or the call shows it every change.

    `behind` are presences whose client reads too slowly; `first` is the place of the presence to be looked at first.
    """

    def __init__(
        self, call: Call, level: Level, now: datetime, behind: Collection[str] = NOBODY, first: int = 0
    ) -> None:
        now = max(now, call.clock)
        self._call: Final = call
        self._level: Final = level
        self._behind: Final = behind
        self._unserved: Final = sorted(call.unserved)
        self._columns: Final = [
            Column(ask(call, notice, required(notice, level), now)) for notice in call.notices.values()
        ]
        everyone = list(dict.fromkeys(call.presences.values()))
        place = first % max(1, len(everyone))
        everyone = everyone[place:] + everyone[:place]
        self._everyone: Final = len(everyone)
        self._in_turn: Final = iter(everyone)
        self._waiting: Final = set(everyone)
        self._since: Final[set[Proof]] = set()
        self._others: Final[dict[str, list[Presence]]] = {}
        for presence in everyone:
            if presence.id != presence.who:
                self._others.setdefault(presence.who, []).append(presence)
        call.onlookers.append(self)

    def close(self) -> None:
        """Changes of the call are its own affair again."""
        if self in self._call.onlookers:
            self._call.onlookers.remove(self)

    @property
    def finished(self) -> bool:
        """Whether everyone was looked at."""
        return not self._waiting

    @property
    def looked(self) -> int:
        """How many have been looked at."""
        return self._everyone - len(self._waiting)

    @property
    def proved(self) -> bool:
        """Whether nobody lacks anything, as far as was looked."""
        return not any(column.gaps or column.rows for column in self._columns)

    def advance(self, pairs: int) -> None:
        """Look at the next few: at so many presences and notices, or at one presence."""
        people = max(1, pairs // max(1, len(self._columns)))
        while people and self._waiting:
            presence = next(self._in_turn)
            if presence in self._waiting:
                self._look(presence)
                people -= 1
        for column in self._columns:
            column.write()

    def before(self, presence: Presence) -> None:
        """This presence is about to change, or what is proved by it."""
        if presence in self._waiting:
            self._look(presence)

    def before_proof(self, presence: Presence) -> None:
        """What is proved by the person of this presence is about to change: it counts for their others too."""
        self.before(presence)
        for each in self._others.get(presence.who, ()):
            self.before(each)
        first = self._call.presences.get(presence.who)
        if first is not None:
            self.before(first)

    def before_confirmation(self, proofs: Iterable[Proof]) -> None:
        """These proofs are about to count as durable: here they do not yet."""
        self._since.update(proofs)

    def before_everything(self) -> None:
        """Everybody is about to change."""
        for presence in list(self._waiting):
            self._look(presence)

    def _look(self, presence: Presence) -> None:
        self._waiting.remove(presence)
        if not presence.owes:
            return
        standing = standing_reason(presence, self._behind)
        here, who = presence.closed_at is None, presence.who
        for column in self._columns:
            asked = column.asked
            if here and asked.goes_on:
                # By far most: whoever is there owes what goes on, and whatever was proved counts.
                proof = column.proof_of(who)
            elif overlaps(presence, asked.issued_at, asked.lasts_until, ends=asked.ends):
                proof = proof_by(asked.notice, presence, asked.level, asked.lasts_until)
            else:
                continue
            column.owed += 1
            if proof is not None and proof.entry is not None and asked.durable and proof not in self._since:
                continue
            reason, since, exposure = lacking(asked, presence, proof, standing)
            written = column.issued_at if since is asked.issued_at else rfc3339(since)
            column.rows.append(Row(presence.participant, presence.id, reason, written, exposure // _MILLISECOND))

    def report(self) -> list[bytes]:
        """The answer of `GET /v1/calls/{call}/coverage` (docs/operations.md): JSON in pieces, of a finished survey."""
        key = self._call.key
        head = {"call": key.call, "organization": key.organization, "level": self._level.value}
        pieces = [msgspec.json.encode(head)[:-1] + b',"notices":[']
        for place, column in enumerate(self._columns):
            column.write()
            pieces.append(b"," * (place > 0) + column.head())
            pieces += column.written
            pieces.append(b"]}")
        # Nobody here knows who of a region that is not served's people was told.
        tail = {"complete": self.proved and not self._unserved}
        unserved = {"unserved": self._unserved} if self._unserved else {}
        pieces.append(b"]," + msgspec.json.encode({**tail, **unserved})[1:])
        return pieces
