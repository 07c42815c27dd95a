"""The text forms are C2SP's to the letter: what others wrote is read, what is malformed is refused and never mended."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.note import (
    COSIGNATURE,
    ED25519,
    LONGEST_NOTE,
    MOST_SIGNATURES,
    Checkpoint,
    Note,
    Signature,
    Verifier,
    cosigned,
    decoded,
    encoded,
    parse_checkpoint,
    parse_note,
    parse_proof,
    parse_signature,
    parse_verifiers,
    write_proof,
)

FOO = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
"""A verifier key of the signed-note specification's ecosystem; its base64 has no plus, the next one's has."""
NEUMANN = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
SPEC = (
    "example.com/behind-the-sofa\n"
    "20852163\n"
    "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    "\n"
    "— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeM"
    "cTOAYQ8=\n"
    "— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+m"
    "bIUBkBIfZ+qnA==\n"
)
"""The example of tlog-cosignature."""
ROOT = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="
LINE = "— a QUJDREVGRw=="
HASH = bytes(range(32))

NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), min_size=1).filter(
    lambda name: "+" not in name and not any(each.isspace() for each in name)
)
SIGNATURES = st.builds(Signature, NAMES, st.binary(min_size=4, max_size=4), st.binary(min_size=1, max_size=80))
BODIES = st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n")).map(lambda text: text + "\n")


def test_the_specifications_example_is_read() -> None:
    """A checkpoint with a log's signature and a witness's cosignature, both as in the specification."""
    note = parse_note(SPEC)
    assert note.text() == SPEC
    assert [each.name for each in note.signatures] == ["example.com/behind-the-sofa", "witness.example.com/w1"]
    assert note.signatures[1].key_id.hex() == "8d66cf3f"
    assert int.from_bytes(note.signatures[1].blob[:8], "big") == 1679315147
    assert len(note.signatures[1].blob) == 8 + 64
    checkpoint = parse_checkpoint(note.body)
    assert checkpoint == Checkpoint("example.com/behind-the-sofa", 20852163, decoded(ROOT))
    assert checkpoint.body() == note.body
    assert cosigned(note.body, 1679315147) == f"cosignature/v1\ntime 1679315147\n{note.body}".encode()


@pytest.mark.parametrize("text", [FOO, NEUMANN])
def test_known_verifier_keys_are_read(text: str) -> None:
    """The key id is that which others computed for the same name and key."""
    (verifier,) = parse_verifiers(text)
    assert verifier.text() == text
    assert verifier.key_id.hex() == text.split("+")[1]
    assert verifier.algorithm == ED25519


def test_a_file_holds_several_verifier_keys() -> None:
    """One a line, in order; empty lines do not count."""
    witness = Verifier("example.com/foo", COSIGNATURE, parse_verifiers(FOO)[0].public)
    assert witness.key_id != parse_verifiers(FOO)[0].key_id, "the id says what the key is for"
    found = parse_verifiers(f"{FOO}\n\n{NEUMANN}\r\n{witness.text()}\n")
    assert [each.text() for each in found] == [FOO, NEUMANN, witness.text()]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        "example.com/foo",
        FOO[:-1],
        FOO + "=",
        FOO.replace("530d903a", "530d903b"),
        FOO.replace("530d903a", "530D903A"),
        FOO.replace("530d903a", "53 0d 90 3a"),
        FOO.replace("example.com/foo", "example.com/bar"),
        FOO.replace("example.com/foo", ""),
        FOO.replace("example.com/foo", "example.com foo"),
        FOO.replace("example.com/foo", "example\u00a0com"),
        FOO.replace("+530d903a+", "+"),
        FOO.replace("+AekyeRrm", "+AukyeRrm"),  # ECDSA, which nobody here signs with
        f"{FOO}\n{FOO[:-4]}",
        f"# keys\n{FOO}",
        "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz",
        "x+" + FOO,
        Verifier("short", ED25519, HASH[:31]).text(),
        Verifier("long", ED25519, HASH + b"x").text(),
        Verifier("keyless", ED25519, b"").text(),
        Verifier("ecdsa", 2, HASH).text(),
    ],
)
def test_a_malformed_verifier_key_is_refused(text: str) -> None:
    """A wrong id, name, algorithm, length or base64, or no key at all."""
    with pytest.raises(ValueError):
        parse_verifiers(text)


def test_a_refused_verifier_file_says_which_line() -> None:
    """The error names the line."""
    with pytest.raises(ValueError, match="line 3"):
        parse_verifiers(f"{FOO}\n\nrubbish\n")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "text\n",
        f"text\n{LINE}\n",
        "text\n\n",
        f"text\n\n{LINE}",
        f"text\n\n{LINE}x",
        f"text\n\n{LINE}\n\n",
        f"text\n\n{LINE}\n\n{LINE}",
        f"text\r\n\r\n{LINE}\r\n",
        f"te\tt\n\n{LINE}\n",
        f"te\0t\n\n{LINE}\n",
        f"te\ud800t\n\n{LINE}\n",
        f"{LINE}\n",
        f"\n{LINE}\n",
        f"text\n\n{LINE}\n{LINE} \n",
        f"text\n\n{LINE}\nrubbish\n",
        f"text\n\n-- {LINE[2:]}\n",
        f"text\n\n– {LINE[2:]}\n",
        f"text\n\n {LINE}\n",
        "text\n\n—  QUJDREVGRw==\n",
        "text\n\n— QUJDREVGRw==\n",
        "text\n\n— a+b QUJDREVGRw==\n",
        "text\n\n— a\u2003b QUJDREVGRw==\n",
        "text\n\n— a  QUJDREVGRw==\n",
        "text\n\n— a QUJDREVGRw\n",
        "text\n\n— a QUJDREVGRx==\n",
        "text\n\n— a QUJDREVGRw===\n",
        "text\n\n— a QUJD REVGRw==\n",
        "text\n\n— a QUJDRA==\n",
        "text\n\n— a QUJD-EVGRw==\n",
        "text\n\n— a ＱUJDREVGRw==\n",
        "text\n\n— a \n",
        "text\n\n— a\n",
        "text\n\n" + f"{LINE}\n" * (MOST_SIGNATURES + 1),
        "x" * LONGEST_NOTE + f"\n\n{LINE}\n",
    ],
)
def test_a_malformed_note_is_refused(text: str) -> None:
    """No empty line, no signature, control characters, other dashes, bad names, bad base64, too much of anything."""
    with pytest.raises(ValueError):
        parse_note(text)


def test_the_last_empty_line_divides_a_note() -> None:
    """A body may hold empty lines, and lines that look like signatures."""
    assert parse_note(f"one\n\ntwo\n\n{LINE}\n").body == "one\n\ntwo\n"
    assert parse_note(f"one\n\n{LINE}\n\n{LINE}\n").body == f"one\n\n{LINE}\n"
    assert len(parse_note("text\n\n" + f"{LINE}\n" * MOST_SIGNATURES).signatures) == MOST_SIGNATURES


@given(BODIES, st.lists(SIGNATURES, min_size=1, max_size=5))
def test_a_note_is_read_as_it_was_written(body: str, signatures: list[Signature]) -> None:
    """Whatever the text and the names: the parts come back, and the same text from them."""
    note = Note(body, tuple(signatures))
    assert parse_note(note.text()) == note
    assert all(parse_signature(each.text()[:-1]) == each for each in signatures)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "\n",
        f"origin\n1\n{ROOT}",
        f"origin\n1\n{ROOT}\n\n",
        f"origin\n1\n{ROOT}\nextension",
        f"origin\n1\n\n{ROOT}\n",
        f"origin\n1\n{ROOT}\n\nextension\n",
        "origin\n1\n",
        f"origin\n{ROOT}\n",
        f"\n1\n{ROOT}\n",
        f"origin\n\n{ROOT}\n",
        f"origin\n01\n{ROOT}\n",
        f"origin\n00\n{ROOT}\n",
        f"origin\n-1\n{ROOT}\n",
        f"origin\n+1\n{ROOT}\n",
        f"origin\n1.0\n{ROOT}\n",
        f"origin\n1e3\n{ROOT}\n",
        f"origin\n 1\n{ROOT}\n",
        f"origin\n1 \n{ROOT}\n",
        f"origin\n1_0\n{ROOT}\n",
        f"origin\n٣\n{ROOT}\n",
        f"origin\n{2**63}\n{ROOT}\n",
        f"origin\n{'9' * 5000}\n{ROOT}\n",
        f"origin\n1\n{ROOT[:-1]}\n",
        f"origin\n1\n{ROOT[:-2]}==\n",
        f"origin\n1\n{ROOT.replace('+', '-').replace('/', '_')}\n",
        f"origin\n1\n{ROOT[:-2]}J=\n",
        f"origin\n1\n {ROOT}\n",
        f"origin\n1\n{encoded(HASH[:31])}\n",
        f"origin\n1\n{encoded(HASH + b'x')}\n",
        f"origin\n1\n{HASH.hex()}\n",
    ],
)
def test_a_malformed_checkpoint_is_refused(body: str) -> None:
    """Lines missing or empty, a size not as C2SP writes it, a root that is not 32 bytes of canonical base64."""
    with pytest.raises(ValueError):
        parse_checkpoint(body)


@given(st.integers(0, 2**63 - 1), st.binary(min_size=32, max_size=32))
def test_a_checkpoint_is_read_as_it_was_written(size: int, root: bytes) -> None:
    """Any size and root; extension lines are allowed and change nothing."""
    checkpoint = Checkpoint("notification-gateway/europe", size, root)
    assert parse_checkpoint(checkpoint.body()) == checkpoint
    assert parse_checkpoint(checkpoint.body() + "extension\n") == checkpoint


@pytest.mark.parametrize("seconds", [-1, 2**63])
def test_a_cosignature_has_a_posix_time(seconds: int) -> None:
    """Before 1970 and beyond 63 bits there is nothing to sign."""
    with pytest.raises(ValueError, match="time"):
        cosigned(SPEC, seconds)


@given(st.integers(0, 2**63 - 1), st.lists(st.binary(min_size=32, max_size=32), max_size=63))
def test_a_proof_is_read_as_it_was_written(index: int, path: list[bytes]) -> None:
    """Index, path and checkpoint come back; extra data is passed over."""
    text = write_proof(index, path, SPEC)
    assert parse_proof(text) == (index, path, SPEC)
    assert parse_proof(text.replace("v1\n", "v1\nextra QUJD\n", 1)) == (index, path, SPEC)


def test_a_proof_is_the_specifications_text() -> None:
    """Version, index, hashes from the leaf upwards, an empty line, the checkpoint verbatim."""
    assert write_proof(7, [HASH], SPEC) == f"c2sp.org/tlog-proof@v1\nindex 7\n{encoded(HASH)}\n\n{SPEC}"


PROOF = write_proof(7, [HASH, HASH[::-1]], SPEC)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "c2sp.org/tlog-proof@v1\n",
        "c2sp.org/tlog-proof@v1\nindex 7\n\n",
        "c2sp.org/tlog-proof@v1\nindex 7\n",
        SPEC,
        "\n" + PROOF,
        PROOF.replace("@v1", "@v2"),
        PROOF.replace("index 7\n", ""),
        PROOF.replace("index 7", "index 07"),
        PROOF.replace("index 7", "index -7"),
        PROOF.replace("index 7", "index"),
        PROOF.replace("index 7", "index 7 "),
        PROOF.replace("index 7", "index  7"),
        PROOF.replace("index 7", "Index 7"),
        PROOF.replace("index 7", f"index {2**63}"),
        PROOF.replace("index 7\n", "index 7\nindex 7\n"),
        PROOF.replace("index 7\n", "index 7\nextra QUJD\n"),
        PROOF.replace("index 7\n", "extra QUJ\nindex 7\n"),
        PROOF.replace("index 7\n", "extra QUJD\nextra QUJD\nindex 7\n"),
        PROOF.replace("index 7\n", "\nindex 7\n"),
        PROOF.replace("\n", "\r\n"),
        PROOF.replace(encoded(HASH), encoded(HASH[:31])),
        PROOF.replace(encoded(HASH), encoded(HASH + HASH)),
        PROOF.replace(encoded(HASH), HASH.hex()),
        PROOF.replace(encoded(HASH), encoded(HASH) + " "),
        write_proof(7, [HASH] * 64, SPEC),
    ],
)
def test_a_malformed_proof_is_refused(text: str) -> None:
    """Another version, no index, hashes of other lengths, lines out of place, nothing after the empty line."""
    with pytest.raises(ValueError):
        parse_proof(text)


@given(st.text(max_size=300))
def test_rubbish_is_refused_with_a_value_error(text: str) -> None:
    """Whatever the text, reading it ends with a ValueError or a value."""
    for read in (parse_note, parse_checkpoint, parse_proof, parse_verifiers, parse_signature, decoded):
        try:
            read(text)
        except ValueError:
            continue
