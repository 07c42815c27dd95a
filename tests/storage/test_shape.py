"""A region's file has the tables that its migrations make and no others, or nobody believes or serves it."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

import pytest

from storage.audit.file import reading
from storage.audit.ledger import verify
from storage.audit.verdict import SOUND, TAMPERED, UNVERIFIABLE, Refused
from storage.condition import is_indexed
from storage.engine import connect_resting, connect_writer, sqlite3
from storage.errors import RegionRefused
from storage.note import parse_verifiers
from storage.operations import SignCheckpoint
from storage.schema import migrate
from storage.shape import Shape, read_shape
from storage.tables import BOOK, FIRST, LEDGER
from tests.storage.audited import noted
from tests.storage.desk import Desk, forget
from tests.storage.former import without_policies, without_spans
from tests.storage.powerloss import Image

ENDLESS = (
    "CREATE VIEW v(rowid, size, note) AS WITH RECURSIVE c(x) AS (SELECT 0 UNION ALL SELECT x + 1 FROM c)"
    " SELECT x, x, printf('%.20000c', 'a') FROM c"
)


@pytest.fixture
def region(tmp_path: Path) -> Desk:
    """A closed region with entries of three calls and of none."""
    desk = Desk(tmp_path)
    desk.do(*map(noted, range(40)), SignCheckpoint())
    desk.close()
    return desk


def doctor(desk: Desk, *statements: str) -> None:
    """Do this to the region's file, as somebody does who may write to its schema."""
    with contextlib.closing(connect_writer(desk.data / "region.db")) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        for statement in statements:
            connection.execute(statement)


def respelt(name: str, old: str, new: str) -> tuple[str, ...]:
    """Another statement for this object, while its pages stay as they are."""
    return (
        "PRAGMA writable_schema = ON",
        f"UPDATE sqlite_schema SET sql = replace(sql, '{old}', '{new}') WHERE name = '{name}'",
        "PRAGMA schema_version = 4711",
    )


def fault(desk: Desk) -> str | None:
    """What is wrong with the shape of the region's file."""
    with contextlib.closing(connect_resting(desk.data / "region.db")) as connection:
        return read_shape(connection).fault


ATTACKS: dict[str, tuple[tuple[str, ...], str]] = {
    "a trigger": (
        ("CREATE TRIGGER t AFTER INSERT ON entries BEGIN DELETE FROM presences; END",),
        "trigger t on entries does not belong there",
    ),
    "a view": (("CREATE VIEW v AS SELECT 1",), "view v does not belong there"),
    "a table": (("CREATE TABLE more(x)",), "table more does not belong there"),
    "a table of a strange name": (('CREATE TABLE "x\ny"(x)',), "table of a strange name does not belong there"),
    "an index": (("CREATE INDEX i ON entries(hash)",), "index i on entries does not belong there"),
    "statistics": (("ANALYZE",), "table sqlite_stat1 does not belong there"),
    "a column": (("ALTER TABLE entries ADD COLUMN more TEXT",), "table entries is not as it was made"),
    "a generated column": (
        ("DROP TABLE timestamps", "CREATE TABLE timestamps(size INTEGER PRIMARY KEY, token AS (zeroblob(900000000)))"),
        "table timestamps is not as it was made",
    ),
    "a column of another type": (
        respelt("entries", "call INTEGER", "call REAL"),
        "table entries is not as it was made",
    ),
    "a table that is not strict": (respelt("entries", ") STRICT", ")"), "table entries is not as it was made"),
    "only another case": (respelt("checkpoints", "note TEXT", "note text"), "table checkpoints is not as it was made"),
    "a view in a table's place": (
        ("ALTER TABLE checkpoints RENAME TO kept", "CREATE VIEW checkpoints AS SELECT * FROM kept"),
        "table checkpoints is not as it was made",
    ),
    "an endless virtual table": (
        (
            "DROP TABLE checkpoints",
            ENDLESS,
            "CREATE VIRTUAL TABLE checkpoints USING fts5(size, note, content='v', content_rowid='rowid')",
        ),
        "table checkpoints is not as it was made",
    ),
    "an index of some presences": (
        ("DROP INDEX presences_call", "CREATE INDEX presences_call ON presences(call) WHERE id < 9"),
        "index presences_call is not as it was made",
    ),
    "an index removed": (("DROP INDEX presences_call",), "index presences_call is missing"),
    "where the tail begins removed": (
        ("ALTER TABLE head DROP COLUMN spanned",),
        "table head is not as it was made",
    ),
    "the spans removed": (("DROP TABLE spans",), "index entries_call is missing"),
    "an index of a rule removed": (
        (
            *respelt("calls", ", UNIQUE (call, organization)", ""),
            "DELETE FROM sqlite_schema WHERE name = 'sqlite_autoindex_calls_1'",
        ),
        "table calls is not as it was made",
    ),
    "a table removed": (("DROP TABLE witnessed",), "table witnessed is missing"),
    "the note of migrations removed": (("DROP TABLE _sqlite_migrations",), "table _sqlite_migrations is missing"),
    "a migration not noted": (
        ("DELETE FROM _sqlite_migrations WHERE name = 'ledger'",),
        "the migrations that were applied are not those that are noted",
    ),
    "a migration of a newer version": (
        ("INSERT INTO _sqlite_migrations VALUES (9, 'storage', 'later', '')",),
        "the migrations that were applied are not those that are noted",
    ),
}


