"""Policies and holds on a real region: whom they are about, when they count, and what they never do."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from storage.errors import OperationFailed
from storage.operations import MoveCall, NameCall, OpenCall, Rule, SetRule
from storage.retention import Terms
from tests.storage.desk import CALL, MONTH, START, TERMS, Desk, message
from tests.storage.former import without_policies
from tests.storage.ruled import (
    ANN,
    BOB,
    CALLS,
    DAY,
    ELSEWHERE,
    INSTANT,
    SCOPES,
    Action,
    contents,
    edit,
    hold,
    kinds,
    last,
    policy,
    presence,
    reviewed,
    rows,
    sweep,
    without,
)
from tests.storage.test_crash import run_to_death


def ann(content: str = "hers", **more: Any) -> Any:
    return message(content, participant=ANN, **more)


def bob(content: str = "his", **more: Any) -> Any:
    return message(content, participant=BOB, thread="v", **more)


# -- policies -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("when", ["before the message", "after it"])
def test_a_policy_is_about_its_scope(desk: Desk, scope: str, when: str) -> None:
    """Whatever names her, her message goes by the policy to the millisecond, set before or after it came."""
    operations = [ann(), policy("delete", 7, **SCOPES[scope])]
    desk.do(*(operations if when == "after it" else reversed(operations)))
    assert sweep(desk, START + 7 * DAY - INSTANT) == 0
    assert sweep(desk, START + 7 * DAY) == 1
    decided = last(desk, "retention.certificate")["decided"]
    assert decided == [{"count": 1, "policies": ["p"], "principle": "only"}]


@pytest.mark.parametrize("scope", ELSEWHERE)
@pytest.mark.parametrize("action", ["delete", "retain", "retain_then_delete"])
def test_a_policy_is_about_nobody_else(desk: Desk, scope: str, action: Action) -> None:
    """Where nothing names her, her message goes after the default, neither sooner nor later."""
    desk.do(policy(action, 7, **ELSEWHERE[scope]), policy(action, 365, name="q", **ELSEWHERE[scope]), ann())
    assert sweep(desk, START + MONTH - INSTANT) == 0
    assert sweep(desk, START + MONTH) == 1
    assert last(desk, "retention.certificate")["decided"][0]["policies"] == ["default"]


@pytest.mark.parametrize(
    ("action", "days", "due", "hidden"),
    [
        ("delete", 1, 1, 1),
        ("delete", 30, 30, 30),
        ("delete", 31, 31, 31),
        ("retain", 7, 30, 30),
        ("retain", 30, 30, 30),
        ("retain", 31, 31, 31),
        ("retain_then_delete", 7, 7, 7),
        ("retain_then_delete", 31, 31, 31),
        ("delete", 36_500, 36_500, 36_500),
    ],
)
def test_each_kind_of_policy_to_the_millisecond(desk: Desk, action: Action, days: int, due: int, hidden: int) -> None:
    """A millisecond before it is due a message is there, and at that millisecond it goes."""
    desk.do(policy(action, days), ann())
    found = desk.ask(lambda reader: reader.message(ANN))
    assert found is not None
    assert (found.expires_at, found.hidden_at) == (START + due * DAY, START + hidden * DAY)
    assert sweep(desk, START + due * DAY - INSTANT) == 0
    assert contents(desk) == [(None, "hers")]
    assert sweep(desk, START + due * DAY) == 1
    assert contents(desk) == []


def test_retention_wins_over_deletion_and_hides_what_is_deleted(desk: Desk) -> None:
    """What one policy deletes and another retains is out of sight after the one and gone after the other."""
    desk.do(policy("delete", 3), policy("retain", 10, name="q"), ann())
    found = desk.ask(lambda reader: reader.message(ANN))
    assert found is not None
    assert (found.hidden_at, found.expires_at) == (START + 3 * DAY, START + 10 * DAY)
    assert sweep(desk, START + 10 * DAY - INSTANT) == 0
    assert sweep(desk, START + 10 * DAY) == 1


def test_a_policy_counts_for_what_it_finds_overdue(desk: Desk) -> None:
    """Set when its days are long over, the next sweep deletes; the certificate says how late it was."""
    desk.do(ann(), bob())
    desk.do(policy("delete", 1, participants=(ANN,), at=START + 10 * DAY))
    assert sweep(desk, START + 10 * DAY) == 1
    assert contents(desk) == [(None, "his")]
    assert last(desk, "retention.certificate")["late_ms"] == 9 * 86_400_000


def test_a_policy_that_goes_leaves_what_it_would_have_deleted(desk: Desk) -> None:
    """Removed a moment before its days are over, nothing goes before the default; removed again, nothing was."""
    desk.do(policy("delete", 7), ann())
    reviewed(desk)
    assert desk.do(without("policy", "p"), without("policy", "p"), without("hold", "p")) == (True, False, False)
    assert sweep(desk, START + MONTH - INSTANT) == 0
    assert sweep(desk, START + MONTH) == 1


def test_a_policy_set_anew_takes_the_place_of_the_former(desk: Desk) -> None:
    """The same name is the same policy, whatever it was about before; what named people before opens no more."""
    desk.do(policy("delete", 1, participants=(ANN,)), ann(), bob())
    ((slot, box),) = rows(desk, "SELECT slot, box FROM rules")
    assert desk.region._keys.vault.open("rules", "policy/p", slot, box) is not None
    desk.do(policy("delete", 1, participants=(BOB,)))
    assert desk.region._keys.vault.open("rules", "policy/p", slot, box) is None
    assert sweep(desk, START + 1 * DAY) == 1
    assert contents(desk) == [(None, "hers")]


def test_what_is_due_already_is_not_stored(desk: Desk) -> None:
    """A message that a policy would delete at once is ignored, at that millisecond too."""
    desk.do(policy("delete", 7))
    assert desk.do(ann(at=START + 7 * DAY))[0].kind == "ignored"
    assert desk.do(ann(at=START + 7 * DAY - INSTANT))[0].kind == "stored"


def test_what_a_policy_deleted_early_stays_out_when_the_policy_goes(desk: Desk) -> None:
    """Delivered again within the default's days, it is still remembered; another one is taken."""
    desk.do(policy("delete", 1), ann())
    assert sweep(desk, START + DAY) == 1
    desk.do(without("policy", "p"))
    assert desk.do(ann(at=START + 29 * DAY))[0].kind == "ignored"
    assert desk.do(ann(message="m2", at=START + 29 * DAY))[0].kind == "stored"


