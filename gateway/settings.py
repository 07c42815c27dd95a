"""What can be configured: one type per table of `gateway.toml`, each key with its meaning, unit and default.

Rules: values here are whole and checked (paths absolute, addresses parsed, resources in lower case); a refusal
is a `ValueError` that begins with the key and ends with what to do. `gateway.config` reads files into these.
"""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple
from urllib.parse import urlsplit

from msgspec import Meta, Struct, field

from gateway.core.types import Level

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#@\s*]+\Z")

OWED: Final = (Level.RECEIVED, Level.DISPLAYED, Level.ACKNOWLEDGED, Level.CONSENTED)
"""The levels that can be owed: nobody can do anything about being sent to, nor be bound to decline."""

MOST_WORKERS: Final = 64
"""More processes than that only pass messages on."""

Seconds = Annotated[float, Meta(gt=0, le=86_400)]


class Address(NamedTuple):
    """Where to listen. Port 0 lets the system choose."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """`host:port` or `[ipv6]:port`. Raises `ValueError`."""
        host, colon, port = text.rpartition(":")
        bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        known = bool(colon and bare) and (":" not in host or bare != host) and not re.search(r"[\s/@\[\]]", bare)
        if not known or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65_535:
            raise ValueError("is no address; write host:port, for example 127.0.0.1:8080 or [::1]:8080")
        return cls(bare, int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file; a key that is not named here is refused."""


class Listen(Section, frozen=True, kw_only=True):
    """The WebSocket end: `origins` are the browsers' that may connect, exactly (scheme, host, port).

    `workers` are the processes that hold the sockets; with none the gateway's own does.
    """

    address: Address = Address("127.0.0.1", 8080)
    origins: tuple[str, ...] = ()
    ping_seconds: Annotated[int, Meta(ge=1, le=3600)] = 15
    max_sessions: Annotated[int, Meta(ge=1)] = 50_000
    workers: Annotated[int, Meta(ge=0, le=MOST_WORKERS)] = 0

    def __post_init__(self) -> None:
        for origin in self.origins:
            if not _ORIGIN.match(origin):
                raise ValueError("origins: an entry is no origin; write each like https://app.example, no path")


class Control(Section, frozen=True, kw_only=True):
    """The control API; both files hold one secret each and belong to their owner alone (mode 0600)."""

    address: Address = Address("127.0.0.1", 8081)
    token_file: Path = Path("keys/control.token")
    webhook_secret_file: Path = Path("keys/webhook.secret")


class Storage(Section, frozen=True, kw_only=True):
    """Where the regions' files lie, and apart from them their keys, so that no backup of one holds the other."""

    directory: Path = Path("data")
    key_directory: Path = Path("keys")

    def __post_init__(self) -> None:
        data, keys = self.directory.resolve(), self.key_directory.resolve()
        if keys.is_relative_to(data) or data.is_relative_to(keys):
            raise ValueError("key_directory: must lie apart from directory; move one out of the other")


class Clients(Section, frozen=True, kw_only=True):
    """Who signs the clients' tokens, for whom, and the public keys (JWKS) to check them with."""

    issuer: Annotated[str, Meta(min_length=1)]
    audience: Annotated[str, Meta(min_length=1)]
    jwks_file: Path | None = None
    jwks_url: str | None = None

    def __post_init__(self) -> None:
        if (self.jwks_file is None) == (self.jwks_url is None):
            raise ValueError("jwks_file: name the clients' public keys by jwks_file or by jwks_url, one of them")
        if self.jwks_url is not None:
            url = urlsplit(self.jwks_url)
            safe = url.scheme == "https" or (url.scheme == "http" and url.hostname in _LOOPBACK)
            if not safe or not url.hostname:
                raise ValueError("jwks_url: must be an https address; write https://…")


class Resource(Section, frozen=True, kw_only=True):
    """An ACS resource: the region its people's data lives in, its owner, and its Event Grid topic if any."""

    region: str
    organization: Annotated[str, Meta(min_length=1, max_length=128)]
    topic: str | None = None

    def __post_init__(self) -> None:
        if not self.organization.isprintable():
            raise ValueError("organization: has a control character; remove it")


class RegionSettings(Section, frozen=True, kw_only=True):
    """A region this process serves; nothing more needs to be said of it."""


class Notices(Section, frozen=True, kw_only=True):
    """What everyone owes for a notice (`require`), and by when it is overdue."""

    require: Level = Level.ACKNOWLEDGED
    deadline_seconds: Seconds = 10.0

    def __post_init__(self) -> None:
        if self.require not in OWED:
            raise ValueError(f"require: is no level that can be owed; write one of {', '.join(OWED)}")

    @property
    def deadline(self) -> timedelta:
        """From a notice's issue to its deadline."""
        return timedelta(seconds=self.deadline_seconds)


