"""What the commands print: tables for people and JSON for programs.

Rules: nothing of what is shown can steer the terminal (control characters are spelled out, markup is off); a
field an older or newer gateway does not send is left blank.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

Answer = Mapping[str, Any]

_NEVER: Final = "-"


def printable(value: object) -> str:
    """`value` as one line of visible characters."""
    text = _NEVER if value is None else str(value)
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def show_json(answer: object) -> None:
    """`answer` as one indented JSON document."""
    print(json.dumps(answer, indent=2, ensure_ascii=True))


def show_calls(answer: Any) -> None:
    """The open calls, one line each."""
    calls = answer.get("calls", []) if isinstance(answer, Mapping) else answer
    if not calls:
        print("No call is open.")
        return
    rows = [
        (
            call.get("organization"),
            call.get("call"),
            _state(call, "recording"),
            _state(call, "transcription"),
            call.get("present"),
            call.get("revision"),
        )
        for call in calls
    ]
    _table("Open calls", ("organisation", "call", "recording", "transcription", "present", "revision"), rows)


def show_coverage(answer: Answer) -> None:
    """Who was told what in a call, and every gap with its reason and length."""
    notices: Sequence[Answer] = answer.get("notices", ())
    title = f"Coverage of {printable(answer.get('call'))} at level {printable(answer.get('level'))}"
    _table(
        title,
        ("notice", "what", "issued at", "owed", "proved", "gaps"),
        [
            (
                notice.get("notice"),
                f"{notice.get('capability')} {notice.get('change')}",
                notice.get("issued_at"),
                notice.get("owed"),
                notice.get("proved"),
                len(notice.get("gaps", ())),
            )
            for notice in notices
        ],
    )
    gaps = [
        (
            f"{notice.get('capability')} {notice.get('change')}",
            gap.get("participant") or "(erased)",
            gap.get("reason"),
            gap.get("since"),
            _seconds(gap.get("exposure_ms")),
        )
        for notice in notices
        for gap in notice.get("gaps", ())
    ]
    if gaps:
        _table("Gaps", ("of", "participant", "reason", "since", "exposure"), gaps)
    print("Complete: everyone is proved." if answer.get("complete") else "Not complete.")
    for region in answer.get("unserved", ()):
        print(f"Region {printable(region)} is not served now: nothing is known of its people.")


def show_sweep(answer: Answer) -> None:
    """How much a sweep deleted in each region, and the entries that certify it."""
    regions: Mapping[str, Answer] = answer.get("regions", {})
    rows = [
        (name, swept.get("deleted"), ", ".join(str(entry) for entry in swept.get("certificates", ())) or None)
        for name, swept in regions.items()
    ]
    _table("Sweep", ("region", "deleted", "certificate entries"), rows)
    print(f"{printable(answer.get('deleted'))} deleted in all.")


def show_policies(answer: Sequence[Answer]) -> None:
    """The policies, one line each."""
    rows = [(each.get("name"), each.get("action"), each.get("days"), _about(each)) for each in answer]
    _rules("policy", ("name", "action", "days", "about"), rows)


def show_holds(answer: Sequence[Answer]) -> None:
    """The holds, one line each."""
    _rules("hold", ("name", "about", "reason"), [(each["name"], _about(each), each.get("reason")) for each in answer])


def _rules(kind: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    if rows:
        _table("", columns, rows)
    else:
        print(f"There is no {kind}.")


_SCOPE: Final = {
    "organizations": "organisation",
    "resources": "resource",
    "calls": "call",
    "threads": "thread",
    "participants": "participant",
}


def _about(rule: Answer) -> str:
    if rule.get("readable") is False:
        return "everyone, since its key is lost: set it again or remove it"
    named = [f"{word} {each}" for name, word in _SCOPE.items() for each in rule.get(name, ())]
    return "everyone" if rule.get("everything") else ", ".join(named) or "nobody"


def _joined(values: Sequence[object] | None) -> str | None:
    return ", ".join(map(str, values or ())) or None


def show_erasure(answer: Answer) -> None:
    """How much there was of somebody, and the entries that certify that it is gone."""
    entries = ", ".join(map(str, answer.get("certificates", ()))) or _NEVER
    print(f"Erased in region {printable(answer.get('region'))}: messages {printable(answer.get('messages'))}, ", end="")
    print(f"presences {printable(answer.get('presences'))}, certificate entries {entries}.")


def show_explanation(answer: Answer) -> None:
    """What is kept of somebody and until when, and what decided that."""
    where = f"region {printable(answer.get('region'))}, organisation {printable(answer.get('organization'))}"
    print(f"{printable(answer.get('participant'))}: {where}")
    for copy in answer["copies"]:
        _fate(f"copy {copy.get('copy')}", str(copy.get("state")), copy)
    _fate("a message", "sent now", answer["sent_now"])
    if answer.get("erasure_asked_at"):
        print(f"An erasure was asked for at {printable(answer['erasure_asked_at'])} and waits for the holds.")


def _fate(what: str, state: str, copy: Answer) -> None:
    rows = (
        ("sent at", copy.get("sent_at")),
        ("hidden at", copy.get("hidden_at")),
        ("hidden by", _joined(copy.get("hidden_by"))),
        ("goes at", copy.get("due_at")),
        ("decided by", _joined(copy.get("policies"))),
        ("principle", copy.get("principle")),
        ("because", copy.get("because")),
        ("held by", _joined(copy.get("held_by"))),
    )
    _table("", (what, state), [row for row in rows if row[1] is not None])


def _state(call: Answer, capability: str) -> object:
    capabilities = call.get("capabilities") or {}
    fused = capabilities.get(capability)
    return fused.get("state") if isinstance(fused, Mapping) else fused


def _seconds(milliseconds: object) -> str:
    return f"{milliseconds / 1000:.1f} s" if isinstance(milliseconds, int | float) else _NEVER


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    table = Table(title=Text(title) if title else None, title_justify="left")
    for column in columns:
        table.add_column(Text(printable(column)), overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    Console().print(table)
