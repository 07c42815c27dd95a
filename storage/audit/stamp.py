"""The time stamps of a ledger and of a pack: since when a checkpoint has existed, in the word of an authority.

Rules: the authority is trusted by its certificate, given in a file; a token that stamps something else, or is none, has
been put there by somebody, while one by an authority nobody vouches for just shows nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from storage.audit.file import reading
from storage.audit.plain import read_bytes
from storage.audit.verdict import INCOMPLETE, SOUND, TAMPERED, UNVERIFIABLE, Refused, Verdict
from storage.moment import rfc3339
from storage.note import parse_note
from storage.timestamping import NotTrusted, Root, TokenRefused, judge, trusted


def read_roots(path: Path) -> Sequence[Root]:
    """The certificates in a PEM file, to be trusted. Raises Refused."""
    try:
        return trusted(read_bytes(path))
    except ValueError as error:
        raise Refused(UNVERIFIABLE, f"{path}: {error}") from None


def judge_stamp(token: bytes, note: str, roots: Sequence[Root], where: str) -> str:
    """Since when the checkpoint `note` has existed, RFC 3339. Raises Refused: 20 or 40, said of `where`."""
    try:
        return rfc3339(judge(token, parse_note(note).body.encode(), roots))
    except NotTrusted as error:
        raise Refused(UNVERIFIABLE, f"{where}: {error}") from None
    except TokenRefused as error:
        raise Refused(TAMPERED, f"{where}: {error}") from None


def with_stamp(judged: Verdict, source: Path, roots: Path) -> Verdict:
    """The verdict on the ledger in `source`, and since when its newest stamped checkpoint has existed, or why not.

    `roots` is a PEM file with the certificates of authorities that are trusted.
    """
    if judged.exit not in (SOUND, INCOMPLETE):
        return judged
    try:
        trusted_roots = read_roots(roots)
        with reading(source) as connection:
            row = connection.execute(
                "SELECT size, note, token FROM timestamps JOIN checkpoints USING (size) ORDER BY size DESC LIMIT 1"
            ).fetchone()
        if row is None:
            raise Refused(UNVERIFIABLE, f"{source}: no checkpoint has a time stamp")
        size, note, token = row
        if type(token) is not bytes or type(note) is not str:
            raise Refused(TAMPERED, f"{source}: the time stamp of {size} entries is damaged")
        moment = judge_stamp(token, note, trusted_roots, f"{source}: the time stamp of {size} entries")
    except Refused as refused:
        return refused.verdict
    return Verdict(judged.exit, f"{judged.line}; the first {size} existed at {moment}")
