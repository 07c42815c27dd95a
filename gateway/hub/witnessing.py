"""Witnessing: the regions of this process vouch for one another's ledgers, and others' cosignatures are kept.

Rules: only checkpoints and hashes go from one region to another; a region with nothing new is not looked at; what
contradicts what a witness saw makes the process not ready for good, since no later entry can heal it, and is no entry
itself, or each refusal would give the others something new to vouch for. Owned by the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

from gateway.core.errors import NotDurable, Refusal
from gateway.hub.commits import Commit
from gateway.hub.ledgers import Ledgers
from gateway.log import logger
from gateway.metrics import Metrics
from storage.note import ED25519, Checkpoint, Note, Verifier, parse_checkpoint, parse_note, parse_verifiers
from storage.operations import Cosign, CosignOutcome, KeepCosignature, Operation
from storage.reader import Reader
from storage.signing import NoteRefused, judge, opened

EVERY: Final = 2.0
"""Seconds between two looks for newer checkpoints."""
PATIENCE: Final = 5.0
"""Seconds that a commit may take here; it is not lost if it takes longer."""

_LOG: Final = logger("witnessing")

_REFUSALS: Final = {
    "rolled back": "was rolled back: region {witness} has seen {seen} of its entries, there are {size};"
    " put the newer file back",
    "forked": "was forked: its entries are not those that region {witness} has seen, {seen} of them;"
    " put that file back",
    "foreign key": "is signed by another key than region {witness} has seen; put its own keys and file back",
    "not signed": "has a checkpoint that its key did not sign; restore it from a backup",
}
"""Why a witness refuses, as readiness says it."""


class Witnessing:
    """Every region's checkpoints, shown to every other region."""

    def __init__(
        self,
        ledgers: Ledgers,
        witnesses: Sequence[Verifier],
        metrics: Metrics,
        now: Callable[[], datetime],
        broken: Callable[[str], None],
    ) -> None:
        """`witnesses` are those outside whose cosignatures are kept; `broken` hears of a ledger that is another."""
        self._ledgers: Final = ledgers
        self._witnesses: Final = witnesses
        self._metrics: Final = metrics
        self._now: Final = now
        self._broken: Final = broken
        self._loop: Final = asyncio.get_running_loop()
        self._shown: Final[dict[tuple[str, str], str]] = {}
        self._troubles: Final[set[str]] = set()

    async def run(self) -> None:
        """Show what is new, every so often for ever."""
        while True:
            await asyncio.sleep(EVERY)
            await self.look()

    async def look(self) -> None:
        """Show every region's newest checkpoint to every other region that has not judged it yet."""
        for region in self._ledgers.regions:
            for witness in self._ledgers.regions:
                note = self._ledgers.regions[region].checkpoint
                if region == witness or note is None or self._shown.get((region, witness)) == note:
                    continue
                if self._ledgers.failing.keys() & {region, witness}:
                    continue
                try:
                    if await self._show(region, witness, note):
                        self._shown[region, witness] = note
                except NotDurable as error:
                    _LOG.warning("not witnessed", region=region, witness=witness, reason=str(error))
                except Exception as error:  # a damaged tree must not take the other regions down with it
                    self._shown[region, witness] = note
                    damage = f"cannot be proved to region {witness} ({type(error).__name__}); verify both"
                    self._contradicted(region, "not proved", f"the ledger of region {region} {damage}")

    async def _show(self, region: str, witness: str, note: str) -> bool:
        """Have `witness` judge `region`'s checkpoint; whether that is done with. Raises `NotDurable`."""
        origin = self._ledgers.regions[region].origin
        checkpoint = parse_checkpoint(parse_note(note).body)
        seen = await self._ledgers.read(witness, lambda reader: reader.witnessed(origin))
        if seen is not None and (seen.size, seen.root) == (checkpoint.size, checkpoint.root):
            name = _cosigner(self._ledgers.regions[witness].verifier).name
            if await self._ledgers.read(region, lambda reader: name in reader.cosigners(checkpoint.size)):
                return True
        old = 0 if seen is None or seen.size > checkpoint.size else seen.size
        path = await self._ledgers.read(region, lambda reader: tuple(reader.consistency(old, checkpoint.size)))
        verifier = _signer(self._ledgers.regions[region].verifier)
        outcome = await self._do(witness, Cosign(origin, verifier.text(), note, old, path, self._now()))
        assert isinstance(outcome, CosignOutcome)
        return await self._heed(region, witness, checkpoint, outcome)

    async def _heed(self, region: str, witness: str, checkpoint: Checkpoint, outcome: CosignOutcome) -> bool:
        if outcome.kind == "other start":
            return False
        if outcome.kind == "cosigned":
            await self._do(region, KeepCosignature(checkpoint.size, outcome.name, outcome.line))
            self._metrics.cosigned(region)
            return True
        refusal = _REFUSALS[outcome.kind].format(witness=witness, seen=outcome.seen, size=checkpoint.size)
        self._contradicted(region, outcome.kind, f"the ledger of region {region} {refusal}")
        return True

    def _contradicted(self, region: str, kind: str, trouble: str) -> None:
        """Count every refusal, tell of each kind once: numbers change with every entry, the trouble does not."""
        self._metrics.cosignature_refused(region)
        if (told := f"{region} {kind}") not in self._troubles:
            self._troubles.add(told)
            self._broken(trouble)

    async def _do(self, region: str, *operations: Operation) -> Any:
        """The last operation's answer, once all of them are durable. Raises `NotDurable`."""
        done: asyncio.Future[Any] = self._loop.create_future()

        def then(commit: Commit) -> None:
            if not done.done():
                done.set_result(commit.results[-1])

        self._ledgers.submit(region, operations, then)
        try:
            return await asyncio.wait_for(done, PATIENCE)
        except TimeoutError:
            raise NotDurable(f"storage of region {region} cannot write now") from None

    # -- from outside ---------------------------------------------------------------------------------------------

    async def keep(self, region: str, text: str) -> list[str]:
        """Keep the cosignatures of configured witnesses under a checkpoint of `region`; whose they are.

        Raises `Refusal` 404 for a region that is not served; 400 for what is no checkpoint that this region signed,
        or has no valid cosignature to keep; 409 for one that it signed and does not hold. Raises `NotDurable`.
        """
        served = self._ledgers.regions.get(region)
        if served is None:
            raise Refusal("unknown_region", "this region is not served here", status=404)
        try:
            checkpoint, note = opened(text, [_signer(served.verifier)])
        except NoteRefused:
            raise Refusal("bad_request", "the body is no checkpoint that this region signed") from None
        body = await self._ledgers.read(region, lambda reader: _stored_body(reader, checkpoint.size))
        if body != note.body:
            # It was signed in the commit that stored it: where it is not stored, that was another history.
            trouble = f"the ledger of region {region} is not the one whose {checkpoint.size} entries it once signed"
            self._contradicted(region, "once signed", f"{trouble}; put that file back")
            raise Refusal("other_history", trouble, status=409)
        lines = _valid_lines(note, self._witnesses)
        if not lines:
            raise Refusal("bad_request", "no witness of witnesses_file cosigned this checkpoint")
        await self._do(region, *(KeepCosignature(checkpoint.size, name, line) for name, line in lines.items()))
        return list(lines)


def _stored_body(reader: Reader, size: int) -> str | None:
    note = reader.checkpoint_of(size)
    return None if note is None else parse_note(note).body


def _valid_lines(note: Note, witnesses: Sequence[Verifier]) -> dict[str, str]:
    """The lines of the witnesses among those under the note, by name. Raises `Refusal` 400 if one is not valid."""
    lines: dict[str, str] = {}
    for witness in witnesses:
        valid = judge(note, witness)
        if valid is False:
            raise Refusal("bad_request", "a cosignature is not valid")
        for each in note.signatures:
            if valid and (each.name, each.key_id) == (witness.name, witness.key_id):
                lines[each.name] = each.text()
    return lines


def _signer(verifiers: str) -> Verifier:
    """The key that signs a region's checkpoints, among its public keys."""
    return next(each for each in parse_verifiers(verifiers) if each.algorithm == ED25519)


def _cosigner(verifiers: str) -> Verifier:
    """The key by which a region vouches for others."""
    return next(each for each in parse_verifiers(verifiers) if each.algorithm != ED25519)
