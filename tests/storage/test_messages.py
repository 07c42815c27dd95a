"""The last message of a participant: which one counts, and that the others are gone for good."""

from __future__ import annotations

import itertools
import json
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.operations import KeepMessage, MessageOutcome
from storage.residue import scan
from tests.storage.desk import MONTH, START, Desk, message

WHO = "8:acs:r_1"
LATER = timedelta(milliseconds=1)


def stored(desk: Desk, participant: str = WHO) -> tuple[str, int] | None:
    found = desk.ask(lambda reader: reader.message(participant))
    return None if found is None else (found.content, found.version)


def test_a_message_is_kept_whole(desk: Desk) -> None:
    """What was said comes back with its expiry, 30 days after sending as the caller decided."""
    assert desk.do(message("hällo\n")) == (MessageOutcome("stored", START + MONTH),)
    found = desk.ask(lambda reader: reader.message(WHO))
    assert found is not None
    assert (found.participant, found.thread, found.message, found.version) == (WHO, "t", "m1", 1)
    assert (found.content, found.sent_at, found.expires_at) == ("hällo\n", START, START + MONTH)
    assert desk.ask(lambda reader: reader.kept.every()) == [found]
    assert "hällo" not in repr(found)


def test_the_newest_wins_over_all_threads(desk: Desk) -> None:
    """A later message supersedes; an earlier one that arrives late does not; a tie goes by version."""
    desk.do(message("first"), message("second", thread="u", message="m2", sent_at=START + LATER))
    assert stored(desk) == ("second", 1)
    assert desk.do(message("late", message="m0")) == (MessageOutcome("ignored", None),)
    tie = message("tie", message="m3", version=2, sent_at=START + LATER)
    assert desk.do(tie)[0].kind == "stored"
    assert stored(desk) == ("tie", 2)


def test_participants_do_not_touch_each_other(desk: Desk) -> None:
    """The same thread and message id of another participant is another message."""
    desk.do(message("mine"), message("theirs", participant="8:acs:r_2"))
    desk.do(message(deleted=True, participant="8:acs:r_2", version=2))
    assert stored(desk) == ("mine", 1)
    assert stored(desk, "8:acs:r_2") is None


def test_an_edit_replaces_and_never_goes_back(desk: Desk) -> None:
    """A higher version replaces; lower and equal ones are ignored; the equal one says when the copy expires."""
    desk.do(message("one"), message("three", version=3))
    assert desk.do(message("two", version=2)) == (MessageOutcome("ignored", None),)
    assert desk.do(message("three again", version=3)) == (MessageOutcome("ignored", START + MONTH),)
    assert stored(desk) == ("three", 3)


@pytest.mark.parametrize("version", [1, 2])
def test_a_deletion_erases_for_good(desk: Desk, version: int) -> None:
    """A deletion of this version or a later one erases; no version it covers comes back."""
    desk.do(message("one"))
    assert desk.do(message(deleted=True, version=version)) == (MessageOutcome("deleted", None),)
    assert stored(desk) is None
    for late in range(1, version + 1):
        assert desk.do(message("again", version=late))[0].kind == "ignored"
    assert stored(desk) is None


def test_a_deletion_may_come_first(desk: Desk) -> None:
    """A deletion that overtook its message keeps it out; a deletion of something else erases nothing."""
    assert desk.do(message(deleted=True, version=2))[0].kind == "ignored"
    assert desk.do(message("late"))[0].kind == "ignored"
    desk.do(message("other", message="m2"))
    desk.do(message(deleted=True, message="m3"), message(deleted=True, thread="u", message="m2", version=9))
    assert stored(desk) == ("other", 1)


def test_an_older_deletion_leaves_a_newer_edit(desk: Desk) -> None:
    """A late deletion of an earlier version does not erase what was written after it."""
    desk.do(message("three", version=3))
    assert desk.do(message(deleted=True, version=2))[0].kind == "ignored"
    assert stored(desk) == ("three", 3)


