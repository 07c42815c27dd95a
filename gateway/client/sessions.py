"""A client's sessions with the gateway, one after another, until the gateway's word is final or the app ends it.

Rules: the only module of the client that knows a socket; what is read goes to the pure state, what is written
comes from its outbox; a connection on which nothing comes is dead; before the first welcome a refusal that cannot
heal by itself ends the client, after it everything is tried again with full jitter; no token or text is logged.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus, InvalidURI, WebSocketException
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from gateway.client.frames import (
    SUBPROTOCOL,
    BadFrame,
    ByeFrame,
    ClientClosed,
    Forked,
    Goaway,
    NoticeFrame,
    ServerFrame,
    StateFrame,
    TokenFailed,
    Welcome,
    read,
    verdict,
    write,
)
from gateway.client.outbox import Backoff
from gateway.client.settings import Settings
from gateway.client.state import ClientState
from gateway.client.tokens import fetch
from gateway.client.waiting import Waiting
from gateway.client.witness import Witness
from gateway.core.types import rfc3339

OPEN_SECONDS: Final = 10.0
CLOSE_SECONDS: Final = 1.0
STABLE_SECONDS: Final = 5.0
LONGEST_GOAWAY_SECONDS: Final = 300.0
UNPROVEN_SECONDS: Final = 10.0
"""How long a session goes on whose gateway owes a proof: people are told, and it is soon asked again."""
_log = logging.getLogger("gateway.client")


@dataclass(frozen=True, slots=True)
class _Ending:
    """Why a connection ended, and what to do: `retry` as in a bye; `wait` seconds where the gateway said so.

    `error` is the client's own, where it could not go on.
    """

    code: int
    reason: str
    retry: str = "reconnect"
    wait: float | None = None
    error: ClientClosed | None = None


@dataclass(slots=True)
class _Session:
    """One connection, by the loop's clock: what was heard on it, and until when it may live."""

    socket: ClientConnection
    token: str
    heard_at: float
    patience: float = OPEN_SECONDS
    lifetime: float = 0.0
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    bye: ByeFrame | None = None
    resume_at: float | None = None

    def limit(self) -> float:
        """When to stop waiting for the next frame."""
        patience = CLOSE_SECONDS if self.bye is not None else self.patience
        limit = self.heard_at + patience
        return limit if self.resume_at is None else min(limit, self.resume_at)

    def ending(self, code: int, reason: str, now: float) -> _Ending:
        """What to do now that the connection closed with `code`; a bye said it better."""
        if self.bye is not None:
            code, reason = self.bye.code, self.bye.reason
        retry = verdict(code, None if self.bye is None else self.bye.retry)
        told = self.resume_at is not None and retry == "reconnect"
        return _Ending(code, reason, retry, max(0.0, self.resume_at - now) if told and self.resume_at else None)


