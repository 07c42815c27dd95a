#!/usr/bin/env python3
"""The ledger's bench: how fast entries become durable, signed, proved and verified.

Rules: the writer is the product's own, on one core, and forms its own batches; the same inserts without stamps, tree
and checkpoints run in turn beside it; medians are printed, with the machine's name; every entry was confirmed after a
sync to disk, and the ledger that was measured verifies, or the bench fails.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import track
from rich.table import Table

from benching.processes import GATEWAY, LOAD, SETTINGS, start_gateway
from storage.audit import ledger as audit
from storage.audit import pack
from storage.audit.verdict import INCOMPLETE, SOUND, Verdict
from storage.entry import canonical
from storage.ledger import Ledger
from storage.note import parse_verifiers
from storage.operations import Append
from storage.reader import Reader
from storage.region import Region
from storage.writer import Completed

ENVIRONMENT: Final = {**os.environ, **SETTINGS}
LEAF: Final = {
    "kind": "level",
    "at": "2026-11-23T19:53:56.668Z",
    "organization": "contoso",
    "presence": "p_bn5dly6dmuxl3xxoncchgzwlwe",
    "region": "europe",
    "notice": "n_axz6gj6zkpxlml3srl5a3nnrfe",
    "level": "acknowledged",
    "reported_at": "2026-11-23T19:53:56.667Z",
    "session": "s_my2cc7xnakfcz5e3m55xmrn7me",
    "device": "fad4af65994ad292c1ae48890dc2084d",
    "digest": "sha256:0549146cc2c30fd334db0be565a174602a7fd8815a0e4d6e589df950d0504679",
}
"""An entry as there are most."""


class Plain(Ledger):
    """The same inserts without stamps, tree and checkpoints: what the ledger is measured beside."""

    def append(self, leaf: bytes, about: int | None) -> int:
        """Append the leaf as it is."""
        seq = self.size
        self._values += (seq, about, leaf, b"")
        self.size = seq + 1
        return seq

    def write(self) -> None:
        """Insert entries and nothing else."""
        self.flush()
        self._written = self._edge._replace(size=self.size), None, False


class Load:
    """A region under `root` and the entries that are under way to it."""

    def __init__(self, root: Path, waiting: int) -> None:
        self._room = threading.Semaphore(waiting)
        self.region = Region.open(
            "europe",
            directory=root / "data",
            key_directory=root / "keys",
            committed=self._committed,
            failing=lambda error: None,
        )
        self.groups = 0

    def _committed(self, done: list[Completed]) -> None:
        self.groups += 1
        self._room.release(len(done))

    def write(self, leaves: list[tuple[bytes, tuple[str, str]]], waiting: int) -> float:
        """Seconds from the first submission to the last confirmation, at most so many waiting at a time."""
        began = time.monotonic()
        for leaf, call in leaves:
            self._room.acquire()
            self.region.submit((Append(leaf, call),), None)
        for _ in range(waiting):
            self._room.acquire()
        took = time.monotonic() - began
        self._room.release(waiting)
        return took


def entries(count: int, calls: int) -> list[tuple[bytes, tuple[str, str]]]:
    """So many entries about so many calls, in turns."""
    leaves = [canonical({**LEAF, "call": f"call-{number}"}) for number in range(calls)]
    return [(leaves[number % calls], ("contoso", f"call-{number % calls}")) for number in range(count)]


def rate(
    kind: type[Ledger], root: Path, given: list[tuple[bytes, tuple[str, str]]], waiting: int
) -> tuple[float, float]:
    """Entries a second in a fresh region, and how many to a commit."""
    # The region's own class is chosen where it is built; nothing else differs.
    chosen: Any = sys.modules["storage.connection"]
    chosen.Ledger = kind
    try:
        load = Load(root, waiting)
    finally:
        chosen.Ledger = Ledger
    took = load.write(given, waiting)
    groups = load.groups
    load.region.close()
    return len(given) / took, len(given) / groups


def timed(work: Callable[[], object], times: int) -> float:
    """The median of seconds that `work` takes."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def proofs(region: Region, count: int) -> float:
    """Seconds for the proof of one entry, each from a snapshot and a cache of its own."""
    step = max(1, count // 101)
    wanted = iter(range(step // 2, count, step))

    def prove() -> None:
        entry = next(wanted)
        region.read(lambda reader: Reader.inclusion(reader, entry, count)).result()

    return timed(prove, 100)


def measure(options: argparse.Namespace, table: Table) -> None:
    """Fill the table."""
    with tempfile.TemporaryDirectory(dir=options.directory) as place:
        for waiting in (options.waiting, 64):
            rates: dict[type[Ledger], list[float]] = {Ledger: [], Plain: []}
            batch: dict[type[Ledger], list[float]] = {Ledger: [], Plain: []}
            count = options.entries if waiting == options.waiting else options.entries // 4
            given = entries(count, options.calls)
            for turn in track(range(options.rounds), "writing", transient=True):
                for kind in (Ledger, Plain) if turn % 2 else (Plain, Ledger):
                    root = Path(place) / f"{kind.__name__}-{waiting}-{turn}"
                    each, size = rate(kind, root, given, waiting)
                    rates[kind].append(each)
                    batch[kind].append(size)
            ours, plain = statistics.median(rates[Ledger]), statistics.median(rates[Plain])
            commits = statistics.median(batch[Ledger])
            table.add_row(
                f"durable entries a second, at most {waiting:,} waiting ({commits:,.0f} a commit)",
                f"{ours:,.0f}",
                f"{plain:,.0f}",
                f"{ours / plain:.2f}",
            )
        large(Path(place) / "large", options, table)
        packed(Path(place) / "gateway", options, table)


def large(root: Path, options: argparse.Namespace, table: Table) -> None:
    """What a large ledger costs to prove and to verify."""
    load = Load(root, 4096)
    load.write(entries(options.large, options.calls), 4096)
    took = proofs(load.region, options.large)
    table.add_row(f"proof of one entry among {options.large:,}, ms", f"{took * 1000:.2f}", "", "")
    verifiers = parse_verifiers(load.region.verifier)
    load.region.close()
    began = time.perf_counter()
    found = audit.verify(root / "data", verifiers)
    took = time.perf_counter() - began
    if found.exit:
        raise SystemExit(f"bench: {found.line}")
    table.add_row("verified entries a second", f"{options.large / took:,.0f}", "", "")


def packed(root: Path, options: argparse.Namespace, table: Table) -> None:
    """What the evidence of a large call costs to export and to verify, through a real gateway and its real clients."""
    gateway = start_gateway(root, options.core)
    try:
        gateway.hear()
        configuration = str(root / "gateway.toml")
        load: list[str | Path] = [*LOAD, "--config", configuration, "--sessions", str(options.participants)]
        # A line to connect, and one for each of two rounds.
        subprocess.run(load, check=True, stdout=subprocess.DEVNULL, input=b"\n\n\n", env=ENVIRONMENT)
        listed = subprocess.run(
            [GATEWAY, "calls", "--json", "--config", configuration], check=True, capture_output=True, env=ENVIRONMENT
        )
        call = json.loads(listed.stdout)["calls"][0]["call"]
        files = [root / f"{number}.zip" for number in range(options.rounds)]
        export = [[GATEWAY, "evidence", "export", call, "--out", file, "--config", configuration] for file in files]
        commands = iter(export)
        took = timed(
            lambda: subprocess.run(next(commands), check=True, stdout=subprocess.DEVNULL, env=ENVIRONMENT), len(files)
        )
    finally:
        gateway.stop()
    people = f"{options.participants:,} participants"
    table.add_row(f"evidence pack of a call with {people}, s", f"{took:.2f}", "", "")
    table.add_row("its size, MB", f"{files[-1].stat().st_size / 1e6:.1f}", "", "")
    verifiers = [each for key in root.glob("keys/*/verifier.vkey") for each in parse_verifiers(key.read_text())]
    checked: list[Verdict] = []
    took = timed(lambda: checked.append(pack.verify(files[-1], verifiers)), 3)
    if checked[-1].exit not in (SOUND, INCOMPLETE):
        raise SystemExit(f"bench: {checked[-1].line}")
    table.add_row("verification of that pack, s", f"{took:.2f}", "", "")


def machine() -> str:
    """What this ran on."""
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench_ledger", description=__doc__)
    parser.add_argument("--entries", type=int, default=200_000, help="entries of a round (200,000)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, of which the medians count (5)")
    parser.add_argument("--waiting", type=int, default=4_096, help="entries submitted and not yet durable (4,096)")
    parser.add_argument("--large", type=int, default=1_000_000, help="entries to prove and verify (1,000,000)")
    parser.add_argument("--calls", type=int, default=100, help="calls that they are about, in turns (100)")
    parser.add_argument("--participants", type=int, default=1_000, help="in the call whose evidence is packed (1,000)")
    parser.add_argument("--directory", type=Path, help="where to write; a disk like that of the gateway (temporary)")
    parser.add_argument("--core", type=int, default=0, help="the one core everything runs on (0)")
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.core})
    table = Table("one core", "ledger", "without tree and hash", "ratio")
    measure(options, table)
    console = Console()
    console.print(table)
    console.print(machine())


if __name__ == "__main__":
    main()
