"""The rules of the configuration: what is wrong is refused in one line with where, which key and what to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.config import ConfigError, load
from gateway.core.types import Level
from gateway.settings import Address, Settings

EUROPE = "11111111-1111-1111-1111-111111111111"
AMERICA = "22222222-2222-2222-2222-222222222222"
GOOD = f"""
[clients]
issuer = "https://app.example"
audience = "notification-gateway"
jwks_file = "keys/clients.jwks"
[resources."{EUROPE}"]
region = "europe"
organization = "contoso"
[regions.europe]
"""

Load = Callable[..., Settings]


@pytest.fixture
def read(tmp_path: Path) -> Load:
    """Loads a text as `gateway.toml`."""

    def read(text: str, environ: Mapping[str, str] | None = None) -> Settings:
        path = tmp_path / "gateway.toml"
        path.write_text(text)
        return load(path, environ or {})

    return read


def refusal(read: Load, text: str, environ: Mapping[str, str] | None = None) -> str:
    """The one line with which this is refused."""
    with pytest.raises(ConfigError) as caught:
        read(text, environ)
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_the_example_of_the_documentation_is_read_whole(read: Load, tmp_path: Path) -> None:
    """Every documented key arrives under its name, paths resolved from the file's directory."""
    settings = read(
        """
        [listen]
        address = "[::1]:8080"
        origins = ["https://app.example"]
        [control]
        address = "127.0.0.1:8081"
        token_file = "keys/control.token"
        webhook_secret_file = "/etc/gateway/webhook.secret"
        [storage]
        directory = "data"
        key_directory = "keys"
        [clients]
        issuer = "https://app.example"
        audience = "notification-gateway"
        jwks_url = "https://app.example/jwks"
        [resources."AAAAAAAA-1111-1111-1111-111111111111"]
        region = "europe"
        organization = "contoso"
        topic = "/subscriptions/1/resourceGroups/2"
        [regions.europe]
        [notices]
        require = "displayed"
        deadline_seconds = 2
        [calls]
        participant_observations = false
        disconnect_seconds = 0
        [retention]
        default_days = 7
        sweep_seconds = 0.5
        [mqtt]
        url = "mqtt://127.0.0.1:1883"
        topics = ["notices/events/#", "a/+/b"]
        [log]
        level = "debug"
        """
    )
    assert settings.source == tmp_path / "gateway.toml"
    assert settings.listen.address == Address("::1", 8080)
    assert settings.listen.origins == ("https://app.example",)
    assert settings.control.token_file == tmp_path / "keys/control.token"
    assert settings.control.webhook_secret_file == Path("/etc/gateway/webhook.secret")
    assert settings.storage.directory == tmp_path / "data"
    assert settings.clients.jwks_url == "https://app.example/jwks"
    assert settings.resources["aaaaaaaa-1111-1111-1111-111111111111"].region == "europe"
    assert settings.notices.require is Level.DISPLAYED
    assert settings.notices.deadline == timedelta(seconds=2)
    assert settings.calls.participant_observations is False
    assert settings.retention.default == timedelta(days=7)
    assert settings.retention.sweep_interval == timedelta(milliseconds=500)
    assert settings.mqtt is not None
    assert settings.mqtt.topics == ("notices/events/#", "a/+/b")
    assert settings.log.level == "debug"


def test_what_is_left_out_has_its_documented_default(read: Load, tmp_path: Path) -> None:
    """A short file is a whole configuration: loopback, ten seconds, acknowledged, thirty days, no broker."""
    settings = read(GOOD)
    assert str(settings.listen.address) == "127.0.0.1:8080"
    assert str(settings.control.address) == "127.0.0.1:8081"
    assert settings.storage.key_directory == tmp_path / "keys"
    assert settings.notices.require is Level.ACKNOWLEDGED
    assert settings.notices.deadline == timedelta(seconds=10)
    assert settings.calls.disconnect == timedelta(minutes=2)
    assert settings.retention.default == timedelta(days=30)
    assert settings.mqtt is None
    assert settings.ledger.timestamps_url is None
    assert settings.ledger.witnesses_file is None


