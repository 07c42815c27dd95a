"""Coverage: proved or listed, with the first reason that holds and an exposure that is exact."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from gateway.core.survey import Survey
from gateway.core.types import Level, Reason
from tests.core.covered import cover_notice
from tests.core.meeting import ACTIVE, GRAPH, INACTIVE, Meeting, moment, raw_id, refold


@pytest.fixture
def meeting() -> Meeting:
    """Ann is in the call, and at 10 s Graph says that it is recorded."""
    fresh = Meeting()
    fresh.join("ann")
    fresh.at(10)
    fresh.claim(GRAPH, ACTIVE)
    return fresh


def milliseconds(meeting: Meeting, name: str, level: Level = Level.ACKNOWLEDGED) -> int:
    """The exposure of somebody's gap for the start."""
    start = next(iter(meeting.call.notices.values()))
    return meeting.gaps(start, level)[name].exposure // timedelta(milliseconds=1)


def behind(meeting: Meeting, name: str) -> str:
    """The reason when somebody's client reads too slowly."""
    slow = {meeting.presence(name).id}
    covered = cover_notice(meeting.call, meeting.last, Level.ACKNOWLEDGED, meeting.now, slow)
    return covered.gaps[0].reason.value


def reported(meeting: Meeting) -> dict[str, Any]:
    """The answer about the call now."""
    survey = Survey(meeting.call, Level.ACKNOWLEDGED, meeting.now)
    survey.before_everything()
    survey.close()
    answer: dict[str, Any] = json.loads(b"".join(survey.report()))
    return answer


# Reasons


def test_pending_until_the_deadline_and_overdue_from_it_on(meeting: Meeting) -> None:
    """The boundary belongs to overdue."""
    meeting.at(19.999)
    assert meeting.reasons() == {"ann": "pending"}
    meeting.at(20)
    assert meeting.reasons() == {"ann": "overdue"}


def test_slow_comes_before_overdue(meeting: Meeting) -> None:
    """It says why."""
    meeting.at(60)
    assert behind(meeting, "ann") == "slow"


def test_disconnected_comes_before_slow(meeting: Meeting) -> None:
    """Nobody reads at all."""
    meeting.lose("ann")
    assert behind(meeting, "ann") == "disconnected"


def test_disconnected_stays_when_nobody_came_back(meeting: Meeting) -> None:
    """Being given up is no leaving."""
    meeting.lose("ann")
    meeting.at(3600)
    assert meeting.reasons() == {"ann": "disconnected"}


def test_left_comes_before_disconnected(meeting: Meeting) -> None:
    """On the person's own word, before proof."""
    meeting.at(12)
    meeting.leave("ann")
    assert meeting.reasons() == {"ann": "left"}


def test_the_calls_end_is_leaving_for_who_was_connected(meeting: Meeting) -> None:
    """They left with everyone; who was lost before stays lost."""
    meeting.join("bob")
    meeting.at(12)
    meeting.lose("bob")
    start = meeting.last
    meeting.at(15)
    meeting.end()
    assert meeting.reasons(start) == {"ann": "left", "bob": "disconnected"}


def test_unreachable_comes_before_left(meeting: Meeting) -> None:
    """Who never had a session could not be told."""
    meeting.roster(["bob"], 1)
    meeting.at(12)
    meeting.roster([], 2)
    assert meeting.reasons()["bob"] == "unreachable"


def test_unrecorded_comes_before_unreachable(meeting: Meeting) -> None:
    """While storage cannot write, no other reason is known for certain."""
    meeting.failing = True
    meeting.roster(["bob"], 1)
    assert meeting.reasons()["bob"] == "unrecorded"
    meeting.commit()
    assert meeting.reasons()["bob"] == "unreachable"


def test_declined_comes_before_everything(meeting: Meeting) -> None:
    """Even before unrecorded, but only where consent is asked for."""
    meeting.failing = True
    meeting.prove("ann", Level.DECLINED)
    assert meeting.reasons(level=Level.CONSENTED) == {"ann": "declined"}
    assert meeting.reasons(level=Level.ACKNOWLEDGED) == {"ann": "pending"}


def test_withdrawn_reads_declined(meeting: Meeting) -> None:
    """There is one word for not consenting."""
    meeting.prove("ann", Level.CONSENTED)
    meeting.prove("ann", Level.WITHDRAWN)
    assert meeting.reasons(level=Level.CONSENTED) == {"ann": "declined"}


def test_every_reason_is_tested_in_the_order_of_the_contract() -> None:
    """The first that holds."""
    assert [reason.value for reason in Reason] == [
        "declined",
        "unrecorded",
        "unreachable",
        "left",
        "disconnected",
        "slow",
        "overdue",
        "pending",
    ]


