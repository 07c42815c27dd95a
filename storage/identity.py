"""Who a region is: one uuid in its file, beside it, with its keys and bound to its master key.

Rules: keys are made before the file and the file before the two `identity.json`, so that a crash while a region is made
is finished at the next open, while a missing or foreign part is refused and never silently made anew.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import uuid
from typing import Final, NamedTuple

from storage.condition import is_indexed, is_whole
from storage.engine import OLDEST, connect_resting, connect_writer, sqlite3
from storage.erasures import Erasures
from storage.keyring import Keyring, confirm, take_keyring
from storage.manifest import COPIES, Manifest, read_manifests, write_manifests
from storage.premises import RESTORE, Premises, sync_directory, write_file
from storage.remembered import Memory, compare
from storage.schema import migrate
from storage.shape import read_shape
from storage.signing import Signer
from storage.slots import Slots
from storage.vault import MASTER_SIZE, Vault, derive

USED_SLOTS: Final = (
    "SELECT slot FROM calls WHERE slot IS NOT NULL UNION ALL SELECT slot FROM presences WHERE slot IS NOT NULL"
    " UNION ALL SELECT slot FROM messages UNION ALL SELECT slot FROM rules UNION ALL SELECT slot FROM shredding"
)
"""Every slot that a row of a region's file refers to."""

_BACKUP: Final = "restore it from a backup"
_VERSION: Final = "restore it from a backup, or run the version that wrote it"


class Identity(NamedTuple):
    """The row `identity` of a region's file."""

    region: str
    uuid: str
    epoch: int
    key_check: bytes


class Keys(NamedTuple):
    """What a region is opened with."""

    vault: Vault
    signer: Signer
    witness: Signer
    public: str
    erased: Erasures
    memory: Memory


def establish(premises: Premises, ledger: str) -> Keys:
    """Check or make the region's keys and file; its keys, with every slot without a row overwritten.

    `ledger` is whose ledger it is, where its keys have to be made.

    The caller holds the lock. Raises RegionRefused, OSError, sqlite3.Error, StorageUnavailable.
    """
    if sqlite3.sqlite_version_info < OLDEST:
        raise premises.refuse(
            f"SQLite {sqlite3.sqlite_version} can lose commits", premises.database, "install pysqlite3 0.6.1 or later"
        )
    noted, label = read_manifests(premises)
    manifest = noted or label
    if manifest is not None and premises.database.stat().st_size == 0:
        raise premises.refuse("the region's file is empty", premises.database, _BACKUP)
    if premises.has(premises.database) and premises.database.stat().st_size:
        with contextlib.closing(connect_resting(premises.database)) as connection:
            _compare_shape(premises, connection)
    master = _master(premises)
    keyring = take_keyring(premises, ledger)
    slots = _slots(premises, master)
    vault = Vault(premises.name, master, slots)
    try:
        if manifest is not None:
            _inspect(premises, master, manifest, keyring)
            _compare_label(premises, label)
        compare(premises)
        identity = _establish_file(premises, master, manifest)
        # A file of a later epoch was put back by a command that was killed before it said so here.
        if noted is None or noted.copies != COPIES or noted.epoch < identity.epoch:
            sync_directory(premises.directory)
            write_manifests(premises, identity.uuid, identity.epoch)
        slots.reclaim(_used_slots(premises, slots))
        confirm(premises, keyring)
        memory = Memory(premises)
    except BaseException:
        vault.close()
        raise
    return Keys(vault, keyring.checkpoints, keyring.cosignatures, keyring.public, Erasures(premises.erasures), memory)


def _inspect(premises: Premises, master: bytes, manifest: Manifest, keyring: Keyring) -> None:
    """Refuse a file that is not the one of these keys, or not of one piece, while nothing has been changed yet.

    A log that does not belong to the file would be copied into it, and the keys of rows that it hides overwritten.
    """
    with contextlib.closing(connect_resting(premises.database)) as connection:
        row = connection.execute("SELECT region, uuid, epoch, key_check FROM identity").fetchone()
        if row is None:
            raise premises.refuse("the file has lost its identity", premises.database, _BACKUP)
        _compare(premises, Identity(*row), master, manifest)
        confirm(premises, keyring)
        if not is_whole(connection):
            raise premises.refuse("file and log are not of one piece", premises.database, _BACKUP)
        if not is_indexed(connection):
            raise premises.refuse("the index of the entries does not fit them", premises.database, _BACKUP)