def test_a_variable_overrides_its_key(read: Load) -> None:
    """`GATEWAY_<SECTION>__<KEY>` wins over the file, in the key's own type, and can bring a table of its own."""
    settings = read(
        GOOD,
        {
            "GATEWAY_LISTEN__ADDRESS": "[::1]:0",
            "GATEWAY_LISTEN__ORIGINS": '["https://a.example", "https://b.example"]',
            "GATEWAY_CALLS__PARTICIPANT_OBSERVATIONS": "false",
            "GATEWAY_NOTICES__DEADLINE_SECONDS": "2.5",
            "GATEWAY_CLIENTS__AUDIENCE": "12",
            "GATEWAY_MQTT__URL": "mqtt://broker:1883",
            "GATEWAY_MQTT__TOPICS": '["a/#"]',
            "GATEWAY_SERVICE_HOST": "10.0.0.1",
            "PATH": "/bin",
        },
    )
    assert settings.listen.address == Address("::1", 0)
    assert settings.listen.origins == ("https://a.example", "https://b.example")
    assert settings.calls.participant_observations is False
    assert settings.notices.deadline == timedelta(seconds=2.5)
    assert settings.clients.audience == "12"
    assert settings.mqtt is not None
    assert settings.mqtt.url == "mqtt://broker:1883"


def test_a_variable_reaches_the_tables_that_have_names(read: Load) -> None:
    """A shell cannot write a hyphen into a variable's name: `_` stands for it, whatever the case in the file."""
    settings = read(
        GOOD,
        {
            "GATEWAY_REGIONS__UNITED_STATES": "{}",
            f"GATEWAY_RESOURCES__{AMERICA.replace('-', '_')}__REGION": "united-states",
            f"GATEWAY_RESOURCES__{AMERICA}__ORGANIZATION": "fabrikam",
            f"GATEWAY_RESOURCES__{EUROPE.replace('-', '_')}__ORGANIZATION": "northwind",
        },
    )
    assert set(settings.regions) == {"europe", "united-states"}
    assert settings.resources[AMERICA].organization == "fabrikam"
    assert settings.resources[EUROPE].organization == "northwind"


@pytest.mark.parametrize(
    ("variable", "value", "what"),
    [
        ("GATEWAY_LISTEN__ADRESS", "127.0.0.1:1", "[listen] adress: unknown key"),
        ("GATEWAY_LISTEN__ADDRESS", "8080", "[listen] address: is no address; write host:port"),
        ("GATEWAY_LISTEN__ADDRESS__PORT", "1", "[listen] address: must be a text"),
        ("GATEWAY_LISTENER__ADDRESS", "127.0.0.1:1", "names no table"),
        ("GATEWAY_LISTEN__ORIGINS", "[https://app.example]", "is none; correct it"),
        ("GATEWAY_LISTEN__ORIGINS", "https://app.example", "[listen] origins: expected `array`"),
        ("GATEWAY_RETENTION__DEFAULT_DAYS", "soon", "[retention] default_days: expected `int`"),
        ("GATEWAY_REGIONS__EUROPE__", "x", "unknown key"),
        ("GATEWAY_REGIONS__EUROPE", "yes", "must be a table"),
    ],
)
def test_a_wrong_variable_is_named(read: Load, variable: str, value: str, what: str) -> None:
    """Where the value came from a variable, the refusal names the variable and not the file."""
    line = refusal(read, GOOD, {variable: value})
    assert what in line
    assert line.startswith(variable) or "__PORT" in variable


def test_a_missing_file_says_how_to_get_one(tmp_path: Path) -> None:
    """No configuration: the line says which file and which command writes one."""
    with pytest.raises(ConfigError, match=r"gateway\.toml: no such file; run `gateway init`"):
        load(tmp_path / "gateway.toml", {})


