"""What was done to a ledger is found from its file and a public key, and a sound one is called sound."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from storage.audit.verdict import INCOMPLETE, ROLLED_BACK, SOUND, TAMPERED, UNVERIFIABLE
from storage.note import COSIGNATURE, ED25519, Note, Signature, parse_note, parse_verifiers
from storage.operations import SignCheckpoint
from storage.signing import Signer, load
from tests.storage.audited import (
    AT,
    ORIGIN,
    SIGNED,
    STRANGER,
    WITNESS,
    WITNESSED,
    Connection,
    Copied,
    Edit,
    Written,
    change_leaf,
    edited,
    noted,
    rebuild,
    rehash,
    resign,
    run,
    shift,
    swap,
    truncate,
)
from tests.storage.desk import Desk


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    return Written(tmp_path_factory.mktemp("written"))


@pytest.fixture
def copied(written: Written, tmp_path: Path) -> Copied:
    return written.copy(tmp_path / "copy")


# -- what is sound ----------------------------------------------------------------------------------------------------


def test_a_ledger_as_it_was_written_is_sound(written: Written, copied: Copied) -> None:
    """With its own key alone or among others, and with any of its checkpoints, in one line that counts."""
    assert copied.judge() == (SOUND, f"sound: {ORIGIN}: 600 entries, 5 checkpoints")
    assert copied.judge(verifiers=[STRANGER.verifier, *written.verifiers]).exit == SOUND
    for size in SIGNED:
        assert copied.judge(copied.checkpoint(size)).exit == SOUND
    assert copied.judge(*(copied.checkpoint(size, f"{size}.txt") for size in SIGNED)).exit == SOUND


def test_a_new_ledger_is_sound(tmp_path: Path) -> None:
    """A region without an entry has signed that it has none."""
    desk = Desk(tmp_path)
    desk.close()
    found = Copied(parse_verifiers(desk.region.verifier), desk.data).judge()
    assert found == (SOUND, f"sound: {ORIGIN}: 0 entries, 1 checkpoints")


def test_a_grown_ledger_still_shows_what_was_seen(written: Written, copied: Copied, tmp_path: Path) -> None:
    """Checkpoints from before it grew are of its beginning."""
    grown = written.another_history(tmp_path / "grown", noted(600))
    assert grown.judge(*(copied.checkpoint(size, f"{size}.txt") for size in SIGNED)).exit == SOUND


def test_entries_from_before_there_were_stamps_come_first(written: Written, tmp_path: Path) -> None:
    """A ledger that began without stamps and a tree is sound, and its calls are counted from its first entry on."""
    copied = written.copy(tmp_path / "old").edit(unstamp(0, 300), *forge(written.signer))
    assert copied.judge().exit == SOUND


def test_three_levels_of_tiles_are_verified(tmp_path: Path) -> None:
    """65,536 entries fill a tile of the second level; a change in it is found."""
    desk = Desk(tmp_path)
    for start in range(0, 66_000, 6_000):
        desk.do(*map(noted, range(start, start + 6_000)), SignCheckpoint())
    desk.close()
    copied = Copied(parse_verifiers(desk.region.verifier), desk.data)
    assert copied.judge().exit == SOUND
    copied.edit(run("UPDATE tiles SET hashes = zeroblob(32) WHERE level = 2"))
    assert copied.judge() == (TAMPERED, f"tampered: {ORIGIN}: tile 0 of level 2 was changed")


def test_what_was_read_first_counts_to_the_end(tmp_path: Path) -> None:
    """Entries are read in batches: that there were stamps is remembered from one to the next."""
    desk = Desk(tmp_path)
    desk.do(*map(noted, range(4_200)), SignCheckpoint())
    desk.close()
    copied = Copied(parse_verifiers(desk.region.verifier), desk.data)
    copied.edit(unstamp(4_096, 4_200), *forge(load((desk.keys / "signing.key").read_text())))
    assert copied.judge().line.endswith("entry 4096 does not say when it was written")


# -- what somebody without the key does -------------------------------------------------------------------------------


def unstamp(start: int, end: int) -> Edit:
    """These entries as they were before there were stamps."""

    def edit(connection: Connection) -> None:
        rows = connection.execute("SELECT seq, leaf FROM entries WHERE seq >= ? AND seq < ?", (start, end)).fetchall()
        for number, leaf in rows:
            plain = re.sub(rb'"(after_us|ahead)":\d+,', b"", leaf)
            connection.execute("UPDATE entries SET leaf = ? WHERE seq = ?", (plain, number))

    return edit


def insert(number: int, leaf: bytes, call: int | None) -> Edit:
    """One more entry, where the numbers leave room for it."""
    return run("INSERT INTO entries(seq, call, leaf, hash) VALUES (?, ?, ?, x'')", number, call, leaf)


def renote(size: int, change: Callable[[Note], Note]) -> Edit:
    """Another note for the checkpoint of this size."""

    def edit(connection: Connection) -> None:
        (text,) = connection.execute("SELECT note FROM checkpoints WHERE size = ?", (size,)).fetchone()
        changed = change(parse_note(text)).text()
        assert changed != text
        connection.execute("UPDATE checkpoints SET note = ? WHERE size = ?", (changed, size))

    return edit


def reword(size: int, old: str, new: str) -> Edit:
    """Other words in what the checkpoint of this size says."""
    return renote(size, lambda note: note._replace(body=note.body.replace(old, new, 1)))


def countersign(change: Callable[[Signature, Note], Signature], *, alone: bool = True) -> Edit:
    """Another signature under the checkpoint of 300 entries, or one more."""

    def changed(note: Note) -> Note:
        found = change(note.signatures[0], note)
        return note._replace(signatures=(found,) if alone else (*note.signatures, found))

    return renote(300, changed)


def forge(signer: Signer) -> tuple[Edit, Edit]:
    """What a key can do."""
    return rebuild, resign(signer)


def cut(size: int, *, forget: bool) -> Edit:
    """Only so many entries are left, and all but the signatures says so; `forget` takes the later ones along."""
    return lambda connection: truncate(connection, size, forget=forget)


FLIPPED = "cast(substr({0}, 1, 31) || x'00' AS BLOB)"
CALLED = b'{"after_us":0,"call":"call-0","kind":"noted","number":9,"organization":"contoso","word":"forged"}'
PLAIN = b'{"after_us":0,"kind":"noted","number":9,"word":"forged"}'
CHANGE = change_leaf(17, b'"word":""', b'"word":"x"')
Row = tuple[list[Edit], int, str]

ON_ENTRIES: dict[str, Row] = {
    "a byte in a leaf": ([change_leaf(17, b"noted", b"Noted")], TAMPERED, "entry 17 was changed"),
    "a byte in the first leaf": ([change_leaf(0, b"noted", b"Noted")], TAMPERED, "entry 0 was changed"),
    "a byte in the last leaf": ([change_leaf(599, b"noted", b"Noted")], TAMPERED, "entry 599 was changed"),
    "a leaf emptied": ([run("UPDATE entries SET leaf = x'' WHERE seq = 17")], TAMPERED, "entry 17 was changed"),
    "a leaf and its hash": ([CHANGE, rehash], TAMPERED, "entries 0 to 99 are not those signed"),
    "a leaf and its hash, behind a tile": (
        [change_leaf(520, b'"word":""', b'"word":"x"'), rehash],
        TAMPERED,
        "entries 301 to 599 are not those signed",
    ),
    "a leaf and its hash, in a tile": (
        [change_leaf(305, b'"word":""', b'"word":"x"'), rehash],
        TAMPERED,
        "entries 301 to 511 are not those signed",
    ),
    "the one leaf between two checkpoints": (
        [change_leaf(300, b'"word":""', b'"word":"x"'), rebuild],
        TAMPERED,
        "entry 300 is not what was signed",
    ),
    "a leaf and all that follows from it": ([CHANGE, rebuild], TAMPERED, "entries 0 to 99 are not those signed"),
    "a leaf that is no entry": ([change_leaf(17, b"}", b""), rehash], TAMPERED, "entry 17 is no entry"),
    "a leaf nested without end": (
        [change_leaf(17, b'""', b"[" * 100_000 + b"]" * 100_000), rehash],
        TAMPERED,
        "entry 17 is no entry",
    ),
    "a stored hash": (
        [run(f"UPDATE entries SET hash = {FLIPPED.format('hash')} WHERE seq = 17")],
        TAMPERED,
        "entry 17 was changed",
    ),
    "a stored hash cut off": (
        [run("UPDATE entries SET hash = substr(hash, 1, 31) WHERE seq = 17")],
        TAMPERED,
        "entry 17 was changed",
    ),
    "an entry removed": ([run("DELETE FROM entries WHERE seq = 17")], TAMPERED, "entry 17 is missing"),
    "the first entry removed": ([run("DELETE FROM entries WHERE seq = 0")], TAMPERED, "entry 0 is missing"),
    "an entry removed and the rest moved up": (
        [run("DELETE FROM entries WHERE seq = 17"), shift(17, -1), rebuild],
        TAMPERED,
        "entry 20 does not stand where it says",
    ),
    "an entry about no call removed and the rest moved up": (
        [run("DELETE FROM entries WHERE seq = 19"), shift(19, -1), rebuild],
        TAMPERED,
        "entries 0 to 99 are not those signed",
    ),
    "an entry inserted": ([shift(17, 1), insert(17, PLAIN, None), rebuild], TAMPERED, "entries 0 to 99 are not those"),
    "an entry of a call inserted": (
        [shift(17, 1), insert(17, CALLED, 1), rebuild],
        TAMPERED,
        "entry 17 does not stand",
    ),
    "an entry before the first": ([insert(-1, PLAIN, None), rehash], TAMPERED, "entry 0 is missing"),
    "an entry far behind the last": ([insert(700, PLAIN, None), rehash], TAMPERED, "entry 600 is missing"),
    "two entries of a call swapped": ([swap(16, 20), rebuild], TAMPERED, "entry 16 does not stand where it says"),
    "two entries of different calls swapped": ([swap(16, 17), rebuild], TAMPERED, "entries 0 to 99 are not those"),
    "an entry written over by another": (
        [run("UPDATE entries SET leaf = (SELECT leaf FROM entries WHERE seq = 19) WHERE seq = 23"), rebuild],
        TAMPERED,
        "entries 0 to 99 are not those signed",
    ),
    "the end removed": ([run("DELETE FROM entries WHERE seq >= 450")], ROLLED_BACK, "450 entries are there and 600"),
    "the end removed, and head and tiles cut": ([cut(450, forget=False)], ROLLED_BACK, "450 entries are there and 600"),
    "the last entry removed": ([run("DELETE FROM entries WHERE seq = 599")], ROLLED_BACK, "599 entries are there"),
    "all entries removed": ([cut(0, forget=False)], ROLLED_BACK, "0 entries are there and 600"),
    "the end removed and its middle changed": ([CHANGE, cut(450, forget=False)], TAMPERED, "entries 0 to 99 are not"),
}
BESIDE_ENTRIES: dict[str, Row] = {
    "a tile": (
        [run(f"UPDATE tiles SET hashes = {FLIPPED.format('hashes')}")],
        TAMPERED,
        "tile 0 of level 1 was changed",
    ),
    "a tile cut off": (
        [run("UPDATE tiles SET hashes = substr(hashes, 1, 32)")],
        TAMPERED,
        "tile 0 of level 1 was changed",
    ),
    "a tile lengthened": (
        [run("UPDATE tiles SET hashes = cast(hashes || zeroblob(32) AS BLOB)")],
        TAMPERED,
        "tile 0 of level 1 was changed",
    ),
    "a tile removed": ([run("DELETE FROM tiles")], TAMPERED, "tile 0 of level 1 is missing"),
    "a tile too many": ([run("INSERT INTO tiles VALUES (1, 1, zeroblob(32))")], TAMPERED, "tile 1 of level 1"),
    "a tile at no place": ([run("INSERT INTO tiles VALUES (1, -1, zeroblob(32))")], TAMPERED, "tile -1 of level 1"),
    "a level too many": ([run("INSERT INTO tiles VALUES (2, 0, zeroblob(32))")], TAMPERED, "tile 0 of level 2"),
    "the head's root": ([run(f"UPDATE head SET root = {FLIPPED.format('root')}")], TAMPERED, "the stored head"),
    "the head's edge": ([run("UPDATE head SET edge = substr(edge, 33)")], TAMPERED, "the stored head"),
    "the head's size": ([run("UPDATE head SET size = 599")], TAMPERED, "the stored head"),
    "the head removed": ([run("DELETE FROM head")], TAMPERED, "the stored head"),
    "an entry filed under another call": (
        [run("UPDATE entries SET call = 2 WHERE seq = 596")],
        TAMPERED,
        "entry 596 is filed under another call",
    ),
    "the first entries of two calls filed under one another": (
        [run("UPDATE entries SET call = 3 - call WHERE seq < 2")],
        TAMPERED,
        "entry 0 is filed under another call",
    ),
    "an entry filed under no call": (
        [run("UPDATE entries SET call = NULL WHERE seq = 16")],
        TAMPERED,
        "entry 16 is filed",
    ),
    "an entry about no call filed under one": ([run("UPDATE entries SET call = 1 WHERE seq = 3")], TAMPERED, "entry 3"),
    "an entry filed under a call that is not there": (
        [run("UPDATE entries SET call = 99 WHERE seq = 0")],
        TAMPERED,
        "entry 0 is filed under another call",
    ),
    "all entries of a call filed under a new one": (
        [
            run("INSERT INTO calls(id, organization, call, open) VALUES (9, 'contoso', 'call-9', 0)"),
            run("UPDATE entries SET call = 9 WHERE call = 2"),
        ],
        TAMPERED,
        "entry 1 is filed under another call",
    ),
    "a call renamed": (
        [run("UPDATE calls SET call = 'call-x' WHERE id = 1")],
        TAMPERED,
        "entry 0 is filed under another",
    ),
    "calls given to another organisation": ([run("UPDATE calls SET organization = 'x'")], TAMPERED, "entry 0 is filed"),
    "a call removed": ([run("DELETE FROM calls WHERE id = 3")], TAMPERED, "entry 2 is filed under another call"),
    "a call that is no text any more": (
        [run("UPDATE calls SET call = cast(x'63ff' AS TEXT) WHERE id = 2")],
        TAMPERED,
        "entry 1 is filed under another call",
    ),
}
ON_CHECKPOINTS: dict[str, Row] = {
    "a checkpoint's size": ([reword(300, "\n300\n", "\n301\n")], TAMPERED, "the checkpoint of 300 entries"),
    "a checkpoint's root": ([reword(300, "=\n", "A\n")], TAMPERED, "the checkpoint of 300 entries"),
    "a checkpoint with the root of another": (
        [run("UPDATE checkpoints SET note = (SELECT note FROM checkpoints WHERE size = 301) WHERE size = 300")],
        TAMPERED,
        "the checkpoint of 300 entries is another one's",
    ),
    "a checkpoint's origin": ([reword(300, ORIGIN, f"x{ORIGIN}")], TAMPERED, "the checkpoint of 300 entries"),
    "a line more in a checkpoint": ([reword(300, "=\n", "=\nx\n")], TAMPERED, "the checkpoint of 300 entries"),
    "a bit of a signature": (
        [countersign(lambda own, note: own._replace(blob=bytes([own.blob[0] ^ 1]) + own.blob[1:]))],
        TAMPERED,
        f"the checkpoint of 300 entries: the signature by {ORIGIN} is not valid",
    ),
    "a signature by a stranger under the key's id": (
        [countersign(lambda own, note: STRANGER.sign(note.body)._replace(key_id=own.key_id))],
        TAMPERED,
        f"the checkpoint of 300 entries: the signature by {ORIGIN} is not valid",
    ),
    "a bad signature beside the good one": (
        [countersign(lambda own, note: own._replace(blob=bytes(64)), alone=False)],
        TAMPERED,
        f"the checkpoint of 300 entries: the signature by {ORIGIN} is not valid",
    ),
    "a signature removed": (
        [renote(300, lambda note: note._replace(signatures=()))],
        TAMPERED,
        "of 300 entries: a note",
    ),
    "a checkpoint emptied": ([run("UPDATE checkpoints SET note = '' WHERE size = 600")], TAMPERED, "of 600 entries"),
    "a checkpoint that is no text any more": (
        [run("UPDATE checkpoints SET note = cast(x'ff' AS TEXT) WHERE size = 600")],
        TAMPERED,
        "the checkpoint of 600 entries",
    ),
    "a checkpoint under another size": (
        [run("UPDATE checkpoints SET size = 302 WHERE size = 300")],
        TAMPERED,
        "the checkpoint of 302 entries is another one's",
    ),
    "a checkpoint beyond the end": (
        [run("INSERT INTO checkpoints SELECT 601, note FROM checkpoints WHERE size = 600")],
        TAMPERED,
        "the checkpoint of 601 entries is another one's",
    ),
    "the newest checkpoint removed": (
        [run("DELETE FROM checkpoints WHERE size = 600")],
        INCOMPLETE,
        "entries 301 to 599 are not signed yet",
    ),
    "all but the first checkpoint removed": (
        [run("DELETE FROM checkpoints WHERE size > 0")],
        INCOMPLETE,
        "entries 0 to 599 are not signed yet",
    ),
    "the checkpoints removed": ([run("DELETE FROM checkpoints")], UNVERIFIABLE, "nothing in it is signed"),
    "every checkpoint signed by a stranger": (
        [CHANGE, *forge(STRANGER)],
        UNVERIFIABLE,
        f": none of the given keys is that of {ORIGIN}",
    ),
    "one checkpoint signed by a stranger": (
        [countersign(lambda own, note: STRANGER.sign(note.body))],
        TAMPERED,
        "the checkpoint of 300 entries: no given key signed",
    ),
}
ATTACKS = ON_ENTRIES | BESIDE_ENTRIES | ON_CHECKPOINTS


@pytest.mark.parametrize(("edits", "code", "said"), ATTACKS.values(), ids=ATTACKS)
def test_what_is_done_without_the_key_is_found(copied: Copied, edits: list[Edit], code: int, said: str) -> None:
    """Whatever is changed, removed, inserted, moved or cut: the exit says what kind of thing it is, the line where."""
    found = copied.edit(*edits).judge()
    assert found.exit == code, found
    assert said in found.line


def test_a_stranger_beside_the_key_is_found(written: Written, copied: Copied) -> None:
    """Also by somebody who trusts both: one may not sign for the other."""
    stranger = Signer("notification-gateway/asia", ED25519, bytes(32))
    both = [stranger.verifier, *written.verifiers]
    copied.edit(countersign(lambda own, note: stranger.sign(note.body)))
    assert copied.judge(verifiers=both).exit == TAMPERED
    assert copied.judge(verifiers=[stranger.verifier]).exit == UNVERIFIABLE
    copied.edit(reword(300, ORIGIN, stranger.verifier.name), countersign(lambda own, note: stranger.sign(note.body)))
    assert copied.judge(verifiers=both).line.endswith("the checkpoint of 300 entries is another one's")


# -- what whoever has the key does ------------------------------------------------------------------------------------

BY_THE_SIGNER: dict[str, tuple[list[Edit], str]] = {
    "an entry's place in its call moved up": ([change_leaf(16, b'"ahead":4', b'"ahead":3')], "entry 16 does not stand"),
    "an entry's place in its call moved down": (
        [change_leaf(16, b'"ahead":4', b'"ahead":5')],
        "entry 16 does not stand",
    ),
    "an entry's place in its call removed": ([change_leaf(16, b'"ahead":4,', b"")], "entry 16 does not stand"),
    "an entry about no call with a place": (
        [change_leaf(19, b'"kind"', b'"ahead":4,"kind"')],
        "entry 19 is filed under no call",
    ),
    "a place that is no number": ([change_leaf(16, b'"ahead":4', b'"ahead":"4"')], "entry 16 is no entry"),
    "an entry of a call removed": (
        [run("DELETE FROM entries WHERE seq = 16"), shift(16, -1)],
        "entry 19 does not stand where it says",
    ),
    "two entries of a call swapped": ([swap(16, 20)], "entry 16 does not stand where it says"),
    "the first entry without a time": (
        [change_leaf(0, b'"after_us":0,', b"")],
        "entry 0 does not say when it was written",
    ),
    "an entry without a time": ([unstamp(300, 301)], "entry 300 does not say when it was written"),
    "the last entry without a time": ([unstamp(599, 600)], "entry 599 does not say when it was written"),
    "an entry before its time": ([change_leaf(19, b'"after_us":', b'"after_us":-1')], "entry 19 was written before"),
    "a time that is no number": ([change_leaf(19, b'"after_us":', b'"after_us":1.5')], "entry 19 is no entry"),
    "an entry's call": ([change_leaf(16, b"call-0", b"call-1")], "entry 16 is filed under another call"),
    "an entry's organisation": ([change_leaf(16, b"contoso", b"fabrikam")], "entry 16 is filed under another call"),
    "an entry's call that is no text": ([change_leaf(16, b'"call-0"', b"[1]")], "entry 16 is filed under another call"),
    "an entry that names no call": (
        [change_leaf(16, b'"call":"call-0",', b"")],
        "entry 16 is filed under another call",
    ),
}
"""Forged with the right key, and contradicting itself all the same."""


@pytest.mark.parametrize(("edits", "said"), BY_THE_SIGNER.values(), ids=BY_THE_SIGNER)
def test_a_forgery_with_the_key_must_not_contradict_itself(
    written: Written, copied: Copied, edits: list[Edit], said: str
) -> None:
    """Everything is hashed and signed anew; stamps and calls still have to fit one another."""
    found = copied.edit(*edits, *forge(written.signer)).judge()
    assert found.exit == TAMPERED, found
    assert said in found.line


REWRITTEN: dict[str, tuple[list[Edit], dict[int | None, int]]] = {
    "nothing": ([], {None: SOUND, 0: SOUND, 300: SOUND, 600: SOUND}),
    "a leaf": ([CHANGE], {None: SOUND, 0: SOUND, 100: ROLLED_BACK, 300: ROLLED_BACK, 600: ROLLED_BACK}),
    "the last leaf": (
        [change_leaf(599, b"noted", b"Noted")],
        {None: SOUND, 301: SOUND, 600: ROLLED_BACK},
    ),
    "an entry removed": (
        [run("DELETE FROM entries WHERE seq = 19"), shift(19, -1), run("DELETE FROM checkpoints WHERE size = 600")],
        {None: INCOMPLETE, 0: INCOMPLETE, 100: ROLLED_BACK, 301: ROLLED_BACK, 600: ROLLED_BACK},
    ),
    "the end cut": ([cut(301, forget=True)], {None: SOUND, 100: SOUND, 301: SOUND, 600: ROLLED_BACK}),
    "everything cut": ([cut(0, forget=True)], {None: SOUND, 0: SOUND, 100: ROLLED_BACK, 600: ROLLED_BACK}),
}
"""What contradicts nothing in the file, and which checkpoints seen before (None: none) show it."""


@pytest.mark.parametrize(("edits", "exits"), REWRITTEN.values(), ids=REWRITTEN)
def test_a_ledger_written_anew_is_found_by_what_was_seen(
    written: Written, copied: Copied, tmp_path: Path, edits: list[Edit], exits: dict[int | None, int]
) -> None:
    """Whoever has the key can tell another story, but not to someone who remembers one checkpoint of the first."""
    seen = {size: copied.checkpoint(size, f"{size}.txt") for size in exits if size is not None}
    changed = written.copy(tmp_path / "changed").edit(*edits, *forge(written.signer))
    for size, code in exits.items():
        found = changed.judge(*([] if size is None else [seen[size]]))
        assert found.exit == code, (size, found)
        assert size is None or code != ROLLED_BACK or f"{size}.txt shows" in found.line


def test_an_older_copy_of_the_file_is_found(written: Written, copied: Copied, tmp_path: Path) -> None:
    """Yesterday's file is sound by itself; any later checkpoint shows that it is not all."""
    today = written.another_history(tmp_path / "today", noted(600))
    assert copied.judge().exit == SOUND
    found = copied.judge(today.checkpoint())
    assert found.exit == ROLLED_BACK
    assert "600 entries are there and" in found.line
    assert found.line.endswith("seen.txt shows 601")


