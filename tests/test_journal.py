"""The journal: facts become entries and come back; no entry says who anybody is."""

from __future__ import annotations

import hashlib
import json
import types
import typing
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core import facts
from gateway.core.types import CallKey, Capability, Level, Role, rfc3339
from gateway.hub.entries import LEVELS, facts_of, open_box
from gateway.hub.journal import Box, Ink, LevelForm, LevelRow, Scribe, commitment, device_digest, to_entry
from storage.operations import Append, CloseCall, MoveCall, OpenCall, SealPresence
from tests.levels import levels_entry

SALT = bytes(range(32))
AT = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)
KEY = CallKey("contoso", "standup")
PERSON = "8:acs:11111111-1111-1111-1111-111111111111_ann"
NAME = "Ann Example née Ünal"
DEVICE = "ann-smith-phone"

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
MOMENTS = st.integers(0, 4_000_000_000_000).map(
    lambda count: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=count)
)
COUNTS = st.integers(0, 2**53 - 1)


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Anything a field of this type may hold, in the precision of the ledger."""
    if kind is str:
        return TEXT
    if kind is datetime:
        return MOMENTS
    if kind is int:
        return COUNTS
    if kind is CallKey:
        return st.builds(CallKey, TEXT, TEXT)
    arguments = typing.get_args(kind)
    match typing.get_origin(kind):
        case types.UnionType:
            return st.one_of([values(each) for each in arguments])
        case each if each is tuple and arguments[-1] is not ...:
            return st.tuples(*[values(each) for each in arguments])
        case each if each is tuple:
            return st.lists(values(arguments[0]), max_size=5).map(tuple)
        case each if each is dict:
            keys = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=8)
            return st.dictionaries(keys, values(arguments[1]), max_size=4)
    return st.from_type(kind)


def any_fact(kind: type[facts.AnyFact]) -> st.SearchStrategy[Any]:
    """Any fact of a kind."""
    hints = typing.get_type_hints(kind)
    return st.builds(kind, **{name: values(hints[name]) for name in kind.__struct_fields__})


def ink_for(fact: Any) -> Ink:
    """The ink of a call in which the fact's presence has a salt."""
    return Ink({"europe": None}, {getattr(fact, "presence", ""): SALT})


def opened(**changes: Any) -> facts.PresenceOpened:
    """Ann came in."""
    fields: dict[str, Any] = {
        "call": KEY,
        "at": AT,
        "presence": "p_1",
        "who": "p_1",
        "region": "europe",
        "participant": PERSON,
        "name": NAME,
        "role": Role.PARTICIPANT,
        "listed": False,
    }
    return facts.PresenceOpened(**{**fields, **changes})


def joined(device: str | None = DEVICE) -> facts.SessionJoined:
    """Ann's phone joined."""
    return facts.SessionJoined(
        call=KEY, at=AT, presence="p_1", region="europe", session="s_1", role=Role.PARTICIPANT, device=device
    )


def proved() -> facts.LevelProved:
    """Ann's phone acknowledged."""
    return facts.LevelProved(
        call=KEY,
        at=AT,
        presence="p_1",
        region="europe",
        notice="n_1",
        level=Level.ACKNOWLEDGED,
        reported_at=AT,
        session="s_1",
        device=DEVICE,
    )


# There and back


@pytest.mark.parametrize("fact", [joined(), proved()], ids=["joined", "proved"])
def test_without_the_salt_of_an_erased_presence_its_device_is_left_out(fact: facts.AnyFact) -> None:
    """A digest without it would lead to the person, and a connected one goes on proving."""
    entry = json.loads(to_entry(fact, Ink({"europe": None})))
    assert "device" not in entry
    assert facts_of(to_entry(fact, Ink({"europe": None})), {}) == (msgspec.structs.replace(fact, device=None),)


def test_an_erased_presence_comes_back_without_a_name() -> None:
    """Its box is gone; who it was before in the call it still says."""
    ink = Ink({"europe": None}, {"p_1": SALT})
    again = facts_of(to_entry(opened(), ink), {"p_1": None})
    assert again == (opened(participant=None, name=None),)


