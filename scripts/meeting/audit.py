"""The audit: what an auditor does with one file and the public keys, far from the gateway.

Rules: the pack is exported by the command line; it is verified in an empty directory, by the verifier alone, without
a configuration and in an environment that knows no gateway; then one byte is flipped, and nobody may miss it.
"""

from __future__ import annotations

import asyncio
import re
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from .cast import RESOURCES, Person
from .chat import TEXTS
from .figures import Figure
from .keeping import HELD
from .processes import DemoFailed, Gateway, environment
from .story import CALL

PACK: Final = "evidence.zip"
KEYS: Final = "keys.vkey"
INCOMPLETE, TAMPERED, SOUND = 10, 20, 0
"""Exits of a verifier: sound with gaps, changed, sound."""
SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Spoken:
    """A command as somebody types it, what it printed and how it ended."""

    command: str
    line: str
    exit: int


@dataclass(frozen=True, slots=True)
class Searched:
    """Of whom none of a pack's `files` holds the raw id or the name, and how many texts of messages are in one."""

    files: int
    nameless: Sequence[str]
    texts: int


async def examine(gateway: Gateway, directory: Path) -> list[Spoken]:
    """Export the meeting's evidence, and verify it in `directory`: as it is, and with one byte flipped.

    Raises DemoFailed if it cannot be exported.
    """
    pack = gateway.directory / PACK
    config = str(gateway.directory / "gateway.toml")
    exported = await _run("gateway", "evidence", "export", CALL, "--out", str(pack), "--config", config)
    if exported.exit != 0:
        raise DemoFailed(f"the evidence was not exported: {exported.line}")
    await asyncio.to_thread(_hand_over, gateway.directory, directory)
    verify = ("storage.audit", "evidence", "verify", PACK, "--key", KEYS)
    sound = await _run(*verify, where=directory)
    place = await asyncio.to_thread(_flip, directory / PACK)
    return [
        replace(exported, command=f"gateway evidence export {CALL} --out {PACK}"),
        sound,
        replace(await _run(*verify, where=directory), command=f"the same, one bit of byte {place:,} flipped"),
    ]


def _hand_over(home: Path, directory: Path) -> None:
    """Give the auditor the pack and the public keys, and nothing else."""
    directory.mkdir()
    (directory / PACK).write_bytes((home / PACK).read_bytes())
    public = [(home / "keys" / region / "verifier.vkey").read_text() for region in sorted(RESOURCES)]
    (directory / KEYS).write_text("".join(public))


def _flip(pack: Path) -> int:
    """Change one bit of what somebody acknowledged; the number of the byte."""
    content = bytearray(pack.read_bytes())
    place = content.index(b'"level":"acknowledged"') + len('"level":"')
    content[place] ^= 1
    pack.write_bytes(content)
    return place


async def close_the_books(gateway: Gateway) -> list[Spoken]:
    """Verify each region's ledger, once the gateway has ended."""
    return [
        await _run(
            *("storage.audit", "ledger", "verify", str(gateway.directory / "data" / region)),
            *("--key", str(gateway.directory / "keys" / region / "verifier.vkey")),
        )
        for region in sorted(RESOURCES)
    ]


def search(pack: Path, people: Sequence[Person]) -> Searched:
    """Look into every file of a pack for everybody and for every text."""
    with zipfile.ZipFile(pack) as files:
        contents = [files.read(name) for name in files.namelist()]
    nameless = [each.name for each in people if not any(_names(content, each) for content in contents)]
    texts = sum(any(text.encode() in content for content in contents) for text in TEXTS)
    return Searched(len(contents), nameless, texts)


def _names(content: bytes, person: Person) -> bool:
    # As a word: within signatures and proofs any five letters may stand.
    named = rb"\b" + re.escape(person.name.encode()) + rb"\b"
    return person.participant.encode() in content or re.search(named, content) is not None


def figures(spoken: Sequence[Spoken], searched: Searched) -> list[Figure]:
    """What the audit must come to: two people had gaps, so the evidence is sound and incomplete; one was erased."""
    exits = [each.exit for each in spoken]
    return [
        Figure("exits of export, verification, and of the flipped byte", [SOUND, INCOMPLETE, TAMPERED], exits),
        Figure("in no file of the evidence, by raw id or name", [HELD], searched.nameless),
        Figure("texts of messages in the evidence", 0, searched.texts),
    ]


def closing_figures(spoken: Sequence[Spoken]) -> list[Figure]:
    """What the ledgers must come to."""
    return [Figure("exits of the ledgers' verification", [SOUND] * len(RESOURCES), [each.exit for each in spoken])]


async def _run(module: str, *arguments: str, where: Path | None = None) -> Spoken:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments),
        cwd=where,
        env=environment({}),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(SECONDS):
            printed, _ = await process.communicate()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    assert process.returncode is not None
    lines = printed.decode(errors="replace").strip().splitlines()
    shown = [Path(each).name if each.startswith("/") else each for each in arguments]
    return Spoken(" ".join((f"python -m {module}", *shown)), lines[-1] if lines else "", process.returncode)
