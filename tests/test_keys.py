"""The rules of the key files: made once, private, never overwritten, and refused by name when they are wrong."""

from __future__ import annotations

import json
import socket
import stat
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import msgspec
import pytest

from gateway import keys, ready
from gateway.cli.init import CONFIGURATION, initialise
from gateway.config import ConfigError, load
from gateway.core.tokens import SigningKey, mint, verify
from gateway.settings import Settings
from storage import signing
from storage.note import COSIGNATURE, ED25519

NOW = datetime(2026, 11, 23, 14, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A gateway as `gateway init` leaves it."""
    initialise(tmp_path / "gateway")
    return load(tmp_path / "gateway" / CONFIGURATION, {})


def test_what_init_writes_is_accepted_as_it_stands(settings: Settings) -> None:
    """A new gateway has two regions, every key file, and a configuration without a fault."""
    assert set(settings.regions) == {"europe", "unitedstates"}
    assert {resource.organization for resource in settings.resources.values()} == {"contoso"}
    assert len(keys.control_token(settings)) >= 32
    assert len(keys.webhook_secret(settings)) >= 32
    assert keys.control_token(settings) != keys.webhook_secret(settings)


def test_a_token_signed_with_the_private_key_is_believed_by_the_public_one(settings: Settings) -> None:
    """The two client key files belong together: one signs, the other verifies, by key id."""
    token = mint(
        keys.signing_key(settings),
        issuer="i",
        audience="a",
        participant="8:acs:x_y",
        calls=["c"],
        now=NOW,
        expires_at=NOW + timedelta(hours=1),
    )
    claims = verify(token, keys.client_keys(settings), issuer="i", audience="a", now=NOW)
    assert claims.participant == "8:acs:x_y"


def test_d3_no_key_is_readable_by_others(settings: Settings) -> None:
    """D3: secrets are 0600 in a directory of 0700, whatever the umask says."""
    directory = settings.storage.key_directory
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(settings.storage.directory.stat().st_mode) == 0o700
    for path in directory.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name


def test_the_public_key_set_holds_nothing_secret(settings: Settings) -> None:
    """What may be handed out has no private part."""
    assert settings.clients.jwks_file is not None
    (public,) = json.loads(settings.clients.jwks_file.read_bytes())["keys"]
    assert "d" not in public
    assert public["kid"]


def test_two_gateways_never_share_a_secret(tmp_path: Path) -> None:
    """Every key is fresh."""
    initialise(tmp_path / "one")
    initialise(tmp_path / "other")
    for name in ("control.token", "webhook.secret", "clients.key"):
        assert (tmp_path / "one/keys" / name).read_bytes() != (tmp_path / "other/keys" / name).read_bytes()


@pytest.mark.parametrize(
    "there", ["gateway.toml", "keys/control.token", "keys/webhook.secret", "keys/clients.key", "keys/clients.jwks"]
)
def test_nothing_is_overwritten_and_nothing_else_written(tmp_path: Path, there: str) -> None:
    """If any file is there already, not even as a dangling link, init changes nothing at all."""
    (tmp_path / there).parent.mkdir(exist_ok=True)
    (tmp_path / there).symlink_to("nowhere")
    with pytest.raises(ConfigError, match="exists and is not overwritten"):
        initialise(tmp_path)
    assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == [tmp_path / there]


def test_a_data_directory_in_use_is_left_alone(tmp_path: Path) -> None:
    """New keys beside old data could never open it: init refuses."""
    (tmp_path / "data" / "europe").mkdir(parents=True)
    with pytest.raises(ConfigError, match="holds something already"):
        initialise(tmp_path)
    assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_secret_others_may_read_is_refused(settings: Settings, mode: int) -> None:
    """A secret that was readable is none: the refusal says which file and what to do."""
    settings.control.token_file.chmod(mode)
    with pytest.raises(ConfigError, match=r"control\.token: \[control\] token_file: others may read it; run chmod 600"):
        keys.control_token(settings)


@pytest.mark.parametrize("content", [b"", b"\n", b"short\n", b"x" * 600, b"a b c d e f g h i j k l", b"\xff" * 32])
def test_a_secret_that_is_none_is_refused_without_quoting_it(settings: Settings, content: bytes) -> None:
    """An empty, short, spaced or binary secret is refused, and not shown."""
    settings.control.webhook_secret_file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        keys.webhook_secret(settings)
    assert "[control] webhook_secret_file" in str(caught.value)
    assert not content.strip() or content.decode("latin-1").strip() not in str(caught.value)


def test_a_missing_file_is_named_with_its_key(settings: Settings) -> None:
    """Each of the four files is asked for by the key that names it."""
    for path in settings.storage.key_directory.iterdir():
        path.unlink()
    with pytest.raises(ConfigError, match=r"\[control\] token_file: no such file"):
        keys.control_token(settings)
    with pytest.raises(ConfigError, match=r"\[control\] webhook_secret_file: no such file"):
        keys.webhook_secret(settings)
    with pytest.raises(ConfigError, match=r"\[clients\] jwks_file: no such file"):
        keys.client_keys(settings)
    with pytest.raises(ConfigError, match=r"clients\.key: the private key beside \[clients\] jwks_file: no such"):
        keys.signing_key(settings)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b'{"keys":[]}', b"\x00" * 70_000, b'{"keys":[{"kty":"oct","k":"AA"}]}']
)
def test_a_key_set_without_public_keys_is_refused(settings: Settings, content: bytes) -> None:
    """A set that is empty, malformed, huge or secret keeps the gateway from starting, by name."""
    assert settings.clients.jwks_file is not None
    settings.clients.jwks_file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"clients\.jwks: \[clients\] jwks_file: "):
        keys.client_keys(settings)


class Issuer(BaseHTTPRequestHandler):
    """An issuer's web server, with the key set at `/keys` and other things elsewhere."""

    answers: ClassVar[dict[str, tuple[int, bytes]]] = {
        "/keys": (200, SigningKey.from_seed(bytes(32)).public_jwks()),
        "/moved": (302, b""),
        "/missing": (404, b"{}"),
        "/huge": (200, b" " * 100_000),
        "/page": (200, b"<html>"),
    }

    def do_GET(self) -> None:
        """Answers as the table says."""
        status, body = self.answers[self.path]
        self.send_response(status)
        self.send_header("Location", "/keys")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(ConnectionError):
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    """The address of an issuer."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Issuer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def at(settings: Settings, url: str) -> Settings:
    """`settings` with the clients' keys at `url`."""
    clients = msgspec.structs.replace(settings.clients, jwks_file=None, jwks_url=url)
    return msgspec.structs.replace(settings, clients=clients)


def test_the_key_set_can_be_fetched_from_the_issuer(settings: Settings, issuer: str) -> None:
    """With `jwks_url` the issuer's keys are believed, and this gateway signs nothing itself."""
    fetched = at(settings, f"{issuer}/keys")
    assert keys.client_keys(fetched).find(None, "EdDSA") is not None
    with pytest.raises(ConfigError, match="the issuer signs tokens, not this gateway"):
        keys.signing_key(fetched)


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("/missing", "answered 404"),
        ("/moved", "answered 302"),
        ("/huge", "holds more than"),
        ("/page", "the key set is not JSON"),
    ],
)
def test_an_address_without_a_key_set_is_refused(settings: Settings, issuer: str, path: str, what: str) -> None:
    """What is missing, moved, huge or something else keeps the gateway from starting; redirects lead nowhere."""
    with pytest.raises(ConfigError, match=rf"{path}: \[clients\] jwks_url: {what}"):
        keys.client_keys(at(settings, issuer + path))


