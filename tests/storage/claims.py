"""What a process said it had done, and whether a region that came back from a crash holds to it.

Rules: what was confirmed before the power went is there, under its number and with its very content; a key that was
confirmed destroyed is nowhere in the file of keys; what a sweep had begun is finished and certified; nothing of anybody
is gone before the journal names them. A claim that does not hold is an AssertionError.
"""

from __future__ import annotations

import contextlib
import json
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from storage.audit.ledger import verify
from storage.audit.verdict import INCOMPLETE, SOUND
from storage.engine import connect_reader
from storage.entry import given
from storage.note import parse_verifiers
from storage.operations import StoredMessage
from storage.reader import Reader
from storage.slots import SIZE
from tests.storage.desk import Desk, append
from tests.storage.scribe import GONE, PEOPLE

RECORD = ">32sq"
"""Who was erased and up to when, as the journal has it."""


def secrets(slots: bytes) -> list[bytes]:
    """The secret in each slot of a file of keys."""
    return [slots[at : at + SIZE] for at in range(0, len(slots), SIZE)]


def _expect(exits: tuple[int, ...], data: Path, keys: Path) -> None:
    """The verifier says one of these of a region that nobody has open, and changes nothing."""
    before = [(each.name, each.stat().st_size, each.stat().st_mtime_ns) for each in data.iterdir()]
    verdict = verify(data, parse_verifiers((keys / "verifier.vkey").read_text()))
    assert verdict.exit in exits, verdict.line
    after = [(each.name, each.stat().st_size, each.stat().st_mtime_ns) for each in data.iterdir()]
    assert after == before, "the verifier changed a file"


@dataclass(slots=True)
class _Key:
    """The key of one version of somebody's message."""

    version: int
    slot: int
    secret: bytes


