"""The few packets of MQTT 3.1.1 that a yardstick's clients say and hear, as bytes.

Rules: nothing but what they need: CONNECT, SUBSCRIBE and PUBLISH at QoS 1, PUBACK; clauses are those of the OASIS
standard of 2014; what a broker says beyond that is an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

CONNACK, PUBLISH, PUBACK, SUBACK = 0x20, 0x30, 0x40, 0x90
"""Kinds of packet: the upper half of their first byte (§2.2.1)."""

_CONNECT, _SUBSCRIBE, _PUBLISH_ONCE = 0x10, 0x82, 0x32
_LONGEST_LENGTH: Final = 4


class Packet(NamedTuple):
    """One packet: its kind, and what follows its length."""

    kind: int
    flags: int
    body: bytes


def _packet(first: int, body: bytes) -> bytes:
    length, rest = b"", len(body)
    while True:
        rest, low = divmod(rest, 128)
        length += bytes((low | (0x80 if rest else 0),))
        if not rest:
            return bytes((first,)) + length + body


def _text(value: str) -> bytes:
    data = value.encode()
    return len(data).to_bytes(2, "big") + data


def connect(client: str) -> bytes:
    """A clean session that asks for no keep-alive (§3.1)."""
    return _packet(_CONNECT, _text("MQTT") + b"\x04\x02\x00\x00" + _text(client))


def subscribe(topic: str) -> bytes:
    """A subscription at QoS 1 (§3.8)."""
    return _packet(_SUBSCRIBE, b"\x00\x01" + _text(topic) + b"\x01")


def publish(topic: str, number: int, payload: bytes) -> bytes:
    """A message at QoS 1; `number` is the packet's identifier, 1 to 65,535 (§3.3)."""
    return _packet(_PUBLISH_ONCE, _text(topic) + number.to_bytes(2, "big") + payload)


def puback(number: bytes) -> bytes:
    """That the message of this identifier, two bytes as they came, was received (§3.4)."""
    return b"\x40\x02" + number


def identifier(body: bytes) -> bytes:
    """The two bytes that identify a PUBLISH of QoS 1: they follow its topic (§3.3.2)."""
    end = 2 + int.from_bytes(body[:2], "big")
    return body[end : end + 2]


def packets(data: bytes) -> Iterator[tuple[Packet, int]]:
    """Every packet that is whole in `data`, each with where it ends. Raises `ValueError` for a length that is none."""
    start = 0
    while True:
        length, at, shift = 0, start + 1, 0
        while True:
            if at >= len(data):
                return
            if at - start > _LONGEST_LENGTH:
                raise ValueError("a length of more than four bytes")
            length |= (data[at] & 0x7F) << shift
            shift += 7
            at += 1
            if data[at - 1] < 0x80:
                break
        if at + length > len(data):
            return
        yield Packet(data[start] & 0xF0, data[start] & 0x0F, data[at : at + length]), at + length
        start = at + length
