"""What a client knows of its calls: which notices are new to it, and what each frame of the gateway changes.

Rules: no clock, socket or randomness of its own; a notice is shown at most once; what the app or the client has
said stays in the outbox until a receipt; every collection has a limit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from gateway.client.frames import (
    CallState,
    CapabilityState,
    ClientError,
    Complaint,
    Left,
    NoticeFrame,
    Ping,
    Receipt,
    Refused,
    ServerFrame,
    StateFrame,
    Stored,
    TooMuchUnconfirmed,
)
from gateway.client.outbox import Key, Outbox
from gateway.core.types import CONSENT, Capability, Change, Level, State

CALL_LIMIT: Final = 1_024
SEEN_LIMIT: Final = 1_024
UNSHOWN_LIMIT: Final = 256
"""Calls remembered; notices remembered per call (a state lists at most 100); notices kept for a late listener."""

Answer = CallState | Receipt | Stored | Left | ClientError

_STATE_AFTER: Final = {
    Change.STARTED: State.ACTIVE,
    Change.RESUMED: State.ACTIVE,
    Change.PAUSED: State.PAUSED,
    Change.STOPPED: State.INACTIVE,
    Change.FAILED: State.INACTIVE,
}


@dataclass(slots=True)
class _Call:
    """One call as the client knows it; kept after a leave, so that nothing is shown again after a return."""

    wanted: bool = True
    refusal: Refused | None = None
    revision: int | None = None
    capabilities: dict[Capability, CapabilityState] = field(default_factory=dict)
    seen: dict[str, None] = field(default_factory=dict)
    unshown: deque[NoticeFrame] = field(default_factory=deque)
    incomplete: bool = False  # notices are owed that neither a state nor the feed has brought


class ClientState:
    """The pure part of one client; owned by the loop that runs it. `receive` confirms `received` by itself."""

    def __init__(self, *, receive: bool = True) -> None:
        self.outbox = Outbox()
        self._receive = receive
        self._calls: dict[str, _Call] = {}

    def join(self, call: str) -> Key:
        """Be in `call` from now on, on every connection. Raises TooMuchUnconfirmed at the limit of calls."""
        key = ("join", call)
        known = self._calls.get(call)
        if known is not None and known.wanted:
            return key
        if known is None and len(self._calls) >= CALL_LIMIT:
            self._forget_a_call()
        fresh = _Call(seen=known.seen if known is not None else {})
        self.outbox.ask(key, lambda: {"type": "join", "call": call, "revision": fresh.revision})
        self.outbox.drop(("leave", call))
        self._calls[call] = fresh
        return key

    def leave(self, call: str) -> Key | None:
        """Be in `call` no longer; None if that was so already."""
        known = self._calls.get(call)
        if known is None or not known.wanted:
            return None
        known.wanted = False
        known.unshown.clear()
        self.outbox.drop(("join", call))
        self.outbox.drop_calls_claims(call)
        self.outbox.ask(("leave", call), lambda: {"type": "leave", "call": call})
        return ("leave", call)

    def prove(self, notice: str, level: Level, digest: str | None, at: str) -> Key:
        """Confirm `level` of `notice` until a receipt comes. Raises TooMuchUnconfirmed."""
        key = ("ack", notice, level.value)
        if key not in self.outbox or level in CONSENT:
            frame: dict[str, object] = {"type": "ack", "notice": notice, "level": level.value, "at": at}
            self.outbox.say(key, frame if level is Level.RECEIVED else {**frame, "digest": digest})
        return key

    def observe(self, call: str, capability: Capability, state: State, cause: str | None, at: str) -> None:
        """Claim that `capability` is in `state`; the newest claim stands, and is said on every connection.

        Raises TooMuchUnconfirmed, and ValueError for a cause too long to send.
        """
        frame = {"call": call, "capability": capability.value, "state": state.value, "at": at, "cause": cause}
        self.outbox.say(("observed", call, capability.value), {"type": "observed", **frame})

    def message(self, name: str, fields: dict[str, object]) -> Key:
        """Have a message kept or erased; `name` tells requests apart. Raises as `observe`."""
        self.outbox.ask(("message", name), lambda: {"type": "message", **fields})
        return ("message", name)

    def next_notice(self, call: str) -> NoticeFrame | None:
        """The oldest notice of `call` not yet shown; from now on it counts as shown."""
        known = self._calls.get(call)
        return known.unshown.popleft() if known is not None and known.unshown else None

    def wanted(self, call: str) -> bool:
        """Whether the client is, or tries to be, in `call`. Raises Refused if it may not."""
        known = self._calls.get(call)
        if known is not None and known.refusal is not None:
            raise known.refusal
        return known is not None and known.wanted

    def call(self, call: str) -> CallState | None:
        """`call` as last heard; None before its first state."""
        known = self._calls.get(call)
        if known is None or known.revision is None:
            return None
        return CallState(call=call, revision=known.revision, capabilities=dict(known.capabilities))

    def take(self, frame: ServerFrame, *, at: str, now: float, chance: float) -> list[tuple[Key, Answer]]:
        """Apply a frame of the gateway; which requests it answers, and how.

        `at` is the wall clock as sent, `now` the monotonic one in seconds, `chance` in [0, 1) randomness.
        """
        match frame:
            case StateFrame():
                if frame.id is None and self.outbox.unconfirmed:
                    # A state nobody asked for may stand for frames that were dropped, receipts among them.
                    self.outbox.postpone_all(now=now, chance=chance)
                return self._take_state(frame, at)
            case NoticeFrame():
                self._take_notice(frame, at)
            case Receipt():
                key = ("ack", frame.notice, frame.level.value)
                return [(key, frame)] if self.outbox.drop(key) else []
            case Left() | Stored():
                asked = self.outbox.asked(frame.id)
                return [(asked, frame)] if asked is not None and self.outbox.drop(asked) else []
            case Complaint():
                return self._take_complaint(frame, now, chance)
            case Ping():
                self.outbox.pong(frame.at)
            case _:
                pass
        return []

    def _take_state(self, frame: StateFrame, at: str) -> list[tuple[Key, Answer]]:
        call = self._calls.get(frame.call)
        if call is None or not call.wanted:
            return []
        key = ("join", frame.call)
        answers = frame.id is not None and self.outbox.asked(frame.id) == key
        # The answer to a join rules even when its revision is lower: the gateway may have lost what we saw.
        if answers or call.revision is None or frame.revision >= call.revision:
            call.revision, call.capabilities = frame.revision, dict(frame.capabilities)
            call.incomplete = frame.more > 0
        for notice in sorted(frame.notices, key=lambda notice: notice.revision):
            self._surface(call, notice, at)
        self.outbox.answered(key)
        state = self.call(frame.call)
        return [(key, state)] if state is not None else []

    def _take_notice(self, frame: NoticeFrame, at: str) -> None:
        call = self._calls.get(frame.call)
        if call is None or not call.wanted:
            return
        newer = call.revision is None or frame.revision > call.revision
        if newer:
            call.revision = frame.revision
            call.capabilities[frame.capability] = CapabilityState(
                state=_STATE_AFTER[frame.change], episode=frame.episode, since=frame.occurred_at
            )
        if newer or call.incomplete:
            self._surface(call, frame, at)

    def _surface(self, call: _Call, notice: NoticeFrame, at: str) -> None:
        if notice.notice in call.seen:
            return
        call.seen[notice.notice] = None
        if len(call.seen) > SEEN_LIMIT:
            del call.seen[next(iter(call.seen))]
        call.unshown.append(notice)
        if len(call.unshown) > UNSHOWN_LIMIT:
            # Nobody listens. What is forgotten comes back with a later state as long as it is owed.
            call.seen.pop(call.unshown.popleft().notice, None)
            call.incomplete = True
        if self._receive and not self.outbox.full("ack"):
            self.prove(notice.notice, Level.RECEIVED, None, at)

    def _take_complaint(self, frame: Complaint, now: float, chance: float) -> list[tuple[Key, Answer]]:
        answers: list[tuple[Key, Answer]] = []
        if frame.temporary and frame.id is None and frame.notice is None:
            self.outbox.postpone_all(now=now, chance=chance)
        for key in list(self._meant(frame)):
            if frame.temporary:
                self.outbox.postpone(key, now=now, chance=chance)
                continue
            refused = Refused(frame.code, frame.message)
            if key[0] == "join":
                call = self._calls[key[1]]
                call.wanted, call.refusal = False, refused
            self.outbox.drop(key)
            answers.append((key, refused))
        return answers

    def _meant(self, complaint: Complaint) -> Iterator[Key]:
        asked = self.outbox.asked(complaint.id) if complaint.id is not None else None
        if asked is not None:
            yield asked
            return
        notice = complaint.notice or complaint.id
        levels = list(Level) if complaint.level is None else [complaint.level]
        for key in (("ack", notice, level.value) for level in levels if notice is not None):
            if key in self.outbox:
                yield key

    def _forget_a_call(self) -> None:
        for name, call in self._calls.items():
            if not call.wanted:
                del self._calls[name]
                return
        raise TooMuchUnconfirmed(f"the client is in {CALL_LIMIT} calls")