class Sessions:
    """Keeps one session after another; owned by the loop that runs the client."""

    def __init__(self, settings: Settings, state: ClientState, waiting: Waiting, witness: Witness) -> None:
        """Raises ValueError if the URL is none."""
        try:
            parse_uri(settings.url)
        except InvalidURI:
            raise ValueError("the URL is not of the form ws://host/path or wss://host/path") from None
        self._settings, self._state, self._waiting, self._witness = settings, state, waiting, witness
        self._session: _Session | None = None
        self._work = asyncio.Event()
        self._leaving = False
        self.begun = asyncio.Event()
        self.welcome: Welcome | None = None

    @property
    def connected(self) -> bool:
        """Whether a welcomed session stands."""
        return self._session is not None and self._session.opened.is_set()

    def wake(self) -> None:
        """Something new may be in the outbox."""
        self._work.set()

    async def run(self) -> None:
        """Connect again and again. Returns when it is over, after everyone who waits has been told why."""
        loop, backoff = asyncio.get_running_loop(), Backoff()
        try:
            while not self._leaving:
                began_at = loop.time()
                ending = await self._live()
                if self._final(ending):
                    raise ending.error or ClientClosed(ending.code, ending.reason, ending.retry)
                if loop.time() - began_at >= STABLE_SECONDS:
                    backoff.reset()
                delay = backoff.delay(self._settings.chance()) if ending.wait is None else ending.wait
                _log.info("the connection ended with %d; the next follows in %.1f s", ending.code, delay)
                await asyncio.sleep(delay)
        except (ClientClosed, TokenFailed) as error:
            self._waiting.close(error)
            self.begun.set()

    async def say_goodbye(self) -> None:
        """Send what may still be sent, and `bye`; takes two seconds at most."""
        self._leaving = True
        session, loop = self._session, asyncio.get_running_loop()
        if session is None or not session.opened.is_set():
            return
        with suppress(ConnectionClosed, TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                while (data := self._state.outbox.next_frame(loop.time())) is not None:
                    await session.socket.send(data, text=True)
                await session.socket.send(write({"type": "bye"}), text=True)
        await session.socket.close()

    def _final(self, ending: _Ending) -> bool:
        fixed = ending.retry == "refresh" and not callable(self._settings.token)
        return ending.retry in ("never", "elsewhere") or fixed

    async def _live(self) -> _Ending:
        """One connection from opening to end."""
        first = self.welcome is None
        try:
            token = await fetch(self._settings.token)
            socket = await self._open()
        except TokenFailed:
            if first:
                raise
            return _Ending(4101, "no token", "refresh")
        except InvalidStatus as refused:
            status = refused.response.status_code
            final = first and 400 <= status < 500 and status not in (408, 425, 429)
            return _Ending(status, "the handshake was refused", "never" if final else "reconnect")
        except (OSError, EOFError, InvalidMessage):
            return _Ending(1006, "the gateway cannot be reached")
        except WebSocketException:
            return _Ending(1002, "the handshake failed", "never" if first else "reconnect")
        try:
            if socket.subprotocol != SUBPROTOCOL:
                return _Ending(1002, "not a gateway of this protocol", "never" if first else "reconnect")
            self._session = _Session(socket, token, asyncio.get_running_loop().time())
            return await self._talk(self._session)
        finally:
            self._session = None
            socket.transport.abort()

    async def _open(self) -> ClientConnection:
        return await connect(
            self._settings.url,
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            compression=None,
            proxy=None,
            ssl=self._settings.tls,
            open_timeout=OPEN_SECONDS,
            close_timeout=CLOSE_SECONDS,
            ping_interval=None,  # the gateway pings; silence is what tells
            max_size=2**20,
        )

    async def _talk(self, session: _Session) -> _Ending:
        async with asyncio.TaskGroup() as tasks:
            writer = tasks.create_task(self._write(session), name="gateway client writer")
            renewal = tasks.create_task(self._renew(session), name="gateway client token")
            try:
                return await self._read(session)
            finally:
                writer.cancel()
                renewal.cancel()

    async def _read(self, session: _Session) -> _Ending:
        loop = asyncio.get_running_loop()
        while True:
            try:
                async with asyncio.timeout_at(session.limit()):
                    data = await session.socket.recv(decode=False)
            except TimeoutError:
                if session.bye is None and session.resume_at is not None and loop.time() >= session.resume_at:
                    await session.socket.close()
                    return _Ending(1001, "the gateway asked to come back now", wait=0.0)
                return session.ending(1006, "nothing was heard for too long", loop.time())
            except ConnectionClosed as closed:
                code, reason = (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (1006, "connection lost")
                return session.ending(code, reason, loop.time())
            session.heard_at = loop.time()
            try:
                if (frame := read(data)) is not None:
                    self._take(session, frame)
            except BadFrame as bad:
                await session.socket.close(1002)
                return _Ending(1002, str(bad))
            except Forked as forked:
                await session.socket.close(forked.code)
                return _Ending(forked.code, forked.reason, "never", error=forked)

    def _take(self, session: _Session, frame: ServerFrame) -> None:
        match frame:
            case Welcome():
                self._take_welcome(session, frame)
            case ByeFrame():
                session.bye = frame
            case Goaway():
                wait = min(max(frame.reconnect_after_ms, 0) / 1000, LONGEST_GOAWAY_SECONDS)
                session.resume_at = session.heard_at + wait
            case _:
                at = rfc3339(self._settings.now())
                answers = self._state.take(frame, at=at, now=session.heard_at, chance=self._settings.chance())
                for key, answer in answers:
                    self._waiting.give(key, answer)
                    if key[0] == "join":
                        self._waiting.wake(key[1])
                if isinstance(frame, StateFrame | NoticeFrame):
                    self._waiting.wake(frame.call)
                if not self._state.outbox.unconfirmed:
                    self._waiting.hush()
                self._work.set()

    def _take_welcome(self, session: _Session, frame: Welcome) -> None:
        if not self._witness.judge(frame.checkpoint, frame.consistency):
            _log.warning("the gateway owes a proof about its ledger; it is asked again in %.0f s", UNPROVEN_SECONDS)
            session.resume_at = session.heard_at + UNPROVEN_SECONDS
        self.welcome = frame
        session.lifetime = (frame.expires_at - frame.server_time).total_seconds()
        silence = self._settings.silence
        session.patience = 2.0 * frame.ping_seconds + min(2.0, frame.ping_seconds) if silence is None else silence
        if not session.opened.is_set():
            self._state.outbox.connected(session.heard_at)
            session.opened.set()
            self.begun.set()

    async def _write(self, session: _Session) -> None:
        loop, outbox = asyncio.get_running_loop(), self._state.outbox
        hello = {**self._settings.hello, "token": session.token, "checkpoint": self._witness.said}
        with suppress(ConnectionClosed):  # the reader learns of it, and why
            await session.socket.send(write(hello), text=True)
            await session.opened.wait()
            while True:
                self._work.clear()
                while (data := outbox.next_frame(loop.time())) is not None:
                    await session.socket.send(data, text=True)
                with suppress(TimeoutError):
                    async with asyncio.timeout(outbox.wait(loop.time())):
                        await self._work.wait()

    async def _renew(self, session: _Session) -> None:
        """Refresh the token before it expires, trying more often the nearer that is."""
        loop = asyncio.get_running_loop()
        await session.opened.wait()
        if not callable(self._settings.token):
            return
        expires_at = loop.time() + session.lifetime
        while True:
            await asyncio.sleep(max(min(1.0, session.lifetime / 10), 0.75 * (expires_at - loop.time())))
            try:
                token = await fetch(self._settings.token)
            except TokenFailed:
                _log.warning("the token callable failed; the present token is kept until it expires")
                continue
            if token == session.token:
                continue
            with suppress(ConnectionClosed):
                await session.socket.send(write({"type": "refresh", "token": token}), text=True)
            session.token = token
            expires_at = loop.time() + session.lifetime
