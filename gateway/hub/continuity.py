"""Continuity: what a returning client is shown of its region's ledger, and the proof that it continues what it saw.

Rules: a note that a client sends is judged and never believed; what cannot be proved is left out and fails nothing;
many who ask at once are answered from one read, and what was proved is kept. A checkpoint that our own key signed and
our tree does not continue is reported, whoever brings it. Owned by the loop, but for what the reader's thread is asked.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from typing import Final, NamedTuple

from gateway.core import wire
from gateway.hub.ledgers import Ledgers
from gateway.log import logger
from gateway.metrics import Metrics
from storage.merkle import consistency_path, root_at
from storage.note import Checkpoint, Note, parse_checkpoint, parse_note, parse_verifiers
from storage.reader import Reader
from storage.signing import judge

MOST_PROOFS: Final = 1024
"""Proofs kept for those who come back with the same checkpoint."""
AT_ONCE: Final = 64
"""Proofs made in one read, so that others who ask the region are not kept waiting."""
MOST_WAITING: Final = 20_000
"""Who may wait for a region's proofs while its storage does not answer; others are shown none."""
MOST_REPORTS: Final = 1000
"""Forks told apart, so that one that many clients bring is logged once."""

_LOG: Final = logger("continuity")
Shown = Callable[[str | None, wire.Consistency | None], None]
"""Takes the region's newest checkpoint and the proof that it continues the client's."""


class _Proof(NamedTuple):
    """From a size to that of the newest checkpoint: the root the tree has at the first, and the hashes between."""

    root: bytes
    hashes: list[bytes]


class _Read(NamedTuple):
    """What the reader's thread found: the newest checkpoint, and the proofs of all that it covers."""

    size: int
    note: str
    proofs: dict[int, _Proof]


class _Asked(NamedTuple):
    """A client's checkpoint, as it stands in the note, and who waits for what is shown."""

    checkpoint: Checkpoint
    note: Note
    then: Shown


class Continuity:
    """The regions' checkpoints as clients are shown them."""

    def __init__(self, ledgers: Ledgers, metrics: Metrics) -> None:
        self._ledgers = ledgers
        self._metrics = metrics
        self._proofs: OrderedDict[tuple[str, int, int], _Proof] = OrderedDict()
        self._waiting: dict[str, list[_Asked]] = {}
        self._reported: dict[tuple[str, int, bytes], None] = {}

    def show(self, region: str, seen: str | None, then: Shown) -> None:
        """Call `then` with the newest checkpoint and, where there is one, the proof from the checkpoint `seen`."""
        note = self._ledgers.checkpoint(region)
        asked = None if seen is None or note is None else _asked(seen, then)
        if asked is None or note is None or asked.checkpoint.origin != self._ledgers.regions[region].origin:
            then(note, None)
            return
        newest = _checkpoint(note)
        if asked.checkpoint.size == newest.size:
            proof: _Proof | None = _Proof(newest.root, [])
        else:
            proof = self._kept(region, asked.checkpoint.size, newest.size)
        if proof is not None:
            self._answer(region, asked, note, newest.size, proof)
        elif region not in self._waiting:
            self._waiting[region] = [asked]
            self._read(region)
        elif len(self._waiting[region]) < MOST_WAITING:
            self._waiting[region].append(asked)
        else:
            then(note, None)

    def _kept(self, region: str, start: int, end: int) -> _Proof | None:
        proof = self._proofs.get((region, start, end))
        if proof is not None:
            self._proofs.move_to_end((region, start, end))
        return proof

    def _read(self, region: str) -> None:
        """One read for as many as wait; the others follow with the next."""
        sizes = list(dict.fromkeys(asked.checkpoint.size for asked in self._waiting[region]))[:AT_ONCE]
        question = partial(_prove, frozenset(sizes), self._ledgers.regions[region].origin)
        self._ledgers.ask(region, question, partial(self._arrive, region, frozenset(sizes)))

    def _arrive(self, region: str, sizes: frozenset[int], found: _Read | None) -> None:
        waiting = self._waiting.pop(region)
        later = [asked for asked in waiting if found is not None and asked.checkpoint.size not in sizes]
        if later:
            self._waiting[region] = later
            self._read(region)
        if found is None:
            for asked in waiting:
                asked.then(self._ledgers.checkpoint(region), None)
            return
        for size, proof in found.proofs.items():
            self._proofs[region, size, found.size] = proof
            if len(self._proofs) > MOST_PROOFS:
                self._proofs.popitem(last=False)
        for asked in waiting:
            if asked.checkpoint.size in sizes:
                self._answer(region, asked, found.note, found.size, found.proofs.get(asked.checkpoint.size))

    def _answer(self, region: str, asked: _Asked, newest: str, size: int, proof: _Proof | None) -> None:
        if proof is None or proof.root != asked.checkpoint.root:
            self._judge(region, asked, size)
        # Also where it does not lead there: that the proof fails is the client's to see, and its evidence.
        consistency = None if proof is None else wire.Consistency(asked.checkpoint.size, size, proof.hashes)
        asked.then(newest, consistency)

    def _judge(self, region: str, asked: _Asked, size: int) -> None:
        """Our tree does not continue the client's checkpoint; if our own key signed that, our history has two ends."""
        log_key, *_ = parse_verifiers(self._ledgers.regions[region].verifier)
        if judge(asked.note, log_key) is not True:
            return  # anybody can write a note
        self._metrics.fork_reported(region)
        fork = region, asked.checkpoint.size, asked.checkpoint.root
        if fork not in self._reported and len(self._reported) < MOST_REPORTS:
            self._reported[fork] = None
            _LOG.error("fork reported", region=region, size=asked.checkpoint.size, ours=size)


def _asked(seen: str, then: Shown) -> _Asked | None:
    try:
        note = parse_note(seen)
        return _Asked(parse_checkpoint(note.body), note, then)
    except ValueError:
        return None


@lru_cache(maxsize=64)
def _checkpoint(note: str) -> Checkpoint:
    """What one of our own notes says."""
    return parse_checkpoint(parse_note(note).body)


def _prove(sizes: Iterable[int], origin: str, reader: Reader) -> _Read | None:
    """The newest checkpoint and what leads to it from each of these sizes. Runs on the reader thread."""
    newest = reader.checkpoint()
    if newest is None:
        return None
    size, text = newest
    note = parse_note(text)
    # Cosignatures are for auditors; a client could not send many of them back in its next hello.
    plain = Note(note.body, tuple(each for each in note.signatures if each.name == origin)).text()
    node = reader.tiles().node
    proofs = {each: _Proof(root_at(each, node), consistency_path(each, size, node)) for each in sizes if each <= size}
    return _Read(size, plain, proofs)