@pytest.mark.parametrize("kind", facts.KINDS, ids=lambda kind: str(kind.__struct_config__.tag))
@settings(max_examples=30)
@given(data=st.data())
def test_every_kind_of_fact_comes_back_as_it_was(kind: type[facts.AnyFact], data: st.DataObject) -> None:
    """All but the device, which comes back as its digest; the person comes from the box."""
    fact = data.draw(any_fact(kind))
    ink = ink_for(fact)
    box = None
    if isinstance(fact, facts.PresenceOpened):
        box = Box(fact.participant or "", fact.name, SALT.hex())
        fact = msgspec.structs.replace(fact, participant=fact.participant or "")
    again = facts_of(to_entry(fact, ink), {getattr(fact, "presence", ""): box})
    device = getattr(fact, "device", None)
    if device is not None:
        fact = msgspec.structs.replace(fact, device=device_digest(SALT, device))
    assert again == (fact,)


@pytest.mark.parametrize("kind", facts.KINDS, ids=lambda kind: str(kind.__struct_config__.tag))
@settings(max_examples=30)
@given(data=st.data())
def test_every_entry_is_canonical(kind: type[facts.AnyFact], data: st.DataObject) -> None:
    """RFC 8785, by another implementation; also with the ledger's stamps in front, for no field sorts before them."""
    fact = data.draw(any_fact(kind))
    leaf = to_entry(fact, ink_for(fact))
    stamped = b'{"after_us":1,"ahead":2,' + leaf[1:]
    for each in (leaf, stamped):
        assert rfc8785.dumps(json.loads(each)) == each


@st.composite
def proved_together(draw: st.DrawFn) -> list[facts.LevelProved]:
    """What different presences proved at once, of one level of one notice."""
    first = draw(any_fact(facts.LevelProved))
    words = st.tuples(TEXT, TEXT, MOMENTS, st.none() | TEXT)
    return [
        msgspec.structs.replace(first, presence=presence, session=session, reported_at=reported_at, device=device)
        for presence, session, reported_at, device in draw(
            st.lists(words, min_size=1, max_size=6, unique_by=lambda word: word[0])
        )
    ]


@given(proved_together(), st.data())
def test_what_was_proved_together_comes_back_apart(together: list[facts.LevelProved], data: st.DataObject) -> None:
    """One fact for each proof in their order, each with its own device where its presence has a salt; canonical."""
    sealed = data.draw(st.sets(st.sampled_from([each.presence for each in together])))
    ink = Ink({"europe": None}, dict.fromkeys(sealed, SALT))
    leaf = levels_entry(together, ink)
    assert facts_of(leaf, {}) == tuple(
        msgspec.structs.replace(each, device=device_digest(SALT, each.device))
        if each.device is not None and each.presence in sealed
        else msgspec.structs.replace(each, device=None)
        for each in together
    )
    for each in (leaf, b'{"after_us":1,"ahead":2,' + leaf[1:]):
        assert rfc8785.dumps(json.loads(each)) == each


@given(proved_together(), st.data())
def test_the_fast_form_writes_what_the_long_way_does(together: list[facts.LevelProved], data: st.DataObject) -> None:
    """Acks come by the thousand: what their entries have in common is written once, and byte for byte the same."""
    sealed = data.draw(st.sets(st.sampled_from([each.presence for each in together])))
    ink = Ink({"europe": None}, dict.fromkeys(sealed, SALT))
    first = together[0]
    rows: list[LevelRow] = []
    for each in together:
        device = None if each.device is None or each.presence not in sealed else device_digest(SALT, each.device)
        rows.append((each.presence, each.session, rfc3339(each.reported_at), device))
    form = LevelForm(first.call, first.notice, first.level, first.digest, first.region)
    assert form.write(rfc3339(first.at).encode(), rows) == levels_entry(together, ink)


def test_an_entry_of_another_kind_is_no_fact() -> None:
    """Certificates, refusals and what later versions write are left alone."""
    for kind in ("retention.certificate", "refused", "message.stored", "kind.of.tomorrow"):
        assert facts_of(json.dumps({"kind": kind, "at": "2026-11-23T14:00:00.000Z"}).encode(), {}) == ()
    assert facts_of(b'{"at":"2026-11-23T14:00:00.000Z"}', {}) == ()


def test_a_known_kind_that_lacks_a_field_is_an_error() -> None:
    """What cannot be read is never guessed."""
    with pytest.raises(msgspec.ValidationError):
        facts_of(b'{"kind":"call.ended","organization":"contoso","call":"standup"}', {})


