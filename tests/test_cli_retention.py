"""The rules of `gateway retention …`: the same words and exits whether a gateway runs or not, and nothing half set."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.cli import commands as cli
from gateway.cli import views
from gateway.cli.init import initialise

ANN = "8:acs:11111111-1111-1111-1111-111111111111_ann"
NOWHERE = "8:acs:99999999-9999-9999-9999-999999999999_ann"
FREE = {"GATEWAY_LISTEN__ADDRESS": "127.0.0.1:0", "GATEWAY_CONTROL__ADDRESS": "127.0.0.1:0"}


@pytest.fixture(params=["running", "none runs"])
def gateway(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The current directory is a new gateway's, whose process runs or does not."""
    initialise(tmp_path)
    monkeypatch.chdir(tmp_path)
    if request.param != "running":
        yield
        return
    with subprocess.Popen(
        [sys.executable, "-m", "gateway", "serve"], env={**os.environ, **FREE}, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        try:
            yield
        finally:
            process.terminate()


@pytest.fixture
def said(capfd: pytest.CaptureFixture[str]) -> Said:
    """Runs `gateway retention …` in this process."""
    return Said(capfd)


class Said:
    """What the commands say."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd

    def by(self, *arguments: str, status: int = 0) -> str:
        """What it prints; of a refused command, its one line on standard error."""
        assert cli.run(["retention", *arguments]) == status
        captured = self._capfd.readouterr()
        if status == 0:
            return captured.out
        assert captured.out == ""
        assert captured.err.startswith("gateway: ")
        assert captured.err.count("\n") == 1
        return captured.err


@pytest.mark.usefixtures("gateway")
def test_policies_are_set_listed_explained_and_removed(said: Said) -> None:
    """Whoever reads the explanation learns which policy decided, by which principle, and when the message goes."""
    assert said.by("policy", "list") == "There is no policy.\n"
    said.by("policy", "add", "all", "--action", "delete", "--days", "10")
    said.by("policy", "add", "by-name", "--action", "delete", "--days", "90", "--participant", ANN)
    said.by("policy", "add", "house", "--action", "retain", "--days", "100", "--organization", "contoso")
    listed = said.by("policy", "list")
    assert all(word in listed for word in ("by-name", "everyone", "organisation contoso", "retain", "90"))
    told = json.loads(said.by("explain", "--participant", ANN, "--json"))["sent_now"]
    assert (told["policies"], told["principle"]) == (["house"], "retention_wins")
    assert told["hidden_by"] == ["by-name"]
    shown = said.by("explain", "--participant", ANN)
    for word in ("goes at", "hidden at", "house", "by-name", "retention_wins", told["because"]):
        assert word in shown, shown
    for name in ("all", "by-name", "house"):
        assert said.by("policy", "remove", name) == f"policy {name} is removed\n"
    assert said.by("policy", "list") == "There is no policy.\n"
    assert "no policy" in said.by("policy", "remove", "all", status=2)


@pytest.mark.usefixtures("gateway")
def test_a_hold_defers_an_erasure_until_it_is_removed(said: Said) -> None:
    """The refusal names the hold; the explanation says that an erasure waits, and after the removal none does."""
    said.by("hold", "add", "case", "--participant", ANN, "--reason", "litigation")
    assert all(word in said.by("hold", "list") for word in ("case", "litigation"))
    assert "case" in said.by("erase", "--participant", ANN, status=2)
    waiting = said.by("explain", "--participant", ANN)
    assert "An erasure was asked for at" in waiting
    assert "held by" in waiting
    said.by("hold", "remove", "case")
    said.by("sweep")
    assert "An erasure" not in said.by("explain", "--participant", ANN)
    assert said.by("erase", "--participant", ANN).startswith("Erased in region europe: messages 0, presences 0")


@pytest.mark.usefixtures("gateway")
@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["policy", "add", "default", "--action", "delete", "--days", "1"], "'default' is what applies without"),
        (["policy", "add", "p", "--action", "keep", "--days", "1"], "'keep' is not one of"),
        (["policy", "add", "p", "--action", "delete", "--days", "0"], "0 is not in the range"),
        (["policy", "add", "p", "--action", "delete", "--days", "1", "--organization", "x"], "not configured here"),
        (["hold", "add", "h", "--participant", NOWHERE], "not configured"),
        (["hold", "remove", "h"], "no hold"),
        (["erase", "--participant", NOWHERE], "not configured"),
        (["explain", "--participant", "ann"], "belongs to no ACS resource"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line_and_sets_nothing(said: Said, arguments: list[str], what: str) -> None:
    """Exit 2, why, and no rule afterwards."""
    assert what in said.by(*arguments, status=2)
    assert said.by("policy", "list") == "There is no policy.\n"
    assert said.by("hold", "list") == "There is no hold.\n"


def test_a_copy_is_explained_on_its_own(capfd: pytest.CaptureFixture[str]) -> None:
    """Each copy has its own table: times stand whole in a narrow terminal, and what is not said is left out."""
    at = "2026-11-23T14:00:00.000Z"
    fate = {"due_at": at, "hidden_at": at, "hidden_by": [], "policies": ["default"], "principle": "default"}
    copy = {"copy": 3, "state": "hidden", "sent_at": at, **fate, "held_by": ["case"]}
    views.show_explanation({"participant": ANN, "region": "europe", "copies": [copy], "sent_now": fate})
    shown = capfd.readouterr().out
    assert shown.count(at) == 5
    assert all(word in shown for word in ("copy 3", "hidden", "case", "sent now"))
    assert "hidden by" not in shown