@pytest.mark.parametrize("action", ["retain", "retain_then_delete"])
def test_an_authors_deletion_is_kept_as_long_as_it_must_be(desk: Desk, action: Action) -> None:
    """Deleted by its author a retained message is out of sight at once and gone when the period ends, not before."""
    desk.do(policy(action, 60), ann())
    assert desk.do(ann(version=2, deleted=True, at=START + DAY))[0].kind == "deleted"
    assert desk.ask(lambda reader: reader.message(ANN)) is None
    assert last(desk, "message.deleted")["kept_until"] == "2027-01-22T14:00:00.123Z"
    assert sweep(desk, START + 60 * DAY - INSTANT) == 0
    assert contents(desk) == [("deleted", "hers")]
    assert sweep(desk, START + 60 * DAY) == 1


def test_an_authors_deletion_destroys_what_only_a_policy_deletes(desk: Desk) -> None:
    """No period of retention, nothing to keep: a policy that deletes in years keeps no deleted message."""
    desk.do(policy("delete", 3_650), ann(), ann(version=2, deleted=True))
    assert contents(desk) == []


def test_what_is_superseded_goes_whatever_retains(desk: Desk) -> None:
    """A period of retention keeps one copy, the last message: no former one, no edit, no deleted one before it."""
    desk.do(policy("retain", 365), ann("one"), ann("edit", version=2))
    assert contents(desk) == [(None, "edit")]
    desk.do(ann("two", message="m2", sent_at=START + INSTANT))
    assert contents(desk) == [(None, "two")]
    desk.do(ann(message="m2", version=2, sent_at=START + INSTANT, deleted=True))
    assert contents(desk) == [("deleted", "two")]
    desk.do(ann("three", message="m3", sent_at=START + 2 * INSTANT))
    assert contents(desk) == [(None, "three")]


