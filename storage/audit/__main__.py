"""`python -m storage.audit`: the verifiers, without a gateway, its configuration or a network."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from storage.audit import ledger
from storage.audit.brought import read_verifiers, read_witnesses
from storage.audit.verdict import Refused, Verdict


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    keyed = argparse.ArgumentParser(add_help=False)
    keyed.add_argument("--key", type=Path, action="append", required=True, metavar="VKEY_FILE", help="may be repeated")
    parser = argparse.ArgumentParser(prog="python -m storage.audit", allow_abbrev=False)
    subjects = parser.add_subparsers(required=True)
    verify = subjects.add_parser("ledger", help="a region's ledger").add_subparsers(required=True)
    whole = verify.add_parser("verify", parents=[keyed], help="check every entry, hash and signature")
    whole.add_argument("source", type=Path, metavar="DIR_OR_DB", help="the region's directory or its file")
    whole.add_argument("--checkpoint", type=Path, action="append", default=[], help="seen elsewhere; may be repeated")
    whole.add_argument("--witness", type=Path, action="append", default=[], metavar="VKEY_FILE", help="who cosigned it")
    whole.set_defaults(judge=_judge_ledger)
    return parser.parse_args(words)


def _judge_ledger(given: argparse.Namespace) -> Verdict:
    verifiers, witnesses = read_verifiers(given.key), read_witnesses(given.witness)
    return ledger.verify(given.source, verifiers, checkpoints=given.checkpoint, witnesses=witnesses)


def main(words: Sequence[str] | None = None) -> int:
    """Verify as `words` say; one line on standard output, and the exit code."""
    given = _arguments(words)
    try:
        judged: Verdict = given.judge(given)
    except Refused as refused:
        judged = refused.verdict
    print(judged.line)
    return judged.exit


if __name__ == "__main__":
    sys.exit(main())
