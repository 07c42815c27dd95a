"""Client tokens: a table of attacks, each refused, and the few that are good."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from gateway.core.claims import Claims
from gateway.core.errors import Bye
from gateway.core.tokens import Keys, KeysRefused, SigningKey, Verifier, mint, verify
from gateway.core.types import Role

NOW = datetime(2026, 11, 23, 14, 0, 0, 500000, tzinfo=UTC)
AT = int(NOW.timestamp())
SUBJECT = "8:acs:11111111-1111-1111-1111-111111111111_22"
SIGNER = SigningKey.from_seed(b"\x07" * 32)
STRANGER = SigningKey.from_seed(b"\x08" * 32)
EDWARDS = OKPKey.import_key(json.loads(SIGNER.private_jwk()))
ELLIPTIC = ECKey.generate_key("P-256", {"kid": "e"})
RIVEST = RSAKey.generate_key(2048, {"kid": "r"})
SMALL = {"kty": "RSA", "kid": "small", "n": "w" + "A" * 169 + "E", "e": "AQAB"}
"""An RSA key of 1024 bits."""


def public(*keys: Any, **extra: str) -> bytes:
    return json.dumps({"keys": [{**key.as_dict(private=False), "kid": key.kid, **extra} for key in keys]}).encode()


EDWARDS_PUBLIC = json.loads(SIGNER.public_jwks())["keys"][0]
ALL = Keys.from_jwks(json.dumps({"keys": [EDWARDS_PUBLIC, *json.loads(public(ELLIPTIC, RIVEST))["keys"]]}).encode())
GOOD: dict[str, Any] = {
    "iss": "https://app.example",
    "aud": "notification-gateway",
    "sub": SUBJECT,
    "iat": AT,
    "exp": AT + 3600,
    "calls": ["c"],
}
HEADER = {"alg": "EdDSA", "kid": SIGNER.key_id, "typ": "JWT"}


def part(value: Any) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sign(header: Any, payload: Any) -> str:
    """A token with a genuine signature over any header and payload, good or bad."""
    signed = f"{part(header)}.{part(payload)}"
    key = EDWARDS.private_key
    assert isinstance(key, Ed25519PrivateKey)
    signature = key.sign(signed.encode())
    return f"{signed}.{part(signature)}"


def claim(**changes: Any) -> str:
    return sign(HEADER, {**GOOD, **changes})


def without(name: str) -> str:
    return sign(HEADER, {key: value for key, value in GOOD.items() if key != name})


def symmetric(key: bytes, alg: str = "HS256", kid: str | None = None) -> str:
    signed = f"{part({'alg': alg, 'typ': 'JWT', **({'kid': kid} if kid else {})})}.{part(GOOD)}"
    return f"{signed}.{part(hmac.digest(key, signed.encode(), hashlib.sha256))}"


def unsigned(alg: str) -> str:
    return f"{part({'alg': alg, 'kid': SIGNER.key_id})}.{part(GOOD)}."


def check(token: str, keys: Keys = ALL, now: datetime = NOW) -> Claims:
    return verify(token, keys, issuer="https://app.example", audience="notification-gateway", now=now)


def tampered(token: str, place: int) -> str:
    parts = token.split(".")
    parts[place] = parts[place][:4] + ("A" if parts[place][4] != "A" else "B") + parts[place][5:]
    return ".".join(parts)


GENUINE = sign(HEADER, GOOD)
PUBLIC_PEM = EDWARDS.as_pem(private=False)

ATTACKS: dict[str, Callable[[], str]] = {
    "empty": lambda: "",
    "not a token": lambda: "abc",
    "two parts": lambda: GENUINE.rpartition(".")[0],
    "four parts": lambda: GENUINE + ".x",
    "not ASCII": lambda: GENUINE + "é",
    "lone surrogate": lambda: GENUINE + "\ud800",
    "white space after it": lambda: GENUINE + "\n",
    "padding": lambda: GENUINE + "==",
    "huge": lambda: GENUINE + "A" * 200_000,
    "five-part encryption": lambda: "a.b.c.d.e",
    "header not JSON": lambda: sign(b"{", GOOD),
    "header an array": lambda: sign(["alg"], GOOD),
    "header a string": lambda: sign("alg", GOOD),
    "header empty": lambda: sign({}, GOOD),
    "header names alg twice": lambda: sign(b'{"alg":"none","alg":"EdDSA"}', GOOD),
    "header deep": lambda: sign(b'{"alg":"EdDSA","x":' + b"[" * 100 + b"]" * 100 + b"}", GOOD),
    "alg none": lambda: unsigned("none"),
    "alg nOnE": lambda: unsigned("nOnE"),
    "alg none with the signature kept": lambda: sign({**HEADER, "alg": "none"}, GOOD),
    "alg missing": lambda: sign({"kid": SIGNER.key_id}, GOOD),
    "alg a list": lambda: sign({**HEADER, "alg": ["EdDSA"]}, GOOD),
    "alg of another key": lambda: sign({**HEADER, "alg": "ES256"}, GOOD),
    "alg Ed25519, the newer name": lambda: sign({**HEADER, "alg": "Ed25519"}, GOOD),
    "alg ES384": lambda: sign({**HEADER, "alg": "ES384"}, GOOD),
    "alg PS256 with the RSA key": lambda: sign({**HEADER, "alg": "PS256", "kid": "r"}, GOOD),
    "HS256 with the public key's PEM": lambda: symmetric(PUBLIC_PEM, kid=SIGNER.key_id),
    "HS256 with the public key's x": lambda: symmetric(EDWARDS_PUBLIC["x"].encode(), kid=SIGNER.key_id),
    "HS256 with nothing": lambda: symmetric(b"", kid=SIGNER.key_id),
    "HS256 without a key id": lambda: symmetric(PUBLIC_PEM),
    "signed by a stranger": lambda: mint_with(STRANGER),
    "signed by a stranger, our key id": lambda: relabelled(STRANGER),
    "unknown key id": lambda: sign({**HEADER, "kid": "other"}, GOOD),
    "no key id among several keys": lambda: sign({"alg": "EdDSA"}, GOOD),
    "key id a path": lambda: sign({**HEADER, "kid": "../../dev/null"}, GOOD),
    "key id a number": lambda: sign({**HEADER, "kid": 7}, GOOD),
    "embedded jwk": lambda: sign({**HEADER, "jwk": EDWARDS_PUBLIC}, GOOD),
    "jku": lambda: sign({**HEADER, "jku": "https://evil.example/keys"}, GOOD),
    "x5u": lambda: sign({**HEADER, "x5u": "https://evil.example/cert"}, GOOD),
    "x5c": lambda: sign({**HEADER, "x5c": ["MII"]}, GOOD),
    "crit": lambda: sign({**HEADER, "crit": ["exp"], "exp": 1}, GOOD),
    "crit of nothing": lambda: sign({**HEADER, "crit": []}, GOOD),
    "b64 false": lambda: sign({**HEADER, "b64": False, "crit": ["b64"]}, GOOD),
    "zip": lambda: sign({**HEADER, "zip": "DEF"}, GOOD),
    "nested token": lambda: sign({**HEADER, "cty": "JWT"}, GOOD),
    "typ of a refresh token": lambda: sign({**HEADER, "typ": "refresh+jwt"}, GOOD),
    "typ of an access token": lambda: sign({**HEADER, "typ": "at+jwt"}, GOOD),
    "typ null": lambda: sign({**HEADER, "typ": None}, GOOD),
    "tampered header": lambda: tampered(GENUINE, 0),
    "tampered claims": lambda: tampered(GENUINE, 1),
    "tampered signature": lambda: tampered(GENUINE, 2),
    "no signature": lambda: GENUINE.rpartition(".")[0] + ".",
    "claims not JSON": lambda: sign(HEADER, b"x"),
    "claims an array": lambda: sign(HEADER, [GOOD]),
    "claims deep": lambda: claim(x=json.loads("[" * 9 + "]" * 9)),
    "claims named twice": lambda: sign(HEADER, json.dumps(GOOD)[:-1].encode() + b',"sub":"8:acs:other_1"}'),
    "claims with NaN": lambda: claim(x=float("nan")),
    "claims not UTF-8": lambda: sign(HEADER, b'{"iss":"\xff"}'),
    "exp a string": lambda: claim(exp=str(AT + 60)),
    "exp a float": lambda: claim(exp=AT + 60.5),
    "exp a whole float": lambda: claim(exp=float(AT + 60)),
    "exp true": lambda: claim(exp=True),
    "exp null": lambda: claim(exp=None),
    "exp a list": lambda: claim(exp=[AT + 60]),
    "exp a second too far": lambda: claim(exp=AT + 24 * 3600 + 1),
    "exp in 10^15 seconds": lambda: claim(exp=10**15),
    "exp in 10^30 seconds": lambda: claim(exp=10**30),
    "iat in the future": lambda: claim(iat=AT + 62),
    "iat a string": lambda: claim(iat=str(AT)),
    "iat a float": lambda: claim(iat=AT + 0.5),
    "nbf in the future": lambda: claim(nbf=AT + 62),
    "nbf a string": lambda: claim(nbf="0"),
    "iss of another": lambda: claim(iss="https://evil.example"),
    "iss with a slash more": lambda: claim(iss="https://app.example/"),
    "iss a list": lambda: claim(iss=["https://app.example"]),
    "aud of another": lambda: claim(aud="other"),
    "aud a list": lambda: claim(aud=["notification-gateway"]),
    "aud in capitals": lambda: claim(aud="Notification-Gateway"),
    "sub empty": lambda: claim(sub=""),
    "sub a list": lambda: claim(sub=[SUBJECT]),
    "sub a number": lambda: claim(sub=8),
    "calls a string": lambda: claim(calls="c"),
    "calls an object": lambda: claim(calls={"c": True}),
    "calls with a number": lambda: claim(calls=["c", 1]),
    "calls with nothing in it": lambda: claim(calls=[""]),
    "every call for a participant": lambda: claim(calls=["*"]),
    "every call among others": lambda: claim(calls=["c", "*"], role="participant"),
    "role unknown": lambda: claim(role="admin"),
    "role a list": lambda: claim(role=["observer"]),
    "name a number": lambda: claim(name=7),
    **{f"no {name}": partial(without, name) for name in GOOD},
}  # fmt: skip


def mint_with(key: SigningKey) -> str:
    return key.sign(GOOD)


def relabelled(key: SigningKey) -> str:
    _, claims, signature = key.sign(GOOD).split(".")
    return f"{part(HEADER)}.{claims}.{signature}"


class TestAttacks:
    @pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
    def test_every_attack_is_refused_with_4401(self, attack: Callable[[], str]) -> None:
        """RFC 8725 and our own rules: whatever is wrong, it is a bad token and nothing more is said."""
        with pytest.raises(Bye) as caught:
            check(attack())
        assert (caught.value.code, caught.value.reason) == (4401, "bad token")
        assert caught.value.retry == "never"

    def test_a_genuine_token_that_is_over_is_expired(self) -> None:
        """4101 says that a new token helps; it is the only fault with that answer."""
        for late in (0, 1, 10**9):
            with pytest.raises(Bye) as caught:
                check(claim(exp=AT - late))
            assert (caught.value.code, caught.value.retry) == (4101, "refresh")

    @pytest.mark.parametrize("wrong", [{"iss": "x"}, {"aud": "x"}, {"calls": ["*"]}, {"iat": AT + 100}])
    def test_an_expired_token_with_another_fault_is_bad(self, wrong: dict[str, Any]) -> None:
        """A new token of that kind would not help."""
        with pytest.raises(Bye) as caught:
            check(claim(exp=AT - 1, **wrong))
        assert caught.value.code == 4401

    def test_an_expired_token_of_a_stranger_is_bad(self) -> None:
        """The signature is looked at first."""
        with pytest.raises(Bye) as caught:
            check(STRANGER.sign({**GOOD, "exp": AT - 1}))
        assert caught.value.code == 4401

    @given(
        st.text(max_size=200) | st.binary(max_size=100).map(lambda data: f"{part(HEADER)}.{part(data)}.{part(data)}")
    )
    def test_arbitrary_text_is_refused(self, token: str) -> None:
        """Nothing but `Bye` is ever raised."""
        with pytest.raises(Bye):
            check(token)

    @given(
        st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64"]), st.none() | st.integers() | st.text())
    )
    def test_arbitrary_headers_are_refused_or_ours(self, header: dict[str, Any]) -> None:
        """A header is either one of a few forms or bad."""
        if header.get("alg") != "EdDSA":
            with pytest.raises(Bye):
                check(sign(header, GOOD))


class TestGood:
    def test_a_token_says_who_for_what_and_how_long(self) -> None:
        """The claims of the contract, and the defaults of the optional ones."""
        expected = Claims(SUBJECT, frozenset({"c"}), Role.PARTICIPANT, None, datetime.fromtimestamp(AT + 3600, UTC))
        assert check(GENUINE) == expected

    def test_optional_claims(self) -> None:
        """`name`, `role`, `nbf`, and claims nobody here knows."""
        claims = check(claim(name="Ada", role="observer", calls=["*"], nbf=AT, tid="x", amr=["pwd"]))
        assert (claims.name, claims.role, claims.calls) == ("Ada", Role.OBSERVER, frozenset({"*"}))

    @pytest.mark.parametrize("changes", [
        {"exp": AT + 24 * 3600}, {"exp": AT + 1}, {"iat": AT + 60}, {"nbf": AT + 60}, {"iat": 0}, {"calls": []},
    ])  # fmt: skip
    def test_the_limits_themselves_are_good(self, changes: dict[str, Any]) -> None:
        """24 hours, one second, sixty seconds of another clock."""
        check(claim(**changes))

    def test_typ_may_be_left_out(self) -> None:
        """`typ` is `JWT` where it is present."""
        check(sign({"alg": "EdDSA", "kid": SIGNER.key_id}, GOOD))

    @pytest.mark.parametrize(("alg", "key"), [("ES256", ELLIPTIC), ("RS256", RIVEST)])
    def test_the_other_two_algorithms(self, alg: str, key: Any) -> None:
        """Each with a key of its own kind."""
        token = jws.serialize_compact({"alg": alg, "kid": key.kid}, json.dumps(GOOD), key, algorithms=[alg])
        assert check(token).participant == SUBJECT
        with pytest.raises(Bye):
            check(tampered(token, 1))

    def test_a_single_key_needs_no_key_id(self) -> None:
        """With one key there is no doubt which is meant; its algorithm is still its own."""
        alone = Keys.from_jwks(SIGNER.public_jwks())
        check(sign({"alg": "EdDSA"}, GOOD), alone)
        with pytest.raises(Bye):
            check(unsigned("none"), alone)

    def test_what_is_minted_is_verified(self) -> None:
        """`mint` writes every claim `verify` asks for."""
        token = mint(
            SIGNER, issuer="https://app.example", audience="notification-gateway", participant=SUBJECT,
            calls=["a", "b"], now=NOW, expires_at=NOW + timedelta(hours=24), role=Role.OBSERVER, name="Ada",
        )  # fmt: skip
        expires_at = datetime.fromtimestamp(AT + 24 * 3600, UTC)
        assert check(token) == Claims(SUBJECT, frozenset({"a", "b"}), Role.OBSERVER, "Ada", expires_at)


class TestKeys:
    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"[]",
            b"{}",
            b'{"keys":{}}',
            b'{"keys":[]}',
            b'{"keys":["x"]}',
            b'{"keys":[{}]}',
            b'{"keys":[{"kty":"OKP","crv":"Ed25519"}]}',
            b'{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AA"}]}',
            b'{"keys":[{"kty":"OKP","crv":"Ed25519","x":7}]}',
            b'{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}',
            b'{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}',
            public(ECKey.generate_key("P-384")),
            json.dumps({"keys": [SMALL]}).encode(),
            public(ELLIPTIC, ELLIPTIC),
            public(ELLIPTIC, use="enc"),
            public(ELLIPTIC, alg="ES384"),
            json.dumps({"keys": [json.loads(SIGNER.private_jwk())]}).encode(),
            json.dumps({"keys": [EDWARDS_PUBLIC, OctKey.generate_key(256).as_dict()]}).encode(),
        ],
    )
    def test_a_set_without_a_usable_key_or_with_a_secret_is_refused(self, data: bytes) -> None:
        """At the start, and not at the first token."""
        with pytest.raises(KeysRefused) as caught:
            Keys.from_jwks(data)
        assert "AA" not in str(caught.value)

    def test_keys_of_other_kinds_are_passed_over(self) -> None:
        """An issuer's set may hold more than we use."""
        mixed = json.loads(public(ECKey.generate_key("P-384"), ELLIPTIC))["keys"]
        mixed += [SMALL, {"kty": "RSA", "use": "enc", "n": "x", "e": "AQAB"}, {"kty": "AKP", "alg": "ML-DSA-44"}]
        keys = Keys.from_jwks(json.dumps({"keys": mixed}).encode())
        check(jws.serialize_compact({"alg": "ES256", "kid": "e"}, json.dumps(GOOD), ELLIPTIC), keys)

    def test_a_signing_key_is_read_back(self) -> None:
        """What `private_jwk` writes, `from_jwk` reads; the public set has nothing secret in it."""
        again = SigningKey.from_jwk(SIGNER.private_jwk())
        assert again.key_id == SIGNER.key_id
        check(again.sign(GOOD))
        assert "d" not in EDWARDS_PUBLIC

    @pytest.mark.parametrize("data", [b"", b"{}", SIGNER.public_jwks(), b'{"kty":"OKP","crv":"Ed25519","d":"AA"}'])
    def test_a_bad_signing_key_is_refused(self, data: bytes) -> None:
        """With one clear error and nothing of the key in it."""
        with pytest.raises(KeysRefused):
            SigningKey.from_jwk(data)

    @pytest.mark.parametrize("length", [0, 31, 33])
    def test_a_seed_has_32_bytes(self, length: int) -> None:
        """RFC 8032 §5.1.5."""
        with pytest.raises(KeysRefused):
            SigningKey.from_seed(b"x" * length)


