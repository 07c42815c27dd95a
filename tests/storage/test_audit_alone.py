"""The verifier needs a file and a key and nothing else: no gateway, no right to write, and it leaves no trace."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.audit import ledger
from storage.audit.__main__ import main
from storage.audit.file import reading
from storage.audit.verdict import INCOMPLETE, ROLLED_BACK, SOUND, TAMPERED, UNVERIFIABLE, Refused
from storage.engine import connect_resting, connect_writer, sqlite3
from storage.note import parse_verifiers
from storage.operations import SignCheckpoint
from tests.storage.audited import ORIGIN, WITNESS, Copied, Edit, Written, change_leaf, edited, noted, rehash, run
from tests.storage.desk import Desk

ROOT = Path(__file__).parents[2]
GOOD = f"sound: {ORIGIN}: 600 entries, 5 checkpoints"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    return Written(tmp_path_factory.mktemp("written"))


@pytest.fixture
def copied(written: Written, tmp_path: Path) -> Copied:
    return written.copy(tmp_path / "copy")


def contents(place: Path) -> dict[str, tuple[bytes, int]]:
    """Every file of a directory: its bytes and when it was changed."""
    return {each.name: (each.read_bytes(), each.stat().st_mtime_ns) for each in place.iterdir()}


# -- the command ------------------------------------------------------------------------------------------------------


def test_the_command_says_one_line_and_its_exit(
    written: Written, copied: Copied, capsys: pytest.CaptureFixture[str]
) -> None:
    """By directory or by file, with keys, checkpoints and witnesses, each of which may be repeated."""
    key, seen = ["--key", str(written.public)], ["--checkpoint", str(copied.checkpoint(100))]
    witness = ["--witness", str(copied.lay("witness.vkey", WITNESS.verifier.text()))]
    for words in (
        [str(copied.place), *key],
        [str(copied.path), *key, *key],
        [*key, str(copied.place), *seen, *seen],
        [*witness, str(copied.place), *key],
    ):
        assert main(["ledger", "verify", *words]) == SOUND
        assert capsys.readouterr().out.startswith(GOOD)
    copied.edit(run("DELETE FROM entries WHERE seq = 17"))
    assert main(["ledger", "verify", str(copied.place), *key]) == TAMPERED
    assert capsys.readouterr() == (f"tampered: {ORIGIN}: entry 17 is missing\n", "")


@pytest.mark.parametrize(
    "content", ["", "rubbish", "PRIVATE+KEY+x+00000000+AA==", "{log}\nrubbish", "{witness}", "\0", "\udcff"]
)
def test_a_key_file_that_is_none_is_said(
    written: Written, copied: Copied, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    """Nothing is passed over: a file without a ledger's key, or with anything that is no key, ends the verification."""
    log, witness = written.public.read_text().splitlines()
    path = copied.place / "some.vkey"
    path.write_bytes(content.format(log=log, witness=witness).encode(errors="surrogateescape"))
    for words in (["--key", str(path)], ["--key", str(written.public), "--key", str(path)]):
        assert main(["ledger", "verify", str(copied.place), *words]) == UNVERIFIABLE
        assert "some.vkey" in capsys.readouterr().out
    path.unlink()
    assert main(["ledger", "verify", str(copied.place), "--key", str(path)]) == UNVERIFIABLE
    assert "some.vkey" in capsys.readouterr().out
    path.write_text(log)
    assert main(["ledger", "verify", str(copied.place), "--key", str(path), "--witness", str(path)]) == UNVERIFIABLE
    assert "no key of a witness" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [[], ["ledger"], ["ledger", "verify"], ["ledger", "verify", "x"], ["ledger", "verify", "x", "--ke", "y"], ["x"]],
)
def test_a_wrong_command_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """As every command does, with 2; no word may be cut short."""
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 2
    assert "usage" in capsys.readouterr().err


# -- what is no ledger ------------------------------------------------------------------------------------------------


