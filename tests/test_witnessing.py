"""The regions of a process vouch for one another; what contradicts what was seen makes the process not ready."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.core.errors import NotDurable, Refusal
from gateway.hub.ledgers import Ledgers
from gateway.hub.witnessing import Witnessing
from gateway.metrics import Metrics
from storage.engine import connect_writer
from storage.note import COSIGNATURE, Note, Signature, parse_checkpoint, parse_note, parse_verifiers
from storage.operations import Append, SignCheckpoint
from storage.signing import Signer, judge, load, new_key
from tests.storage.desk import forget

REGIONS = ("asia", "europe", "unitedstates")
NOW = datetime(2026, 11, 23, 14, tzinfo=UTC)


class Stand:
    """Real regions under one roof, the troubles they are in, and witnesses outside."""

    def __init__(self, root: Path, regions: tuple[str, ...] = REGIONS) -> None:
        self.root = root
        self.regions = regions
        self.troubles: list[str] = []
        self.outside = [load(new_key(f"witness.example/w{number}", COSIGNATURE)) for number in range(2)]
        self.open()

    def open(self) -> None:
        self.metrics = Metrics()
        self.ledgers = Ledgers(lambda: None, self.troubles.append)
        for region in self.regions:
            self.ledgers.open(region, self.data(region), self.root / "keys" / region, "test")
        verifiers = [each.verifier for each in self.outside]
        self.witnessing = Witnessing(self.ledgers, verifiers, self.metrics, lambda: NOW, self.troubles.append)

    def data(self, region: str) -> Path:
        return self.root / "data" / region

    async def restart(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        await self.ledgers.close()
        meanwhile()
        self.open()

    def keep(self, region: str) -> None:
        """Copy a region that is closed."""
        shutil.copytree(self.data(region), self.root / f"copy-{region}")

    def put_back(self, region: str) -> None:
        shutil.rmtree(self.data(region))
        shutil.copytree(self.root / f"copy-{region}", self.data(region))
        forget(self.root / "keys" / region)

    async def append(self, region: str, *texts: str) -> None:
        leaves = [Append(b'{"kind":"%b"}' % text.encode(), None) for text in texts]
        self.ledgers.submit(region, [*leaves, SignCheckpoint()], lambda commit: None)
        await self.settle()

    async def settle(self) -> None:
        while any(self.ledgers.queue().values()):
            for region in self.regions:
                await self.ledgers.read(region, lambda reader: reader.size())

    async def look(self) -> None:
        await self.witnessing.look()
        await self.settle()

    async def note(self, region: str) -> Note:
        """What is served: the newest checkpoint with its cosignatures."""
        found = await self.ledgers.read(region, lambda reader: reader.checkpoint())
        assert found is not None
        return parse_note(found[1])

    async def vouchers(self, region: str) -> set[str]:
        """The regions whose cosignatures stand under the newest checkpoint and verify."""
        note = await self.note(region)
        keys = {each: parse_verifiers(self.ledgers.regions[each].verifier)[1] for each in self.regions}
        judged = {each: judge(note, key) for each, key in keys.items()}
        assert False not in judged.values()
        return {each for each, valid in judged.items() if valid}

    async def sizes(self) -> dict[str, int]:
        return {region: await self.ledgers.read(region, lambda reader: reader.size()) for region in self.regions}

    def counted(self, name: str, region: str) -> float:
        line = f'gateway_{name}_total{{region="{region}"}} '
        return float(self.metrics.render().decode().partition(line)[2].partition("\n")[0] or 0)

    async def posted(self, region: str, *signatures: Signature) -> list[str]:
        note = await self.note(region)
        return await self.witnessing.keep(region, Note(note.body, (note.signatures[0], *signatures)).text())


@pytest.fixture
async def stand(tmp_path: Path) -> AsyncIterator[Stand]:
    made = Stand(tmp_path)
    yield made
    await made.ledgers.close()


async def test_every_region_vouches_for_every_other(stand: Stand) -> None:
    """Each newest checkpoint carries the cosignatures of all the others and not its own, in the time it is."""
    await stand.append("europe", "a", "b")
    await stand.look()
    for region in REGIONS:
        assert await stand.vouchers(region) == set(REGIONS) - {region}
        for each in (await stand.note(region)).signatures[1:]:
            assert int.from_bytes(each.blob[:8], "big") == int(NOW.timestamp())
    assert stand.troubles == []
    await stand.append("europe", "c")
    assert await stand.vouchers("europe") == set()
    await stand.look()
    assert await stand.vouchers("europe") == {"asia", "unitedstates"}
    assert stand.counted("cosignatures", "europe") == 4
    assert stand.counted("cosignatures", "asia") == 2


async def test_idle_regions_cost_nothing(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking again without anything new neither reads nor writes, and witnessing gives nobody anything new."""
    await stand.append("europe", "a")
    await stand.look()
    sizes = await stand.sizes()
    monkeypatch.setattr(stand.ledgers, "read", None)
    monkeypatch.setattr(stand.ledgers, "submit", None)
    await stand.witnessing.look()
    monkeypatch.undo()
    assert await stand.sizes() == sizes == {"asia": 0, "europe": 1, "unitedstates": 0}


