"""Signed notes, checkpoints, cosignatures and proofs as text.

Rules: C2SP signed-note, tlog-checkpoint, tlog-cosignature (Ed25519) and tlog-proof, to the letter: base64 is standard,
padded and canonical, numbers have no leading zeroes, lines end with a newline. What is malformed is a ValueError, never
mended; nothing here knows whether a signature is valid.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import Final, NamedTuple

from storage.merkle import HASH_SIZE

ED25519: Final = 1
"""A key that signs checkpoints: Ed25519 over the note's body."""

COSIGNATURE: Final = 4
"""A witness's key: Ed25519 over the note's body and a time."""

KEY_SIZE: Final = 32
"""Bytes in an Ed25519 public key, and in its seed."""

MOST_SIGNATURES: Final = 100
LONGEST_NOTE: Final = 1_000_000
"""Characters; beyond either bound a note is refused unread."""

_NUMBER: Final = re.compile("0|[1-9][0-9]{0,18}")
_LARGEST: Final = 2**63 - 1
_PROOF: Final = "c2sp.org/tlog-proof@v1"
_LONGEST_PATH: Final = 63


def decoded(text: str) -> bytes:
    """The bytes of canonical base64 (RFC 4648 §4). Raises ValueError."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise ValueError("that is not base64") from None
    if encoded(data) != text:
        raise ValueError("that base64 is not canonical")
    return data


def encoded(data: bytes) -> str:
    """`data` as canonical base64."""
    return base64.b64encode(data).decode()


def _number(text: str) -> int:
    if not _NUMBER.fullmatch(text) or int(text) > _LARGEST:
        raise ValueError("a number is decimal, below 2^63 and without leading zeroes")
    return int(text)


def _hash(text: str) -> bytes:
    found = decoded(text)
    if len(found) != HASH_SIZE:
        raise ValueError("a hash is 32 bytes")
    return found


def check_name(name: str) -> None:
    """Raises ValueError if `name` cannot name a key: it is not empty and has no space, plus or control character."""
    if not name or any(each == "+" or each < " " or each.isspace() for each in name):
        raise ValueError("a key's name has no space, plus or control character and is not empty")


class Verifier(NamedTuple):
    """A public key and the name it signs under."""

    name: str
    algorithm: int
    """ED25519 or COSIGNATURE."""
    public: bytes

    @property
    def key_id(self) -> bytes:
        """The four bytes by which a signature names its key."""
        typed = bytes([self.algorithm]) + self.public
        return hashlib.sha256(self.name.encode() + b"\n" + typed).digest()[:4]

    def text(self) -> str:
        """The verifier key: `<name>+<key id in hex>+<base64 of algorithm and key>`."""
        return f"{self.name}+{self.key_id.hex()}+{encoded(bytes([self.algorithm]) + self.public)}"


def _parse_verifier(line: str) -> Verifier:
    name, _, rest = line.partition("+")
    key_id, _, key = rest.partition("+")
    check_name(name)
    typed = decoded(key)
    if typed[:1] not in (bytes([ED25519]), bytes([COSIGNATURE])) or len(typed) != 1 + KEY_SIZE:
        raise ValueError("a verifier key holds an Ed25519 key, for signatures or for cosignatures")
    verifier = Verifier(name, typed[0], typed[1:])
    if verifier.key_id.hex() != key_id:
        raise ValueError("a verifier key's id is not that of its name and key")
    return verifier


def parse_verifiers(text: str) -> list[Verifier]:
    """The verifier keys of a file, one a line; empty lines do not count. Raises ValueError, also if there is none."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                found.append(_parse_verifier(line.strip()))
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from None
    if not found:
        raise ValueError("there is no verifier key")
    return found


class Signature(NamedTuple):
    """One signature line, as it claims to be."""

    name: str
    key_id: bytes
    blob: bytes
    """The signature; a cosignature begins with its time, eight bytes."""

    def text(self) -> str:
        """The line, with its newline."""
        return f"\N{EM DASH} {self.name} {encoded(self.key_id + self.blob)}\n"


