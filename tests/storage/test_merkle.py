"""The tree agrees with RFC 6962's own recursion and Certificate Transparency's vectors, and nothing false is proved."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from storage.merkle import (
    EMPTY_ROOT,
    TILE_WIDTH,
    Edge,
    Tiles,
    consistency_path,
    includes,
    inclusion_path,
    is_consistent,
    leaf_hash,
    node_hash,
    root_of_inclusion,
)

EMPTY = Edge(0, ())

CT_LEAVES = [
    bytes.fromhex(each)
    for each in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
CT_ROOTS = {
    0: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    4: "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    5: "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    6: "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    7: "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}
A0, A2 = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7", CT_ROOTS[2]
PAIR_1, PAIR_2 = (
    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
    "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
)
PAIR_3 = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
LAST_FOUR = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
LEAF_4 = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
LEAF_6 = "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f"
CT_INCLUSIONS = {
    (0, 1): [],
    (0, 8): [A0, PAIR_1, LAST_FOUR],
    (5, 8): [LEAF_4, PAIR_3, CT_ROOTS[4]],
    (2, 3): [A2],
    (1, 5): [CT_ROOTS[1], PAIR_1, LEAF_4],
}
CT_CONSISTENCIES = {
    (1, 1): [],
    (1, 8): [A0, PAIR_1, LAST_FOUR],
    (6, 8): [PAIR_2, PAIR_3, CT_ROOTS[4]],
    (2, 5): [PAIR_1, LEAF_4],
    (6, 7): [PAIR_2, LEAF_6, CT_ROOTS[4]],
}


# -- the RFC's words, as recursion over the leaves themselves; shares nothing with the code under test ----------------


def split(count: int) -> int:
    power = 1
    while power * 2 < count:
        power *= 2
    return power


def mth(leaves: Sequence[bytes]) -> bytes:
    if len(leaves) < 2:
        return hashlib.sha256(b"".join(b"\0" + each for each in leaves)).digest()
    k = split(len(leaves))
    return hashlib.sha256(b"\1" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def path(m: int, leaves: Sequence[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if m < k:
        return [*path(m, leaves[:k]), mth(leaves[k:])]
    return [*path(m - k, leaves[k:]), mth(leaves[:k])]


def subproof(m: int, leaves: Sequence[bytes], known: bool) -> list[bytes]:
    if m == len(leaves):
        return [] if known else [mth(leaves)]
    k = split(len(leaves))
    if m <= k:
        return [*subproof(m, leaves[:k], known), mth(leaves[k:])]
    return [*subproof(m - k, leaves[k:], False), mth(leaves[:k])]


# -- ours ----------------------------------------------------------------------------------------------------


def numbered(count: int) -> list[bytes]:
    return [b"leaf %d" % number for number in range(count)]


def grown(leaves: Sequence[bytes]) -> tuple[Edge, Tiles]:
    """The edge over the leaves, and the tiles that were written as it grew."""
    stored = {0: [leaf_hash(each) for each in leaves]}
    edge, completed = EMPTY.extend(stored[0])
    for level, index, found in completed:
        row = stored.setdefault(level, [])
        assert index == len(row), "completed subtrees come in order"
        row.append(found)
    return edge, Tiles(lambda level, tile: stored.get(level, [])[tile * TILE_WIDTH : (tile + 1) * TILE_WIDTH])


def unhex(hashes: Sequence[str]) -> list[bytes]:
    return [bytes.fromhex(each) for each in hashes]


BIG = numbered(70_000)
BIG_EDGE, BIG_TILES = grown(BIG)
BIG_ROOT = BIG_EDGE.root()
SIZES = st.integers(1, 300)


def test_hashes_are_those_of_rfc_6962() -> None:
    """Leaf and node have different prefixes, so that neither passes for the other."""
    assert leaf_hash(b"").hex() == CT_ROOTS[1]
    assert leaf_hash(b"L123456").hex() == "395aa064aa4c29f7010acfe3f25db9485bbd4b91897b6ad7ad547639252b4d56"
    assert node_hash(b"N123", b"N456").hex() == "aa217fe888e47007fa15edab33c2b492a722cb106c64667fc2b044444de66bbb"
    assert leaf_hash(b"x") != hashlib.sha256(b"x").digest()


@pytest.mark.parametrize("size", CT_ROOTS)
def test_roots_are_those_of_certificate_transparency(size: int) -> None:
    """The reference leaves give the reference roots."""
    edge, _ = grown(CT_LEAVES[:size])
    assert edge.root().hex() == CT_ROOTS[size]
    assert EMPTY_ROOT.hex() == CT_ROOTS[0]


@pytest.mark.parametrize(("index", "size"), CT_INCLUSIONS)
def test_inclusion_proofs_are_those_of_certificate_transparency(index: int, size: int) -> None:
    """The reference paths are ours and prove the reference leaves."""
    found = inclusion_path(index, size, grown(CT_LEAVES)[1].node)
    assert [each.hex() for each in found] == CT_INCLUSIONS[index, size]
    assert includes(index, size, leaf_hash(CT_LEAVES[index]), found, bytes.fromhex(CT_ROOTS[size]))


@pytest.mark.parametrize(("old", "new"), CT_CONSISTENCIES)
def test_consistency_proofs_are_those_of_certificate_transparency(old: int, new: int) -> None:
    """The reference proofs are ours and lead from root to root."""
    found = consistency_path(old, new, grown(CT_LEAVES)[1].node)
    assert [each.hex() for each in found] == CT_CONSISTENCIES[old, new]
    assert is_consistent(old, new, found, *unhex([CT_ROOTS[old], CT_ROOTS[new]]))


def test_every_small_tree_is_the_rfcs() -> None:
    """All sizes to 40, all leaves, all pairs of sizes: root and proofs equal the RFC's recursion, and are proofs."""
    leaves = numbered(40)
    roots = [mth(leaves[:size]) for size in range(41)]
    _, tiles = grown(leaves)
    for size in range(1, 41):
        assert grown(leaves[:size])[0].root() == roots[size]
        for index in range(size):
            found = inclusion_path(index, size, tiles.node)
            assert found == path(index, leaves[:size])
            assert includes(index, size, leaf_hash(leaves[index]), found, roots[size])
        for old in range(1, size):
            found = consistency_path(old, size, tiles.node)
            assert found == subproof(old, leaves[:size], True)
            assert is_consistent(old, size, found, roots[old], roots[size])


