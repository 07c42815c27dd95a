"""The evidence pack of a real gateway: made by route and by command, from live and from stopped, and what is in it."""

from __future__ import annotations

import asyncio
import base64
import json
import stat
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from storage.audit import archive
from storage.merkle import includes, leaf_hash
from storage.note import parse_checkpoint, parse_note
from storage.residue import scan
from tests.scenarios.events import call_ended, joined, observed
from tests.scenarios.harness import EUROPE, FABRIKAM, REGIONS, STATES, Gateway, Json, of_kind, person
from tests.scenarios.peers import Dial
from tests.source import ROOT

ANN, BOB, CYD = person("ann-evidence"), person("bob-evidence", STATES), person("cyd-evidence")
NAMES = {ANN: "Ann Exemplar", BOB: "Bob Exemplar", CYD: "Cyd Exemplar"}
FILES = {
    "README.txt",
    "coverage.json",
    "episodes.jsonl",
    "levels.jsonl",
    "manifest.json",
    "notices.jsonl",
    "participants.jsonl",
    "presences.jsonl",
    "report.html",
} | {
    f"regions/{region}/{name}"
    for region in ("europe", "unitedstates")
    for name in ("checkpoint.txt", "entries.jsonl", "export.jsonl", "proofs.jsonl")
}


class Unpacked(dict[str, bytes]):
    """A pack's files by name."""

    @classmethod
    def of(cls, data: bytes) -> Unpacked:
        """What any unzip makes of it."""
        with zipfile.ZipFile(BytesIO(data)) as pack:
            assert pack.testzip() is None
            return cls({name: pack.read(name) for name in pack.namelist()})

    def json(self, name: str) -> Json:
        """One file of JSON."""
        found: Json = json.loads(self[name])
        return found

    def rows(self, name: str) -> list[Json]:
        """A file of JSON lines."""
        return [json.loads(line) for line in self[name].splitlines()]


async def meet(gateway: Gateway, dial: Dial, call: str) -> Json:
    """Ann and Bob, in two regions, are told; Bob acknowledges, Ann only receives, Cyd never connects."""
    peers = {}
    for participant in (ANN, BOB):
        peer = peers[participant] = await dial.open(participant)
        await peer.hello(gateway.token(participant, call, name=NAMES[participant]), device=f"device-of-{participant}")
        await peer.join(call)
    start = observed(call)
    await gateway.tell(joined(call, CYD, NAMES[CYD]), start)
    notice = await peers[ANN].hear("notice")
    await peers[ANN].prove(notice, "received")
    await peers[BOB].prove(await peers[BOB].hear("notice"), "acknowledged")
    return start


async def export(gateway: Gateway, call: str, **query: Any) -> Unpacked:
    """The pack of a call by its route."""
    answer = await gateway.ask("GET", f"/v1/calls/{call}/evidence", params=query)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-disposition"].startswith(f'attachment; filename="evidence-{call[:20]}')
    return Unpacked.of(answer.content)


