"""The search for what should not be there: needles in every file of a directory, in every usual guise.

Rules: looks for the bytes themselves, their base64 (both alphabets, at each of the three offsets), hex (both cases) and
JSON-escaped forms; reads every regular file, the write-ahead log included; follows no link.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_CHUNK: Final = 1 << 20
_SHORTEST_GUISE: Final = 4


@dataclass(frozen=True, slots=True)
class Hit:
    """Needle number `needle` is in the file `path`, as `form`: `raw`, `base64`, `hex` or `json`."""

    path: Path
    needle: int
    form: str


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


def _search(path: Path, wanted: Sequence[dict[bytes, str]]) -> set[tuple[int, str]]:
    overlap = max((len(guise) for guises in wanted for guise in guises), default=1) - 1
    found: set[tuple[int, str]] = set()
    tail = b""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            window = tail + chunk
            for number, guises in enumerate(wanted):
                found.update((number, form) for guise, form in guises.items() if guise in window)
            tail = window[-overlap:] if overlap else b""
    return found


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
            found = _search(path, wanted)
        except FileNotFoundError:
            continue
        hits.extend(Hit(path, number, form) for number, form in sorted(found))
    return sorted(hits, key=lambda hit: (str(hit.path), hit.needle, hit.form))
