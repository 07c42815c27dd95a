"""Policies, holds and erasures as operators use them: by the API and by commands of a real gateway."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.scenarios.events import call_ended, joined, message, observed, roster, stamp
from tests.scenarios.harness import FABRIKAM, NOWHERE, STATES, Gateway, Json, gaps, of_kind, person
from tests.scenarios.peers import Dial
from tests.scenarios.test_evidence import export, verified

SETTINGS = {"RETENTION__SWEEP_SECONDS": "3600", "NOTICES__DEADLINE_SECONDS": "60"}
"""Nothing is swept unless somebody asks, or rules changed."""
DAY = timedelta(days=1)
INSTANT = timedelta(milliseconds=1)


@pytest.fixture
def running(own_gateway: Gateway) -> Gateway:
    """A gateway of the test's own, for rules are about everybody in it."""
    return own_gateway.start()


@asynccontextmanager
async def dialling(gateway: Gateway) -> AsyncIterator[Dial]:
    async with Dial(gateway) as dial:
        yield dial


async def put(gateway: Gateway, path: str, **body: Any) -> Json:
    answer = await gateway.ask("PUT", f"/v1/retention/{path}", json=body)
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


async def drop(gateway: Gateway, path: str) -> int:
    return (await gateway.ask("DELETE", f"/v1/retention/{path}")).status_code


async def erase(gateway: Gateway, participant: str) -> httpx.Response:
    return await gateway.ask("DELETE", f"/v1/participants/{quote(participant, safe='')}")


async def content(gateway: Gateway, participant: str) -> str | None:
    answer = await gateway.ask("GET", f"/v1/messages/{participant}")
    return str(answer.json()["content"]) if answer.status_code == 200 else None


async def sweep(gateway: Gateway, now: datetime | None = None) -> int:
    answer = await gateway.ask("POST", "/v1/retention/sweep", json={"now": stamp(now)} if now else {})
    assert answer.status_code == 200, answer.text
    return int(answer.json()["deleted"])


async def explained(gateway: Gateway, participant: str) -> Json:
    return await gateway.get(f"/v1/retention/explain/{participant}")


async def certificates(gateway: Gateway) -> list[Json]:
    found: list[Json] = (await gateway.get("/v1/retention/certificates"))["certificates"]
    return found


# -- policies ---------------------------------------------------------------------------------------------------------


async def test_a_policy_decides_to_the_millisecond_and_is_named(running: Gateway) -> None:
    """P7: what a policy deletes stays until its last millisecond, and the certificate says by which principle."""
    ann, bob = person("ann"), person("bob", STATES)
    await put(running, "policies/everyone", action="delete", days=20)
    await put(running, "policies/week", action="delete", days=7, participants=[ann])
    sent_at = datetime.now(UTC).replace(microsecond=0)
    await running.tell(message(ann, "a", sent_at=sent_at), message(bob, "b", sent_at=sent_at))
    stored = await running.get(f"/v1/messages/{ann}")
    assert stored["expires_at"] == stored["hidden_at"]
    assert datetime.fromisoformat(stored["expires_at"]) == sent_at + 7 * DAY
    assert await sweep(running, sent_at + 7 * DAY - INSTANT) == 0
    assert await sweep(running, sent_at + 7 * DAY) == 1
    assert (await content(running, ann), await content(running, bob)) == (None, "b")
    (certificate,) = await certificates(running)
    assert certificate["region"] == "europe"
    assert certificate["decided"] == [{"policies": ["week"], "principle": "explicit_wins", "count": 1}]
    assert (certificate["slots"], certificate["checked"], certificate["late_ms"]) == (1, 1, 0)
    assert await sweep(running, sent_at + 20 * DAY) == 1
    assert (await certificates(running))[1]["decided"][0]["principle"] == "only"


