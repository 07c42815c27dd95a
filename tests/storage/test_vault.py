"""The vault and its slots."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from storage.slots import SIZE, Slots
from storage.vault import Vault


@pytest.fixture
def slots(tmp_path: Path) -> Slots:
    path = tmp_path / "slots"
    path.write_bytes(os.urandom(SIZE))
    return Slots(path)


@pytest.fixture
def vault(slots: Slots) -> Vault:
    return Vault("europe", b"k" * 32, slots)


def test_a_box_opens_where_it_belongs(vault: Vault) -> None:
    """Sealing and opening give back the bytes."""
    slot, box = vault.seal("messages", "m_1", b"words")
    assert vault.open("messages", "m_1", slot, box) == b"words"
    assert b"words" not in box


@pytest.mark.parametrize(("table", "row"), [("presences", "m_1"), ("messages", "m_2"), ("messagesm", "_1")])
def test_a_box_opens_in_no_other_row(vault: Vault, table: str, row: str) -> None:
    """A box moved to another row or table does not open."""
    slot, box = vault.seal("messages", "m_1", b"words")
    assert vault.open(table, row, slot, box) is None


def test_a_box_opens_in_no_other_region(vault: Vault, slots: Slots) -> None:
    """The same keys under another region's name open nothing."""
    slot, box = vault.seal("messages", "m_1", b"words")
    assert Vault("us", b"k" * 32, slots).open("messages", "m_1", slot, box) is None
    assert Vault("europe", b"K" * 32, slots).open("messages", "m_1", slot, box) is None


def test_a_shredded_box_never_opens_again(vault: Vault) -> None:
    """Once its slot is overwritten, a kept copy of the box is noise."""
    slot, box = vault.seal("messages", "m_1", b"words")
    vault.shred([slot])
    assert vault.open("messages", "m_1", slot, box) is None


@pytest.mark.parametrize("slot", [0, -1, 10**6])
def test_a_slot_that_cannot_be_opens_nothing(vault: Vault, slot: int) -> None:
    """The header, negative and missing slots are no keys."""
    _, box = vault.seal("messages", "m_1", b"words")
    if slot >= 0:
        assert vault.open("messages", "m_1", slot, box) is None


@pytest.mark.parametrize("box", [b"", b"short", bytes(12), bytes(28), bytes(100)])
def test_a_damaged_box_opens_to_nothing(vault: Vault, box: bytes) -> None:
    """Cut or overwritten boxes read as gone."""
    slot, _ = vault.seal("messages", "m_1", b"words")
    assert vault.open("messages", "m_1", slot, box) is None


def test_no_secret_is_handed_out_twice(slots: Slots) -> None:
    """A slot comes back only with a new secret, and the header stays."""
    header = slots.read(0)
    taken = [slots.take() for _ in range(3000)]
    assert len({slot for slot, _ in taken}) == 3000
    slots.overwrite(slot for slot, _ in taken)
    again = [slots.take() for _ in range(3000)]
    assert {secret for _, secret in taken}.isdisjoint(secret for _, secret in again)
    assert len({secret for _, secret in again}) == 3000
    assert slots.read(0) == header


def test_reclaiming_overwrites_all_but_the_used(tmp_path: Path, slots: Slots) -> None:
    """At open every slot without a row gets a new secret; the used ones keep theirs."""
    before = dict(slots.take() for _ in range(100))
    other = Slots(tmp_path / "slots")
    other.reclaim({3, 50})
    kept = {slot for slot, secret in before.items() if other.read(slot) == secret}
    assert kept == {3, 50}
    assert {3, 50}.isdisjoint(other.take()[0] for _ in range(2000))


def test_look_ups_do_not_run_together(vault: Vault) -> None:
    """Words are told apart by their lengths, and the hash needs the key."""
    assert vault.look_up("message", "ab", "c") != vault.look_up("message", "a", "bc")
    assert vault.look_up("person", "x") == vault.look_up("person", "x")
    assert len(vault.look_up("person", "\ud800")) == 32
