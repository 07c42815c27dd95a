"""The ledger as it grows: stamps, the stored tree, checkpoints signed with what they cover, and the keys they need."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from storage.clock import Reading
from storage.engine import connect_writer, sqlite3
from storage.entry import canonical
from storage.errors import OperationFailed, RegionRefused
from storage.merkle import includes, is_consistent, leaf_hash
from storage.moment import microseconds
from storage.note import Checkpoint, parse_verifiers
from storage.operations import Append, SealPresence, SignCheckpoint
from storage.reader import Reader
from storage.signing import opened
from tests.storage.desk import CALL, MONTH, START, Desk, append, message
from tests.storage.former import without_policies

OTHER = ("contoso", "call-2")
SECOND = 1_000_000


class Hands:
    """The machine's clocks, moved by a test."""

    def __init__(self) -> None:
        self.boot, self.ticks, self.wall = "boot", 5 * SECOND, microseconds(START)

    def __call__(self) -> Reading:
        return Reading(self.boot, self.ticks, self.wall)

    def pass_time(self, microseconds: int) -> None:
        self.ticks += microseconds
        self.wall += microseconds


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
def timed(tmp_path: Path, hands: Hands) -> Iterator[Desk]:
    """A region whose clocks a test moves."""
    desk = Desk(tmp_path, clock=hands)
    yield desk
    desk.close()


def leaves(desk: Desk) -> list[bytes]:
    return desk.ask(lambda reader: reader.entries(0, reader.size()))


def entries(desk: Desk) -> list[dict[str, object]]:
    return [json.loads(leaf) for leaf in leaves(desk)]


def shown(desk: Desk) -> Checkpoint:
    """The newest checkpoint, its signature verified."""
    assert desk.region.checkpoint is not None
    checkpoint, _ = opened(desk.region.checkpoint, parse_verifiers(desk.region.verifier))
    return checkpoint


def root_of(hashes: Sequence[bytes]) -> bytes:
    """RFC 6962 §2.1, as it stands there."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    split = 1 << (len(hashes) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + root_of(hashes[:split]) + root_of(hashes[split:])).digest()


def await_true(asked: Callable[[], bool]) -> None:
    """Wait for the writer's thread; a checkpoint is at most half a second away."""
    limit = time.monotonic() + 20
    while not asked():
        assert time.monotonic() < limit
        time.sleep(0.01)


def refused(desk: Path, *words: str) -> None:
    with pytest.raises(RegionRefused) as caught:
        Desk(desk)
    assert all(word in str(caught.value) for word in words), str(caught.value)


# -- stamps -----------------------------------------------------------------------------------------------------------


def test_an_entry_says_how_long_after_the_one_before_it_stands(timed: Desk, hands: Hands) -> None:
    """Measured by the writer, who decides the order; entries of one commit follow one another at once."""
    timed.do(append("one"), append("two"))
    hands.pass_time(1_500)
    timed.do(append("three"))
    assert [each["after_us"] for each in entries(timed)] == [0, 0, 1_500]


def test_an_entry_says_how_many_of_its_call_stand_before_it(desk: Desk) -> None:
    """So that a missing one shows without the rest of the ledger; an entry about no call says nothing."""
    desk.do(append("a", CALL), append("b", OTHER), append("c"), append("d", CALL))
    desk.do(append("e", CALL), append("f", OTHER))
    assert [each.get("ahead") for each in entries(desk)] == [0, 0, None, 1, 2, 1]


def test_the_count_goes_on_after_a_restart(tmp_path: Path) -> None:
    """It is the ledger's, not the process's."""
    first = Desk(tmp_path)
    first.do(append("a", CALL), append("b", CALL))
    first.close()
    again = Desk(tmp_path)
    again.do(append("c", CALL))
    assert [each["ahead"] for each in entries(again)] == [0, 1, 2]
    again.close()


def test_a_refused_submission_leaves_no_hole_in_the_count(desk: Desk) -> None:
    """What is rolled back was never there: for the stamps, the tree and the numbers."""
    person = SealPresence("p_1", CALL, "8:acs:r_1", b"{}", START)
    desk.do(append("a", CALL), person)
    with contextlib.closing(connect_writer(desk.data / "region.db")) as other:
        # Whoever holds the file makes what is submitted meanwhile one group.
        other.execute("BEGIN IMMEDIATE")
        desk.submit(append("b", CALL))
        waiting = [desk.submit(append("c", CALL), person), desk.submit(append("d", CALL))]
        other.execute("ROLLBACK")
    with pytest.raises(OperationFailed):
        waiting[0].result(30)
    assert waiting[1].result(30) == (2,)
    assert [(each["text"], each["ahead"]) for each in entries(desk)] == [("a", 0), ("b", 1), ("d", 2)]
    desk.do(SignCheckpoint())
    assert shown(desk).root == root_of([leaf_hash(leaf) for leaf in leaves(desk)])


