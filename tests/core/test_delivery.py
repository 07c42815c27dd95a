"""Delivery: who owes what, what proves it, and what happens when a deadline passes."""

from __future__ import annotations

import pytest

from gateway.core import facts
from gateway.core.call import AWAKENINGS
from gateway.core.delivery import owed_notices, owes
from gateway.core.proofs import Notice
from gateway.core.types import Level, Role
from tests.core.meeting import ACTIVE, GRAPH, INACTIVE, PAUSED, TRANSCRIPTION, Meeting, moment, refold


@pytest.fixture
def meeting() -> Meeting:
    """Ann is in the call, and at 10 s Graph says that it is recorded."""
    fresh = Meeting()
    fresh.join("ann")
    fresh.at(10)
    fresh.claim(GRAPH, ACTIVE)
    return fresh


def owe(meeting: Meeting, name: str, notice: Notice) -> bool:
    """Whether somebody's newest presence owes a notice."""
    return owes(meeting.call, notice, meeting.presence(name))


def owed(meeting: Meeting, name: str) -> list[Notice]:
    """What a state would show somebody."""
    return owed_notices(meeting.call, meeting.presence(name))


# Owing


def test_who_is_there_when_a_notice_is_issued_owes_it(meeting: Meeting) -> None:
    """The presence overlaps the episode."""
    assert owe(meeting, "ann", meeting.last)


def test_a_late_joiner_owes_every_notice_of_an_open_episode(meeting: Meeting) -> None:
    """Also the pause; and is shown both, oldest first."""
    meeting.at(20)
    meeting.claim(GRAPH, PAUSED)
    meeting.at(30)
    meeting.join("bob")
    assert owed(meeting, "bob") == list(meeting.call.notices.values())


def test_who_had_gone_before_owes_nothing(meeting: Meeting) -> None:
    """A presence that ended in the very moment saw nothing of it."""
    meeting.leave("ann")
    meeting.claim(GRAPH, ACTIVE, capability=TRANSCRIPTION)
    assert not owe(meeting, "ann", meeting.last)


def test_who_comes_after_the_episode_owes_nothing(meeting: Meeting) -> None:
    """Nor in the very moment of its end; and is shown nothing."""
    start = meeting.last
    meeting.at(20)
    meeting.claim(GRAPH, INACTIVE)
    meeting.join("bob")
    assert not owe(meeting, "bob", start)
    assert [notice.fact.change for notice in owed(meeting, "bob")] == ["stopped"]
    meeting.at(20.001)
    meeting.join("cyd")
    assert owed(meeting, "cyd") == []


def test_who_came_a_moment_before_the_end_owes_the_start(meeting: Meeting) -> None:
    """A millisecond in the meeting while it was on is enough."""
    start = meeting.last
    meeting.at(19.999)
    meeting.join("bob")
    meeting.at(20)
    meeting.claim(GRAPH, INACTIVE)
    assert owe(meeting, "bob", start)


def test_an_observer_owes_nothing(meeting: Meeting) -> None:
    """An observer's session may report and is told, no more."""
    meeting.join("eve", role=Role.OBSERVER)
    assert owed(meeting, "eve") == []
    assert meeting.covered().owed == 1


def test_the_end_is_shown_until_it_is_received(meeting: Meeting) -> None:
    """A last `stopped` not yet received is in the state of whoever was there."""
    meeting.at(20)
    meeting.claim(GRAPH, INACTIVE)
    assert owed(meeting, "ann") == [meeting.last]
    meeting.prove("ann", Level.RECEIVED)
    assert owed(meeting, "ann") == []


def test_an_end_is_not_shown_once_it_is_on_again(meeting: Meeting) -> None:
    """The new start is what counts."""
    meeting.claim(GRAPH, INACTIVE)
    meeting.at(20)
    meeting.claim(GRAPH, ACTIVE)
    assert owed(meeting, "ann") == [meeting.last]


def test_nobody_is_asked_again_for_an_episode_that_is_over(meeting: Meeting) -> None:
    """Its start is neither shown nor sent again."""
    start = meeting.last
    meeting.at(15)
    meeting.claim(GRAPH, INACTIVE)
    assert start not in owed(meeting, "ann")
    meeting.at(3600)
    assert start.id not in [notice for _, notice, _ in meeting.resent]


# Proving


def test_a_level_is_recorded_once(meeting: Meeting) -> None:
    """Repeats answer with the same entry."""
    first = meeting.prove("ann")
    meeting.at(11)
    assert meeting.prove("ann") is first
    assert first.entry is not None
    assert first.at == moment(10)
    assert len(meeting.of_kind(facts.LevelProved)) == 1