def test_two_histories_with_one_key_are_found(written: Written, tmp_path: Path) -> None:
    """Each is sound by itself; a checkpoint of one from beyond where they part convicts the other, longer or not."""
    left = written.another_history(tmp_path / "left", *map(noted, range(301, 400)), upto=301)
    right = written.another_history(tmp_path / "right", *(noted(each, "x") for each in range(301, 450)), upto=301)
    assert left.judge().exit == right.judge().exit == SOUND
    assert left.judge(right.checkpoint(301)).exit == right.judge(left.checkpoint(301)).exit == SOUND
    assert left.judge(right.checkpoint()).exit == ROLLED_BACK
    assert right.judge(left.checkpoint()).exit == ROLLED_BACK
    with edited(right.path) as connection:
        notes = connection.execute("SELECT size, note FROM checkpoints WHERE size > 301").fetchall()
    left.edit(*(run("INSERT INTO checkpoints VALUES (?, ?)", *row) for row in notes))
    assert left.judge().exit == ROLLED_BACK


# -- what an auditor brings along -------------------------------------------------------------------------------------


def test_a_checkpoint_brought_along_must_be_one(written: Written, copied: Copied) -> None:
    """Rubbish and strangers' words prove nothing; one that was changed is evidence of that."""
    good = copied.checkpoint().read_text()
    body = parse_note(good).body
    asia = Signer("notification-gateway/asia", ED25519, bytes(32))
    elsewhere = body.replace("europe", "asia")
    both = [*written.verifiers, asia.verifier]
    for text, code in (
        ("", UNVERIFIABLE),
        ("hello\n", UNVERIFIABLE),
        (body, UNVERIFIABLE),
        (Note(body, (STRANGER.sign(body),)).text(), UNVERIFIABLE),
        (Note(body, (asia.sign(body),)).text(), UNVERIFIABLE),
        (Note(elsewhere, (asia.sign(elsewhere),)).text(), UNVERIFIABLE),
        (good.replace("\n600\n", "\n599\n"), TAMPERED),
        (good.replace("— ", "—"), UNVERIFIABLE),
    ):
        found = copied.judge(copied.lay("brought.txt", text), verifiers=both)
        assert found.exit == code, (text, found)
        assert "brought.txt" in found.line
    binary = copied.place / "binary.txt"
    binary.write_bytes(b"\xff" + good.encode())
    for path in (binary, copied.place / "nowhere.txt", copied.place):
        found = copied.judge(path)
        assert found.exit == UNVERIFIABLE
        assert str(path) in found.line