def test_an_older_message_that_comes_late_does_not_push_out_a_retained_one(desk: Desk) -> None:
    """The last message, deleted by its author, is retained, though one from before it arrives only now and goes too."""
    desk.do(policy("retain", 365), ann("last", message="m2", sent_at=START + INSTANT))
    desk.do(ann(message="m2", version=2, sent_at=START + INSTANT, deleted=True))
    assert desk.do(ann("late", message="m1"))[0].kind == "stored"
    assert contents(desk) == [("deleted", "last"), (None, "late")]
    desk.do(ann(message="m1", version=2, deleted=True))
    assert contents(desk) == [("deleted", "last")]


# -- holds ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", CALLS)
@pytest.mark.parametrize("what", ["due", "superseded", "edited", "deleted"])
def test_a_hold_keeps_everything_of_whom_it_is_about(desk: Desk, scope: str, what: str) -> None:
    """Due, superseded, edited or deleted by its author: the copy stays whatever policies say, and goes on release."""
    desk.do(presence("p_1"), hold(**CALLS[scope]), policy("delete", 1), ann())
    if what == "superseded":
        desk.do(ann("two", message="m2", sent_at=START + INSTANT))
    elif what == "edited":
        desk.do(ann("two", version=2))
    elif what == "deleted":
        desk.do(ann(version=2, deleted=True))
    assert sweep(desk, START + 100 * DAY) == 0
    gone = {"due": None, "superseded": "superseded", "edited": "superseded", "deleted": "deleted"}[what]
    kept = [(gone, "hers"), *([(None, "two")] if what in ("superseded", "edited") else [])]
    assert contents(desk) == kept
    desk.do(without("hold", "h"))
    assert sweep(desk, START + 100 * DAY) == len(kept)
    assert contents(desk) == []


@pytest.mark.parametrize("scope", [*ELSEWHERE, "another call"])
def test_a_hold_keeps_nothing_else(desk: Desk, scope: str) -> None:
    """What is not in its scope is destroyed as ever, by supersession, by its author and by the sweep."""
    lists = {**ELSEWHERE, "another call": {"calls": ("call-2",)}}[scope]
    desk.do(presence("p_1"), hold(**lists), ann("one"), ann("two", message="m2", sent_at=START + INSTANT))
    assert contents(desk) == [(None, "two")]
    desk.do(ann(message="m2", version=2, sent_at=START + INSTANT, deleted=True), ann("three", message="m3"))
    assert contents(desk) == [(None, "three")]
    assert sweep(desk, START + MONTH) == 1


def test_a_message_that_arrives_under_a_hold_is_held(desk: Desk) -> None:
    """It needs no review to be kept, and entries say what holds what."""
    desk.do(hold(participants=(ANN,)))
    reviewed(desk)
    desk.do(ann(), bob())
    assert rows(desk, "SELECT held FROM messages ORDER BY id") == [(1,), (0,)]
    desk.do(ann("two", version=2))
    assert last(desk, "message.stored")["held_by"] == ["h"]
    assert sweep(desk, START + MONTH) == 1
    assert contents(desk) == [("superseded", "hers"), (None, "two")]


def test_one_hold_of_two_is_enough(desk: Desk) -> None:
    """Released by one, kept by the other."""
    desk.do(hold(), hold("other", threads=("t",)), ann(), bob())
    desk.do(without("hold", "h"))
    assert sweep(desk, START + MONTH) == 1
    assert contents(desk) == [(None, "hers")]


def test_a_release_keeps_what_is_not_due(desk: Desk) -> None:
    """What was superseded under the hold goes at once, the last message in its own time."""
    desk.do(hold(), ann("one"), ann("two", version=2), without("hold", "h"))
    assert sweep(desk, START) == 1
    assert contents(desk) == [(None, "two")]
    assert sweep(desk, START + MONTH - INSTANT) == 0


