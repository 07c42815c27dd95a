"""The report: the meeting as tables that a person can read, narrow or wide.

Rules: the narrower the terminal the fewer columns, and 80 are enough for none to be broken; contents of messages are
shown shortened; times of day are UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .audit import Searched, Spoken
from .cast import Person
from .chat import LINES, history
from .control import Answer
from .evidence import Evidence, deciders, messages_of, moment
from .figures import Figure
from .keeping import HOLD

WIDE: Final = 130
BROAD: Final = 98
"""From so many columns on there is room for everything, and for all but the widest."""
_SHORT: Final = 28
_LEVEL_STYLE: Final = {"acknowledged": "green", "displayed": "yellow", "received": "cyan"}
_REASON_STYLE: Final = {"overdue": "bold red", "unreachable": "bold red", "disconnected": "yellow"}


def show(console: Console, evidence: Evidence) -> None:
    """Everything that is known after the meeting."""
    for part in (_notices, _people, _gaps, _messages, _policies, _deletions):
        console.print()
        part(console, evidence)


def show_spoken(console: Console, title: str, spoken: Sequence[Spoken]) -> None:
    """Commands with what they said and their exits."""
    console.print()
    console.print(Text(title, style="bold"))
    for each in spoken:
        console.print(Text(f"  $ {each.command}", style="dim"))
        console.print(Text(f"    {each.line}  [exit {each.exit}]"))


def show_searched(console: Console, searched: Searched) -> None:
    """Who can be found in no file of the evidence, and how many texts in one."""
    console.print(
        f"Of whom none of the {searched.files} files in it holds the raw id or the name: "
        f"{', '.join(searched.nameless) or 'nobody'}. Texts of messages in them: {searched.texts}.",
        style="dim",
    )


def show_figures(console: Console, figures: Sequence[Figure]) -> bool:
    """Whether every figure is right; what differs is listed."""
    wrong = [each for each in figures if not each.right]
    console.print()
    if not wrong:
        console.print(Text(f"All {len(figures)} figures are as the scenario demands.", style="bold green"))
        return True
    table = _table(
        f"{len(wrong)} of {len(figures)} figures are not as the scenario demands", "figure", "demanded", "found"
    )
    for each in wrong:
        table.add_row(each.what, str(each.demanded), Text(str(each.found), style="bold red"))
    console.print(table)
    return False


def _table(title: str, *columns: str, right: Iterable[str] = ()) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


def _notices(console: Console, evidence: Evidence) -> None:
    wide = console.width >= WIDE
    numbers = ("owed", "told", "last told", "proved", "gaps")
    columns = ["notice", *(["as shown to Dana"] if wide else []), "issued at", *numbers]
    table = _table("What was told", *columns, right=numbers)
    for notice in evidence.coverage:
        after = [told.after for (_, each), told in evidence.told.items() if each == notice["notice"]]
        titles = {
            each["name"]: each["title"]
            for each in evidence.seen
            if each["saw"] == "notice" and each["notice"] == notice["notice"]
        }
        table.add_row(
            what(notice),
            *([titles.get("Dana", "")] if wide else []),
            _clock(notice["issued_at"]),
            str(notice["owed"]),
            str(len(titles)),
            _milliseconds(sorted(after)[-1]) if after else "",
            str(notice["proved"]),
            Text(str(len(notice["gaps"])), style="bold red" if notice["gaps"] else "green"),
        )
    console.print(table)
    titles = {each["locale"]: each["title"] for each in evidence.seen if each["saw"] == "notice"}
    recording = {
        each["locale"]: each["title"]
        for each in evidence.seen
        if each["saw"] == "notice" and each["what"] == "recording started" and each["locale"] in {"de", "fr", "ja"}
    }
    console.print(f"Told in {len(titles)} languages: {' '.join(recording.values())}", style="dim")


def _people(console: Console, evidence: Evidence) -> None:
    wide = console.width >= WIDE
    notices = evidence.coverage if wide else [each for each in evidence.coverage if each["change"] == "started"]
    table = _table("Who was told, how long after, the level that is proved, its ledger entry", "participant")
    broad = console.width >= BROAD
    if broad:
        table.add_column("here to show", no_wrap=True)
    for notice in notices:
        table.add_column(what(notice), no_wrap=True)
    for region in dict.fromkeys(each.region for each in evidence.people):
        table.add_row(Text(region, style="bold"))
        for person in evidence.people:
            if person.region == region:
                cells = (_telling(evidence, person, notice) for notice in notices)
                shows = (Text(person.part.value, style="dim"),) if broad else ()
                table.add_row(f" {person.name}", *shows, *cells)
    console.print(table)
    if not broad:
        shown = (f"{each.name} {each.part.value}" for each in evidence.people if each.part.value)
        console.print(f"{'; '.join(shown)}.", style="dim")
    console.print(
        "Counted from when the notice was issued, or from when the person came in; entry numbers are those of the "
        "region's own ledger.",
        style="dim",
    )


def _telling(evidence: Evidence, person: Person, notice: Answer) -> Text:
    told = evidence.told.get((person.name, notice["notice"]))
    if told is None:
        gap = next((each for each in notice["gaps"] if evidence.name(each["participant"]) == person.name), None)
        reason = "" if gap is None else gap["reason"]
        return Text(f"{'not told':>8}  {reason}", style=_REASON_STYLE.get(reason, ""))
    number = f"#{told.entry}"
    return Text.assemble(
        f"{_milliseconds(told.after):>8}  ", (f"{told.level:<12}", _LEVEL_STYLE[told.level]), (f" {number:>5}", "dim")
    )


def _gaps(console: Console, evidence: Evidence) -> None:
    broad = console.width >= BROAD
    columns = ("notice", "participant", *(("region",) if broad else ()), "reason", "since", "exposure")
    table = _table("Who is not proved, at level acknowledged (of an end: received)", *columns, right=("exposure",))
    for notice in evidence.coverage:
        for gap in notice["gaps"]:
            name = evidence.name(gap["participant"])
            reason = Text(gap["reason"], style=_REASON_STYLE.get(gap["reason"], ""))
            exposure = f"{gap['exposure_ms'] / 1000:.1f} s"
            region = (evidence.regions.get(name, ""),) if broad else ()
            table.add_row(what(notice), name, *region, reason, _clock(gap["since"]), exposure)
    console.print(table)
    on = [name for name, shown in evidence.call["capabilities"].items() if shown["state"] != "inactive"]
    if on:
        console.print(f"The exposure goes on for what is still on: {', '.join(on)}.", style="dim")


def _messages(console: Console, evidence: Evidence) -> None:
    wide = console.width >= WIDE
    columns = ["participant", "region", "last message", *(["what happened to it"] if wide else []), "expires"]
    table = _table("The last message of each, as stored", *columns)
    for name, stored in evidence.keeping.before.items():
        happened = [history(name)] if wide else []
        if stored is None:
            table.add_row(name, evidence.regions[name], Text("none: deleted", style="dim"), *happened, "")
            continue
        table.add_row(
            name, stored["region"], Text(_shortened(stored["content"])), *happened, _day(stored["expires_at"])
        )
    console.print(table)
    console.print(
        f"Of {len({line.text for line in LINES if line.text})} texts and everyone's raw id, "
        f"{evidence.keeping.readable_before} can be read in the gateway's files.",
        style="dim",
    )


def _policies(console: Console, evidence: Evidence) -> None:
    table = _table(
        "What decides how long a message is kept",
        *("participant", "out of sight", "deleted", "policies", "principle"),
    )
    for name, copy in evidence.keeping.explained.items():
        deleted = Text(_day(copy["due_at"]))
        if copy["held_by"]:
            deleted = Text(f"held: {', '.join(copy['held_by'])}", style="yellow")
        table.add_row(name, _day(copy["hidden_at"]), deleted, ", ".join(copy["policies"]), copy["principle"])
    console.print(table)


def _deletions(console: Console, evidence: Evidence) -> None:
    table = _table(
        "What was deleted, and the entry that certifies it",
        *("sweep", "region", "messages", "entry", "decided by"),
        right=("messages", "entry"),
    )
    kept = evidence.keeping
    days = {
        (region, number): f"day {sweep.days}"
        for sweep in kept.sweeps
        for region, swept in sweep.regions.items()
        for number in swept["certificates"]
    }
    for region, number, certificate in evidence.certificates:
        decided_by = deciders(certificate) or f"request, once {HOLD} was removed"
        day = days.get((region, number), "erasure")
        table.add_row(day, region, str(messages_of(certificate)), f"#{number}", decided_by)
    console.print(table)
    gone = sum(stored is None for stored in kept.end.values())
    console.print(
        f"A sweep today deletes {sum(kept.sweeps[0].deleted.values())}. In the end {gone} of {len(kept.end)} are "
        f"answered 404, and {kept.readable_end} texts or raw ids can be read in any file of the gateway.",
        style="dim",
    )
    counted = (f"{what(each)} {each['proved']} of {each['owed']}" for each in kept.coverage)
    gaps = {
        f"{evidence.name(gap['participant'])} {gap['reason']}": None for each in kept.coverage for gap in each["gaps"]
    }
    console.print(
        f"After the erasure coverage counts as before, proved {', '.join(counted)}, and its gaps are "
        f"{', '.join(gaps)}.",
        style="dim",
    )


def what(notice: Answer) -> str:
    """What a notice tells."""
    return f"{notice['capability']} {notice['change']}"


def _day(time: str) -> str:
    return f"{moment(time):%Y-%m-%d %H:%M}"


def _clock(time: str) -> str:
    return moment(time).strftime("%H:%M:%S.%f")[:-3]


def _milliseconds(duration: timedelta) -> str:
    return f"{duration / timedelta(milliseconds=1):,.0f} ms"


def _shortened(text: str) -> str:
    return text if len(text) <= _SHORT else text[: _SHORT - 1].rstrip() + "…"
