"""The figures: what the scenario demands of the meeting, number by number, and what was found.

Rules: demands are written out here and never computed from what happened; a figure is right or it is not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from .chat import LINES
from .evidence import Evidence, deciders, messages_of, moment
from .keeping import EVERYBODY_S, HELD, HOLD, ORDINARY, SHORTENED

GRACE_AND_MARCUS: Final = {"Grace": "overdue", "Marcus": "unreachable"}
NOTICES: Final = {
    "recording started": (26, 24, GRACE_AND_MARCUS),
    "transcription started": (26, 24, GRACE_AND_MARCUS),
    "recording stopped": (26, 25, {"Marcus": "unreachable"}),
}
"""Each notice: how many owe it, how many have proved it, and who has not and why."""
LAST_WORDS: Final = {"Amélie": 6, "Björn": 5, "Chiara": 4, "Dana": 7, "Elijah": None, "Farah": 8, "Grace": 9}
"""Whose stored message must be which line of the chat; Elijah's was deleted."""
EXPLAINED: Final = {
    SHORTENED: (7, 14, [EVERYBODY_S], "retention_wins", []),
    ORDINARY: (30, 30, ["default"], "default", []),
    HELD: (30, 30, ["default"], "default", [HOLD]),
}
"""Whose message is out of sight and deleted after how many days, by which policies and principle, and what holds it."""
SWEPT: Final = {
    "today": {"europe": 0, "unitedstates": 0},
    "15 days later": {"europe": 1, "unitedstates": 0},
    "31 days later": {"europe": 2, "unitedstates": 2},
}
CERTIFIED: Final = [
    ("europe", "message", 1, f"{EVERYBODY_S}: retention_wins"),
    ("europe", "message", 2, "default: default"),
    ("unitedstates", "message", 2, "default: default"),
    ("unitedstates", "person", 1, ""),
]
"""What the ledgers certify: where, of what, how many messages, and what decided; no policy decides on an erasure."""
RECEIPTS: Final = 173
"""Twice 25 received, 25 displayed and 24 acknowledged; and 25 received of the end."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing that can be counted or named."""

    what: str
    demanded: object
    found: object

    @property
    def right(self) -> bool:
        """Whether it is as it must be."""
        return self.demanded == self.found


def judge(evidence: Evidence) -> list[Figure]:
    """Every figure of the scenario."""
    parts = (_presence, _webhooks, _notices, _proof, _messages, _keeping, _erasure)
    return [figure for part in parts for figure in part(evidence)]


def ending(clients: list[int], gateway: int) -> list[Figure]:
    """The exit statuses: of the client processes, then of the gateway after SIGTERM."""
    return [Figure("client processes' exits", [0, 0, 0], clients), Figure("the gateway's exit", 0, gateway)]


def _presence(evidence: Evidence) -> Iterator[Figure]:
    regions = Counter(
        entry["region"]
        for entries in evidence.ledgers.values()
        for entry in entries
        if entry["kind"] == "presence.opened"
    )
    yield Figure("external users in the call", 26, evidence.call["present"])
    yield Figure("of them on a WebSocket", 25, evidence.call["connected"])
    yield Figure("Teams users, counted only", 2, evidence.call["others"])
    yield Figure("presences by region", {"europe": 13, "unitedstates": 13}, dict(regions))
    states = [(each["name"], each["shown_on"]) for each in evidence.seen if each["saw"] == "state"]
    late = {name: shown_on for name, shown_on in states if shown_on}
    yield Figure("shown as on at joining", {"Jonas": ["recording"], "Leah": ["recording"]}, late)


def _webhooks(evidence: Evidence) -> Iterator[Figure]:
    heard = evidence.heard
    taken, known = {"accepted": 1, "duplicates": 0, "refused": []}, {"accepted": 0, "duplicates": 1, "refused": []}
    yield Figure("recording webhook", taken, heard.get("recording"))
    yield Figure("the same delivered again", known, heard.get("redelivery"))
    yield Figure("transcription webhook", taken, heard.get("transcription"))
    stranger = heard.get("stranger")
    refused = [each["index"] for each in stranger["refused"]] if isinstance(stranger, dict) else None
    yield Figure("messages refused for want of a region", [0], refused)
    states = {name: shown["state"] for name, shown in evidence.call["capabilities"].items()}
    yield Figure("capabilities in the end", {"recording": "inactive", "transcription": "active"}, states)


