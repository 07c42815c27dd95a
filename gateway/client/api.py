"""The Python client: a participant's end of `notices.v1.json`, which reconnects and repeats until it is over.

    async with connect("wss://gateway.example/v1/ws", token=fetch_token) as client:
        async for notice in client.notices("call"):
            show(notice.text.title, notice.text.body)
            await notice.acknowledge()

Rules: everything here belongs to one event loop; a lost connection is the client's affair, a `retry` of `never`
or `elsewhere` is the app's (ClientClosed); before the first welcome a refusal that cannot heal by itself is
raised, after it everything is tried again; no token, person or text is logged.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self

from gateway.client.frames import (
    CallState,
    ClientClosed,
    Receipt,
    Refused,
    Stored,
    Welcome,
    checked,
)
from gateway.client.notice import Notice
from gateway.client.outbox import Key
from gateway.client.sessions import Sessions
from gateway.client.settings import Settings, Token
from gateway.client.state import ClientState
from gateway.client.waiting import Waiting
from gateway.client.witness import Witness
from gateway.core.types import Capability, Level, State, rfc3339

_system = random.SystemRandom()


def connect(
    url: str,
    *,
    token: Token,
    device: str | None = None,
    locale: str | None = None,
    name: str = "python/1.0",
    capabilities: Sequence[str] = ("displayed", "acknowledged", "consent"),
    receive: bool = True,
    silence: timedelta | None = None,
    tls: ssl.SSLContext | None = None,
    checkpoint: str | None = None,
    verifier: str | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    chance: Callable[[], float] = _system.random,
) -> Client:
    """A client for the gateway at `url` (`ws://` or `wss://`), to be entered with `async with`.

    Entering waits for the gateway's welcome, for ever if it cannot be reached (put `asyncio.timeout` around it).
    `token` is a token, or a callable, plain or async, that gives a fresh one: called at each connect and before the
    present one expires (a plain one runs on the event loop and must not block).
    `device` names this installation and is best kept over restarts; by default each client makes one up.
    `locale` is a BCP 47 tag. `name` and `capabilities` go into the `hello`. `receive` confirms `received` of each
    notice by itself. `silence` is how long nothing may come before the connection counts as dead; by default twice
    the gateway's ping interval and at most two seconds more. `checkpoint` is the newest that an earlier client of this
    installation was shown (its `checkpoint`); `verifier` is what the gateway's `verifier.vkey` holds: with it every
    checkpoint must be signed, without it only continue what was seen. `now` is the wall clock (aware UTC), `chance`
    gives the randomness of delays, in [0, 1).

    Raises ValueError for a URL, a checkpoint or keys that are none, and for a checkpoint that the keys did not sign.
    """
    hello: dict[str, object] = {
        "type": "hello",
        "device": checked(device or f"python-{secrets.token_hex(8)}", 256, "device"),
        "locale": locale if locale is None else checked(locale, 256, "locale"),
        "capabilities": list(capabilities),
        "client": checked(name, 256, "name"),
    }
    limit = None if silence is None else silence.total_seconds()
    settings = Settings(url=url, token=token, hello=hello, silence=limit, tls=tls, now=now, chance=chance)
    return Client(settings, ClientState(receive=receive), Witness(checkpoint, verifier))


class _Notices(AsyncIterator[Notice]):
    # Not a generator: one would be finished by the first timeout around a step of it.
    def __init__(self, step: Callable[[], Awaitable[Notice]]) -> None:
        self._step = step

    async def __anext__(self) -> Notice:
        return await self._step()


class Client:
    """One participant's client, made by `connect`. Its methods may be called while no connection stands."""

    def __init__(self, settings: Settings, state: ClientState, witness: Witness) -> None:
        self._settings, self._state, self._witness = settings, state, witness
        self._waiting = Waiting()
        self._sessions = Sessions(settings, state, self._waiting, witness)
        self._tasks = asyncio.TaskGroup()
        self._task: asyncio.Task[None] | None = None
        self._messages = 0

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._task = self._tasks.create_task(self._sessions.run(), name="gateway client")
        try:
            await self._sessions.begun.wait()
            self._waiting.check()
        except BaseException:
            self._task.cancel()
            await self._tasks.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Say what may still be said, and goodbye. Raises ClientClosed if the client had ended and nobody knew."""
        assert self._task is not None
        try:
            await self._sessions.say_goodbye()
        finally:
            self._task.cancel()
            # Not told of the body's error: a task group would wrap it, and it is the app's own.
            await self._tasks.__aexit__(None, None, None)
            self._waiting.close(ClientClosed(1000, "the app closed this client"), own=True)
        if kind is None:
            self._waiting.check_told()

    @property
    def connected(self) -> bool:
        """Whether a welcomed session stands; without one, `state` may be out of date."""
        return self._sessions.connected

    @property
    def welcome(self) -> Welcome:
        """The latest welcome: session, participant, region, and when the session expires."""
        assert self._sessions.welcome is not None, "the client is entered with `async with` first"
        return self._sessions.welcome

    @property
    def checkpoint(self) -> str | None:
        """The newest checkpoint of the ledger that was shown, for the next client to begin with; None without one."""
        return self._witness.newest

    @property
    def unconfirmed(self) -> int:
        """How many acks, messages and leaves wait for the gateway's confirmation."""
        return self._state.outbox.unconfirmed

    def notices(self, call: str) -> AsyncIterator[Notice]:
        """Join `call`, and each notice not yet shown, for as long as the client is in it.

        The iteration ends after `leave` or when the client is closed; it raises Refused if the participant may
        not join, ClientClosed if the client ends. Breaking off does not leave the call: up to 256 notices wait
        for the next iteration. Several iterations of one call share its notices. Raises TooMuchUnconfirmed at
        1,024 calls, and ValueError.
        """
        self._join(call)
        return _Notices(lambda: self._next_notice(call))

    async def join(self, call: str) -> CallState:
        """Join `call` and wait for its state. Raises as `notices`."""
        key = self._join(call)
        state = self._state.call(call)
        if state is None:
            answer = await self._waiting.answer(key)
            assert isinstance(answer, CallState)
            return answer
        return state

    async def leave(self, call: str) -> None:
        """Leave `call` and wait until the gateway knows. Raises ClientClosed."""
        key = self._state.leave(call)
        self._waiting.give(("join", call), Refused("left", "the app left the call"))
        self._waiting.wake(call)
        self._sessions.wake()
        if key is not None:
            with suppress(Refused):  # a call the gateway does not know us in is left as well
                await self._waiting.answer(key)

    def state(self, call: str) -> CallState | None:
        """Where the capabilities of `call` stand, as last heard; None until its first state."""
        return self._state.call(call)

    def observe(self, call: str, capability: Capability, state: State, cause: str | None = None) -> None:
        """Report what this client's SDK says about a capability.

        The newest claim stands until it is replaced or the call is left, and is repeated after each reconnect.
        Raises ClientClosed, TooMuchUnconfirmed, and ValueError for a call or cause (256 characters) too long.
        """
        self._waiting.check()
        cause = None if cause is None else checked(cause, 256, "cause")
        self._state.observe(checked(call, 1024, "call"), capability, state, cause, rfc3339(self._settings.now()))
        self._sessions.wake()

    async def send_message(self, thread: str, message: str, version: int, sent_at: datetime, content: str) -> Stored:
        """Have `content` kept as the participant's last message, if it is the newest; returns when it is durable.

        Raises Refused, ClientClosed, TooMuchUnconfirmed, and ValueError for a frame over 32 KiB.
        """
        return await self._send_message(thread, message, version, sent_at, content)

    async def delete_message(self, thread: str, message: str, version: int, sent_at: datetime) -> Stored:
        """Have a message erased; returns when that is durable. Raises as `send_message`."""
        return await self._send_message(thread, message, version, sent_at, None)

    async def settled(self) -> None:
        """Wait until nothing is unconfirmed. Raises ClientClosed."""
        while self._state.outbox.unconfirmed:
            await self._waiting.quiet()

    async def ended(self) -> Exception | None:
        """Wait until the client ends by itself; why (mostly ClientClosed), or None after the app closed it."""
        return await self._waiting.end()

    def _join(self, call: str) -> Key:
        self._waiting.check()
        key = self._state.join(checked(call, 1024, "call"))
        self._waiting.give(("leave", call), Refused("joined", "the app joined the call again"))
        self._sessions.wake()
        return key

    async def _next_notice(self, call: str) -> Notice:
        while (frame := self._state.next_notice(call)) is None:
            if not self._state.wanted(call) or self._waiting.closed_by_app:
                raise StopAsyncIteration
            self._waiting.check()
            await self._waiting.news(call)
        return Notice.of(frame, self._prove)

    async def _prove(self, notice: Notice, level: Level) -> Receipt:
        self._waiting.check()
        key = self._state.prove(notice.id, level, notice.digest, rfc3339(self._settings.now()))
        self._sessions.wake()
        receipt = await self._waiting.answer(key)
        assert isinstance(receipt, Receipt)
        return receipt

    async def _send_message(
        self, thread: str, message: str, version: int, sent_at: datetime, content: str | None
    ) -> Stored:
        self._waiting.check()
        if not 0 <= version < 2**53:
            raise ValueError("a version is a whole number from 0 to 2^53 - 1")
        self._messages += 1
        fields: dict[str, object] = {
            "thread": checked(thread, 1024, "thread"),
            "message": checked(message, 1024, "message"),
            "version": version,
            "sent_at": rfc3339(sent_at),
            "content": content,
            "deleted": True if content is None else None,
        }
        key = self._state.message(str(self._messages), fields)
        self._sessions.wake()
        stored = await self._waiting.answer(key)
        assert isinstance(stored, Stored)
        return stored
