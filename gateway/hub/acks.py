"""Acks: clients' proofs, from the frame to the receipt. The hot path: ten thousand of them follow one notice.

Rules: a level is proved once and its receipt comes from its commit, a repeat's from the same; acks of one turn of the
loop for the same level of the same notice are one entry, and their receipts are the same bytes. What is looked at per
ack stands in `take`; everything else is done once per group and turn. Everything is owned by the loop; nothing waits.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Final, NamedTuple

from gateway.core import delivery, fold, wire
from gateway.core.errors import Refusal
from gateway.core.framing import frame
from gateway.core.presence import Presence
from gateway.core.proofs import Notice, Proof
from gateway.core.session import Session
from gateway.core.types import CONSENT, CallKey, Level, rfc3339
from gateway.hub.commits import Gathering, Leaves
from gateway.hub.entrances import Entrances
from gateway.hub.interpreter import Interpreter
from gateway.hub.journal import LevelForm, LevelRow, device_digest
from gateway.hub.live import LiveCall
from gateway.hub.refusing import PUT_OFF, refuse

MOST_REPEATED: Final = 1000
"""Receipts owed for one level of one notice while its commit is under way; whoever repeats more gets no more."""
MOST_WAITING: Final = 100_000
"""Acks a region may have waiting before others are put off (their clients send them again)."""
MOST_GROUPS: Final = 10_000
"""For how many notices, levels and languages what their acks share is kept."""
MOST_PROOFS: Final = 1000
"""How many an entry may hold, so that whoever reads one can."""
SLICE: Final = 200
"""Receipts given before the loop may turn to something else."""

UNKNOWN_NOTICE: Final = Refusal("unknown_notice", "no such notice is owed by this participant", status=404)
WRONG_DIGEST: Final = Refusal("wrong_digest", "the digest is not that of the notice's text")
NO_LEVEL: Final = Refusal("wrong_level", "this level is not for clients to claim")

_DONE: Final = object()
_BY_DIGEST: Final = frozenset({Level.DISPLAYED, Level.ACKNOWLEDGED})
"""Levels that say what was read: their acks must name it."""


class _Group:
    """Acks that say the same: the level of a notice in one language, in one region.

    `rows` is what this turn proves at `at`, `proofs` the same as live state, `sessions` who gets the receipts.
    """

    __slots__ = ("at", "form", "level", "live", "notice", "proofs", "receipt", "region", "rows", "sessions", "standing")

    def __init__(self, live: LiveCall, notice: Notice, level: Level, digest: str | None, region: str) -> None:
        self.live: Final = live
        self.notice: Final = notice
        self.level: Final = level
        self.region: Final = region
        self.form: Final = LevelForm(live.key, notice.id, level, digest, region)
        self.receipt: Final = wire.begin_receipt(notice.id, level)
        self.standing: Final = delivery.standing(notice, level)
        self.at = live.touched_at
        self.clear()

    def clear(self) -> None:
        """The turn is over."""
        self.rows: list[LevelRow] = []
        self.proofs: list[Proof] = []
        self.sessions: list[Session] = []


class _Batch(NamedTuple):
    """What one turn proved of a group, while its entry is written."""

    group: _Group
    at: bytes
    proofs: list[Proof]
    sessions: list[Session]


class _Turn:
    """What one turn of the loop proves in one region: `groups` while it lasts, `batches` afterwards."""

    __slots__ = ("_waiting", "batches", "began", "gathering", "groups", "now")

    def __init__(self, acks: Acks, region: str, now: datetime, began: float) -> None:
        self._waiting: Final = acks.waiting
        self.now: Final = now
        self.began: Final = began
        self.groups: Final[list[_Group]] = []
        self.batches: Final[list[_Batch]] = []
        self.gathering: Final = Gathering(region, self._fill, partial(acks.confirm, self))

    def _fill(self) -> Leaves:
        leaves: list[tuple[bytes, CallKey]] = []
        for group in self.groups:
            at = rfc3339(group.at).encode()
            leaves.append((group.form.write(at, group.rows), group.live.key))
            self.batches.append(_Batch(group, at, group.proofs, group.sessions))
            self._waiting[group.region] += len(group.rows)
            group.clear()
        return leaves


class Acks:
    """Takes acks and gives receipts."""

    def __init__(self, interpreter: Interpreter, entrances: Entrances) -> None:
        self._now: Final = interpreter.now
        self._registry: Final = interpreter.registry
        self._ledgers: Final = interpreter.ledgers
        self._metrics: Final = interpreter.metrics
        self._entrances: Final = entrances
        self._loop: Final = asyncio.get_running_loop()
        self._groups: Final[dict[tuple[str, Level, str | None, str], _Group]] = {}
        self._turns: Final[dict[str, _Turn]] = {}
        self._repeated: Final[dict[Proof, list[Session]]] = {}
        self.waiting: Final[Counter[str]] = Counter()
        """Acks of each region whose entries are written."""

    # -- a level is proved -------------------------------------------------------------------------------------

    def take(self, session: Session, ack: wire.Ack) -> None:
        """The client proves a level of a notice."""
        group = self._groups.get((ack.notice, ack.level, ack.digest, session.region))
        if group is None or group.live.moved_to is not None:
            group = self._open(session, ack)
            if group is None:
                return None
        presence = group.live.call.latest.get(session.participant)
        if presence is None or not self._owing(group.live, group.notice, session, presence):
            return refuse(session, UNKNOWN_NOTICE, ack=ack)
        standing = group.standing(presence.who)
        if standing is None:
            self._prove(group, session, presence, ack)
        else:
            self._repeat(group, session, standing)
        return None

    def _owing(self, live: LiveCall, notice: Notice, session: Session, presence: Presence) -> bool:
        """Whether this session may speak about the notice, which the presence owes."""
        if session not in live.members:
            names = (live.key.call, *self._registry.names.of(live.key))
            if live.key.organization != session.organization or not any(session.may(name) for name in names):
                return False
        return presence.owes and (presence.id in notice.sent or delivery.owes(live.call, notice, presence))

    def _open(self, session: Session, ack: wire.Ack) -> _Group | None:
        """The ack's group, the first time; None where the ack was refused, or put off until its call is there."""
        live = self._registry.notices.get(ack.notice)
        if live is None and self._entrances.defer(session, None, lambda: self.take(session, ack)):
            return None
        notice = None if live is None else live.call.notices[ack.notice]
        presence = None if live is None else live.call.latest.get(session.participant)
        if live is None or notice is None or presence is None or not self._owing(live, notice, session, presence):
            refuse(session, UNKNOWN_NOTICE, ack=ack)
        elif ack.level is Level.SENT:
            refuse(session, NO_LEVEL, ack=ack)
        elif not _digest_fits(notice, ack):
            refuse(session, WRONG_DIGEST, ack=ack)
        else:
            if len(self._groups) >= MOST_GROUPS:
                self._groups.clear()
            group = _Group(live, notice, ack.level, ack.digest, session.region)
            self._groups[ack.notice, ack.level, ack.digest, session.region] = group
            return group
        return None

    def _prove(self, group: _Group, session: Session, presence: Presence, ack: wire.Ack) -> None:
        if not group.rows and not self._begin(group):
            return refuse(session, PUT_OFF, ack=ack)
        salt = None if session.device is None else group.live.ink.salts.get(presence.id)
        device = None if salt is None or session.device is None else device_digest(salt, session.device)
        group.rows.append((presence.id, session.id, rfc3339(ack.at), device))
        group.proofs.append(fold.prove(group.live.call, group.notice, presence, group.level, group.at))
        group.sessions.append(session)
        if len(group.rows) >= MOST_PROOFS or group.level in CONSENT:
            # Of consent the last word holds: what is said next may not stand beside what was said before.
            self._turns[group.region].gathering.close()
        return None

    def _repeat(self, group: _Group, session: Session, proof: Proof) -> None:
        """Saying it again is answered by the same entry, once that is durable."""
        if proof.entry is not None:
            session.send(wire.finish_receipt(group.receipt, proof.entry, rfc3339(proof.at).encode()))
            return
        again = self._repeated.setdefault(proof, [])
        if len(again) < MOST_REPEATED:
            again.append(session)

    # -- a turn ends -------------------------------------------------------------------------------------------

    def _begin(self, group: _Group) -> bool:
        """The turn proves something of this group; False where too much waits in its region."""
        if self.waiting[group.region] > MOST_WAITING:
            return False
        turn = self._turns.get(group.region)
        if turn is None or turn.gathering.closed:
            turn = self._turns[group.region] = _Turn(self, group.region, self._now(), self._loop.time())
            self._ledgers.gather(turn.gathering)
        live = group.live
        live.touched_at = turn.now
        group.at = max(turn.now, live.call.clock)
        turn.groups.append(group)
        return True

    # -- and is durable ----------------------------------------------------------------------------------------

    def confirm(self, turn: _Turn, first: int) -> None:
        """The turn's entries are durable, from number `first` on: the receipts may be given."""
        proved = 0
        receipts: list[tuple[_Batch, bytes]] = []
        for entry, batch in enumerate(turn.batches, first):
            live = batch.group.live.current()
            fold.confirm_all(live.call, batch.proofs, entry)
            live.changed()
            proved += len(batch.proofs)
            receipts.append((batch, frame(wire.finish_receipt(batch.group.receipt, entry, batch.at))))
        self.waiting[turn.gathering.region] -= proved
        self._metrics.ack_to_durable(self._loop.time() - turn.began, proved)
        self._advance(self._give(receipts))

    def _give(self, receipts: Sequence[tuple[_Batch, bytes]]) -> Iterator[None]:
        """Give the receipts, in slices."""
        given = 0
        for batch, receipt in receipts:
            sent = 0
            for proof, session in zip(batch.proofs, batch.sessions, strict=True):
                sent += session.send_framed(receipt)
                if self._repeated and proof in self._repeated:
                    sent += sum(each.send_framed(receipt) for each in self._repeated.pop(proof))
                given += 1
                if given % SLICE == 0:
                    yield
            self._metrics.receipts(batch.group.level, sent)

    def _advance(self, giving: Iterator[None]) -> None:
        if next(giving, _DONE) is not _DONE:
            self._loop.call_soon(self._advance, giving)


def _digest_fits(notice: Notice, ack: wire.Ack) -> bool:
    if ack.digest is None:
        return ack.level not in _BY_DIGEST
    return ack.digest in notice.fact.digests.values()
