"""Acks: clients' proofs, from the frame to the receipt. The hot path: ten thousand of them follow one notice.

Rules: a level is proved once and its receipt comes from its commit, a repeat's from the same; what all acks of one
turn prove in a region is one submission; what is equal for all acks of one level of one notice is made once.
Everything is owned by the loop; nothing here waits.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import datetime
from functools import partial
from typing import Final, NamedTuple

from gateway.core import delivery, facts, fold, wire
from gateway.core.errors import Refusal
from gateway.core.framing import frame
from gateway.core.presence import Presence
from gateway.core.proofs import Notice, Proof
from gateway.core.session import Session
from gateway.core.types import Level, rfc3339
from gateway.hub.commits import Gathering
from gateway.hub.interpreter import Interpreter
from gateway.hub.journal import LevelForm
from gateway.hub.live import LiveCall
from gateway.hub.refusing import PUT_OFF, refuse

MOST_REPEATED: Final = 1000
"""Receipts owed for one level of one notice while its commit is under way; whoever repeats more gets no more."""
MOST_WAITING: Final = 100_000
"""Acks a region may have waiting before others are put off (their clients send them again)."""
MOST_FORMS: Final = 1000
"""For how many notices and levels what their acks share is kept."""
SLICE: Final = 200
"""Receipts given before the loop may turn to something else."""

UNKNOWN_NOTICE: Final = Refusal("unknown_notice", "no such notice is owed by this participant", status=404)
WRONG_DIGEST: Final = Refusal("wrong_digest", "the digest is not that of the notice's text")
NO_LEVEL: Final = Refusal("wrong_level", "this level is not for clients to claim")

_BY_DIGEST: Final = frozenset({Level.DISPLAYED, Level.ACKNOWLEDGED})
"""Levels that say what was read: their acks must name it."""


class _Form(NamedTuple):
    """What all acks for one level of one notice share in one region: their entries and their receipts as begun."""

    level: Level
    entry: LevelForm
    receipt: bytes


class _Turn:
    """What the acks of one turn of the loop prove in one region."""

    __slots__ = ("began", "calls", "gathering", "now", "proofs", "sessions", "written")

    def __init__(self, gathering: Gathering, now: datetime, began: float) -> None:
        self.gathering: Final = gathering
        self.now: Final = now
        self.written: Final = rfc3339(now).encode()
        self.began: Final = began
        self.proofs: Final[list[tuple[Proof, _Form]]] = []
        self.sessions: Final[list[Session]] = []
        """Who gets the receipt for each proof."""
        self.calls: Final[dict[LiveCall, None]] = {}


class Acks:
    """Takes acks and gives receipts."""

    def __init__(self, interpreter: Interpreter) -> None:
        self._now: Final = interpreter.now
        self._registry: Final = interpreter.registry
        self._ledgers: Final = interpreter.ledgers
        self._metrics: Final = interpreter.metrics
        self._loop: Final = asyncio.get_running_loop()
        self._forms: Final[dict[tuple[str, Level, str], _Form]] = {}
        self._repeated: Final[dict[Proof, list[Session]]] = {}
        self._turns: Final[dict[str, _Turn]] = {}
        self._waiting: Final[Counter[str]] = Counter()

    # -- a level is proved -------------------------------------------------------------------------------------

    def take(self, session: Session, frame: wire.Ack) -> None:
        """The client proves a level of a notice."""
        live = self._registry.notices.get(frame.notice)
        notice = None if live is None else live.call.notices[frame.notice]
        presence = None if live is None or notice is None else self._owing(live, notice, session)
        if live is None or notice is None or presence is None:
            return refuse(session, UNKNOWN_NOTICE, ack=frame)
        if frame.level is Level.SENT:
            return refuse(session, NO_LEVEL, ack=frame)
        form = self._form(live, notice, frame.level, presence.region)
        if not form.entry.fits(frame.digest):
            return refuse(session, WRONG_DIGEST, ack=frame)
        if self._waiting[presence.region] > MOST_WAITING:
            return refuse(session, PUT_OFF, ack=frame)
        proof = delivery.standing(notice, presence.who, frame.level)
        if proof is None:
            self._prove(session, live, presence, frame, form)
        elif proof.entry is not None:
            session.send(wire.finish_receipt(form.receipt, proof.entry, rfc3339(proof.at).encode()))
        else:
            again = self._repeated.setdefault(proof, [])
            if len(again) < MOST_REPEATED:
                again.append(session)
        return None

    def _owing(self, live: LiveCall, notice: Notice, session: Session) -> Presence | None:
        """The presence by which this session's participant may speak about the notice."""
        call = live.call
        if session not in live.members:
            names = (call.key.call, *self._registry.names.of(call.key))
            if call.key.organization != session.organization or not any(session.may(name) for name in names):
                return None
        presence = call.latest.get(session.participant)
        if presence is None or not presence.owes:
            return None
        return presence if presence.id in notice.sent or delivery.owes(call, notice, presence) else None

    def _form(self, live: LiveCall, notice: Notice, level: Level, region: str) -> _Form:
        key = notice.id, level, region
        form = self._forms.get(key)
        if form is None:
            if len(self._forms) >= MOST_FORMS:
                self._forms.clear()
            digests: set[str | None] = set(notice.fact.digests.values())
            if level not in _BY_DIGEST:
                digests.add(None)
            entry = LevelForm(live.key, notice.id, level, region, digests)
            form = self._forms[key] = _Form(level, entry, wire.begin_receipt(notice.id, level))
        return form

    def _prove(self, session: Session, live: LiveCall, presence: Presence, frame: wire.Ack, form: _Form) -> None:
        call, turn = live.call, self._turn(presence.region)
        live.touched_at = turn.now
        proved = facts.LevelProved(
            call=call.key,
            at=max(turn.now, call.clock),
            presence=presence.id,
            region=presence.region,
            notice=frame.notice,
            level=frame.level,
            reported_at=frame.at,
            session=session.id,
            device=session.device,
            digest=frame.digest,
        )
        fold.apply(call, proved)
        proof = call.notices[frame.notice].said(presence.who, frame.level)
        assert proof is not None
        at = turn.written if proved.at == turn.now else rfc3339(proved.at).encode()
        turn.gathering.leaves.append((form.entry.write(proved, at, live.ink), call.key))
        turn.proofs.append((proof, form))
        turn.sessions.append(session)
        turn.calls[live] = None
        self._waiting[presence.region] += 1

    def _turn(self, region: str) -> _Turn:
        turn = self._turns.get(region)
        if turn is None or turn.gathering.closed:
            turn = _Turn(self._ledgers.gather(region), self._now(), self._loop.time())
            turn.gathering.then = partial(self._confirm, turn)
            self._turns[region] = turn
        return turn

    # -- and is durable ----------------------------------------------------------------------------------------

    def _confirm(self, turn: _Turn, first: int) -> None:
        """The turn's entries are durable, from number `first` on."""
        for onlooker in (each for live in turn.calls for each in live.current().call.onlookers):
            onlooker.before_confirmation(proof for proof, _ in turn.proofs)
        for entry, (proof, _) in enumerate(turn.proofs, first):
            proof.confirm(proof.at, entry)
        self._waiting[turn.gathering.region] -= len(turn.proofs)
        self._metrics.ack_to_durable(self._loop.time() - turn.began, len(turn.proofs))
        for live in turn.calls:
            live.current().changed()
        self._give(turn, 0)

    def _give(self, turn: _Turn, start: int) -> None:
        """Give a slice of the receipts, and the others in later turns."""
        given: Counter[str] = Counter()
        end = start + SLICE
        for (proof, form), session in zip(turn.proofs[start:end], turn.sessions[start:end], strict=True):
            assert proof.entry is not None
            receipt = frame(wire.finish_receipt(form.receipt, proof.entry, rfc3339(proof.at).encode()))
            given[form.level] += session.send_framed(receipt)
            if proof in self._repeated:
                given[form.level] += sum(each.send_framed(receipt) for each in self._repeated.pop(proof))
        for level, count in given.items():
            self._metrics.receipts(level, count)
        if end < len(turn.proofs):
            self._loop.call_soon(self._give, turn, end)
