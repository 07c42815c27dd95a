"""The frames of the protocol `notices.v1.json`: read by `gateway.core.decoding`, written here.

Rules: a frame that is not strict JSON or lacks a field ends the connection (4400, 1007 for bad UTF-8, 4413 beyond
32 KiB); an unknown type is answered with an error and nothing else. Times are RFC 3339, written in UTC with
milliseconds. What is absent is left out, except where the contract says that a field is always there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

import msgspec

from gateway.core.decoding import LONGEST_FRAME, decode
from gateway.core.frames import Ack, ClientFrame, Goodbye, Hello, Join, Leave, Message, Observed, Pong, Refresh
from gateway.core.types import Capability, Change, Level, rfc3339

__all__ = [
    "LONGEST_FRAME",
    "SUBPROTOCOL",
    "Ack",
    "ClientFrame",
    "Consistency",
    "Goodbye",
    "Hello",
    "Join",
    "Leave",
    "Message",
    "Observed",
    "Pong",
    "Refresh",
    "begin_receipt",
    "bye",
    "decode",
    "error",
    "finish_receipt",
    "goaway",
    "left",
    "notice",
    "notice_fields",
    "ping",
    "receipt",
    "state",
    "stored",
    "welcome",
]

SUBPROTOCOL: Final = "notices.v1.json"


def _frame(kind: str, fields: Mapping[str, object]) -> bytes:
    return msgspec.json.encode({"type": kind, **fields})


class Consistency(NamedTuple):
    """The proof that a ledger of `end` entries continues the one it was at `start` (RFC 6962 §2.1.2)."""

    start: int
    end: int
    hashes: Sequence[bytes]


def welcome(
    *,
    session: str,
    participant: str,
    region: str,
    server_time: datetime,
    ping_seconds: int,
    expires_at: datetime,
    checkpoint: str | None = None,
    consistency: Consistency | None = None,
) -> bytes:
    """The answer to a `hello`; `checkpoint` is the region's newest, `consistency` leads there from the client's."""
    fields: dict[str, object] = {
        "session": session,
        "participant": participant,
        "region": region,
        "server_time": rfc3339(server_time),
        "ping_seconds": ping_seconds,
        "expires_at": rfc3339(expires_at),
    }
    if checkpoint is not None:
        fields["checkpoint"] = checkpoint
    if consistency is not None:
        start, end, hashes = consistency
        fields["consistency"] = {"from": start, "to": end, "hashes": hashes}
    return _frame("welcome", fields)


def state(
    *,
    id: str | None,
    call: str,
    revision: int,
    capabilities: Mapping[str, Mapping[str, object]],
    notices: Sequence[Mapping[str, object] | msgspec.Raw],
    more: int,
) -> bytes:
    """A call's whole current state; `id` is that of the join it answers, `notices` come from `notice_fields`, or are
    that as JSON already.

    Each capability is given as `state`, `episode` and `since`, the last a `datetime` or None.
    """
    fields: dict[str, object] = {} if id is None else {"id": id}
    fields |= {
        "call": call,
        "revision": revision,
        "capabilities": {name: _capability(shown) for name, shown in capabilities.items()},
        "notices": notices,
        "more": more,
    }
    return _frame("state", fields)


def _capability(shown: Mapping[str, object]) -> dict[str, object]:
    since = shown.get("since")
    written = rfc3339(since) if isinstance(since, datetime) else since
    return {"state": shown["state"], "episode": shown.get("episode"), "since": written}


def notice_fields(
    *,
    call: str,
    revision: int,
    notice: str,
    capability: Capability,
    change: Change,
    episode: str,
    occurred_at: datetime,
    issued_at: datetime,
    text: tuple[str, str, str, str],
    digest: str,
    require: Level,
    deadline_at: datetime,
) -> dict[str, object]:
    """A notice's fields, for a frame of its own or within a `state`. `text` is (locale, title, body, link)."""
    locale, title, body, link = text
    return {
        "call": call,
        "revision": revision,
        "notice": notice,
        "capability": capability,
        "change": change,
        "episode": episode,
        "occurred_at": rfc3339(occurred_at),
        "issued_at": rfc3339(issued_at),
        "text": {"locale": locale, "title": title, "body": body, "link": link},
        "digest": digest,
        "require": require,
        "deadline_at": rfc3339(deadline_at),
    }


def notice(
    *,
    call: str,
    revision: int,
    notice: str,
    capability: Capability,
    change: Change,
    episode: str,
    occurred_at: datetime,
    issued_at: datetime,
    text: tuple[str, str, str, str],
    digest: str,
    require: Level,
    deadline_at: datetime,
) -> bytes:
    """One notice, told live; the fields are those of `notice_fields`."""
    fields = notice_fields(
        call=call,
        revision=revision,
        notice=notice,
        capability=capability,
        change=change,
        episode=episode,
        occurred_at=occurred_at,
        issued_at=issued_at,
        text=text,
        digest=digest,
        require=require,
        deadline_at=deadline_at,
    )
    return _frame("notice", fields)


def receipt(*, notice: str, level: Level, entry: int, at: datetime) -> bytes:
    """`level` of `notice` is durable as entry number `entry` of the region's ledger."""
    return finish_receipt(begin_receipt(notice, level), entry, rfc3339(at).encode())


def begin_receipt(notice: str, level: Level) -> bytes:
    """What all receipts for one level of one notice begin with: they are given by the thousand."""
    return _frame("receipt", {"notice": notice, "level": level, "entry": 0})[: -len(b"0}")]


def finish_receipt(begun: bytes, entry: int, at: bytes) -> bytes:
    """The receipt that `begin_receipt` began; `at` as RFC 3339."""
    return b'%b%d,"at":"%b"}' % (begun, entry, at)


def left(*, id: str) -> bytes:
    """The answer to a `leave`."""
    return _frame("left", {"id": id})


def stored(*, id: str, expires_at: datetime | None) -> bytes:
    """The answer to a `message`; `expires_at` is missing where nothing is kept."""
    expiry: dict[str, object] = {} if expires_at is None else {"expires_at": rfc3339(expires_at)}
    return _frame("stored", {"id": id, **expiry})


def error(
    *,
    code: str,
    message: str,
    temporary: bool,
    id: str | None = None,
    ack: Ack | None = None,
) -> bytes:
    """One request is refused and the connection stays; `id` is that of the frame it answers.

    An ack has no id: it is named by its `notice` and `level`.
    """
    answers: dict[str, object] = {} if id is None else {"id": id}
    if ack is not None:
        answers |= {"notice": ack.notice, "level": ack.level.value}
    return _frame("error", {"code": code, "message": message, "temporary": temporary, **answers})


def ping(at: datetime) -> bytes:
    """Are you there?"""
    return _frame("ping", {"at": rfc3339(at)})


def goaway(reconnect_after_ms: int) -> bytes:
    """This process will end: connect again after so many milliseconds."""
    return _frame("goaway", {"reconnect_after_ms": reconnect_after_ms})


def bye(code: int, reason: str, retry: str) -> bytes:
    """The connection ends with `code`; the close frame follows."""
    return _frame("bye", {"code": code, "reason": reason, "retry": retry})
