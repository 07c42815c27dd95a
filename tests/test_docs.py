"""What is undocumented fails: every word a user can meet is derived from the code and looked for in the documents."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import click
import msgspec
import pytest

import gateway.metrics
from gateway.cli import commands as cli
from gateway.config import NAMED_SECTIONS, SECTIONS
from gateway.core.frames import KINDS
from gateway.core.types import Level, Reason
from tests.source import ROOT, last_name, modules

DOCUMENTS = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
}
EVERYTHING = "\n".join(DOCUMENTS.values())


def commands(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by what one types."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


COMMANDS = dict(commands(cli.cli, "gateway"))


def options() -> Iterator[tuple[str, str]]:
    """Every option with its command."""
    for path, command in COMMANDS.items():
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                yield path, max(parameter.opts, key=len)


def keys() -> Iterator[tuple[str, str]]:
    """Every configuration key with its table."""
    for table, kind in (SECTIONS | NAMED_SECTIONS).items():
        for field in msgspec.structs.fields(kind):
            yield table, field.encode_name


def frames_out() -> set[str]:
    """The kinds of frame the gateway sends: what `wire` puts together."""
    wire = next(each for each in modules() if each.name == "gateway.core.wire")
    found = {
        call.args[0].value
        for call in wire.calls()
        if last_name(call.func) == "_frame" and isinstance(call.args[0], ast.Constant)
    }
    return {kind for kind in found if isinstance(kind, str)}


def routes() -> set[str]:
    """Every path the gateway answers, as the code writes it."""
    found: set[str] = set()
    for module in modules():
        if module.name.startswith(("gateway.control.", "gateway.edge.opening")):
            for node in ast.walk(module.tree):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found |= set(re.findall(r"\A/(?:v1/[\w/{}.-]+|\w+z|metrics)\Z", node.value))
    return found


def close_codes() -> set[int]:
    """The codes with which the gateway ends a connection, wherever it says so."""
    found: set[int] = set()
    for module in modules():
        if module.name.startswith("gateway.") and "client" not in module.name:
            for call in module.calls():
                if last_name(call.func) in ("Bye", "__init__"):
                    given = [each.value for each in call.args[:1] if isinstance(each, ast.Constant)]
                    found |= {each for each in given if isinstance(each, int) and 4000 <= each < 5000}
    return found


def tables() -> set[str]:
    """The tables of a region's database, from the statements that make them."""
    text = "\n".join(each.text for each in modules() if each.name.startswith("storage."))
    return set(re.findall(r"\bCREATE TABLE (?:IF NOT EXISTS )?(\w+)", text))


def metric_names() -> set[str]:
    """Every metric; that its table is whole is a test of its own."""
    return set(re.findall(r"^\| `(gateway_\w+)` \|", gateway.metrics.__doc__ or "", re.MULTILINE))


def code(word: str, text: str = EVERYTHING) -> bool:
    """Whether `word` stands in `text` as code: in backquotes or in an indented or fenced block."""
    whole = rf"(?<![\w-]){re.escape(word)}(?![\w-])"
    spans = re.findall(r"```.*?```|`[^`\n]+`", text, re.DOTALL)
    return any(re.search(whole, span) for span in spans)


@pytest.mark.parametrize("name", ["README.md", "docs/protocol.md", "docs/operations.md", "docs/storage.md"])
def test_the_documents_are_there(name: str) -> None:
    """Whoever runs or joins the gateway finds its four documents."""
    assert len(DOCUMENTS.get(name, "")) > 1000


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_documented(command: str) -> None:
    """Each command stands in the documents as one types it."""
    assert code(command)


@pytest.mark.parametrize(("command", "option"), list(options()))
def test_every_option_is_documented(command: str, option: str) -> None:
    """Each option stands in the guide to running the gateway, and the command explains it."""
    assert code(option, DOCUMENTS.get("docs/operations.md", "")), f"{command} {option}"