@pytest.mark.parametrize(("statements", "said"), ATTACKS.values(), ids=ATTACKS)
def test_a_file_of_another_shape_is_refused_by_all(region: Desk, statements: tuple[str, ...], said: str) -> None:
    """The verifier calls it tampered with and names the object; the gateway does not start and writes nothing."""
    doctor(region, *statements)
    found = verify(region.data, parse_verifiers(region.region.verifier))
    assert found == (TAMPERED, f"tampered: {region.data / 'region.db'}: {said}")
    before = Image.of(region.data.parent.parent)
    with pytest.raises(RegionRefused, match="or run the version that wrote it") as refusal:
        Desk(region.data.parent.parent)
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert Image.of(region.data.parent.parent) == before


def test_a_broken_schema_is_refused_by_all(region: Desk) -> None:
    """Also where the engine's own words about it are no text."""
    doctor(
        region,
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_schema SET name = cast(x'ff' AS TEXT), sql = cast(x'ff' AS TEXT) WHERE name = 'witnessed'",
    )
    assert verify(region.data, parse_verifiers(region.region.verifier)).exit == TAMPERED
    with pytest.raises(RegionRefused):
        Desk(region.data.parent.parent)


def test_the_schemas_own_table_cannot_be_replaced(region: Desk) -> None:
    """Whatever stands in the schema under the schema's name does not become what is read as the schema."""
    for name in ("sqlite_master", "sqlite_schema", "sqlite_temp_schema"):
        doctor(
            region,
            "PRAGMA writable_schema = ON",
            "DELETE FROM sqlite_schema WHERE name LIKE 'sqlite_%' AND name NOT LIKE 'sqlite_auto%'",
            "INSERT INTO sqlite_schema SELECT 'table', "
            f"'{name}', '{name}', rootpage, 'CREATE TABLE IF NOT EXISTS {name}(type, name, tbl_name, rootpage, sql)'"
            " FROM sqlite_schema WHERE name = 'witnessed'",
        )
        assert verify(region.data, parse_verifiers(region.region.verifier)).exit == TAMPERED


GUESTS = {
    "_litestream_seq": "CREATE TABLE IF NOT EXISTS _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER)",
    "_litestream_lock": "CREATE TABLE IF NOT EXISTS _litestream_lock (id INTEGER)",
}
"""What litestream 0.5.17 says to the engine."""


