"""A time stamp counts only if it stamps these bytes, answers what was asked, and leads to a root that is trusted."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from storage.timestamping import (
    LARGEST_TOKEN,
    NoToken,
    NotTrusted,
    OtherData,
    TokenRefused,
    judge,
    question,
    stamped_at,
    trusted,
)
from tests.authority import Authority

BODY = b"notification-gateway/europe\n3\nAAAA\n"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority") / "a")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stranger") / "b")


@pytest.fixture(scope="module")
def roots(authority: Authority) -> list[x509.Certificate]:
    return trusted(authority.root.read_bytes())


@pytest.fixture(scope="module")
def token(authority: Authority) -> bytes:
    return authority.stamp(question(BODY).der)


def test_a_token_says_when_the_bytes_were_seen(authority: Authority, roots: list[x509.Certificate]) -> None:
    """Ours and openssl agree on a token, and its time is now, with its zone."""
    asked = question(BODY)
    token = authority.stamp(asked.der)
    moment = stamped_at(token, BODY, asked)
    assert moment == judge(token, BODY, roots)
    assert abs(moment - datetime.now(UTC)) < timedelta(minutes=1)
    assert authority.believes(token, BODY)


def test_only_a_hash_is_shown(authority: Authority) -> None:
    """A question holds SHA-256 of the bytes and a number that no other question has."""
    one, two = question(BODY), question(BODY)
    assert hashlib.sha256(BODY).digest() in one.der
    assert BODY not in one.der
    assert one.nonce != two.nonce
    with pytest.raises(ValueError):
        question(b"")


@pytest.mark.parametrize("data", [b"", BODY[:-1], BODY + b"\n", BODY.replace(b"3", b"4")])
def test_a_token_of_other_bytes_is_refused(token: bytes, roots: list[x509.Certificate], data: bytes) -> None:
    """One byte more, less or other."""
    with pytest.raises(OtherData):
        judge(token, data, roots)


def test_a_token_for_another_question_is_refused(token: bytes) -> None:
    """An old answer played again is not an answer."""
    with pytest.raises(OtherData):
        stamped_at(token, BODY, question(BODY))


def test_a_stranger_is_not_trusted(
    token: bytes, stranger: Authority, roots: list[x509.Certificate], authority: Authority
) -> None:
    """Neither somebody else's token under our root, nor ours under somebody else's."""
    with pytest.raises(NotTrusted):
        judge(stranger.stamp(question(BODY).der), BODY, roots)
    with pytest.raises(NotTrusted):
        judge(token, BODY, trusted(stranger.root.read_bytes()))
    both = trusted(stranger.root.read_bytes() + authority.root.read_bytes())
    assert judge(token, BODY, both)


def test_a_certificate_for_something_else_is_not_trusted(authority: Authority) -> None:
    """The same key under the same root, but certified for a server: it stamps nothing (RFC 3161 §2.3)."""
    own = (authority.directory / "tsa.pem.der").read_bytes()

    def another(extensions: str) -> bytes:
        # openssl does not stamp with a server's certificate, so another takes the place of the right one in the token.
        other = b""
        while len(other) != len(own):
            other = authority.certify("other.pem", extensions)
        return other

    right, wrong = another("stamps"), another("no-stamps")
    # Stamped after they were made: a certificate must have been good at that time.
    token = authority.stamp(question(BODY).der)
    assert own in token
    roots = trusted(authority.root.read_bytes())
    assert judge(token.replace(own, right), BODY, roots)
    with pytest.raises(NotTrusted):
        judge(token.replace(own, wrong), BODY, roots)


def test_a_refusal_is_no_token(tmp_path: Path, roots: list[x509.Certificate]) -> None:
    """An authority that does not take SHA-256 answers, and what it answers stamps nothing."""
    choosy = Authority(tmp_path / "d", digests="sha512")
    with pytest.raises(NoToken, match="refused"):
        stamped_at(choosy.stamp(question(BODY).der), BODY)


@pytest.mark.parametrize("length", [0, 1, 2, 10, 100, 400, -1])
def test_a_cut_token_is_no_token(token: bytes, roots: list[x509.Certificate], length: int) -> None:
    """Cut anywhere."""
    with pytest.raises(NoToken):
        judge(token[:length], BODY, roots)


def test_what_is_too_long_is_not_read(token: bytes) -> None:
    """Nor is what has something behind its end."""
    for more in (b"\0", token, bytes(LARGEST_TOKEN)):
        with pytest.raises(NoToken):
            stamped_at(token + more, BODY)


def test_no_changed_byte_moves_the_time(token: bytes, roots: list[x509.Certificate]) -> None:
    """Whatever byte is changed, the token is refused or says the same; nothing but a refusal is ever raised."""
    moment = judge(token, BODY, roots)
    passed = 0
    for place in range(len(token)):
        changed = bytearray(token)
        changed[place] ^= 1 + place % 255
        try:
            assert judge(bytes(changed), BODY, roots) == moment
            passed += 1
        except TokenRefused:
            pass
    # CMS leaves a few bytes about versions and algorithms outside the signature.
    assert passed < 20


@pytest.mark.parametrize("pem", [b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", b"\xff"])
def test_what_holds_no_certificate_is_refused(pem: bytes) -> None:
    """Without a root nothing could be trusted."""
    with pytest.raises(ValueError, match="no certificates"):
        trusted(pem)


def test_without_a_root_nothing_is_judged(token: bytes) -> None:
    """An empty list is a mistake of the caller's, not a token's fault."""
    with pytest.raises(ValueError, match="root"):
        judge(token, BODY, [])