def _compare_label(premises: Premises, label: Manifest | None) -> None:
    """Refuse a directory that says it holds a later epoch than it does: the file that was put back is not there."""
    with contextlib.closing(connect_resting(premises.database)) as connection:
        (epoch,) = connection.execute("SELECT epoch FROM identity").fetchone()
    if label is not None and label.epoch > epoch:
        raise premises.refuse(
            f"the directory is of epoch {label.epoch}, and its file is not: not that of the keys",
            premises.label,
            "repeat gateway restore, or copy the one with the region's keys",
        )


def _compare_shape(premises: Premises, connection: sqlite3.Connection) -> None:
    """Refuse tables that others made: what they hold is not what was written."""
    fault = read_shape(connection).fault
    if fault is not None:
        raise premises.refuse(fault, premises.database, _VERSION)


def _master(premises: Premises) -> bytes:
    if not premises.has(premises.master):
        write_file(premises.master, os.urandom(MASTER_SIZE))
    master = premises.master.read_bytes()
    if len(master) != MASTER_SIZE:
        raise premises.refuse(f"not {MASTER_SIZE} bytes long", premises.master, RESTORE)
    return master


def _slots(premises: Premises, master: bytes) -> Slots:
    header = derive(master, "slots", premises.name)
    if not premises.has(premises.slots):
        write_file(premises.slots, header)
    slots = Slots(premises.slots)
    if not hmac.compare_digest(slots.read(0), header):
        slots.close()
        raise premises.refuse("does not belong to the master key", premises.slots, RESTORE)
    return slots


def _establish_file(premises: Premises, master: bytes, manifest: Manifest | None) -> Identity:
    if not premises.has(premises.database):
        # Made here, not by SQLite: the log and its index take over the mode.
        write_file(premises.database, b"")
    with contextlib.closing(connect_writer(premises.database)) as connection:
        _compare_shape(premises, connection)
    migrate(premises.database)
    with contextlib.closing(connect_writer(premises.database)) as connection:
        row = connection.execute("SELECT region, uuid, epoch, key_check FROM identity").fetchone()
        if row is None:
            row = _new_identity(premises.name, master)
            with connection:
                connection.execute(
                    "INSERT INTO identity(id, region, uuid, epoch, key_check) VALUES (1, ?, ?, ?, ?)", row
                )
        identity = Identity(*row)
    _compare(premises, identity, master, manifest)
    return identity


def _new_identity(region: str, master: bytes) -> Identity:
    own = str(uuid.uuid4())
    return Identity(region, own, 1, derive(master, "identity", region, own))


def _compare(premises: Premises, identity: Identity, master: bytes, manifest: Manifest | None) -> None:
    if identity.region != premises.name:
        raise premises.refuse(
            f"the file is of region {identity.region}", premises.database, "put each region's file in its own directory"
        )
    if not hmac.compare_digest(identity.key_check, derive(master, "identity", identity.region, identity.uuid)):
        raise premises.refuse("not the key of this region's file", premises.master, RESTORE)
    if manifest is not None and (manifest.uuid != identity.uuid or manifest.epoch > identity.epoch):
        where = premises.identity if premises.has(premises.identity) else premises.label
        raise premises.refuse("it names another file", where, "put the file, its directory and its keys together")


def _used_slots(premises: Premises, slots: Slots) -> set[int]:
    """Every slot that a row refers to. Raises RegionRefused if rows share one or the slots file lacks it."""
    with contextlib.closing(connect_writer(premises.database)) as connection:
        rows = connection.execute(USED_SLOTS).fetchall()
    used = {int(slot) for (slot,) in rows}
    if len(used) != len(rows) or (used and not 0 < min(used) <= max(used) < slots.count):
        raise premises.refuse("older than the region's file", premises.slots, RESTORE)
    return used