async def test_a_changed_policy_is_about_what_is_stored(running: Gateway) -> None:
    """A message that is overdue by a new policy goes at once; one that a new policy retains does not go any more."""
    ann, bob = person("ann"), person("bob")
    old = datetime.now(UTC) - 10 * DAY
    await running.tell(message(ann, "a", sent_at=old), message(bob, "b", sent_at=old))
    await put(running, "policies/keep", action="retain", days=90, participants=[bob])
    await put(running, "policies/short", action="delete", days=9)
    assert await content(running, ann) is None
    assert await sweep(running) in (0, 1)
    assert len(await certificates(running)) == 1
    assert await sweep(running, datetime.now(UTC) + 60 * DAY) == 0
    assert await drop(running, "policies/keep") == 200
    await sweep(running)
    assert len(await certificates(running)) == 2


async def test_hidden_is_not_deleted(running: Gateway) -> None:
    """What one policy deletes and another retains is out of sight, kept, and explained; then it goes."""
    ann = person("ann")
    sent_at = datetime.now(UTC) - 2 * DAY
    await put(running, "policies/day", action="delete", days=1, organizations=["contoso"])
    await put(running, "policies/month", action="retain", days=30)
    await running.tell(message(ann, "hidden", sent_at=sent_at))
    assert await content(running, ann) is None
    (copy,) = (await explained(running, ann))["copies"]
    assert (copy["state"], copy["policies"], copy["principle"]) == ("hidden", ["month"], "retention_wins")
    assert (copy["because"], copy["hidden_by"]) == ("retention wins over deletion", ["day"])
    assert datetime.fromisoformat(copy["due_at"]) - datetime.fromisoformat(copy["hidden_at"]) == 29 * DAY
    assert await sweep(running) == 0
    assert await sweep(running, sent_at + 30 * DAY) == 1
    assert (await explained(running, ann))["copies"] == []


async def test_explain_says_what_would_become_of_a_message(running: Gateway) -> None:
    """Of somebody who sent nothing too, by what is about them alone."""
    await put(running, "policies/ours", action="delete", days=5, organizations=["contoso"])
    ours, theirs = await explained(running, person("ann")), await explained(running, person("x", FABRIKAM))
    assert (ours["copies"], ours["sent_now"]["policies"]) == ([], ["ours"])
    assert (theirs["organization"], theirs["sent_now"]["principle"]) == ("fabrikam", "default")


WRONG: dict[str, tuple[str, Json, int, str]] = {
    "no action": ("policies/p", {"days": 1}, 400, "action"),
    "an action that is none": ("policies/p", {"action": "shred", "days": 1}, 400, "action"),
    "no days": ("policies/p", {"action": "delete"}, 400, "days"),
    "no time": ("policies/p", {"action": "delete", "days": 0}, 400, "days"),
    "too long": ("policies/p", {"action": "delete", "days": 36_501}, 400, "days"),
    "half a day": ("policies/p", {"action": "delete", "days": 1.5}, 400, ""),
    "days in words": ("policies/p", {"action": "delete", "days": "7"}, 400, ""),
    "the default's name": ("policies/Default", {"action": "delete", "days": 1}, 400, "default"),
    "a name with a space": ("policies/a%20b", {"action": "delete", "days": 1}, 400, "name"),
    "a name of a path": ("policies/.p", {"action": "delete", "days": 1}, 400, "name"),
    "a long name": (f"policies/{'n' * 65}", {"action": "delete", "days": 1}, 400, "name"),
    "a list that is none": ("policies/p", {"action": "delete", "days": 1, "threads": "t"}, 400, ""),
    "an empty entry": ("policies/p", {"action": "delete", "days": 1, "threads": [""]}, 400, "threads"),
    "a control character": ("policies/p", {"action": "delete", "days": 1, "threads": ["a\u0000"]}, 400, "threads"),
    "too many": ("policies/p", {"action": "delete", "days": 1, "threads": [str(n) for n in range(1001)]}, 400, ""),
    "an unknown organisation": ("policies/p", {"action": "delete", "days": 1, "organizations": ["c"]}, 404, "org"),
    "an unknown resource": ("policies/p", {"action": "delete", "days": 1, "resources": [NOWHERE]}, 404, "resources"),
    "nobody of ours": ("policies/p", {"action": "delete", "days": 1, "participants": [person("x", NOWHERE)]}, 404, ""),
    "a Teams user": ("holds/h", {"participants": ["8:orgid:1"]}, 404, ""),
    "a hold on an unknown organisation": ("holds/h", {"organizations": ["contosso"]}, 404, "organizations"),
    "a long reason": ("holds/h", {"reason": "r" * 5000}, 400, "reason"),
    "a list of lists": ("holds/h", {"calls": [["c"]]}, 400, ""),
}