def test_a_repeat_before_the_commit_waits_for_the_same_entry(meeting: Meeting) -> None:
    """It has none yet, and there is still only one."""
    meeting.failing = True
    first = meeting.prove("ann")
    assert meeting.prove("ann") is first
    assert first.entry is None
    meeting.commit()
    assert first.entry is not None


def test_levels_are_facts_with_their_own_times(meeting: Meeting) -> None:
    """Each has its own entry."""
    entries = set()
    for seconds, level in enumerate([Level.RECEIVED, Level.DISPLAYED, Level.ACKNOWLEDGED, Level.CONSENTED], 11):
        meeting.at(seconds)
        proof = meeting.prove("ann", level)
        assert proof.at == moment(seconds)
        entries.add(proof.entry)
    assert len(entries) == 4


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        (Level.RECEIVED, Level.DISPLAYED),
        (Level.DISPLAYED, Level.ACKNOWLEDGED),
        (Level.ACKNOWLEDGED, Level.CONSENTED),
        (Level.DECLINED, Level.CONSENTED),
        (Level.CONSENTED, Level.RECEIVED),
        (Level.DECLINED, Level.RECEIVED),
    ],
)
def test_a_level_proves_nothing_above_or_beside_it(meeting: Meeting, said: Level, asked: Level) -> None:
    """Acknowledging implies nothing about consent, nor consent about having been shown."""
    meeting.prove("ann", said)
    assert meeting.covered(level=asked).proved == 0


@pytest.mark.parametrize("asked", [Level.SENT, Level.RECEIVED, Level.DISPLAYED, Level.ACKNOWLEDGED])
def test_peer_bug_07_a_higher_level_proves_the_lower_ones(meeting: Meeting, asked: Level) -> None:
    """An acknowledgement that comes first, or beyond what was sent so far, is that, and invents no other fact."""
    meeting.prove("ann", Level.ACKNOWLEDGED)
    assert meeting.covered(level=asked).proved == 1
    assert [fact.level for fact in meeting.recorded if isinstance(fact, facts.LevelProved)] == [Level.ACKNOWLEDGED]


def test_proof_of_one_notice_proves_no_other(meeting: Meeting) -> None:
    """Each stands for itself."""
    meeting.prove("ann")
    meeting.claim(GRAPH, ACTIVE, capability=TRANSCRIPTION)
    assert meeting.covered().proved == 0


def test_proof_by_one_person_proves_no_other(meeting: Meeting) -> None:
    """Nobody acknowledges for somebody else."""
    meeting.join("bob")
    meeting.prove("bob")
    assert set(meeting.gaps()) == {"ann"}


def test_consent_may_be_withdrawn_and_given_again(meeting: Meeting) -> None:
    """The newest word counts, also within one millisecond."""
    for level, proved in [
        (Level.CONSENTED, 1),
        (Level.WITHDRAWN, 0),
        (Level.CONSENTED, 1),
        (Level.DECLINED, 0),
        (Level.WITHDRAWN, 0),
        (Level.CONSENTED, 1),
    ]:
        meeting.prove("ann", level)
        assert meeting.covered(level=Level.CONSENTED).proved == proved
    assert len(meeting.of_kind(facts.LevelProved)) == 6


def test_the_same_consent_again_is_a_repeat(meeting: Meeting) -> None:
    """Nothing changed in between."""
    assert meeting.prove("ann", Level.CONSENTED) is meeting.prove("ann", Level.CONSENTED)


def test_an_earlier_consents_commit_does_not_confirm_a_later_one(meeting: Meeting) -> None:
    """Given, withdrawn, given again: only the first is on disk yet."""
    meeting.failing = True
    meeting.prove("ann", Level.CONSENTED)
    meeting.at(11)
    meeting.prove("ann", Level.WITHDRAWN)
    meeting.at(12)
    again = meeting.prove("ann", Level.CONSENTED)
    waiting, meeting.waiting = meeting.waiting[1:], meeting.waiting[:1]
    meeting.commit()
    assert again.entry is None
    assert meeting.reasons(level=Level.CONSENTED) == {"ann": "unrecorded"}
    meeting.waiting = waiting
    meeting.commit()
    assert meeting.covered(level=Level.CONSENTED).proved == 1


