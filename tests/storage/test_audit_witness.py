"""An independent witness vouches for a ledger only as far as it is shown that nothing it saw was taken back."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from storage.audit.verdict import Refused
from storage.audit.witness import Cosigned, cosign, make_key, read_key
from storage.engine import connect_writer
from storage.note import COSIGNATURE, ED25519, Note, Verifier, encoded, parse_note, parse_verifiers
from storage.operations import SignCheckpoint
from storage.signing import judge, load, new_key
from tests.storage.desk import Desk, append, forget

NOW = 1_795_471_200
ORIGIN = "notification-gateway/europe"


class Outside:
    """A witness with its key and what it saw in a directory of its own, and the region it looks at."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.desk = Desk(root)
        self.keys = parse_verifiers(self.desk.region.verifier)
        self.own = root / "witness"
        self.own.mkdir(mode=0o700)
        make_key("witness.example/w1", self.own / "key")
        self.signer = read_key(self.own / "key")
        self.state = self.own / "seen"

    def grow(self, *texts: str) -> str:
        self.desk.do(*(append(text) for text in texts), SignCheckpoint())
        note = self.desk.region.checkpoint
        assert note is not None
        return note

    def give(self, note: str) -> Path:
        path = self.root / "checkpoint.txt"
        path.write_text(note, encoding="utf-8")
        return path

    def answer(self, old: int, new: int, **changes: Any) -> Path:
        """What `GET /consistency` says, in a file."""
        hashes = [encoded(each) for each in self.desk.ask(lambda reader: reader.consistency(old, new))]
        path = self.root / "consistency.json"
        path.write_text(json.dumps({"from": old, "to": new, "hashes": hashes, **changes}))
        return path

    def ask(self, source: Path | None = None, **options: Any) -> Cosigned:
        given = {"verifiers": self.keys, "witness": self.signer, "state": self.state, "seconds": NOW, **options}
        return cosign(source or self.desk.data, **given)

    def refused(self, source: Path | None = None, **options: Any) -> tuple[int, str]:
        """Exit and line; whoever is refused leaves what was seen as it was."""
        before = self.state.read_bytes() if self.state.exists() else None
        with pytest.raises(Refused) as caught:
            self.ask(source, **options)
        assert (self.state.read_bytes() if self.state.exists() else None) == before
        verdict = caught.value.verdict
        assert "\n" not in verdict.line
        return verdict.exit, verdict.line


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Outside]:
    made = Outside(tmp_path)
    yield made
    made.desk.close()


def size_seen(outside: Outside) -> int:
    found: int = json.loads(outside.state.read_bytes())["seen"][ORIGIN]["size"]
    return found


@pytest.mark.parametrize("file", ["", "region.db"])
def test_a_ledger_is_cosigned_as_it_grows(outside: Outside, file: str) -> None:
    """From the region's directory or file, while it is being written; the line verifies, others' lines stay."""
    for number, texts in enumerate((["a"], ["b"] * 300, ["c"])):
        note = outside.grow(*texts)
        cosigned = outside.ask(outside.desk.data / file)
        assert cosigned.first == (number == 0)
        found = parse_note(cosigned.note)
        assert cosigned.note.startswith(note)
        assert judge(found, outside.signer.verifier) is True
        assert judge(found, outside.keys[0]) is True
    assert size_seen(outside) == 302
    assert stat.S_IMODE(outside.state.stat().st_mode) == 0o600


def test_a_note_is_cosigned_with_the_proof_it_needs(outside: Outside) -> None:
    """At first sight and for what was seen already none is needed, else the answer of the gateway's route."""
    assert outside.ask(outside.give(outside.grow("a"))).first
    assert not outside.ask(outside.give(outside.grow())).first
    cosigned = outside.ask(outside.give(outside.grow("b", "c")), consistency=outside.answer(1, 3))
    again = outside.ask(outside.give(cosigned.note), seconds=NOW + 1)
    assert len(parse_note(again.note).signatures) == 2
    assert again.note != cosigned.note


