"""Whether all entries are there, by their counts alone: also in a ledger whose writer stamped what it liked."""

from __future__ import annotations

from typing import Any

import pytest

from storage.audit.entries import Malformed, read
from storage.audit.proved import Cover, Export, Part
from storage.audit.whole import check_whole
from storage.entry import canonical
from storage.moment import from_microseconds

AT = "2026-11-23T14:00:00.000Z"


def line(kind: str, ahead: int | None, call: str = "standup", **fields: Any) -> dict[str, Any]:
    """The fields of an entry; without `ahead` it is from before there were stamps."""
    stamps = {} if ahead is None else {"after_us": 0, "ahead": ahead}
    return {"kind": kind, "at": AT, "organization": "contoso", "call": call, **stamps, **fields}


def opened(ahead: int | None = 0, call: str = "standup", home: str = "europe") -> dict[str, Any]:
    """The call began."""
    return line("call.opened", ahead, call, home=home)


def merged(ahead: int, source: str, call: str = "standup") -> dict[str, Any]:
    """Another call became part of it."""
    return line("call.merged", ahead, call, source=source, revision=1)


def part(
    region: str,
    *fields: dict[str, Any],
    covers: dict[str, int] | None = None,
    ahead: dict[str, int] | None = None,
) -> Part:
    """A region with these entries, exported as `covers` says and counted as `ahead` says; by default truly."""
    found = [read(f"{region} {number}", region, number, canonical(each)) for number, each in enumerate(fields)]
    calls = [str(each["call"]) for each in fields if "call" in each]
    counts = {call: calls.count(call) for call in dict.fromkeys(["standup", *sorted(calls)])}
    covered = counts if covers is None else covers
    exports = [
        Export(
            ahead=({**covered, **counts} | (ahead or {}))[call],
            at=from_microseconds(0),
            call=call,
            covers=tuple(Cover(call, count) for call, count in covered.items()),
            kind="evidence.exported",
            manifest="",
            organization="contoso",
            regions=(),
        )
        for call in covered
    ]
    return Part(region, found, exports)


def check(*parts: Part) -> int:
    """How many came later."""
    return check_whole({each.region: each for each in parts}, "contoso", "standup")


def test_whole() -> None:
    """What is all there, before and after there were stamps, with events and what nobody knows in between."""
    event = {"kind": "event", "at": AT, "digest": "ab", "after_us": 3}
    assert check(part("europe", opened(), line("roster", 1), event, line("kind.of.tomorrow", 2))) == 0
    assert check(part("europe", opened(None), line("roster", None), line("level.of.tomorrow", 2))) == 0
    assert check(part("europe", opened(), ahead={"standup": 4})) == 3


def test_whole_with_merged_calls() -> None:
    """One into another, wherever they were at home."""
    europe = part("europe", opened(), merged(1, "alias"), covers={"standup": 2, "alias": 0, "thread": 0})
    asia = part(
        "asia",
        opened(0, "alias", "asia"),
        opened(0, "thread", "asia"),
        merged(1, "thread", "alias"),
        covers={"standup": 0, "alias": 2, "thread": 1},
    )
    assert check(europe, asia) == 0
    late = part("asia", opened(0, "alias", "asia"), covers={"standup": 0, "alias": 1}, ahead={"alias": 3})
    assert check(part("europe", opened(), merged(1, "alias"), covers={"standup": 2, "alias": 0}), late) == 2


WRONG: dict[str, list[dict[str, Any]]] = {
    "a hole": [opened(), line("roster", 2)],
    "a beginning": [opened(1)],
    "twice": [opened(), line("roster", 0)],
    "a count that is none": [opened(), line("roster", 1) | {"ahead": True}],
    "a count in letters": [opened(), line("roster", 1) | {"ahead": "1"}],
    "no count": [opened(), {"after_us": 1, **line("roster", None)}],
    "stamps that end": [opened(), line("roster", None)],
    "stampless counted wrongly": [opened(None), line("roster", 0)],
    "another organisation": [opened(), line("roster", 1) | {"organization": "fabrikam"}],
    "no organisation": [opened(), {name: value for name, value in line("roster", 1).items() if name != "organization"}],
    "another call": [opened(), line("roster", 0, "review")],
    "a call that is none": [opened(), line("roster", 1) | {"call": ["standup"]}],
    "no call and no event": [opened(), {"kind": "refused", "at": AT, "after_us": 1}],
    "an event of a call": [opened(), line("event", 0, "review")],
    "another region": [opened(), line("overdue", 1, region="asia")],
    "a home that is not there": [opened(0, home="asia")],
    "a region that may know of it": [opened() | {"unserved": ["asia"]}],
    "a region that is not there": [opened(), line("call.spread", 1, into="asia")],
    "a merged call of which nothing is there": [opened(), merged(1, "alias")],
    "nothing": [],
}


@pytest.mark.parametrize("what", WRONG)
def test_not_whole(what: str) -> None:
    """Each alone is noticed."""
    calls = {"standup": sum(each.get("call") == "standup" for each in WRONG[what])}
    if what == "a merged call of which nothing is there":
        calls["alias"] = 0
    with pytest.raises(Malformed):
        check(part("europe", *WRONG[what], covers=calls))


@pytest.mark.parametrize(
    "covers", [{"standup": 1}, {"standup": 3}, {"review": 2}, {"standup": 2, "review": 0}, {"review": 0, "standup": 2}]
)
def test_covered_wrongly(covers: dict[str, int]) -> None:
    """Too few, too many, another call, one that never became part."""
    with pytest.raises(Malformed):
        check(part("europe", opened(), line("roster", 1), covers=covers, ahead={"standup": 9}))


def test_covered_beyond_the_export() -> None:
    """More entries than stood before it."""
    with pytest.raises(Malformed, match="covers more entries than there were"):
        check(part("europe", opened(), line("roster", 1), ahead={"standup": 1}))
