"""What somebody may do to the files of a pack, one deed a function; TABLES are deeds to what follows from entries."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable

from storage.entry import canonical
from tests.evidence.world import raw_id
from tests.storage.packs import Files, put, rows

HOME, AWAY = "regions/europe", "regions/unitedstates"


def take_line(files: Files, name: str, line: int) -> bytes:
    """Take a line out of a file."""
    found = files[name].splitlines(keepends=True)
    taken = found.pop(line)
    files[name] = b"".join(found)
    return taken


def put_line(files: Files, name: str, line: int, data: bytes) -> None:
    """Put a line into a file."""
    found = files[name].splitlines(keepends=True)
    found.insert(line, data)
    files[name] = b"".join(found)


def remove_entry(files: Files) -> None:
    """With its proof."""
    take_line(files, f"{HOME}/entries.jsonl", 3)
    take_line(files, f"{HOME}/proofs.jsonl", 3)


def remove_last_entry(files: Files) -> None:
    """With its proof: no hole is left."""
    take_line(files, f"{AWAY}/entries.jsonl", -1)
    take_line(files, f"{AWAY}/proofs.jsonl", -2)


def remove_entry_alone(files: Files) -> None:
    """And leave its proof."""
    take_line(files, f"{HOME}/entries.jsonl", 3)


def insert_entry(files: Files) -> None:
    """One that never was, with another's proof."""
    forged = {**rows(files, f"{HOME}/entries.jsonl")[-1], "ahead": 99}
    put_line(files, f"{HOME}/entries.jsonl", 4, canonical(forged) + b"\n")
    put_line(files, f"{HOME}/proofs.jsonl", 4, files[f"{HOME}/proofs.jsonl"].splitlines(keepends=True)[4])


def double_entry(files: Files) -> None:
    """One that was, twice."""
    for name in ("entries", "proofs"):
        line = files[f"{HOME}/{name}.jsonl"].splitlines(keepends=True)[3]
        put_line(files, f"{HOME}/{name}.jsonl", 3, line)


def swap_entries(files: Files) -> None:
    """Two change places."""
    put_line(files, f"{HOME}/entries.jsonl", 3, take_line(files, f"{HOME}/entries.jsonl", 4))


def swap_entries_and_proofs(files: Files) -> None:
    """Two change places with what proves them."""
    for name in ("entries", "proofs"):
        put_line(files, f"{HOME}/{name}.jsonl", 3, take_line(files, f"{HOME}/{name}.jsonl", 4))


def swap_proofs(files: Files) -> None:
    """Each has the other's proof."""
    put_line(files, f"{HOME}/proofs.jsonl", 3, take_line(files, f"{HOME}/proofs.jsonl", 4))


def move_proof(files: Files) -> None:
    """The right hashes for another number."""
    found = rows(files, f"{HOME}/proofs.jsonl")
    found[3]["index"] += 1
    put(files, f"{HOME}/proofs.jsonl", found)


def shorten_proof(files: Files) -> None:
    """A hash less."""
    found = rows(files, f"{HOME}/proofs.jsonl")
    found[3]["hashes"].pop()
    put(files, f"{HOME}/proofs.jsonl", found)


def lengthen_proof(files: Files) -> None:
    """A hash more."""
    found = rows(files, f"{HOME}/proofs.jsonl")
    found[3]["hashes"].append(base64.b64encode(bytes(32)).decode())
    put(files, f"{HOME}/proofs.jsonl", found)


def change_entry(files: Files) -> None:
    """A level becomes a better one."""
    files[f"{HOME}/entries.jsonl"] = files[f"{HOME}/entries.jsonl"].replace(b'"received"', b'"displayed"')