def test_stamped_entries_are_canonical(desk: Desk) -> None:
    """The stamps sort before every other key, so the leaf stays what RFC 8785 makes of it."""
    desk.do(append("ü", CALL), Append(canonical({"at": "x", "b": [1, {"z": None, "y": True}]}), None))
    for leaf in leaves(desk):
        assert canonical(json.loads(leaf)) == leaf


@pytest.mark.parametrize(
    "leaf",
    [b"", b"{}", b"text", b'"text"', b"[]", b'{"after_us":1,"b":2}', b'{"ahead":1,"b":2}', b'{"aged":1}', b'{ "b":1}'],
)
def test_nobody_else_stamps(desk: Desk, leaf: bytes) -> None:
    """A leaf is a canonical object that leaves room for the stamps; anything else is refused alone."""
    with pytest.raises(OperationFailed):
        desk.do(Append(leaf, None))
    assert desk.do(append("fine")) == (0,)


@pytest.mark.parametrize("by", [3600 * SECOND, -3600 * SECOND])
def test_a_jump_of_the_wall_clock_is_an_entry(timed: Desk, hands: Hands, by: int) -> None:
    """It stands where it was noticed and moves nothing: order and measured time are not the wall clock's."""
    timed.do(append("before"))
    hands.pass_time(2_000)
    hands.wall += by
    timed.do(append("after"))
    found = entries(timed)
    assert [each.get("text", each.get("kind")) for each in found] == ["before", "clock.jumped", "after"]
    assert (found[1]["by_ms"], found[1]["after_us"], found[2]["after_us"]) == (by // 1000, 2_000, 0)
    assert timed.do(append("once")) == (3,)


def test_a_jump_while_the_gateway_was_down_is_an_entry_too(tmp_path: Path, hands: Hands) -> None:
    """The boot clock went on meanwhile, and what it said is stored."""
    first = Desk(tmp_path, clock=hands)
    first.do(append("before"))
    first.close()
    hands.pass_time(60 * SECOND)
    hands.wall += 7 * SECOND
    again = Desk(tmp_path, clock=hands)
    again.do(append("after"))
    found = entries(again)
    assert (found[1]["kind"], found[1]["by_ms"], found[1]["after_us"]) == ("clock.jumped", 7_000, 60 * SECOND)
    again.close()


def test_a_new_boot_is_an_entry(tmp_path: Path, hands: Hands) -> None:
    """Then nobody can say how long after the entry before."""
    first = Desk(tmp_path, clock=hands)
    first.do(append("before"))
    first.close()
    hands.boot, hands.ticks = "another", 1
    again = Desk(tmp_path, clock=hands)
    again.do(append("after"))
    found = entries(again)
    assert [each.get("text", each.get("kind")) for each in found] == ["before", "clock.began", "after"]
    assert (found[1]["after_us"], found[2]["after_us"]) == (0, 0)
    again.close()


def test_a_clock_set_ahead_expires_nothing(timed: Desk, hands: Hands) -> None:
    """F18: a sweep by the clock deletes what is due by measured time; a person's word for the time is taken."""
    timed.do(message())
    hands.wall += 40 * 24 * 3600 * SECOND
    ahead = START + timedelta(days=40)
    assert timed.region.sweep(ahead, 10, by_clock=True).result(30).deleted == 0
    timed.do(append("later"))
    assert timed.region.sweep(ahead, 10, by_clock=True).result(30).deleted == 0
    assert timed.region.sweep(ahead, 10).result(30).deleted == 1


def test_time_that_passed_expires(timed: Desk, hands: Hands) -> None:
    """Also while nothing is written, and to the very moment."""
    timed.do(message())
    hands.pass_time(30 * 24 * 3600 * SECOND - 1)
    assert timed.region.sweep(START + MONTH, 10, by_clock=True).result(30).deleted == 0
    hands.pass_time(1)
    assert timed.region.sweep(START + MONTH, 10, by_clock=True).result(30).deleted == 1


def test_a_jump_of_an_hour_deletes_nothing_early(timed: Desk, hands: Hands) -> None:
    """F18: what is due within the hour that never passed stays, and goes when it is really due."""
    timed.do(message())
    hands.pass_time(30 * 24 * 3600 * SECOND - 1800 * SECOND)
    hands.wall += 3600 * SECOND
    ahead = START + MONTH + timedelta(minutes=30)
    assert timed.region.sweep(ahead, 10, by_clock=True).result(30).deleted == 0
    hands.pass_time(1800 * SECOND - 1)
    assert timed.region.sweep(ahead + timedelta(minutes=30), 10, by_clock=True).result(30).deleted == 0
    hands.pass_time(1)
    assert timed.region.sweep(ahead + timedelta(minutes=30), 10, by_clock=True).result(30).deleted == 1


@pytest.mark.parametrize("boot", ["boot", "another"], ids=["the machine was on", "the machine was off"])
def test_a_week_without_a_gateway_is_made_good_at_once(tmp_path: Path, hands: Hands, boot: str) -> None:
    """What fell due meanwhile goes with the first sweep by the clock, and the certificate says how late."""
    first = Desk(tmp_path, clock=hands)
    first.do(message(), message(participant="8:acs:r_2", sent_at=START + timedelta(days=6)))
    first.close()
    hands.pass_time(35 * 24 * 3600 * SECOND)
    hands.boot = boot
    again = Desk(tmp_path, clock=hands)
    assert again.region.sweep(START + timedelta(days=35), 10, by_clock=True).result(30).deleted == 1
    (certificate,) = again.ask(lambda reader: reader.certificates())
    assert certificate["late_ms"] == 5 * 24 * 3600 * 1000
    again.close()


# -- the tree ---------------------------------------------------------------------------------------------------------


def test_the_stored_tree_is_that_of_the_rfc(tmp_path: Path) -> None:
    """Whatever the batches and restarts: every checkpoint's root is that of the leaves it covers."""
    chance = random.Random(3)
    for _ in range(3):
        desk = Desk(tmp_path)
        for size in (1, chance.randrange(2, 200), chance.randrange(200, 800), 256):
            desk.do(*(append(str(number)) for number in range(size)), SignCheckpoint())
        desk.close()
    desk = Desk(tmp_path)
    hashes = [leaf_hash(leaf) for leaf in leaves(desk)]
    stored = desk.ask(lambda reader: reader._execute("SELECT size, note FROM checkpoints ORDER BY size").fetchall())
    assert len(stored) >= 13
    verifiers = parse_verifiers(desk.region.verifier)
    for size, note in stored:
        checkpoint, _ = opened(note, verifiers)
        assert (checkpoint.origin, checkpoint.size) == ("notification-gateway/europe", size)
        assert checkpoint.root == root_of(hashes[:size])
    tiles = desk.ask(lambda reader: reader._execute("SELECT level, tile, hashes FROM tiles").fetchall())
    above = [root_of(hashes[start : start + 256]) for start in range(0, len(hashes) // 256 * 256, 256)]
    assert tiles == [(1, 0, b"".join(above))]
    desk.close()


def test_proofs_hold(desk: Desk) -> None:
    """Of every entry in every size, and of every size in every later one."""
    desk.do(*(append(str(number)) for number in range(300)), SignCheckpoint())
    hashes = [leaf_hash(leaf) for leaf in leaves(desk)]
    for entry, size in ((0, 1), (0, 300), (255, 256), (255, 300), (256, 257), (299, 300), (17, 90)):
        path = desk.ask(partial(Reader.inclusion, entry=entry, size=size))
        assert includes(entry, size, hashes[entry], path, root_of(hashes[:size]))
    for old, new in ((1, 300), (255, 256), (256, 300), (299, 300), (300, 300)):
        path = desk.ask(partial(Reader.consistency, old=old, new=new))
        assert is_consistent(old, new, path, root_of(hashes[:old]), root_of(hashes[:new]))


@pytest.mark.parametrize(("entry", "size"), [(5, 5), (4, 6), (-1, 5), (0, 0), (10**9, 10**9 + 1)])
def test_no_proof_of_what_is_not_there(desk: Desk, entry: int, size: int) -> None:
    """An entry beyond the size or a size beyond the ledger has no path."""
    desk.do(*(append(str(number)) for number in range(5)))
    with pytest.raises(ValueError):
        desk.ask(lambda reader: reader.inclusion(entry, size))


@pytest.mark.parametrize(("old", "new"), [(5, 4), (4, 6), (-1, 5), (6, 6)])
def test_no_proof_of_what_does_not_follow(desk: Desk, old: int, new: int) -> None:
    """A size beyond the ledger, or one that comes before, is refused."""
    desk.do(*(append(str(number)) for number in range(5)))
    with pytest.raises(ValueError):
        desk.ask(lambda reader: reader.consistency(old, new))


def test_an_entry_is_found_by_its_event(desk: Desk) -> None:
    """The newest that tells of it, should a crash have had it told twice."""
    desk.do(append("x"), Append(b'{"text":"e"}', None, event=b"digest"), Append(b'{"text":"f"}', None, event=b"other"))
    found = desk.ask(lambda reader: reader.event_entry(b"digest"))
    assert found == (1, leaves(desk)[1])
    desk.do(Append(b'{"text":"g"}', None, event=b"digest"))
    found = desk.ask(lambda reader: reader.event_entry(b"digest"))
    assert found is not None
    assert found[0] == 3
    assert desk.ask(lambda reader: reader.event_entry(b"none")) is None


# -- checkpoints ------------------------------------------------------------------------------------------------------


def test_a_new_region_has_a_checkpoint_of_nothing(desk: Desk) -> None:
    """There is always one to show."""
    checkpoint = shown(desk)
    assert (checkpoint.size, checkpoint.root) == (0, hashlib.sha256(b"").digest())


def test_the_last_entry_is_covered_soon(desk: Desk) -> None:
    """Nobody asks for it, and nothing more is written."""
    desk.do(append("one"))
    desk.do(append("two"))
    await_true(lambda: shown(desk).size == 2)


def test_a_checkpoint_asked_for_is_there_with_the_answer(desk: Desk) -> None:
    """It is signed in the commit that carries the request out, and covers all of it."""
    for number in range(5):
        desk.do(append("a"), SignCheckpoint(), append("b"))
        assert shown(desk).size == 2 * number + 2
    desk.do(SignCheckpoint())
    assert shown(desk).size == 10


def test_closing_covers_everything(tmp_path: Path) -> None:
    """What an auditor finds in the file of a stopped gateway is signed to its end."""
    desk = Desk(tmp_path)
    desk.do(append("one"))
    desk.do(append("two"))
    desk.close()
    assert shown(desk).size == 2


def test_an_unfinished_checkpoint_is_finished_at_start(tmp_path: Path) -> None:
    """What a crash left unsigned is covered as soon as the region is open."""
    desk = Desk(tmp_path)
    desk.do(append("one"))
    desk.close()
    with contextlib.closing(connect_writer(desk.data / "region.db")) as connection:
        connection.execute("DELETE FROM checkpoints WHERE size > 0")
    again = Desk(tmp_path)
    assert shown(again).size == 1
    again.close()


# -- keys -------------------------------------------------------------------------------------------------------------


def test_the_public_halves_lie_beside_the_keys(desk: Desk) -> None:
    """`verifier.vkey` has a line for checkpoints and one for cosignatures; nothing secret is in it."""
    text = (desk.keys / "verifier.vkey").read_text()
    assert text == desk.region.verifier
    assert [each.name for each in parse_verifiers(text)] == [desk.region.origin, f"{desk.region.origin}/witness"]
    for key in ("signing.key", "witness.key"):
        assert (desk.keys / key).stat().st_mode & 0o777 == 0o600
        assert (desk.keys / key).read_text().split("+", 4)[-1].strip() not in text


def test_a_removed_verifier_is_written_anew(tmp_path: Path) -> None:
    """It follows from the keys."""
    desk = Desk(tmp_path)
    desk.close()
    (desk.keys / "verifier.vkey").unlink()
    Desk(tmp_path).close()
    assert (desk.keys / "verifier.vkey").read_text() == desk.region.verifier


@pytest.mark.parametrize("key", ["signing.key", "witness.key"])
def test_a_lost_key_is_not_made_anew(tmp_path: Path, key: str) -> None:
    """Another key would be another ledger to everyone who verifies."""
    desk = Desk(tmp_path)
    desk.close()
    (desk.keys / key).unlink()
    refused(tmp_path, "no key", key)
    assert not (desk.keys / key).exists()


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\xff\xfe", b"PRIVATE+KEY+a+b+c"])
def test_a_key_that_is_none_is_refused_without_being_shown(tmp_path: Path, content: bytes) -> None:
    """What cannot be read may still be a secret."""
    desk = Desk(tmp_path)
    desk.close()
    (desk.keys / "signing.key").write_bytes(content)
    with pytest.raises(RegionRefused) as caught:
        Desk(tmp_path)
    assert "no signing key" in str(caught.value)
    assert "PRIVATE" not in str(caught.value)


def test_the_two_keys_are_not_mixed_up(tmp_path: Path) -> None:
    """A witness's key signs no checkpoint."""
    desk = Desk(tmp_path)
    desk.close()
    shutil.copy(desk.keys / "witness.key", desk.keys / "signing.key")
    refused(tmp_path, "another kind", "signing.key")


def test_another_signing_key_is_refused(tmp_path: Path) -> None:
    """A ledger goes on under the key that signed it, or not at all."""
    desk, other = Desk(tmp_path / "a"), Desk(tmp_path / "b")
    desk.close()
    other.close()
    shutil.copy(other.keys / "signing.key", desk.keys / "signing.key")
    refused(tmp_path / "a", "not the key that signed", "signing.key")


def test_a_foreign_verifier_is_refused(tmp_path: Path) -> None:
    """Whoever handed it on would verify nothing."""
    desk, other = Desk(tmp_path / "a"), Desk(tmp_path / "b")
    desk.close()
    other.close()
    shutil.copy(other.keys / "verifier.vkey", desk.keys / "verifier.vkey")
    refused(tmp_path / "a", "does not fit", "verifier.vkey")


# -- before there was a tree ------------------------------------------------------------------------------------------


def without_tree(desk: Desk) -> list[tuple[int, bytes]]:
    """Make a closed region what it was before ledgers were trees; its entries."""
    with contextlib.closing(connect_writer(desk.data / "region.db")) as connection:
        without_policies(connection)
        for table in ("event_entries", "witnessed", "timestamps", "cosignatures", "checkpoints", "head", "tiles"):
            connection.execute(f"DROP TABLE {table}")
        connection.execute("DELETE FROM _sqlite_migrations WHERE name = 'ledger'")
        found: list[tuple[int, bytes]] = []
        for seq, leaf in connection.execute("SELECT seq, leaf FROM entries").fetchall():
            fields = {key: each for key, each in json.loads(leaf).items() if key not in ("after_us", "ahead")}
            found.append((seq, canonical(fields)))
        connection.executemany(
            "UPDATE entries SET leaf = ?, hash = ? WHERE seq = ?", [(leaf, leaf_hash(leaf), seq) for seq, leaf in found]
        )
    for key in ("signing.key", "witness.key", "verifier.vkey", "newest"):
        (desk.keys / key).unlink()
    return found


def test_a_ledger_from_before_becomes_a_tree(tmp_path: Path) -> None:
    """Keys are made for it, its entries stay as they are, and counting goes on behind them."""
    desk = Desk(tmp_path)
    desk.do(*(append(str(number), CALL if number % 2 else None) for number in range(600)))
    desk.close()
    found = without_tree(desk)
    again = Desk(tmp_path)
    assert leaves(again) == [leaf for _, leaf in found]
    assert shown(again).root == root_of([leaf_hash(leaf) for _, leaf in found])
    again.do(append("next", CALL), SignCheckpoint())
    stamped = json.loads(leaves(again)[600])
    assert (stamped["after_us"], stamped["ahead"]) == (0, 300)
    assert shown(again).root == root_of([leaf_hash(leaf) for leaf in leaves(again)])
    again.close()


def test_the_engine_joins_blobs_as_they_are(tmp_path: Path) -> None:
    """Tiles are lengthened in place, whatever bytes they hold."""
    connection = sqlite3.connect(":memory:")
    every = bytes(range(256))
    (joined,) = connection.execute("SELECT CAST(? || ? AS BLOB)", (every, b"\x00\xff" + every)).fetchone()
    connection.close()
    assert joined == every + b"\x00\xff" + every


def test_what_refers_to_an_entry_is_written_behind_it(desk: Desk) -> None:
    """A foreign key left open for a moment would have SQLite look through all that refer to entries, for each one."""
    said: list[str] = []
    desk.do(append("first"))
    desk.region._writer._ledger._connection.set_trace_callback(said.append)
    desk.do(Append(canonical({"kind": "event"}), None, event=b"\x01" * 32), append("second"))
    desk.region._writer._ledger._connection.set_trace_callback(None)
    (told,) = [place for place, each in enumerate(said) if "INTO event_entries" in each]
    assert max(place for place, each in enumerate(said) if "INTO entries" in each) < told
