"""What the keys remember of a region's ledger, so that a start on an older file is refused before it does harm.

Rules: kept beside the keys, which are mirrored as they are now, and not with the data, which are put back from copies;
it never says more than is durable, and may say less; writing it fails nothing and is tried again. A file of a later
epoch than is remembered was put back on purpose (`storage.restore`) and is taken.
"""

from __future__ import annotations

import contextlib
import time
from typing import Annotated, Final

import msgspec

from storage.engine import connect_resting
from storage.entry import canonical
from storage.errors import RegionRefused
from storage.note import parse_checkpoint, parse_note
from storage.premises import RESTORE, Premises, write_file
from storage.tree import read_head, root_of

EVERY_SECONDS: Final = 60.0
"""How long a newer checkpoint may go unremembered while there are commits."""


class Newest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file `newest`: which region it is about, and the newest checkpoint that was noted. `root` is in hex."""

    region: str
    uuid: str
    epoch: int
    size: Annotated[int, msgspec.Meta(ge=0)]
    root: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]

    def admits(self, epoch: int, size: int) -> bool:
        """Whether a ledger of this epoch and size can be the one that is remembered, or one that was put back since."""
        return epoch > self.epoch or (epoch == self.epoch and size >= self.size)


def recall(premises: Premises) -> Newest | None:
    """What the keys remember; None where nothing was ever noted. Raises RegionRefused, OSError."""
    if not premises.has(premises.newest):
        return None
    try:
        found = msgspec.json.decode(premises.newest.read_bytes(), type=Newest)
    except msgspec.MsgspecError as error:
        raise premises.refuse("damaged", premises.newest, RESTORE) from error
    if found.region != premises.name:
        raise premises.refuse("it is about another region", premises.newest, "give each region its own directory")
    return found


def compare(premises: Premises) -> None:
    """Refuse a file with less than is remembered, or something else, while nothing has been changed yet.

    Raises RegionRefused, OSError, sqlite3.Error.
    """
    newest = recall(premises)
    if newest is None or newest.size == 0:
        return
    if not premises.has(premises.database) or premises.database.stat().st_size == 0:
        raise _refuse(premises, f"it lacks all of the {newest.size} entries that its keys remember")
    with contextlib.closing(connect_resting(premises.database)) as connection:
        uuid, epoch = connection.execute("SELECT uuid, epoch FROM identity").fetchone() or (None, 0)
        planted = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'head'").fetchone() is not None
        if uuid != newest.uuid:
            raise premises.refuse("its keys remember another file", premises.database, "put that one back")
        if epoch > newest.epoch:
            return
        if epoch < newest.epoch:
            raise _refuse(premises, f"of epoch {epoch}, and its keys remember a later one, {newest.epoch}")
        size = read_head(connection.execute).edge.size if planted else 0
        if size < newest.size:
            raise _refuse(
                premises, f"it lacks {newest.size - size} of the {newest.size} entries that its keys remember"
            )
        if root_of(connection.execute, newest.size) != bytes.fromhex(newest.root):
            raise _refuse(premises, f"the first {newest.size} entries are not those that its keys remember")


def _refuse(premises: Premises, what: str) -> RegionRefused:
    return premises.refuse(
        what,
        premises.database,
        "put the newer file back, or take this one for good: move it to DIR/"
        f"{premises.name}/region.db, and gateway restore DIR",
    )


class Memory:
    """Writes down how far the ledger has come. Owned by whoever opens the region, then its writer, then its closer."""

    def __init__(self, premises: Premises) -> None:
        """For the region as it lies there, sound and at rest. Raises RegionRefused, OSError, sqlite3.Error."""
        self._path = premises.newest
        self._region = premises.name
        with contextlib.closing(connect_resting(premises.database)) as connection:
            self._uuid, self._epoch = connection.execute("SELECT uuid, epoch FROM identity").fetchone()
        self._noted = recall(premises)
        self._tried_at = -EVERY_SECONDS
        """When, by the monotonic clock."""

    def keep(self, note: str | None) -> None:
        """After a commit: note the newest checkpoint, unless it was tried a short while ago."""
        if time.monotonic() - self._tried_at >= EVERY_SECONDS:
            self.write(note)

    def write(self, note: str | None) -> None:
        """Note the newest checkpoint, if it is not noted yet; what the disk refuses is tried again by the next call."""
        if note is None:
            return
        checkpoint = parse_checkpoint(parse_note(note).body)
        newest = Newest(self._region, self._uuid, self._epoch, checkpoint.size, checkpoint.root.hex())
        if newest == self._noted:
            return
        self._tried_at = time.monotonic()
        with contextlib.suppress(OSError):
            write_file(self._path, canonical(msgspec.structs.asdict(newest)))
            self._noted = newest
