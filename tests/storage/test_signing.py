"""Keys sign what others can verify, and of what they verify nothing is believed but what a known key signed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.note import COSIGNATURE, ED25519, Checkpoint, Note, Signature, parse_note, parse_verifiers
from storage.signing import BadSignature, ForeignKey, MalformedNote, NoteRefused, Signer, judge, load, new_key, opened

NEUMANN_KEY = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
NEUMANN = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
"""The documented example of Go's sumdb/note."""
FOO = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
FOO_NOTE = (
    "This is an example message.\n"
    "\n"
    "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)

EUROPE = "notification-gateway/europe"
LOG = Signer(EUROPE, ED25519, bytes(range(32)))
OTHER = Signer(EUROPE, ED25519, bytes(range(1, 33)))
ASIA = Signer("notification-gateway/asia", ED25519, bytes(range(2, 34)))
WITNESS = Signer("witness.example/w1", COSIGNATURE, bytes(range(3, 35)))
NAMESAKE = Signer(EUROPE, COSIGNATURE, bytes(range(4, 36)))
HEAD = Checkpoint(EUROPE, 7, bytes(32))
BODY = HEAD.body()
AT = 1_795_442_400


def signed(*signatures: Signature, body: str = BODY) -> str:
    return Note(body, signatures).text()


GOOD = signed(LOG.sign(BODY), WITNESS.cosign(BODY, AT))


def test_gos_example_is_verified_and_reproduced() -> None:
    """Ed25519 is deterministic: the documented key gives the documented note."""
    signer = load(NEUMANN_KEY)
    note = parse_note(NEUMANN)
    assert judge(note, signer.verifier) is True
    assert Note(note.body, (signer.sign(note.body),)).text() == NEUMANN
    assert judge(parse_note(FOO_NOTE), parse_verifiers(FOO)[0]) is True
    assert judge(parse_note(NEUMANN), parse_verifiers(FOO)[0]) is None
    assert judge(parse_note(NEUMANN.replace("know", "knew")), signer.verifier) is False


@pytest.mark.parametrize("cosigning", [False, True])
def test_openssl_verifies_what_was_signed(cosigning: bool, tmp_path: Path) -> None:
    """A tool that knows nothing of notes verifies the bare signature over the bare bytes, and no other bytes."""
    signer = WITNESS if cosigning else LOG
    found = WITNESS.cosign(BODY, AT).blob if cosigning else LOG.sign(BODY).blob
    message = f"cosignature/v1\ntime {AT}\n{BODY}" if cosigning else BODY
    assert found[:-64] == (AT.to_bytes(8, "big") if cosigning else b"")
    # RFC 8410: the key's algorithm, and the key.
    (tmp_path / "key.der").write_bytes(bytes.fromhex("302a300506032b6570032100") + signer.verifier.public)
    (tmp_path / "signature").write_bytes(found[-64:])
    for content, exit_code in ((message, 0), (message[:-1], 1), (message.replace("7", "8"), 1)):
        (tmp_path / "message").write_text(content)
        command = ["openssl", "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", "key.der", "-rawin"]
        command += ["-in", "message", "-sigfile", "signature"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
        assert done.returncode == exit_code, done


def test_openssl_signs_what_is_verified(tmp_path: Path) -> None:
    """The other way round: a signature made by openssl with the same seed is ours, byte for byte."""
    # RFC 8410 §7: a private key without its public one.
    (tmp_path / "key.der").write_bytes(bytes.fromhex("302e020100300506032b657004220420") + bytes(range(32)))
    (tmp_path / "message").write_text(BODY)
    command = ["openssl", "pkeyutl", "-sign", "-keyform", "DER", "-inkey", "key.der", "-rawin", "-in", "message"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
    assert LOG.sign(BODY).blob == done.stdout


@pytest.mark.parametrize("algorithm", [ED25519, COSIGNATURE])
def test_a_new_key_is_read_back(algorithm: int) -> None:
    """One line, with its name and its use; no two alike; only its public half is ever shown."""
    line = new_key(EUROPE, algorithm)
    signer = load(line)
    assert signer.verifier.name == EUROPE
    assert signer.verifier.algorithm == algorithm
    assert line.startswith(f"PRIVATE+KEY+{EUROPE}+")
    assert line.endswith("\n")
    assert new_key(EUROPE, algorithm) != line
    assert line.strip().split("+", 4)[4] not in repr(signer)
    assert signer.verifier.text() in repr(signer)


@pytest.mark.parametrize(
    "line",
    [
        "",
        NEUMANN_KEY[:-4],
        NEUMANN_KEY + "=",
        NEUMANN_KEY.replace("PRIVATE+KEY+", ""),
        NEUMANN_KEY.replace("PRIVATE+KEY+", "PRIVATE KEY "),
        NEUMANN_KEY.replace("c74f20a3", "c74f20a4"),
        NEUMANN_KEY.replace("c74f20a3", "C74F20A3"),
        NEUMANN_KEY.replace("PeterNeumann", "PeterNewman"),
        NEUMANN_KEY.replace("PeterNeumann", "Peter Neumann"),
        NEUMANN_KEY.replace("+AYEK", "+AoEK"),
        NEUMANN_KEY.replace("+AYEK", "+BIEK"),
        NEUMANN_KEY.replace("+c74f20a3+", "+"),
        "PRIVATE+KEY+PeterNeumann+c74f20a3+",
        FOO,
    ],
)
def test_a_malformed_private_key_is_refused_and_not_quoted(line: str) -> None:
    """A wrong id, name, algorithm, length or prefix; the error shows nothing of the key."""
    with pytest.raises(ValueError) as refused:
        load(line)
    assert "EKFALVFGy" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "algorithm", "seed"),
    [("", 1, bytes(32)), ("a b", 1, bytes(32)), ("a+b", 4, bytes(32)), ("a", 2, bytes(32)), ("a", 1, bytes(31))],
)
def test_a_key_has_a_name_a_use_and_a_seed(name: str, algorithm: int, seed: bytes) -> None:
    """What cannot be written as a key does not become one."""
    with pytest.raises(ValueError):
        Signer(name, algorithm, seed)


def test_a_key_is_for_one_thing() -> None:
    """A log's key witnesses nothing and a witness's signs nothing of its own."""
    with pytest.raises(ValueError, match="witnesses nothing"):
        LOG.cosign(BODY, AT)
    with pytest.raises(ValueError, match="signs no notes"):
        WITNESS.sign(BODY)
    with pytest.raises(ValueError, match="time"):
        WITNESS.cosign(BODY, -1)


def test_a_checkpoint_opens_with_its_logs_key() -> None:
    """With the key alone, among others, and beside cosignatures of known and unknown witnesses."""
    for verifiers in ([LOG.verifier], [ASIA.verifier, LOG.verifier], [LOG.verifier, WITNESS.verifier]):
        checkpoint, note = opened(GOOD, verifiers)
        assert checkpoint == HEAD
        assert judge(note, WITNESS.verifier) is True
        assert judge(note, OTHER.verifier) is None


def misnamed(by: Signer, like: Signer, body: str = BODY) -> Signature:
    """A signature by one key that claims to be another's."""
    return by.sign(body)._replace(name=like.verifier.name, key_id=like.verifier.key_id)


EXTENDED = BODY + "extension\n"
AS_ASIA = ASIA.sign(BODY)
COSIGNED = WITNESS.cosign(BODY, AT)
BAD = {
    "another key of the same name": (signed(OTHER.sign(BODY)), ForeignKey),
    "another log's key": (signed(AS_ASIA), ForeignKey),
    "a witness alone": (signed(COSIGNED), ForeignKey),
    "a witness of the log's name alone": (signed(NAMESAKE.cosign(BODY, AT)), ForeignKey),
    "a forged signature under the key's id": (signed(misnamed(OTHER, LOG)), BadSignature),
    "a good signature, then a forged one": (signed(LOG.sign(BODY), misnamed(OTHER, LOG)), BadSignature),
    "a forged signature, then a good one": (signed(misnamed(OTHER, LOG), LOG.sign(BODY)), BadSignature),
    "the signature of another size": (signed(LOG.sign(BODY.replace("7", "8"))), BadSignature),
    "the signature without the last line": (signed(LOG.sign(EXTENDED)), BadSignature),
    "the signature over more lines": (signed(LOG.sign(BODY), body=EXTENDED), BadSignature),
    "a short signature": (signed(LOG.sign(BODY)._replace(blob=LOG.sign(BODY).blob[:-1])), BadSignature),
    "a long signature": (signed(LOG.sign(BODY)._replace(blob=LOG.sign(BODY).blob + b"\0")), BadSignature),
    "an all-zero signature": (signed(LOG.sign(BODY)._replace(blob=bytes(64))), BadSignature),
    "a known witness's forged cosignature": (signed(LOG.sign(BODY), COSIGNED._replace(blob=bytes(72))), BadSignature),
    "a cosignature at another time": (
        signed(LOG.sign(BODY), COSIGNED._replace(blob=(AT + 1).to_bytes(8, "big") + COSIGNED.blob[8:])),
        BadSignature,
    ),
    "a cosignature without its time": (signed(LOG.sign(BODY), COSIGNED._replace(blob=COSIGNED.blob[8:])), BadSignature),
    "a cosignature of one byte": (signed(LOG.sign(BODY), COSIGNED._replace(blob=b"\0")), BadSignature),
    "a cosignature beyond all time": (
        signed(LOG.sign(BODY), COSIGNED._replace(blob=b"\xff" * 8 + COSIGNED.blob[8:])),
        BadSignature,
    ),
    "no signature": (BODY, MalformedNote),
    "no checkpoint": (signed(LOG.sign("hello\n"), body="hello\n"), MalformedNote),
    "a size with a leading zero": (
        signed(LOG.sign(BODY.replace("7", "07")), body=BODY.replace("7", "07")),
        MalformedNote,
    ),
    "nothing": ("", MalformedNote),
}


@pytest.mark.parametrize(("text", "refusal"), BAD.values(), ids=BAD)
def test_what_no_known_key_signed_is_refused(text: str, refusal: type[NoteRefused]) -> None:
    """Foreign, forged, cut, lengthened, moved or malformed."""
    with pytest.raises(NoteRefused) as refused:
        opened(text, [LOG.verifier, WITNESS.verifier, NAMESAKE.verifier])
    assert type(refused.value) is refusal


def test_no_key_signs_for_another_log() -> None:
    """Whoever trusts two logs' keys does not take one's signature for the other's checkpoint."""
    assert judge(parse_note(signed(AS_ASIA)), ASIA.verifier) is True
    with pytest.raises(ForeignKey):
        opened(signed(AS_ASIA), [ASIA.verifier, LOG.verifier])
    with pytest.raises(ForeignKey):
        opened(GOOD, [])


def test_a_cosignature_is_no_signature_of_the_same_key() -> None:
    """One seed under both uses: what it witnessed does not count as signed, nor the other way round."""
    witness = Signer(EUROPE, COSIGNATURE, bytes(range(32)))
    as_log = witness.cosign(BODY, AT)._replace(key_id=LOG.verifier.key_id)
    for blob in (as_log.blob, as_log.blob[8:]):
        assert judge(Note(BODY, (as_log._replace(blob=blob),)), LOG.verifier) is False
    as_witness = LOG.sign(BODY)._replace(key_id=witness.verifier.key_id)
    for blob in (as_witness.blob, AT.to_bytes(8, "big") + as_witness.blob):
        assert judge(Note(BODY, (as_witness._replace(blob=blob),)), witness.verifier) is False


@given(st.integers(0, len(GOOD.encode()) - 1), st.integers(0, 7))
def test_no_bit_of_a_checkpoint_can_change(place: int, bit: int) -> None:
    """Every flipped bit of a cosigned checkpoint is refused, by those who know both keys, or changes no word of it."""
    changed = bytearray(GOOD.encode())
    changed[place] ^= 1 << bit
    try:
        text = changed.decode()
        checkpoint, note = opened(text, [LOG.verifier, WITNESS.verifier])
    except ValueError:
        return
    # The log's signature still holds: it can only be the witness that is no longer one we know.
    assert checkpoint == HEAD
    assert note.body == BODY
    assert judge(note, WITNESS.verifier) is None
