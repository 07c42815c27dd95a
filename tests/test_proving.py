"""What auditors are given: a checkpoint that is signed, and proofs that lead to it, or a plain no."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.core.errors import NotDurable, Refusal
from gateway.hub.proving import Proving
from storage.merkle import EMPTY_ROOT, includes, is_consistent, leaf_hash
from storage.note import parse_proof, parse_verifiers
from storage.operations import KeepCosignature
from storage.signing import opened
from tests.ledger_world import World, checkpoint
from tests.storage.desk import append
from tests.storage.test_merkle import mth, path, subproof


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    opened = World(tmp_path)
    yield opened
    await opened.ledgers.close()


async def test_a_new_ledger_has_a_signed_checkpoint(world: World) -> None:
    """Of nothing, and its key signed it."""
    note = await Proving(world.ledgers).checkpoint("europe")
    found, _ = opened(note, parse_verifiers(world.ledgers.regions["europe"].verifier))
    assert found == ("contoso/europe", 0, EMPTY_ROOT)


async def test_a_checkpoint_comes_with_its_cosignatures(world: World) -> None:
    """What a witness vouched for is served with its word."""
    note = await world.grow(3)
    line = "\N{EM DASH} witness AAAAAAAA\n"
    await world.do(KeepCosignature(checkpoint(note).size, "witness", line))
    assert await Proving(world.ledgers).checkpoint("europe") == note + line


async def test_every_entry_has_its_proof(world: World) -> None:
    """Path and root are those of the RFC's own recursion over the leaves."""
    await world.grow(19)
    leaves = await world.leaves()
    for entry, leaf in enumerate(leaves):
        index, hashes, note = parse_proof(await Proving(world.ledgers).proof("europe", entry))
        found = checkpoint(note)
        assert (index, found.size, found.root) == (entry, len(leaves), mth(leaves))
        assert hashes == path(entry, leaves)
        assert includes(entry, found.size, leaf_hash(leaf), hashes, found.root)


async def test_an_entry_that_no_checkpoint_covers_is_signed_for_at_once(world: World) -> None:
    """The proof does not wait for the checkpoint that would come by itself."""
    await world.grow(1)
    (entry,) = await world.do(append("new"))
    began = asyncio.get_running_loop().time()
    index, _, note = parse_proof(await Proving(world.ledgers).proof("europe", entry))
    assert (index, checkpoint(note).size) == (entry, entry + 1)
    assert asyncio.get_running_loop().time() - began < 0.4


async def test_what_cannot_be_signed_in_time_is_not_proved(world: World) -> None:
    """503, after a second; what is covered already is proved all the same."""
    await world.grow(1)
    (entry,) = await world.do(append("new"))
    with world.stuck():
        with pytest.raises(NotDurable):
            await Proving(world.ledgers).proof("europe", entry)
        await Proving(world.ledgers).proof("europe", entry - 1)
    assert checkpoint(parse_proof(await Proving(world.ledgers).proof("europe", entry))[2]).size == entry + 1


async def test_a_region_that_is_known_to_fail_keeps_nobody_waiting(world: World) -> None:
    """503 at once."""
    await world.grow(1)
    (entry,) = await world.do(append("new"))
    world.ledgers.failing["europe"] = "full"
    began = asyncio.get_running_loop().time()
    with pytest.raises(NotDurable):
        await Proving(world.ledgers).proof("europe", entry)
    assert asyncio.get_running_loop().time() - began < 0.4


@pytest.mark.parametrize("beyond", [0, 1, 2**53])
async def test_there_is_no_proof_of_what_is_not_there(world: World, beyond: int) -> None:
    """404, and nothing is signed for the asking."""
    await world.grow(3)
    size = len(await world.leaves())
    with pytest.raises(Refusal) as refusal:
        await Proving(world.ledgers).proof("europe", size + beyond)
    assert (refusal.value.status, refusal.value.code) == (404, "unknown_entry")


async def test_a_region_that_is_not_served_has_nothing(world: World) -> None:
    """404 for each of the three."""
    proving = Proving(world.ledgers)
    for asked in (proving.checkpoint("asia"), proving.proof("asia", 0), proving.consistency("asia", 0, None)):
        with pytest.raises(Refusal) as refusal:
            await asked
        assert (refusal.value.status, refusal.value.code) == (404, "unknown_region")


async def test_consistency_is_that_of_the_rfc(world: World) -> None:
    """Between any two sizes, signed or not, equal or none."""
    await world.grow(13)
    leaves = await world.leaves()
    for end in range(len(leaves) + 1):
        for start in range(end + 1):
            found = await Proving(world.ledgers).consistency("europe", start, end)
            assert (found.start, found.end) == (start, end)
            assert found.hashes == (subproof(start, leaves[:end], known=True) if start else [])
            assert is_consistent(start, end, found.hashes, mth(leaves[:start]), mth(leaves[:end]))


async def test_consistency_leads_to_the_newest_checkpoint_unless_somebody_says_where(world: World) -> None:
    """Not to entries that no checkpoint covers yet."""
    size = checkpoint(await world.grow(5)).size
    await world.do(append("new"))
    assert (await Proving(world.ledgers).consistency("europe", 2, None)).end == size


@pytest.mark.parametrize("sizes", [(3, 2), ("beyond", None), (0, "beyond"), ("beyond", "beyond"), (0, 2**53)])
async def test_sizes_beyond_the_ledger_or_backwards_are_400(world: World, sizes: tuple[int | str | None, ...]) -> None:
    """What is not there yet continues nothing and is continued by nothing."""
    await world.grow(5)
    beyond = len(await world.leaves()) + 1
    start, end = (beyond if each == "beyond" else each for each in sizes)
    assert isinstance(start, int)
    assert not isinstance(end, str)
    with pytest.raises(Refusal) as refusal:
        await Proving(world.ledgers).consistency("europe", start, end)
    assert refusal.value.status == 400


async def test_storage_that_cannot_be_read_is_503(world: World) -> None:
    """And not a proof of anything."""
    await world.grow(3)
    await world.ledgers.close()
    proving = Proving(world.ledgers)
    for asked in (proving.checkpoint("europe"), proving.proof("europe", 0), proving.consistency("europe", 0, None)):
        with pytest.raises(NotDurable):
            await asked
