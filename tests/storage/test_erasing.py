"""Erasing a person: what goes, what stays, when it waits, and that no crash and no backup brings anybody back."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from storage.backup import back_up
from storage.engine import sqlite3
from storage.errors import RegionRefused, StorageUnavailable
from storage.merkle import includes, leaf_hash
from storage.note import parse_checkpoint, parse_note
from storage.operations import AskErasure, Erased, SignCheckpoint
from storage.premises import Premises
from storage.region import LEDGER
from storage.residue import scan
from storage.restore import restore
from tests.storage.desk import CALL, MONTH, START, Desk, append, forget, message
from tests.storage.former import without_policies
from tests.storage.ruled import (
    ANN,
    BOB,
    CALLS,
    DAY,
    INSTANT,
    edit,
    erase,
    fill_with_ann,
    hold,
    kinds,
    last,
    policy,
    presence,
    rows,
    sweep,
    without,
)
from tests.storage.test_crash import ROOT, run_to_death
from tests.storage.test_failing_disk import files_no_longer_than

WHEN = START + DAY
OTHER = ("contoso", "call-2")


def asked(at: datetime = WHEN, participant: str = ANN, resource: str = "r") -> AskErasure:
    return AskErasure(participant, resource, at)


def is_gone(desk: Desk, participant: str = ANN) -> bool:
    """Whether nothing of a person can be found any more, by name or by hash."""
    person = desk.region._keys.vault.look_up("person", participant)
    found = rows(
        desk, "SELECT 1 FROM presences WHERE person = ?1 UNION ALL SELECT 1 FROM messages WHERE person = ?1", [person]
    )
    named = [each for each in desk.ask(lambda reader: reader.kept.rules()) if participant in each.participants]
    boxes = {**desk.ask(lambda reader: reader.presences(CALL)), **desk.ask(lambda reader: reader.presences(OTHER))}
    opened = [name for name, box in boxes.items() if box == f"box of {participant}".encode()]
    return not (found or named or opened or desk.ask(lambda reader: reader.message(participant)))


def is_as_ever(desk: Desk, participant: str = BOB) -> bool:
    """Whether everything that `fill_with_ann` wrote of somebody is there."""
    stored = desk.ask(lambda reader: reader.message(participant))
    boxes = {**desk.ask(lambda reader: reader.presences(CALL)), **desk.ask(lambda reader: reader.presences(OTHER))}
    named = [
        each.name
        for each in desk.ask(lambda reader: reader.kept.rules())
        if participant in each.participants and each.kind == "policy"
    ]
    return (
        stored is not None
        and len(named) == 1
        and sum(box == f"box of {participant}".encode() for box in boxes.values()) == 2
    )


def verified(desk: Desk) -> str:
    """What the verifier says of the closed region's file."""
    public = desk.keys / "verifier.vkey"
    done = subprocess.run(
        [sys.executable, "-m", "storage.audit", "ledger", "verify", desk.data / "region.db", "--key", public],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout or done.stderr


# -- what goes ------------------------------------------------------------------------------------------------------


def test_a_person_is_erased_whole(desk: Desk) -> None:
    """Messages, who they were in every call, and what names them in rules; nobody else's. It is certified."""
    fill_with_ann(desk)
    assert desk.do(asked()) == ((),)
    assert erase(desk, WHEN) == [Erased(CALL, ("p_1",), WHEN), Erased(OTHER, ("p_2",), WHEN)]
    assert is_gone(desk)
    assert is_as_ever(desk)
    assert desk.ask(lambda reader: reader.presences(CALL)) == {"p_1": None, "p_3": f"box of {BOB}".encode()}
    certificate = last(desk, "retention.certificate")
    assert certificate == {
        "kind": "retention.certificate",
        "class": "person",
        "asked_at": "2026-11-24T14:00:00.123Z",
        "at": "2026-11-24T14:00:00.123Z",
        "late_ms": 0,
        "presences": 2,
        "messages": 1,
        "slots": 3,
        "checked": 3,
        "intent": certificate["intent"],
    }
    assert last(desk, "presence.erased")["presences"] == ["p_2"]
    assert rows(desk, "SELECT * FROM erasures") == rows(desk, "SELECT * FROM shredding") == []


def test_nobody_can_be_found_in_what_is_left(desk: Desk, tmp_path: Path) -> None:
    """No file names them in any guise; the journal is forty bytes of hash and time; no entry does."""
    fill_with_ann(desk)
    desk.do(asked())
    erase(desk, WHEN)
    journal = (desk.keys / "erasures").read_bytes()
    person = desk.region._keys.vault.look_up("person", ANN)
    assert journal == person + int(WHEN.timestamp() * 1_000_000).to_bytes(8, "big")
    assert scan(tmp_path, [b"_ann", b"text of", b"box of"]) == []
    assert b"ann" not in b"".join(desk.leaves())
    desk.close()
    assert scan(tmp_path, [b"_ann", b"text of", b"box of"]) == []


def test_what_is_erased_opens_from_no_backup(desk: Desk, tmp_path: Path) -> None:
    """Boxes of messages, presences and rules that an older copy of the file holds have lost their keys."""
    fill_with_ann(desk)
    shutil.copytree(desk.data, tmp_path / "backup")
    with sqlite3.connect(tmp_path / "backup" / "region.db") as backup:
        found = [
            (table, row, slot, box)
            for table, row in (("messages", "copy"), ("presences", "presence"), ("rules", "kind || '/' || name"))
            for row, slot, box in backup.execute(f"SELECT {row}, slot, box FROM {table}")
        ]
    vault = desk.region._keys.vault
    hers = [each for each in found if b"ann" in (vault.open(*each) or b"")]
    others = [each for each in found if each not in hers]
    assert (len(hers), len(others)) == (4, 4)
    desk.do(asked())
    erase(desk, WHEN)
    assert [vault.open(*each) for each in hers] == [None] * 4
    assert None not in [vault.open(*each) for each in others]


def test_presences_of_many_calls_go_in_batches(desk: Desk) -> None:
    """More than one step takes; each is certified, and each call's entries name all of its presences."""
    names = [f"p_{number}" for number in range(1_100)]
    desk.do(*(presence(name, call=("contoso", f"call-{number % 3}")) for number, name in enumerate(names)))
    desk.do(message(participant=ANN), asked())
    steps = [desk.region.sweep(WHEN, 500).result(30) for _ in range(4)]
    assert [each.persons for each in steps] == [0, 0, 1, 0]
    assert [each.remaining for each in steps] == [True, True, True, False]
    assert sorted(name for step in steps for each in step.erased for name in each.presences) == sorted(names)
    certificates = desk.ask(lambda reader: reader.certificates())
    assert [(each["presences"], each["messages"]) for each in certificates] == [(500, 0), (500, 0), (100, 1)]
    assert is_gone(desk)


def test_many_copies_go_in_batches(desk: Desk) -> None:
    """What a hold kept of somebody may be much; a step takes no more of it than of anything."""
    desk.do(hold(), *(message(f"text {number}", participant=ANN, version=number + 1) for number in range(30)))
    desk.do(presence("p_1"), without("hold", "h"), asked())
    steps = [desk.region.sweep(WHEN, 10).result(30) for _ in range(4)]
    assert [each.deleted for each in steps] == [9, 10, 10, 1]
    assert [each.persons for each in steps] == [0, 0, 0, 1]


def test_who_is_unknown_is_erased_without_a_word(desk: Desk) -> None:
    """Nothing there, nothing announced; asked twice or again later, nothing is done twice."""
    desk.do(asked(), asked())
    assert erase(desk, WHEN) == []
    fill_with_ann(desk)
    desk.do(asked(WHEN + INSTANT), asked(WHEN + INSTANT))
    assert len(erase(desk, WHEN + INSTANT)) == 2
    size = len(desk.leaves())
    desk.do(asked(WHEN + DAY))
    assert erase(desk, WHEN + DAY) == []
    assert len(desk.leaves()) == size


def test_a_late_duplicate_stays_out(desk: Desk) -> None:
    """Delivered again, even after the policy went that would have deleted it early, it is remembered."""
    desk.do(policy("delete", 3), message(participant=ANN), asked())
    erase(desk, WHEN)
    desk.do(without("policy", "p"))
    assert sweep(desk, START + 4 * DAY) == 0
    assert desk.do(message(participant=ANN, at=START + 4 * DAY))[0].kind == "ignored"
    assert desk.do(message("new", participant=ANN, message="m2", at=START + 4 * DAY))[0].kind == "stored"


# -- holds ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", CALLS)
def test_a_hold_forbids_an_erasure_until_its_release(tmp_path: Path, scope: str) -> None:
    """It is remembered, across a restart too; what was held is there until then, and goes at the next sweep."""
    desk = Desk(tmp_path)
    fill_with_ann(desk)
    desk.do(hold(**CALLS[scope]))
    assert desk.do(asked()) == (("h",),)
    assert last(desk, "erasure.waiting")["held_by"] == ["h"]
    assert erase(desk, WHEN) == []
    assert is_as_ever(desk, ANN)
    assert not (desk.keys / "erasures").exists()
    desk.close()
    again = Desk(tmp_path)
    assert is_as_ever(again, ANN)
    assert again.ask(lambda reader: reader.kept.retained(ANN, "r", WHEN)).erasure_asked_at == WHEN
    again.do(without("hold", "h"))
    assert len(erase(again, WHEN + 9 * DAY)) == 2
    assert is_gone(again)
    certificate = next(each for each in again.ask(lambda reader: reader.certificates()) if each["class"] == "person")
    assert (certificate["asked_at"], certificate["late_ms"]) == ("2026-11-24T14:00:00.123Z", 9 * 86_400_000)
    again.close()


def test_a_hold_set_after_the_asking_is_in_time(desk: Desk) -> None:
    """What is not erased yet is kept; others who asked later need not wait for them."""
    fill_with_ann(desk)
    desk.do(asked(), hold(participants=(ANN,)), asked(WHEN + INSTANT, BOB, "f"))
    assert len(erase(desk, WHEN + DAY)) == 2
    assert is_gone(desk, BOB)
    assert is_as_ever(desk, ANN)


def test_a_hold_set_after_a_disk_refused_the_erasure_is_in_time(tmp_path: Path) -> None:
    """The journal named them already, nothing was erased, and then they were held: a restart does not go on."""
    desk = Desk(tmp_path)
    fill_with_ann(desk)
    desk.do(asked())
    with files_no_longer_than((desk.data / "region.db-wal").stat().st_size), pytest.raises(StorageUnavailable):
        desk.region.sweep(WHEN, 500).result(30)
    assert (desk.keys / "erasures").stat().st_size == 40
    desk.do(hold(organizations=("contoso",), at=WHEN + INSTANT))
    desk.close()
    again = Desk(tmp_path)
    assert is_as_ever(again, ANN)
    assert erase(again, WHEN + DAY) == []
    assert is_as_ever(again, ANN)
    again.do(without("hold", "h"))
    assert len(erase(again, WHEN + DAY)) == 2
    assert is_gone(again)
    again.close()


def test_an_erasure_wants_to_know_of_messages_from_before_policies(tmp_path: Path) -> None:
    """A hold on their thread forbids it though the row does not know its thread yet."""
    desk = Desk(tmp_path)
    desk.do(*(message(participant=f"8:acs:r_{number}") for number in range(3_000)), presence("p_1", "8:acs:r_2999"))
    desk.close()
    edit(tmp_path, without_policies)
    again = Desk(tmp_path)
    assert again.do(hold(threads=("t",)), asked(participant="8:acs:r_2999"))[1] == ("h",)
    again.close()


# -- who comes back, and clocks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [timedelta(0), INSTANT, timedelta(hours=-1), timedelta(days=-400)])
def test_who_comes_back_is_there_like_anybody(tmp_path: Path, offset: timedelta) -> None:
    """What is sealed after the erasure stays at later opens, in that very moment and by a clock set back too."""
    desk = Desk(tmp_path)
    fill_with_ann(desk)
    desk.do(asked())
    erase(desk, WHEN)
    at = WHEN + offset
    desk.do(presence("p_back", at=at), message("back", participant=ANN, message="m9", sent_at=at, at=at))
    desk.do(policy("delete", 20, name="back", participants=(ANN,), at=at))
    desk.close()
    for _ in range(2):
        again = Desk(tmp_path)
        assert again.ask(lambda reader: reader.presences(CALL))["p_back"] == f"box of {ANN}".encode()
        stored = again.ask(lambda reader: reader.message(ANN))
        assert stored is not None
        naming = [each.name for each in again.ask(lambda reader: reader.kept.rules()) if ANN in each.participants]
        assert naming == ["back"]
        again.close()
    once_more = Desk(tmp_path)
    once_more.do(asked(at + INSTANT))
    assert len(erase(once_more, at + INSTANT)) == 1
    assert is_gone(once_more)
    once_more.close()


def test_no_policy_that_named_somebody_is_about_them_when_they_come_back(desk: Desk) -> None:
    """The policy stays, about whoever else it names, and at last about nobody; never about everyone."""
    desk.do(policy("retain", 365, participants=(ANN, BOB)), asked(), asked(WHEN, BOB, "f"))
    erase(desk, WHEN)
    for participant in (ANN, BOB, "8:acs:s_1"):
        desk.do(message(participant=participant, sent_at=WHEN))
    assert sweep(desk, WHEN + MONTH - INSTANT) == 0
    assert sweep(desk, WHEN + MONTH) == 3


def test_what_was_sealed_by_a_clock_ahead_is_erased_too(desk: Desk) -> None:
    """What is there is there: that its time is yet to come keeps nothing."""
    ahead = WHEN + 400 * DAY
    desk.do(presence("p_1", at=ahead), message(participant=ANN, sent_at=WHEN, at=ahead - 390 * DAY), asked())
    desk.do(policy(participants=(ANN,), at=ahead))
    assert erase(desk, WHEN) == [Erased(CALL, ("p_1",), WHEN)]
    assert is_gone(desk)


# -- the journal, and backups -----------------------------------------------------------------------------------------


def copy_then(root: Path) -> None:
    """Everything of a closed region as it is now, below `root / "then"`."""
    for each in ("data", "keys"):
        shutil.copytree(root / each, root / "then" / each)


def put_back(root: Path, *what: str) -> None:
    """Files of a closed region as they were when `root / "then"` was copied, by somebody who deceives its keys."""
    forget(root / "keys" / "europe")
    for each in what:
        if each == "data":
            shutil.rmtree(root / "data")
            shutil.copytree(root / "then" / "data", root / "data")
        else:
            shutil.copy(root / "then" / "keys" / "europe" / each, root / "keys" / "europe" / each)


def erased_since(root: Path, before: Callable[[Desk], object] = lambda desk: None) -> None:
    """A copy of everything, and then Ann is erased."""
    desk = Desk(root)
    fill_with_ann(desk)
    before(desk)
    desk.close()
    copy_then(root)
    again = Desk(root)
    again.do(without("hold", "h"), asked())
    erase(again, WHEN)
    assert is_gone(again)
    again.close()


@pytest.mark.parametrize("what", [("data",), ("data", "slots")])
@pytest.mark.parametrize("then", ["lived", "waited under a hold"])
def test_a_backup_put_back_brings_nobody_back(tmp_path: Path, what: tuple[str, ...], then: str) -> None:
    """An older file with its older keys: they are erased again before anything is answered, and nobody else is."""

    def wait(desk: Desk) -> None:
        if then == "waited under a hold":
            desk.do(hold(participants=(ANN,)), asked(START))
            assert erase(desk, START) == []

    erased_since(tmp_path, wait)
    put_back(tmp_path, *what)
    desk = Desk(tmp_path)
    first = desk.ask(lambda reader: (reader.message(ANN), reader.presences(CALL), reader.kept.rules()))
    assert first[0] is None
    assert first[1]["p_1"] is None
    assert not any(ANN in each.participants for each in first[2])
    assert is_gone(desk)
    if "slots" in what:
        assert is_as_ever(desk)
    assert [each["class"] for each in desk.ask(lambda reader: reader.certificates())] == ["person"]
    desk.do(SignCheckpoint())
    desk.close()
    assert verified(desk).startswith("sound:")
    again = Desk(tmp_path)
    assert len(again.ask(lambda reader: reader.certificates())) == 1
    again.close()


def test_a_restore_brings_nobody_back(tmp_path: Path) -> None:
    """The command that takes a backup for good, with an older copy of the key slots too: erased before it answers."""
    desk = Desk(tmp_path)
    fill_with_ann(desk)
    desk.do(SignCheckpoint())
    region = Premises("europe", desk.data, desk.keys)
    list(back_up([region], tmp_path / "copies"))
    slots = (desk.keys / "slots").read_bytes()
    desk.do(asked())
    erase(desk, WHEN)
    desk.close()
    shutil.rmtree(tmp_path / "data")
    (desk.keys / "slots").write_bytes(slots)
    restore([region], ["europe"], tmp_path / "copies", ledger=LEDGER, at=WHEN)
    again = Desk(tmp_path)
    assert again.ask(lambda reader: reader.message(ANN)) is None
    assert is_gone(again)
    assert is_as_ever(again)
    again.close()
    assert verified(again).startswith("sound:")


def test_a_policy_that_a_backup_brings_back_names_nobody_who_was_erased(tmp_path: Path) -> None:
    """Even where nothing else is there of them."""
    desk = Desk(tmp_path)
    desk.do(policy("delete", 20, participants=(ANN, BOB)))
    desk.close()
    copy_then(tmp_path)
    desk = Desk(tmp_path)
    desk.do(asked())
    erase(desk, WHEN)
    desk.close()
    put_back(tmp_path, "data", "slots")
    again = Desk(tmp_path)
    assert [each.participants for each in again.ask(lambda reader: reader.kept.rules())] == [(BOB,)]
    again.close()


def test_many_are_erased_again(tmp_path: Path) -> None:
    """In batches, however much a backup brought back."""
    desk = Desk(tmp_path)
    desk.do(*(presence(f"p_{number}") for number in range(1_100)), presence("p_bob", BOB))
    desk.close()
    copy_then(tmp_path)
    desk = Desk(tmp_path)
    desk.do(asked())
    erase(desk, WHEN)
    desk.close()
    put_back(tmp_path, "data", "slots")
    again = Desk(tmp_path)
    boxes = again.ask(lambda reader: reader.presences(CALL))
    assert [name for name, box in boxes.items() if box is not None] == ["p_bob"]
    again.close()


@pytest.mark.parametrize("damage", ["torn", "missing", "foreign", "empty"])
def test_a_journal_that_is_not_whole_erases_nobody_else(tmp_path: Path, damage: str) -> None:
    """A torn end, none at all, or another region's: the region opens, everybody is as they were, and it goes on."""
    erased_since(tmp_path)
    journal = tmp_path / "keys" / "europe" / "erasures"
    whole = journal.read_bytes()
    if damage == "torn":
        journal.write_bytes(whole + whole[:17])
    elif damage == "missing":
        journal.unlink()
    elif damage == "foreign":
        journal.write_bytes(b"x" * 80)
    else:
        journal.write_bytes(b"")
    desk = Desk(tmp_path)
    assert is_gone(desk)
    assert is_as_ever(desk)
    desk.do(asked(WHEN + DAY, BOB, "f"))
    assert len(erase(desk, WHEN + DAY)) == 2
    desk.close()
    kept = journal.read_bytes()
    assert len(kept) == {"torn": 80, "missing": 40, "foreign": 120, "empty": 40}[damage]
    again = Desk(tmp_path)
    assert is_gone(again, BOB)
    again.close()


@pytest.mark.parametrize("how", ["link", "mode"])
def test_a_journal_that_others_may_touch_is_refused(tmp_path: Path, how: str) -> None:
    """As any key file."""
    erased_since(tmp_path)
    journal = tmp_path / "keys" / "europe" / "erasures"
    if how == "link":
        journal.rename(tmp_path / "elsewhere")
        journal.symlink_to(tmp_path / "elsewhere")
    else:
        journal.chmod(0o644)
    with pytest.raises(RegionRefused):
        Desk(tmp_path)


def test_without_the_journal_nothing_is_erased(desk: Desk) -> None:
    """Where it cannot be written nothing goes; when it can, everything does."""
    fill_with_ann(desk)
    desk.do(asked())
    (desk.keys / "erasures").mkdir()
    with pytest.raises(StorageUnavailable, match="journal"):
        desk.region.sweep(WHEN, 500).result(30)
    assert is_as_ever(desk, ANN)
    (desk.keys / "erasures").rmdir()
    erase(desk, WHEN)
    assert is_gone(desk)


# -- the ledger -----------------------------------------------------------------------------------------------------


def test_what_was_proved_stays_proved(desk: Desk) -> None:
    """Entries from before keep their leaf, their proof and their checkpoint; the ledger verifies as a whole."""
    fill_with_ann(desk)
    desk.do(append("something"), SignCheckpoint())
    found = desk.ask(lambda reader: reader.checkpoint())
    assert found is not None
    size, note = found
    before = [desk.ask(lambda reader, seq=seq: (reader.leaf(seq), reader.inclusion(seq, size))) for seq in range(size)]  # type: ignore[misc]
    desk.do(asked())
    erase(desk, WHEN)
    desk.do(SignCheckpoint())
    after = [desk.ask(lambda reader, seq=seq: (reader.leaf(seq), reader.inclusion(seq, size))) for seq in range(size)]  # type: ignore[misc]
    assert before == after
    root = parse_checkpoint(parse_note(note).body).root
    for seq, (leaf, path) in enumerate(after):
        assert leaf is not None
        assert includes(seq, size, leaf_hash(leaf), path, root)
    desk.close()
    assert verified(desk).startswith("sound:")


@pytest.mark.parametrize("when", ["before the commit", "before shredding", "amid shredding", "before the certificate"])
def test_an_erasure_cut_short_is_finished_at_the_next_open(tmp_path: Path, when: str) -> None:
    """Killed at any step the journal names them; the next open erases the rest, certifies it once, and answers then."""
    run_to_death("erase", tmp_path, when)
    assert (tmp_path / "keys" / "europe" / "erasures").stat().st_size == 40
    desk = Desk(tmp_path)
    assert is_gone(desk)
    assert is_as_ever(desk)
    (certificate,) = desk.ask(lambda reader: reader.certificates())
    assert (certificate["presences"], certificate["messages"], certificate["slots"]) == (2, 1, 3)
    assert certificate["asked_at"] == "2026-11-24T14:00:00.123Z"
    assert kinds(desk).count("presence.erased") == 2
    assert erase(desk, WHEN) == []
    assert rows(desk, "SELECT * FROM erasures") == rows(desk, "SELECT * FROM shredding") == []
    desk.do(SignCheckpoint())
    desk.close()
    assert verified(desk).startswith("sound:")
