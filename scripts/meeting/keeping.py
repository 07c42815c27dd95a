"""The keeping: what policies, a hold and an erasure make of the messages, with sweeps that think it is later.

Rules: rules are set, asked about and removed by the control API alone; names of rules say nothing of people, for they
stand in the ledger for good; what is told is what was answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from storage.residue import scan

from .cast import Part, Person
from .chat import LINES, TEXTS
from .control import Answer, Control
from .narrator import Narrator
from .processes import DemoFailed
from .story import CALL

SHORTENED: Final = "Chiara"
"""Whose message a policy deletes by name before the organisation's has it gone."""
HELD: Final = "Grace"
"""Whom a hold keeps, and who is to be erased meanwhile."""
ORDINARY: Final = "Dana"
"""Whose message goes as if there were no policy."""
EVERYBODY_S: Final = "fortnight"
BY_NAME: Final = "week"
HOLD: Final = "case-7"
SOON, LATER = 15, 31
"""Days from now: when the later sweeps think it is."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """A sweep as if it were `at`, `days` from now, and what it answered by region."""

    days: int
    at: datetime
    regions: Mapping[str, Answer]

    @property
    def deleted(self) -> dict[str, int]:
        """How many messages went, by region."""
        return {region: swept["deleted"] for region, swept in self.regions.items()}


@dataclass(frozen=True, slots=True)
class Keeping:
    """What became of the messages, `None` being none: `before` the sweeps, `after` them, and in the `end`.

    `explained` is what decides about some, by name; `asked` how the erasure under a hold was answered. `coverage` and
    what is readable in the end are from after the erasure.
    """

    before: Mapping[str, Answer | None]
    after: Mapping[str, Answer | None]
    end: Mapping[str, Answer | None]
    explained: Mapping[str, Answer]
    asked: tuple[int, Answer]
    sweeps: Sequence[Sweep]
    left: Answer
    coverage: Sequence[Answer]
    readable_before: int
    readable_end: int


async def keep(people: Sequence[Person], control: Control, narrator: Narrator, home: Path) -> Keeping:
    """Set rules, ask for an erasure under a hold, sweep now and later, and let the hold go. Raises DemoFailed."""
    by_name = {each.name: each.participant for each in people}
    before, readable_before = await _messages(people, control), await _readable(people, home)
    sweeps = [await _sweep(control, 0)]
    explained = await _set_policies(by_name, control, narrator)
    explained |= {HELD: await _hold(by_name[HELD], control)}
    asked = await control.erase(by_name[HELD])
    narrator.tell(
        f"The hold {HOLD} keeps {HELD}. Her erasure is asked for all the same, and answered {asked[0]}: "
        f"{asked[1].get('detail', '')}.",
        style="yellow",
    )
    sweeps += [await _sweep(control, SOON), await _sweep(control, LATER)]
    after = await _messages(people, control)
    left = ", ".join(name for name, stored in after.items() if stored is not None) or "nobody"
    narrator.tell(
        f"Sweeps that think it is {SOON} and {LATER} days later delete {sum(sweeps[1].deleted.values())} and "
        f"{sum(sweeps[2].deleted.values())} messages; left is that of {left}."
    )
    await control.remove("holds", HOLD)
    # Removing it wakes the sweeper; a sweep that is asked for answers when there is nothing more to do.
    await control.sweep()
    end, explained_end = await _messages(people, control), await control.explain(by_name[HELD])
    if end[HELD] is None and explained_end["erasure_asked_at"] is None:
        narrator.tell(f"{HOLD} is removed, and the erasure is carried out: {HELD}'s message and name are gone.")
    return Keeping(
        before=before,
        after=after,
        end=end,
        explained=explained,
        asked=asked,
        sweeps=sweeps,
        left=explained_end,
        coverage=await control.coverage(CALL),
        readable_before=readable_before,
        readable_end=await _readable(people, home),
    )


async def _set_policies(by_name: Mapping[str, str], control: Control, narrator: Narrator) -> dict[str, Answer]:
    await _set(control, "policies", EVERYBODY_S, action="retain", days=14, organizations=["contoso"])
    await _set(control, "policies", BY_NAME, action="delete", days=7, participants=[by_name[SHORTENED]])
    explained = {name: await _explain(by_name[name], control) for name in (SHORTENED, ORDINARY)}
    sent_at, hidden_at, due_at = (
        datetime.fromisoformat(explained[SHORTENED][each]) for each in ("sent_at", "hidden_at", "due_at")
    )
    narrator.tell(
        f"The policy {EVERYBODY_S} retains everybody's messages for 14 days, {BY_NAME} deletes {SHORTENED}'s after 7. "
        f"explain: hers is out of sight after {(hidden_at - sent_at).days} days and deleted after "
        f"{(due_at - sent_at).days}, for {explained[SHORTENED]['because']}."
    )
    return explained


async def _hold(participant: str, control: Control) -> Answer:
    await _set(control, "holds", HOLD, participants=[participant], reason="a question of a court")
    return await _explain(participant, control)


async def _explain(participant: str, control: Control) -> Answer:
    """What decides about somebody's last message."""
    copies = (await control.explain(participant))["copies"]
    if not copies:
        raise DemoFailed("nothing is kept of somebody who wrote a message")
    return dict(copies[0])


async def _set(control: Control, kind: str, name: str, **rule: Any) -> None:
    await control.set(kind, name, rule)


async def _sweep(control: Control, days: int) -> Sweep:
    at = datetime.now(UTC) + timedelta(days=days)
    return Sweep(days, at, (await control.sweep(at if days else None))["regions"])


async def _messages(people: Sequence[Person], control: Control) -> dict[str, Answer | None]:
    writing = dict.fromkeys(line.name for line in LINES)
    return {each.name: await control.message(each.participant) for each in people if each.name in writing}


async def _readable(people: Sequence[Person], home: Path) -> int:
    """How many texts and raw ids can be found in the gateway's files, in clear, base64, hex or JSON-escaped."""
    needles = [text.encode() for text in TEXTS]
    needles += [each.participant.encode() for each in people if each.part is not Part.UNREACHED]
    return len({hit.needle for hit in await asyncio.to_thread(scan, home, needles)})