def test_a_tree_of_three_levels_of_tiles_is_the_rfcs() -> None:
    """70,000 leaves: the root equals the recursion's, and far-apart proofs hold."""
    assert mth(BIG) == BIG_ROOT
    for index in (0, 255, 256, 65_535, 65_536, 69_999):
        found = inclusion_path(index, 70_000, BIG_TILES.node)
        assert includes(index, 70_000, leaf_hash(BIG[index]), found, BIG_ROOT)
    for old in (1, 256, 257, 65_535, 65_536, 65_537, 69_999):
        found = consistency_path(old, 70_000, BIG_TILES.node)
        assert is_consistent(old, 70_000, found, mth(BIG[:old]), BIG_ROOT)


@given(st.lists(st.integers(0, 700), max_size=8))
def test_however_leaves_arrive_the_tree_is_the_same(batches: list[int]) -> None:
    """One by one or by the hundred: edge, root and completed tiles depend on the leaves alone."""
    leaves = [leaf_hash(each) for each in BIG[: sum(batches)]]
    whole, completed = EMPTY.extend(leaves)
    edge, found, start = EMPTY, [], 0
    for count in batches:
        edge, more = edge.extend(iter(leaves[start : start + count]))
        found += more
        start += count
    assert edge == whole
    assert sorted(found) == sorted(completed)
    assert len(found) == sum(len(leaves) // TILE_WIDTH**level for level in (1, 2))
    assert edge.root() == mth(BIG[: sum(batches)])


@pytest.mark.parametrize("edge", [Edge(1, ()), Edge(0, (EMPTY_ROOT,)), Edge(4, (EMPTY_ROOT,) * 2), Edge(7, ())])
def test_an_edge_that_does_not_fit_its_size_does_not_grow(edge: Edge) -> None:
    """What was read back damaged is not built upon."""
    with pytest.raises(ValueError, match="one hash for each bit"):
        edge.extend([EMPTY_ROOT])


@pytest.mark.parametrize(("height", "index"), [(0, 70_000), (1, 35_000), (8, 273), (16, 1), (17, 0), (24, 0)])
def test_there_is_no_subtree_beyond_the_tree(height: int, index: int) -> None:
    """Only perfect subtrees that are complete have a root."""
    with pytest.raises(ValueError, match="no such subtree"):
        BIG_TILES.node(height, index)


@pytest.mark.parametrize(("index", "size"), [(0, 0), (1, 1), (-1, 4), (4, 4), (9, 4), (0, -1), (5, 70_001)])
def test_no_proof_of_a_leaf_that_is_not_there(index: int, size: int) -> None:
    """An index outside the tree, or a tree larger than what is stored."""
    with pytest.raises(ValueError, match="no such"):
        inclusion_path(index, size, BIG_TILES.node)


@pytest.mark.parametrize(("old", "new"), [(-1, 4), (5, 4), (1, 0), (-2, -1), (1, 70_001)])
def test_no_proof_between_sizes_that_are_not_there(old: int, new: int) -> None:
    """A tree continues smaller ones only."""
    with pytest.raises(ValueError, match=r"continues a smaller|no such"):
        consistency_path(old, new, BIG_TILES.node)


# -- what must not be believed --------------------------------------------------------------------------------

Damage = Callable[[list[bytes]], list[bytes]]
DAMAGES: dict[str, Damage] = {
    "empty": lambda path: [],
    "truncated at the end": lambda path: path[:-1],
    "truncated at the start": lambda path: path[1:],
    "one more at the end": lambda path: [*path, EMPTY_ROOT],
    "one more at the start": lambda path: [EMPTY_ROOT, *path],
    "the first twice": lambda path: [path[0], *path],
    "the last twice": lambda path: [*path, path[-1]],
    "first two swapped": lambda path: [path[1], path[0], *path[2:]],
    "reversed": lambda path: path[::-1],
    "a short hash": lambda path: [path[0][:-1], *path[1:]],
    "a long hash": lambda path: [path[0] + b"\0", *path[1:]],
    "an empty hash more": lambda path: [*path, b""],
    "two hashes in one": lambda path: [path[0] + path[1], *path[2:]],
    "a hash cut elsewhere": lambda path: [path[0] + path[1][:1], path[1][1:], *path[2:]],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize(("index", "size"), [(0, 8), (5, 8), (1, 5), (3, 7), (6, 7), (69_999, 70_000), (1, 70_000)])
def test_a_damaged_path_includes_nothing(index: int, size: int, damage: Damage) -> None:
    """Truncated, lengthened, reordered or recut: no leaf is proved."""
    good = inclusion_path(index, size, BIG_TILES.node)
    damaged = damage(good)
    assert damaged != good
    root = root_of_inclusion(index, size, leaf_hash(BIG[index]), good)
    assert not includes(index, size, leaf_hash(BIG[index]), damaged, root)


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize(("old", "new"), [(1, 8), (6, 8), (2, 5), (6, 7), (5, 7), (3, 70_000), (69_999, 70_000)])
def test_a_damaged_path_continues_nothing(old: int, new: int, damage: Damage) -> None:
    """Truncated, lengthened, reordered or recut: no tree is continued."""
    good = consistency_path(old, new, BIG_TILES.node)
    damaged = damage(good)
    assert damaged != good
    roots = mth(BIG[:old]), mth(BIG[:new])
    assert is_consistent(old, new, good, *roots)
    assert not is_consistent(old, new, damaged, *roots)


def test_a_leaf_hash_is_not_cut_elsewhere() -> None:
    """The bytes of leaf and sibling, divided at another place, give the same node and are refused all the same."""
    found, root = inclusion_path(0, 8, BIG_TILES.node), mth(BIG[:8])
    both = leaf_hash(BIG[0]) + found[0]
    for cut in (0, 1, 31, 33, 63, 64):
        assert not includes(0, 8, both[:cut], [both[cut:], *found[1:]], root)


@pytest.mark.parametrize(
    ("proved", "claimed"),
    [((13, 16), (5, 8)), ((5, 8), (13, 16)), ((2, 5), (2, 20)), ((2, 5), (2, 3)), ((6, 8), (6, 32)), ((6, 8), (1, 2))],
)
def test_a_path_has_the_length_of_its_sizes(proved: tuple[int, int], claimed: tuple[int, int]) -> None:
    """The right roots under sizes that call for a longer or shorter path."""
    found = consistency_path(*proved, BIG_TILES.node)
    assert not is_consistent(*claimed, found, *(mth(BIG[:size]) for size in proved))


@given(SIZES, st.data())
def test_a_proof_holds_for_its_own_numbers_only(size: int, data: st.DataObject) -> None:
    """Another index, another size or another leaf under the same root is refused, whatever the path's shape."""
    index = data.draw(st.integers(0, size - 1))
    found = inclusion_path(index, size, BIG_TILES.node)
    leaf, root = leaf_hash(BIG[index]), mth(BIG[:size])
    assert includes(index, size, leaf, found, root)
    other = data.draw(st.integers(-2, size + 2).filter(lambda each: each != index))
    assert not includes(other, size, leaf, found, root)
    assert not includes(other, size, leaf_hash(BIG[other]), found, root)
    assert not includes(index, size, leaf_hash(BIG[index + 1]), found, root)
    assert not includes(index, size, leaf, found, mth(BIG[: size + 1]))
    for wrong in (0, index, size * 4 + 3, -size):
        assert not includes(index, wrong, leaf, found, root) or wrong == size


@given(SIZES, SIZES, st.data())
def test_no_bit_of_a_proof_can_change(old: int, more: int, data: st.DataObject) -> None:
    """One flipped bit in a path, a leaf hash or a root, and nothing is proved."""
    new = old + more
    roots = [mth(BIG[:old]), mth(BIG[:new])]
    found = consistency_path(old, new, BIG_TILES.node)
    assert is_consistent(old, new, found, *roots)
    hashes = [*found, *roots]
    place = data.draw(st.integers(0, len(hashes) - 1))
    hashes[place] = flipped(hashes[place], data.draw(st.integers(0, 255)))
    assert not is_consistent(old, new, hashes[:-2], hashes[-2], hashes[-1])
    index = data.draw(st.integers(0, new - 1))
    hashes = [*inclusion_path(index, new, BIG_TILES.node), leaf_hash(BIG[index]), roots[1]]
    place = data.draw(st.integers(0, len(hashes) - 1))
    hashes[place] = flipped(hashes[place], data.draw(st.integers(0, 255)))
    assert not includes(index, new, hashes[-2], hashes[:-2], hashes[-1])


def flipped(found: bytes, bit: int) -> bytes:
    changed = bytearray(found)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@given(SIZES, SIZES, SIZES)
def test_consistency_is_between_two_given_sizes(old: int, more: int, other: int) -> None:
    """The same path under another size, or with the trees exchanged, is refused."""
    new = old + more
    assume(other not in (old, new))
    roots = mth(BIG[:old]), mth(BIG[:new])
    found = consistency_path(old, new, BIG_TILES.node)
    assert not is_consistent(new, old, found, roots[1], roots[0])
    assert not is_consistent(old, new, found, roots[1], roots[0])
    assert not is_consistent(other, new, found, mth(BIG[:other]), roots[1])
    assert not is_consistent(old, other, found, roots[0], mth(BIG[:other]))


@given(SIZES, SIZES, st.data())
def test_a_forked_tree_is_no_continuation(old: int, more: int, data: st.DataObject) -> None:
    """A history that differs in one early leaf has no proof, even one made by its own author."""
    new = old + more
    forged = list(BIG[:new])
    forged[data.draw(st.integers(0, old - 1))] = b"forged"
    edge, tiles = grown(forged)
    found = consistency_path(old, new, tiles.node)
    assert not is_consistent(old, new, found, mth(BIG[:old]), edge.root())
    assert is_consistent(old, new, found, mth(forged[:old]), edge.root())


X, Y = mth([b"x"]), mth([b"y"])


@pytest.mark.parametrize(
    ("old", "new", "hashes", "old_root", "new_root"),
    [
        (0, 0, [], X, X),
        (0, 0, [], EMPTY_ROOT, X),
        (0, 0, [X], EMPTY_ROOT, EMPTY_ROOT),
        (0, 1, [], X, Y),
        (0, 1, [X], EMPTY_ROOT, X),
        (1, 1, [], X, Y),
        (1, 1, [X], X, X),
        (1, 2, [], X, Y),
        (2, 1, [], X, X),
        (1, 0, [], X, EMPTY_ROOT),
        (-1, 0, [], EMPTY_ROOT, EMPTY_ROOT),
        (-1, -1, [], X, X),
        (0, -1, [], EMPTY_ROOT, EMPTY_ROOT),
        (1, 1, [], b"", b""),
        (1, 2, [Y], X[:31], node_hash(X, Y)),
    ],
)
def test_trivial_sizes_are_not_always_consistent(
    old: int, new: int, hashes: list[bytes], old_root: bytes, new_root: bytes
) -> None:
    """Where nothing needs a proof, the roots and the empty path are still looked at."""
    assert not is_consistent(old, new, hashes, old_root, new_root)


def test_every_tree_continues_itself_and_the_empty_one() -> None:
    """The trivial proofs are empty."""
    assert consistency_path(0, 9, BIG_TILES.node) == consistency_path(9, 9, BIG_TILES.node) == []
    assert is_consistent(0, 9, [], EMPTY_ROOT, mth(BIG[:9]))
    assert is_consistent(9, 9, [], mth(BIG[:9]), mth(BIG[:9]))
    assert is_consistent(0, 0, [], EMPTY_ROOT, EMPTY_ROOT)


def test_a_node_does_not_pass_for_a_leaf() -> None:
    """The second-preimage trick: an inner node's content shown as a leaf of a smaller tree."""
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    root = node_hash(left, right)
    assert not includes(0, 1, leaf_hash(left + right), [], root)
    assert includes(0, 1, root, [], root), "only a caller who takes a hash for a leaf could be misled"


@pytest.mark.parametrize(
    ("index", "size", "count", "said"),
    [
        (0, 0, 0, "no such leaf"),
        (4, 4, 2, "no such leaf"),
        (0, 4, 1, "too short"),
        (0, 4, 3, "too long"),
        (0, 1, 1, "too long"),
    ],
)
def test_what_is_wrong_with_a_path_is_said(index: int, size: int, count: int, said: str) -> None:
    """The root of a path that cannot be one is not computed."""
    with pytest.raises(ValueError, match=said):
        root_of_inclusion(index, size, X, [Y] * count)


def test_tiles_are_read_once_each() -> None:
    """A proof among 70,000 leaves reads a handful of tiles, and a second near it reads none."""
    asked: list[tuple[int, int]] = []
    hashes = [leaf_hash(each) for each in BIG]
    rows = {0: hashes, 1: [mth(BIG[at : at + 256]) for at in range(0, 69_888, 256)], 2: [mth(BIG[:65_536])]}

    def read(level: int, tile: int) -> Sequence[bytes]:
        asked.append((level, tile))
        return rows[level][tile * TILE_WIDTH : (tile + 1) * TILE_WIDTH]

    tiles = Tiles(read)
    inclusion_path(69_000, 70_000, tiles.node)
    assert len(asked) == len(set(asked)) <= 6
    asked.clear()
    inclusion_path(69_001, 70_000, tiles.node)
    assert not asked