class TestVerifier:
    def verifier(self, capacity: int = 8) -> Verifier:
        return Verifier(ALL, issuer="https://app.example", audience="notification-gateway", capacity=capacity)

    def test_a_known_token_still_expires(self) -> None:
        """Being remembered does not lengthen a token's life."""
        verifier = self.verifier()
        verifier.verify(GENUINE, NOW)
        assert verifier.verify(GENUINE, NOW + timedelta(minutes=59)).participant == SUBJECT
        for _ in range(2):
            with pytest.raises(Bye) as caught:
                verifier.verify(GENUINE, NOW + timedelta(hours=1))
            assert caught.value.code == 4101

    def test_a_known_token_is_not_checked_again(self) -> None:
        """The signature costs a quarter of a millisecond; the same claims come back."""
        verifier = self.verifier()
        assert verifier.verify(GENUINE, NOW) is verifier.verify(GENUINE, NOW)

    def test_new_keys_forget_what_was_believed(self) -> None:
        """A key that was withdrawn ends its tokens, remembered or not."""
        verifier = self.verifier()
        verifier.verify(GENUINE, NOW)
        verifier.replace_keys(Keys.from_jwks(STRANGER.public_jwks()))
        with pytest.raises(Bye) as caught:
            verifier.verify(GENUINE, NOW)
        assert caught.value.code == 4401

    def test_the_same_keys_again_forget_nothing(self) -> None:
        """Keys are read every five minutes: then everybody's next hello would be as dear as the first."""
        verifier = self.verifier()
        known = verifier.verify(GENUINE, NOW)
        verifier.replace_keys(ALL)
        assert verifier.verify(GENUINE, NOW) is known
        assert not ALL.same_as(Keys.from_jwks(STRANGER.public_jwks()))

    def test_who_may_join_the_same_calls_shares_their_set(self) -> None:
        """Memory: ten thousand tokens for one call are remembered at a time."""
        verifier = self.verifier()
        first, second = (verifier.verify(claim(jti=jti), NOW) for jti in "ab")
        assert first is not second
        assert first.calls is second.calls

    def test_only_so_many_are_remembered_and_bad_ones_never(self) -> None:
        """Memory is bounded whatever clients send; the latest used stay."""
        verifier = self.verifier(capacity=3)
        tokens = [claim(jti=str(number)) for number in range(5)]
        first = verifier.verify(tokens[0], NOW)
        for token in tokens[1:3]:
            verifier.verify(token, NOW)
        assert verifier.verify(tokens[0], NOW) is first
        for token in tokens[3:]:
            verifier.verify(token, NOW)
        for attack in list(ATTACKS.values())[:20]:
            with pytest.raises(Bye):
                verifier.verify(attack(), NOW)
        assert verifier.verify(tokens[0], NOW) is first
        assert len(verifier) == 3