@pytest.mark.parametrize(("table", "key"), list(keys()))
def test_every_configuration_key_is_documented(table: str, key: str) -> None:
    """Each key stands under its table in the guide to running the gateway."""
    text = DOCUMENTS.get("docs/operations.md", "")
    headings = "|".join([*SECTIONS, *NAMED_SECTIONS])
    parts = re.split(rf"\[({headings})\b[^\]\n]*\]", text)
    below = "\n".join(after for name, after in zip(parts[1::2], parts[2::2], strict=True) if name == table)
    assert re.search(rf"\b{key}\b", below), f"[{table}] {key}"


@pytest.mark.parametrize("frame", sorted(KINDS.keys() | frames_out()))
def test_every_frame_is_documented(frame: str) -> None:
    """Each kind of frame, to and from the gateway, stands in the protocol's document."""
    assert code(frame, DOCUMENTS.get("docs/protocol.md", ""))


def test_the_frames_are_all_found() -> None:
    """The list above is derived; that it is not empty or cut short is seen by the ends of the protocol."""
    assert {"hello", "bye", "ack"} <= KINDS.keys()
    assert {"welcome", "state", "notice", "receipt", "goaway", "bye"} <= frames_out()


@pytest.mark.parametrize("frame", sorted(KINDS))
def test_every_field_of_a_frame_is_documented(frame: str) -> None:
    """What a client may send is written down field by field."""
    text = DOCUMENTS.get("docs/protocol.md", "")
    for field in msgspec.structs.fields(KINDS[frame]):
        assert code(field.encode_name, text), f"{frame}.{field.encode_name}"


@pytest.mark.parametrize("number", gateway.metrics.CLOSE_CODES)
def test_every_close_code_is_documented(number: int) -> None:
    """Each close code stands in the protocol's document."""
    assert re.search(rf"\b{number}\b", DOCUMENTS.get("docs/protocol.md", ""))


def test_every_close_code_in_use_is_listed() -> None:
    """A code that the gateway uses is among those that are counted and documented."""
    assert close_codes() <= set(gateway.metrics.CLOSE_CODES)
    assert {4400, 4401, 4101} <= close_codes()


@pytest.mark.parametrize("route", sorted(routes()))
def test_every_route_is_documented(route: str) -> None:
    """Each path stands in the documents as the code writes it."""
    assert code(route)


def test_the_routes_are_all_found() -> None:
    """The list above is derived; that it is not empty or cut short is seen by one of each module."""
    assert {"/v1/ws", "/v1/events", "/v1/calls/{call}/coverage", "/healthz", "/metrics"} <= routes()


@pytest.mark.parametrize("metric", sorted(metric_names()))
def test_every_metric_is_documented(metric: str) -> None:
    """Each metric stands in the guide to running the gateway."""
    assert code(metric, DOCUMENTS.get("docs/operations.md", ""))


@pytest.mark.parametrize("table", sorted(tables()))
def test_every_table_is_documented(table: str) -> None:
    """Each table of the database stands in the document on storage."""
    assert code(table, DOCUMENTS.get("docs/storage.md", ""))


def test_the_tables_are_all_found() -> None:
    """The list above is derived; that it is not empty is seen by the tables there must be."""
    assert {"entries", "presences", "messages"} <= tables()


@pytest.mark.parametrize("word", [*Level, *Reason])
def test_every_level_and_gap_reason_is_documented(word: str) -> None:
    """Whoever reads a coverage finds what its words mean."""
    assert code(word)


def test_links_between_the_documents_lead_somewhere() -> None:
    """A link to a file of the project names one that is there."""
    for name, text in DOCUMENTS.items():
        for target in re.findall(r"\]\((?!https?://|#)([^)#\s]+)", text):
            assert (ROOT / name).parent.joinpath(target).exists(), f"{name}: {target}"


def test_the_documents_name_no_command_or_metric_that_is_not_there() -> None:
    """What the documents promise exists: a renamed command or metric leaves no trace."""
    for metric in re.findall(r"`(gateway_\w+)`", EVERYTHING):
        bare = re.sub(r"_(bucket|sum|count)$", "", metric)
        assert bare in metric_names(), metric
    known = {path.split()[1] for path in COMMANDS}
    for command in re.findall(r"`gateway ([a-z]\w*)[^`\n]*`", EVERYTHING):
        assert command in known, command
