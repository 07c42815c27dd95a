"""Client tokens: JWTs (RFC 7519) signed with a key of the configured set, checked by RFC 8725's advice.

Rules: the algorithm belongs to the key, never to the token (EdDSA with Ed25519, ES256, RS256 from 2048 bits); a
header may name nothing but `alg`, `kid`, `typ` and certificate thumbprints. What the claims must be is in
`gateway.core.claims`. No error quotes a token.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from hashlib import sha256
from typing import Final, NamedTuple, Self

import msgspec
from joserfc import jws
from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jwa import JWSAlgModel
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry
from joserfc.util import urlsafe_b64decode

from gateway.core.claims import BadToken, Claims, Expired, judge
from gateway.core.errors import GatewayError
from gateway.core.strict_json import parse
from gateway.core.types import Role

_ALGORITHMS: Final = ("EdDSA", "ES256", "RS256")
_HEADER: Final = frozenset({"alg", "kid", "typ", "x5t", "x5t#S256"})
_SMALLEST_RSA: Final = 2048
_DEEPEST: Final = 8
# The DER of an Ed25519 private key (RFC 8410 §7) is this followed by the 32 bytes of the seed.
_PKCS8_ED25519: Final = bytes.fromhex("302e020100300506032b657004220420")

_Key = OKPKey | ECKey | RSAKey


class KeysRefused(GatewayError):
    """A key or a key set cannot be used; the message says why and quotes nothing of it."""


class _Registry(JWSRegistry):
    """The three algorithms and no others, without the library's warning that `EdDSA` has a newer name."""

    def get_alg(self, name: str) -> JWSAlgModel:
        if name not in _ALGORITHMS:
            raise UnsupportedAlgorithmError
        return self.algorithms[name]


_REGISTRY: Final = _Registry(algorithms=_ALGORITHMS)


class _Trusted(NamedTuple):
    algorithm: str
    key: _Key


class Keys:
    """The public keys whose tokens are believed, by key id."""

    def __init__(self, keys: Mapping[str, _Trusted]) -> None:
        self._keys = dict(keys)

    @classmethod
    def from_jwks(cls, data: bytes) -> Self:
        """The usable keys of a JWK Set (RFC 7517 §5); others for signatures of other kinds are passed over.

        Raises `KeysRefused` where there is no usable key, two have one id, or a secret lies in the set.
        """
        try:
            document = parse(data, depth=_DEEPEST)
        except ValueError:
            raise KeysRefused("the key set is not JSON") from None
        members = document.get("keys") if isinstance(document, dict) else None
        if not isinstance(members, list):
            raise KeysRefused("the key set has no list of keys")
        keys: dict[str, _Trusted] = {}
        for member in members:
            trusted = _trusted(member)
            if trusted is None:
                continue
            if (key_id := trusted.key.kid or trusted.key.thumbprint()) in keys:
                raise KeysRefused("two keys of the set have one id")
            keys[key_id] = trusted
        if not keys:
            raise KeysRefused("the key set has no key for EdDSA, ES256 or RS256")
        return cls(keys)

    def same_as(self, other: Keys) -> bool:
        """Whether the same tokens are genuine by both."""
        return self._prints() == other._prints()

    def _prints(self) -> dict[str, tuple[str, str]]:
        return {key_id: (each.algorithm, each.key.thumbprint()) for key_id, each in self._keys.items()}

    def find(self, key_id: object, algorithm: object) -> _Key | None:
        """The key a token names, or the only one where it names none; None unless it is for `algorithm`."""
        if key_id is None and len(self._keys) == 1:
            (found,) = self._keys.values()
        elif isinstance(key_id, str) and key_id in self._keys:
            found = self._keys[key_id]
        else:
            return None
        return found.key if found.algorithm == algorithm else None


def _trusted(member: object) -> _Trusted | None:
    if not isinstance(member, dict):
        raise KeysRefused("a key of the set is not an object")
    if member.get("kty") == "oct" or "d" in member:
        raise KeysRefused("the key set holds a secret key")
    if member.get("use", "sig") != "sig":
        return None
    try:
        key = _import(member)
    except (JoseError, ValueError, TypeError, KeyError):
        raise KeysRefused("a key of the set is malformed") from None
    if key is None:
        return None
    algorithm = _algorithm(key)
    return _Trusted(algorithm, key) if member.get("alg", algorithm) == algorithm else None


def _import(member: dict[str, object]) -> _Key | None:
    match member.get("kty"), member.get("crv"):
        case "OKP", "Ed25519":
            return OKPKey.import_key(member)  # type: ignore[arg-type]  # the library checks the values itself
        case "EC", "P-256":
            return ECKey.import_key(member)  # type: ignore[arg-type]  # likewise
        case "RSA", _:
            # Measured first: the library only warns about a modulus that is too short.
            modulus = int.from_bytes(urlsafe_b64decode(str(member["n"]).encode()), "big")
            if modulus.bit_length() < _SMALLEST_RSA:
                return None
            return RSAKey.import_key(member)  # type: ignore[arg-type]  # likewise
        case _:
            return None


