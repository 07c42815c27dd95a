"""`python -m storage.audit`: verifiers and a witness, without a gateway, its configuration or a network."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from storage.audit.judging import judge_ledger, judge_pack
from storage.audit.offered import Misused
from storage.audit.verdict import Refused, Verdict
from storage.audit.witness import cosign_files, make_key


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    keyed = argparse.ArgumentParser(add_help=False)
    keyed.add_argument("--key", type=Path, action="append", required=True, metavar="VKEY_FILE", help="may be repeated")
    parser = argparse.ArgumentParser(prog="python -m storage.audit", allow_abbrev=False)
    subjects = parser.add_subparsers(required=True)
    ledgers = subjects.add_parser("ledger", help="a region's ledger").add_subparsers(required=True)
    verify = ledgers.add_parser(
        "verify", parents=[keyed], allow_abbrev=False, help="check every entry, hash and signature"
    )
    verify.add_argument("source", type=Path, metavar="DIR_OR_DB", help="the region's directory or its file")
    verify.add_argument("--checkpoint", type=Path, action="append", default=[], help="seen elsewhere; may be repeated")
    verify.add_argument(
        "--witness", type=Path, action="append", default=[], metavar="VKEY_FILE", help="who cosigned it"
    )
    verify.add_argument("--tsa", type=Path, metavar="CA_PEM", help="whom to trust for the newest time stamp")
    verify.set_defaults(act=_judge_ledger)
    cosign = ledgers.add_parser("cosign", parents=[keyed], allow_abbrev=False, help="vouch for the newest checkpoint")
    cosign.add_argument("source", type=Path, help="a region's directory or file, or a checkpoint")
    cosign.add_argument("--witness-key", type=Path, required=True, metavar="FILE", help="our private key")
    cosign.add_argument("--state", type=Path, required=True, metavar="FILE", help="what was seen last; made at first")
    cosign.add_argument(
        "--consistency", type=Path, metavar="FILE", help="with a checkpoint: the answer of /consistency"
    )
    cosign.add_argument("--out", type=Path, metavar="FILE", help="where the cosigned checkpoint goes; a new file")
    cosign.set_defaults(act=_cosign)
    packs = subjects.add_parser("evidence", help="the evidence of a call").add_subparsers(required=True)
    examine = packs.add_parser("verify", parents=[keyed], allow_abbrev=False, help="check every claim of a pack")
    examine.add_argument("pack", type=Path, metavar="FILE", help="the evidence pack")
    examine.add_argument("--tsa", type=Path, metavar="CA_PEM", help="whom to trust for the time stamps")
    examine.set_defaults(act=_judge_pack)
    key = ledgers.add_parser("witness-key", help="make the key of a witness")
    key.add_argument("name", help="like witness.example/w1")
    key.add_argument("--out", type=Path, required=True, metavar="FILE", help="the private key; public: FILE.vkey")
    key.set_defaults(act=_make_key)
    return parser.parse_args(words)


def _judge_ledger(given: argparse.Namespace) -> int:
    return _say(
        judge_ledger(
            given.source,
            given.key,
            checkpoints=given.checkpoint,
            witnesses=given.witness,
            authorities=given.tsa,
        )
    )


def _judge_pack(given: argparse.Namespace) -> int:
    return _say(judge_pack(given.pack, given.key, authorities=given.tsa))


def _say(judged: Verdict) -> int:
    print(judged.line)
    return judged.exit


def _cosign(given: argparse.Namespace) -> int:
    now = int(time.time())
    try:
        cosigned = cosign_files(
            given.source,
            given.key,
            given.witness_key,
            given.state,
            seconds=now,
            consistency=given.consistency,
            out=given.out,
        )
    except Refused as refused:
        # Standard output is for the cosigned note alone.
        print(refused.verdict.line, file=sys.stderr)
        return refused.verdict.exit
    except (OSError, Misused) as error:
        return _refuse(error)
    if cosigned.first:
        print("seen for the first time: there was nothing to compare", file=sys.stderr)
    if given.out is None:
        sys.stdout.write(cosigned.note)
    return 0


def _make_key(given: argparse.Namespace) -> int:
    try:
        public = make_key(given.name, given.out)
    except ValueError as error:
        return _refuse(ValueError(f"NAME is none ({error})"))
    except OSError as error:
        return _refuse(error)
    print(f"wrote {given.out}\nwrote {public}")
    return 0


def _refuse(error: OSError | ValueError) -> int:
    reason = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
    line = "".join(each if each.isprintable() else "?" for each in reason)
    print(f"python -m storage.audit: {line}", file=sys.stderr)
    return 2


def main(words: Sequence[str] | None = None) -> int:
    """Do as `words` say; one line on standard output, or the cosigned note, and the exit code."""
    given = _arguments(words)
    done: int = given.act(given)
    return done


if __name__ == "__main__":
    sys.exit(main())