@pytest.mark.parametrize(("path", "body", "status", "said"), WRONG.values(), ids=WRONG)
async def test_a_rule_about_nobody_or_nothing_is_refused(
    gateway: Gateway, path: str, body: Json, status: int, said: str
) -> None:
    """What cannot be meant is refused and changes nothing; the answer quotes none of it."""
    answer = await gateway.ask("PUT", f"/v1/retention/{path}", json=body)
    assert answer.status_code == status, answer.text
    problem = answer.json()
    assert said in problem["detail"]
    assert "contosso" not in answer.text
    assert (await gateway.get("/v1/retention/policies"))["policies"] == []
    assert (await gateway.get("/v1/retention/holds"))["holds"] == []


async def test_rules_are_shown_replaced_and_removed(running: Gateway) -> None:
    """PUT replaces by name; GET shows what was put, in order; DELETE of what is not there is 404."""
    ann, bob = person("ann"), person("bob", STATES)
    first = await put(running, "policies/p", action="retain", days=3, participants=[bob, ann, ann], threads=["t"])
    assert first["participants"] == sorted([ann, bob])
    shown = await put(running, "policies/p", action="retain_then_delete", days=4, resources=[STATES.upper()])
    assert (shown["participants"], shown["threads"], shown["resources"]) == ([], [], [STATES])
    assert (shown["action"], shown["days"], shown["everything"]) == ("retain_then_delete", 4, False)
    assert await running.get("/v1/retention/policies/p") == shown
    hold = await put(running, "holds/h", calls=["daily"], reason="a reason\nin lines")
    assert await running.get("/v1/retention/holds") == {"holds": [hold]}
    assert (hold["calls"], hold["reason"], hold["everything"]) == (["daily"], "a reason\nin lines", False)
    for path in ("policies/p", "holds/h"):
        assert [await drop(running, path), await drop(running, path)] == [200, 404]
    assert (await running.ask("GET", "/v1/retention/holds/h")).status_code == 404
    entries = await running.entries()
    assert [each["kind"] for each in entries if "policy" in each["kind"] or "hold" in each["kind"]] == [
        *("policy.set", "policy.set", "hold.set", "policy.removed", "hold.removed")
    ]


async def test_rules_outlive_a_kill(running: Gateway) -> None:
    """What was answered with 200 holds after kill -9, and is about the same people."""
    ann, bob = person("ann"), person("bob", STATES)
    await put(running, "policies/p", action="delete", days=3, participants=[ann, bob])
    await put(running, "holds/h", participants=[bob])
    before = await running.get("/v1/retention/policies"), await running.get("/v1/retention/holds")
    running.restart()
    assert before == (await running.get("/v1/retention/policies"), await running.get("/v1/retention/holds"))
    old = datetime.now(UTC) - 4 * DAY
    await running.tell(message(ann, "late", sent_at=old), message(bob, "late", sent_at=old))
    assert (await content(running, ann), await content(running, bob)) == (None, None)
    assert (await explained(running, bob))["sent_now"]["held_by"] == ["h"]


# -- holds ------------------------------------------------------------------------------------------------------------


