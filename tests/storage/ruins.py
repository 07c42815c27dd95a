"""What can happen to a region's directories and files while nobody serves it, and the words by which it is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from storage.entry import canonical


class Place(Protocol):
    """Where a region lies."""

    @property
    def data(self) -> Path: ...
    @property
    def keys(self) -> Path: ...


Ruin = Callable[[Place, Place, Path], object]
"""What is done to a region, with another one and a place aside."""


def swap(one: Path, other: Path) -> None:
    """Each in the other's place."""
    aside = one.with_name("aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


def link(path: Path, aside: Path) -> None:
    """A symbolic link in the path's place."""
    path.rename(aside)
    path.symlink_to(aside)


def second_name(path: Path, aside: Path) -> None:
    """A hard link beside the path."""
    path.touch(mode=0o600)
    aside.hardlink_to(path)


def move_directory(us: Place, other: Place, _: Path) -> None:
    """Another region's directory in place of its own."""
    shutil.rmtree(us.data)
    other.data.rename(us.data)


def link_log(us: Place, _: Place, aside: Path) -> None:
    """The write-ahead log lies elsewhere."""
    log = us.data / "region.db-wal"
    log.touch(0o600)
    link(log, aside)


def leave_label(us: Place, *_: object) -> None:
    """Everything is gone but the label."""
    shutil.rmtree(us.keys)
    (us.data / "region.db").unlink()


def relabel(place: Place, **fields: object) -> None:
    """The label beside the file says something else."""
    label = place.data / "identity.json"
    label.write_bytes(canonical({**json.loads(label.read_bytes()), **fields}))


# The other one is called europe.
RUINS: dict[str, tuple[Ruin, tuple[str, ...]]] = {
    "swapped directories": (lambda us, other, _: swap(us.data, other.data), ("of region europe", "identity.json")),
    "swapped files": (
        lambda us, other, _: swap(us.data / "region.db", other.data / "region.db"),
        ("of region europe", "region.db"),
    ),
    "swapped keys": (lambda us, other, _: swap(us.keys, other.keys), ("keys of another region", "identity.json")),
    "swapped labels": (
        lambda us, other, _: swap(us.data / "identity.json", other.data / "identity.json"),
        ("of region europe", "identity.json"),
    ),
    "moved file": (
        lambda us, other, _: (other.data / "region.db").rename(us.data / "region.db"),
        ("of region europe", "region.db"),
    ),
    "moved directory": (
        move_directory,
        ("of region europe", "identity.json"),
    ),
    "linked directory": (lambda us, _, aside: link(us.data, aside), ("symbolic link", "data/u")),
    "linked file": (lambda us, _, aside: link(us.data / "region.db", aside), ("symbolic link", "region.db")),
    "linked label": (lambda us, _, aside: link(us.data / "identity.json", aside), ("symbolic link", "identity.json")),
    "linked log": (
        link_log,
        ("symbolic link", "region.db-wal"),
    ),
    "second name": (lambda us, _, aside: second_name(us.data / "region.db", aside), ("hard link", "region.db")),
    "second name of the label": (
        lambda us, _, aside: second_name(us.data / "identity.json", aside),
        ("hard link", "identity.json"),
    ),
    "second name of the log": (
        lambda us, _, aside: second_name(us.data / "region.db-wal", aside),
        ("hard link", "region.db-wal"),
    ),
    "missing key": (lambda us, *_: (us.keys / "master.key").unlink(), ("data but no key", "master.key")),
    "missing file": (lambda us, *_: (us.data / "region.db").unlink(), ("file is missing", "region.db")),
    "missing directory": (lambda us, *_: shutil.rmtree(us.data), ("file is missing", "region.db")),
    "missing label": (lambda us, *_: (us.data / "identity.json").unlink(), ("does not say whose", "identity.json")),
    "damaged label": (lambda us, *_: (us.data / "identity.json").write_bytes(b"{}"), ("damaged", "identity.json")),
    "label of another file": (
        lambda us, *_: relabel(us, uuid="00000000-0000-4000-8000-000000000000"),
        ("not that of the keys", "identity.json"),
    ),
    "label of another epoch": (lambda us, *_: relabel(us, epoch=2), ("not that of the keys", "identity.json")),
    "label that others see": (
        lambda us, *_: (us.data / "identity.json").chmod(0o644),
        ("open to group", "identity.json"),
    ),
    "only a label": (
        leave_label,
        ("file is missing", "region.db"),
    ),
}