def test_a_checkpoint_brought_along_covers_what_the_file_has_not_signed(copied: Copied) -> None:
    """The newest checkpoint is as good from elsewhere as from the file."""
    newest = copied.checkpoint()
    copied.edit(run("DELETE FROM checkpoints WHERE size = 600"))
    assert copied.judge().exit == INCOMPLETE
    assert copied.judge(newest).exit == SOUND


def test_the_ledgers_key_is_the_only_one_that_counts(written: Written, copied: Copied) -> None:
    """No key, a stranger's, another region's, a witness's: nothing is said of the ledger."""
    asia = Signer("notification-gateway/asia", ED25519, bytes(32))
    for verifiers in ([], [STRANGER.verifier], [asia.verifier], [WITNESS.verifier], written.verifiers[1:]):
        assert copied.judge(verifiers=verifiers).exit == UNVERIFIABLE


# -- witnesses --------------------------------------------------------------------------------------------------------

COSIGNED: dict[str, tuple[list[Edit], int]] = {
    "as it was": ([], SOUND),
    "removed": ([run("DELETE FROM cosignatures")], UNVERIFIABLE),
    "under another name": ([run("UPDATE cosignatures SET name = 'x'")], UNVERIFIABLE),
    "moved to another checkpoint": ([run("UPDATE cosignatures SET size = 600")], TAMPERED),
    "moved to no checkpoint": ([run("UPDATE cosignatures SET size = 5")], TAMPERED),
    "of another time": (
        [run("UPDATE cosignatures SET line = ?", WITNESS.cosign("x", AT).text())],
        TAMPERED,
    ),
    "no signature line": ([run("UPDATE cosignatures SET line = 'x'")], TAMPERED),
    "two lines": ([run("UPDATE cosignatures SET line = line || line")], TAMPERED),
    "by a stranger": (
        [
            run(
                "UPDATE cosignatures SET line = ?",
                Signer("witness.example/w1", COSIGNATURE, bytes(32)).cosign("x", 1).text(),
            )
        ],
        UNVERIFIABLE,
    ),
    "with the ledger written anew": ([CHANGE], TAMPERED),
}