@pytest.mark.parametrize(
    "proofs",
    [
        None,
        [],
        [[]],
        [["p_1", "s_1", "2026-11-23T14:00:00.000Z"]],
        [["p_1", "s_1", "2026-11-23T14:00:00.000Z", None, 1]],
        [["p_1", "s_1", "yesterday", None]],
        [["p_1", None, "2026-11-23T14:00:00.000Z", None]],
    ],
    ids=str,
)
def test_proofs_that_are_not_as_they_must_be_are_an_error(proofs: object) -> None:
    """An entry of this kind proves something, and each proof has four parts."""
    fields = json.loads(levels_entry([proved()], ink_for(proved())))
    assert len(facts_of(json.dumps(fields).encode(), {})) == 1
    with pytest.raises(msgspec.ValidationError):
        facts_of(json.dumps({**fields, "proofs": proofs}).encode(), {})


def test_kinds_are_told_apart() -> None:
    """Each has its own word."""
    assert len(facts.BY_KIND) == len(facts.KINDS)
    assert LEVELS not in facts.BY_KIND


# No personal data


@pytest.mark.parametrize(
    "leaf",
    [to_entry(each, ink_for(each)) for each in (opened(), joined(), proved())]
    + [levels_entry([proved()], ink_for(proved()))],
    ids=["presence", "session", "level", "levels"],
)
def test_an_entry_says_nothing_of_the_person(leaf: bytes) -> None:
    """Neither who it is, nor the name, nor the device."""
    said = leaf.decode()
    for needle in (PERSON, "ann", "Ann", "Ünal", NAME, DEVICE, SALT.hex()):
        assert needle not in said
        assert json.dumps(needle)[1:-1] not in said


@given(participant=TEXT, name=st.none() | TEXT)
def test_whoever_the_person_is_the_entry_is_the_same_but_for_the_commitment(participant: str, name: str | None) -> None:
    """So nothing in it can tell who it is, for any raw id and any name."""
    ink = Ink({"europe": None}, {"p_1": SALT})
    one = json.loads(to_entry(opened(), ink))
    another = json.loads(to_entry(opened(participant=participant, name=name), ink))
    assert another.pop("commitment") == commitment(SALT, participant)
    del one["commitment"]
    assert another == one


def test_a_shredded_person_leaves_the_fact() -> None:
    """The leaf stays as it is, and names nobody any more."""
    leaf = to_entry(opened(), Ink({"europe": None}, {"p_1": SALT}))
    assert facts_of(leaf, {"p_1": None}) == (opened(participant=None, name=None),)
    assert facts_of(leaf, {}) == (opened(participant=None, name=None),)


# Commitments


def test_a_commitment_is_the_salted_digest_of_the_raw_id() -> None:
    """So that an auditor with the box can check it by hand."""
    leaf = json.loads(to_entry(opened(), Ink({"europe": None}, {"p_1": SALT})))
    assert leaf["commitment"] == "sha256:" + hashlib.sha256(SALT + PERSON.encode()).hexdigest()


def test_a_commitment_binds_person_and_salt() -> None:
    """Another person or another salt is another commitment."""
    made = commitment(SALT, PERSON)
    assert commitment(SALT, PERSON + "x") != made
    assert commitment(SALT[::-1], PERSON) != made


def test_every_presence_has_a_salt_of_its_own() -> None:
    """Two presences of one person cannot be told to be one from their entries' commitments."""
    salts = iter([SALT, SALT[::-1]])
    ink = Ink({"europe": None})
    written = Scribe(lambda count: next(salts)).write(ink, [opened(), opened(presence="p_2", who="p_1")])
    leaves = [json.loads(each.leaf) for each, _ in written["europe"] if isinstance(each, Append)]
    assert leaves[0]["commitment"] != leaves[1]["commitment"]


def test_a_salt_has_256_bits() -> None:
    """Nobody guesses it."""
    asked: list[int] = []

    def entropy(count: int) -> bytes:
        asked.append(count)
        return bytes(count)

    Scribe(entropy).write(Ink({"europe": None}), [opened()])
    assert asked == [32]


def test_a_device_is_the_same_within_a_presence_and_nowhere_else() -> None:
    """Evidence names the device of each level, and nobody can follow a device from call to call."""
    ink = Ink({"europe": None}, {"p_1": SALT})
    device = json.loads(to_entry(joined(), ink))["device"]
    assert json.loads(to_entry(proved(), ink))["device"] == device
    assert device_digest(SALT[::-1], DEVICE) != device