def verified(gateway: Gateway, pack: bytes, place: Path, regions: Sequence[str] = REGIONS) -> tuple[int, str]:
    """What an auditor's verifier says, who has the pack and public keys and no gateway: its exit and its line."""
    place.mkdir(exist_ok=True)
    (place / "pack.zip").write_bytes(pack)
    keys = [gateway.directory / "keys" / region / "verifier.vkey" for region in regions]
    (place / "keys.vkey").write_text("".join(each.read_text() for each in keys))
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "evidence", "verify", "pack.zip", "--key", "keys.vkey"],
        cwd=place,
        env={"PATH": "", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1
    return done.returncode, done.stdout.rstrip("\n")


def check_proofs(pack: Mapping[str, bytes], region: str) -> None:
    """Every entry of a region is in the tree of its checkpoint, by the RFC's own arithmetic."""
    folder = f"regions/{region}/"
    checkpoint = parse_checkpoint(parse_note(pack[folder + "checkpoint.txt"].decode()).body)
    leaves = [*pack[folder + "entries.jsonl"].splitlines(), *pack[folder + "export.jsonl"].splitlines()]
    proofs = [json.loads(line) for line in pack[folder + "proofs.jsonl"].splitlines()]
    assert len(proofs) == len(leaves)
    for leaf, proof in zip(leaves, proofs, strict=True):
        path = [base64.b64decode(each) for each in proof["hashes"]]
        assert includes(proof["index"], checkpoint.size, leaf_hash(leaf), path, checkpoint.root)


async def test_a_meeting_over_two_regions(gateway: Gateway, dial: Dial, call: str) -> None:
    """Everyone, every level and every gap is in it, and all of it leads to what the regions' keys signed."""
    start = await meet(gateway, dial, call)
    pack = await export(gateway, call)
    assert set(pack) == FILES
    coverage = pack.json("coverage.json")
    (notice,) = coverage["notices"]
    presences = {row["presence"]: row for row in pack.rows("presences.jsonl")}
    people = {row["presence"]: row["participant"] for row in pack.rows("participants.jsonl")}
    assert {people[gap["presence"]]: gap["reason"] for gap in notice["gaps"]} == {ANN: "pending", CYD: "unreachable"}
    (proved,) = notice["proved"]
    assert (people[proved["presence"]], proved["region"]) == (BOB, "unitedstates")
    assert not coverage["complete"]
    assert {row["level"] for row in pack.rows("levels.jsonl")} == {"received", "acknowledged"}
    assert {row["region"] for row in presences.values()} == {"europe", "unitedstates"}
    (episode,) = pack.rows("episodes.jsonl")
    digest = sha256(b"".join(len(each).to_bytes(8, "big") + each for each in (b"tests", start["id"].encode())))
    assert episode["opened_by"]["event"] == digest.hexdigest()
    for region in ("europe", "unitedstates"):
        check_proofs(pack, region)


async def test_an_auditor_finds_it_sound_and_the_gaps_in_it(
    gateway: Gateway, dial: Dial, call: str, tmp_path: Path
) -> None:
    """Exit 10 while somebody is not proved, 0 once everybody is, whoever is named."""
    await meet(gateway, dial, call)
    answer = await gateway.ask("GET", f"/v1/calls/{call}/evidence", params={"region": "europe"})
    exit_code, line = await asyncio.to_thread(verified, gateway, answer.content, tmp_path)
    assert exit_code == 10
    assert line.startswith(f"incomplete: contoso/{call} as of ")
    assert ": nothing is wrong, 2 gaps in 1 notice (" in line
    answer = await gateway.ask("GET", f"/v1/calls/{call}/evidence", params={"level": "sent"})
    assert (await asyncio.to_thread(verified, gateway, answer.content, tmp_path))[0] == 10
    alone = f"{call}-alone"
    ann = await dial(ANN, alone)
    await gateway.tell(observed(alone))
    await ann.prove(await ann.hear("notice"))
    answer = await gateway.ask("GET", f"/v1/calls/{alone}/evidence")
    exit_code, line = await asyncio.to_thread(verified, gateway, answer.content, tmp_path)
    assert (exit_code, line.partition(":")[0]) == (0, "sound")


async def test_an_auditor_finds_a_merged_and_ended_call_sound(
    gateway: Gateway, dial: Dial, call: str, tmp_path: Path
) -> None:
    """Two calls that are one, with somebody in both, a rejoin, a pause and an end: both folds say the same."""
    other = f"{call}-other"
    ann = await dial(ANN, other)
    bob = await dial(BOB, other)
    await gateway.tell(observed(other), joined(call, ANN), joined(call, CYD))
    await ann.prove(await ann.hear("notice"))
    await bob.prove(await bob.hear("notice"), "received")
    answer = await gateway.ask("PUT", f"/v1/calls/{call}/aliases", json={"aliases": [other]})
    assert answer.status_code == 200, answer.text
    await gateway.tell(observed(call, "paused"), observed(call, "active", capability="transcription"))
    await bob.leave(other)
    await bob.join(other)
    await gateway.tell(observed(call), call_ended(call))
    for question in ({}, {"region": "europe"}, {"level": "received"}, {"level": "consented"}):
        answer = await gateway.ask("GET", f"/v1/calls/{call}/evidence", params=question)
        exit_code, line = await asyncio.to_thread(verified, gateway, answer.content, tmp_path)
        assert (exit_code, line.partition(":")[0]) == (10, "incomplete"), (question, line)
    live = await gateway.coverage(call)
    packed = Unpacked.of(answer.content).json("coverage.json")
    assert [each["notice"] for each in packed["notices"]] == [each["notice"] for each in live["notices"]]
    assert [each["owed"] for each in packed["notices"]] == [each["owed"] for each in live["notices"]]


async def test_an_auditor_misses_no_changed_file_and_no_foreign_key(
    gateway: Gateway, dial: Dial, call: str, tmp_path: Path
) -> None:
    """One letter in any of its files; a pack of which one region's key is not at hand; what is no pack."""
    await meet(gateway, dial, call)
    pack = Unpacked.of((await gateway.ask("GET", f"/v1/calls/{call}/evidence")).content)
    for name in sorted(pack):
        changed = bytearray(pack[name] or b"x")
        changed[len(changed) // 2] ^= 1
        forged = archive.write({**pack, name: bytes(changed)})
        exit_code, line = await asyncio.to_thread(verified, gateway, forged, tmp_path)
        # Of a note one byte can name another key: then nobody at hand signed it.
        assert exit_code in ((20, 40) if name.endswith("checkpoint.txt") else (20,)), (name, line)
    whole = archive.write(pack)
    assert (await asyncio.to_thread(verified, gateway, whole, tmp_path, ["europe"]))[0] == 40
    assert (await asyncio.to_thread(verified, gateway, b"no pack at all", tmp_path))[0] == 40
    assert (await asyncio.to_thread(verified, gateway, whole[:-1], tmp_path))[0] == 20


async def test_the_opening_event_lies_beside_the_entries(gateway: Gateway, dial: Dial, call: str) -> None:
    """The observation names its event, and the event's own entry is in the pack once it is written."""
    await meet(gateway, dial, call)
    pack = await export(gateway, call)
    (episode,) = pack.rows("episodes.jsonl")
    events = of_kind(pack.rows("regions/europe/entries.jsonl"), "event")
    assert [each["digest"] for each in events] == [episode["opened_by"]["event"]]


async def test_the_export_is_an_entry_itself(gateway: Gateway, dial: Dial, call: str) -> None:
    """In every region of the call, with the manifest's digest, what was opened, and how much there was."""
    await meet(gateway, dial, call)
    pack = await export(gateway, call, region="europe")
    for region in ("europe", "unitedstates"):
        ledger = await gateway.entries(region)
        written = of_kind(ledger, "evidence.exported", call=call)
        assert written == pack.rows(f"regions/{region}/export.jsonl")
        (entry,) = written
        assert entry["manifest"] == "sha256:" + sha256(pack["manifest.json"]).hexdigest()
        assert entry["regions"] == ["europe"]
        about = [each for each in pack.rows(f"regions/{region}/entries.jsonl") if each.get("call") == call]
        assert entry["covers"] == [{"call": call, "entries": len(about)}]
        assert [each["ahead"] for each in about] == list(range(len(about)))
        assert entry["ahead"] == len(about)


async def test_a_second_export_holds_the_first(gateway: Gateway, dial: Dial, call: str) -> None:
    """Whoever exports is seen to have."""
    await meet(gateway, dial, call)
    first, second = await export(gateway, call), await export(gateway, call)
    for region in ("europe", "unitedstates"):
        (seen,) = of_kind(second.rows(f"regions/{region}/entries.jsonl"), "evidence.exported")
        assert [seen] == first.rows(f"regions/{region}/export.jsonl")


@pytest.mark.parametrize("opened", [("europe",), ("unitedstates",), ("europe", "unitedstates")])
async def test_nobody_is_named_whose_region_was_not_asked_for(
    gateway: Gateway, dial: Dial, call: str, opened: tuple[str, ...], tmp_path: Path
) -> None:
    """P6: not a raw id, a name or a device of anybody else, in whatever guise; of those asked for it is all there."""
    await meet(gateway, dial, call)
    answer = await gateway.ask("GET", f"/v1/calls/{call}/evidence", params={"region": list(opened)})
    (tmp_path / "pack").write_bytes(answer.content)
    at_home = {"europe": (ANN, CYD), "unitedstates": (BOB,)}
    for region, people in at_home.items():
        for participant in people:
            needles = [participant.encode(), participant.rpartition("_")[2].encode(), NAMES[participant].encode()]
            hits = scan(tmp_path, needles)
            assert bool(hits) == (region in opened), (participant, hits)
    assert scan(tmp_path, [b"device-of-"]) == []
    assert Unpacked.of(answer.content).json("coverage.json")["notices"][0]["owed"] == 3


async def test_the_command_writes_what_the_route_gives(gateway: Gateway, dial: Dial, call: str, tmp_path: Path) -> None:
    """Whole, readable by its owner only, and a file that is there is not overwritten nor anything asked for."""
    await meet(gateway, dial, call)
    out = tmp_path / "pack.zip"
    arguments = ("evidence", "export", call, "--out", str(out), "--region", "europe", "--level", "received")
    done = await asyncio.to_thread(gateway.run, *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"wrote {out}\n", "")
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    pack = Unpacked.of(out.read_bytes())
    assert set(pack) == FILES
    manifest = pack.json("manifest.json")
    assert (manifest["level"], [each["opened"] for each in manifest["regions"]]) == ("received", [True, False])
    size = len(await gateway.entries())
    again = await asyncio.to_thread(gateway.run, *arguments)
    assert again.returncode == 2
    assert again.stderr == f"gateway: {out}: exists and is not overwritten; give --out a new name\n"
    assert len(await gateway.entries()) == size
    assert Unpacked.of(out.read_bytes()) == pack
    assert list(tmp_path.iterdir()) == [out]


async def test_without_a_gateway_the_command_takes_the_locks(own_gateway: Gateway, tmp_path: Path) -> None:
    """The same evidence from the files alone; afterwards the gateway starts again."""
    own_gateway.start()
    async with Dial(own_gateway) as dial:
        await meet(own_gateway, dial, "call")
        await own_gateway.tell(call_ended("call"))
        live = await export(own_gateway, "call")
        assert own_gateway.terminate() == 0
    out = tmp_path / "pack.zip"
    done = own_gateway.run("evidence", "export", "call", "--out", str(out))
    assert (done.returncode, done.stderr) == (0, "")
    pack = Unpacked.of(out.read_bytes())
    assert pack["coverage.json"].partition(b'"complete"')[2] == live["coverage.json"].partition(b'"complete"')[2]
    assert pack["notices.jsonl"] == live["notices.jsonl"]
    for region in ("europe", "unitedstates"):
        check_proofs(pack, region)
    own_gateway.start()


@pytest.mark.parametrize(
    ("query", "status"),
    [({}, 404), ({"organization": "contoso"}, 404), ({"region": "mars"}, 404), ({"level": "seen"}, 400)],
)
async def test_what_nobody_knows_is_refused(gateway: Gateway, query: Json, status: int) -> None:
    """An unknown call, region or level: nothing is written for it."""
    before = [len(await gateway.entries(region)) for region in ("europe", "unitedstates")]
    answer = await gateway.ask("GET", "/v1/calls/never/evidence", params=query)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert [len(await gateway.entries(region)) for region in ("europe", "unitedstates")] == before


async def test_a_call_of_two_organisations_wants_one(gateway: Gateway, dial: Dial, call: str) -> None:
    """409 without the organisation; with it nothing of the other is in the pack."""
    await dial(person("ann"), call)
    await dial(person("eve", FABRIKAM), call)
    answer = await gateway.ask("GET", f"/v1/calls/{call}/evidence")
    assert answer.status_code == 409
    pack = await export(gateway, call, organization="fabrikam")
    told = [each for name in pack if name.endswith("entries.jsonl") for each in pack.rows(name)]
    assert {each["organization"] for each in told} == {"fabrikam"}
    assert EUROPE not in str(sorted(pack.items()))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nobody-knows",), "no such call"),
        (("nobody-knows", "--region", "mars"), "not served here"),
        (("nobody-knows", "--organization", "nobody"), "no such call"),
    ],
)
async def test_a_refused_command_leaves_no_file(
    gateway: Gateway, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    """One line, exit 2, and nothing where the pack would have been."""
    out = str(tmp_path / "pack.zip")
    done = await asyncio.to_thread(gateway.run, "evidence", "export", *arguments, "--out", out)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Path]:
    """A place where nothing can be written."""
    place = tmp_path / "missing" / "pack.zip"
    yield place
    assert not place.parent.exists()


async def test_where_nothing_can_be_written_nothing_is_exported(
    gateway: Gateway, dial: Dial, call: str, locked: Path
) -> None:
    """The place is looked at before the ledger says that anything was exported."""
    await meet(gateway, dial, call)
    done = await asyncio.to_thread(gateway.run, "evidence", "export", call, "--out", str(locked))
    assert done.returncode == 2
    assert of_kind(await gateway.entries(), "evidence.exported", call=call) == []
