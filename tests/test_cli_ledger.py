"""The rules of `gateway ledger …` and of the same without the gateway: exits, one line, and whom a note is given to."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.cli import run
from storage.audit.__main__ import main
from storage.engine import connect_writer
from storage.note import encoded, parse_note, parse_verifiers
from storage.operations import KeepCosignature, KeepTimestamp, SignCheckpoint
from storage.signing import judge
from storage.timestamping import question
from tests.authority import Authority
from tests.storage.desk import Desk, append

ORIGIN = "notification-gateway/europe"
WITNESS = "witness.example/w1"


@dataclass(frozen=True)
class Outcome:
    """What a command did."""

    status: int
    out: str
    err: str


class Place:
    """A region, a witness's key, and both command lines."""

    def __init__(self, root: Path, command: Callable[[list[str]], int], capture: pytest.CaptureFixture[str]) -> None:
        self.root = root
        self.desk = Desk(root)
        self.vkey = self.desk.keys / "verifier.vkey"
        self.key, self.public, self.state = root / "w1", root / "w1.vkey", root / "seen"
        self._command = command
        self._capture = capture

    def ledger(self, *words: str | Path) -> Outcome:
        self._capture.readouterr()
        status = self._command(["ledger", *map(str, words)])
        return Outcome(status, *self._capture.readouterr())

    def grow(self, *texts: str) -> str:
        self.desk.do(*(append(text) for text in texts), SignCheckpoint())
        note = self.desk.region.checkpoint
        assert note is not None
        return note

    def make_key(self) -> Outcome:
        return self.ledger("witness-key", WITNESS, "--out", self.key)

    def cosign(self, source: Path | None = None, *more: str | Path) -> Outcome:
        keys = ("--key", self.vkey, "--witness-key", self.key, "--state", self.state)
        return self.ledger("cosign", source or self.desk.data, *keys, *more)

    def verify(self, *more: str | Path) -> Outcome:
        return self.ledger("verify", self.desk.data, "--key", self.vkey, *more)

    def stamp(self, authority: Authority) -> None:
        note = parse_note(self.grow("stamped"))
        size = self.desk.ask(lambda reader: reader.size())
        self.desk.do(KeepTimestamp(size, authority.stamp(question(note.body.encode()).der)))


@pytest.fixture(params=[run, main], ids=["gateway", "storage.audit"])
def place(request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Place]:
    made = Place(tmp_path, request.param, capsys)
    yield made
    made.desk.close()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority") / "a")


def refused(outcome: Outcome, status: int, *words: str) -> None:
    """A refused cosigning: nothing that could be taken for a note, and one line."""
    assert (outcome.status, outcome.out, outcome.err.count("\n")) == (status, "", 1)
    for word in words:
        assert word in outcome.err


def test_a_witness_from_its_key_to_its_word(place: Place) -> None:
    """Make a key, cosign, give the line back, demand it; the note comes on standard output and nothing else does."""
    made = place.make_key()
    assert (made.status, made.out) == (0, f"wrote {place.key}\nwrote {place.public}\n")
    assert stat.S_IMODE(place.key.stat().st_mode) == 0o600
    (verifier,) = parse_verifiers(place.public.read_text())
    note = place.grow("a", "b")
    first = place.cosign()
    assert first.status == 0
    assert first.out.startswith(note)
    assert "first time" in first.err
    found = parse_note(first.out)
    assert judge(found, verifier) is True
    assert place.verify("--witness", place.public).status == 40
    place.desk.do(KeepCosignature(2, WITNESS, found.signatures[-1].text()))
    sound = place.verify("--witness", place.public)
    assert sound.status == 0
    assert WITNESS in sound.out
    place.grow("c")
    second = place.cosign()
    assert (second.status, second.err) == (0, "")