def test_what_is_no_ledger_cannot_be_verified(written: Written, copied: Copied) -> None:
    """Nothing there, nothing in it, text, another database, a ledger from before anything was signed."""
    place = copied.place / "other"
    place.mkdir()
    assert Copied(written.verifiers, place).judge().exit == UNVERIFIABLE
    assert Copied(written.verifiers, place / "nowhere").judge().exit == UNVERIFIABLE
    path = place / "region.db"
    for content in (b"", b"hello\n", b"SQLite format 3\0", b"SQLite format 3\0" + bytes(4096), os.urandom(8192)):
        path.write_bytes(content)
        assert Copied(written.verifiers, place).judge().exit == UNVERIFIABLE, content[:20]
    path.unlink()
    path.mkdir()
    assert Copied(written.verifiers, place).judge().exit == UNVERIFIABLE
    path.rmdir()
    sqlite3.connect(path).close()
    with edited(path) as connection:
        connection.execute("CREATE TABLE entries(seq INTEGER PRIMARY KEY, call, leaf, hash)")
    assert Copied(written.verifiers, place).judge().exit == UNVERIFIABLE


@pytest.mark.parametrize("table", ["entries", "calls", "tiles", "head", "checkpoints", "cosignatures"])
def test_a_ledger_without_one_of_its_tables_is_tampered_with(copied: Copied, table: str) -> None:
    """Where it is missing, and where a view stands in its place."""
    copied.edit(run(f"ALTER TABLE {table} RENAME TO kept"))
    assert copied.judge().exit == TAMPERED
    copied.edit(run(f"CREATE VIEW {table} AS SELECT * FROM kept"))
    assert copied.judge().exit == TAMPERED


LOOSE = [
    ("entries", "leaf", "'text'"),
    ("entries", "leaf", "NULL"),
    ("entries", "leaf", "5"),
    ("entries", "hash", "NULL"),
    ("entries", "seq", "'x'"),
    ("entries", "call", "x'00'"),
    ("calls", "call", "5"),
    ("tiles", "hashes", "'text'"),
    ("tiles", "tile", "'x'"),
    ("tiles", "tile", "NULL"),
    ("head", "edge", "NULL"),
    ("checkpoints", "note", "5"),
    ("checkpoints", "note", "x'00'"),
    ("checkpoints", "size", "'x'"),
    ("cosignatures", "line", "NULL"),
    ("cosignatures", "line", "x'00'"),
    ("cosignatures", "size", "'x'"),
]