class Note(NamedTuple):
    """A text and the signatures under it, whether they are valid or not."""

    body: str
    """What is signed, with its last newline."""
    signatures: tuple[Signature, ...]

    def text(self) -> str:
        """The note."""
        return self.body + "\n" + "".join(each.text() for each in self.signatures)


def parse_signature(line: str) -> Signature:
    """One signature line without its newline. Raises ValueError."""
    dash, _, rest = line.partition(" ")
    name, _, data = rest.partition(" ")
    if dash != "\N{EM DASH}":
        raise ValueError("a signature line begins with an em dash and a space")
    check_name(name)
    found = decoded(data)
    if len(found) < 5:
        raise ValueError("a signature is a key id and at least one byte")
    return Signature(name, found[:4], found[4:])


def parse_note(text: str) -> Note:
    """The note's parts. Raises ValueError."""
    if len(text) > LONGEST_NOTE:
        raise ValueError("the note is too long")
    if any(each < " " and each != "\n" for each in text):
        raise ValueError("a note has no control characters")
    if any("\ud800" <= each <= "\udfff" for each in text):
        raise ValueError("a note is UTF-8")
    body, gap, lines = text.rpartition("\n\n")
    if not gap or not lines.endswith("\n"):
        raise ValueError("a note is a text, an empty line and signature lines")
    signed = lines[:-1].split("\n")
    if len(signed) > MOST_SIGNATURES:
        raise ValueError("the note has too many signatures")
    return Note(body + "\n", tuple(parse_signature(each) for each in signed))


class Checkpoint(NamedTuple):
    """What a log says about itself at one size."""

    origin: str
    size: int
    """Leaves."""
    root: bytes

    def body(self) -> str:
        """The note's body."""
        return f"{self.origin}\n{self.size}\n{encoded(self.root)}\n"


def parse_checkpoint(body: str) -> Checkpoint:
    """The checkpoint in a note's body; extension lines are allowed and mean nothing. Raises ValueError."""
    lines = body.split("\n")
    if len(lines) < 4 or lines[-1] or not all(lines[:-1]):
        raise ValueError("a checkpoint is an origin, a size and a root, each on its line")
    return Checkpoint(lines[0], _number(lines[1]), _hash(lines[2]))


def cosigned(body: str, seconds: int) -> bytes:
    """What a witness signs for this body at this POSIX time. Raises ValueError if the time is not one."""
    if not 0 <= seconds <= _LARGEST:
        raise ValueError("a cosignature's time is in seconds since 1970, below 2^63")
    return f"cosignature/v1\ntime {seconds}\n{body}".encode()


def write_proof(index: int, path: list[bytes], note_text: str) -> str:
    """The tlog-proof of leaf `index` in the tree of the checkpoint `note_text`."""
    lines = [_PROOF, f"index {index}", *(encoded(each) for each in path)]
    return "".join(f"{line}\n" for line in lines) + "\n" + note_text


def parse_proof(text: str) -> tuple[int, list[bytes], str]:
    """A tlog-proof's index, path and checkpoint, the last unread; extra data is passed over. Raises ValueError."""
    head, gap, note_text = text.partition("\n\n")
    lines = head.split("\n")
    if not gap or not note_text or lines[0] != _PROOF:
        raise ValueError("a proof begins with its version and ends with a checkpoint")
    if len(lines) > 1 and lines[1].startswith("extra "):
        decoded(lines.pop(1).removeprefix("extra "))
    if len(lines) < 2 or not lines[1].startswith("index "):
        raise ValueError("a proof names its index")
    if len(lines) > 2 + _LONGEST_PATH:
        raise ValueError("the path is too long")
    return _number(lines[1].removeprefix("index ")), [_hash(each) for each in lines[2:]], note_text
