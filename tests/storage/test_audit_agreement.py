"""Entries that contradict one another: each was signed and proved, and together they are refused."""

from __future__ import annotations

from typing import Any

import pytest

from storage.audit import entries
from storage.audit.agreement import check_agreement
from storage.audit.entries import Entry, Malformed
from storage.entry import canonical

AT = "2026-11-23T14:00:00.000Z"
COMMON: dict[str, Any] = {"at": AT, "organization": "contoso", "call": "standup"}
OPENED = {"kind": "call.opened", "home": "europe"}
NOTICE = {
    "kind": "notice",
    "revision": 1,
    "notice": "n_1",
    "capability": "recording",
    "change": "started",
    "episode": "e_1",
    "occurred_at": AT,
    "require": "acknowledged",
    "deadline_at": AT,
    "digests": {"en": "sha256:aa", "de": "sha256:bb"},
}


def came(presence: str, region: str = "europe") -> dict[str, Any]:
    commitment = {"who": presence, "role": "participant", "listed": False, "commitment": "sha256:cc"}
    return {"kind": "presence.opened", "presence": presence, "region": region, **commitment}


def said(presence: str, region: str = "europe", digest: str | None = "sha256:aa") -> dict[str, Any]:
    level = {"notice": "n_1", "level": "acknowledged", "reported_at": AT, "session": "s_1"}
    found = {"kind": "level", "presence": presence, "region": region, **level}
    return found if digest is None else {**found, "digest": digest}


def together(*presences: str, region: str = "europe", digest: str | None = "sha256:aa") -> dict[str, Any]:
    found = said("", region, digest) | {"kind": "levels", "proofs": [[each, "s_1", AT, None] for each in presences]}
    return {name: value for name, value in found.items() if name not in {"presence", "reported_at", "session"}}


def sent(*presences: str, region: str = "europe") -> dict[str, Any]:
    return {"kind": "sent", "region": region, "notices": ["n_1"], "presences": list(presences)}


def about(kind: str, presence: str, **fields: Any) -> dict[str, Any]:
    return {"kind": kind, "presence": presence, "region": "europe", **fields}


def ledger(region: str, *found: dict[str, Any]) -> list[Entry]:
    return [entries.read("here", region, number, canonical({**COMMON, **each})) for number, each in enumerate(found)]


def test_what_agrees_is_taken() -> None:
    """An honest call in two regions, with a notice mirrored and answered in another language."""
    europe = ledger("europe", OPENED, came("p_1"), NOTICE, sent("p_1"), said("p_1"), said("p_1", digest=None))
    europe += ledger("europe", came("p_3"), together("p_1", "p_3"), together("p_3", digest=None))
    states = ledger(
        "unitedstates", OPENED, NOTICE, came("p_2", "unitedstates"), said("p_2", "unitedstates", "sha256:bb")
    )
    check_agreement({"europe": europe, "unitedstates": states})


@pytest.mark.parametrize(
    "second",
    [
        about("session.joined", "p_2", session="s_1", role="participant"),
        about("session.left", "p_2", session="s_1", reason="left"),
        about("presence.closed", "p_2", reason="left"),
        about("presence.listed", "p_2", listed=True, occurred_at=AT),
        said("p_2"),
        sent("p_1", "p_2"),
        together("p_1", "p_2"),
        together("p_2"),
    ],
    ids=lambda fields: str(fields["kind"]),
)
def test_a_ledger_speaks_only_of_who_came_there_before(second: dict[str, Any]) -> None:
    """Neither another region's ledger nor an earlier line can say what became of somebody."""
    states = ledger("unitedstates", came("p_2", "unitedstates"))
    with pytest.raises(Malformed, match="did not begin in this ledger before"):
        check_agreement({"europe": ledger("europe", came("p_1"), second), "unitedstates": states})
    with pytest.raises(Malformed, match="did not begin in this ledger before"):
        check_agreement({"europe": ledger("europe", came("p_1"), second, came("p_2"))})


@pytest.mark.parametrize("region", ["europe", "unitedstates"])
def test_a_presence_begins_once(region: str) -> None:
    """A second beginning would take the place of the first, with whoever was not told."""
    ledgers = {"europe": ledger("europe", came("p_1"))}
    ledgers[region] = [*ledgers.get(region, []), *ledger(region, came("p_1", region))]
    with pytest.raises(Malformed, match="began before"):
        check_agreement(ledgers)


@pytest.mark.parametrize(
    "change",
    [{"require": "received"}, {"digests": {"en": "sha256:dd"}}, {"deadline_at": "2027-01-01T00:00:00.000Z"}],
    ids=["require", "digests", "deadline"],
)
@pytest.mark.parametrize("region", ["europe", "unitedstates"])
def test_every_copy_of_a_notice_is_the_same(region: str, change: dict[str, Any]) -> None:
    """Nobody was told other words, or asked for less, in another region."""
    ledgers = {"europe": ledger("europe", NOTICE)}
    ledgers[region] = [*ledgers.get(region, []), *ledger(region, {**NOTICE, **change})]
    with pytest.raises(Malformed, match="another copy of the notice"):
        check_agreement(ledgers)


def test_nobody_confirmed_what_was_never_told() -> None:
    """The digest that a client sent back is that of one of the texts."""
    for confirmed in (said("p_1", digest="sha256:dd"), together("p_1", digest="sha256:dd")):
        with pytest.raises(Malformed, match=r"europe/entries\.jsonl: entry 2: what was confirmed was never told"):
            check_agreement({"europe": ledger("europe", NOTICE, came("p_1"), confirmed)})


def test_nobody_confirms_the_same_twice_at_once() -> None:
    """An entry of many has each presence once, so that as many proved as stand in it."""
    with pytest.raises(Malformed, match=r"europe/entries\.jsonl: entry 3: a presence is in it twice"):
        check_agreement({"europe": ledger("europe", NOTICE, came("p_1"), came("p_2"), together("p_1", "p_2", "p_1"))})


def test_a_call_has_one_home() -> None:
    """Two ledgers that both claim the call would each leave out what the other says of it."""
    states = ledger("unitedstates", {**OPENED, "home": "unitedstates"})
    with pytest.raises(Malformed, match="at home elsewhere"):
        check_agreement({"europe": ledger("europe", OPENED), "unitedstates": states})


def test_a_home_that_was_not_served_may_have_been_stood_in_for() -> None:
    """Who opened a call while its home was away says so; the home of the first opening holds, whichever that is."""
    later = {"at": "2026-11-23T15:00:00.000Z"}
    stand_in = {**OPENED, "home": "unitedstates", "unserved": ["europe"]}
    europe = ledger("europe", OPENED)
    check_agreement({"europe": europe, "unitedstates": ledger("unitedstates", {**stand_in, **later})})
    check_agreement(
        {"europe": [], "unitedstates": ledger("unitedstates", stand_in, {**OPENED, "home": "unitedstates"})}
    )


@pytest.mark.parametrize("unserved", [[], ["asia"], ["unitedstates"]])
def test_a_home_that_was_served_is_stood_in_for_by_nobody(unserved: list[str]) -> None:
    """That some other region was away is no reason to be the home."""
    states = ledger("unitedstates", {**OPENED, "home": "unitedstates", "unserved": unserved})
    with pytest.raises(Malformed, match="at home elsewhere"):
        check_agreement({"europe": ledger("europe", OPENED), "unitedstates": states})