@pytest.mark.parametrize("edits", [(), (change_leaf(17, b"noted", b"Noted"), rehash)], ids=["", "and an entry"])
@pytest.mark.parametrize(("table", "column", "value"), LOOSE)
def test_tables_that_hold_anything_are_no_trap(
    copied: Copied, table: str, column: str, value: str, edits: tuple[Edit, ...]
) -> None:
    """Who owns the file owns its schema: values of any type in any column are refused and stop nothing, also where
    the schema says that there are none."""
    made = read_schema(copied.path)
    copied.edit(
        *edits,
        run(f"CREATE TABLE loose AS SELECT * FROM {table}"),
        run(f"UPDATE loose SET {column} = {value} WHERE rowid = (SELECT max(rowid) FROM loose)"),
        run(f"DROP TABLE {table}"),
        run(f"ALTER TABLE loose RENAME TO {table}"),
    )
    found = copied.judge(witnesses=[WITNESS.verifier])
    assert found.exit == TAMPERED, found
    with contextlib.closing(connect_writer(copied.path)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        for name, statement in made:
            connection.execute("UPDATE sqlite_schema SET sql = ? WHERE name = ?", (statement, name))
    found = copied.judge(witnesses=[WITNESS.verifier])
    assert found.exit == TAMPERED, found


def read_schema(path: Path) -> list[tuple[str, str]]:
    """Every object's name and statement."""
    with contextlib.closing(connect_resting(path)) as connection:
        return connection.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL").fetchall()


def test_a_damaged_page_is_found_or_does_not_matter(written: Written, copied: Copied) -> None:
    """Bits flipped anywhere: what is still called sound reads as it was written, and nothing ends otherwise."""
    chance = random.Random(7)
    whole = copied.path.read_bytes()
    rows = read(copied.path)
    exits = set()
    for _ in range(400):
        changed = bytearray(whole)
        changed[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        copied.path.write_bytes(changed)
        found = copied.judge()
        assert found.exit in (SOUND, INCOMPLETE, TAMPERED, ROLLED_BACK, UNVERIFIABLE)
        assert found.exit != SOUND or read(copied.path) == rows, "what changed was read"
        exits.add(found.exit)
    assert {SOUND, TAMPERED} <= exits
    for size, code in ((0, UNVERIFIABLE), (4096, TAMPERED), (len(whole) // 2, TAMPERED), (len(whole) - 1, TAMPERED)):
        copied.path.write_bytes(whole[:size])
        assert copied.judge().exit == code, size
    copied.path.write_bytes(whole[:4096] + bytes(len(whole) - 4096))
    assert copied.judge() == (TAMPERED, f"tampered: {copied.path}: the file is damaged")


def read(path: Path) -> list[list[tuple[object, ...]]]:
    """All that the verifier vouches for."""
    connection = connect_resting(path)
    found = [
        connection.execute(statement).fetchall()
        for statement in (
            "SELECT entries.*, organization, calls.call FROM entries LEFT JOIN calls ON entries.call = id ORDER BY seq",
            "SELECT * FROM checkpoints ORDER BY size",
        )
    ]
    connection.close()
    return found


# -- traces -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def killed(written: Written, tmp_path: Path) -> Path:
    """What a process that was killed leaves: a file, and a log whose end is not in the file."""
    shutil.copytree(written.data, tmp_path / "data" / "europe")
    shutil.copytree(written.keys, tmp_path / "keys" / "europe")
    desk = Desk(tmp_path)
    desk.do(noted(600), SignCheckpoint())
    shutil.copytree(desk.data, tmp_path / "killed")
    desk.close()
    assert (tmp_path / "killed" / "region.db-wal").stat().st_size
    return tmp_path / "killed"


@pytest.fixture
def anywhere() -> Iterator[Path]:
    """A directory that anybody may enter."""
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o711)
        yield Path(place)


def test_a_file_in_use_is_read_with_its_newest_entries(written: Written, tmp_path: Path) -> None:
    """While a gateway serves the region, in this process or another; its files stay as they are."""
    desk = Desk(tmp_path)
    desk.do(noted(0), SignCheckpoint())
    before = {each.name for each in desk.data.iterdir()}
    verifiers = parse_verifiers(desk.region.verifier)
    assert ledger.verify(desk.data, verifiers).line == f"sound: {ORIGIN}: 1 entries, 2 checkpoints"
    command = [sys.executable, "-m", "storage.audit", "ledger", "verify", str(desk.data)]
    command += ["--key", str(desk.keys / "verifier.vkey")]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == SOUND
    assert {each.name for each in desk.data.iterdir()} == before
    desk.do(noted(1), SignCheckpoint())
    assert ledger.verify(desk.data, verifiers).line == f"sound: {ORIGIN}: 2 entries, 3 checkpoints"
    assert desk.close() == 0
    assert not desk.failures


def test_a_file_that_is_written_to_is_read_in_one_snapshot(tmp_path: Path) -> None:
    """However much is written meanwhile: what is read is what one commit left, its end signed or not yet."""
    desk = Desk(tmp_path)
    verifiers = parse_verifiers(desk.region.verifier)
    done = threading.Event()

    def write() -> None:
        for start in itertools.count(0, 3000):
            desk.do(*map(noted, range(start, start + 3000)), *([SignCheckpoint()] if start % 9000 else []))
            if done.is_set():
                return

    writing = threading.Thread(target=write)
    writing.start()
    seen: set[str] = set()
    try:
        while len(seen) < 15:
            found = ledger.verify(desk.data, verifiers)
            assert found.exit in (SOUND, INCOMPLETE), found
            seen.add(found.line)
    finally:
        done.set()
        writing.join()
    assert desk.close() == 0
    assert not desk.failures


@pytest.mark.parametrize("left", [[], ["region.db-shm"], ["lock"], ["region.db-shm", "lock"]])
def test_a_file_at_rest_is_read_with_its_log_and_not_touched(written: Written, killed: Path, left: list[str]) -> None:
    """Whatever of it was copied: the log counts, nothing is written to it, and no file appears beside it."""
    for name in ("region.db-shm", "lock"):
        if name not in left:
            (killed / name).unlink()
    before = contents(killed)
    found = ledger.verify(killed, written.verifiers)
    assert found == (SOUND, f"sound: {ORIGIN}: 601 entries, 6 checkpoints")
    assert contents(killed) == before


def test_a_file_without_its_log_is_an_older_one(written: Written, killed: Path) -> None:
    """What is in the file by itself is judged; a checkpoint from the log shows that something is missing."""
    newest = killed / "newest.txt"
    newest.write_text(str(read(killed / "region.db")[1][-1][1]))
    (killed / "region.db-wal").unlink()
    before = contents(killed)
    assert ledger.verify(killed, written.verifiers).exit == SOUND
    assert ledger.verify(killed, written.verifiers, checkpoints=[newest]).exit == ROLLED_BACK
    assert contents(killed) == before


def test_a_file_that_is_written_meanwhile_is_not_judged(copied: Copied) -> None:
    """A copy that is still being made is no evidence of anything, whatever was found in it."""
    for found in (None, Refused(TAMPERED, "entry 17 was changed")):
        with pytest.raises(Refused) as caught, reading(copied.place):  # noqa: PT012
            os.utime(copied.path)
            if found is not None:
                raise found
        assert caught.value.verdict.exit == UNVERIFIABLE
        assert "written while it was read" in caught.value.verdict.line
    with pytest.raises(Refused, match="written while it was read"), reading(copied.place):
        copied.lay("region.db-wal", "x")


ALONE = """
import os, shutil, sys

class Nobody:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"gateway", "sqlite_utils", "click", "rich", "websockets", "starlette", "tests"}:
            raise ImportError(f"{name} is not here")

sys.meta_path.insert(0, Nobody())
import storage.audit.__main__
assert storage.__file__.startswith(os.getcwd()), storage.__file__
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
left = storage.audit.__main__.main(sys.argv[1:])
assert not {"gateway", "sqlite_utils", "asyncio"} & {name.partition(".")[0] for name in sys.modules}
sys.exit(left)
"""


@pytest.mark.parametrize("logged", [False, True])
def test_it_runs_alone_and_without_the_right_to_write(
    written: Written, killed: Path, anywhere: Path, logged: bool
) -> None:
    """With nothing of us but the folder `storage`, on files that may only be read."""
    shutil.copytree(ROOT / "storage", anywhere / "storage", ignore=shutil.ignore_patterns("__pycache__"))
    place = anywhere / "handed over"
    place.mkdir()
    shutil.copy(written.public, place / "key.vkey")
    shutil.copy(killed / "region.db", place)
    if logged:
        shutil.copy(killed / "region.db-wal", place)
    for each in place.iterdir():
        each.chmod(0o444)
    place.chmod(0o555)
    before = contents(place)
    command = [sys.executable, "-B", "-c", ALONE, "ledger", "verify", str(place), "--key", str(place / "key.vkey")]
    done = subprocess.run(command, cwd=anywhere, capture_output=True, text=True, check=False)
    size = 601 if logged else 600
    assert (done.stdout, done.stderr) == (f"sound: {ORIGIN}: {size} entries, {5 + logged} checkpoints\n", "")
    assert done.returncode == SOUND
    assert contents(place) == before
    place.chmod(0o755)
