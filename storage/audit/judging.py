"""What a command that verifies does: from the files it names to the one line and the exit, whoever asks.

Rules: every front end calls these two; they raise nothing for what is in the files, and the line is one line that does
nothing to a terminal, whatever the files are called.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from storage.audit import ledger, pack
from storage.audit.brought import read_verifiers, read_witnesses
from storage.audit.stamp import read_roots, with_stamp
from storage.audit.verdict import Refused, Verdict


def judge_ledger(
    source: Path,
    keys: Sequence[Path],
    *,
    checkpoints: Sequence[Path] = (),
    witnesses: Sequence[Path] = (),
    authorities: Path | None = None,
) -> Verdict:
    """The verdict on the ledger in `source`, a region's directory or its file, signed with `keys`.

    It must continue every one of `checkpoints`, be cosigned with every one of `witnesses`, and, with `authorities`
    (certificates in PEM), have a time stamp of one of them.
    """
    try:
        verifiers, cosigners = read_verifiers(keys), read_witnesses(witnesses)
        judged = ledger.verify(source, verifiers, checkpoints=checkpoints, witnesses=cosigners)
        if authorities is not None:
            judged = with_stamp(judged, source, authorities)
    except Refused as refused:
        judged = refused.verdict
    return _on_a_line(judged)


def judge_pack(path: Path, keys: Sequence[Path], *, authorities: Path | None = None) -> Verdict:
    """The verdict on the evidence pack in `path`, signed with some of `keys`.

    With `authorities` (certificates in PEM) every region's checkpoint must have a time stamp of one of them.
    """
    try:
        verifiers = read_verifiers(keys)
        judged = pack.verify(path, verifiers, roots=None if authorities is None else read_roots(authorities))
    except Refused as refused:
        judged = refused.verdict
    return _on_a_line(judged)


def _on_a_line(judged: Verdict) -> Verdict:
    return judged._replace(line="".join(each if each.isprintable() else "?" for each in judged.line))