def _notices(evidence: Evidence) -> Iterator[Figure]:
    meanwhile = evidence.heard.get("meanwhile")
    gaps = meanwhile["gaps"] if isinstance(meanwhile, dict) else []
    lost = [each["reason"] for each in gaps if evidence.name(each["participant"]) == "Jonas"]
    yield Figure("Jonas while he was away", ["disconnected"], lost)
    notices = {f"{each['capability']} {each['change']}": each for each in evidence.coverage}
    yield Figure("notices", list(NOTICES), [f"{each['capability']} {each['change']}" for each in evidence.coverage])
    for what, (owed, proved, missing) in NOTICES.items():
        notice = notices.get(what, {})
        yield Figure(f"{what}: owed", owed, notice.get("owed"))
        yield Figure(f"{what}: proved", proved, notice.get("proved"))
        found = {evidence.name(each["participant"]): each["reason"] for each in notice.get("gaps", ())}
        yield Figure(f"{what}: gaps", missing, found)
        told = Counter(
            each["name"] for each in evidence.seen if each["saw"] == "notice" and each["notice"] == notice.get("notice")
        )
        yield Figure(f"{what}: told", 25, len(told))
        yield Figure(f"{what}: told more than once", [], [name for name, times in told.items() if times > 1])


def _proof(evidence: Evidence) -> Iterator[Figure]:
    yield Figure("notices recorded as overdue for Grace", 2, evidence.overdue("Grace"))
    yield Figure("receipts given to clients", RECEIPTS, sum(each["saw"] == "receipt" for each in evidence.seen))
    yield Figure("of them in the ledger", RECEIPTS, evidence.receipts_in_ledger())
    yield Figure("participants named in a ledger", 0, evidence.named_in_ledgers)


def _messages(evidence: Evidence) -> Iterator[Figure]:
    kept = evidence.keeping
    for name, line in LAST_WORDS.items():
        stored = kept.before.get(name)
        text = None if line is None else LINES[line].text
        yield Figure(f"{name}'s last message", text, stored and stored["content"])
        if line is not None and stored is not None:
            yield Figure(f"{name}'s region", evidence.regions[name], stored["region"])
            lifetime = moment(stored["expires_at"]) - moment(stored["sent_at"])
            yield Figure(f"{name}'s message is kept for", timedelta(days=30), lifetime)
    yield Figure("readable in the files while stored", 0, kept.readable_before)
    yield Figure("readable in the files in the end", 0, kept.readable_end)


def _keeping(evidence: Evidence) -> Iterator[Figure]:
    kept = evidence.keeping
    for name, demanded in EXPLAINED.items():
        copy = kept.explained[name]
        hidden, due = (moment(copy[each]) - moment(copy["sent_at"]) for each in ("hidden_at", "due_at"))
        found = (hidden.days, due.days, copy["policies"], copy["principle"], copy["held_by"])
        yield Figure(f"what decides about {name}'s message", demanded, found)
    for (when, demanded_of_sweep), sweep in zip(SWEPT.items(), kept.sweeps, strict=True):
        yield Figure(f"deleted by a sweep {when}", demanded_of_sweep, sweep.deleted)
    yield Figure("messages left by the sweeps", [HELD], [name for name, each in kept.after.items() if each is not None])
    certified = [
        (region, each["class"], messages_of(each), deciders(each)) for region, _, each in evidence.certificates
    ]
    yield Figure("certified in the ledgers", CERTIFIED, certified)


def _erasure(evidence: Evidence) -> Iterator[Figure]:
    kept = evidence.keeping
    status, problem = kept.asked
    yield Figure("an erasure under a hold", (409, "held", True), (status, problem.get("code"), HOLD in str(problem)))
    yield Figure("messages in the end", [], [name for name, each in kept.end.items() if each is not None])
    left = (kept.left["copies"], kept.left["held_by"], kept.left["erasure_asked_at"])
    yield Figure(f"kept of {HELD} in the end", ([], [], None), left)
    certified = [
        (each["presences"], each["slots"], each["checked"])
        for _, _, each in evidence.certificates
        if each["class"] == "person"
    ]
    yield Figure("presences erased, keys overwritten and read back", [(1, 2, 2)], certified)
    notices = {f"{each['capability']} {each['change']}": each for each in kept.coverage}
    for what, (owed, proved, missing) in NOTICES.items():
        notice = notices.get(what, {})
        counted = (notice.get("owed"), notice.get("proved"))
        yield Figure(f"{what}, after the erasure: owed and proved", (owed, proved), counted)
        nameless = {None if name == HELD else name: reason for name, reason in missing.items()}
        found = {
            each["participant"] and evidence.name(each["participant"]): each["reason"]
            for each in notice.get("gaps", ())
        }
        yield Figure(f"{what}, after the erasure: gaps", nameless, found)
