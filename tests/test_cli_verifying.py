"""Both command lines that verify say the same: one line and one exit for whatever they are given to read."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from storage.audit import archive
from storage.note import ED25519
from storage.operations import SignCheckpoint
from storage.signing import load, new_key
from tests.source import ROOT
from tests.storage.desk import Desk, append
from tests.storage.packs import Press, meetings

ORIGIN = "notification-gateway/europe"

CHILD = """
import contextlib, io, json, os, signal, sys

from gateway.cli import run
from storage.audit.__main__ import main

class Hung(BaseException):
    pass

def hung(*_):
    raise Hung

def outcome(command, words):
    out, err = io.StringIO(), io.StringIO()
    signal.alarm(10)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            left = command(words)
        except Exception as error:
            left = repr(error)
        except Hung:
            left = "it hung"
    signal.alarm(0)
    return [left, out.getvalue(), err.getvalue()]

signal.signal(signal.SIGALRM, hung)
os.chdir(sys.argv[1])
for command in (run, main):
    for words in (["ledger", "verify", "x", "--key", "x"], ["evidence", "verify", "x", "--key", "x"]):
        outcome(command, words)  # all modules are there before the right to read them is given up
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
print(json.dumps([outcome(command, json.loads(sys.argv[2])) for command in (run, main)]))
"""
"""Whoever is root may read everything: both are run by somebody who may not."""

COMMANDS = {
    "a ledger": ["ledger", "verify", "{}", "--key", "key"],
    "a ledger's key": ["ledger", "verify", "data", "--key", "{}"],
    "a checkpoint": ["ledger", "verify", "data", "--key", "key", "--checkpoint", "{}"],
    "a witness": ["ledger", "verify", "data", "--key", "key", "--witness", "{}"],
    "an authority of a ledger": ["ledger", "verify", "data", "--key", "key", "--tsa", "{}"],
    "a pack": ["evidence", "verify", "{}", "--key", "keys"],
    "a pack's key": ["evidence", "verify", "pack.zip", "--key", "{}"],
    "an authority of a pack": ["evidence", "verify", "pack.zip", "--key", "keys", "--tsa", "{}"],
}
FOUND = {
    "missing": "missing: No such file or directory",
    "closed/file": "closed/file: Permission denied",
    "closed": "closed: ",
    "unreadable": "unreadable: Permission denied",
    "directory": "directory: is no file",
    "fifo": "fifo: is no file",
    "/dev/null": "/dev/null: is no file",
    "empty": "empty: ",
    "key/file": "key/file: Not a directory",
}
"""What is given for a file, and what is said of it."""


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A ledger, a pack and their keys, where everybody may read, and what is none of these."""
    made = Path(tempfile.mkdtemp())
    desk = Desk(made / "desk")
    desk.do(append("a"), SignCheckpoint())
    desk.close()
    worlds = meetings()
    press = Press(made / "press", worlds["standup"].books)
    (made / "pack.zip").write_bytes(archive.write(press.pack(worlds["standup"])))
    (made / "keys").write_text("".join(each.region.verifier for each in press.desks.values()))
    press.close()
    (made / "data").mkdir()
    shutil.copy(desk.data / "region.db", made / "data")
    shutil.copy(desk.keys / "verifier.vkey", made / "key")
    (made / "other").write_text(load(new_key("other/europe", ED25519)).verifier.text() + "\n")
    (made / "several").write_text(
        (made / "other").read_text() + (made / "keys").read_text() + (made / "key").read_text()
    )
    for name in ("missing", "closed", "directory"):
        (made / name).mkdir()
    (made / "missing").rmdir()
    for name in ("unreadable", "empty", "closed/file"):
        (made / name).touch()
    os.mkfifo(made / "fifo")
    for each in (made, *made.iterdir(), made / "data" / "region.db"):
        each.chmod(0o755)
    for name in ("closed", "unreadable"):
        (made / name).chmod(0)
    yield made
    (made / "closed").chmod(0o700)
    shutil.rmtree(made)


def said(place: Path, words: Sequence[str]) -> tuple[Any, str]:
    """The exit and the one line of both, which are the same, and nothing on standard error."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(place), json.dumps(words)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=ROOT,
    )
    gateway, alone = json.loads(done.stdout)
    assert gateway == alone
    status, out, err = alone
    assert (out.count("\n"), err) == (1, ""), alone
    return status, out.rstrip("\n")


@pytest.mark.parametrize("given", FOUND)
@pytest.mark.parametrize("command", COMMANDS)
def test_what_cannot_be_read_cannot_be_verified(place: Path, command: str, given: str) -> None:
    """40, at once, in the same line, which names the file; nobody waits for a pipe or reads a device."""
    expected = FOUND[given]
    if command == "a ledger" and given in ("directory", "closed"):
        expected = f"{given}/region.db: "
    if (command, given) == ("a ledger", "unreadable"):
        expected = "unreadable: no ledger, or it cannot be read "
    status, line = said(place, [given if word == "{}" else word for word in COMMANDS[command]])
    assert (status, line.partition(": ")[0]) == (40, "cannot be verified")
    assert line.startswith(f"cannot be verified: {expected}")


@pytest.mark.parametrize("command", ["a ledger's key", "a pack's key"])
def test_the_keys_that_are_given_decide(place: Path, command: str) -> None:
    """Another's key is 40 and the ledger that lacks one is named; a file may hold many keys and one of them will do."""
    status, line = said(place, [each.format("other") for each in COMMANDS[command]])
    assert status == 40
    assert line.endswith(ORIGIN)
    status, _ = said(place, [each.format("several") for each in COMMANDS[command]])
    assert status in (0, 10)


def test_a_wrong_key_is_told_from_a_wrong_ledger(place: Path) -> None:
    """Of which ledger a key is needed stands in the line; of a pack, in which file of it."""
    _, line = said(place, [each.format("other") for each in COMMANDS["a ledger's key"]])
    assert line == f"cannot be verified: data: none of the given keys is that of {ORIGIN}"
    _, line = said(place, [each.format("other") for each in COMMANDS["a pack's key"]])
    assert line.startswith("cannot be verified: pack.zip: regions/europe/checkpoint.txt: ")


@pytest.mark.parametrize("name", ["region.db", "region.db-wal", "region.db-shm", "region.db-journal", "lock"])
def test_a_pipe_among_a_ledgers_files_is_not_waited_for(place: Path, name: str) -> None:
    """40 where it is to be read; a lock is only tried, and its kind says nothing."""
    copy = Path(tempfile.mkdtemp(dir=place))
    shutil.copy(place / "data" / "region.db", copy)
    (copy / name).unlink(missing_ok=True)
    os.mkfifo(copy / name)
    for each in (copy, *copy.iterdir()):
        each.chmod(0o755)
    status, line = said(place, ["ledger", "verify", copy.name, "--key", "key"])
    if name == "lock":
        assert status == 0
    else:
        assert (status, line) == (40, f"cannot be verified: {copy.name}/{name}: is no file")


def test_a_name_breaks_no_line(place: Path) -> None:
    """Whatever a file is called."""
    name = "two\nlines\x1b[2J"
    (place / name).write_text("x")
    (place / name).chmod(0o644)
    status, line = said(place, ["evidence", "verify", name, "--key", "keys"])
    assert (status, line) == (40, "cannot be verified: two?lines?[2J: it is no zip file")