def test_a_superseded_message_does_not_come_back(desk: Desk) -> None:
    """Not even after the one that superseded it was deleted; nor one that was too old when it came."""
    desk.do(message("old"), message("new", message="m2", sent_at=START + LATER), message("older", message="m0"))
    desk.do(message(deleted=True, message="m2", sent_at=START + LATER))
    assert desk.do(message("old"), message("older", message="m0")) == (MessageOutcome("ignored", None),) * 2
    assert stored(desk) is None


def test_what_is_due_is_never_stored(desk: Desk) -> None:
    """A message that arrives at its expiry or after it is not kept; a millisecond before, it is."""
    assert desk.do(message("late", at=START + MONTH))[0].kind == "ignored"
    assert desk.do(message("late", at=START + MONTH + LATER))[0].kind == "ignored"
    assert desk.do(message("in time", at=START + MONTH - LATER))[0].kind == "stored"


def test_the_ledger_tells_of_copies_and_not_of_people(desk: Desk) -> None:
    """Each copy has an entry when it is stored, superseded and deleted, without anything personal."""
    desk.do(message("one"), message("two", version=2), message(deleted=True, version=3))
    first, second, third = (json.loads(leaf) for leaf in desk.leaves())
    due = "2026-12-23T14:00:00.123Z"
    at = "2026-11-23T14:00:00.123Z"
    assert first == {"kind": "message.stored", "copy": first["copy"], "due_at": due, "at": at}
    assert second == {**first, "copy": second["copy"], "superseded": first["copy"]}
    assert third == {"kind": "message.deleted", "copy": second["copy"], "at": at}
    assert len(first["copy"]) == 28
    assert first["copy"].startswith("m_")


def test_needles_are_in_no_file_while_stored_nor_after(desk: Desk) -> None:
    """Bodies, people and threads stand in no file in any guise, the log included; the live one can be read."""
    needles = [b'Needle one \xc3\xa4"/x', b"Needle two 22222", b"8:acs:needle_person", b"19:needlethread@x"]
    texts = [needle.decode() for needle in needles]

    def said(content: int, version: int = 1, deleted: bool = False) -> KeepMessage:
        return message(texts[content], participant=texts[2], thread=texts[3], version=version, deleted=deleted)

    root = desk.data.parent.parent
    desk.do(said(0))
    assert stored(desk, texts[2]) == (texts[0], 1)
    assert scan(root, needles) == []
    desk.do(said(1, 2))
    assert stored(desk, texts[2]) == (texts[1], 2)
    assert scan(root, needles) == []
    desk.do(said(0, 3, deleted=True))
    assert scan(root, needles) == []
    assert (desk.data / "region.db-wal").stat().st_size > 0
    desk.close()
    assert scan(root, needles) == []


SAID = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3)), min_size=1, max_size=5)


@settings(max_examples=15, deadline=None)
@given(said=SAID, times=st.permutations([0, 1, 2]))
def test_any_order_of_arrival_ends_alike(
    tmp_path_factory: pytest.TempPathFactory, said: list[tuple[int, int]], times: list[int]
) -> None:
    """Messages and edits, in whatever order and however often they come, leave the newest (sent_at, version)."""
    desk = Desk(tmp_path_factory.mktemp("order"))
    orders = list(itertools.islice(itertools.permutations(said), 24))
    for number, order in enumerate(orders):
        for which, version in (*order, *order[::-1]):
            moment = START + times[which] * LATER
            content = f"{which}.{version}"
            desk.submit(
                message(content, participant=f"p{number}", message=f"m{which}", version=version, sent_at=moment)
            )
    desk.do()
    newest = max(said, key=lambda each: (times[each[0]], each[1]))
    for number in range(len(orders)):
        assert stored(desk, f"p{number}") == (f"{newest[0]}.{newest[1]}", newest[1])
    desk.close()