def _algorithm(key: _Key) -> str:
    if isinstance(key, OKPKey):
        return "EdDSA"
    return "ES256" if isinstance(key, ECKey) else "RS256"


class SigningKey:
    """A private key that signs client tokens: an Ed25519 key made from 32 secret random bytes."""

    def __init__(self, key: OKPKey) -> None:
        self._key = key

    @classmethod
    def from_seed(cls, seed: bytes) -> Self:
        """The key whose private part is `seed` (RFC 8032 §5.1.5), 32 bytes of good randomness."""
        if len(seed) != 32:
            raise KeysRefused("a signing key is made from 32 bytes")
        return cls(OKPKey.import_key(_PKCS8_ED25519 + seed))

    @classmethod
    def from_jwk(cls, data: bytes) -> Self:
        """The key written by `private_jwk`. Raises `KeysRefused`."""
        try:
            member = parse(data, depth=_DEEPEST)
            if not isinstance(member, dict) or member.get("crv") != "Ed25519" or "d" not in member:
                raise KeysRefused("not a private Ed25519 key")
            return cls(OKPKey.import_key(member))
        except (JoseError, ValueError, TypeError, KeyError):
            raise KeysRefused("the signing key is malformed") from None

    @property
    def key_id(self) -> str:
        """The key's thumbprint (RFC 7638), which tokens name as `kid`."""
        return self._key.thumbprint()

    def private_jwk(self) -> bytes:
        """The secret key as a JWK, for a file only its owner may read."""
        return msgspec.json.encode({**self._key.as_dict(private=True), "kid": self.key_id, "alg": "EdDSA"})

    def public_jwks(self) -> bytes:
        """The JWK Set that makes `Keys` believe this key's tokens."""
        public = {**self._key.as_dict(private=False), "kid": self.key_id, "alg": "EdDSA", "use": "sig"}
        return msgspec.json.encode({"keys": [public]})

    def sign(self, claims: Mapping[str, object]) -> str:
        """A token that says `claims`, as they are."""
        header = {"alg": "EdDSA", "kid": self.key_id, "typ": "JWT"}
        return jws.serialize_compact(header, msgspec.json.encode(claims), self._key, registry=_REGISTRY)


def mint(
    key: SigningKey,
    *,
    issuer: str,
    audience: str,
    participant: str,
    calls: Iterable[str],
    now: datetime,
    expires_at: datetime,
    role: Role = Role.PARTICIPANT,
    name: str | None = None,
) -> str:
    """A client token; `verify` judges whether it is one that can be used."""
    claims: dict[str, object] = {
        "iss": issuer,
        "aud": audience,
        "sub": participant,
        "calls": list(calls),
        "iat": int(now.timestamp()),
        "exp": int(expires_at.timestamp()),
        "role": role,
    }
    if name is not None:
        claims["name"] = name
    return key.sign(claims)


def verify(token: str, keys: Keys, *, issuer: str, audience: str, now: datetime) -> Claims:
    """What `token` says, if it is genuine and valid at `now`. Raises `Bye`: 4101 once expired, else 4401."""
    return judge(_payload(token, keys), issuer=issuer, audience=audience, now=now)


def _payload(token: str, keys: Keys) -> bytes:
    """The token's claims once its header and signature are found good."""
    try:
        compact = token.encode("ascii")
        header = parse(urlsafe_b64decode(compact.partition(b".")[0]), depth=1)
        if not isinstance(header, dict) or not header.keys() <= _HEADER or header.get("typ", "JWT") != "JWT":
            raise BadToken
        key = keys.find(header.get("kid"), header.get("alg"))
        if key is None:
            raise BadToken
        signed = jws.extract_compact(compact, registry=_REGISTRY)
        if not jws.validate_compact(signed, key, registry=_REGISTRY):
            raise BadToken
    except (JoseError, ValueError):
        raise BadToken from None
    return signed.payload


class Verifier:
    """Verifies tokens with one configuration and remembers the good ones; owned by the loop.

    A token is remembered by its SHA-256 digest only, and at most `capacity` of them, the latest used; each takes about
    400 bytes. With fewer than there are sessions, none would be known when all of them come back at once.
    """

    def __init__(self, keys: Keys, *, issuer: str, audience: str, capacity: int = 8192) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._capacity = capacity
        self._known: dict[bytes, Claims] = {}

    def __len__(self) -> int:
        """How many tokens are remembered."""
        return len(self._known)

    def replace_keys(self, keys: Keys) -> None:
        """Believe these keys from now on, and none of the tokens remembered if they are others."""
        if not keys.same_as(self._keys):
            self._known.clear()
        self._keys = keys

    def verify(self, token: str, now: datetime) -> Claims:
        """As the function `verify`."""
        digest = sha256(token.encode("utf-8", "surrogatepass")).digest()
        claims = self._known.pop(digest, None)
        if claims is None:
            claims = verify(token, self._keys, issuer=self._issuer, audience=self._audience, now=now)
        elif claims.expires_at <= now:
            raise Expired
        self._known[digest] = claims
        if len(self._known) > self._capacity:
            del self._known[next(iter(self._known))]
        return claims
