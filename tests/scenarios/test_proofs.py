"""A receipt can be proved to anybody, with our own code and once without it; what is not there is not proved."""

from __future__ import annotations

import asyncio
import base64
import subprocess
from pathlib import Path

import httpx
import pytest

from storage.merkle import includes, is_consistent, leaf_hash
from storage.note import ED25519, Checkpoint, Verifier, parse_checkpoint, parse_note, parse_proof, parse_verifiers
from storage.signing import opened
from tests.scenarios.events import observed
from tests.scenarios.harness import Gateway, Json
from tests.scenarios.peers import Dial
from tests.storage.test_merkle import mth, path, subproof

SETTINGS = {"NOTICES__DEADLINE_SECONDS": "60", "LEDGER__NAME": "contoso"}
ORIGIN = "contoso/europe"


def verifiers(gateway: Gateway) -> list[Verifier]:
    """The region's public keys, as an auditor was given them."""
    return parse_verifiers((gateway.directory / "keys" / "europe" / "verifier.vkey").read_text())


async def text(gateway: Gateway, route: str) -> str:
    """The text that a route of the ledger must answer."""
    answer = await gateway.ask("GET", f"/v1/ledgers/europe/{route}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain; charset=utf-8"), answer.text
    return answer.text


async def leaves(gateway: Gateway) -> list[bytes]:
    """Every entry, byte for byte."""
    return (await gateway.ask("GET", "/v1/ledgers/europe/entries")).content.splitlines()


async def signed(gateway: Gateway) -> tuple[Checkpoint, str]:
    """The newest checkpoint, which the region's key signed."""
    note = await text(gateway, "checkpoint")
    checkpoint, _ = opened(note, verifiers(gateway))
    return checkpoint, note


def hashes(found: Json) -> list[bytes]:
    """The hashes of a consistency proof."""
    return [base64.b64decode(each, validate=True) for each in found["hashes"]]


async def test_a_receipt_is_proved_as_soon_as_it_is_seen(gateway: Gateway, dial: Dial, call: str) -> None:
    """P1 and P8: entry, path, root and signature belong together, also before the next checkpoint would have come."""
    anna = await dial("anna", call)
    await gateway.tell(observed(call))
    notice = await anna.hear("notice", change="started")
    for level in ("received", "displayed", "acknowledged", "consented"):
        receipt = await anna.prove(notice, level)
        index, proof, note = parse_proof(await text(gateway, f"proof/{receipt['entry']}"))
        checkpoint, _ = opened(note, verifiers(gateway))
        leaf = (await leaves(gateway))[receipt["entry"]]
        assert (index, checkpoint.origin) == (receipt["entry"], ORIGIN)
        assert f'"level":"{level}"'.encode() in leaf
        assert includes(index, checkpoint.size, leaf_hash(leaf), proof, checkpoint.root)
        assert not includes(index, checkpoint.size, leaf_hash(leaf + b" "), proof, checkpoint.root)


async def test_an_auditor_without_our_code_comes_to_the_same(gateway: Gateway, call: str, tmp_path: Path) -> None:
    """The root by the RFC's own recursion over the entries, the signature by openssl over the note's body."""
    await gateway.tell(*(observed(f"{call}-{number}") for number in range(20)))
    await text(gateway, f"proof/{len(await leaves(gateway)) - 1}")
    note = await text(gateway, "checkpoint")
    body, _, lines = note.rpartition("\n\n")
    origin, size, root = body.split("\n")
    entries = (await leaves(gateway))[: int(size)]
    assert origin == ORIGIN
    assert base64.b64decode(root) == mth(entries)

    (line,) = [line for line in lines.splitlines() if line.startswith(f"\N{EM DASH} {ORIGIN} ")]
    vkey = (gateway.directory / "keys" / "europe" / "verifier.vkey").read_text().splitlines()[0]
    name, key_id, key = vkey.split("+", 2)
    found = base64.b64decode(line.split(" ")[2])
    assert (name, key_id) == (ORIGIN, found[:4].hex())
    # RFC 8410 §4: an Ed25519 public key as openssl reads it is these twelve bytes and the key.
    public = bytes.fromhex("302a300506032b6570032100") + base64.b64decode(key)[1:]
    for file, content in (("key", public), ("sig", found[4:]), ("body", f"{body}\n".encode())):
        (tmp_path / file).write_bytes(content)
    verify = ["openssl", "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-rawin"]
    verify += ["-inkey", str(tmp_path / "key"), "-sigfile", str(tmp_path / "sig"), "-in", str(tmp_path / "body")]
    assert subprocess.run(verify, capture_output=True, check=False).returncode == 0
    (tmp_path / "body").write_bytes(f"{body}\n".replace(size, str(int(size) + 1), 1).encode())
    assert subprocess.run(verify, capture_output=True, check=False).returncode != 0

    entry = int(size) // 2
    _, proof, proved = parse_proof(await text(gateway, f"proof/{entry}"))
    covered = parse_checkpoint(parse_note(proved).body).size
    assert proof == path(entry, (await leaves(gateway))[:covered])


async def test_the_ledger_only_grows(gateway: Gateway, call: str) -> None:
    """Every checkpoint is continued by all later ones; the proof is the RFC's."""
    seen = [(await signed(gateway))[0]]
    for number in range(4):
        await gateway.tell(*(observed(f"{call}-{number}-{each}") for each in range(number + 1)))
        await text(gateway, f"proof/{len(await leaves(gateway)) - 1}")
        seen.append((await signed(gateway))[0])
    entries = await leaves(gateway)
    assert len({each.size for each in seen}) == len(seen)
    for place, new in enumerate(seen):
        for old in seen[: place + 1]:
            found = await gateway.get("/v1/ledgers/europe/consistency", **{"from": old.size, "to": new.size})
            assert (found["from"], found["to"]) == (old.size, new.size)
            assert is_consistent(old.size, new.size, hashes(found), old.root, new.root)
            if old.size:
                assert hashes(found) == subproof(old.size, entries[: new.size], known=True)
    newest = await gateway.get("/v1/ledgers/europe/consistency", **{"from": seen[0].size})
    assert newest["to"] == (await signed(gateway))[0].size