class Calls(Section, frozen=True, kw_only=True):
    """Whose word opens an episode, and how long a lost participant counts as present."""

    participant_observations: bool = True
    disconnect_seconds: Annotated[float, Meta(ge=0, le=86_400)] = 120.0

    @property
    def disconnect(self) -> timedelta:
        """From the loss of a presence's last session to its end."""
        return timedelta(seconds=self.disconnect_seconds)


class Retention(Section, frozen=True, kw_only=True):
    """How long a message is kept after it was sent, and how often expired ones are swept away."""

    default_days: Annotated[int, Meta(ge=1, le=36_500)] = 30
    sweep_seconds: Seconds = 60.0

    @property
    def default(self) -> timedelta:
        """From sending to expiry."""
        return timedelta(days=self.default_days)

    @property
    def sweep_interval(self) -> timedelta:
        """From one sweep to the next."""
        return timedelta(seconds=self.sweep_seconds)


class Ledger(Section, frozen=True, kw_only=True):
    """Whose ledger it is, and who outside vouches for it: an authority for time stamps, witnesses by their keys.

    `name` goes into the origin `<name>/<region>` when a region's keys are made, for good.
    """

    name: Annotated[str, Meta(min_length=1, max_length=128)] = "notification-gateway"
    timestamps_url: str | None = None
    timestamp_seconds: Seconds = 3600.0
    witnesses_file: Path | None = None

    def __post_init__(self) -> None:
        # C2SP signed-note: a key's name is printable and holds neither a space nor a plus.
        if not self.name.isprintable() or re.search(r"[\s+]", self.name):
            raise ValueError("name: has a space, a plus or a control character; write it like notices.app.example")
        if self.timestamps_url is not None and not _is_authority(self.timestamps_url):
            raise ValueError("timestamps_url: is no authority's address; write it like https://tsa.example/tsr")

    @property
    def timestamp_interval(self) -> timedelta:
        """From one time stamp to the next."""
        return timedelta(seconds=self.timestamp_seconds)


class Mqtt(Section, frozen=True, kw_only=True):
    """A broker to take events from; `client_id` names the persistent session (`gateway.keys.mqtt_client_id`)."""

    url: str
    topics: Annotated[tuple[str, ...], Meta(min_length=1)]
    client_id: Annotated[str, Meta(min_length=1, max_length=64)] | None = None

    def __post_init__(self) -> None:
        if not _is_broker(self.url):
            raise ValueError("url: is no broker; write mqtt://host:1883 or mqtts://host:8883")
        for topic in self.topics:
            if not _is_filter(topic):
                raise ValueError("topics: an entry is no MQTT topic filter; write each like notices/events/#")

    def __repr__(self) -> str:
        # The address may carry the broker's password.
        return f"Mqtt(topics={self.topics!r}, client_id={self.client_id!r})"


class Log(Section, frozen=True, kw_only=True):
    """How much is logged to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(Section, frozen=True, kw_only=True):
    """Everything `gateway.toml` and the environment say; `source` is that file."""

    source: Path
    clients: Clients
    regions: dict[str, RegionSettings]
    listen: Listen = field(default_factory=Listen)
    control: Control = field(default_factory=Control)
    storage: Storage = field(default_factory=Storage)
    resources: dict[str, Resource] = field(default_factory=dict)
    notices: Notices = field(default_factory=Notices)
    calls: Calls = field(default_factory=Calls)
    retention: Retention = field(default_factory=Retention)
    ledger: Ledger = field(default_factory=Ledger)
    mqtt: Mqtt | None = None
    log: Log = field(default_factory=Log)


def _is_authority(url: str) -> bool:
    """Without TLS too, as authorities are often asked: they sign what they answer, and are shown a hash only."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and port != 0 and "@" not in parts.netloc


def _is_broker(url: str) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    more = parts.path.strip("/") or parts.query or parts.fragment
    return parts.scheme in ("mqtt", "mqtts") and bool(parts.hostname) and port != 0 and not more


def _is_filter(topic: str) -> bool:
    """MQTT 5 §4.7.1: a wildcard fills its level, `#` only the last."""
    levels = topic.split("/")
    alone = all(level in ("+", "#") or not set(level) & set("+#\x00") for level in levels)
    return bool(topic) and alone and "#" not in levels[:-1]
