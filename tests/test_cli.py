"""The rules of the command line: exact exits, one clear line for whatever a user can cause, no traceback."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import pytest

from gateway import keys, ready
from gateway.cli import commands as cli
from gateway.cli import views as cli_views
from gateway.cli.init import CONFIGURATION, initialise
from gateway.config import load
from gateway.core.tokens import SigningKey, verify
from gateway.core.types import Role

ANNA = "8:acs:11111111-1111-1111-1111-111111111111_anna"
FREE = {"GATEWAY_LISTEN__ADDRESS": "127.0.0.1:0", "GATEWAY_CONTROL__ADDRESS": "127.0.0.1:0"}


@dataclass(frozen=True)
class Outcome:
    """What one command did."""

    status: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """The one line on standard error of a refused command."""
        assert self.status == 2
        assert self.err.count("\n") == 1
        assert self.err.startswith("gateway: ")
        assert "Traceback" not in self.err
        return self.err


Gateway = Callable[..., Outcome]


@pytest.fixture
def gateway(capfd: pytest.CaptureFixture[str]) -> Gateway:
    """Runs the command line in this process."""

    def gateway(*arguments: str | Path) -> Outcome:
        status = cli.run([str(each) for each in arguments])
        captured = capfd.readouterr()
        return Outcome(status, captured.out, captured.err)

    return gateway


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new gateway, and the current directory in it."""
    initialise(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A real gateway process and its directory, with one call in which Anna is owed a notice."""
    directory = tmp_path_factory.mktemp("running")
    initialise(directory)
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", "serve"],
        cwd=directory,
        env={**os.environ, **FREE},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        control = json.loads(process.stdout.readline())["control"]
        post(directory, control)
        yield directory
    finally:
        process.terminate()
        process.communicate(timeout=10)


def post(directory: Path, control: str) -> None:
    """Anna joins the call `a/b` and its recording starts."""
    told = {"call": "a/b", "organization": "contoso"}
    happened = [
        ("notices.participant.joined", {**told, "participant": ANNA}),
        ("notices.capability.observed", {**told, "capability": "recording", "state": "active"}),
    ]
    at = datetime.now(UTC).isoformat()
    envelopes = [
        {"specversion": "1.0", "id": kind, "source": "/test", "type": kind, "time": at, "data": {**data, "at": at}}
        for kind, data in happened
    ]
    request = urllib.request.Request(
        f"{control}/v1/events",
        data=json.dumps(envelopes).encode(),
        headers={
            "Content-Type": "application/cloudevents-batch+json",
            "x-webhook-secret": keys.webhook_secret(load(directory / CONFIGURATION, {})),
        },
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert json.load(answer)["accepted"] == len(envelopes)


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command there is, groups too."""
    yield path
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name)


@pytest.mark.parametrize("command", list(commands(cli.cli)), ids=" ".join)
def test_every_command_explains_itself(gateway: Gateway, command: tuple[str, ...]) -> None:
    """`--help` of each command exits 0, needs no configuration, and leaves no option without words."""
    outcome = gateway(*command, "--help")
    assert outcome.status == 0
    assert outcome.out.startswith("Usage: gateway")
    assert outcome.err == ""


def test_init_writes_a_gateway_and_refuses_to_overwrite_it(gateway: Gateway, tmp_path: Path) -> None:
    """The first init names what it wrote; the second changes nothing and says why."""
    first = gateway("init", tmp_path / "new")
    assert first.status == 0
    assert f"wrote {tmp_path / 'new' / CONFIGURATION}\n" in first.out
    before = {path: path.read_bytes() for path in (tmp_path / "new").rglob("*") if path.is_file()}
    assert "exists and is not overwritten" in gateway("init", tmp_path / "new").line
    assert before == {path: path.read_bytes() for path in (tmp_path / "new").rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["serv"], "No such command 'serv'"),
        (["serve", "--port", "1"], "No such option '--port'"),
        (["init", "a", "b"], "unexpected extra argument"),
        (["token"], "Missing option '--participant'"),
        (["coverage"], "Missing argument 'CALL'"),
        (["coverage", "c", "--level", "seen"], "'seen' is not one of"),
        (["coverage", "c", "--wait", "-1"], "Invalid value for '--wait'"),
        (["retention", "sweep", "--now", "tomorrow"], "is no time; write it like 2026-11-23T14:00:00Z"),
        (["retention", "sweep", "--now", "2026-11-23T14:00:00"], "is no time"),
        (["residue", "scan"], "Missing option '--needle-file'"),
        (["residue", "scan", "--needle-file", "/dev/null"], "Missing option '--data' or '--pid'"),
        (["residue", "scan", "--data", "/nonexistent", "--needle-file", "/dev/null"], "does not exist"),
    ],
)
def test_bad_usage_is_one_line_and_exit_2(gateway: Gateway, arguments: list[str], what: str) -> None:
    """Whatever is wrong with the command line is said in one line on standard error."""
    outcome = gateway(*arguments)
    assert what in outcome.line
    assert outcome.out == ""


