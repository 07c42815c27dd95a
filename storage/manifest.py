"""The two `identity.json` of a region, one beside its file and one with its keys: which file of which region it is.

Rules: both say the same; the one with the keys is written last and says that there are two, so that one that is missing
beside the file is known to have been lost, and is made once where a region is from before there were two.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from storage.entry import canonical
from storage.premises import RESTORE, Premises, write_file

COPIES: Final = 2
"""How many there are."""

_RELABEL: Final = "restore it from a backup, or copy the one with the region's keys"


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an `identity.json` says. One from before there were two says nothing of `copies`."""

    region: str
    uuid: str
    epoch: int
    copies: int = 1


def read_own(premises: Premises) -> Manifest | None:
    """What is said with the keys alone; None where they are not made to the end. Raises RegionRefused, OSError."""
    return _read(premises, premises.identity, RESTORE)


def read_manifests(premises: Premises) -> tuple[Manifest | None, Manifest | None]:
    """What is said with the keys and beside the file; None where there is none yet.

    Raises RegionRefused where one is lost, damaged, of another region, or at odds with the other.
    """
    keys = read_own(premises)
    label = _read(premises, premises.label, _RELABEL)
    if keys is not None and keys.region != premises.name:
        raise premises.refuse("keys of another region", premises.identity, "give each region its own directory")
    if label is not None and label.region != premises.name:
        what = f"the directory is of region {label.region}"
        raise premises.refuse(what, premises.label, "give each region its own directory")
    if keys is not None and keys.copies == COPIES and label is None:
        raise premises.refuse("the directory does not say whose it is", premises.label, _RELABEL)
    if keys is not None and label is not None:
        _compare(premises, keys, label)
    return keys, label


def _compare(premises: Premises, keys: Manifest, label: Manifest) -> None:
    if keys.uuid != label.uuid:
        raise premises.refuse("the directory is not that of the keys", premises.label, "put the two together")
    # A command that puts a region back says so beside the file first: the other way round it is an old directory.
    if keys.epoch > label.epoch:
        raise premises.refuse(
            f"the directory is of epoch {label.epoch}, and its keys remember a later one, {keys.epoch}",
            premises.label,
            "put the newer one back",
        )


def _read(premises: Premises, path: Path, remedy: str) -> Manifest | None:
    if not premises.has(path):
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)
    except msgspec.MsgspecError as error:
        raise premises.refuse("damaged", path, remedy) from error


def write_manifests(premises: Premises, uuid: str, epoch: int) -> None:
    """Say who the region is beside its file, then with its keys. Raises OSError."""
    write_label(premises, uuid, epoch)
    write_file(premises.identity, _content(premises, uuid, epoch))


def write_label(premises: Premises, uuid: str, epoch: int) -> None:
    """Say who the region is beside its file. Raises OSError."""
    write_file(premises.label, _content(premises, uuid, epoch))


def _content(premises: Premises, uuid: str, epoch: int) -> bytes:
    return canonical({"region": premises.name, "uuid": uuid, "epoch": epoch, "copies": COPIES})
