"""The secrets of a gateway as files: made once by `create`, read and judged at every start.

Rules: a secret belongs to its owner alone (mode 0600, no symbolic links on writing) and is never overwritten; a
refusal is a `ConfigError` that names file and key and quotes nothing. Regions' keys are storage's own matter.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from gateway.config import ConfigError
from gateway.core.tokens import Keys, KeysRefused, SigningKey
from gateway.settings import Settings
from storage.note import COSIGNATURE, Verifier, parse_verifiers

FOR_CONTROL: Final = "control.token"
FOR_WEBHOOKS: Final = "webhook.secret"
FOR_CLIENTS: Final = "clients.jwks"
BROKER_CLIENT: Final = "mqtt.client"
SIGNING_SUFFIX: Final = ".key"
"""What the private key's file ends with, beside the public `clients.jwks`."""

_LONGEST: Final = 65_536
_SECRET: Final = re.compile(r"[!-~]{16,512}\Z")


def create(directory: Path, random: Callable[[int], bytes] = secrets.token_bytes) -> list[Path]:
    """Makes all keys a new gateway needs in `directory` and returns their paths.

    Raises `ConfigError`, and writes nothing, if any of them is there already.
    """
    signing = SigningKey.from_seed(random(32))
    wanted = {
        FOR_CONTROL: random(32).hex().encode() + b"\n",
        FOR_WEBHOOKS: random(32).hex().encode() + b"\n",
        Path(FOR_CLIENTS).with_suffix(SIGNING_SUFFIX).name: signing.private_jwk() + b"\n",
        FOR_CLIENTS: signing.public_jwks() + b"\n",
    }
    for name in wanted:
        if os.path.lexists(directory / name):
            raise ConfigError(f"{directory / name}: exists and is not overwritten; move it away first")
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, content in wanted.items():
        write_private(directory / name, content)
    return [directory / name for name in wanted]


def write_private(path: Path, content: bytes) -> None:
    """Writes a new file only its owner may read (0600), durably; raises `FileExistsError` if there is one."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def control_token(settings: Settings) -> str:
    """The bearer token of the control API. Raises `ConfigError`."""
    return _secret(settings, settings.control.token_file, "[control] token_file")


def webhook_secret(settings: Settings) -> str:
    """What a webhook must show. Raises `ConfigError`."""
    return _secret(settings, settings.control.webhook_secret_file, "[control] webhook_secret_file")


def client_keys(settings: Settings) -> Keys:
    """The public keys clients' tokens are checked with: see `client_key_set`."""
    return Keys.from_jwks(client_key_set(settings))


def client_key_set(settings: Settings) -> bytes:
    """The JWK Set of clients' tokens, from the file or fetched (blocking) from the address.

    It is one that `Keys.from_jwks` takes. Raises `ConfigError`.
    """
    if settings.clients.jwks_url is not None:
        from gateway.outbound import NotFetched, fetch  # noqa: PLC0415  # a tenth of each start, and few need it

        key, source = "[clients] jwks_url", settings.clients.jwks_url
        try:
            data = fetch(source, limit=_LONGEST)
        except NotFetched as error:
            raise ConfigError(f"{source}: {key}: {error}; name an address that holds the issuer's keys") from None
    else:
        key, source = "[clients] jwks_file", str(settings.clients.jwks_file)
        data = _read(settings, Path(source), key)
    try:
        Keys.from_jwks(data)
    except KeysRefused as error:
        raise ConfigError(f"{source}: {key}: {error}; put the issuer's public keys there") from None
    return data


def signing_key(settings: Settings) -> SigningKey:
    """The private key beside `jwks_file`, for `gateway token` and `POST /v1/tokens`. Raises `ConfigError`."""
    key = "[clients] jwks_file"
    if settings.clients.jwks_file is None:
        raise ConfigError(f"{settings.source}: {key}: not set, so the issuer signs tokens, not this gateway; ask it")
    path = settings.clients.jwks_file.with_suffix(SIGNING_SUFFIX)
    data = _read(settings, path, f"the private key beside {key}", private=True)
    try:
        return SigningKey.from_jwk(data)
    except KeysRefused as error:
        raise ConfigError(f"{path}: the private key beside {key}: {error}; put the right one there") from None


def witnesses(settings: Settings) -> list[Verifier]:
    """The keys of those outside whose cosignatures are kept (`[ledger] witnesses_file`). Raises `ConfigError`."""
    path, key = settings.ledger.witnesses_file, "[ledger] witnesses_file"
    if path is None:
        return []
    try:
        found = parse_verifiers(_read(settings, path, key).decode("utf-8", "replace"))
    except ValueError as error:
        raise ConfigError(f"{path}: {key}: {error}; put each witness's .vkey there, one a line") from None
    if any(each.algorithm != COSIGNATURE for each in found):
        raise ConfigError(f"{path}: {key}: holds a key that is no witness's; remove it")
    if len({each.name for each in found}) != len(found):
        raise ConfigError(f"{path}: {key}: two witnesses have one name; remove one")
    return found


def mqtt_client_id(settings: Settings) -> str:
    """The id under which the broker keeps this gateway's session: `[mqtt] client_id`, else one made up once.

    Two gateways with one id would throw each other off for ever, so the made-up one is kept beside the keys and
    nowhere that a second gateway could share. Raises `ConfigError`.
    """
    if settings.mqtt is not None and settings.mqtt.client_id is not None:
        return settings.mqtt.client_id
    path = settings.storage.key_directory / BROKER_CLIENT
    with suppress(FileExistsError):
        write_private(path, f"gateway-{secrets.token_hex(7)}\n".encode())
    return _read(settings, path, "the made-up [mqtt] client_id").decode("ascii", "replace").strip()


def _secret(settings: Settings, path: Path, key: str) -> str:
    text = _read(settings, path, key, private=True).decode("ascii", "replace").strip()
    if not _SECRET.match(text):
        raise ConfigError(f"{path}: {key}: must hold one line of 16 to 512 visible characters; write a new secret")
    return text


def _read(settings: Settings, path: Path, key: str, *, private: bool = False) -> bytes:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if private and status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise ConfigError(f"{path}: {key}: others may read it; run chmod 600 on it")
            data = file.read(_LONGEST + 1)
    except FileNotFoundError:
        raise ConfigError(f"{path}: {key}: no such file; write it or correct the key in {settings.source}") from None
    except OSError as error:
        raise ConfigError(f"{path}: {key}: cannot be read ({error.strerror}); mend that") from None
    if len(data) > _LONGEST:
        raise ConfigError(f"{path}: {key}: is over {_LONGEST} bytes; name the right file")
    return data