def test_what_was_seen_is_on_disk_before_the_line_is_out(outside: Outside, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it cannot be written, nothing is vouched for: a full disk must not make a witness forget."""
    outside.grow("a")
    outside.ask()
    outside.grow("b")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    exit_, line = outside.refused()
    assert exit_ == 40
    assert "No space left" in line


def test_several_ledgers_are_seen_apart(outside: Outside, tmp_path: Path) -> None:
    """One file of what was seen serves many origins."""
    outside.grow("a")
    outside.ask()
    other = Desk(tmp_path, "asia")
    try:
        other.do(append("x"), append("y"), SignCheckpoint())
        keys = [*outside.keys, *parse_verifiers(other.region.verifier)]
        assert outside.ask(other.data, verifiers=keys).first
        assert not outside.ask(verifiers=keys).first
    finally:
        other.close()


def test_an_older_copy_is_refused(outside: Outside, tmp_path: Path) -> None:
    """A copy that was put back, and a note that was true once: 30."""
    note = outside.grow("a")
    copy = tmp_path / "copy"
    shutil.copytree(outside.desk.data, copy)
    outside.grow("b")
    outside.ask()
    for source in (copy, outside.give(note)):
        exit_, line = outside.refused(source)
        assert exit_ == 30
        assert "1 entries and had 2" in line


@pytest.mark.parametrize("texts", [["y"], ["y", "z"], ["y"] * 400])
def test_another_history_is_refused(outside: Outside, tmp_path: Path, texts: list[str]) -> None:
    """Grown from a copy in another way, signed by the same key: 30, whatever its size."""
    outside.grow("a")
    copy = tmp_path / "copy"
    shutil.copytree(outside.desk.data, copy)
    outside.grow("x")
    outside.ask()
    outside.desk.close()
    forget(outside.desk.keys)
    forked = Desk(tmp_path, data=copy)
    forked.do(*(append(text) for text in texts), SignCheckpoint())
    note = forked.region.checkpoint
    answer = {"from": 2, "to": 1 + len(texts), "hashes": []}
    if len(texts) > 1:
        path = forked.ask(lambda reader: reader.consistency(2, 1 + len(texts)))
        answer["hashes"] = [encoded(each) for each in path]
    forked.close()
    assert note is not None
    assert outside.refused(copy)[0] == 30
    consistency = tmp_path / "answer.json"
    consistency.write_text(json.dumps(answer))
    assert outside.refused(outside.give(note), consistency=consistency)[0] == 30


@pytest.mark.parametrize(
    ("changes", "exit_", "words"),
    [
        ({"hashes": []}, 30, "not shown to continue"),
        ({"hashes": [encoded(bytes(32))] * 3}, 30, "not shown to continue"),
        ({"hashes": [encoded(bytes(31))] * 3}, 30, "not shown to continue"),
        ({"hashes": ["no base64"]}, 40, "no answer of /consistency"),
        ({"hashes": "AAAA"}, 40, "no answer of /consistency"),
        ({"from": 1}, 40, "from=3&to=7"),
        ({"to": 6}, 40, "from=3&to=7"),
        ({"from": "3"}, 40, "no answer of /consistency"),
    ],
)
def test_a_proof_that_shows_nothing_is_refused(
    outside: Outside, changes: dict[str, Any], exit_: int, words: str
) -> None:
    """Hashes that do not prove are taken for a fork; an answer to another question says which one to ask."""
    outside.ask(outside.give(outside.grow(*"abc")))
    source = outside.give(outside.grow(*"defg"))
    found, line = outside.refused(source, consistency=outside.answer(3, 7, **changes))
    assert found == exit_
    assert words in line
    assert outside.ask(source, consistency=outside.answer(3, 7)).note


def test_a_note_alone_shows_no_growth(outside: Outside) -> None:
    """The line says which answer is missing."""
    outside.ask(outside.give(outside.grow("a")))
    exit_, line = outside.refused(outside.give(outside.grow("b")))
    assert exit_ == 40
    assert "/consistency?from=1&to=2" in line
    os.mkfifo(outside.root / "pipe")
    exit_, line = outside.refused(outside.give(outside.grow("c")), consistency=outside.root / "pipe")
    assert exit_ == 40
    assert line.endswith("pipe: is no file")


def test_a_key_that_was_not_given_is_refused(outside: Outside) -> None:
    """Another log's key, a witness's key, or a key under another name vouches for nothing: 40."""
    outside.grow("a")
    signing, witness = outside.keys
    others = [load(new_key(ORIGIN, ED25519)).verifier, Verifier("other/europe", ED25519, signing.public), witness]
    for key in others:
        exit_, line = outside.refused(verifiers=[key])
        assert exit_ == 40
        assert ORIGIN in line


def test_a_key_that_changes_is_refused(outside: Outside, tmp_path: Path) -> None:
    """Even if the new one is given: whoever made the region anew must tell the witness to begin anew."""
    outside.grow("a")
    outside.ask()
    anew = Desk(tmp_path / "anew")
    try:
        anew.do(append("a"), append("b"), SignCheckpoint())
        exit_, line = outside.refused(anew.data, verifiers=parse_verifiers(anew.region.verifier))
        assert exit_ == 40
        assert "another key than before" in line
    finally:
        anew.close()


def test_a_broken_signature_is_refused(outside: Outside) -> None:
    """A body that its own key is said to have signed and did not: 20."""
    note = parse_note(outside.grow("a"))
    changed = Note(note.body.replace("\n1\n", "\n2\n"), note.signatures)
    assert outside.refused(outside.give(changed.text()))[0] == 20


@pytest.mark.parametrize(
    ("statement", "exit_"),
    [
        ("UPDATE entries SET hash = zeroblob(32) WHERE seq = 299", 20),
        ("UPDATE tiles SET hashes = zeroblob(32)", 20),
        ("DELETE FROM entries WHERE seq >= 290", 30),
        ("DELETE FROM tiles", 30),
        ("DELETE FROM checkpoints", 40),
        ("DROP TABLE checkpoints", 20),
    ],
)
@pytest.mark.parametrize("seen", [False, True])
def test_a_file_that_is_not_what_was_signed_is_refused(
    outside: Outside, tmp_path: Path, statement: str, exit_: int, seen: bool
) -> None:
    """At first sight too, the tree must give the root that was signed; each single leaf is for `ledger verify`."""
    outside.grow(*["a"] * 300)
    if seen:
        outside.ask()
    outside.desk.close()
    connection = connect_writer(outside.desk.data / "region.db")
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute(statement)
    connection.close()
    assert outside.refused()[0] == exit_


def test_what_is_no_ledger_is_refused(outside: Outside, tmp_path: Path) -> None:
    """A missing file, a text, bytes, another database: 40 each."""
    files = {"text": b"hello\n", "bytes": bytes(range(256)), "empty": b"", "database": b"SQLite format 3\0" + bytes(84)}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    for name in ("missing", "keys", *files):
        assert outside.refused(tmp_path / name)[0] == 40


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def spoil(text: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(text)


@pytest.mark.parametrize(
    "how",
    [
        spoil(""),
        spoil("{}"),
        spoil('{"format":"witness/2","seen":{}}'),
        spoil('{"format":"witness/1","seen":{},"more":1}'),
        spoil('{"format":"witness/1","seen":{"notification-gateway/europe":{"root":"?","size":1,"vkey":""}}}'),
        lambda path: path.chmod(0o640),
        lambda path: (path.unlink(), path.mkdir()),
        pipe,
    ],
)
def test_what_was_seen_is_not_guessed(outside: Outside, how: Callable[[Path], object]) -> None:
    """A damaged, foreign or open file of what was seen is refused, never begun anew."""
    outside.grow("a")
    outside.ask()
    how(outside.state)
    with pytest.raises(Refused) as caught:
        outside.ask()
    assert caught.value.verdict.exit == 40


def test_two_at_once_do_not_overtake_each_other(outside: Outside) -> None:
    """Whoever comes while another works on what was seen waits: two of them could vouch for two histories."""
    outside.grow("a")
    done: list[Cosigned] = []
    thread = threading.Thread(target=lambda: done.append(outside.ask()))
    descriptor = os.open(outside.own, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        thread.start()
        thread.join(0.5)
        assert not done
        assert not outside.state.exists()
    finally:
        os.close(descriptor)
    thread.join()
    assert done[0].first
    assert size_seen(outside) == 1


def test_a_witness_has_a_key_of_its_own(tmp_path: Path) -> None:
    """Made once, 0600, with a public half that C2SP's readers take; never overwritten, never another kind of key."""
    key = tmp_path / "w.key"
    public = make_key("witness.example/w1", key)
    (verifier,) = parse_verifiers(public.read_text())
    assert (verifier.name, verifier.algorithm) == ("witness.example/w1", COSIGNATURE)
    assert read_key(key).verifier == verifier
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    before = key.read_bytes(), public.read_bytes()
    with pytest.raises(FileExistsError):
        make_key("witness.example/w2", key)
    public.rename(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        make_key("witness.example/w2", key)
    assert not public.exists()
    (tmp_path / "elsewhere").rename(public)
    key.rename(tmp_path / "gone")
    with pytest.raises(FileExistsError):
        make_key("witness.example/w2", key)
    assert not key.exists()
    assert before == ((tmp_path / "gone").read_bytes(), public.read_bytes())
    for name in ("", "two words", "a+b", "line\nbreak"):
        with pytest.raises(ValueError):
            make_key(name, tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("text", ["", "secret", new_key("log", ED25519), "PRIVATE+KEY+w+00000000+BAAA"])
def test_what_is_no_witness_key_is_refused_and_not_quoted(tmp_path: Path, text: str) -> None:
    """Nor is a ledger's own key taken for a witness's."""
    path = tmp_path / "key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(Refused) as caught:
        read_key(path)
    assert caught.value.verdict.exit == 40
    assert not text or text.strip() not in caught.value.verdict.line
    path.chmod(0o644)
    with pytest.raises(Refused):
        read_key(path)
