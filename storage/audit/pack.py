"""The verifier of an evidence pack: from the signed checkpoints to the entries, and from the entries to every claim.

Rules: needs the pack and public keys; what is wrong first is said, with its place. Nothing of a pack is believed: its
files are those of a manifest that its own ledger entry vouches for, that entry and all others lead to a checkpoint that
a given key signed, the entries of the call are all there, and every table is made again from them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from storage.audit import archive, claims, entries
from storage.audit.agreement import check_agreement
from storage.audit.entries import Malformed
from storage.audit.plain import read_bytes
from storage.audit.proved import Part, check_part
from storage.audit.stamp import judge_stamp
from storage.audit.verdict import INCOMPLETE, SOUND, TAMPERED, UNVERIFIABLE, Refused, Verdict, verdict
from storage.audit.whole import check_whole
from storage.moment import rfc3339
from storage.note import Verifier
from storage.timestamping import Root, TokenRefused, stamped_at

_FORMATS: Final = "notices-evidence/"
FORMAT: Final = f"{_FORMATS}1"
MANIFEST: Final = "manifest.json"

_LARGEST_MANIFEST: Final = 1 << 20
_LONGEST: Final = 500
"""Characters of what is repeated from a pack."""
_TABLES: Final = ("coverage.json", "episodes.jsonl", "levels.jsonl", "notices.jsonl", "participants.jsonl")
_FILES: Final = ("README.txt", *_TABLES, "presences.jsonl", "report.html")
_REGION_FILES: Final = ("checkpoint.txt", "entries.jsonl", "export.jsonl", "proofs.jsonl")


class Region(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A region of the pack: its ledger, how many entries, and whether people are named."""

    entries: int
    opened: bool
    origin: str
    region: str


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the pack is of, and the digests of its files."""

    at: entries.Moment
    call: str
    files: dict[str, str]
    format: str
    level: entries.Level | None
    organization: str
    regions: tuple[Region, ...]


def verify(path: Path, verifiers: Sequence[Verifier], *, roots: Sequence[Root] | None = None) -> Verdict:
    """Verify the pack in `path`, signed by some of `verifiers`.

    With `roots`, the certificates of trusted authorities, every region's checkpoint must have a time stamp.
    """
    try:
        files = _read(path)
    except Refused as refused:
        return refused.verdict
    try:
        return _verify(files, path, verifiers, roots)
    except Refused as refused:
        return verdict(refused.code, f"{path}: {_shown(refused.found)}")
    except Malformed as error:
        return verdict(TAMPERED, f"{path}: {_shown(str(error))}")


def _read(path: Path) -> dict[str, bytes]:
    try:
        return archive.read(read_bytes(path, largest=archive.LARGEST))
    except archive.NoPack as error:
        raise Refused(UNVERIFIABLE, f"{path}: {error}") from None
    except archive.BrokenPack as error:
        raise Refused(TAMPERED, f"{path}: {error}") from None


def _verify(
    files: Mapping[str, bytes], path: Path, verifiers: Sequence[Verifier], roots: Sequence[Root] | None
) -> Verdict:
    manifest = _manifest(files)
    digest = "sha256:" + hashlib.sha256(files[MANIFEST]).hexdigest()
    parts = {region.region: check_part(files, region.region, region.origin, verifiers) for region in manifest.regions}
    for region in manifest.regions:
        _check_export(parts[region.region], manifest, digest)
    _check_digests(files, manifest)
    for region in manifest.regions:
        if len(parts[region.region].entries) != region.entries:
            raise Malformed(f"{MANIFEST}: it does not have the number of entries of region {region.region}")
    later = check_whole(parts, manifest.organization, manifest.call)
    found = {name: part.entries for name, part in parts.items()}
    check_agreement(found)
    opened = frozenset(region.region for region in manifest.regions if region.opened)
    told = claims.check(files, manifest.call, found, manifest.level, manifest.at, opened)
    since = [_stamp(files, region.region, roots) for region in manifest.regions]
    return _conclude(manifest, parts, told, later, [each for each in since if each is not None])


def _manifest(files: Mapping[str, bytes]) -> Manifest:
    """The manifest, once the pack has exactly the files that it must have. Raises Malformed, Refused."""
    if MANIFEST not in files:
        raise Malformed(f"{MANIFEST} is missing")
    if len(files[MANIFEST]) > _LARGEST_MANIFEST:
        raise Malformed(f"{MANIFEST}: it is too large")
    fields = entries.fields(MANIFEST, entries.only_line(MANIFEST, files[MANIFEST]))
    named = fields.get("format")
    if named != FORMAT and isinstance(named, str) and named.startswith(_FORMATS):
        raise Refused(UNVERIFIABLE, f"{MANIFEST}: the pack has another format than {FORMAT}")
    if named != FORMAT:
        raise Malformed(f"{MANIFEST}: it is not that of a pack")
    manifest = entries.shaped(MANIFEST, fields, Manifest)
    names = [each.region for each in manifest.regions]
    if not names or names != sorted(set(names)):
        raise Malformed(f"{MANIFEST}: the regions are not in order")
    for region in manifest.regions:
        if region.origin.rpartition("/")[2] != region.region:
            raise Malformed(f"{MANIFEST}: the ledger of region {region.region} is that of another")
    _check_files(files, names)
    if manifest.files.keys() != {*_FILES, *(f"regions/{name}/entries.jsonl" for name in names)}:
        raise Malformed(f"{MANIFEST}: it does not have the files that it must vouch for")
    return manifest


def _check_files(files: Mapping[str, bytes], names: Sequence[str]) -> None:
    """The pack has the files of these regions, and no others."""
    needed = {MANIFEST, *_FILES} | {f"regions/{name}/{each}" for name in names for each in _REGION_FILES}
    for missing in sorted(needed - files.keys()):
        raise Malformed(f"{missing} is missing")
    for extra in sorted(files.keys() - needed - {f"regions/{name}/timestamp.tsr" for name in names}):
        raise Malformed(f"{extra} does not belong there")


def _check_digests(files: Mapping[str, bytes], manifest: Manifest) -> None:
    for name, digest in sorted(manifest.files.items()):
        if digest != "sha256:" + hashlib.sha256(files[name]).hexdigest():
            raise Malformed(f"{name} was changed")


def _check_export(part: Part, manifest: Manifest, digest: str) -> None:
    """The entries of the export are of this very pack."""
    where = f"regions/{part.region}/export.jsonl"
    if part.exports[0].call != manifest.call:
        raise Malformed(f"{where}: it is the export of another call")
    for export in part.exports:
        if export.organization != manifest.organization:
            raise Malformed(f"{where}: it is the export of another organisation")
        if export.manifest != digest or export.at != manifest.at:
            raise Malformed(f"{MANIFEST}: it is not what was exported from region {part.region}")
        if export.regions != tuple(each.region for each in manifest.regions if each.opened):
            raise Malformed(f"{where}: people of other regions are named than was recorded")


def _stamp(files: Mapping[str, bytes], region: str, roots: Sequence[Root] | None) -> str | None:
    """Since when the region's checkpoint has existed, where that is to be known."""
    where = f"regions/{region}/timestamp.tsr"
    token, note = files.get(where), files[f"regions/{region}/checkpoint.txt"].decode()
    if roots is not None:
        if token is None:
            raise Refused(UNVERIFIABLE, f"{where}: there is no time stamp")
        return judge_stamp(token, note, roots, where)
    if token is not None:
        try:
            stamped_at(token, note.partition("\n\n")[0].encode() + b"\n")
        except TokenRefused as error:
            raise Malformed(f"{where}: {error}") from None
    return None


