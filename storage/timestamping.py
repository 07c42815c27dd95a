"""Time stamps (RFC 3161): what an authority is asked, and whether its answer stamps given bytes.

Rules: stamped is SHA-256 over the bytes; a token is the authority's whole answer (DER), as `openssl ts -verify` reads
it; a certificate must have been good when the token was made, not today; whatever a token holds, a refusal is a
`TokenRefused`. Nothing here asks a network.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from cryptography import x509
from rfc3161_client import (
    HashAlgorithm,
    PKIStatus,
    TimestampRequestBuilder,
    TimeStampResponse,
    TimeStampTokenInfo,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)

QUERY_TYPE: Final = "application/timestamp-query"
"""The media type of a question (RFC 3161 §3.4)."""
REPLY_TYPE: Final = "application/timestamp-reply"
"""The media type of a token."""
LARGEST_TOKEN: Final = 65_536
"""Bytes in a token at most: an authority sends its certificates along, and nothing else of size."""

Root = x509.Certificate
"""A certificate that is trusted."""

_SHA256: Final = "2.16.840.1.101.3.4.2.1"
_BAD_CERTIFICATES: Final = (x509.DuplicateExtension, x509.InvalidVersion, x509.UnsupportedGeneralNameType)
"""What the certificates that a token brings along can do to whoever reads them, beyond a ValueError."""


class TokenRefused(ValueError):
    """A token does not show what it must."""


class NoToken(TokenRefused):
    """The bytes are no token, or the authority refused to give one."""


class OtherData(TokenRefused):
    """The token stamps other bytes, or answers another question."""


class NotTrusted(TokenRefused):
    """The token's signature, or the way from it to a certificate that is trusted, does not hold."""


class Question(NamedTuple):
    """What an authority is asked: the DER to send, and the number its answer must repeat."""

    der: bytes
    nonce: int


def question(data: bytes) -> Question:
    """Ask for a token over `data`, with the authority's certificate in it. Raises ValueError for no bytes."""
    built = TimestampRequestBuilder().data(data).hash_algorithm(HashAlgorithm.SHA256).cert_request(cert_request=True)
    request = built.build()
    assert request.nonce is not None
    return Question(request.as_bytes(), request.nonce)


def stamped_at(token: bytes, data: bytes, asked: Question | None = None) -> datetime:
    """When `token` says that `data` existed, whoever says so: neither signature nor certificates are judged.

    Raises NoToken, and OtherData if it stamps other bytes or, where it answers `asked`, repeats another number.
    """
    _, info = _decoded(token)
    imprint = info.message_imprint
    if imprint.hash_algorithm.dotted_string != _SHA256 or imprint.message != hashlib.sha256(data).digest():
        raise OtherData("the token stamps other bytes")
    if asked is not None and info.nonce != asked.nonce:
        raise OtherData("the token answers another question")
    return info.gen_time


def trusted(pem: bytes) -> list[Root]:
    """The certificates in `pem`, to be trusted. Raises ValueError if there is none or one is no certificate."""
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise ValueError("no certificates in PEM form") from None


def judge(token: bytes, data: bytes, roots: Sequence[Root]) -> datetime:
    """When an authority that `roots` vouch for saw `data`: the token stamps it, and signature and certificates hold.

    Raises TokenRefused: NoToken, OtherData, or NotTrusted. Raises ValueError for no roots.
    """
    moment = stamped_at(token, data)
    answer, _ = _decoded(token)
    verifier = VerifierBuilder(roots=list(roots)).build()
    try:
        verifier.verify_message(answer, data)
    except (VerificationError, ValueError, *_BAD_CERTIFICATES) as error:
        raise NotTrusted(f"the token cannot be trusted ({_plain(error)})") from None
    return moment


def _decoded(token: bytes) -> tuple[TimeStampResponse, TimeStampTokenInfo]:
    if len(token) > LARGEST_TOKEN:
        raise NoToken(f"a token has at most {LARGEST_TOKEN} bytes")
    try:
        answer = decode_timestamp_response(token)
        refused = answer.status != PKIStatus.GRANTED
        # What is wrong inside shows only when one looks; in a refusal there is nothing inside.
        info = None if refused else answer.tst_info
    except ValueError:
        raise NoToken("these bytes are no token") from None
    if info is None:
        raise NoToken("the authority refused to stamp")
    return answer, info


def _plain(error: Exception) -> str:
    """The library's first words, which quote nothing; the rest may be of any length."""
    return re.split(r"[:\n<]", str(error), maxsplit=1)[0].strip()[:100] or type(error).__name__
