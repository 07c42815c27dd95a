"""A process that is killed while it writes: `python -m tests.storage.child WHAT ROOT`.

It speaks by unbuffered lines on standard output; what it printed, its reader may rely on.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from storage import backup, restore, rulebook, spans
from storage.connection import WritingConnection
from storage.copies import Copy, Judge
from storage.erasures import Erasures
from storage.ledger import Ledger
from storage.newfile import give_name
from storage.operations import AskErasure, SealPresence
from storage.premises import Premises
from storage.region import LEDGER, Region
from storage.spans import Tail
from storage.transaction import Transaction
from storage.vault import Vault
from storage.writer import Completed
from tests.storage.audited import noted
from tests.storage.desk import CALL, MONTH, START, Desk, append, message
from tests.storage.ruled import ANN, DAY, fill_with_ann, hold


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


SPAN = 64
"""How many entries a span has here: so few that each moment is near the end of one."""


def write_for_ever(root: Path) -> None:
    """Several threads append; every completed entry is printed."""
    vars(spans)["LENGTH"] = SPAN

    def committed(done: list[Completed]) -> None:
        os.write(1, b"".join(b"%d %s\n" % (each.results[0], str(each.token).encode()) for each in done))

    region = Region.open(
        "europe",
        directory=root / "data" / "europe",
        key_directory=root / "keys" / "europe",
        committed=committed,
        failing=lambda error: None,
    )

    def write(name: int) -> None:
        for number in itertools.count():
            leaf = f"{os.getpid()}-{name}-{number}"
            region.submit((append(leaf, ("contoso", str(name))),), leaf)
            while region.pending > 500:
                pass

    for name in range(3):
        threading.Thread(target=write, args=(name,)).start()


def die_at_a_span(root: Path, when: str) -> None:
    """Append, and be killed when the first span is written, or when it is committed and nobody knows."""
    vars(spans)["LENGTH"] = SPAN
    desk = Desk(root)
    write_span = Tail.write_span

    def write_and_die(tail: Tail, execute: Callable[..., object], end: int) -> None:
        write_span(tail, execute, end)
        if when == "written":
            die()
        Ledger.settle = die  # type: ignore[method-assign,assignment]

    Tail.write_span = write_and_die  # type: ignore[method-assign,assignment]
    for number in itertools.count():
        desk.do(*(noted(number * 7 + each) for each in range(7)))


def die_in_sweep(root: Path, when: str) -> None:
    """Delete, and be killed before the keys are overwritten, before they are all, or before the certificate."""
    desk = Desk(root)
    for number in range(10):
        desk.do(message(f"needle {number}", participant=f"8:acs:r_{number}"))
    be_killed(when)
    desk.region.sweep(START + MONTH, 10).result(30)


def die_in_erasure(root: Path, when: str) -> None:
    """The same for whoever is erased; and when the journal names them and nothing else is done yet."""
    desk = Desk(root)
    fill_with_ann(desk)
    add = Erasures.add

    def add_and_die(erasures: Erasures, person: bytes, at: int) -> None:
        add(erasures, person, at)
        die()

    desk.do(AskErasure(ANN, "r", START + DAY))
    if when == "before the commit":
        Erasures.add = add_and_die  # type: ignore[method-assign,assignment]  # on purpose
    else:
        be_killed(when)
    desk.region.sweep(START + DAY, 500).result(30)


def be_killed(when: str) -> None:
    """Once keys are about to be overwritten, when some are, or when a certificate is about to be written."""
    shred = Vault.shred

    def shred_some(vault: Vault, slots: Iterable[int]) -> None:
        shred(vault, list(slots)[:4])
        die()

    def shred_and_fail_next(vault: Vault, slots: Iterable[int]) -> None:
        shred(vault, slots)
        WritingConnection.transact = die  # type: ignore[method-assign,assignment]

    steps: dict[str, Callable[[Vault, Iterable[int]], None]] = {
        "before shredding": die,
        "amid shredding": shred_some,
        "before the certificate": shred_and_fail_next,
    }
    Vault.shred = steps[when]  # type: ignore[method-assign,assignment]


def die_in_superseding(root: Path) -> None:
    """Replace a message, and be killed when the commit is durable and the old key is not yet overwritten."""
    desk = Desk(root)
    desk.do(message("needle 0"))
    Vault.shred = die  # type: ignore[method-assign,assignment]
    desk.do(message("needle 1", version=2))


def die_in_review(root: Path) -> None:
    """Set a hold on many, and be killed amid the third batch that is judged."""
    desk = Desk(root)
    desk.do(*(message(f"needle {number}", participant=f"8:acs:r_{number}") for number in range(1_200)))
    settle, times = rulebook.settle, itertools.count()

    def settle_some(transaction: Transaction, copy: Copy, judge: Judge) -> bool:
        if next(times) == 600:
            die()
        return settle(transaction, copy, judge)

    rulebook.settle = settle_some
    desk.do(hold())
    threading.Event().wait()


def die_after_a_failed_commit(root: Path) -> None:
    """Seal one presence after the other; once the disk failed, be killed as soon as any key was overwritten."""
    desk = Desk(root)
    failed = threading.Event()
    desk.changed = lambda error: failed.set()
    shred = Vault.shred

    def shred_and_die(vault: Vault, slots: Iterable[int]) -> None:
        shred(vault, slots)
        if failed.is_set():
            die()

    Vault.shred = shred_and_die  # type: ignore[method-assign,assignment]
    for number in itertools.count():
        desk.do(SealPresence(f"p_{number}", CALL, "8:acs:r_1", b"box", START))


def die_in_backup(root: Path, when: str) -> None:
    """Copy the region away, and be killed when the copy is written, or has its name and not yet that alone."""
    if when == "written":
        vars(backup)["look_into"] = die
    else:

        def give_and_die(aside: Path, out: Path) -> None:
            give_name(aside, out)
            die()

        vars(backup)["give_name"] = give_and_die
    list(backup.back_up([Premises("europe", root / "data" / "europe", root / "keys" / "europe")], root / "copies"))


def die_in_restore(root: Path, when: str) -> None:
    """Take a backup back, and be killed before the step of this name."""
    vars(restore)[when] = die
    regions = [Premises(name, root / "data" / name, root / "keys" / name) for name in ("europe", "us")]
    restore.restore(regions, ["europe"], root / "copies", ledger=LEDGER, at=START)


if __name__ == "__main__":
    what, place = sys.argv[1], Path(sys.argv[2])
    if what == "write":
        write_for_ever(place)
    elif what == "supersede":
        die_in_superseding(place)
    elif what == "review":
        die_in_review(place)
    elif what == "erase":
        die_in_erasure(place, sys.argv[3])
    elif what == "span":
        die_at_a_span(place, sys.argv[3])
    elif what == "fail":
        die_after_a_failed_commit(place)
    elif what.startswith("restore "):
        die_in_restore(place, what.removeprefix("restore "))
    elif what.startswith("backup "):
        die_in_backup(place, what.removeprefix("backup "))
    else:
        die_in_sweep(place, what)
