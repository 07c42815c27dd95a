"""What the document on the ledger says is what the ledger does: its verifier verifies, and refuses."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from storage.note import write_proof
from storage.operations import SignCheckpoint
from tests.storage.desk import Desk, append

LEDGER = Path(__file__).parents[2] / "docs" / "ledger.md"
SIZE = 300


@pytest.fixture
def files(desk: Desk, tmp_path: Path) -> list[Path]:
    """An entry, its proof and the region's keys, as an auditor gets them."""
    desk.do(*(append(str(number)) for number in range(SIZE)), SignCheckpoint())
    return write(desk, tmp_path, 17)


def write(desk: Desk, place: Path, entry: int) -> list[Path]:
    assert desk.region.checkpoint is not None
    leaf = desk.ask(lambda reader: reader.leaf(entry))
    assert leaf is not None
    path = desk.ask(lambda reader: reader.inclusion(entry, SIZE))
    contents = [leaf + b"\n", write_proof(entry, path, desk.region.checkpoint).encode(), desk.region.verifier.encode()]
    found = [place / name for name in ("entry.json", "entry.tlog-proof", "verifier.vkey")]
    for file, content in zip(found, contents, strict=True):
        file.write_bytes(content)
    return found


def run(files: list[Path]) -> subprocess.CompletedProcess[str]:
    """The verifier that the document prints, as it stands there."""
    program = re.search(r"```python\n(.*?)```", LEDGER.read_text(encoding="utf-8"), re.DOTALL)
    assert program is not None
    return subprocess.run([sys.executable, "-c", program[1], *files], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("entry", [0, 17, 255, 256, 299])
def test_the_documented_verifier_accepts_a_proof(desk: Desk, files: list[Path], tmp_path: Path, entry: int) -> None:
    """Thirty lines, written from the standards, agree with our proofs and our signature."""
    done = run(write(desk, tmp_path, entry))
    assert (done.returncode, done.stdout) == (0, f"in {desk.region.origin}, among {SIZE} entries\n"), done.stderr


@pytest.mark.parametrize(
    ("which", "old", "new"),
    [
        (0, b'"17"', b'"18"'),
        (1, b"index 17", b"index 18"),
        (1, b"\n300\n", b"\n301\n"),
        (1, b"/europe\n300", b"/us\n300"),
        (2, b"europe+", b"us+"),
    ],
    ids=["entry", "index", "size", "origin", "key"],
)
def test_the_documented_verifier_refuses_what_was_changed(
    files: list[Path], which: int, old: bytes, new: bytes
) -> None:
    """Each part counts: the entry, its number, what was signed, and by whom."""
    content = files[which].read_bytes()
    assert old in content
    files[which].write_bytes(content.replace(old, new))
    assert run(files).returncode != 0


def test_the_documented_verifier_refuses_another_key(files: list[Path], tmp_path: Path) -> None:
    """A ledger of the same origin that another key signed is another ledger."""
    other = Desk(tmp_path / "other")
    files[2].write_text(other.region.verifier)
    other.close()
    assert "InvalidSignature" in run(files).stderr