async def test_a_restart_asks_for_nothing_new(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was vouched for and kept is not vouched for again; an honest restart leaves no trouble."""
    await stand.append("europe", "a")
    await stand.look()
    await stand.restart()
    monkeypatch.setattr(stand.ledgers, "submit", None)
    await stand.witnessing.look()
    monkeypatch.undo()
    assert stand.troubles == []
    assert await stand.vouchers("europe") == {"asia", "unitedstates"}


async def test_a_cosignature_that_a_crash_lost_is_asked_for_again(stand: Stand) -> None:
    """Given by the witness, but not yet kept by the region."""
    await stand.append("europe", "a")
    await stand.look()

    def lose() -> None:
        with closing(connect_writer(stand.data("europe") / "region.db")) as connection:
            connection.execute("DELETE FROM cosignatures WHERE name LIKE '%/asia/%'")

    await stand.restart(lose)
    assert await stand.vouchers("europe") == {"unitedstates"}
    await stand.look()
    assert await stand.vouchers("europe") == {"asia", "unitedstates"}


async def test_one_region_alone_has_no_witness(tmp_path: Path) -> None:
    """It vouches for itself only by its signature."""
    alone = Stand(tmp_path, ("europe",))
    await alone.append("europe", "a")
    await alone.look()
    assert len((await alone.note("europe")).signatures) == 1
    assert alone.troubles == []
    await alone.ledgers.close()


async def test_an_old_copy_is_noticed_at_start(stand: Stand) -> None:
    """The sisters say how much they saw; nothing is vouched for, and no entry is written about it."""
    await stand.append("europe", "a")
    await stand.restart(lambda: stand.keep("europe"))
    await stand.append("europe", "b", "c")
    await stand.look()
    await stand.restart(lambda: stand.put_back("europe"))
    await stand.look()
    (trouble,) = stand.troubles
    assert trouble.startswith("the ledger of region europe was rolled back")
    assert "3 of its entries, there are 1" in trouble
    assert await stand.vouchers("europe") == set()
    assert await stand.vouchers("asia") == {"europe", "unitedstates"}
    assert stand.counted("cosignatures_refused", "europe") == 2
    assert await stand.sizes() == {"asia": 0, "europe": 1, "unitedstates": 0}


@pytest.mark.parametrize("texts", [["x", "y"], ["x", "y", "z"]])
async def test_an_old_copy_that_grew_another_way_is_noticed(stand: Stand, texts: list[str]) -> None:
    """As long as it was, or longer: it is another history; each of its later checkpoints is refused too."""
    await stand.append("europe", "a")
    await stand.restart(lambda: stand.keep("europe"))
    await stand.append("europe", "b", "c")
    await stand.look()
    await stand.restart(lambda: stand.put_back("europe"))
    await stand.append("europe", *texts)
    await stand.look()
    (trouble,) = stand.troubles
    assert trouble.startswith("the ledger of region europe was forked")
    await stand.append("europe", "more")
    await stand.look()
    assert len(stand.troubles) == 1
    assert stand.counted("cosignatures_refused", "europe") == 4
    assert await stand.vouchers("europe") == set()


async def test_a_region_made_anew_is_noticed(stand: Stand) -> None:
    """Neither its keys nor its entries are those that its sisters know under its name."""
    await stand.append("europe", "a")
    await stand.look()

    def make_anew() -> None:
        shutil.rmtree(stand.data("europe"))
        shutil.rmtree(stand.root / "keys" / "europe")

    await stand.restart(make_anew)
    await stand.append("europe", "a")
    await stand.look()
    (trouble,) = stand.troubles
    assert "signed by another key" in trouble
    assert await stand.vouchers("europe") == set()


async def test_a_damaged_tree_takes_no_other_region_down(stand: Stand) -> None:
    """A proof that cannot be made is a trouble of that region's; the others go on vouching for one another."""
    await stand.append("europe", *["a"] * 300)
    await stand.look()

    def damage() -> None:
        with closing(connect_writer(stand.data("europe") / "region.db")) as connection:
            connection.execute("DELETE FROM tiles")

    await stand.append("europe", *["b"] * 300)
    await stand.append("asia", "a")
    # Found at start it would be refused; here the file is damaged under the gateway's hands.
    damage()
    await stand.look()
    (trouble,) = stand.troubles
    assert trouble.startswith("the ledger of region europe cannot be proved")
    assert await stand.vouchers("asia") == {"europe", "unitedstates"}
    await stand.look()
    assert len(stand.troubles) == 1


async def test_a_witness_put_back_still_vouches(stand: Stand) -> None:
    """What it saw is older then, and the others grew since: nothing contradicts that; itself it is another matter."""
    await stand.append("asia", "a")
    await stand.append("europe", "a")
    await stand.look()
    await stand.restart(lambda: stand.keep("asia"))
    await stand.append("europe", "b")
    await stand.look()
    await stand.restart(lambda: stand.put_back("asia"))
    await stand.look()
    assert stand.troubles == []
    await stand.append("europe", "c")
    await stand.look()
    assert await stand.vouchers("europe") == {"asia", "unitedstates"}


async def test_a_region_that_cannot_write_is_left_alone(stand: Stand) -> None:
    """Neither side is asked while its disk fails, and the others go on."""
    await stand.append("europe", "a")
    stand.ledgers.failing["unitedstates"] = "disk full"
    await stand.look()
    assert await stand.vouchers("europe") == {"asia"}
    assert await stand.vouchers("unitedstates") == set()
    stand.ledgers.failing.clear()
    await stand.look()
    assert await stand.vouchers("europe") == {"asia", "unitedstates"}


# -- from outside -----------------------------------------------------------------------------------------------------


def cosigned(signer: Signer, note: Note, seconds: int = 1) -> Signature:
    return signer.cosign(note.body, seconds)


async def test_configured_witnesses_are_kept_and_served(stand: Stand) -> None:
    """Their lines stand under the checkpoint from then on, the newer in place of the older, beside the sisters'."""
    await stand.append("europe", "a")
    await stand.look()
    note = await stand.note("europe")
    one, two = stand.outside
    assert await stand.posted("europe", cosigned(one, note)) == [one.verifier.name]
    both = cosigned(one, note, 2), cosigned(two, note)
    assert await stand.posted("europe", *both) == [one.verifier.name, two.verifier.name]
    served = await stand.note("europe")
    assert set(both) < set(served.signatures)
    assert len(served.signatures) == 1 + 2 + 2
    assert await stand.vouchers("europe") == {"asia", "unitedstates"}


async def test_an_older_checkpoint_may_be_vouched_for_late(stand: Stand) -> None:
    """The witness came by before more was written: its line is kept where it belongs."""
    await stand.append("europe", "a")
    note = await stand.note("europe")
    await stand.append("europe", "b")
    text = Note(note.body, (*note.signatures, cosigned(stand.outside[0], note))).text()
    assert await stand.witnessing.keep("europe", text) == ["witness.example/w0"]
    assert await stand.ledgers.read("europe", lambda reader: reader.cosigners(1)) == {"witness.example/w0"}
    assert len((await stand.note("europe")).signatures) == 1


async def test_lines_of_others_are_not_kept(stand: Stand) -> None:
    """Nobody who is not configured, no log's signature, and not what names a witness and is not valid."""
    await stand.append("europe", "a")
    note = await stand.note("europe")
    stranger = load(new_key("witness.example/w0", COSIGNATURE))
    one, two = stand.outside
    good, bad = cosigned(one, note), cosigned(two, note)._replace(blob=bytes(72))
    other = cosigned(one, note._replace(body=note.body.replace("\n1\n", "\n2\n")))
    for signatures in ((), (cosigned(stranger, note),), (bad,), (good, bad), (other,)):
        with pytest.raises(Refusal) as caught:
            await stand.posted("europe", *signatures)
        assert caught.value.status == 400
    assert await stand.ledgers.read("europe", lambda reader: reader.cosigners(1)) == set()
    assert stand.troubles == []


async def test_what_this_region_never_signed_is_refused(stand: Stand) -> None:
    """Another region's checkpoint, a body without our signature, no note at all, a region that is not here."""
    await stand.append("europe", "a")
    await stand.append("asia", "a")
    (one, _), note, foreign = stand.outside, await stand.note("europe"), await stand.note("asia")
    for text in (
        Note(foreign.body, (*foreign.signatures, cosigned(one, foreign))).text(),
        Note(note.body, (cosigned(one, note),)).text(),
        note.body,
        "",
    ):
        with pytest.raises(Refusal) as caught:
            await stand.witnessing.keep("europe", text)
        assert caught.value.status == 400
    with pytest.raises(Refusal) as caught:
        await stand.witnessing.keep("africa", note.text())
    assert caught.value.status == 404
    assert stand.troubles == []


async def test_a_checkpoint_we_signed_and_do_not_hold_is_another_history(stand: Stand) -> None:
    """A witness outside comes back with what an old copy has forgotten: refused, counted, and not ready any more."""
    await stand.append("europe", "a")
    await stand.restart(lambda: stand.keep("europe"))
    await stand.append("europe", "b", "c")
    note = await stand.note("europe")
    text = Note(note.body, (*note.signatures, cosigned(stand.outside[0], note))).text()
    await stand.restart(lambda: stand.put_back("europe"))
    for _ in range(2):
        with pytest.raises(Refusal) as caught:
            await stand.witnessing.keep("europe", text)
        assert caught.value.status == 409
    await stand.append("europe", "x", "y")
    assert parse_checkpoint((await stand.note("europe")).body).size == 3
    with pytest.raises(Refusal) as caught:
        await stand.witnessing.keep("europe", text)
    assert caught.value.status == 409
    assert len(stand.troubles) == 1
    assert "europe" in stand.troubles[0]
    assert stand.counted("cosignatures_refused", "europe") == 3


async def test_what_cannot_be_written_is_not_promised(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer before the line is on disk."""
    await stand.append("europe", "a")
    note = await stand.note("europe")
    monkeypatch.setattr("gateway.hub.witnessing.PATIENCE", 0.05)
    monkeypatch.setattr(stand.ledgers, "submit", lambda region, operations, then: None)
    with pytest.raises(NotDurable):
        await stand.posted("europe", cosigned(stand.outside[0], note))