def test_a_directory_or_binary_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    """Whatever stands at the path, there is one line and no traceback."""
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path, {})
    (tmp_path / "gateway.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="is no TOML"):
        load(tmp_path / "gateway.toml", {})


def test_a_broken_line_is_named_by_its_number(read: Load) -> None:
    """A slip in the file is found by the line the refusal gives."""
    assert "line 2" in refusal(read, "[listen]\naddress = \n")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[listen]\nport = 1", "[listen] port: unknown key; remove it or write one of: address, origins"),
        ("[listening]", "[listening]: unknown table; remove it or write one of: listen"),
        ("top = 1", "[top]: unknown table"),
        ('[listen]\naddress = "localhost"', "[listen] address: is no address"),
        ('[listen]\naddress = ":8080"', "[listen] address: is no address"),
        ('[listen]\naddress = "::1:8080"', "[listen] address: is no address"),
        ('[listen]\naddress = "http://127.0.0.1:8080"', "[listen] address: is no address"),
        ('[listen]\naddress = "127.0.0.1:65536"', "[listen] address: is no address"),
        ('[listen]\naddress = "127.0.0.1:٣"', "[listen] address: is no address"),
        ("[listen]\naddress = 8080", "[listen] address: must be a text"),
        ('[listen]\norigins = ["*"]', "[listen] origins: an entry is no origin"),
        ('[listen]\norigins = ["https://app.example/"]', "[listen] origins: an entry is no origin"),
        ('[listen]\norigins = ["app.example"]', "[listen] origins: an entry is no origin"),
        ('[listen]\norigins = ["null"]', "[listen] origins: an entry is no origin"),
        ('[control]\naddress = "127.0.0.1:8080"', "[control] address: is the same as [listen] address"),
        ('[control]\ntoken_file = ""', "[control] token_file: must be a text"),
        ('[control]\ntoken_file = "data/control.token"', "[control] token_file: lies under [storage] directory"),
        ('[storage]\nkey_directory = "data/keys"', "[storage] key_directory: must lie apart"),
        ('[storage]\nkey_directory = "data"', "[storage] key_directory: must lie apart"),
        ('[storage]\nkey_directory = "other/../data/x"', "[storage] key_directory: must lie apart"),
        ('[storage]\ndirectory = "keys/data"', "[storage] key_directory: must lie apart"),
        ('[notices]\nrequire = "seen"', "[notices] require: unknown value; write one of: received, displayed"),
        ('[notices]\nrequire = "sent"', "[notices] require: is no level that can be owed"),
        ('[notices]\nrequire = "declined"', "[notices] require: is no level that can be owed"),
        ("[notices]\ndeadline_seconds = 0", "[notices] deadline_seconds: expected `float` > 0"),
        ("[notices]\ndeadline_seconds = nan", "[notices] deadline_seconds: "),
        ("[retention]\ndefault_days = 0", "[retention] default_days: expected `int` >= 1"),
        ("[retention]\ndefault_days = 1.5", "[retention] default_days: expected `int`"),
        ("[retention]\nsweep_seconds = -1", "[retention] sweep_seconds: expected `float` > 0"),
        ('[ledger]\ntimestamps_url = ""', "[ledger] timestamps_url: is no authority's address; write it like"),
        ('[ledger]\ntimestamps_url = "tsa.example"', "[ledger] timestamps_url: is no authority's address"),
        ('[ledger]\ntimestamps_url = "ftp://tsa.example"', "[ledger] timestamps_url: is no authority's address"),
        ('[ledger]\ntimestamps_url = "https://me:secret@tsa.example"', "[ledger] timestamps_url: is no authority's"),
        ('[ledger]\ntimestamps_url = "https://[::1"', "[ledger] timestamps_url: is no authority's address"),
        ("[ledger]\ntimestamp_seconds = 0", "[ledger] timestamp_seconds: "),
        ("[ledger]\nwitnesses_file = 1", "[ledger] witnesses_file: must be a text"),
        ('[mqtt]\nurl = "mqtt://h"', "[mqtt] topics: missing; add it"),
        ('[mqtt]\nurl = "mqtt://h"\ntopics = []', "[mqtt] topics: expected `array` of length >= 1"),
        ('[mqtt]\nurl = "http://h"\ntopics = ["a"]', "[mqtt] url: is no broker"),
        ('[mqtt]\nurl = "mqtt://h:99999"\ntopics = ["a"]', "[mqtt] url: is no broker"),
        ('[mqtt]\nurl = "mqtt://h/path"\ntopics = ["a"]', "[mqtt] url: is no broker"),
        ('[mqtt]\nurl = "mqtt://"\ntopics = ["a"]', "[mqtt] url: is no broker"),
        ('[mqtt]\nurl = "mqtt://h"\ntopics = ["a/#/b"]', "[mqtt] topics: an entry is no MQTT topic filter"),
        ('[mqtt]\nurl = "mqtt://h"\ntopics = ["a+"]', "[mqtt] topics: an entry is no MQTT topic filter"),
        ('[mqtt]\nurl = "mqtt://h"\ntopics = [""]', "[mqtt] topics: an entry is no MQTT topic filter"),
        ('[log]\nlevel = "loud"', "[log] level: unknown value; write one of: debug, info"),
        ("[regions.Europe]", "[regions] Europe: is no region's name"),
        ('[regions."../up"]', "[regions] ../up: is no region's name"),
        ("[regions.asia]\nx = 1", "[regions.asia] x: unknown key"),
        ('[resources.contoso]\nregion = "europe"', "[resources] contoso: is no ACS resource"),
        (f'[resources."{AMERICA}"]\nregion = "europe"', "organization: missing; add it"),
        (
            f'[resources."{AMERICA}"]\nregion = "asia"\norganization = "contoso"',
            f"[resources.{AMERICA}] region: is not served here; add its table under [regions]",
        ),
        (f'[resources."{AMERICA}"]\nregion = "europe"\norganization = ""', "organization: expected `str`"),
        (f'[resources."{AMERICA}"]\nregion = "europe"\norganization = "a\\nb"', "organization: has a control"),
        (f'[resources."{AMERICA}"]\nregion = 5\norganization = "a"', "region: expected `str`, got `int`"),
    ],
)
def test_what_is_wrong_is_refused_with_its_key_and_what_to_do(read: Load, text: str, what: str) -> None:
    """Each refusal is one line that names the file and the key, and says what to do instead."""
    line = refusal(read, f"{text}\n{GOOD}")
    assert what in line
    assert "gateway.toml: " in line
    assert "; " in line


