"""Ledgers as a gateway may show them, true and false: made by the RFC's own recursion, signed by real keys."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import Any

from gateway.client.frames import Consistency
from storage.note import COSIGNATURE, ED25519, Checkpoint, Note
from storage.signing import Signer, load, new_key
from tests.storage.test_merkle import mth, subproof

ORIGIN = "contoso/europe"
SIGNER = load(new_key(ORIGIN, ED25519))
WITNESS = load(new_key(f"{ORIGIN}/witness", COSIGNATURE))
VERIFIER = f"{SIGNER.verifier.text()}\n{WITNESS.verifier.text()}\n"
"""What `verifier.vkey` holds."""


class History:
    """One ledger: `size` entries, from the `fork`-th on not those of other histories."""

    def __init__(self, size: int = 20, *, fork: int | None = None, origin: str = ORIGIN) -> None:
        other = size if fork is None else fork
        self.leaves = [b"entry %d" % number + b"!" * (number >= other) for number in range(size)]
        self.origin = origin

    def note(self, size: int, *signers: Signer, cosigned: int = 0) -> str:
        """The checkpoint at `size`, signed by these, by the origin's key unless somebody else is named."""
        body = Checkpoint(self.origin, size, mth(self.leaves[:size])).body()
        signatures = [each.sign(body) for each in signers or (SIGNER,)]
        return Note(body, (*signatures, *[WITNESS.cosign(body, second) for second in range(cosigned)])).text()

    def hashes(self, old: int, new: int) -> list[bytes]:
        """The proof between two sizes."""
        return subproof(old, self.leaves[:new], known=True) if old else []

    def proof(self, old: int, new: int) -> Consistency:
        """The proof as a client reads it."""
        return Consistency(start=old, end=new, hashes=tuple(self.hashes(old, new)))

    def welcome(self, new: int, old: int | None = None) -> dict[str, Any]:
        """The fields of a welcome that shows `new` entries, and proves that they continue `old`."""
        fields: dict[str, Any] = {"checkpoint": self.note(new)}
        if old is not None:
            fields["consistency"] = proof_fields(old, new, self.hashes(old, new))
        return fields


def proof_fields(old: int, new: int, hashes: Sequence[bytes]) -> dict[str, Any]:
    """A proof as it stands in a welcome."""
    return {"from": old, "to": new, "hashes": [b64encode(each).decode() for each in hashes]}
