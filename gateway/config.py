"""Reads `gateway.toml` and the environment into `Settings`, or refuses in one line.

Rules: relative paths are meant from the file's directory; `GATEWAY_<SECTION>__<KEY>` overrides a key (deeper
tables by further `__`; a value that begins like JSON is JSON); a refusal names file or variable, key, what to do.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, get_args, get_type_hints

import msgspec

from gateway.core.errors import GatewayError
from gateway.core.types import Level
from gateway.settings import (
    OWED,
    Address,
    Calls,
    Clients,
    Control,
    Ledger,
    Listen,
    Log,
    Mqtt,
    Notices,
    RegionSettings,
    Resource,
    Retention,
    Section,
    Settings,
    Storage,
)

SECTIONS: Final[dict[str, type[Section]]] = {
    "listen": Listen,
    "control": Control,
    "storage": Storage,
    "clients": Clients,
    "notices": Notices,
    "calls": Calls,
    "retention": Retention,
    "ledger": Ledger,
    "mqtt": Mqtt,
    "log": Log,
}
"""The tables that stand once."""

NAMED_SECTIONS: Final[dict[str, type[Section]]] = {"resources": Resource, "regions": RegionSettings}
"""The tables that stand once per name."""

PREFIX: Final = "GATEWAY_"

_GUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
_REGION: Final = re.compile(r"[a-z][a-z0-9-]{0,31}\Z")

Table = dict[str, Any]


class ConfigError(GatewayError):
    """The configuration cannot be used; the message is one line: where, which key, what to do."""


def load(path: Path, environ: Mapping[str, str]) -> Settings:
    """The settings of the file at `path`, overridden by `environ`. Raises `ConfigError`."""
    path = path.absolute()
    document = _read(path)
    origin = _override(document, environ)
    reading = _Reading(path, origin)
    unknown = sorted(set(document) - set(SECTIONS) - set(NAMED_SECTIONS))
    if unknown:
        known = ", ".join([*SECTIONS, *NAMED_SECTIONS])
        raise reading.refuse((unknown[0],), f"unknown table; remove it or write one of: {known}")
    fields: dict[str, Any] = {
        name: reading.section((name,), kind, document.get(name, {}))
        for name, kind in SECTIONS.items()
        if name in document or name != "mqtt"
    }
    for name, kind in NAMED_SECTIONS.items():
        fields[name] = reading.named(name, kind, document.get(name, {}))
    settings = Settings(source=path, **fields)
    for key, problem in _disagreements(settings):
        raise reading.refuse(key, problem)
    return settings


class _Reading:
    """One file being read; `origin` maps a key to the variable that overrode it."""

    def __init__(self, path: Path, origin: Mapping[tuple[str, ...], str]) -> None:
        self._path = path
        self._origin = origin

    def refuse(self, key: tuple[str, ...], problem: str) -> ConfigError:
        variable = self._origin.get(key)
        *tables, last = key
        table = ".".join(name if re.fullmatch(r"[\w-]+", name) else json.dumps(name) for name in tables)
        where = f"[{table}] {last}" if tables else f"[{last}]"
        return ConfigError(f"{variable or self._path}: {where}: {problem}")

    def section(self, key: tuple[str, ...], kind: type[Section], table: object) -> Section:
        """`table` as `kind`: relative paths made absolute, defaults too."""
        if not isinstance(table, dict):
            raise self.refuse(key, "must be a table; write its keys below a line of its own")
        known = kind.__struct_fields__
        for name in table:
            if name not in known:
                raise self.refuse((*key, name), f"unknown key; remove it or write one of: {', '.join(known)}")
        parsed = dict(table)
        for declared in msgspec.structs.fields(kind):
            if declared.name in table and declared.type in (Address, Path, Path | None):
                parsed[declared.name] = self._parse((*key, declared.name), declared.type, table[declared.name])
            elif isinstance(declared.default, Path):
                parsed[declared.name] = self._path.parent / declared.default
        try:
            return msgspec.convert(parsed, kind, strict=False)
        except msgspec.ValidationError as error:
            name, problem = _explain(str(error), kind)
            raise self.refuse((*key, name) if name else key, problem) from None

    def named(self, name: str, kind: type[Section], tables: object) -> dict[str, Section]:
        if not isinstance(tables, dict):
            raise self.refuse((name,), "must hold one table per name")
        result: dict[str, Section] = {}
        for key, table in tables.items():
            plain = key.lower() if kind is Resource else key
            if kind is Resource and not _GUID.match(plain):
                raise self.refuse((name, key), "is no ACS resource; write its id like 11111111-2222-…")
            if kind is RegionSettings and not _REGION.match(plain):
                raise self.refuse((name, key), "is no region's name; write lower-case letters, digits and hyphens")
            if plain in result:
                raise self.refuse((name, key), "stands twice; remove one")
            result[plain] = self.section((name, key), kind, table)
        return result

    def _parse(self, key: tuple[str, ...], kind: type, value: object) -> Address | Path:
        if not isinstance(value, str) or not value or "\x00" in value:
            raise self.refuse(key, "must be a text; put it in quotes")
        try:
            return Address.parse(value) if kind is Address else self._path.parent / Path(value).expanduser()
        except (ValueError, RuntimeError) as error:
            raise self.refuse(key, str(error)) from None


def _read(path: Path) -> Table:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; run `gateway init` or name another by --config") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); mend that or name another") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is no TOML: {_one_line(str(error))}; correct that line") from None


def _override(document: Table, environ: Mapping[str, str]) -> dict[tuple[str, ...], str]:
    """Writes the variables into `document`; returns which key came from which variable."""
    origin: dict[tuple[str, ...], str] = {}
    for variable in sorted(environ):
        section, *rest = variable.removeprefix(PREFIX).split("__")
        if not variable.startswith(PREFIX) or not rest:
            continue
        name = section.lower()
        if name not in SECTIONS and name not in NAMED_SECTIONS:
            raise ConfigError(f"{variable}: names no table of the configuration; unset or correct it")
        key: tuple[str, ...] = (name, *(part.lower() for part in rest))
        if name in NAMED_SECTIONS:
            key = (name, _named(document.get(name, {}), rest[0]), *key[2:])
        *tables, last = key
        table: Any = document
        for part in tables:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise ConfigError(f"{variable}: {part} is no table; unset or correct the variable")
        table[last] = _value(variable, environ[variable])
        origin[key] = variable
    return origin


def _named(tables: object, part: str) -> str:
    """The name meant by `part` of a variable: as in the file whatever its case; `_` stands for `-` too."""
    wanted = part.lower().replace("_", "-")
    names = tables if isinstance(tables, dict) else {}
    return next((name for name in names if name.lower() == wanted), wanted)


def _value(variable: str, text: str) -> object:
    if not text.lstrip().startswith(("[", "{", '"')) or re.match(r"\[[0-9a-fA-F:.]+\]:\d+$", text):
        return text
    try:
        return json.loads(text)
    except ValueError:
        raise ConfigError(f"{variable}: begins like JSON and is none; correct it") from None


def _explain(message: str, kind: type[Section]) -> tuple[str, str]:
    """Key and problem from the decoder's or a check's message."""
    message, _, path = _one_line(message).partition(" - at `$")
    name = re.sub(r"\[.*", "", path.rstrip("`").lstrip("."))
    missing = re.match(r"Object missing required field `(\w+)`", message)
    if missing:
        return missing[1], "missing; add it"
    if message.startswith("Invalid enum value"):
        hint = get_type_hints(kind)[name]
        return name, f"unknown value; write one of: {', '.join(OWED if hint is Level else get_args(hint))}"
    if name:
        return name, message if ";" in message else f"{message[0].lower()}{message[1:]}; correct it"
    key, _, problem = message.partition(": ")
    return (key, problem) if problem else ("", message)


def _one_line(message: str) -> str:
    return " ".join(message.split())


def _disagreements(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    """What no table can see alone."""
    if not settings.regions:
        yield ("regions",), "names no region; add a table [regions.<name>] for each one to serve"
    topics: set[str] = set()
    for name, resource in settings.resources.items():
        key = ("resources", name)
        if resource.region not in settings.regions:
            yield (*key, "region"), "is not served here; add its table under [regions] or remove the resource"
        topic = resource.topic.lower() if resource.topic is not None else None
        if topic in topics:
            yield (*key, "topic"), "stands for another resource too; remove one"
        topics |= {topic} if topic is not None else set()
    data = settings.storage.directory.resolve()
    for field_name in ("token_file", "webhook_secret_file"):
        if getattr(settings.control, field_name).resolve().is_relative_to(data):
            yield ("control", field_name), "lies under [storage] directory; keep secrets out of what is backed up"
    if settings.clients.jwks_file and settings.clients.jwks_file.resolve().is_relative_to(data):
        yield ("clients", "jwks_file"), "lies under [storage] directory, and so would its private key; move it"
    if settings.listen.address == settings.control.address and settings.listen.address.port:
        yield ("control", "address"), "is the same as [listen] address; give it a port of its own"