@pytest.mark.parametrize(
    ("replaced", "by", "what"),
    [
        ("[regions.europe]", "", "[regions]: names no region"),
        ('issuer = "https://app.example"', "", "[clients] issuer: missing; add it"),
        ('issuer = "https://app.example"', 'issuer = ""', "[clients] issuer: expected `str`"),
        ('jwks_file = "keys/clients.jwks"', "", "[clients] jwks_file: name the clients' public keys"),
        (
            'jwks_file = "keys/clients.jwks"',
            'jwks_file = "a"\njwks_url = "https://a.example"',
            "[clients] jwks_file: name the clients' public keys",
        ),
        ("jwks_file", 'jwks_url = "http://app.example/jwks"\n#', "[clients] jwks_url: must be an https address"),
        ("jwks_file", 'jwks_url = "file:///etc/passwd"\n#', "[clients] jwks_url: must be an https address"),
        ('"keys/clients.jwks"', '"data/clients.jwks"', "[clients] jwks_file: lies under [storage] directory"),
        ("[clients]", '[listen]\nissuer = "x"\n[clients]', "[listen] issuer: unknown key"),
    ],
)
def test_what_cannot_be_left_out_is_asked_for(read: Load, replaced: str, by: str, what: str) -> None:
    """What has no sensible default is demanded by name."""
    assert what in refusal(read, GOOD.replace(replaced, by))


def test_one_resource_written_twice_is_refused(read: Load) -> None:
    """A resource has one region: the same id in two cases is two answers, and none is guessed."""
    twice = "aaaaaaaa-1111-1111-1111-111111111111"
    tables = "".join(
        f'[resources."{name}"]\nregion = "europe"\norganization = "contoso"\n' for name in (twice, twice.upper())
    )
    assert "stands twice" in refusal(read, GOOD + tables)


def test_one_topic_of_two_resources_is_refused(read: Load) -> None:
    """A topic (whatever its case) names one organisation: an ambiguous one could reach another's calls."""
    tables = "".join(
        f'[resources."{name}"]\nregion = "europe"\norganization = "contoso"\ntopic = "{topic}"\n'
        for name, topic in ((AMERICA, "/topics/t"), (EUROPE.replace("1", "3"), "/Topics/T"))
    )
    assert "topic: stands for another resource too" in refusal(read, GOOD + tables)


def test_keys_behind_a_link_into_the_data_directory_are_refused(read: Load, tmp_path: Path) -> None:
    """Keys lie apart in truth, not by name: a symbolic link into the data directory does not pass."""
    (tmp_path / "data").mkdir()
    (tmp_path / "elsewhere").symlink_to(tmp_path / "data")
    assert "must lie apart" in refusal(read, GOOD + '[storage]\nkey_directory = "elsewhere/keys"')


def test_the_broker_password_is_in_no_representation(read: Load) -> None:
    """Settings may end up in a log or a crash report: the password in the broker's address does not."""
    settings = read(GOOD + '[mqtt]\nurl = "mqtt://me:hunter2@broker"\ntopics = ["a"]')
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in str(settings.mqtt)
