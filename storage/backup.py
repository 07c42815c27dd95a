"""Copies of regions' files, taken while a gateway writes them or while none does.

Rules: a copy is one snapshot by SQLite's online backup, without a log; it is checked before it takes its name, is whole
under that name or not there at all, and replaces nothing; keys are neither copied nor opened.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from storage.condition import is_indexed, is_whole
from storage.engine import connect_copy, connect_reader, connect_resting, sqlite3
from storage.errors import RegionRefused
from storage.newfile import give_name
from storage.premises import Premises, sync_directory
from storage.shape import read_shape
from storage.tree import read_head

BESIDE: Final = ("", "-wal", "-shm", "-journal")
"""How the names end of what belongs to one file."""

_ANEW: Final = "nothing is overwritten: name a new directory"


class Copied(NamedTuple):
    """A copy that is there for good."""

    region: str
    path: Path
    entries: int
    signed: int
    """How many of its entries the newest checkpoint in it covers."""


class Content(NamedTuple):
    """What a region's file says of itself."""

    region: str
    uuid: str
    epoch: int
    key_check: bytes
    entries: int
    signed: int


def back_up(regions: Sequence[Premises], target: Path) -> Iterator[Copied]:
    """Copy each region's file to `<target>/<region>/region.db`, one after the other.

    All is refused before anything is written where one of the copies is there already. Raises RegionRefused, which
    leaves the copies that were made before.
    """
    copies = [Premises(each.name, target / each.name, each.key_directory) for each in regions]
    for source, copy in zip(regions, copies, strict=True):
        _check_free(copy)
        if not source.has(source.database):
            raise source.refuse("there is no file to copy", source.database, "start the gateway once")
    for source, copy in zip(regions, copies, strict=True):
        try:
            yield _back_up(source, copy)
        except (OSError, sqlite3.Error) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise source.refuse(f"cannot be copied ({reason})", copy.database, "check both disks") from error


def _back_up(source: Premises, copy: Premises) -> Copied:
    copy.make(copy.directory)
    aside = copy.database.with_name(f"{copy.database.name}.new")
    with _alone(copy):
        aside.unlink(missing_ok=True)  # what a killed one left
        _check_free(copy)
        try:
            with _snapshot(source) as connection:
                copy_to(connection, aside)
            content = look_into(source, aside)
            if content.region != source.name:
                raise source.refuse(f"the file is of region {content.region}", source.database, "put it in its place")
            give_name(aside, copy.database)
        except FileExistsError:
            raise _taken(copy) from None
        finally:
            aside.unlink(missing_ok=True)
        sync_directory(copy.directory)
    return Copied(source.name, copy.database, content.entries, content.signed)


def _check_free(copy: Premises) -> None:
    for suffix in BESIDE:
        if os.path.lexists(copy.database.with_name(copy.database.name + suffix)):
            raise _taken(copy)


def _taken(copy: Premises) -> RegionRefused:
    return copy.refuse("there is a copy already", copy.database, _ANEW)


@contextlib.contextmanager
def _alone(copy: Premises) -> Iterator[None]:
    """Hold the copy's directory against another one who copies there."""
    descriptor = os.open(copy.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise copy.refuse("somebody else copies there", copy.directory, _ANEW) from None
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _snapshot(source: Premises) -> Iterator[sqlite3.Connection]:
    """The region's file in one read transaction: beside who writes it, or holding the region where nobody does."""
    with contextlib.ExitStack() as last:
        connect = connect_reader
        # Where nobody writes the file is read without a trace, unless somebody has it open all the same, or had.
        with contextlib.suppress(RegionRefused):
            last.callback(os.close, source.take_lock())
            if not os.path.lexists(source.database.with_name(f"{source.database.name}-shm")):
                connect = connect_resting
        connection = last.enter_context(contextlib.closing(connect(source.database)))
        connection.execute("BEGIN")
        yield connection


def copy_to(connection: sqlite3.Connection, out: Path) -> None:
    """Write what `connection` reads to the new file `out`, mode 0600, synced. Raises sqlite3.Error, OSError."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(out, flags, 0o600)
    try:
        with contextlib.closing(connect_copy(out)) as target:
            connection.backup(target)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def look_into(premises: Premises, path: Path) -> Content:
    """What the file at `path`, which nobody writes, says of itself.

    Raises RegionRefused unless it is a region's, with a signed ledger, and of one piece; sqlite3.Error.
    """
    with contextlib.closing(connect_resting(path)) as connection:
        shape = read_shape(connection)
        if shape.fault is not None:
            raise premises.refuse(shape.fault, path, "take another copy")
        signed = connection.execute("SELECT max(size) FROM checkpoints").fetchone()[0] if shape.ledger else None
        row = connection.execute("SELECT region, uuid, epoch, key_check FROM identity").fetchone()
        if signed is None or row is None:
            raise premises.refuse("nothing was ever signed in it", path, "start the gateway once")
        if not is_whole(connection) or not is_indexed(connection):
            raise premises.refuse("not of one piece", path, "take another copy")
        region, uuid, epoch, key_check = row
        return Content(region, uuid, epoch, key_check, read_head(connection.execute).edge.size, signed)
