"""The contents of an evidence pack: every file that follows from the entries.

Rules: the same story makes the same bytes; what only the ledger can add afterwards (the entry of the export itself,
the proofs, the checkpoint) is not here.
"""

from __future__ import annotations

from gateway.evidence import records
from gateway.evidence.guide import guide
from gateway.evidence.report import report
from gateway.evidence.story import Story


def contents(story: Story) -> dict[str, bytes]:
    """The files of the pack by name, `manifest.json` last, which has the digests of all others."""
    files = {
        "README.txt": guide(story),
        "coverage.json": records.coverage(story),
        "episodes.jsonl": records.episodes(story),
        "levels.jsonl": records.levels(story),
        "notices.jsonl": records.notices(story),
        "participants.jsonl": records.participants(story),
        "presences.jsonl": records.presences(story),
        "report.html": report(story),
    }
    for part in story.parts:
        files[f"regions/{part.region}/entries.jsonl"] = records.entries(part.lines)
    return files | {records.MANIFEST: records.manifest(story, files)}