def test_no_device_leaves_no_trace() -> None:
    """The field is absent."""
    assert b"device" not in to_entry(joined(None), Ink({"europe": None}, {"p_1": SALT}))


# Where facts are written


def test_a_presence_is_sealed_beside_its_entry() -> None:
    """Box and entry in one commit; the box opens the commitment."""
    ink = Ink({"europe": None})
    written = Scribe(lambda _: SALT).write(ink, [opened()])
    (append, fact), (seal, nothing) = written["europe"]
    assert isinstance(append, Append)
    assert isinstance(seal, SealPresence)
    assert (fact, nothing) == (opened(), None)
    assert (seal.presence, seal.call, seal.participant) == ("p_1", KEY, PERSON)
    box = open_box(seal.box)
    assert box == Box(PERSON, NAME, SALT.hex())
    assert json.loads(append.leaf)["commitment"] == commitment(bytes.fromhex(box.salt), box.participant)


def test_a_fact_about_a_presence_is_in_its_region_only() -> None:
    """Personal facts never cross a region."""
    ink = Ink({"europe": None, "asia": None}, {"p_1": SALT})
    assert set(Scribe(lambda _: SALT).write(ink, [opened(region="asia"), joined()])) == {"asia", "europe"}
    assert set(Scribe(lambda _: SALT).write(ink, [opened(region="asia")])) == {"asia"}


def test_what_every_region_must_know_is_mirrored_and_counts_at_home() -> None:
    """A call's beginning and end: home first, and only home gives the entry number."""
    ink = Ink({"europe": None, "asia": None})
    begun = facts.CallOpened(call=KEY, at=AT)
    over = facts.CallEnded(call=KEY, at=AT, revision=1, reason="ended", occurred_at=AT)
    written = Scribe(lambda _: SALT).write(ink, [begun, over])
    assert [fact for _, fact in written["europe"]] == [None, begun, over, None]
    assert [fact for _, fact in written["asia"]] == [None, None, None, None]
    assert [type(each) for each, _ in written["asia"]] == [OpenCall, Append, Append, CloseCall]
    for region in ("europe", "asia"):
        leaves = [json.loads(each.leaf) for each, _ in written[region] if isinstance(each, Append)]
        assert leaves[0]["home"] == "europe"


def test_observations_stay_at_home() -> None:
    """Other regions need not know who said what."""
    heard = facts.ClaimLapsed(call=KEY, at=AT, capability=Capability.RECORDING, source="p_1")
    assert set(Scribe(lambda _: SALT).write(Ink({"europe": None, "asia": None}), [heard])) == {"europe"}


def test_a_merger_moves_the_source() -> None:
    """In every region of the call, in the commit of its entry."""
    merged = facts.CallMerged(call=KEY, at=AT, source="alias", revision=3)
    written = Scribe(lambda _: SALT).write(Ink({"europe": None, "asia": None}), [merged])
    for region in ("europe", "asia"):
        moves = [each for each, _ in written[region] if isinstance(each, MoveCall)]
        assert moves == [MoveCall(source=CallKey("contoso", "alias"), target=KEY)]


def test_the_home_keeps_which_regions_came_in() -> None:
    """So that nobody can leave one out of the call's evidence; it names no presence."""
    append, counts = Scribe(lambda _: SALT).spread(opened(region="asia"))
    assert isinstance(append, Append)
    assert (append.call, counts) == (KEY, None)
    assert json.loads(append.leaf) == {
        "kind": "call.spread",
        "organization": "contoso",
        "call": "standup",
        "at": "2026-11-23T14:00:00.000Z",
        "into": "asia",
    }
    assert facts_of(append.leaf, {}) == ()


def test_a_region_that_comes_in_later_is_told_what_it_must_know() -> None:
    """Without counting: the facts have their entries at home."""
    ink = Ink({"europe": None})
    begun = facts.CallOpened(call=KEY, at=AT)
    written = Scribe(lambda _: SALT).enter(ink, "asia", [begun])
    assert list(ink.regions) == ["europe", "asia"]
    assert [fact for _, fact in written] == [None, None]
    assert ink.home == "europe"