def test_sent_counts_when_it_is_durable(meeting: Meeting) -> None:
    """What was written to a socket is claimed no sooner than its entry is on disk."""
    meeting.failing = True
    meeting.sent("ann")
    assert meeting.reasons(level=Level.SENT) == {"ann": "unrecorded"}
    meeting.commit()
    assert meeting.covered(level=Level.SENT).proved == 1


def test_sent_to_one_is_not_sent_to_another(meeting: Meeting) -> None:
    """Each presence for itself."""
    meeting.join("bob")
    meeting.sent("bob")
    assert set(meeting.gaps(level=Level.SENT)) == {"ann"}


# Deadlines


def test_a_deadline_that_passes_is_recorded_and_sent_again(meeting: Meeting) -> None:
    """Ten seconds after the notice, not earlier, to those who are connected."""
    meeting.at(19.999)
    assert meeting.of_kind(facts.NoticeOverdue) == []
    meeting.at(20)
    (overdue,) = meeting.of_kind(facts.NoticeOverdue)
    assert isinstance(overdue, facts.NoticeOverdue)
    assert overdue.presences == (meeting.presence("ann").id,)
    assert meeting.resent == [(20, meeting.last.id, overdue.presences)]


def test_who_has_proved_is_not_reminded(meeting: Meeting) -> None:
    """Also in the last moment before the deadline."""
    meeting.at(19.999)
    meeting.prove("ann")
    meeting.at(3600)
    assert meeting.resent == []
    assert meeting.of_kind(facts.NoticeOverdue) == []


def test_a_lower_level_than_owed_does_not_stop_the_reminder(meeting: Meeting) -> None:
    """Displayed is not acknowledged."""
    meeting.prove("ann", Level.DISPLAYED)
    meeting.at(20)
    assert len(meeting.resent) == 1


def test_reminders_come_ever_more_rarely_and_stop(meeting: Meeting) -> None:
    """Each after twice the wait of the one before; overdue is recorded once."""
    meeting.at(86_400)
    assert [seconds for seconds, _, _ in meeting.resent] == [20, 30, 50, 90, 170, 330]
    assert len(meeting.resent) == AWAKENINGS + 1
    assert len(meeting.of_kind(facts.NoticeOverdue)) == 1


def test_a_late_joiner_has_the_whole_time(meeting: Meeting) -> None:
    """The deadline runs from the joining."""
    meeting.prove("ann")
    meeting.at(15)
    meeting.join("bob")
    meeting.at(24.999)
    assert meeting.of_kind(facts.NoticeOverdue) == []
    assert meeting.reasons() == {"bob": "pending"}
    meeting.at(25)
    assert meeting.resent == [(25, meeting.last.id, (meeting.presence("bob").id,))]
    assert meeting.reasons() == {"bob": "overdue"}


def test_peer_bug_06_who_lost_the_connection_silently_is_shown_it_on_return(meeting: Meeting) -> None:
    """The first notice after a dead connection is not lost: it is owed, and in the next state."""
    meeting.lose("ann")
    meeting.at(12)
    meeting.claim(GRAPH, ACTIVE, capability=TRANSCRIPTION)
    meeting.at(20)
    assert meeting.reasons() == {"ann": "disconnected"}
    meeting.join("ann", "s-new")
    assert owed(meeting, "ann") == list(meeting.call.notices.values())


def test_peer_bug_05_whoever_confirms_nothing_stays_a_gap(meeting: Meeting) -> None:
    """A client whose app listens to nothing is listed, it does not pass as told."""
    meeting.sent("ann")
    meeting.at(3600)
    assert meeting.reasons() == {"ann": "overdue"}
    assert meeting.covered(level=Level.RECEIVED).proved == 0


def test_who_is_away_is_listed_overdue_and_not_sent_to(meeting: Meeting) -> None:
    """There is nobody to send to."""
    meeting.lose("ann")
    meeting.at(20)
    assert len(meeting.of_kind(facts.NoticeOverdue)) == 1
    assert meeting.resent == []


def test_who_left_is_not_reminded(meeting: Meeting) -> None:
    """Leaving closes it as a gap with its reason."""
    meeting.at(12)
    meeting.leave("ann")
    meeting.at(3600)
    assert meeting.of_kind(facts.NoticeOverdue) == []
    assert meeting.reasons() == {"ann": "left"}


def test_a_deadline_survives_a_restart(meeting: Meeting) -> None:
    """It is kept by the fold."""
    meeting.at(15)
    meeting.call = refold(meeting.call, meeting.recorded)
    meeting.at(20)
    assert len(meeting.of_kind(facts.NoticeOverdue)) == 1
