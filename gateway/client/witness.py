"""The client as a witness: the newest checkpoint of each ledger it was shown, and whether the next one continues it.

Rules: what was seen is given up only for what is proved to continue it (RFC 6962 §2.1.2, C2SP tlog-checkpoint); another
origin is another ledger, and what was seen of the one before is kept; whoever owes a proof too often is judged as if
there were none. No socket, clock or file: the app keeps the newest note over restarts.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from gateway.client.frames import Consistency, Forked
from storage.merkle import is_consistent
from storage.note import ED25519, Checkpoint, Note, Verifier, parse_checkpoint, parse_note, parse_verifiers
from storage.signing import judge

ORIGIN_LIMIT: Final = 64
"""Ledgers remembered; a participant has one, and another after a move."""
NOTE_LIMIT: Final = 4096
"""Characters of the longest note that a gateway takes in a `hello`."""
UNPROVEN_LIMIT: Final = 3
"""Welcomes in a row without the proof that is owed, until it counts as refused: a disk may fail for a moment."""


class _Seen(NamedTuple):
    """A checkpoint as it was shown; `said` is its note without cosignatures."""

    text: str
    said: str
    checkpoint: Checkpoint


class Witness:
    """What one client has seen; owned by the loop that runs it."""

    def __init__(self, checkpoint: str | None = None, verifier: str | None = None) -> None:
        """`checkpoint` was seen by an earlier client; `verifier` holds the public keys that must have signed.

        Raises ValueError for a checkpoint or keys that are none, and for a checkpoint that none of the keys signed.
        """
        keys = None if verifier is None else parse_verifiers(verifier)
        self._keys = None if keys is None else tuple(key for key in keys if key.algorithm == ED25519)
        self._seen: dict[str, _Seen] = {}
        self._unproven: dict[str, int] = {}
        self._origin = ""
        if checkpoint is not None:
            seen = _read(checkpoint, self._keys)
            self._origin = seen.checkpoint.origin
            self._seen[self._origin] = seen

    @property
    def newest(self) -> str | None:
        """The newest note of the ledger that was shown last; None before there was one."""
        return self._seen[self._origin].text if self._origin in self._seen else None

    @property
    def said(self) -> str | None:
        """What the next `hello` says was seen."""
        return self._seen[self._origin].said if self._origin in self._seen else None

    def judge(self, shown: str | None, proof: Consistency | None) -> bool:
        """Take what a welcome shows; False where it lacks its proof for now. Raises Forked."""
        if shown is None:
            if self._seen:
                raise Forked("the gateway no longer shows its ledger", self.newest, None)
            return True
        try:
            found = _read(shown, self._keys)
        except ValueError as error:
            raise Forked(f"the gateway shows no checkpoint that counts: {error}", self.newest, shown) from None
        self._origin, before = found.checkpoint.origin, self._origin
        known = self._seen.get(self._origin)
        if known is None and len(self._seen) >= ORIGIN_LIMIT:
            self._origin = before
            raise Forked("the gateway shows one ledger after another", self.newest, shown)
        if known is not None and not self._continues(known, found, proof):
            return False
        self._unproven.pop(self._origin, None)
        self._seen[self._origin] = found
        return True

    def _continues(self, known: _Seen, found: _Seen, proof: Consistency | None) -> bool:
        """Whether that is proved; False where nothing speaks against it but the proof is missing."""
        old, new = known.checkpoint, found.checkpoint
        if new.size < old.size:
            raise Forked(f"the ledger has {new.size} entries and had {old.size}", known.text, found.text)
        if new.size == old.size:
            if new.root != old.root:
                raise Forked(f"its {new.size} entries are not those it had", known.text, found.text)
            return True
        if proof is None and old.size > 0:
            owed = self._unproven[old.origin] = self._unproven.get(old.origin, 0) + 1
            if owed >= UNPROVEN_LIMIT:
                raise Forked(f"{owed} times it did not prove what it has become", known.text, found.text)
            return False
        sizes = (old.size, new.size) if proof is None else (proof.start, proof.end)
        hashes = () if proof is None else proof.hashes
        if sizes != (old.size, new.size) or not is_consistent(*sizes, hashes, old.root, new.root):
            raise Forked(f"its {new.size} entries do not continue the {old.size} it had", known.text, found.text)
        return True


def _read(text: str, keys: tuple[Verifier, ...] | None) -> _Seen:
    """The checkpoint in a note that one of the keys signed, where keys count. Raises ValueError."""
    note = parse_note(text)
    checkpoint = parse_checkpoint(note.body)
    said = Note(note.body, tuple(each for each in note.signatures if each.name == checkpoint.origin)).text()
    if len(said) > NOTE_LIMIT:
        raise ValueError("the note is too long")
    mine = [key for key in keys or () if key.name == checkpoint.origin]
    if keys is not None and not any(judge(note, key) for key in mine):
        raise ValueError("none of the given keys signed it")
    return _Seen(text, said, checkpoint)