def test_a_deletion_under_hold_is_retained_after_its_release(desk: Desk) -> None:
    """A hold and a period of retention do not end each other."""
    desk.do(hold(), policy("retain", 60), ann(), ann(version=2, deleted=True), without("hold", "h"))
    assert sweep(desk, START + 60 * DAY - INSTANT) == 0
    assert sweep(desk, START + 60 * DAY) == 1


def test_a_hold_set_when_messages_are_due_is_in_time(desk: Desk) -> None:
    """Between two steps of a sweep: what is not deleted yet stays, however long it has been due."""
    desk.do(*(message(str(number), participant=f"8:acs:r_{number}") for number in range(30)))
    first = desk.region.sweep(START + MONTH, 10)
    held = desk.submit(hold())
    more = [desk.region.sweep(START + MONTH, 10) for _ in range(5)]
    held.result(30)
    assert first.result(30).deleted in (0, 10)
    deleted = first.result().deleted + sum(each.result(30).deleted for each in more)
    left = len(contents(desk))
    assert deleted + left == 30
    assert sweep(desk, START + 100 * DAY) == 0
    assert len(contents(desk)) == left >= 10


# -- holds on calls -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "how", ["presence", "opened later", "merged into it", "it merged", "alias", "its id is the thread"]
)
def test_a_hold_on_a_call_is_about_whoever_turns_out_to_be_in_it(desk: Desk, how: str) -> None:
    """Whoever is in the call, in a call that is the same one, or wrote to a thread it goes by; known later, too."""
    thread = "call-1" if how == "its id is the thread" else "t"
    desk.do(OpenCall(("", "S") if how == "opened later" else CALL), hold(calls=("call-1",)))
    desk.do(message("hers", participant=ANN, thread=thread), bob())
    reviewed(desk)
    if how in ("presence", "opened later"):
        desk.do(presence("p_1"))
    elif how == "merged into it":
        desk.do(presence("p_1", call=("", "S")), MoveCall(("", "S"), CALL))
    elif how == "it merged":
        desk.do(presence("p_1", call=("", "S")), MoveCall(CALL, ("", "S")))
    elif how == "alias":
        desk.do(NameCall(CALL, ("t", "19:meeting")))
    assert desk.region.sweep(START + MONTH, 10).result(30).deleted == 1
    assert contents(desk) == [(None, "hers")]
    desk.do(message("two", participant=ANN, thread=thread, version=2))
    assert contents(desk) == [("superseded", "hers"), (None, "two")]
    desk.do(without("hold", "h"))
    assert sweep(desk, START + MONTH) == 2


def test_a_thread_that_a_held_call_goes_by_no_more_is_released(desk: Desk) -> None:
    """Its name given to another call, what was written there is due as ever."""
    desk.do(NameCall(CALL, ("t",)), hold(calls=("call-1",)), ann())
    reviewed(desk)
    assert rows(desk, "SELECT held FROM messages") == [(1,)]
    desk.do(NameCall(CALL, ()), NameCall(("contoso", "call-2"), ("t",)))
    assert sweep(desk, START + MONTH) == 1


# -- the review -----------------------------------------------------------------------------------------------------


def test_a_review_goes_on_after_kill_9(tmp_path: Path) -> None:
    """Killed amid its third batch of several, the next open judges the rest, and nothing was deleted too early."""
    run_to_death("review", tmp_path)
    desk = Desk(tmp_path)
    reviewed(desk)
    assert rows(desk, "SELECT held, count(*) FROM messages GROUP BY held") == [(1, 1_200)]
    assert sweep(desk, START + 100 * DAY) == 0
    desk.do(without("hold", "h"))
    assert desk.close() == 0
    again = Desk(tmp_path)
    assert sweep(again, START + 100 * DAY) == 1_200
    assert again.close() == 0


def test_the_review_begins_where_it_was_left(tmp_path: Path) -> None:
    """At open only what is behind the noted place is judged: what was done is not done twice."""
    desk = Desk(tmp_path)
    desk.do(*(message(str(number), participant=f"8:acs:r_{number}") for number in range(10)), hold())
    reviewed(desk)
    desk.close()

    def forget(connection: Any) -> None:
        connection.execute("UPDATE messages SET held = 0")
        connection.execute("UPDATE review SET next = (SELECT id FROM messages ORDER BY id LIMIT 1 OFFSET 4)")

    edit(tmp_path, forget)
    again = Desk(tmp_path)
    reviewed(again)
    assert rows(again, "SELECT held FROM messages ORDER BY id") == [(0,)] * 4 + [(1,)] * 6
    assert sweep(again, START + MONTH) == 0, "what was written down does not decide"
    again.close()


