"""The load's sessions: sockets that join a call, acknowledge every notice and cost the machine little.

Rules: one `asyncio.Protocol` per session and nothing else, no task, no timer unless it thinks; a notice is told from
the bytes of the one before, a receipt from its first bytes, and only what is unusual is parsed; the handshake is
plain bytes. Owned by the loop. What this costs, and what other ways cost, stands in docs/load.md.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from typing import Final, cast

import msgspec

from gateway.core.framing import measure

from .frames import CLOSE, DECODER, HEAD_END, PING, SWITCHED, TEXT, Heard, framed, pong
from .tally import Call, Notice, Proof, Tally

_BYE: Final = framed({"type": "bye"})
_NOTHING_OWED: Final = b'"notices":[]'
_STATE: Final = b'{"type":"state"'


class Session(asyncio.Protocol):
    """One participant's session over any number of connections, for `asyncio`'s `create_connection`.

    `joined` is done once the state came; it fails with ConnectionError where that will not be.
    """

    __slots__ = (
        "_awaiting",
        "_call",
        "_caught_up",
        "_greeting",
        "_heard",
        "_proved",
        "_rest",
        "_tally",
        "_to",
        "_upgrade",
        "began_at",
        "dropped",
        "joined",
        "lost",
        "opened",
        "reading",
        "slow",
    )

    def __init__(self, upgrade: bytes, token: str, call: Call, tally: Tally, *, slow: bool = False) -> None:
        self._upgrade, self._call, self._tally = upgrade, call, tally
        hello, join = {"type": "hello", "token": token, "client": "load/2"}, {"type": "join", "id": "1"}
        self._greeting = framed(dict[str, object](hello)) + framed({**join, "call": call.name})
        self._to: asyncio.Transport | None = None
        self._rest = b""
        self._awaiting: dict[Proof, float] = {}
        # Sets of notices, as the sum of their bits.
        self._heard = self._proved = self._caught_up = 0
        self.slow = slow
        """Whether it stops reading when it is told to."""
        self.opened = self.dropped = False
        self.began_at = 0.0
        self.joined: asyncio.Future[None]
        self.lost: Callable[[Session], None] | None = None
        """Is told when the connection was lost."""
        self.reading = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._to = cast(asyncio.Transport, transport)
        self._rest = b""
        self.opened = self.dropped = False
        self.reading = True
        self._to.write(self._upgrade)

    def data_received(self, data: bytes) -> None:
        if not self._rest and self.opened:
            newest = self._call.newest
            if data == newest.frame:
                self._hear(newest)
                return
            for proof, acked_at in self._awaiting.items():
                # A receipt is about as long as a header of two bytes can say, some longer and some shorter.
                if data.startswith(proof.prefix, 4):
                    end = 4 + (data[2] << 8 | data[3])
                elif data.startswith(proof.prefix, 2):
                    end = 2 + data[1]
                else:
                    continue
                if end == len(data):
                    self._prove(proof, acked_at)
                    return
                break
        self._walk(self._rest + data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._to = None
        if not self.joined.done():
            self.joined.set_exception(ConnectionError("lost before the call was joined"))
        elif not self.dropped:
            self._tally.counts["lost"] += 1
            if self.lost is not None:
                self.lost(self)

    def start(self) -> None:
        """A connection is about to be opened."""
        self.began_at = time.perf_counter()
        self.joined = asyncio.get_running_loop().create_future()

    def drop(self) -> None:
        """Cut the connection, if there is one, without a word."""
        if self._to is not None:
            self.dropped = True
            self._to.abort()

    def leave(self) -> None:
        """Go, as a participant who leaves."""
        if self._to is not None:
            self.dropped = True
            self._to.write(_BYE)
            self._to.close()

    def read(self, *, on: bool) -> None:
        """Read, or stop reading; a new connection reads."""
        self.reading = on
        if self._to is None:
            return
        if on:
            self._to.resume_reading()
        else:
            self._to.pause_reading()

    @property
    def connected(self) -> bool:
        """Whether there is a connection."""
        return self._to is not None

    @property
    def entered(self) -> bool:
        """Whether it is connected and in its call."""
        return self._to is not None and self.joined.done() and not self.dropped

    @property
    def unheard(self) -> int:
        """How many events of the call it has not heard of."""
        return self._call.events - self._heard.bit_count()

    @property
    def behind(self) -> int:
        """How many events of the call it has not proved; or not heard of, where there are no receipts."""
        return self._call.events - (self._proved if self._tally.manner.receipts else self._heard).bit_count()

    def _hear(self, notice: Notice) -> None:
        if self._heard & notice.bit:
            self._tally.counts["repeated"] += 1  # a reminder: it is confirmed already, or will be
            return
        self._heard |= notice.bit
        if self.slow:
            self._caught_up |= notice.bit  # its own doing, so it says nothing about the server
            if not self._tally.manner.receipts:
                self._tally.settle()
        else:
            self._tally.told(notice)
        self._confirm(notice)

    def _confirm(self, notice: Notice) -> None:
        if notice.at_once and self._to is not None:
            self._to.write(notice.acks)
            if self._tally.manner.receipts:
                now = time.perf_counter()
                for each in notice.at_once:
                    self._awaiting[each] = now
        if len(notice.at_once) < len(notice.proofs):
            self._think(notice, len(notice.at_once))

    def _think(self, notice: Notice, place: int) -> None:
        manner = self._tally.manner
        delay = manner.think * random.uniform(1 - manner.jitter, 1 + manner.jitter)  # noqa: S311 - no secret
        asyncio.get_running_loop().call_later(delay, self._decide, notice, place)

    def _decide(self, notice: Notice, place: int) -> None:
        """The person has made up their mind about one level; if they are away now, the next state asks again."""
        if self._to is None:
            return
        self._ack(notice.proofs[place])
        if place + 1 < len(notice.proofs):
            self._think(notice, place + 1)

    def _ack(self, proof: Proof) -> None:
        assert self._to is not None
        self._to.write(proof.ack)
        if self._tally.manner.receipts:
            self._awaiting[proof] = time.perf_counter()

    def _prove(self, proof: Proof, acked_at: float) -> None:
        now = time.perf_counter()
        del self._awaiting[proof]
        notice = proof.notice
        if not self.slow:
            proof.confirmed.append(now - acked_at)
        self._tally.fresh[notice.id] = notice
        if proof.last and not self._proved & notice.bit:
            self._proved |= notice.bit
            if self._caught_up & notice.bit:
                self._tally.counts["caught up"] += 1
            else:
                notice.proved.append(now)
            self._tally.settle()

    def _walk(self, data: bytes) -> None:
        """Everything that is not the one usual frame in one piece."""
        start = 0
        if not self.opened:
            start = self._open(data)
            if not self.opened:
                self._rest = data[start:]
                return
        while True:
            begin, end = measure(data, start)
            if begin == 0 or end > len(data):
                break
            if data[start] == TEXT:
                self._take(data[begin:end], data[start:end])
            elif data[start] == PING and self._to is not None:
                self._to.write(pong(data[begin:end]))
            elif data[start] == CLOSE and not self.dropped:
                self._fault(f"closed with {int.from_bytes(data[begin : begin + 2], 'big')}")
            start = end
        self._rest = data[start:]

    def _open(self, data: bytes) -> int:
        """Where the frames begin after the answer to the upgrade, once that is whole."""
        assert self._to is not None
        end = data.find(HEAD_END)
        if end < 0:
            return 0
        if not data.startswith(SWITCHED):
            self._tally.fault(f"refused with {data[9:12].decode('ascii', 'replace')}")
            self._to.abort()
            return len(data)
        self.opened = True
        self._to.write(self._greeting)
        return end + len(HEAD_END)

    def _take(self, payload: bytes, frame: bytes) -> None:
        if frame == self._call.newest.frame:
            self._hear(self._call.newest)
            return
        if payload.startswith(_STATE) and _NOTHING_OWED in payload:
            self._enter(())
            return
        try:
            self._consider(DECODER.decode(payload), frame)
        except msgspec.MsgspecError as error:
            self._tally.fault(f"a frame that cannot be read: {error}")

    def _consider(self, heard: Heard, frame: bytes) -> None:
        assert self._to is not None
        if heard.type == "notice":
            self._hear(self._tally.learn(self._call, heard, frame))
        elif heard.type == "state":
            self._enter(heard.notices)
        elif heard.type == "receipt":
            for proof, acked_at in self._awaiting.items():
                if proof.notice.id == heard.notice and proof.level == heard.level:
                    self._prove(proof, acked_at)
                    break
        elif heard.type == "ping":
            self._to.write(self._tally.pong(heard.at))
        elif heard.type == "error":
            self._fault(f"error {heard.code}")

    def _fault(self, what: str) -> None:
        if self.slow:
            self._tally.counts["too slow"] += 1
        else:
            self._tally.fault(what)

    def _enter(self, owed: tuple[()] | list[Heard]) -> None:
        """The state came: catch up with what it says is owed, and say again what has no receipt."""
        if not self.joined.done():
            self._tally.connects.append(time.perf_counter() - self.began_at)
            self.joined.set_result(None)
        for heard in owed:
            notice = self._tally.learn(self._call, heard)
            self._heard |= notice.bit
            self._caught_up |= notice.bit
            self._confirm(notice)
        for proof in list(self._awaiting):
            if not any(proof.notice.id == each.notice for each in owed):
                self._caught_up |= proof.notice.bit
                self._ack(proof)