async def test_a_hold_keeps_and_its_end_lets_go(running: Gateway) -> None:
    """Whatever policies say nothing held goes, sweep after sweep; removed, what is overdue goes without waiting."""
    ann, bob, eve = person("ann"), person("bob"), person("eve")
    sent_at = datetime.now(UTC)
    await put(running, "policies/day", action="delete", days=1)
    await put(running, "holds/thread", threads=["held"])
    await put(running, "holds/call", calls=["daily"])
    await running.tell(
        joined("daily", bob),
        message(ann, "a", thread="held", sent_at=sent_at),
        message(bob, "b", sent_at=sent_at),
        message(eve, "e", sent_at=sent_at),
    )
    assert await sweep(running, sent_at + 2 * DAY) == 1
    assert [await content(running, each) for each in (ann, bob, eve)] == ["a", "b", None]
    assert [(await explained(running, each))["held_by"] for each in (ann, bob)] == [["thread"], ["call"]]
    assert await drop(running, "holds/thread") == 200
    assert await sweep(running, sent_at + 2 * DAY) == 1
    assert [await content(running, each) for each in (ann, bob)] == [None, "b"]


async def test_under_a_hold_nobody_can_make_a_message_disappear(running: Gateway) -> None:
    """What is superseded or deleted by its author is kept out of sight until the hold ends, and then goes."""
    ann = person("ann")
    await put(running, "holds/h", participants=[ann])
    sent_at = datetime.now(UTC) - timedelta(minutes=9)
    await running.tell(message(ann, "one", id_of_message="1", sent_at=sent_at))
    await running.tell(message(ann, "two", id_of_message="2", sent_at=sent_at + INSTANT))
    await running.tell(message(ann, None, id_of_message="2", version=2, sent_at=sent_at + INSTANT))
    assert await content(running, ann) is None
    copies = (await explained(running, ann))["copies"]
    assert [each["state"] for each in copies] == ["hidden", "hidden"]
    assert [each["principle"] for each in copies] == ["superseded", "deleted"]
    assert len(running.select("europe", "SELECT 1 FROM messages")) == 2
    assert await drop(running, "holds/h") == 200
    await sweep(running)
    assert running.select("europe", "SELECT 1 FROM messages") == []
    decided = {each["principle"] for found in await certificates(running) for each in found["decided"]}
    assert decided == {"superseded", "deleted"}


# -- erasures ---------------------------------------------------------------------------------------------------------


async def test_an_erased_person_is_named_nowhere_and_every_proof_stays(running: Gateway, call: str) -> None:
    """P2 and P7 together: coverage and pack count who was erased and name nobody; what was signed before verifies."""
    ann, bob = person("ann"), person("bob")
    async with dialling(running) as dial:
        anna, bert = await dial(ann, call, name="Ann Archer"), await dial(bob, call, name="Bob")
        await running.tell(observed(call))
        receipt = await anna.prove(await anna.hear("notice"))
        await bert.hear("notice")
        await anna.say("the last word")
        await running.tell(roster(call, 1, ann, bob, person("eve")))
        before = await export(running, call)
        proof = await running.ask("GET", f"/v1/ledgers/europe/proof/{receipt['entry']}")
        answer = await erase(running, ann)
        assert answer.status_code == 200
        assert answer.json() | {"certificates": []} == {
            "participant": ann,
            "region": "europe",
            "messages": 1,
            "presences": 1,
            "certificates": [],
        }
        assert await content(running, ann) is None
        assert await anna.join(call)  # she is connected, and is told as before
        await running.tell(observed(call, capability="transcription"))
        told = await anna.hear("notice", capability="transcription")
        assert (await anna.prove(told))["entry"] > receipt["entry"]
        found = await running.coverage(call)
        started = next(each for each in found["notices"] if each["capability"] == "recording")
        assert (started["owed"], started["proved"]) == (3, 1)
        assert {gap["participant"] for gap in started["gaps"]} == {bob, person("eve")}
    await running.tell(call_ended(call))
    again = (await running.ask("GET", f"/v1/ledgers/europe/proof/{receipt['entry']}")).text
    assert again.splitlines()[0] == proof.text.splitlines()[0]
    pack = await export(running, call)
    assert ann.encode() in before["participants.jsonl"]
    assert not any(ann.encode() in each or b"Archer" in each for each in pack.values())
    assert b"erased participant" in pack["report.html"]
    assert len(pack.rows("presences.jsonl")) == len(pack.rows("participants.jsonl")) + 1
    (entry,) = of_kind(await running.entries(), "presence.erased")
    assert (entry["call"], len(entry["presences"])) == (call, 1)