def _conclude(
    manifest: Manifest, parts: Mapping[str, Part], told: claims.Told, later: int, since: Sequence[str]
) -> Verdict:
    name = f"{_shown(manifest.organization)}/{_shown(manifest.call)} as of {rfc3339(manifest.at)}"
    every = [entry.fields for part in parts.values() for entry in part.entries]
    asked = "" if manifest.level is None else f", asked at {manifest.level}"
    size = f"{_counted(len(parts), 'region')}, {_counted(len(every), 'entry', 'entries')}, "
    erased = f" and {told.erased} erased" if told.erased else ""
    size += f"{_counted(told.people, 'participant')} of whom {told.named} are named{erased}{asked}"
    stamped = f"; signed before {max(since)}" if since else ""
    unannounced = sum(each.get("kind") == "recording.found" and each.get("announced") is False for each in every)
    reasons = {
        f"{later} later entries are not in it": later,
        f"{_counted(unannounced, 'recording')} turned up of which nobody was told": unannounced,
        "entries from before there were stamps cannot be shown to be all": any(
            "call" in each and "after_us" not in each for each in every
        ),
    }
    reasons |= {
        f"{_counted(count, 'presence')} of region {region} "
        f"{'is' if count == 1 else 'are'} not named and not erased": count
        for region, count in sorted(told.nameless.items())
    }
    more = "".join(f"; {reason}" for reason, there in reasons.items() if there)
    gaps = _counted(told.gaps, "gap") if told.gaps else "no gap"
    found = f"{gaps} in {_counted(told.notices, 'notice')} ({size}){more}{stamped}"
    if told.gaps or more:
        return verdict(INCOMPLETE, f"{name}: nothing is wrong, {found}")
    return verdict(SOUND, f"{name}: {found}")


def _counted(count: int, one: str, many: str | None = None) -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"


def _shown(text: str) -> str:
    """What a pack calls something, on one line that is not too long and does nothing to a terminal."""
    return "".join(each if each.isprintable() else "?" for each in text[:_LONGEST])