def test_an_issuer_that_is_away_is_named(settings: Settings) -> None:
    """An address where nobody listens is refused in one line."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(ConfigError, match=r"\[clients\] jwks_url: cannot be fetched \(ConnectError\)"):
        keys.client_keys(at(settings, f"http://127.0.0.1:{port}/keys"))


def test_a_key_file_that_is_a_directory_is_refused(settings: Settings) -> None:
    """Whatever stands at the path, there is one line."""
    settings.control.token_file.unlink()
    settings.control.token_file.mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        keys.control_token(settings)


def test_the_note_of_a_running_gateway_is_whole_private_and_goes(settings: Settings) -> None:
    """`ready.json` is 0600, replaced whole, read back as written, and gone after the exit."""
    directory = settings.storage.directory
    assert ready.read(directory) is None
    line = ready.write(directory, websocket="ws://127.0.0.1:1/v1/ws", control="http://127.0.0.1:2")
    ready.write(directory, websocket="ws://127.0.0.1:1/v1/ws", control="http://127.0.0.1:3")
    assert json.loads(line) == {
        "ready": True,
        "websocket": "ws://127.0.0.1:1/v1/ws",
        "control": "http://127.0.0.1:2",
    }
    note = ready.read(directory)
    assert note is not None
    assert note.control == "http://127.0.0.1:3"
    assert stat.S_IMODE((directory / ready.FILE).stat().st_mode) == 0o600
    assert [path.name for path in directory.iterdir()] == [ready.FILE]
    ready.remove(directory)
    ready.remove(directory)
    assert ready.read(directory) is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"control":5}'])
def test_a_broken_note_counts_as_no_gateway(settings: Settings, content: bytes) -> None:
    """Half a note leads nobody astray."""
    (settings.storage.directory / ready.FILE).write_bytes(content)
    assert ready.read(settings.storage.directory) is None


def with_witnesses(settings: Settings, text: str) -> Settings:
    """The same gateway with a file of witnesses."""
    path = settings.source.parent / "witnesses.vkey"
    path.write_text(text)
    return load(settings.source, {"GATEWAY_LEDGER__WITNESSES_FILE": "witnesses.vkey"})


def vkey(name: str, algorithm: int = COSIGNATURE) -> str:
    return signing.load(signing.new_key(name, algorithm)).verifier.text()


def test_witnesses_are_named_by_their_keys(settings: Settings) -> None:
    """One a line, as `gateway ledger witness-key` writes them; without a file there is none."""
    assert keys.witnesses(settings) == []
    lines = [vkey("witness.example/w1"), "", vkey("witness.example/w2")]
    found = keys.witnesses(with_witnesses(settings, "\n".join(lines)))
    assert [each.text() for each in found] == [lines[0], lines[2]]


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        ([], "there is no verifier key"),
        (["hello"], "line 1: "),
        ([vkey("w1"), vkey("w2").replace("+", "-")], "line 2: "),
        ([vkey("w1"), vkey("log", ED25519)], "holds a key that is no witness's"),
        ([vkey("w1"), vkey("w1")], "two witnesses have one name"),
    ],
)
def test_a_file_without_witnesses_is_refused(settings: Settings, lines: list[str], what: str) -> None:
    """A slip in the file keeps the gateway from starting: nobody's line would be kept, and nobody would know."""
    with pytest.raises(ConfigError, match=rf"witnesses\.vkey: \[ledger\] witnesses_file: {what}"):
        keys.witnesses(with_witnesses(settings, "\n".join(lines)))


