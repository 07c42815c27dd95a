"""The search for what should not be there: needles in every file of a directory or of a process, in every usual guise.

Rules: looks for the bytes themselves, their base64 (both alphabets, at each of the three offsets), hex (both cases) and
JSON-escaped forms; reads every regular file, the write-ahead log included; follows no link; of a process every regular
file that it has open, deleted or without a name too, and never a pipe, a socket or a device.
"""

from __future__ import annotations

import base64
import errno
import json
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

_CHUNK: Final = 1 << 20
_SHORTEST_GUISE: Final = 4
_PROCESSES: Final = Path("/proc")
_KERNELS: Final = ("/proc/", "/sys/")
"""Where what looks like a regular file is none: reading it does something, or never ends."""


@dataclass(frozen=True, slots=True)
class Hit:
    """Needle number `needle` is in the file `path`, as `form`: `raw`, `base64`, `hex` or `json`.

    Of a process's file `path` is the descriptor and `target` what that leads to, in the words of /proc.
    """

    path: Path
    needle: int
    form: str
    target: str | None = None

    @property
    def where(self) -> str:
        """Which file it is, for a person."""
        return str(self.path) if self.target is None else f"{self.path.relative_to(_PROCESSES)} -> {self.target}"


def _base64_forms(needle: bytes) -> Iterator[bytes]:
    """The characters that `needle` alone decides when it begins at each of the three offsets of a group."""
    for offset in range(3):
        encoded = base64.b64encode(bytes(offset) + needle)
        first = (offset * 8 + 5) // 6
        core = encoded[first : (offset + len(needle)) * 8 // 6]
        yield core
        yield core.translate(bytes.maketrans(b"+/", b"-_"))


def _json_forms(needle: bytes) -> Iterator[bytes]:
    try:
        text = needle.decode("utf-8")
    except UnicodeDecodeError:
        return
    for ascii_only in (True, False):
        escaped = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
        yield from (form.encode("utf-8") for form in (escaped, escaped.replace("/", "\\/")))
    everything = "".join(f"\\u{unit:04x}" for unit in _units(text))
    yield from (
        form.encode("ascii") for form in (everything, everything.replace("\\u", "\0").upper().replace("\0", "\\u"))
    )


def _units(text: str) -> Iterator[int]:
    data = text.encode("utf-16-be")
    return (int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2))


def _forms(needle: bytes) -> dict[bytes, str]:
    """Every guise of `needle` and its name; a guise too short to mean anything is left out."""
    if not needle:
        raise ValueError("an empty needle is in every file")
    found = {needle: "raw"}
    guises = [("base64", each) for each in _base64_forms(needle)]
    guises += [("hex", needle.hex().encode()), ("hex", needle.hex().upper().encode())]
    guises += [("json", each) for each in _json_forms(needle)]
    for form, guise in guises:
        if len(guise) >= _SHORTEST_GUISE:
            found.setdefault(guise, form)
    return found


def _files(directory: Path) -> Iterator[Path]:
    for root, _, names in os.walk(directory):
        for name in sorted(names):
            path = Path(root, name)
            if path.is_file() and not path.is_symlink():
                yield path


def _search(file: BinaryIO, wanted: Sequence[dict[bytes, str]]) -> list[tuple[int, str]]:
    overlap = max((len(guise) for guises in wanted for guise in guises), default=1) - 1
    found: set[tuple[int, str]] = set()
    tail = b""
    while chunk := file.read(_CHUNK):
        window = tail + chunk
        for number, guises in enumerate(wanted):
            found.update((number, form) for guise, form in guises.items() if guise in window)
        tail = window[-overlap:] if overlap else b""
    return sorted(found)


def scan(directory: Path, needles: Sequence[bytes]) -> list[Hit]:
    """Every needle found in any file below `directory`, once per file and form, in the order of paths.

    Raises ValueError for an empty needle, OSError for a file that cannot be read or a directory that is missing.
    A file that vanishes meanwhile is passed over.
    """
    if not directory.is_dir():
        raise NotADirectoryError(f"not a directory: {directory}")
    wanted = [_forms(needle) for needle in needles]
    hits: list[Hit] = []
    for path in _files(directory):
        try:
            with path.open("rb") as file:
                found = _search(file, wanted)
        except FileNotFoundError:
            continue
        hits.extend(Hit(path, number, form) for number, form in found)
    return sorted(hits, key=lambda hit: (str(hit.path), hit.needle, hit.form))


def scan_process(pid: int, needles: Sequence[bytes]) -> list[Hit]:
    """Every needle found in any regular file that the process has open, once per descriptor and form, in their order.

    Files that are deleted and files in memory (`memfd_create`) count. Raises ValueError for an empty needle, OSError
    where there is no such process or its files may not be read. What the process closes meanwhile is passed over, and
    so is the rest where it ends: what had no name is gone with it.
    """
    wanted = [_forms(needle) for needle in needles]
    hits: list[Hit] = []
    for descriptor in _descriptors(pid):
        try:
            target = str(descriptor.readlink())
            found = [] if target.startswith(_KERNELS) else _search_opened(descriptor, wanted)
        except (FileNotFoundError, ProcessLookupError):
            continue
        hits.extend(Hit(descriptor, number, form, target) for number, form in found)
    return hits


def _descriptors(pid: int) -> list[Path]:
    try:
        return sorted((_PROCESSES / str(pid) / "fd").iterdir(), key=lambda path: int(path.name))
    except (FileNotFoundError, ProcessLookupError) as error:
        raise ProcessLookupError(errno.ESRCH, "no such process", str(pid)) from error


def _search_opened(descriptor: Path, wanted: Sequence[dict[bytes, str]]) -> list[tuple[int, str]]:
    # Looked at before it is opened: to open a pipe or a device can wait, or do something.
    if not stat.S_ISREG(descriptor.stat().st_mode):
        return []
    with os.fdopen(os.open(descriptor, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC), "rb") as file:
        # The number may have come to mean something else since.
        return _search(file, wanted) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else []
