"""The scan for residue: every guise is found, nothing else is."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from storage.residue import Hit, scan, scan_process

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


class Owner:
    """Another process, of which a test says what it opens; it ends with the test."""

    def __init__(self, opening: str, place: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", f"import os, sys\n{opening}\nprint(flush=True)\nsys.stdin.read()", NEEDLE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=place,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"\n", "it has opened everything"

    def hits(self) -> list[Hit]:
        return scan_process(self.process.pid, [NEEDLE])

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Callable[[str], Owner]]:
    """Makes processes that open something."""
    made: list[Owner] = []

    def make(opening: str) -> Owner:
        made.append(Owner(f"NEEDLE = {NEEDLE!r}\n{opening}", tmp_path))
        return made[-1]

    yield make
    for each in made:
        each.end()


def test_a_file_that_a_process_has_open_is_read_from_its_beginning(
    owner: Callable[[str], Owner], tmp_path: Path
) -> None:
    """Wherever the process itself has come to in it, and the hit says which descriptor and which file."""
    found = owner("kept = open('named', 'w+b'); kept.write(bytes(1 << 20) + NEEDLE); kept.flush()")
    (hit,) = found.hits()
    assert hit.form == "raw"
    assert hit.target == str(tmp_path / "named")
    assert re.fullmatch(rf"{found.process.pid}/fd/\d+ -> {re.escape(hit.target)}", hit.where)


def test_a_file_that_was_deleted_is_found_while_it_is_open(owner: Callable[[str], Owner], tmp_path: Path) -> None:
    """What no directory shows any more is still on the disk."""
    found = owner("kept = open('doomed', 'w+b'); kept.write(NEEDLE); kept.flush(); os.unlink('doomed')")
    assert scan(tmp_path, [NEEDLE]) == []
    assert [hit.target for hit in found.hits()] == [f"{tmp_path / 'doomed'} (deleted)"]


def test_a_file_that_never_had_a_name_is_found(owner: Callable[[str], Owner]) -> None:
    """A file in memory, and one made with O_TMPFILE."""
    memory = owner("kept = os.memfd_create('spill'); os.write(kept, NEEDLE.hex().encode())")
    assert [(hit.form, hit.target) for hit in memory.hits()] == [("hex", "/memfd:spill (deleted)")]
    nameless = owner("kept = os.open('.', os.O_TMPFILE | os.O_RDWR); os.write(kept, NEEDLE)")
    assert [hit.form for hit in nameless.hits()] == ["raw"]


def test_what_is_no_file_is_neither_read_nor_waited_for(owner: Callable[[str], Owner], tmp_path: Path) -> None:
    """Pipes, sockets, terminals, devices, directories and the kernel's own files: to read them takes what is not ours,
    or never ends.
    """
    opening = (
        "import pty, socket; kept = [os.pipe(), socket.socketpair(), pty.openpty()]\n"
        "os.write(kept[0][1], NEEDLE); kept[1][0].send(NEEDLE); os.write(kept[2][1], NEEDLE)\n"
        "os.mkfifo('fifo'); kept.append(os.open('fifo', os.O_RDWR)); os.write(kept[-1], NEEDLE)\n"
        "kept += [open(each, 'rb') for each in ('/dev/zero', '/dev/urandom', '/proc/self/cmdline', '/proc/kmsg')\n"
        "    if os.access(each, os.R_OK)]\n"
        "kept.append(os.open('.', os.O_RDONLY))"
    )
    assert owner(opening).hits() == []
    assert scan(tmp_path, [NEEDLE]) == []


def test_what_the_process_closed_is_found_no_more(owner: Callable[[str], Owner]) -> None:
    """A near miss finds nothing, nor does what is closed and deleted."""
    gone = "kept = open('doomed', 'w+b'); kept.write(NEEDLE); kept.close(); os.unlink('doomed')"
    assert owner(gone).hits() == []
    assert owner("kept = open('near', 'w+b'); kept.write(NEEDLE[:-1]); kept.flush()").hits() == []


def test_a_process_that_is_not_there_is_refused(owner: Callable[[str], Owner]) -> None:
    """It must not pass for one that is clean; nor does an empty needle pass."""
    ended = owner("")
    ended.end()
    with pytest.raises(ProcessLookupError, match="no such process"):
        ended.hits()
    with pytest.raises(ValueError, match="empty"):
        scan_process(os.getpid(), [b""])


def test_a_process_that_ends_meanwhile_takes_its_files_with_it(owner: Callable[[str], Owner]) -> None:
    """Whenever it ends: the scan ends as well, with what it found until then or with the word that nobody is there."""
    for _ in range(10):
        ending = owner(
            "kept = [os.memfd_create(str(each)) for each in range(200)]\nfor each in kept: os.write(each, NEEDLE)"
        )
        threading.Timer(0.002, ending.process.kill).start()
        with contextlib.suppress(ProcessLookupError):
            while ending.hits():
                pass
        ending.process.wait()


def test_a_process_whose_files_may_not_be_read_is_refused(owner: Callable[[str], Owner]) -> None:
    """Nobody is told that all is well where nothing was looked at."""
    other = owner("kept = open('named', 'w+b')").process.pid if os.geteuid() == 0 else 1
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if os.geteuid() == 0:
                os.setuid(65534)
            scan_process(other, [NEEDLE])
        except PermissionError:
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
