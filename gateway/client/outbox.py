"""What a client still has to say: kept until the gateway confirms or refuses it, said again on every connection.

Rules: no clock, socket or randomness of its own; calls are joined before anything else is said; what is sent is
paced below the gateway's own limit, so that repeating much after a reconnect does not end the connection again.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gateway.client.frames import TooMuchUnconfirmed, write

LIMITS: Final = {"ack": 10_000, "message": 256, "leave": 1_024, "observed": 2_048, "join": 1_024}
"""How many of each kind may wait."""
BURST: Final = 100
PER_SECOND: Final = 50.0
"""Frames a connection may begin with, and frames per second after that."""

Key = tuple[str, ...]
"""Kind and subject: `join` call, `leave` call, `observed` call capability, `ack` notice level, `message` id."""
_EVERYTHING: Final = ("everything",)


@dataclass(slots=True)
class Backoff:
    """Full jitter: each delay is anywhere between nothing and a bound that doubles up to `cap` seconds."""

    base: float = 0.5
    cap: float = 30.0
    attempts: int = 0

    def delay(self, chance: float) -> float:
        """The next delay in seconds; `chance` in [0, 1) is the caller's randomness."""
        bound = min(self.cap, self.base * 2.0 ** min(self.attempts, 32))
        self.attempts += 1
        return chance * bound

    def reset(self) -> None:
        """Begin again with the shortest bound."""
        self.attempts = 0


class Outbox:
    """Everything said and not yet confirmed; owned by the loop that runs the client.

    A key of kind `join` or `observed` stands until it is dropped; the others wait for an answer.
    """

    def __init__(self) -> None:
        self._said: dict[Key, Callable[[], bytes]] = {}
        self._counts: Counter[str] = Counter()
        self._queue: dict[Key, None] = {}
        self._later: dict[Key, float] = {}
        self._backoffs: dict[Key, Backoff] = {}
        self._asked: dict[str, Key] = {}
        self._names: dict[Key, str] = {}
        self._pongs: deque[bytes] = deque(maxlen=4)
        self._count = 0
        self._allowance, self._measured_at = float(BURST), 0.0

    def __contains__(self, key: Key) -> bool:
        return key in self._said

    def full(self, kind: str) -> bool:
        """Whether nothing more of `kind` is taken."""
        return self._counts[kind] >= LIMITS[kind]

    @property
    def unconfirmed(self) -> int:
        """How many acks, messages and leaves wait for the gateway's confirmation."""
        return sum(self._counts[kind] for kind in ("ack", "message", "leave"))

    def say(self, key: Key, frame: dict[str, object]) -> None:
        """Say `frame` until it is answered, in place of what stood under `key`.

        Raises TooMuchUnconfirmed, and ValueError for a frame the gateway could not take.
        """
        data = write(frame)
        self._keep(key, lambda: data)

    def ask(self, key: Key, frame: Callable[[], dict[str, object]]) -> None:
        """As `say`, for a request with an id, built afresh each time it is said. Raises the same."""
        write({**frame(), "id": "r0000000000000000"})  # too large is said now, not when it is sent
        self._keep(key, lambda: write({**frame(), "id": self._name(key)}))

    def drop(self, key: Key) -> bool:
        """Say it no more; whether it was there."""
        if self._said.pop(key, None) is None:
            return False
        self._counts[key[0]] -= 1
        self._queue.pop(key, None)
        self._later.pop(key, None)
        self._backoffs.pop(key, None)
        self._asked.pop(self._names.pop(key, ""), None)
        return True

    def drop_calls_claims(self, call: str) -> None:
        """Withdraw nothing, but claim nothing about `call` any more."""
        for key in [key for key in self._said if key[0] == "observed" and key[1] == call]:
            self.drop(key)

    def pong(self, at: str) -> None:
        """Answer a ping, before anything else."""
        self._pongs.append(write({"type": "pong", "at": at}))

    def asked(self, name: str) -> Key | None:
        """What was asked under the request id `name`."""
        return self._asked.get(name)

    def answered(self, key: Key) -> None:
        """A standing request was answered well: a later refusal waits the shortest time again."""
        self._backoffs.pop(key, None)

    def postpone(self, key: Key, *, now: float, chance: float) -> None:
        """Refused for now: say it again on this connection after a delay with full jitter."""
        if key in self._said:
            self._later[key] = now + self._backoffs.setdefault(key, Backoff()).delay(chance)

    def postpone_all(self, *, now: float, chance: float) -> None:
        """Something was refused for now and nobody said what: say every ack and claim again after a delay.

        A repeated ack is answered with the same receipt, so saying too much costs only frames.
        """
        if self._later.get(_EVERYTHING, 0.0) <= now:
            self._later[_EVERYTHING] = now + self._backoffs.setdefault(_EVERYTHING, Backoff()).delay(chance)

    def connected(self, now: float) -> None:
        """A session is open: everything that stands or is unconfirmed is to be said on it, calls first."""
        self._later.clear()
        self._backoffs.pop(_EVERYTHING, None)
        self._pongs.clear()
        self._allowance, self._measured_at = float(BURST), now
        rank = {"join": 0, "observed": 1}
        self._queue = dict.fromkeys(sorted(self._said, key=lambda key: rank.get(key[0], 2)))

    def next_frame(self, now: float) -> bytes | None:
        """What to send next, if anything may be sent now; pongs come first and are never held back."""
        if self._pongs:
            return self._pongs.popleft()
        for key in [key for key, at in self._later.items() if at <= now]:
            del self._later[key]
            every = [said for said in self._said if said[0] in ("ack", "observed")]
            self._queue.update(dict.fromkeys(every if key == _EVERYTHING else [key]))
        earned = max(0.0, now - self._measured_at) * PER_SECOND
        self._allowance, self._measured_at = min(float(BURST), self._allowance + earned), now
        if not self._queue or self._allowance < 1.0:
            return None
        self._allowance -= 1.0
        key = next(iter(self._queue))
        del self._queue[key]
        return self._said[key]()

    def wait(self, now: float) -> float | None:
        """Seconds after which `next_frame` may have something; None if only after something happens."""
        if self._queue:
            return max(0.001, (1.0 - self._allowance) / PER_SECOND)
        return max(0.001, min(self._later.values()) - now) if self._later else None

    def _keep(self, key: Key, frame: Callable[[], bytes]) -> None:
        self.drop(key)  # what is said anew comes after whatever was said since
        if self.full(key[0]):
            raise TooMuchUnconfirmed(f"{LIMITS[key[0]]} frames of kind {key[0]} wait for the gateway")
        self._said[key] = frame
        self._counts[key[0]] += 1
        self._queue[key] = None

    def _name(self, key: Key) -> str:
        self._asked.pop(self._names.pop(key, ""), None)
        self._count += 1
        name = self._names[key] = f"r{self._count}"
        self._asked[name] = key
        return name
