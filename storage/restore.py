"""Taking a backup of a region for good, where the newer file is lost: the ledger goes on from there, in a new epoch.

Rules: every region of the configuration is held meanwhile; the new file is finished aside, with its epoch, its entry
and a checkpoint, and taking its name is the one step that counts: before it the other regions forget what they saw of
the ledger, after it the keys catch up. So a kill at any moment leaves a command to repeat or a region to start, and
each entry once. Nothing that is there is overwritten.
"""

from __future__ import annotations

import contextlib
import hmac
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

from storage.audit.ledger import verify
from storage.audit.verdict import INCOMPLETE, SOUND
from storage.backup import BESIDE, Content, copy_to, look_into
from storage.clock import system_clock
from storage.cosigning import reset_witness
from storage.engine import connect_resting, connect_writer, sqlite3
from storage.erasures import Erasures
from storage.errors import RegionRefused, StorageError
from storage.identity import USED_SLOTS
from storage.ledger import Ledger
from storage.manifest import read_own, write_label, write_manifests
from storage.moment import rfc3339
from storage.operations import ResetWitness
from storage.premises import RESTORE, Premises, sync_directory
from storage.region import MONTH, Region
from storage.remembered import Memory, Newest, recall
from storage.schema import migrate
from storage.signing import Signer, load
from storage.slots import SIZE, Slots
from storage.transaction import Transaction
from storage.vault import Vault, derive
from storage.writer import Completed

_PATIENCE: Final = 30.0
"""Seconds that another region's commit may take."""


class Restored(NamedTuple):
    """A region that goes on from a backup."""

    region: str
    path: Path
    entries: int
    """Those of the backup."""
    missing: int | None
    """How many the keys remember beyond them; None where they remember nothing."""
    epoch: int


class _Plan(NamedTuple):
    """A backup that is sound and fits its region's keys, and what its file begins anew with."""

    premises: Premises
    source: Path
    content: Content
    signer: Signer
    witness: Signer
    master: bytes
    missing: int | None
    epoch: int

    @property
    def aside(self) -> Path:
        """Where the new file is finished."""
        return self.premises.database.with_name(f"{self.premises.database.name}.new")


def restore(
    regions: Sequence[Premises], chosen: Sequence[str], source: Path, *, ledger: str, at: datetime
) -> list[Restored]:
    """Put `<source>/<region>/region.db` in the place of each chosen region's lost file; `at` is when.

    `regions` are all that one process serves: none may be in use, and those that are not chosen must open. `ledger` is
    whose ledgers they are. Raises RegionRefused; before anything is changed where a backup is not there, not sound or
    not of its region's keys, or where a file is in its place.
    """
    with contextlib.ExitStack() as last:
        restoring = [each for each in regions if each.name in chosen]
        for each in restoring:
            each.make(each.directory)
            last.callback(os.close, each.take_lock())
        plans = [_plan(each, source / each.name / each.database.name) for each in restoring]
        sisters = [each for each in regions if each.name not in chosen and each.has(each.identity)]
        opened = [last.enter_context(_opened(each, ledger)) for each in sisters]
        origins = {each.premises.name: each.signer.verifier.name for each in plans}
        for plan in plans:
            _finish_aside(plan, [origin for name, origin in origins.items() if name != plan.premises.name], at)
        for region in opened:
            _reset(region, list(origins.values()), at)
        return [_publish(each) for each in plans]


@contextlib.contextmanager
def _said_of(premises: Premises) -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.Error, StorageError) as error:
        if isinstance(error, RegionRefused):
            raise
        reason = error.strerror if isinstance(error, OSError) else error
        raise premises.refuse(f"cannot be restored ({reason})", premises.directory, "check the disk") from error


# -- before anything is changed ---------------------------------------------------------------------------------------


def _plan(premises: Premises, source: Path) -> _Plan:
    if not source.is_file() or source.is_symlink():
        raise premises.refuse("there is no backup", source, "name the directory that holds <region>/region.db")
    with _said_of(premises):
        for key in (premises.master, premises.slots, premises.signing, premises.witness, premises.identity):
            if not premises.has(key):
                raise premises.refuse("there is no key", key, RESTORE)
        signer, witness = (_signer(premises, each) for each in (premises.signing, premises.witness))
        verdict = verify(source, [signer.verifier])
        if verdict.exit not in (SOUND, INCOMPLETE):  # the end of a copy need not be signed yet
            raise premises.refuse(f"the backup is no good ({verdict.line})", source, "take another one")
        content = look_into(premises, source)
        master = premises.master.read_bytes()
        manifest, newest = read_own(premises), recall(premises)
        assert manifest is not None
        own = derive(master, "identity", content.region, content.uuid)
        if (content.region, content.uuid) != (premises.name, manifest.uuid) or not hmac.compare_digest(
            content.key_check, own
        ):
            raise premises.refuse("the backup is of another file than the keys", source, "take one of this region")
        _check_free(premises, content.entries, newest)
        _check_slots(premises, source)
    missing = None if newest is None else max(0, newest.size - content.entries)
    epoch = max(content.epoch, manifest.epoch, newest.epoch if newest else 0) + 1
    return _Plan(premises, source, content, signer, witness, master, missing, epoch)