def test_a_note_goes_into_a_file_whole(place: Place) -> None:
    """With --out nothing is printed, and nothing is left beside the file."""
    place.make_key()
    place.grow("a")
    out = place.root / "cosigned"
    before = {*place.root.iterdir()}
    done = place.cosign(None, "--out", out)
    assert (done.status, done.out) == (0, "")
    assert len(parse_note(out.read_text()).signatures) == 2
    assert {*place.root.iterdir()} == {*before, place.state, out}


@pytest.mark.parametrize("name", ["w1", "w1.vkey", "there", "directory", "dangling", "nowhere/cosigned", "x" * 300])
def test_a_file_that_is_there_or_cannot_be_is_refused_first(place: Place, name: str) -> None:
    """2, in one line that names it: our own key is not overwritten, and what was seen does not move on."""
    place.make_key()
    (place.root / "there").write_text("mine")
    (place.root / "directory").mkdir()
    (place.root / "dangling").symlink_to("nothing")
    place.grow("a")
    before = {path: path.is_file() and path.read_bytes() for path in place.root.iterdir()}
    refused(place.cosign(None, "--out", place.root / name), 2, f": {place.root / name}: ")
    assert {path: path.is_file() and path.read_bytes() for path in place.root.iterdir()} == before
    assert not place.state.exists()


