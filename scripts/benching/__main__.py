"""`scripts/bench`: runs the workloads, prints the table, and writes it into docs/performance.md.

Rules: whatever happens, every process is ended and every file removed; the document is touched only by runs of full
size; exits 0 when everything was measured, whether or not the bounds are kept, 1 when a server or load failed, 130 when
interrupted.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import shlex
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rich.console import Console

from benching import report, versions
from benching.figures import Result
from benching.processes import SCRIPTS, cores, machine, raise_limit
from benching.stand import Stand
from benching.workloads import BESIDE, QUICK, UNPINNED, WORKLOADS, NotOffered, Size

DOCUMENT: Final = SCRIPTS.parent / "docs" / "performance.md"
KEPT: Final = DOCUMENT.with_suffix(".json")


def run(name: str, size: Size, options: argparse.Namespace, console: Console) -> Result:
    """One workload, from nothing to its figures."""
    free = options.free or name in UNPINNED
    began, load, on = time.monotonic(), os.getloadavg()[0], machine(free=free)
    mine, pair = os.sched_getaffinity(0), cores(free=free)
    with ExitStack() as stack, console.status(name) as status:
        stack.callback(os.sched_setaffinity, 0, mine)
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", dir=options.directory)))
        given = WORKLOADS[name](Stand(pair, directory, stack), size, lambda said: status.update(f"{name}: {said}"))
    return Result(
        workload=name,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        command=shlex.join(["scripts/bench", *sys.argv[1:]]),
        machine=on,
        load_average=load,
        versions=versions.all_of(beside=name in BESIDE),
        seconds=time.monotonic() - began,
        figures=given.figures,
        raw=given.raw,
    )


def main() -> None:
    """Read the command line, measure, print, write."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=str(__doc__).partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=WORKLOADS, metavar="NAME", help=f"of {', '.join(WORKLOADS)}")
    parser.add_argument("--rounds", type=int, help="that count, of each side (5)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that everything works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was measured there, too")
    parser.add_argument("--write", action="store_true", help=f"with --only: write the rows into {DOCUMENT.name}")
    parser.add_argument("--directory", type=Path, help="where the servers write (the system's temporary directory)")
    parser.add_argument("--free", action="store_true", help="pin no process to a core")
    options = parser.parse_args()
    if options.quick and options.write:
        parser.error("what --quick measures is nothing to write down")
    size = QUICK if options.quick else Size()
    if options.rounds:
        size = dataclasses.replace(size, rounds=options.rounds)
    raise_limit()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that every process is ended then, too
    try:
        bench(size, options)
    except KeyboardInterrupt:
        sys.exit(130)


def bench(size: Size, options: argparse.Namespace) -> None:
    """One workload after the other; what is measured is kept at once, whatever becomes of the next."""
    console, measured = Console(stderr=True), dict[str, Result]()
    for name in options.only or WORKLOADS:
        try:
            measured[name] = run(name, size, options, console)
        except NotOffered as error:
            console.print(f"{name}: not measured, {error}", highlight=False)
            continue
        report.show(Console(), {name: measured[name]})
        if options.json:
            report.keep(options.json, measured)
        if options.write or not (options.quick or options.only):
            results = report.ordered({**report.read(KEPT), **measured}, list(WORKLOADS))
            report.keep(KEPT, results)
            report.write(DOCUMENT, results)


if __name__ == "__main__":
    main()
