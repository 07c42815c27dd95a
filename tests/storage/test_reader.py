"""Calls, their merges and aliases, presences and events, as they are read back."""

from __future__ import annotations

from datetime import timedelta

from storage.operations import Call, CloseCall, MarkEvents, MoveCall, NameCall, OpenCall, SealPresence
from tests.storage.desk import CALL, START, Desk, append, unstamped

OTHER = ("contoso", "call-2")
THIRD = ("contoso", "call-3")


def entries(desk: Desk, call: Call) -> list[tuple[int, bytes]]:
    return [(seq, unstamped(leaf)) for seq, leaf in desk.ask(lambda reader: reader.call_entries(call))]


def texts(desk: Desk, start: int, limit: int) -> list[bytes]:
    return [unstamped(leaf) for leaf in desk.ask(lambda reader: reader.entries(start, limit))]


def test_calls_open_and_close_idempotently(desk: Desk) -> None:
    """Opening twice is opening; a closed call is known but not on."""
    desk.do(OpenCall(CALL), OpenCall(CALL), OpenCall(OTHER), CloseCall(OTHER), CloseCall(OTHER))
    assert desk.ask(lambda reader: reader.open_calls()) == [CALL]
    assert desk.ask(lambda reader: reader.has_call(OTHER))
    assert not desk.ask(lambda reader: reader.has_call(THIRD))


def test_the_same_id_in_two_organisations_is_two_calls(desk: Desk) -> None:
    """Nothing of one organisation's call shows in another's (D1)."""
    here, there = ("contoso", "c"), ("fabrikam", "c")
    desk.do(append("mine", here), append("theirs", there), SealPresence("p_1", here, "8:acs:r_1", b"box", START))
    assert entries(desk, here) == [(0, b"mine")]
    assert entries(desk, there) == [(1, b"theirs")]
    assert desk.ask(lambda reader: reader.presences(there)) == {}


def test_a_merged_call_is_found_under_the_other(desk: Desk) -> None:
    """Entries and presences of the source, earlier and later ones, show under the target, in order, over two merges."""
    desk.do(append("0", CALL), append("1", OTHER), SealPresence("p_1", OTHER, "8:acs:r_1", b"box", START))
    desk.do(MoveCall(OTHER, CALL), MoveCall(OTHER, CALL), MoveCall(CALL, CALL))
    desk.do(append("2", OTHER), append("3", CALL), append("4"), append("5", THIRD))
    assert entries(desk, CALL) == [(0, b"0"), (1, b"1"), (2, b"2"), (3, b"3")]
    assert entries(desk, OTHER) == [(1, b"1"), (2, b"2")]
    assert desk.ask(lambda reader: reader.presences(CALL)) == {"p_1": b"box"}
    desk.do(MoveCall(CALL, THIRD), MoveCall(THIRD, OTHER))
    assert [seq for seq, _ in desk.ask(lambda reader: reader.call_entries(THIRD))] == [0, 1, 2, 3, 5]


def test_aliases_are_replaced_and_sealed(desk: Desk) -> None:
    """The last list counts, an empty one clears it, and the file never holds one readably."""
    assert desk.ask(lambda reader: reader.aliases(CALL)) == ()
    desk.do(NameCall(CALL, ("19:needle@thread.v2", "ü")))
    assert desk.ask(lambda reader: reader.aliases(CALL)) == ("19:needle@thread.v2", "ü")
    desk.do(NameCall(CALL, ("other",)))
    assert desk.ask(lambda reader: reader.aliases(CALL)) == ("other",)
    desk.do(NameCall(CALL, ()))
    assert desk.ask(lambda reader: reader.aliases(CALL)) == ()
    assert not any(b"needle" in path.read_bytes() for path in desk.data.iterdir())


def test_a_presence_whose_key_is_gone_reads_as_none(desk: Desk) -> None:
    """A shredded box is None; the presence stays listed, the others open."""
    desk.do(
        SealPresence("p_1", CALL, "8:acs:r_1", b"one", START), SealPresence("p_2", CALL, "8:acs:r_2", b"two", START)
    )
    slot = desk.ask(lambda reader: reader._execute("SELECT slot FROM presences WHERE presence = 'p_1'").fetchone())
    desk.region._keys.vault.shred(slot)
    assert desk.ask(lambda reader: reader.presences(CALL)) == {"p_1": None, "p_2": b"two"}


def test_events_are_known_until_forgotten(desk: Desk) -> None:
    """A taken event is known; marking it again for less time does not shorten its memory; a sweep forgets it."""
    first, second, never = b"1" * 32, b"2" * 32, b"3" * 32
    desk.do(MarkEvents((first, second), START + timedelta(days=2)), MarkEvents((second,), START))
    assert desk.ask(lambda reader: reader.known_events([first, second, never])) == {first, second}
    desk.region.sweep(START + timedelta(days=1), 10).result(30)
    assert desk.ask(lambda reader: reader.known_events([first, second])) == {first, second}
    desk.region.sweep(START + timedelta(days=2), 10).result(30)
    assert desk.ask(lambda reader: reader.known_events([first, second])) == set()


def test_entries_come_in_slices(desk: Desk) -> None:
    """A slice starts where asked, has at most the limit, and is empty beyond the end."""
    desk.do(*[append(str(number)) for number in range(10)])
    assert texts(desk, 3, 4) == [b"3", b"4", b"5", b"6"]
    assert texts(desk, 8, 100) == [b"8", b"9"]
    assert desk.ask(lambda reader: reader.entries(10, 5)) == []
    assert desk.ask(lambda reader: reader.entries(0, -1)) == []
    assert desk.ask(lambda reader: reader.size()) == 10
