"""The scan for residue: every guise is found, nothing else is."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from storage.residue import Hit, scan

NEEDLE = 'Nädel/"7" +>?'.encode()


def found(directory: Path, content: bytes, needle: bytes = NEEDLE) -> set[str]:
    (directory / "file").write_bytes(content)
    return {hit.form for hit in scan(directory, [needle])}


def test_the_needle_itself(tmp_path: Path) -> None:
    """The bytes as they are."""
    assert "raw" in found(tmp_path, b"before" + NEEDLE + b"after")


@pytest.mark.parametrize("before", [b"", b"1", b"22", b"333"])
@pytest.mark.parametrize("after", [b"", b"1", b"22"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_base64_at_every_offset(tmp_path: Path, before: bytes, after: bytes, encode: object) -> None:
    """Base64 of something that contains the needle, whatever stands before and after it."""
    assert callable(encode)
    assert found(tmp_path, encode(before + NEEDLE + after)) == {"base64"}


def test_hex(tmp_path: Path) -> None:
    """Hex in both cases."""
    assert found(tmp_path, NEEDLE.hex().encode()) == {"hex"}
    assert found(tmp_path, NEEDLE.hex().upper().encode()) == {"hex"}


def test_json(tmp_path: Path) -> None:
    """JSON strings: ASCII only or not, with escaped slashes, with everything escaped, beyond the first plane."""
    text = NEEDLE.decode()
    assert found(tmp_path, json.dumps({"a": f"x{text}y"}).encode()) == {"json"}
    assert found(tmp_path, json.dumps(f"x{text}y", ensure_ascii=False).encode()) == {"json"}
    assert found(tmp_path, json.dumps(text).replace("/", "\\/").encode()) == {"json"}
    assert found(tmp_path, "".join(f"\\u{ord(letter):04X}" for letter in text).encode()) == {"json"}
    assert found(tmp_path, json.dumps("🙂🙂🙂").encode(), "🙂🙂".encode()) == {"json"}


def test_every_file_is_read_and_the_hit_says_which(tmp_path: Path) -> None:
    """Files in sub-directories and across the reading window count; each needle has its number."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "region.db-wal").write_bytes(bytes((1 << 20) - 5) + NEEDLE)
    (tmp_path / "a").write_bytes(b"other")
    assert scan(tmp_path, [NEEDLE, b"other"]) == [
        Hit(tmp_path / "a", 1, "raw"),
        Hit(tmp_path / "sub" / "region.db-wal", 0, "raw"),
    ]


def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    """No hit in an empty directory, in a near miss, or behind a link."""
    assert scan(tmp_path, [NEEDLE]) == []
    assert found(tmp_path, NEEDLE[:-1] + NEEDLE[1:]) == set()
    outside = tmp_path / "outside"
    outside.write_bytes(NEEDLE)
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link").symlink_to(outside)
    assert scan(inside, [NEEDLE]) == []


def test_needles_that_are_no_text_are_looked_for_too(tmp_path: Path) -> None:
    """Any bytes can be a needle."""
    assert found(tmp_path, b"\xff\xfe\xfd\xfc", b"\xff\xfe\xfd\xfc") == {"raw"}


def test_nonsense_is_refused(tmp_path: Path) -> None:
    """An empty needle, and a directory that is not there, would only ever say that all is well."""
    with pytest.raises(ValueError, match="empty"):
        scan(tmp_path, [b""])
    with pytest.raises(NotADirectoryError):
        scan(tmp_path / "missing", [NEEDLE])