def test_a_missing_file_of_witnesses_is_refused(settings: Settings) -> None:
    """It is named with its key."""
    missing = load(settings.source, {"GATEWAY_LEDGER__WITNESSES_FILE": "gone.vkey"})
    with pytest.raises(ConfigError, match=r"gone\.vkey: \[ledger\] witnesses_file: no such file"):
        keys.witnesses(missing)


def test_the_brokers_session_keeps_its_name_over_restarts_and_is_shared_with_nobody(tmp_path: Path) -> None:
    """A made-up client id stays the same for one gateway and differs between two; a configured one wins."""
    initialise(tmp_path / "one")
    initialise(tmp_path / "other")
    one = load(tmp_path / "one" / CONFIGURATION, {})
    other = load(tmp_path / "other" / CONFIGURATION, {})
    assert keys.mqtt_client_id(one) == keys.mqtt_client_id(one) != keys.mqtt_client_id(other)
    assert len(keys.mqtt_client_id(one)) <= 23
    environ = {"GATEWAY_MQTT__URL": "mqtt://h", "GATEWAY_MQTT__TOPICS": '["a"]', "GATEWAY_MQTT__CLIENT_ID": "mine"}
    assert keys.mqtt_client_id(load(tmp_path / "one" / CONFIGURATION, environ)) == "mine"