@pytest.mark.parametrize(
    ("route", "status"),
    [
        ("europe/proof/999999", 404),
        ("europe/proof/9007199254740991", 404),
        ("asia/proof/0", 404),
        ("asia/checkpoint", 404),
        ("asia/consistency?from=0", 404),
        ("europe/proof/-1", 400),
        ("europe/proof/first", 400),
        ("europe/consistency", 400),
        ("europe/consistency?from=2&to=1", 400),
        ("europe/consistency?from=999999", 400),
        ("europe/consistency?from=0&to=999999", 400),
        ("europe/consistency?from=-1&to=1", 400),
    ],
)
async def test_what_is_not_there_is_not_proved(gateway: Gateway, route: str, status: int) -> None:
    """As a problem document, never as something that could pass for a proof."""
    await gateway.tell(observed("any"), observed("other"))
    answer: httpx.Response = await gateway.ask("GET", f"/v1/ledgers/{route}")
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


async def test_a_proof_holds_after_every_restart(own_gateway: Gateway) -> None:
    """What was proved before a kill is the beginning of the ledger after it; the key is the same."""
    gateway = own_gateway.start()
    await gateway.tell(*(observed(f"call-{number}") for number in range(5)))
    entries = await leaves(gateway)
    proofs = [await text(gateway, f"proof/{entry}") for entry in range(len(entries))]
    old = parse_checkpoint(parse_note(parse_proof(proofs[-1])[2]).body)
    keys = verifiers(gateway)
    gateway.restart()
    await gateway.tell(observed("later"))
    gateway.terminate()
    gateway.start()
    new, note = await signed(gateway)
    assert keys == verifiers(gateway)
    assert keys[0].algorithm == ED25519
    opened(note, keys)
    assert (await leaves(gateway))[: len(entries)] == entries
    found = await gateway.get("/v1/ledgers/europe/consistency", **{"from": old.size, "to": new.size})
    assert is_consistent(old.size, new.size, hashes(found), old.root, new.root)


class TestWelcome:
    async def test_a_hello_with_a_checkpoint_is_answered_with_the_proof(
        self, gateway: Gateway, dial: Dial, call: str
    ) -> None:
        """From there to the newest; and what the client said at once is answered after it."""
        old, note = await signed(gateway)
        await gateway.tell(observed(call))
        await text(gateway, f"proof/{len(await leaves(gateway)) - 1}")
        peer = await dial.open("8:acs:11111111-1111-1111-1111-111111111111_anna")
        await peer.send("hello", token=gateway.token(peer.participant, call), checkpoint=note)
        await peer.send("join", id="1", call=call)
        welcome = await peer.next()
        assert welcome["type"] == "welcome"
        new, _ = opened(welcome["checkpoint"], verifiers(gateway))
        assert (welcome["consistency"]["from"], welcome["consistency"]["to"]) == (old.size, new.size)
        assert old.size < new.size
        assert is_consistent(old.size, new.size, hashes(welcome["consistency"]), old.root, new.root)
        assert (await peer.next())["type"] == "state"

    @pytest.mark.parametrize(
        "seen", ["", "x", "contoso/europe\n1\nAAAA\n", "\n\n\n", "\N{EM DASH} " * 2048, "{}", "\N{PILE OF POO}" * 2048]
    )
    async def test_a_hello_with_anything_else_is_welcomed_all_the_same(
        self, gateway: Gateway, dial: Dial, call: str, seen: str
    ) -> None:
        """The client judges; its session is none the worse."""
        peer = await dial("anna", call, checkpoint=seen)
        (welcome,) = [frame for frame in peer.heard if frame["type"] == "welcome"]
        assert opened(welcome["checkpoint"], verifiers(gateway))
        assert "consistency" not in welcome
        await gateway.tell(observed(call))
        await peer.prove(await peer.hear("notice", change="started"))

    async def test_another_regions_checkpoint_is_not_continued_here(
        self, gateway: Gateway, dial: Dial, call: str
    ) -> None:
        """Each region has a ledger of its own."""
        note = (await gateway.ask("GET", "/v1/ledgers/unitedstates/checkpoint")).text
        peer = await dial("anna", call, checkpoint=note)
        assert "consistency" not in peer.heard[0]

    async def test_two_hundred_who_return_at_once_get_their_proofs(
        self, gateway: Gateway, dial: Dial, call: str
    ) -> None:
        """From checkpoints of different ages, while the ledger grows under them."""
        notes = []
        for number in range(4):
            await gateway.tell(observed(f"{call}-{number}"))
            await text(gateway, f"proof/{len(await leaves(gateway)) - 1}")
            notes.append(await signed(gateway))
        peers = await asyncio.gather(
            *(dial(f"user-{number}", call, checkpoint=notes[number % 4][1]) for number in range(200))
        )
        for number, peer in enumerate(peers):
            old, new = notes[number % 4][0], opened(peer.heard[0]["checkpoint"], verifiers(gateway))[0]
            proof = peer.heard[0]["consistency"]
            assert is_consistent(old.size, new.size, hashes(proof), old.root, new.root)