# Commits that fail


def test_a_proof_that_is_not_on_disk_reads_unrecorded() -> None:
    """And counts as soon as it is."""
    meeting = Meeting()
    meeting.join("ann")
    meeting.claim(GRAPH, ACTIVE)
    meeting.failing = True
    meeting.prove("ann")
    assert (meeting.covered().proved, meeting.reasons()) == (0, {"ann": "unrecorded"})
    meeting.commit()
    assert (meeting.covered().proved, meeting.reasons()) == (1, {})


def test_a_notice_that_is_not_on_disk_reads_unrecorded_for_everyone() -> None:
    """It was sent all the same, under its id."""
    meeting = Meeting()
    meeting.join("ann")
    meeting.join("bob")
    meeting.failing = True
    meeting.claim(GRAPH, ACTIVE)
    meeting.prove("ann")
    assert meeting.reasons() == {"ann": "unrecorded", "bob": "unrecorded"}
    meeting.commit()
    assert meeting.reasons() == {"bob": "pending"}


def test_proof_of_a_notice_that_is_not_on_disk_reads_unrecorded() -> None:
    """The proof's region may write while the notice's cannot: nobody has proved what is not recorded."""
    meeting = Meeting()
    meeting.join("ann")
    meeting.failing = True
    meeting.claim(GRAPH, ACTIVE)
    notice = meeting.waiting.copy()
    meeting.waiting.clear()
    meeting.failing = False
    proof = meeting.prove("ann")
    assert proof.entry is not None
    assert meeting.reasons() == {"ann": "unrecorded"}
    meeting.waiting = notice
    meeting.commit()
    assert meeting.covered().proved == 1


def test_what_was_not_on_disk_is_not_proof_after_a_crash(meeting: Meeting) -> None:
    """The client has no receipt and sends its ack again."""
    meeting.failing = True
    meeting.prove("ann")
    meeting.call = refold(meeting.call, meeting.recorded, meeting.waiting)
    meeting.waiting, meeting.failing = [], False
    assert meeting.reasons() == {"ann": "pending"}
    meeting.prove("ann")
    assert meeting.covered().proved == 1


# Exposure


def test_exposure_runs_from_the_notice_to_now(meeting: Meeting) -> None:
    """For who was there before it was issued."""
    meeting.at(12.345)
    assert meeting.gaps()["ann"].since == moment(10)
    assert milliseconds(meeting, "ann") == 2345


def test_a_late_joiners_exposure_runs_from_the_joining(meeting: Meeting) -> None:
    """`since` is the later of the presence's start and `issued_at`."""
    meeting.at(15)
    meeting.join("bob")
    meeting.at(17)
    assert meeting.gaps()["bob"].since == moment(15)
    assert milliseconds(meeting, "bob") == 2000


def test_leaving_ends_exposure(meeting: Meeting) -> None:
    """Who is not there is not recorded."""
    meeting.at(12)
    meeting.leave("ann")
    meeting.at(3600)
    assert milliseconds(meeting, "ann") == 2000


def test_a_lost_connection_does_not_end_exposure(meeting: Meeting) -> None:
    """The person may still sit there; being given up does end it."""
    meeting.at(12)
    meeting.lose("ann")
    meeting.at(60)
    assert milliseconds(meeting, "ann") == 50_000
    meeting.at(3600)
    assert milliseconds(meeting, "ann") == 122_000


def test_the_episodes_end_ends_exposure(meeting: Meeting) -> None:
    """Its gaps stay, and nobody is asked any more."""
    meeting.at(14)
    meeting.claim(GRAPH, INACTIVE)
    meeting.at(3600)
    assert milliseconds(meeting, "ann") == 4000


def test_a_proof_that_waits_for_the_disk_ended_exposure(meeting: Meeting) -> None:
    """The person knew; what is missing is the record."""
    meeting.at(13)
    meeting.failing = True
    meeting.prove("ann")
    meeting.at(60)
    assert meeting.reasons() == {"ann": "unrecorded"}
    assert milliseconds(meeting, "ann") == 3000


def test_nobody_is_exposed_to_an_end(meeting: Meeting) -> None:
    """`stopped` is owed, and nothing is on any more."""
    meeting.at(14)
    meeting.claim(GRAPH, INACTIVE)
    meeting.at(60)
    assert meeting.gaps()["ann"].exposure == timedelta(0)