async def test_packs_before_and_after_an_erasure_are_sound(running: Gateway, call: str) -> None:
    """An auditor accepts the pack with the name, which is older, and the one without."""
    async with dialling(running) as dial:
        anna = await dial(person("ann"), call)
        await running.tell(observed(call))
        await anna.prove(await anna.hear("notice"))
    await running.tell(call_ended(call))
    for number in range(2):
        answer = await running.ask("GET", f"/v1/calls/{call}/evidence")
        place = running.directory.parent / f"auditor-{number}"
        place.mkdir()
        status, line = verified(running, answer.content, place, ["europe"])
        assert status == 0, line
        assert (await erase(running, person("ann"))).status_code == 200
    done = running.run_verifier("europe")
    assert done.returncode == 0, done.stderr


async def test_a_gap_of_somebody_erased_stays_a_gap(running: Gateway, call: str) -> None:
    """P2: who was never told is listed as ever, without a name; after a restart too."""
    eve = person("eve")
    await running.tell(joined(call, eve, "Eve"), observed(call))
    assert gaps(await running.coverage(call)) == {eve: "unreachable"}
    assert (await erase(running, eve)).status_code == 200
    assert gaps(await running.coverage(call)) == {None: "unreachable"}
    running.restart()
    assert gaps(await running.coverage(call)) == {None: "unreachable"}
    assert (await erase(running, eve)).json()["presences"] == 0
    await running.tell(call_ended(call))
    assert gaps(await running.coverage(call)) == {None: "unreachable"}


async def test_an_erasure_under_a_hold_waits(running: Gateway, call: str) -> None:
    """409 names the holds; asked again it is the same; after kill -9 and the last hold's end it is carried out."""
    ann = person("ann")
    await running.tell(joined(call, ann), message(ann, "kept"))
    await put(running, "holds/one", participants=[ann])
    await put(running, "holds/two", calls=[call])
    for _ in range(2):
        answer = await erase(running, ann)
        assert (answer.status_code, answer.json()["code"]) == (409, "held")
        assert "one, two" in answer.json()["detail"]
    assert await content(running, ann) == "kept"
    assert len(of_kind(await running.entries(), "erasure.waiting", held_by=["one", "two"])) == 1
    assert await drop(running, "holds/one") == 200
    running.restart()
    asked_at = (await explained(running, ann))["erasure_asked_at"]
    assert asked_at is not None
    assert await content(running, ann) == "kept"
    assert await drop(running, "holds/two") == 200
    await sweep(running)
    assert await content(running, ann) is None
    assert (await explained(running, ann))["erasure_asked_at"] is None
    (certificate,) = await certificates(running)
    assert (certificate["class"], certificate["asked_at"]) == ("person", asked_at)
    assert (certificate["messages"], certificate["presences"], certificate["checked"]) == (1, 1, 2)