@pytest.mark.parametrize("made", [list(GUESTS), list(GUESTS)[:1], list(GUESTS)[1:]], ids=len)
def test_what_litestream_makes_is_tolerated(region: Desk, made: list[str]) -> None:
    """By the gateway and by the verifier, both or one of them: it may be killed in between."""
    doctor(region, *(GUESTS[name] for name in made))
    assert fault(region) is None
    assert verify(region.data, parse_verifiers(region.region.verifier)).exit == SOUND
    again = Desk(region.data.parent.parent)
    again.do(noted(40), SignCheckpoint())
    again.close()
    assert verify(region.data, parse_verifiers(region.region.verifier)).exit == SOUND


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        (("CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY, seq TEXT)",), "table _litestream_seq does not belong"),
        (("CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY, seq  INTEGER)",), "table _litestream_seq does not"),
        (("CREATE TABLE _litestream_lock (id INTEGER, more)",), "table _litestream_lock does not belong there"),
        (("CREATE TABLE _LITESTREAM_LOCK (id INTEGER)",), "table _LITESTREAM_LOCK does not belong there"),
        (("CREATE TABLE _litestream_more (id INTEGER)",), "table _litestream_more does not belong there"),
        (
            ("CREATE VIEW _litestream_lock(id) AS SELECT leaf FROM entries",),
            "view _litestream_lock does not belong there",
        ),
        ((*GUESTS.values(), "CREATE INDEX i ON _litestream_seq(seq)"), "index i on _litestream_seq does not belong"),
        (
            (
                *GUESTS.values(),
                "CREATE TRIGGER t AFTER UPDATE ON _litestream_seq BEGIN DELETE FROM presences; END",
            ),
            "trigger t on _litestream_seq does not belong there",
        ),
        (
            (*GUESTS.values(), *respelt("_litestream_lock", "id INTEGER", "id INTEGER CHECK (id)")),
            "table _litestream_lock does not belong there",
        ),
        (("CREATE VIRTUAL TABLE _litestream_seq USING fts5(id, seq)",), "does not belong there"),
    ],
)
def test_what_only_looks_like_litestreams_is_refused(region: Desk, statements: tuple[str, ...], said: str) -> None:
    """A letter more, another kind of object, and whatever hangs on its tables."""
    doctor(region, *statements)
    found = verify(region.data, parse_verifiers(region.region.verifier))
    assert found.exit == TAMPERED
    assert said in found.line
    with pytest.raises(RegionRefused, match="does not belong there"):
        Desk(region.data.parent.parent)


def test_a_guest_twice_is_refused(region: Desk) -> None:
    """One of them would hide behind the other."""
    doctor(
        region,
        *GUESTS.values(),
        "PRAGMA writable_schema = ON",
        "INSERT INTO sqlite_schema SELECT * FROM sqlite_schema WHERE name = '_litestream_lock'",
    )
    assert verify(region.data, parse_verifiers(region.region.verifier)).exit == TAMPERED
    with pytest.raises(RegionRefused):
        Desk(region.data.parent.parent)


def test_what_the_migrations_make_has_no_fault(tmp_path: Path, region: Desk) -> None:
    """At every stage at which a crash or an older version may have left it; what is new is made by the next start."""
    assert fault(region) is None
    path = tmp_path / "region.db"
    path.touch()
    with contextlib.closing(connect_writer(path)) as connection:
        for statements, expected in (((), False), (BOOK[:1], False), (BOOK[1:], False), (FIRST, False), (LEDGER, True)):
            for statement in statements:
                connection.execute(statement)
            if statements in (FIRST, LEDGER):
                name = "first" if statements == FIRST else "ledger"
                connection.execute("INSERT INTO _sqlite_migrations(migration_set, name) VALUES ('storage', ?)", (name,))
            assert read_shape(connection) == Shape(expected, None)
    path.unlink()
    path.touch()
    migrate(path)
    with contextlib.closing(connect_writer(path)) as connection:
        assert read_shape(connection) == Shape(True, None)


@pytest.mark.parametrize("made", range(len(BOOK) + 1))
def test_a_file_whose_making_was_cut_off_is_made_whole(tmp_path: Path, made: int) -> None:
    """Power may go between the table of migrations and its index: the next start makes what is missing, at any time."""
    path = tmp_path / "region.db"
    path.touch()
    with contextlib.closing(connect_writer(path)) as connection:
        for statement in BOOK[:made]:
            connection.execute(statement)
    migrate(path)
    with contextlib.closing(connect_writer(path)) as connection:
        assert read_shape(connection) == Shape(True, None)
        connection.execute('DROP INDEX "idx__sqlite_migrations_migration_set_name"')
    migrate(path)
    with contextlib.closing(connect_writer(path)) as connection:
        assert read_shape(connection) == Shape(True, None)