def drop_presence(files: Files, presence: str | None = None) -> None:
    """A member of the roster with all their entries, and every line about them."""
    presence = presence or rows(files, "presences.jsonl")[0]["presence"]
    for name in [name for name in files if name.endswith(".jsonl") and not name.endswith("proofs.jsonl")]:
        kept = []
        for number, line in enumerate(files[name].splitlines(keepends=True)):
            if presence.encode() not in line:
                kept.append(number)
        found = files[name].splitlines(keepends=True)
        if name.endswith("entries.jsonl"):
            proofs = name.replace("entries", "proofs")
            lines = files[proofs].splitlines(keepends=True)
            files[proofs] = b"".join(lines[number] for number in [*kept, len(lines) - 1])
        files[name] = b"".join(found[number] for number in kept)
    claim_all(files)


def claim_all(files: Files) -> None:
    """Coverage without a gap."""
    coverage = json.loads(files["coverage.json"])
    coverage["complete"] = True
    for notice in coverage["notices"]:
        notice["owed"] -= len(notice["gaps"])
        notice["gaps"] = []
    files["coverage.json"] = canonical(coverage) + b"\n"


def claim_proof(files: Files) -> None:
    """A gap becomes a proof, by an entry of somebody else."""
    coverage = json.loads(files["coverage.json"])
    notice = next(each for each in coverage["notices"] if each["gaps"] and each["proved"])
    gap = notice["gaps"].pop()
    notice["proved"].append({**notice["proved"][0], "presence": gap["presence"]})
    files["coverage.json"] = canonical(coverage) + b"\n"


def claim_less(files: Files) -> None:
    """A proof becomes a gap."""
    coverage = json.loads(files["coverage.json"])
    notice = next(each for each in coverage["notices"] if each["proved"])
    proof = notice["proved"].pop()
    gap = {"exposure_ms": 0, "presence": proof["presence"], "reason": "left", "since": proof["at"]}
    notice["gaps"].append(gap)
    files["coverage.json"] = canonical(coverage) + b"\n"


def claim_sooner(files: Files) -> None:
    """A gap was shorter, or had another reason."""
    files["coverage.json"] = files["coverage.json"].replace(b'"exposure_ms":5', b'"exposure_ms":1')


def claim_no_notice(files: Files) -> None:
    """A notice was never issued."""
    coverage = json.loads(files["coverage.json"])
    coverage["notices"].pop()
    files["coverage.json"] = canonical(coverage) + b"\n"


def claim_complete(files: Files) -> None:
    """Gaps are listed, and nobody is missing."""
    files["coverage.json"] = files["coverage.json"].replace(b'"complete":false', b'"complete":true')


def claim_another_time(files: Files) -> None:
    """It was so an hour later."""
    coverage = json.loads(files["coverage.json"])
    files["coverage.json"] = canonical({**coverage, "at": "2026-11-23T15:00:00.000Z"}) + b"\n"


def claim_more_notices(files: Files) -> None:
    """A notice was issued twice."""
    coverage = json.loads(files["coverage.json"])
    coverage["notices"].append({**coverage["notices"][0], "notice": "n_never"})
    files["coverage.json"] = canonical(coverage) + b"\n"


def double_level(files: Files) -> None:
    """A level is there twice."""
    put_line(files, "levels.jsonl", 0, files["levels.jsonl"].splitlines(keepends=True)[0])


def claim_two_reports(files: Files) -> None:
    """A second coverage, for whoever reads the first line only."""
    files["coverage.json"] *= 2


def other_words(files: Files) -> None:
    """People were told something milder."""
    found = rows(files, "notices.jsonl")
    found[0]["texts"]["en"]["text"]["body"] = "Nothing happens."
    put(files, "notices.jsonl", found)


def other_words_and_digest(files: Files) -> None:
    """And the digest fits."""
    found = rows(files, "notices.jsonl")
    found[0]["texts"]["en"]["digest"] = "sha256:" + "0" * 64
    put(files, "notices.jsonl", found)


def other_digest_without_words(files: Files) -> None:
    """What was told is not known any more, and its digest was another."""
    found = rows(files, "notices.jsonl")
    found[0]["texts"]["en"] = {"digest": "sha256:" + "0" * 64, "text": None}
    put(files, "notices.jsonl", found)