def test_no_command_at_all_shows_the_commands_and_is_bad_usage(gateway: Gateway) -> None:
    """Someone who types only `gateway` sees what there is; a script that does so by mistake fails."""
    outcome = gateway()
    assert outcome.status == 2
    assert "Commands:" in outcome.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["serve"],
        ["calls"],
        ["coverage", "c"],
        ["retention", "sweep"],
        ["token", "--participant", ANNA, "--call", "c"],
    ],
)
def test_without_a_configuration_every_command_says_so(
    gateway: Gateway, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a directory without `gateway.toml` the line names the file and the command that writes one."""
    monkeypatch.chdir(tmp_path)
    assert "gateway.toml: no such file; run `gateway init`" in gateway(*arguments).line


def test_a_token_says_what_was_asked_for(gateway: Gateway, directory: Path) -> None:
    """The printed token is believed by the configured keys and carries person, calls, name, role and expiry."""
    outcome = gateway(
        "token", "--participant", ANNA, "--call", "a", "--call", "b", "--ttl", "60", "--name", "Anna", "--observer"
    )
    settings = load(directory / CONFIGURATION, {})
    now = datetime.now(UTC)
    claims = verify(
        outcome.out.strip(),
        keys.client_keys(settings),
        issuer=settings.clients.issuer,
        audience=settings.clients.audience,
        now=now,
    )
    assert claims.participant == ANNA
    assert claims.calls == {"a", "b"}
    assert claims.role is Role.OBSERVER
    assert claims.name == "Anna"
    assert 50 <= (claims.expires_at - now).total_seconds() <= 60


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["--participant", ANNA], "Missing option '--call'"),
        (["--participant", ANNA, "--call", ""], "--call is empty"),
        (["--participant", ANNA, "--call", "*"], "--call '*' is for observers"),
        (["--participant", "anna", "--call", "c"], "--participant is no raw id of a configured resource"),
        (["--participant", ANNA.replace("1", "9"), "--call", "c"], "--participant is no raw id of a configured"),
        (["--participant", "8:orgid:1", "--call", "c"], "--participant is no raw id of a configured resource"),
        (["--participant", ANNA, "--call", "c", "--ttl", "0"], "Invalid value for '--ttl'"),
        (["--participant", ANNA, "--call", "c", "--ttl", "86401"], "Invalid value for '--ttl'"),
    ],
)
@pytest.mark.usefixtures("directory")
def test_a_token_nobody_could_use_is_not_made(gateway: Gateway, arguments: list[str], what: str) -> None:
    """What the gateway would refuse is refused when the token is asked for, and no person is repeated."""
    outcome = gateway("token", *arguments)
    assert what in outcome.line
    assert ANNA not in outcome.err


def test_a_private_key_that_does_not_belong_to_the_public_ones_is_found_out(gateway: Gateway, directory: Path) -> None:
    """A token that this gateway would refuse is not printed."""
    stranger = SigningKey.from_seed(bytes(32))
    (directory / "keys/clients.jwks").write_bytes(stranger.public_jwks())
    assert "does not believe the private key beside it" in gateway("token", "--participant", ANNA, "--call", "c").line


@pytest.mark.usefixtures("directory")
def test_without_a_running_gateway_calls_says_how_to_start_one(gateway: Gateway) -> None:
    """What only a running gateway knows is not guessed."""
    assert "no gateway runs on" in gateway("calls").line


def test_a_note_left_by_a_killed_gateway_is_no_gateway(gateway: Gateway, directory: Path) -> None:
    """After kill -9 the note names an address where nobody answers: commands act as if there were none."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    ready.write(directory / "data", websocket="ws://127.0.0.1:1", control=f"http://127.0.0.1:{port}")
    assert "no gateway answers at" in gateway("calls").line
    assert gateway("retention", "sweep", "--json").status == 0


@pytest.mark.usefixtures("directory")
def test_coverage_and_sweep_work_without_a_running_gateway(gateway: Gateway) -> None:
    """With nobody serving, the commands take the regions' locks themselves."""
    assert "no such call" in gateway("coverage", "c").line
    answer = json.loads(gateway("retention", "sweep", "--json").out)
    assert answer["deleted"] == 0
    assert set(answer["regions"]) == {"europe", "unitedstates"}


def test_calls_and_coverage_ask_the_running_gateway(gateway: Gateway, running: Path) -> None:
    """Tables for people, JSON for programs; a call id with a slash in it is one id."""
    config = running / CONFIGURATION
    calls = json.loads(gateway("calls", "--config", config, "--json").out)
    assert [call["call"] for call in calls["calls"]] == ["a/b"]
    table = gateway("calls", "--config", config).out
    assert "a/b" in table
    assert "active" in table
    coverage = json.loads(gateway("coverage", "a/b", "--config", config, "--json").out)
    assert coverage["complete"] is False
    (notice,) = coverage["notices"]
    assert notice["gaps"][0]["participant"] == ANNA
    assert notice["gaps"][0]["reason"] == "unreachable"
    shown = gateway("coverage", "a/b", "--config", config, "--organization", "contoso", "--level", "received").out
    assert "unreachable" in shown
    assert "Not complete." in shown


def test_a_running_gateways_refusal_is_told_in_its_words(gateway: Gateway, running: Path) -> None:
    """The control API's problem becomes the one line."""
    line = gateway("coverage", "nobody", "--config", running / CONFIGURATION).line
    assert re.search(r"the gateway refused with 404: .*call", line)


def test_sweep_asks_the_running_gateway_and_shows_each_region(gateway: Gateway, running: Path) -> None:
    """The sweep of a running gateway goes through its control API, with the time that was asked for."""
    config = running / CONFIGURATION
    answer = json.loads(
        gateway("retention", "sweep", "--now", "2030-01-01T01:00:00+01:00", "--config", config, "--json").out
    )
    assert set(answer["regions"]) == {"europe", "unitedstates"}
    assert "0 deleted in all." in gateway("retention", "sweep", "--config", config).out


def test_a_wrong_control_token_is_refused_by_the_gateway(
    gateway: Gateway, running: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may read the note still needs the token."""
    other = tmp_path / "other.token"
    keys.write_private(other, b"0123456789abcdef0123456789abcdef")
    monkeypatch.setenv("GATEWAY_CONTROL__TOKEN_FILE", str(other))
    assert "refused with 401" in gateway("calls", "--config", running / CONFIGURATION).line


def test_a_second_gateway_on_the_same_data_is_refused(running: Path) -> None:
    """One writer owns a region: a second `serve` ends with one line and exit 2, and the first goes on."""
    second = subprocess.run(
        [sys.executable, "-m", "gateway", "serve"],
        cwd=running,
        env={**os.environ, **FREE},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert Outcome(second.returncode, second.stdout, second.stderr).line.count("in use by another process") == 1
    assert ready.read(running / "data") is not None


def test_an_address_in_use_is_one_line(directory: Path) -> None:
    """A port that is taken ends the start with one line."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for variable in FREE:
            second = subprocess.run(
                [sys.executable, "-m", "gateway", "serve"],
                cwd=directory,
                env={**os.environ, **FREE, variable: address},
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
            )
            assert "in use" in Outcome(second.returncode, second.stdout, second.stderr).line


def test_serve_announces_itself_once_and_sigterm_ends_it_with_0(directory: Path) -> None:
    """One JSON line when it listens, a private note while it runs, exit 0 within ten seconds, and no note after."""
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", "serve"],
        cwd=directory,
        env={**os.environ, **FREE},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    announced = json.loads(line)
    assert announced["ready"] is True
    assert announced["websocket"].startswith("ws://127.0.0.1:")
    note = directory / "data" / ready.FILE
    assert json.loads(note.read_bytes()) == announced
    assert stat.S_IMODE(note.stat().st_mode) == 0o600
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=10)
    assert process.returncode == 0
    assert out == ""
    assert not note.exists()
    assert all(json.loads(entry)["level"] == "info" for entry in err.splitlines())


@pytest.mark.parametrize(
    ("content", "status"),
    [(b"nothing of it", 0), (b"xx needle-one xx", 1), (b"bmVlZGxlLW9uZQ==", 1), (b"6e6565646c652d6f6e65", 1)],
)
def test_residue_scan_finds_needles_in_every_form_and_exits_1(
    gateway: Gateway, tmp_path: Path, content: bytes, status: int
) -> None:
    """A needle is found in clear, base64 and hex; the output says where, and never repeats the needle."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/file").write_bytes(content)
    (tmp_path / "needles").write_bytes(b"needle-one\n\nneedle-two\n")
    outcome = gateway("residue", "scan", "--data", tmp_path / "data", "--needle-file", tmp_path / "needles")
    assert outcome.status == status
    assert "needle-one" not in outcome.out
    assert ("file: needle 1 as" in outcome.out) == bool(status)


def test_residue_scan_without_needles_is_bad_usage(gateway: Gateway, tmp_path: Path) -> None:
    """An empty needle file must not pass for a clean directory."""
    (tmp_path / "needles").write_bytes(b"\n\n")
    assert (
        "holds no needle" in gateway("residue", "scan", "--data", tmp_path, "--needle-file", tmp_path / "needles").line
    )


def test_residue_scan_looks_in_every_directory_and_process_it_is_given(gateway: Gateway, tmp_path: Path) -> None:
    """Each `--data` and each `--pid` counts; a process's file is shown by descriptor and name."""
    for name in ("data", "backup"):
        (tmp_path / name).mkdir()
    (tmp_path / "needles").write_bytes(b"needle-one\nneedle-two\n")
    command = ["residue", "scan", "--needle-file", tmp_path / "needles"]
    places = ["--data", tmp_path / "data", "--data", tmp_path / "backup", "--pid", str(os.getpid())]
    with tempfile.TemporaryFile(dir=tmp_path) as nameless:
        assert gateway(*command, *places).out == "none of 2 needles found\n"
        (tmp_path / "backup/file").write_bytes(b"needle-one")
        nameless.write(b"needle-two")
        nameless.flush()
        outcome = gateway(*command, *places)
    assert outcome.status == 1
    assert f"{tmp_path / 'backup/file'}: needle 1 as raw\n" in outcome.out
    assert re.search(rf"^{os.getpid()}/fd/{nameless.name} -> .+: needle 2 as raw$", outcome.out, re.MULTILINE)


def test_residue_scan_of_nobody_is_refused(gateway: Gateway, tmp_path: Path) -> None:
    """A process that is not there must not pass for a clean one."""
    (tmp_path / "needles").write_bytes(b"needle\n")
    command = ["residue", "scan", "--needle-file", tmp_path / "needles"]
    assert gateway(*command, "--pid", str(2**22 + 1)).line == f"gateway: {2**22 + 1}: no such process\n"


def test_nothing_shown_can_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """L1: a participant or call named by a peer is spelled out: no escape sequence, line break or markup acts."""
    evil = "\x1b]0;owned\x07\r\n[bold red]x\u202e"
    gap: dict[str, Any] = {"participant": evil, "reason": "left", "since": evil, "exposure_ms": 1500}
    notice = {"notice": "n", "capability": "recording", "change": "started", "gaps": [gap], "owed": 1, "proved": 0}
    cli_views.show_coverage({"call": evil, "level": "acknowledged", "notices": [notice], "complete": False})
    cli_views.show_calls({"calls": [{"call": evil, "organization": evil}]})
    cli_views.show_json({"call": evil})
    out = capsys.readouterr().out
    assert not set(out) & {"\x1b", "\x07", "\r", "\u202e"}
    assert "[bold" in out
    assert "1.5 s" in out


def test_python_m_gateway_is_the_same_command() -> None:
    """`python -m gateway` works where the script is not on the path."""
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "--version"], capture_output=True, text=True, timeout=30, check=True
    )
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", done.stdout)