@pytest.mark.parametrize(("edits", "code"), COSIGNED.values(), ids=COSIGNED)
def test_a_witness_is_demanded(written: Written, copied: Copied, edits: list[Edit], code: int) -> None:
    """With a valid cosignature over one of the ledger's checkpoints, and not otherwise; others are not looked at."""
    copied.edit(*edits, *(forge(written.signer) if edits == [CHANGE] else ()))
    found = copied.judge(witnesses=[WITNESS.verifier])
    assert found.exit == code, found
    assert found.exit != SOUND or found.line.endswith(f"; witness.example/w1 witnessed the first {WITNESSED}")
    assert copied.judge(witnesses=[STRANGER.verifier]).exit == UNVERIFIABLE
    assert copied.judge().exit == SOUND


def test_a_cosigned_checkpoint_may_be_brought_along(copied: Copied) -> None:
    """A witness outside leaves nothing in the ledger; every witness that is asked for must have signed something."""
    other = Signer("witness.example/w2", COSIGNATURE, bytes(32))
    newest = parse_note(copied.checkpoint().read_text())
    brought = copied.lay(
        "cosigned.txt", newest._replace(signatures=(*newest.signatures, other.cosign(newest.body, AT))).text()
    )
    both = [WITNESS.verifier, other.verifier]
    assert copied.judge(brought, witnesses=both).line.endswith(
        "w1 witnessed the first 301; witness.example/w2 witnessed the first 600"
    )
    assert copied.judge(witnesses=both).exit == UNVERIFIABLE
    forged = other.cosign(newest.body, AT)._replace(blob=bytes(72))
    brought.write_text(newest._replace(signatures=(*newest.signatures, forged)).text())
    assert copied.judge(brought, witnesses=both).exit == TAMPERED