@dataclass(slots=True)
class Claims:
    """What one process has said so far. Messages are versions by person; `gone` are secrets nobody may hold again.

    Who is `leaving` was sealed up to `sealed_at`, who was `erased` up to `erased_at`, in microseconds since 1970.
    """

    entries: dict[int, dict[str, Any]] = field(default_factory=dict)
    sealed: dict[str, tuple[tuple[str, str], bytes]] = field(default_factory=dict)
    named: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)
    swept: dict[str, int] = field(default_factory=dict)
    sweeping: bool = False
    keys: dict[str, list[_Key]] = field(default_factory=dict)
    gone: set[bytes] = field(default_factory=set)
    checkpoints: set[str] = field(default_factory=set)
    leaving: set[str] = field(default_factory=set)
    leaving_keys: set[bytes] = field(default_factory=set)
    sealed_at: int = 0
    erased_at: int = -1
    erased: set[str] = field(default_factory=set)

    # -- what was said --------------------------------------------------------------------------------------------

    def hear(self, line: bytes, slots: bytes) -> None:
        """One line; `slots` is the file of keys as the process had it when it spoke."""
        said = json.loads(line)
        self.entries |= {seq: json.loads(leaf) for seq, leaf in said.get("entries", ())}
        self.sealed |= {
            presence: ((organization, call), box.encode())
            for presence, organization, call, box in said.get("sealed", ())
        }
        self.named |= {(organization, call): tuple(more) for organization, call, *more in said.get("named", ())}
        for person, version in said.get("kept", ()):
            self.kept[person] = version
            self.gone |= {key.secret for key in self.keys.get(person, ()) if key.version < version}
        for person, version, slot in said.get("slots", ()):
            key = _Key(version, slot, secrets(slots)[slot])
            self.keys.setdefault(person, []).append(key)
        if "leaving" in said:
            self.leaving = set(said["leaving"])
            self.leaving_keys = {secrets(slots)[slot] for slot in said["slots_leaving"]}
            self.sealed_at = said["sealed_at"]
        if "erased" in said:
            self.erased |= self.leaving
            self.erased_at = self.sealed_at
            self.gone |= self.leaving_keys
            self.leaving.clear()
        if "checkpoint" in said:
            self.checkpoints.add(said["checkpoint"])
        if "sweeping" in said:
            self._hear_sweep(begins=said["sweeping"])

    def _hear_sweep(self, *, begins: bool) -> None:
        self.sweeping = begins
        if not begins:
            self.swept = dict(self.kept)
            self.gone |= {key.secret for keys in self.keys.values() for key in keys}

    # -- whether it holds -----------------------------------------------------------------------------------------

    def check(self, root: Path) -> None:
        """Open the region below `root` and hold it to what was said. Raises AssertionError, RegionRefused."""
        data, keys = root / "data" / "europe", root / "keys" / "europe"
        if self.checkpoints:
            # Before anything is repaired: a sound ledger, whose end may not be signed yet.
            _expect((SOUND, INCOMPLETE), data, keys)
        self._check_keys(data / "region.db", keys / "slots")
        desk = Desk(root)
        try:
            desk.ask(lambda reader: self._check_region(reader, keys / "slots"))
            size = desk.ask(lambda reader: reader.size())
            assert desk.do(append("next")) == (size,)
        finally:
            desk.close()
        _expect((SOUND,), data, keys)
        left = set(secrets((keys / "slots").read_bytes()))
        assert not left & self.gone, "a destroyed key is back"

    def _check_keys(self, database: Path, slots: Path) -> None:
        """Before anything is repaired: no destroyed key is there, and none without a row or a note that it must go."""
        if not self.keys:
            return
        held = secrets(slots.read_bytes())
        assert not set(held) & self.gone, "a key outlived the confirmation of its end"
        if not self.sweeping:
            return
        with contextlib.closing(connect_reader(database)) as connection:
            known = connection.execute("SELECT slot FROM messages UNION ALL SELECT slot FROM shredding").fetchall()
        due = {key.slot for person, keys in self.keys.items() for key in keys if key.version == self.kept[person]}
        alive = {key.slot for keys in self.keys.values() for key in keys if key.secret in held}
        assert alive & due <= {slot for (slot,) in known}, "a key outlived the note that it must go"

    def _check_region(self, reader: Reader, slots: Path) -> None:
        self._check_ledger(reader)
        named_at = self._named_at(reader, slots)
        assert named_at >= self.erased_at, "the journal forgot who was erased"
        erased = self.erased | (self.leaving if named_at >= self.sealed_at else set())
        for presence, (call, box) in self.sealed.items():
            found = reader.presences(call)[presence]
            if presence in erased:
                assert found is None, "somebody who was erased is back"
            else:
                assert found == box, "a confirmed presence is lost"
        for call, names in self.named.items():
            # A list that was never confirmed may stand in its place.
            assert len(reader.aliases(call)) == len(names), "confirmed aliases are lost"
        left = set(secrets(slots.read_bytes()))
        for person in PEOPLE:
            self._check_message(person, reader.message(person), left)
        assert reader._execute("PRAGMA quick_check").fetchall() == [("ok",)]

    def _named_at(self, reader: Reader, slots: Path) -> int:
        """Up to when the journal says that they are erased; -1 if it does not. What was sealed by then is gone."""
        journal = slots.with_name("erasures")
        data = journal.read_bytes() if journal.exists() else b""
        records = struct.iter_unpack(RECORD, data[: len(data) - len(data) % struct.calcsize(RECORD)])
        gone = reader._vault.look_up("person", GONE)
        # They may have been erased before, in this life of the region or another: that is about what was sealed then.
        return max((at for person, at in records if person == gone), default=-1)

    def _check_ledger(self, reader: Reader) -> None:
        notes = dict(reader._execute("SELECT size, note FROM checkpoints").fetchall())
        assert self.checkpoints <= set(notes.values()), "a checkpoint that was shown is lost"
        assert max(notes, default=-1) == reader.size(), "the end of the ledger is not signed"
        leaves = [given(leaf) for leaf in reader.entries(0, reader.size())]
        for seq, fields in self.entries.items():
            assert seq < len(leaves), f"entry {seq} was confirmed and is lost"
            assert leaves[seq] == fields, f"entry {seq} is not what was confirmed"
        numbers = [leaf["number"] for leaf in leaves if leaf["kind"] == "noted"]
        assert len(set(numbers)) == len(numbers), "something was written twice"
        intents = {seq for seq, leaf in enumerate(leaves) if leaf["kind"] == "retention.intent"}
        certified = [leaf["intent"] for leaf in leaves if leaf["kind"] == "retention.certificate"]
        assert sorted(certified) == sorted(intents), "a sweep is not finished"
        assert reader._execute("SELECT count(*) FROM shredding").fetchall() == [(0,)]

    def _check_message(self, person: str, found: StoredMessage | None, secrets: set[bytes]) -> None:
        """The last confirmed version, or one that was on its way; and no key of any other."""
        least = self.kept.get(person, 0)
        if found is None:
            assert self.sweeping or least == self.swept.get(person, 0), "a confirmed message is lost"
        else:
            assert found.version >= least, "an older message is back"
            assert found.version > self.swept.get(person, 0), "a deleted message is back"
            assert found.content == f"{person} {found.version}"
        version = 0 if found is None else found.version
        dead = {key.secret for key in self.keys.get(person, ()) if key.version != version}
        assert not dead & secrets, "the key of a message that is gone is still there"