async def test_who_has_no_place_here_is_refused_and_recorded(running: Gateway) -> None:
    """P6: at the doors of erasure and of rules as at every other; the entry says nothing of whom."""
    for participant in (person("x", NOWHERE), "8:orgid:someone"):
        answer = await erase(running, participant)
        assert (answer.status_code, answer.json()["code"]) == (404, "region_not_served")
    await running.ask("PUT", "/v1/retention/holds/h", json={"participants": [person("x", NOWHERE)]})
    await running.ask("GET", f"/v1/retention/explain/{person('x', NOWHERE)}")
    await running.tell(observed("later"))  # what was recorded before it is durable by then
    refused = of_kind(await running.entries(), "refused")
    assert [each["door"] for each in refused] == ["erase", "erase", "retention", "retention"], refused
    assert not any(word in json.dumps(refused) for word in ("8:acs", "8:orgid", NOWHERE, "someone"))


async def test_a_late_duplicate_does_not_bring_an_erased_message_back(running: Gateway) -> None:
    """Events are repeated for days; what is new is stored again."""
    ann = person("ann")
    said = message(ann, "gone")
    await running.tell(said)
    await erase(running, ann)
    await running.tell({**said, "id": "late"})
    assert await content(running, ann) is None
    await running.tell(message(ann, "new", id_of_message="2"))
    assert await content(running, ann) == "new"
    running.restart()
    assert await content(running, ann) == "new"


async def test_nothing_personal_leaves_by_log_or_ledger(running: Gateway, call: str) -> None:
    """House rule 9: rules, holds, reasons, erasures and refusals leave no name, thread or reason in either."""
    ann = person("needle-ann")
    await put(running, "policies/p", action="delete", days=1, participants=[ann], threads=["needle-thread"])
    await put(running, "holds/h", participants=[ann], reason="needle reason")
    await running.tell(joined(call, ann, "Needle"), message(ann, "needle body", thread="needle-thread"))
    await erase(running, ann)
    await drop(running, "holds/h")
    await erase(running, ann)
    text = json.dumps(await running.entries()) + "".join(running.log_lines())
    assert "needle" not in text.lower()
    shown = await running.get("/v1/retention/policies/p")
    assert (shown["participants"], shown["threads"], shown["everything"]) == ([], ["needle-thread"], False)


# -- commands ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alive", [True, False], ids=["asking the gateway", "by themselves"])
async def test_the_commands_do_the_same_with_and_without_a_gateway(own_gateway: Gateway, alive: bool) -> None:
    """Each says what it did in one line and exits 0; what is refused says why and exits 2."""
    gateway, ann = own_gateway.start(), person("ann")
    await gateway.tell(joined("daily", ann), message(ann, "kept"))
    if not alive:
        gateway.terminate()

    def run(*words: str, status: int = 0) -> str:
        done = gateway.run("retention", *words)
        assert done.returncode == status, (words, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done.stdout if status == 0 else done.stderr

    run("policy", "add", "week", "--action", "delete", "--days", "7", "--participant", ann, "--thread", "t")
    assert "week" in run("policy", "list")
    (policy,) = json.loads(run("policy", "list", "--json"))
    assert (policy["days"], policy["participants"], policy["threads"]) == (7, [ann], ["t"])
    run("hold", "add", "case", "--call", "daily", "--reason", "why")
    assert "call daily" in run("hold", "list")
    told = json.loads(run("explain", "--participant", ann, "--json"))
    assert (told["copies"][0]["policies"], told["held_by"]) == (["week"], ["case"])
    assert "case" in run("explain", "--participant", ann)
    assert "held by case" in run("erase", "--participant", ann, status=2)
    run("hold", "remove", "case")
    assert "there is no hold" in run("hold", "remove", "case", status=2)
    run("erase", "--participant", ann)
    assert json.loads(run("explain", "--participant", ann, "--json"))["copies"] == []
    assert "not configured" in run("erase", "--participant", person("x", NOWHERE), status=2)
    run("policy", "remove", "week")
    assert run("policy", "list") == "There is no policy.\n"
    run("policy", "add", "default", "--action", "delete", "--days", "7", status=2)
    run("policy", "add", "x", "--action", "shred", "--days", "7", status=2)
    run("sweep", "--now", "2027-01-01T00:00:00Z")