def _signer(premises: Premises, path: Path) -> Signer:
    try:
        return load(path.read_text(encoding="utf-8"))
    except ValueError:  # not chained: what cannot be read may still be a key
        raise premises.refuse("no signing key", path, RESTORE) from None


def _check_slots(premises: Premises, source: Path) -> None:
    with contextlib.closing(connect_resting(source)) as connection:
        most = max((slot for (slot,) in connection.execute(USED_SLOTS)), default=0)
    if most >= premises.slots.stat().st_size // SIZE:
        raise premises.refuse("older than the backup", premises.slots, RESTORE)


def _check_free(premises: Premises, entries: int, newest: Newest | None) -> None:
    """Refuse while anything of a file is in the place; one that opens and is no shorter than the backup is better."""
    there = [premises.database.with_name(premises.database.name + suffix) for suffix in BESIDE]
    if not any(map(os.path.lexists, there)):
        return
    own: Content | None = None
    with contextlib.suppress(RegionRefused, sqlite3.Error, OSError):  # it may be damaged
        own = look_into(premises, premises.database)
    if own is not None and own.entries >= entries and (newest is None or newest.admits(own.epoch, own.entries)):
        raise premises.refuse(
            f"its file is there, of {own.entries} entries where the backup has {entries}",
            premises.database,
            "start the gateway on it",
        )
    raise premises.refuse(
        "its file is still there", premises.database, "move it away, with what is called -wal and -shm"
    )


# -- the steps --------------------------------------------------------------------------------------------------------


def _finish_aside(plan: _Plan, others: Sequence[str], at: datetime) -> None:
    """The new file, all but its name; what it saw of `others`, which are restored with it, is forgotten too."""
    premises = plan.premises
    with _said_of(premises):
        for suffix in BESIDE:  # what a killed one left
            plan.aside.with_name(plan.aside.name + suffix).unlink(missing_ok=True)
        with contextlib.closing(connect_resting(plan.source)) as connection:
            copy_to(connection, plan.aside)
        migrate(plan.aside)  # it may be from before this version
        fields: dict[str, object] = {"kind": "ledger.restored", "at": rfc3339(at), "epoch": plan.epoch}
        fields["entries"] = plan.content.entries
        if plan.missing is not None:
            fields["missing"] = plan.missing
        slots = Slots(premises.slots)
        with (
            contextlib.closing(Vault(premises.name, plan.master, slots)) as vault,
            contextlib.closing(connect_writer(plan.aside)) as connection,
        ):
            ledger = Ledger(connection, plan.signer, system_clock)
            transaction = Transaction(connection, vault, ledger, plan.witness, Erasures(premises.erasures), MONTH)
            transaction.begin()
            transaction.execute("UPDATE identity SET epoch = ?", (plan.epoch,))
            transaction.append_entry(fields)
            for origin in others:
                reset_witness(transaction, ResetWitness(origin, at))
            ledger.sign()
            transaction.commit()
        if look_into(premises, plan.aside).signed <= plan.content.entries:
            raise premises.refuse("cannot be restored (its entry is not there)", premises.directory, "try again")
        _sync(plan.aside)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _opened(premises: Premises, ledger: str) -> Iterator[Region]:
    region = Region.open(
        premises.name,
        directory=premises.directory,
        key_directory=premises.key_directory,
        committed=_hand_over,
        failing=lambda error: None,
        ledger=ledger,
    )
    try:
        yield region
    finally:
        region.close()


def _hand_over(done: list[Completed]) -> None:
    for each in done:
        assert isinstance(each.token, Future)
        if each.error is None:
            each.token.set_result(None)
        else:
            each.token.set_exception(each.error)


def _reset(region: Region, origins: Sequence[str], at: datetime) -> None:
    """Let another region forget what it saw of these ledgers: it could vouch for none of them any more."""
    waiting: Future[None] = Future()
    region.submit([ResetWitness(origin, at) for origin in origins], waiting)
    try:
        waiting.result(_PATIENCE)
    except (StorageError, TimeoutError):
        raise StorageError(
            f"region {region.name}: cannot write that another region is restored; check the disk, and repeat"
        ) from None


def _publish(plan: _Plan) -> Restored:
    premises = plan.premises
    with _said_of(premises):
        # Beside the file first: a directory that says whose it is and has no file is one to repeat the command on.
        write_label(premises, plan.content.uuid, plan.epoch)
        plan.aside.rename(premises.database)
        sync_directory(premises.directory)
        write_manifests(premises, plan.content.uuid, plan.epoch)
        with contextlib.closing(connect_resting(premises.database)) as connection:
            (note,) = connection.execute("SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1").fetchone()
        Memory(premises).write(note)
    return Restored(premises.name, premises.database, plan.content.entries, plan.missing, plan.epoch)