def test_a_file_from_before_there_was_a_ledger(region: Desk) -> None:
    """It is opened and brought up to date; the verifier has nothing to verify. With more in it, it is refused."""
    ledger = ("event_entries", "witnessed", "timestamps", "cosignatures", "checkpoints", "head", "tiles")
    drop = [f"DROP TABLE {name}" for name in ledger]
    root = region.data.parent.parent
    with contextlib.closing(connect_writer(region.data / "region.db")) as connection:
        without_policies(connection)
    doctor(region, *drop)
    assert fault(region) == "the migrations that were applied are not those that are noted"
    doctor(region, "DELETE FROM _sqlite_migrations WHERE name = 'ledger'", "CREATE VIEW v AS SELECT 1")
    with pytest.raises(RegionRefused, match="view v does not belong there"):
        Desk(root)
    doctor(region, "DROP VIEW v")
    assert verify(region.data, parse_verifiers(region.region.verifier)).exit == UNVERIFIABLE
    doctor(region, "CREATE VIEW v AS SELECT 1")
    (region.keys / "identity.json").unlink()
    forget(region.keys)
    with pytest.raises(RegionRefused, match="view v does not belong there"):
        Desk(root)
    doctor(region, "DROP VIEW v")
    (region.keys / "verifier.vkey").unlink()
    (region.keys / "signing.key").unlink()
    again = Desk(root)
    again.close()
    assert verify(again.data, parse_verifiers(again.region.verifier)).exit == SOUND


# -- indexes ----------------------------------------------------------------------------------------------------------


def indexed(desk: Desk) -> None:
    """The region's file is one of before there were spans."""
    with contextlib.closing(connect_writer(desk.data / "region.db")) as connection:
        without_spans(connection)


def partial(condition: str) -> tuple[str, ...]:
    """The index of entries by call that there was has only some, and says otherwise."""
    return (
        "DROP INDEX entries_call",
        f"CREATE INDEX entries_call ON entries(call) WHERE call IS NOT NULL AND {condition}",
        *respelt("entries_call", f" AND {condition}", ""),
    )


@pytest.mark.parametrize("condition", ["seq < 30", "seq <> 0", "seq <> 20", "call <> 1", "seq <> 38"])
def test_an_index_that_leaves_entries_out_is_found(region: Desk, condition: str) -> None:
    """Nobody is left out of a report because an index does not show his entries."""
    indexed(region)
    assert verify(region.data, parse_verifiers(region.region.verifier)).exit == SOUND
    doctor(region, *partial(condition))
    found = verify(region.data, parse_verifiers(region.region.verifier))
    assert found.exit == TAMPERED
    assert "missing from index entries_call" in found.line
    before = Image.of(region.data.parent.parent)
    with pytest.raises(RegionRefused, match="the index of the entries does not fit them"):
        Desk(region.data.parent.parent)
    assert Image.of(region.data.parent.parent) == before


def test_an_index_of_calls_that_leaves_one_out_is_found(region: Desk) -> None:
    """A call that is not found by its name would be made a second time."""
    doctor(
        region,
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE name = 'events_until')"
        " WHERE name = 'sqlite_autoindex_calls_1'",
    )
    assert verify(region.data, parse_verifiers(region.region.verifier)).exit == TAMPERED


@pytest.mark.parametrize("condition", ["seq <> 0", "seq <> 399"])
def test_the_start_counts_what_calls_at_the_end_have(tmp_path: Path, condition: str) -> None:
    """However far back an entry of theirs is missing; entries from before there were stamps are looked for, too."""
    desk = Desk(tmp_path)
    desk.do(*(noted(each) for each in range(0, 1600, 4)), SignCheckpoint())
    desk.close()
    indexed(desk)
    doctor(desk, *partial(condition))
    with contextlib.closing(connect_writer(desk.data / "region.db")) as connection:
        assert not is_indexed(connection)
        connection.execute("UPDATE entries SET leaf = x'7b7d'")
        assert is_indexed(connection) == (condition == "seq <> 0")
        connection.execute("UPDATE entries SET leaf = x'7b'")
        assert not is_indexed(connection)