def test_peer_bug_27_no_exposure_is_negative(meeting: Meeting) -> None:
    """Also when the clock says that it is before the notice; and nothing is pending again that was overdue."""
    meeting.at(30)
    meeting.join("bob")
    meeting.step_back(3600)
    assert milliseconds(meeting, "ann") == 20_000
    assert meeting.reasons()["ann"] == "overdue"
    meeting.prove("ann")
    assert set(meeting.gaps()) == {"bob"}


# Proof and its time


def test_proof_after_the_episode_leaves_the_gap(meeting: Meeting) -> None:
    """What was not proved when it ended stays a gap of that episode."""
    start = meeting.last
    meeting.at(14)
    meeting.claim(GRAPH, INACTIVE)
    meeting.at(14.001)
    meeting.prove("ann", notice=start)
    assert "ann" in meeting.gaps(start)
    assert milliseconds(meeting, "ann") == 4000


def test_proof_in_the_moment_of_the_end_counts(meeting: Meeting) -> None:
    """The boundary belongs to the proof."""
    start = meeting.last
    meeting.at(14)
    meeting.claim(GRAPH, INACTIVE)
    meeting.prove("ann", notice=start)
    assert meeting.covered(start).proved == 1


def test_what_a_person_proves_later_does_not_fill_an_earlier_presences_gap(meeting: Meeting) -> None:
    """Ann left untold, came again and was told: one gap, one proof."""
    meeting.at(12)
    meeting.leave("ann")
    meeting.at(14)
    meeting.join("ann", "s-new")
    meeting.prove("ann")
    covered = meeting.covered()
    assert (covered.owed, covered.proved) == (2, 1)
    assert meeting.reasons() == {"ann": "left"}


def test_what_a_person_has_proved_holds_for_the_next_presence(meeting: Meeting) -> None:
    """Nobody is asked twice for the same notice."""
    meeting.prove("ann")
    meeting.at(12)
    meeting.leave("ann")
    meeting.at(14)
    meeting.join("ann", "s-new")
    covered = meeting.covered()
    assert (covered.owed, covered.proved) == (2, 2)


def test_two_devices_of_one_person_count_once(meeting: Meeting) -> None:
    """One presence, one proof, whichever device it came from."""
    meeting.join("ann", "s-second")
    meeting.prove("ann")
    covered = meeting.covered()
    assert (covered.owed, covered.proved) == (1, 1)


@pytest.mark.parametrize("level", [Level.DISPLAYED, Level.ACKNOWLEDGED, Level.CONSENTED])
def test_an_end_needs_receipt_only_whatever_is_asked(meeting: Meeting, level: Level) -> None:
    """`stopped` and `failed`."""
    meeting.at(14)
    meeting.claim(GRAPH, INACTIVE)
    meeting.prove("ann", Level.RECEIVED)
    assert meeting.covered(level=level).proved == 1


def test_owed_is_proved_plus_gaps(meeting: Meeting) -> None:
    """Nobody falls between."""
    for name in ("bob", "cyd", "dan"):
        meeting.join(name)
    meeting.prove("bob")
    meeting.at(12)
    meeting.leave("cyd")
    covered = meeting.covered()
    assert (covered.owed, covered.proved, len(covered.gaps)) == (4, 1, 3)


# The report


def test_the_report_has_the_contracts_words(meeting: Meeting) -> None:
    """Field by field."""
    meeting.at(12)
    report = reported(meeting)
    assert (report["call"], report["level"], report["complete"]) == ("standup", "acknowledged", False)
    (notice,) = report["notices"]
    assert notice["notice"] == meeting.last.id
    assert (notice["capability"], notice["change"]) == ("recording", "started")
    assert notice["episode"] == meeting.last.fact.episode
    assert notice["issued_at"] == "2026-11-23T14:00:10.000Z"
    assert (notice["owed"], notice["proved"]) == (1, 0)
    (gap,) = notice["gaps"]
    assert gap["participant"] == raw_id("ann")
    assert (gap["reason"], gap["since"], gap["exposure_ms"]) == ("pending", "2026-11-23T14:00:10.000Z", 2000)


def test_a_call_without_notices_is_complete() -> None:
    """Nothing was owed."""
    meeting = Meeting()
    meeting.join("ann")
    report = reported(meeting)
    assert report["complete"] is True


def test_after_an_erasure_the_gap_stays_without_a_name(meeting: Meeting) -> None:
    """`participant` is null, all else as it was."""
    before = meeting.gaps()["ann"]
    meeting.presence("ann").participant = None
    (gap,) = meeting.covered().gaps
    assert gap.participant is None
    assert (gap.presence, gap.reason, gap.since) == (before.presence, before.reason, before.since)