def no_words(files: Files) -> None:
    """A language is not there."""
    found = rows(files, "notices.jsonl")
    del found[0]["texts"]["de"]
    put(files, "notices.jsonl", found)


def earlier_notice(files: Files) -> None:
    """It went out before."""
    found = rows(files, "notices.jsonl")
    found[0]["issued_at"] = "2026-11-23T13:00:00.000Z"
    put(files, "notices.jsonl", found)


def other_salt(files: Files) -> None:
    """The commitment does not open."""
    found = rows(files, "participants.jsonl")
    found[0]["salt"] = "00" * 32
    put(files, "participants.jsonl", found)


def shifted_salt(files: Files) -> None:
    """The first letter of the raw id goes into the salt: the bytes are the same."""
    found = rows(files, "participants.jsonl")
    first, found[0]["participant"] = found[0]["participant"][0], found[0]["participant"][1:]
    found[0]["salt"] += first.encode().hex()
    put(files, "participants.jsonl", found)


def other_person(files: Files) -> None:
    """Somebody else was there."""
    found = rows(files, "participants.jsonl")
    found[0]["participant"] = raw_id("mallory")
    put(files, "participants.jsonl", found)


def named_twice(files: Files) -> None:
    """One presence, two names."""
    files["participants.jsonl"] += files["participants.jsonl"].splitlines(keepends=True)[0]


def exchanged_people(files: Files) -> None:
    """Two are taken for each other."""
    found = [row for row in rows(files, "participants.jsonl") if row["region"] == "europe"]
    found[0]["presence"], found[1]["presence"] = found[1]["presence"], found[0]["presence"]
    put(files, "participants.jsonl", found)


def other_level(files: Files) -> None:
    """A level that nobody confirmed."""
    found = rows(files, "levels.jsonl")
    found[0]["level"] = "acknowledged" if found[0]["level"] != "acknowledged" else "displayed"
    put(files, "levels.jsonl", found)


def more_levels(files: Files) -> None:
    """One more."""
    found = rows(files, "levels.jsonl")
    put(files, "levels.jsonl", [*found, {**found[0], "entry": 4}])


def fewer_levels(files: Files) -> None:
    """One less."""
    take_line(files, "levels.jsonl", 0)


def absent_presence(files: Files) -> None:
    """Somebody is not in the list of who came."""
    take_line(files, "presences.jsonl", 0)


def longer_presence(files: Files) -> None:
    """Somebody came earlier, through another session."""
    found = rows(files, "presences.jsonl")
    found[0]["sessions"][0]["session"] = "s_mallory"
    put(files, "presences.jsonl", found)


def other_opener(files: Files) -> None:
    """Somebody else began it."""
    found = rows(files, "episodes.jsonl")
    found[0]["opened_by"]["source"] = "operator"
    put(files, "episodes.jsonl", found)


def shorter_episode(files: Files) -> None:
    """It ended at once."""
    found = rows(files, "episodes.jsonl")
    found[0]["ended_at"] = found[0]["started_at"]
    put(files, "episodes.jsonl", found)


TABLES: list[Callable[[Files], None]] = [
    claim_all,
    claim_proof,
    claim_less,
    claim_sooner,
    claim_no_notice,
    claim_complete,
    claim_another_time,
    claim_more_notices,
    double_level,
    claim_two_reports,
    other_words,
    other_words_and_digest,
    other_digest_without_words,
    no_words,
    earlier_notice,
    other_salt,
    shifted_salt,
    other_person,
    named_twice,
    exchanged_people,
    other_level,
    more_levels,
    fewer_levels,
    absent_presence,
    longer_presence,
    other_opener,
    shorter_episode,
]
ENTRIES: list[Callable[[Files], None]] = [
    remove_entry,
    remove_last_entry,
    remove_entry_alone,
    insert_entry,
    double_entry,
    swap_entries,
    swap_entries_and_proofs,
    swap_proofs,
    move_proof,
    shorten_proof,
    lengthen_proof,
    change_entry,
    drop_presence,
]