def test_the_start_looks_at_the_end_only(tmp_path: Path) -> None:
    """What an index hides of a call that ended long ago is the verifier's to find."""
    desk = Desk(tmp_path)
    desk.do(*map(noted, range(1, 400, 4)), *(noted(each) for each in range(3, 2000, 4)), SignCheckpoint())
    desk.close()
    indexed(desk)
    doctor(desk, *partial("seq < 20"))
    with contextlib.closing(connect_resting(desk.data / "region.db")) as connection:
        assert is_indexed(connection)
    assert verify(desk.data, parse_verifiers(desk.region.verifier)).exit == TAMPERED


def test_a_journal_cannot_bring_tables_in(region: Desk) -> None:
    """What an old journal beside the file puts back into it is compared as well, before any of it is used."""
    path = region.data / "region.db"
    journal = region.data / "region.db-journal"
    doctor(region, "PRAGMA journal_mode = DELETE")
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in ("PRAGMA synchronous = OFF", "CREATE VIEW v AS SELECT 1", "BEGIN", "DROP VIEW v"):
        connection.execute(statement)
    hot = journal.read_bytes()
    connection.execute("COMMIT")
    connection.close()
    assert fault(region) is None
    journal.write_bytes(hot)
    with pytest.raises(RegionRefused, match="view v does not belong there"):
        Desk(region.data.parent.parent)


# -- what the file is read by -----------------------------------------------------------------------------------------


def test_a_linked_file_is_read_with_its_log(tmp_path: Path) -> None:
    """The log beside the file itself counts, and so does whoever has it open, whatever link led there."""
    desk = Desk(tmp_path)
    desk.do(*map(noted, range(9)), SignCheckpoint())
    verifiers = parse_verifiers(desk.region.verifier)
    (tmp_path / "away").mkdir()
    link = tmp_path / "away" / "link.db"
    link.symlink_to(desk.data / "region.db")
    assert (desk.data / "region.db-wal").stat().st_size
    assert "9 entries" in verify(link, verifiers).line
    log = (desk.data / "region.db-wal").read_bytes()
    file = (desk.data / "region.db").read_bytes()
    desk.close()
    (desk.data / "region.db").write_bytes(file)
    (desk.data / "region.db-wal").write_bytes(log)
    assert verify(link, verifiers) == verify(desk.data, verifiers)
    assert "9 entries" in verify(link, verifiers).line
    with contextlib.closing(connect_resting(link)) as connection:
        assert connection.execute("SELECT count(*) FROM entries").fetchone() == (9,)
    with pytest.raises(Refused, match="written while it was read"), reading(link):
        (desk.data / "region.db-wal").write_bytes(log[:-1])
    link.unlink()
    link.symlink_to(link)
    assert verify(link, verifiers).exit == UNVERIFIABLE


def test_no_page_of_a_schema_stops_the_verifier(region: Desk) -> None:
    """Bytes of any value in the first pages end in a verdict, and never otherwise."""
    chance = random.Random(11)
    path = region.data / "region.db"
    whole = path.read_bytes()
    verifiers = parse_verifiers(region.region.verifier)
    for _ in range(300):
        changed = bytearray(whole)
        for _ in range(chance.choice((1, 8, 40))):
            at = chance.randrange(100, 4096)
            changed[at] = chance.randrange(256)
        path.write_bytes(changed)
        assert verify(region.data, verifiers).exit in (SOUND, TAMPERED, UNVERIFIABLE)


@pytest.mark.parametrize(
    ("error", "code"),
    [(MemoryError(), UNVERIFIABLE), (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x"), TAMPERED)],
    ids=["memory", "text"],
)
def test_what_the_engine_stumbles_over_is_a_verdict(region: Desk, error: Exception, code: int) -> None:
    """A value too large for this machine says nothing of the ledger; words that are no text are damage."""
    with pytest.raises(Refused) as refused, reading(region.data):
        raise error
    assert refused.value.verdict.exit == code