def test_a_name_that_is_taken_meanwhile_is_kept(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """2; what was seen is kept, and the same checkpoint is vouched for under another name."""
    place.make_key()
    place.grow("a")
    out, link = place.root / "cosigned", os.link

    def taken(source: Path, target: Path) -> None:
        target.write_text("theirs")
        link(source, target)

    monkeypatch.setattr(os, "link", taken)
    refused(place.cosign(None, "--out", out), 2, "not overwritten")
    assert out.read_text() == "theirs"
    monkeypatch.undo()
    again = place.cosign(None, "--out", place.root / "other")
    assert (again.status, again.err) == (0, "")


def test_options_that_make_no_sense_together_are_refused(place: Place) -> None:
    """2: a ledger needs no proof, so one that is given would go unread; and one file cannot be two."""
    place.make_key()
    place.grow("a")
    answer = place.root / "answer"
    answer.write_text(json.dumps({"from": 0, "to": 1, "hashes": []}))
    for source in (place.desk.data, place.desk.data / "region.db"):
        refused(place.cosign(source, "--consistency", answer), 2, ": --consistency ", str(source))
    refused(place.cosign(None, "--out", place.root / "new" / ".." / "seen"), 2, ": --out and --state are one file")
    assert not place.state.exists()


def test_a_note_needs_the_proof_that_the_line_names(place: Place) -> None:
    """40 without it, with the question to ask; 30 for one that does not prove; then it is taken."""
    place.make_key()
    source, answer = place.root / "note", place.root / "answer"
    source.write_text(place.grow(*"abc"))
    assert place.cosign(source).status == 0
    source.write_text(place.grow(*"defg"))
    refused(place.cosign(source), 40, "from=3&to=7")
    answer.write_text(json.dumps({"from": 3, "to": 7, "hashes": []}))
    refused(place.cosign(source, "--consistency", answer), 30, "rolled back or forked", ORIGIN)
    hashes = [encoded(each) for each in place.desk.ask(lambda reader: reader.consistency(3, 7))]
    answer.write_text(json.dumps({"from": 3, "to": 7, "hashes": hashes}))
    assert place.cosign(source, "--consistency", answer).status == 0
    refused(place.cosign(place.root / "gone"), 40, "gone")


def test_refusals_have_their_exits(place: Place) -> None:
    """20 for another body under the signature, 30 for an older one, 40 for another key, for none and for no key."""
    place.make_key()
    source = place.root / "note"
    older = place.grow("a")
    newer = place.grow("b")
    source.write_text(newer)
    assert place.cosign(source).status == 0
    source.write_text(older)
    refused(place.cosign(source), 30, "1 entries and had 2")
    source.write_text(newer.replace("\n2\n", "\n3\n", 1))
    refused(place.cosign(source), 20, "tampered")
    place.vkey.write_text(place.public.read_text())
    refused(place.cosign(), 40, "no key of a ledger")
    place.vkey.write_text("")
    refused(place.cosign(), 40)
    place.key.chmod(0o644)
    place.vkey.unlink()
    refused(place.cosign(), 40)


def test_a_key_is_never_overwritten(place: Place) -> None:
    """Nor is one made under a name that cannot be one."""
    assert place.make_key().status == 0
    before = place.key.read_bytes(), place.public.read_bytes()
    again = place.make_key()
    assert (again.status, again.out) == (2, "")
    assert "not overwritten" in again.err
    assert before == (place.key.read_bytes(), place.public.read_bytes())
    wrong = place.ledger("witness-key", "two words", "--out", place.root / "w2")
    assert (wrong.status, wrong.out) == (2, "")
    assert not (place.root / "w2").exists()
    assert ": NAME is none (" in wrong.err
    nowhere = place.root / "nowhere" / "w2"
    refused(place.ledger("witness-key", WITNESS, "--out", nowhere), 2, f": {nowhere}: No such file")


# -- time stamps ------------------------------------------------------------------------------------------------------


def test_a_time_stamp_is_shown_where_it_is_asked_for(place: Place, authority: Authority) -> None:
    """Since when the newest stamped checkpoint has existed, behind the verdict; what came later changes nothing."""
    place.stamp(authority)
    place.grow("later")
    sound = place.verify("--tsa", authority.root)
    assert sound.status == 0
    assert "; the first 1 existed at 20" in sound.out
    assert sound.out.count("\n") == 1
    assert "existed" not in place.verify().out


def test_a_time_stamp_that_is_demanded_must_be_there(place: Place, authority: Authority, tmp_path: Path) -> None:
    """40 where there is none, or no certificate to trust, or one of somebody else."""
    place.grow("a")
    assert place.verify("--tsa", authority.root).status == 40
    place.stamp(authority)
    stranger = Authority(tmp_path / "stranger")
    for roots in (stranger.root, place.vkey, tmp_path / "missing"):
        outcome = place.verify("--tsa", roots)
        assert (outcome.status, outcome.out.count("\n")) == (40, 1), outcome.out


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE timestamps SET token = x'00'",
        "UPDATE timestamps SET token = substr(token, 1, 200)",
        "UPDATE timestamps SET size = 2",
    ],
)
def test_a_time_stamp_that_was_put_elsewhere_is_tampering(place: Place, authority: Authority, statement: str) -> None:
    """A token that is none, or that stamps another checkpoint, was not put there by the gateway."""
    place.stamp(authority)
    place.grow("a")
    place.desk.close()
    connection = connect_writer(place.desk.data / "region.db")
    connection.execute(statement)
    connection.close()
    outcome = place.verify("--tsa", authority.root)
    assert outcome.status == 20
    assert "time stamp" in outcome.out


def test_a_time_stamp_saves_no_ledger(place: Place, authority: Authority) -> None:
    """What is wrong with the ledger is said, and its exit is the ledger's."""
    place.stamp(authority)
    place.desk.close()
    connection = connect_writer(place.desk.data / "region.db")
    connection.execute("UPDATE entries SET leaf = CAST('{}' AS BLOB)")
    connection.close()
    outcome = place.verify("--tsa", authority.root)
    assert outcome.status == 20
    assert "existed" not in outcome.out


def test_neither_needs_a_configuration(place: Place) -> None:
    """From anywhere, with an empty environment, without touching what is verified."""
    place.grow("a")
    place.desk.close()
    before = {path.name: path.stat().st_mtime_ns for path in place.desk.data.iterdir()}
    for module in ("gateway", "storage.audit"):
        command = [sys.executable, "-m", module, "ledger", "verify", str(place.desk.data), "--key", str(place.vkey)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd="/", env={})
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"sound: {ORIGIN}: ")
    assert before == {path.name: path.stat().st_mtime_ns for path in place.desk.data.iterdir()}
