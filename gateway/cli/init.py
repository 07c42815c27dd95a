"""What `gateway init` writes: a commented configuration, fresh keys and an empty data directory.

Rules: nothing is ever overwritten, and nothing is written before that is known; what is written is accepted by
`gateway serve` as it stands.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from gateway import keys
from gateway.config import ConfigError

CONFIGURATION: Final = "gateway.toml"

TEMPLATE: Final = """\
# The notification gateway. Relative paths are meant from this file's directory. Each key can be overridden by an
# environment variable GATEWAY_<SECTION>__<KEY>, for example GATEWAY_LISTEN__ADDRESS=0.0.0.0:8080.

[listen]                                    # where clients connect by WebSocket; put TLS in front
address = "127.0.0.1:8080"
origins = []                                # browsers' origins, exactly: ["https://app.example"]
# ping_seconds = 15                         # how often a silent client is asked whether it is there
# max_sessions = 50000                      # how many clients may be connected at once

[control]                                   # HTTP for webhooks and operators; loopback unless you need more
address = "127.0.0.1:8081"
token_file = "keys/control.token"           # bearer token of every /v1 route
webhook_secret_file = "keys/webhook.secret" # what POST /v1/events must show as ?code=… or x-webhook-secret

[storage]
directory = "data"                          # one directory per region; safe to back up
key_directory = "keys"                      # never below `directory`: a backup must hold no key

[clients]                                   # who signs the clients' tokens
issuer = "https://app.example"
audience = "notification-gateway"
jwks_file = "keys/clients.jwks"             # or jwks_url; `gateway token` signs with clients.key beside it

# Each ACS resource: the region its people's data lives in, and the organisation it belongs to.
[resources."11111111-1111-1111-1111-111111111111"]
region = "europe"
organization = "contoso"
# topic = "/subscriptions/…"                # its Event Grid topic, for events that name no call of ours

[resources."22222222-2222-2222-2222-222222222222"]
region = "unitedstates"
organization = "contoso"

# The regions this process serves; a participant of any other is refused.
[regions.europe]
[regions.unitedstates]

[notices]
require = "acknowledged"                    # what everyone owes: received, displayed, acknowledged, consented
deadline_seconds = 10                       # when a notice without it is overdue

[calls]
participant_observations = true             # may a client's own observation open an episode?
disconnect_seconds = 120                    # how long a lost participant counts as present

[retention]
default_days = 30                           # a message is deleted so long after it was sent
sweep_seconds = 60

[ledger]
name = "notification-gateway"               # begins each region's origin, for good; a domain of yours is best
# timestamps_url = "https://tsa.example/tsr"  # an authority (RFC 3161) that says when it saw what was signed
# timestamp_seconds = 3600
# witnesses_file = "witnesses.vkey"         # outside witnesses whose cosignatures are kept and served

[log]
level = "info"                              # debug, info, warning, error

# [mqtt]                                    # events from a broker too; leave out if there is none
# url = "mqtt://127.0.0.1:1883"
# topics = ["notices/events/#"]
# client_id = "my-gateway"                  # under which the broker keeps events for us; made up once if left out
"""


def initialise(directory: Path) -> list[Path]:
    """Writes a new gateway into `directory`; returns what was made. Raises `ConfigError` and changes nothing
    if any of it is there already."""
    configuration, data = directory / CONFIGURATION, directory / "data"
    if os.path.lexists(configuration):
        raise ConfigError(f"{configuration}: exists and is not overwritten; move it away first")
    if data.exists() and (not data.is_dir() or any(data.iterdir())):
        raise ConfigError(f"{data}: holds something already; move it away first")
    directory.mkdir(parents=True, exist_ok=True)
    made = keys.create(directory / "keys")
    data.mkdir(mode=0o700, exist_ok=True)
    keys.write_private(configuration, TEMPLATE.encode())
    return [configuration, *made, data]
