"""The guide in an evidence pack: what the files are and how to check them with no program of ours.

Rules: plain text for a reader who has the pack, the public key and nothing else; it promises what a verifier checks
and says what no verifier can.
"""

from __future__ import annotations

from typing import Final

from gateway.core.types import rfc3339
from gateway.evidence.markup import visible
from gateway.evidence.report import verdict
from gateway.evidence.story import Story

_GUIDE: Final = """\
WHAT THIS IS

This pack shows who was told that a call was recorded or transcribed, what they were told, when, and how that is
proved. It was made from a ledger that can only be added to. Open report.html in any browser, or print it: it needs no
network and runs nothing. The other files are what the report was made from.

  report.html           for people: the outcome, every notice, who was told and when, gaps, timelines
  coverage.json         for each notice who owed it, who proved it and by which entry, and each gap with its reason
  notices.jsonl         the notices: their exact words in every language, each with its digest
  episodes.jsonl        each run of a recording or transcription, and the observation that opened it
  presences.jsonl       who came when, and through which sessions and devices; nobody is named
  levels.jsonl          every confirmation by a participant's client
  participants.jsonl    who the presences are: only for regions that were opened, and for nobody who was erased
  manifest.json         what this pack is of, and the SHA-256 of each file but those it cannot know
  regions/NAME/
    entries.jsonl       the ledger's own lines about this call, byte for byte, one a line
    export.jsonl        the entries that record this export, one for each call in it, with the SHA-256 of manifest.json
    proofs.jsonl        for each of those lines, then for those of export.jsonl: its place in the ledger and the proof
    checkpoint.txt      the ledger's size and root, signed
    timestamp.tsr       if there: a time stamp by somebody else (RFC 3161)

HOW TO CHECK IT

  gateway evidence verify THIS_FILE --key VKEY_FILE [--key VKEY_FILE ...]

needs no network and no configuration; VKEY_FILE holds the public key of a ledger, which you should have from elsewhere,
and each region above has its own. It ends with 0 (sound), 10 (nothing is wrong, and something is missing: a gap, a
name), 20 (something was changed), or 40 (it cannot be checked, for example with another key). Without that program:

  1. Signature.  checkpoint.txt is a signed note (C2SP signed-note, tlog-checkpoint). Its first three lines, with
     their line ends, are what was signed with Ed25519. The lines are the ledger's name, its number of entries, and
     the root of its tree in base64.
  2. Entries.  The hash of a line of entries.jsonl is SHA-256 of a zero byte and the line without its line end.
     Line i of proofs.jsonl has its place ("index") and the hashes that lead from it to the root in checkpoint.txt
     (RFC 6962, section 2.1.1).
  3. Files.  manifest.json has the SHA-256 of every file that follows from the entries. export.jsonl, whose places in
     the ledger are proved too, has that of manifest.json. So no file was changed after the export.
  4. Nothing left out.  Every entry about a call says in "ahead" how many entries about the same call stand before it
     in the same ledger. export.jsonl says in "covers" how many there are, and has an entry of each call itself, which
     counts on behind the last: they must be there from 0 on, without a hole.
  5. Words.  A notice's digest is SHA-256 of the canonical JSON (RFC 8785) of
     {"capability":…,"change":…,"notice":…,"text":…}; the ledger's entry of the notice has the same digest, and so
     has what a client sent back when it had shown the words.
  6. People.  The entry of a presence has a commitment: SHA-256 of the 32 bytes of "salt" and the raw id
     ("participant"). participants.jsonl has both for every presence of a region that was opened, but for those that an
     entry "presence.erased" lists. Who was erased can be named by nobody any more; that they were there, and what they
     proved, stays. Who is neither named nor erased was left out, or the key to the name was lost.
  7. Coverage.  coverage.json follows from the entries by the rules that stand under "Coverage from entries" in the
     document "Ledger and evidence" of the notification gateway.

WHAT IT DOES NOT SHOW

That the ledger's owner never signed another history: ask for the proof that this checkpoint continues one that you, a
client or a witness has kept. That a person read what their client showed. What happened before the gateway knew of it.
That report.html and this file say what the rest does: they were made with it, and where they differ coverage.json
holds. That "name" is the person's name: only "participant" is committed to.
"""


def guide(story: Story) -> bytes:
    """`README.txt`."""
    opened = ", ".join(part.region for part in story.parts if part.opened) or "none"
    head = (
        "EVIDENCE OF NOTICES\n\n"
        f"call           {visible(story.key.call)}\n"
        f"organisation   {visible(story.key.organization) or '(nobody)'}\n"
        f"made at        {rfc3339(story.at)}\n"
        f"regions        {', '.join(part.region for part in story.parts)} (people are named of: {opened})\n"
        f"outcome        {verdict(story)}\n\n"
    )
    return (head + _GUIDE).encode("utf-8", "backslashreplace")