@pytest.mark.parametrize("default", [timedelta(days=7), timedelta(days=60)])
def test_configured_days_count_for_what_is_stored(tmp_path: Path, default: timedelta) -> None:
    """A default changed between two runs holds for messages from before it, to the millisecond."""
    desk = Desk(tmp_path)
    desk.do(*(message(str(number), participant=f"8:acs:r_{number}") for number in range(600)))
    desk.close()
    again = Desk(tmp_path, terms=Terms(default, TERMS.organizations, TERMS.resource_of))
    assert sweep(again, START + default - INSTANT) == 0
    assert sweep(again, START + default) == 600
    again.close()


def test_whose_a_resource_is_counts_as_configured(tmp_path: Path) -> None:
    """A resource that another organisation has by now is held by that one's hold."""
    desk = Desk(tmp_path)
    desk.do(ann(), hold(organizations=("fabrikam",)))
    desk.close()
    again = Desk(tmp_path, terms=Terms(MONTH, {"r": "fabrikam"}, TERMS.resource_of))
    assert sweep(again, START + MONTH) == 0
    again.close()
    once_more = Desk(tmp_path)
    assert sweep(once_more, START + MONTH) == 1
    once_more.close()


def test_more_rows_than_one_batch(desk: Desk) -> None:
    """A rule finds every row, batch by batch, and others write in between."""
    desk.do(*(message(str(number), participant=f"8:acs:r_{number}") for number in range(1_100)))
    desk.do(policy("delete", 1))
    desk.do(*(message(str(number), participant=f"8:acs:r_{number}") for number in range(1_100, 1_200)))
    reviewed(desk)
    due_at = int((START + DAY).timestamp() * 1_000_000)
    assert rows(desk, "SELECT DISTINCT due_at / 1000 FROM messages") == [(due_at // 1000,)]
    assert sweep(desk, START + DAY, limit=250) == 1_200


# -- files from before, and broken ones -------------------------------------------------------------------------------


def made_former(root: Path, people: int) -> None:
    """A file as versions before policies wrote it."""
    desk = Desk(root)
    desk.do(*(message(f"text {number}", participant=f"8:acs:r_{number}") for number in range(people)))
    desk.close()
    edit(root, without_policies)


@pytest.mark.parametrize("scope", ["a thread", "a resource", "an organisation"])
@pytest.mark.parametrize("kind", ["policy", "hold"])
def test_messages_from_before_policies_are_judged_like_any(tmp_path: Path, scope: str, kind: str) -> None:
    """What rules need to know of them stands in their boxes, and is written down by the first review."""
    made_former(tmp_path, 600)
    desk = Desk(tmp_path)
    desk.do(policy("delete", 1, **SCOPES[scope]) if kind == "policy" else hold(**SCOPES[scope]))
    assert sweep(desk, START + (DAY if kind == "policy" else MONTH)) == (600 if kind == "policy" else 0)
    reviewed(desk)
    assert rows(desk, "SELECT count(*) FROM messages WHERE thread IS NULL OR resource IS NULL") == [(0,)]
    desk.close()


@pytest.mark.parametrize("scope", ["a thread", "a resource", "an organisation"])
def test_a_hold_keeps_what_the_review_has_not_come_to(tmp_path: Path, scope: str) -> None:
    """Superseded in the very commit of the hold, a message from before policies is kept by whatever holds it."""
    made_former(tmp_path, 3_000)
    desk = Desk(tmp_path)
    desk.do(hold(**SCOPES[scope]), message("new", participant="8:acs:r_2999", version=2))
    assert contents(desk)[-2:] == [("superseded", "text 2999"), (None, "new")]
    desk.close()


def test_the_upgrade_finishes_what_a_former_sweep_left(tmp_path: Path) -> None:
    """Slots listed without a fingerprint are overwritten and certified, and not said to have been compared."""
    run_to_death("before shredding", tmp_path)
    edit(tmp_path, without_policies)
    slots = tmp_path / "keys" / "europe" / "slots"
    before = slots.read_bytes()
    desk = Desk(tmp_path)
    (certificate,) = desk.ask(lambda reader: reader.certificates())
    assert (certificate["slots"], certificate["checked"]) == (10, 0)
    after = slots.read_bytes()
    assert not any(before[at : at + 32] == after[at : at + 32] for at in range(32, len(before), 32))
    assert desk.close() == 0


@pytest.mark.parametrize("remedy", ["removed", "set anew"])
@pytest.mark.parametrize("kind", ["policy", "hold"])
def test_a_rule_that_cannot_be_read_keeps_everything(tmp_path: Path, kind: Any, remedy: str) -> None:
    """Nobody knows whom it is about: nothing of anybody goes until it is removed or set anew."""
    desk = Desk(tmp_path)
    rule = policy("delete", 1, participants=(ANN,)) if kind == "policy" else hold("p", participants=(ANN,))
    desk.do(rule, ann(), bob())
    ((slot,),) = rows(desk, "SELECT slot FROM rules")
    desk.close()
    with (tmp_path / "keys" / "europe" / "slots").open("r+b") as file:
        file.seek(slot * 32)
        file.write(os.urandom(32))
    again = Desk(tmp_path)
    assert [each.readable for each in again.ask(lambda reader: reader.kept.rules())] == [False]
    assert sweep(again, START + 100 * DAY) == 0
    again.do(bob("two", version=2))
    assert contents(again) == [(None, "hers"), ("superseded", "his"), (None, "two")]
    again.do(without(kind, "p") if remedy == "removed" else rule)
    kept = 1 if (kind, remedy) == ("hold", "set anew") else 0
    assert sweep(again, START + 100 * DAY) == 3 - kept
    assert len(contents(again)) == kept
    again.close()


NONSENSE = {
    "no action": Rule("policy", "n", START, True, None, 7),
    "no days": Rule("policy", "n", START, True, "delete", None),
    "no such action": Rule("policy", "n", START, True, "forget", 7),  # type: ignore[arg-type]
    "no day": policy(days=0).rule,
    "days without end": policy(days=36_501).rule,
    "a hold that deletes": Rule("hold", "n", START, True, "delete", 7),
}


@pytest.mark.parametrize("what", NONSENSE)
def test_a_rule_that_makes_no_sense_is_refused_alone(desk: Desk, what: str) -> None:
    """It never comes to be; the writer goes on, and nothing is deleted or kept by it."""
    with pytest.raises(OperationFailed):
        desk.do(SetRule(NONSENSE[what]))
    assert desk.ask(lambda reader: reader.kept.rules()) == []
    desk.do(ann())
    assert sweep(desk, START + MONTH) == 1
    assert "policy.set" not in kinds(desk)


def test_entries_of_rules_name_nobody(desk: Desk) -> None:
    """A policy's and a hold's entries count threads and participants, and the reason stands nowhere."""
    desk.do(
        policy("retain_then_delete", 9, threads=("needle-t", "u"), participants=(ANN,), organizations=("contoso",)),
        hold(calls=("call-1",), resources=("r",), threads=("needle-t",)),
        without("hold", "h"),
    )
    told = last(desk, "policy.set")
    what = {"kind": "policy.set", "at": "2026-11-23T14:00:00.123Z", "name": "p"}
    scope = {"everything": False, "organizations": ["contoso"], "resources": [], "threads": 2, "participants": 1}
    assert told == {**what, **scope, "terms": {"action": "retain_then_delete", "days": 9}}
    told = last(desk, "hold.set")
    assert (told["calls"], told["resources"], told["threads"], told["participants"]) == (["call-1"], ["r"], 1, 0)
    assert kinds(desk) == ["policy.set", "hold.set", "hold.removed"]
    assert not any(word in b"".join(desk.leaves()) for word in (b"needle", b"ann"))
