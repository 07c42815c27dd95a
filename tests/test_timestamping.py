"""An authority outside is asked for time stamps; whatever it does, nothing but the stamp is missing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest

from gateway.hub import timestamping
from gateway.hub.ledgers import Ledgers
from gateway.hub.timestamping import Timestamping
from gateway.metrics import Metrics
from gateway.outbound import NotFetched, ask
from storage.note import parse_note
from storage.operations import Append, SignCheckpoint
from storage.timestamping import LARGEST_TOKEN, judge, trusted
from tests.authority import QUERY, REPLY, Authority, Behaviour, Office

REGIONS = ("europe", "unitedstates")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority") / "a")


@pytest.fixture
def office(authority: Authority) -> Iterator[Office]:
    with Office(authority) as opened:
        yield opened


class Stand:
    """Two real regions and what stamps them."""

    def __init__(self, root: Path, url: str) -> None:
        self.metrics = Metrics()
        self.ledgers = Ledgers(lambda: None, pytest.fail)
        for region in REGIONS:
            self.ledgers.open(region, root / "data" / region, root / "keys" / region, "test")
        asked = partial(ask, url, asking=QUERY, answering=REPLY, limit=LARGEST_TOKEN)
        self.asked = asked
        self.stamping = Timestamping(self.ledgers, asked, self.metrics)

    async def append(self, region: str) -> None:
        self.ledgers.submit(region, [Append(b'{"kind":"x"}', None), SignCheckpoint()], lambda commit: None)
        await self.settle()

    async def settle(self) -> None:
        """Until all that was queued is written, and said to be."""
        while any(self.ledgers.queue().values()):
            for region in REGIONS:
                await self.ledgers.read(region, lambda reader: reader.size())

    async def newest(self, region: str) -> tuple[int, bytes] | None:
        """The newest time stamp, once all that was queued is written."""
        await self.settle()
        return await self.ledgers.read(region, lambda reader: reader.timestamp())

    def body(self, region: str) -> bytes:
        note = self.ledgers.checkpoint(region)
        assert note is not None
        return parse_note(note).body.encode()

    def counted(self, outcome: str) -> float:
        line = f'gateway_timestamps_total{{outcome="{outcome}"}} '
        text = self.metrics.render().decode()
        return float(text.partition(line)[2].partition("\n")[0] or 0)


@pytest.fixture
async def stand(tmp_path: Path, office: Office) -> AsyncIterator[Stand]:
    made = Stand(tmp_path, office.url)
    yield made
    await made.ledgers.close()


async def test_the_newest_checkpoint_of_each_region_is_stamped(stand: Stand, office: Office) -> None:
    """The token kept is over the checkpoint's body, and the authority saw no byte of it."""
    await stand.append("europe")
    assert await stand.stamping.look()
    roots = trusted(office.authority.root.read_bytes())
    for region, size in (("europe", 1), ("unitedstates", 0)):
        found = await stand.newest(region)
        assert found is not None
        assert found[0] == size
        assert judge(found[1], stand.body(region), roots)
        assert office.authority.believes(found[1], stand.body(region))
    assert len(office.asked) == 2
    assert not any(b"europe" in each for each in office.asked)


async def test_what_did_not_change_is_not_stamped_again(stand: Stand, office: Office, tmp_path: Path) -> None:
    """Neither later nor after a restart: an idle region asks nobody anything."""
    await stand.stamping.look()
    await stand.newest("europe")
    await stand.stamping.look()
    assert len(office.asked) == 2
    anew = Timestamping(stand.ledgers, stand.asked, stand.metrics)
    assert await anew.look()
    assert len(office.asked) == 2
    await stand.append("europe")
    assert await anew.look()
    assert len(office.asked) == 3


@pytest.mark.parametrize("behaviour", ["fails", "redirects", "mislabels", "floods", "babbles", "stalls"])
async def test_an_authority_that_fails_stops_nothing(
    stand: Stand, office: Office, behaviour: Behaviour, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is counted, nothing is kept, no address it names is asked, and the next time may do."""
    monkeypatch.setattr(timestamping, "PATIENCE", 0.2 if behaviour == "stalls" else 5.0)
    office.behaviour = behaviour
    began = asyncio.get_running_loop().time()
    assert not await stand.stamping.look()
    assert asyncio.get_running_loop().time() - began < 5
    assert stand.counted("failed") == 2
    assert len(office.asked) == 2
    assert await stand.newest("europe") is None
    office.behaviour = "stamps"
    monkeypatch.undo()
    assert await stand.stamping.look()
    assert await stand.newest("europe") is not None
    assert stand.counted("kept") == 2


async def test_an_answer_to_another_question_is_not_kept(stand: Stand, office: Office) -> None:
    """Not even a good token over the same checkpoint: its number is not the one that was asked with."""
    assert await stand.stamping.look()
    before = await stand.newest("europe")
    office.behaviour = "repeats"
    await stand.append("europe")
    assert not await stand.stamping.look()
    assert await stand.newest("europe") == before


async def test_an_authority_that_refuses_is_not_believed(stand: Stand, tmp_path: Path) -> None:
    """An answer that says no is no time stamp."""
    with Office(Authority(tmp_path / "choosy", digests="sha512")) as choosy:
        asked = partial(ask, choosy.url, asking=QUERY, answering=REPLY, limit=LARGEST_TOKEN)
        assert not await Timestamping(stand.ledgers, asked, stand.metrics).look()
    assert stand.counted("failed") == 2


async def test_nobody_is_asked_where_there_is_no_authority(stand: Stand) -> None:
    """A pack is made without a time stamp then."""
    nobody = Timestamping(stand.ledgers, None, stand.metrics)
    note = stand.ledgers.checkpoint("europe")
    assert note is not None
    assert await nobody.stamp("europe", note) is None
    assert stand.counted("failed") == 0


async def test_a_pack_is_stamped_at_once_or_not_at_all(
    stand: Stand, office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever exports waits a bounded time and goes on without."""
    note = stand.ledgers.checkpoint("europe")
    assert note is not None
    token = await stand.stamping.stamp("europe", note)
    assert token is not None
    assert judge(token, stand.body("europe"), trusted(office.authority.root.read_bytes()))
    monkeypatch.setattr(timestamping, "PATIENCE", 0.2)
    office.behaviour = "stalls"
    assert await stand.stamping.stamp("europe", note) is None


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/tsr", "http://[::1", "tsa"])
async def test_an_address_that_leads_nowhere_is_a_failure(url: str) -> None:
    """Nobody listens there, or it is no address: said in one line that does not quote it."""
    with pytest.raises(NotFetched) as caught:
        await ask(url, b"question", asking=QUERY, answering=REPLY, limit=100)
    assert url not in str(caught.value)


async def test_an_answer_is_bounded(office: Office) -> None:
    """A byte more than allowed is refused."""
    office.behaviour = "floods"
    assert len(await ask(office.url, b"?", asking=QUERY, answering=REPLY, limit=1_000_000)) == 1_000_000
    with pytest.raises(NotFetched, match="more than"):
        await ask(office.url, b"?", asking=QUERY, answering=REPLY, limit=999_999)
