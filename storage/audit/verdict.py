"""What a verifier says in the end.

Rules: one exit code and one line; the line names the place, and never a person.
"""

from __future__ import annotations

from typing import Final, NamedTuple

SOUND: Final = 0
INCOMPLETE: Final = 10
"""Nothing is wrong, and something is missing."""
TAMPERED: Final = 20
ROLLED_BACK: Final = 30
"""An older or another history than one that was signed."""
UNVERIFIABLE: Final = 40
"""It cannot be read, or none of the given keys signed it."""


class Verdict(NamedTuple):
    """The end of a verification."""

    exit: int
    """One of the codes above, for the shell."""
    line: str
    """`<word>: <what and where>`, without a newline."""


class Refused(Exception):
    """Raised inside a verifier where the first thing is wrong; `verdict` says what."""

    def __init__(self, code: int, found: str) -> None:
        self.verdict = verdict(code, found)
        self.code = code
        self.found = found
        super().__init__(self.verdict.line)


_WORDS: Final = {
    SOUND: "sound",
    INCOMPLETE: "incomplete",
    TAMPERED: "tampered",
    ROLLED_BACK: "rolled back or forked",
    UNVERIFIABLE: "cannot be verified",
}


def verdict(code: int, found: str) -> Verdict:
    """The verdict with this exit code and its word in front of `found`."""
    return Verdict(code, f"{_WORDS[code]}: {found}")
