"""The story: the meeting act by act, through a running gateway.

Rules: an act waits until what it needs is observed, not for a time; what does not come in time is told and left to
the figures to judge; nothing is shown that was not observed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from gateway.core.types import rfc3339

from . import webhooks
from .cast import ELSEWHERE, RESOURCES, TEAMS_USERS, Part, Person
from .chat import LINES, Line
from .control import Control
from .narrator import Narrator
from .processes import ClientGroup, DemoFailed, Gateway, Observation

CALL: Final = "quarterly-review"
PATIENCE: Final = 15.0
"""Seconds an act waits for what it needs."""
_PAUSE: Final = 0.05
_DAY_SECONDS: Final = 86_400


class Meeting:
    """One meeting. `seen` is what the clients observed, `heard` what the control API answered along the way."""

    def __init__(
        self, gateway: Gateway, control: Control, people: Sequence[Person], narrator: Narrator, log: Path
    ) -> None:
        self._gateway: Final = gateway
        self._control: Final = control
        self._narrator: Final = narrator
        self._log: Final = log
        self.people: Final = tuple(people)
        self.seen: Final[list[Observation]] = []
        self.heard: Final[dict[str, object]] = {}
        self._groups: Final[dict[str, ClientGroup]] = {}
        self._by_part: Final = {part: [each for each in people if each.part is part] for part in Part}

    async def run(self) -> None:
        """Everything, in order. Raises DemoFailed when it cannot go on."""
        await self._gather()
        await self._lose_somebody()
        await self._record()
        await self._come_back()
        await self._join_late()
        await self._transcribe()
        await self._chat()
        await self._pass_deadlines()
        await self._stop_recording()

    async def stop(self) -> list[int]:
        """Let everybody leave; the exit statuses of the client processes."""
        return list(await asyncio.gather(*(group.stop() for group in self._groups.values())))

    async def _gather(self) -> None:
        await self._control.name(CALL, webhooks.ALIASES)
        self._narrator.tell(
            f"The call is {CALL}; PUT …/aliases says that Azure's serverCallId, correlationId, callConnectionId and "
            "chat thread mean the same call."
        )
        dropping = self._one(Part.DROPS)
        groups = {
            **{
                region: [each for each in self.people if each.region == region and each is not dropping]
                for region in RESOURCES
            },
            dropping.name: [dropping],
        }
        for name, people in groups.items():
            await self._start_group(name, people)
        early = [each for each in self.people if each.part not in {Part.LATE, Part.UNREACHED}]
        for person in early:
            self._order(person, "enter")
        await self._until("external users connected", len(early), lambda: self._count("state"))
        roster = [each.participant for each in self.people if each.part is not Part.LATE]
        await self._control.events(webhooks.call_connected(), webhooks.participants_updated(4, (*roster, *TEAMS_USERS)))
        # A snapshot from before somebody entered, delivered late.
        await self._control.events(webhooks.participants_updated(3, roster[:5]))
        self._narrator.tell(
            f"{self._count('state')} external users are connected from {len(self._groups)} client processes; "
            f"ParticipantsUpdated lists {len(roster)} and {len(TEAMS_USERS)} Teams users: "
            f"{self._one(Part.UNREACHED).name} is known from there only."
        )

    async def _start_group(self, name: str, people: Sequence[Person]) -> None:
        group = await ClientGroup.start(self._log, self._note)
        self._groups[name] = group
        people = [each for each in people if each.part is not Part.UNREACHED]
        tokens = await asyncio.gather(
            *(self._control.token(each.participant, CALL, each.name, _DAY_SECONDS) for each in people)
        )
        described = [
            {
                "name": each.name,
                "token": token,
                "device": f"demo-{each.number}",
                "locale": each.locale,
                "pause": each.pause,
                "acknowledges": each.part is not Part.SILENT,
            }
            for each, token in zip(people, tokens, strict=True)
        ]
        group.brief(websocket=self._gateway.websocket, call=CALL, people=described)

    async def _lose_somebody(self) -> None:
        person = self._one(Part.DROPS)
        before = (await self._control.call(CALL))["connected"]
        await self._groups.pop(person.name).kill()

        async def missed() -> int:
            return int(before - (await self._control.call(CALL))["connected"])

        if await self._until("missed by the gateway", 1, missed):
            self._narrator.tell(f"{person.name}'s client is killed (SIGKILL), without a goodbye.", style="yellow")

    async def _record(self) -> None:
        event = webhooks.recording_state_changed("active")
        self.heard["recording"] = await self._control.events(event)
        self.heard["redelivery"] = await self._control.events(event)
        self._narrator.tell(
            "Call Automation's webhook says RecordingStateChanged: active, and names the call by serverCallId; "
            "it is delivered twice.",
            style="bold red",
        )
        # Nobody who is late, lost or silent acknowledges now.
        await self._acknowledged("recording started", without={Part.LATE, Part.DROPS})
        covered = (await self._control.coverage(CALL))[0]
        self.heard["meanwhile"] = covered
        gaps = ", ".join(f"{self.named(gap['participant'])} {gap['reason']}" for gap in covered["gaps"])
        self._narrator.tell(f"Coverage now: owed {covered['owed']}, proved {covered['proved']}; gaps: {gaps}.")

    async def _come_back(self) -> None:
        person = self._one(Part.DROPS)
        await self._start_group(person.name, [person])
        self._order(person, "enter")
        if await self._acknowledged("recording started", without={Part.LATE}):
            self._narrator.tell(f"{person.name} comes back, is told by the state he is given, and acknowledges.")

    async def _join_late(self) -> None:
        person = self._one(Part.LATE)
        self._order(person, "enter")
        roster = [each.participant for each in self.people]
        if await self._acknowledged("recording started"):
            self._narrator.tell(f"{person.name} joins late, is told first of all, and acknowledges.")
        await self._control.events(webhooks.participants_updated(5, (*roster, *TEAMS_USERS)))

    async def _transcribe(self) -> None:
        reporter = self.people[0]
        self._order(reporter, "observe", capability="transcription", state="active", cause="sdk")
        told = await self._until(
            "told of transcription", len(self._connected()), lambda: self._count("notice", what="transcription started")
        )
        self.heard["transcription"] = await self._control.events(webhooks.transcription_started())
        if told:
            self._narrator.tell(
                f"{reporter.name}'s client reports that transcription is on, and everyone is told; "
                "then Call Automation's TranscriptionStarted says the same.",
                style="bold red",
            )
        await self._acknowledged("transcription started")

    async def _chat(self) -> None:
        began_at = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=10)
        for line in LINES:
            await self._write(line, began_at)
        stranger = self._chat_event("ChatMessageReceivedInThread", "nowhere", ELSEWHERE, "", began_at, 0, "Hello?")
        self.heard["stranger"] = await self._control.events(stranger)
        self._narrator.tell(
            f"{len(LINES)} chat messages, edits and deletions arrive by webhook and by client in both regions; one "
            "from an ACS resource without a region here is refused."
        )

    async def _write(self, line: Line, began_at: datetime) -> None:
        person = next(each for each in self.people if each.name == line.name)
        sent_at = began_at + timedelta(seconds=line.second)
        if line.door == "webhook":
            kind = {"sent": "Received", "edited": "Edited", "deleted": "Deleted"}[line.deed]
            event = self._chat_event(
                f"ChatMessage{kind}InThread",
                person.region,
                person.participant,
                person.name,
                sent_at,
                line.version,
                line.text,
            )
            await self._control.events(event)
            return
        before = self._count("stored")
        message = _message_id(sent_at)
        self._order(
            person,
            "delete" if line.deed == "deleted" else "send",
            thread=webhooks.THREAD,
            message=message,
            version=int(message) + line.version,
            sent_at=rfc3339(sent_at),
            content=line.text,
        )
        await self._until("message stored", before + 1, lambda: self._count("stored"))

    def _chat_event(
        self, kind: str, region: str, participant: str, name: str, sent_at: datetime, version: int, text: str | None
    ) -> webhooks.Event:
        message = _message_id(sent_at)
        return webhooks.chat_event(kind, region, participant, name, message, int(message) + version, sent_at, text)

    async def _pass_deadlines(self) -> None:
        silent = {each.name: each for each in self._by_part[Part.SILENT]}
        presences = {
            gap["presence"]
            for notice in await self._control.coverage(CALL)
            for gap in notice["gaps"]
            if self.named(gap["participant"]) in silent
        }

        async def overdue() -> int:
            entries = [entry for region in RESOURCES for entry in await self._control.entries(region)]
            return sum(len(presences.intersection(each["presences"])) for each in entries if each["kind"] == "overdue")

        if await self._until("deadlines passed", 2 * len(silent), overdue) and silent:
            named = " and ".join(silent)
            self._narrator.tell(f"{named} let both deadlines pass: the ledgers record it as overdue.", style="yellow")

    async def _stop_recording(self) -> None:
        self.heard["stop"] = await self._control.events(webhooks.recording_state_changed("inactive"))
        confirmed = await self._until(
            "told that it stopped", len(self._connected()), lambda: self._confirmed("recording stopped", "received")
        )
        if confirmed:
            self._narrator.tell(
                "Call Automation says RecordingStateChanged: inactive, and everyone is told. Transcription goes on."
            )

    def named(self, participant: str | None) -> str:
        """Whose raw id this is."""
        return next((each.name for each in self.people if each.participant == participant), "(erased)")

    def _one(self, part: Part) -> Person:
        return self._by_part[part][0]

    def _note(self, observation: Observation) -> None:
        self.seen.append(observation)

    def _order(self, person: Person, do: str, **order: object) -> None:
        group = self._groups.get(person.name) or self._groups[person.region]
        group.order({"do": do, "name": person.name, **order})

    def _count(self, saw: str, **fields: object) -> int:
        return sum(
            each["saw"] == saw and all(each[name] == value for name, value in fields.items()) for each in self.seen
        )

    def _confirmed(self, what: str, level: str) -> int:
        notices = {each["notice"] for each in self.seen if each["saw"] == "notice" and each["what"] == what}
        return sum(self._count("receipt", notice=notice, level=level) for notice in notices)

    def _connected(self) -> list[Person]:
        return [each for each in self.people if each.part is not Part.UNREACHED]

    async def _acknowledged(self, what: str, without: Collection[Part] = ()) -> bool:
        absent = {*without, Part.SILENT}
        wanted = sum(each.part not in absent for each in self._connected())
        return await self._until(f"{what}: acknowledged", wanted, lambda: self._confirmed(what, "acknowledged"))

    async def _until(self, what: str, wanted: int, count: Callable[[], int | Awaitable[int]]) -> bool:
        """Whether `count` reached `wanted` in time; where it did not, that is told."""
        try:
            async with asyncio.timeout(PATIENCE):
                with self._narrator.waiting(what, wanted) as update:
                    done = 0
                    while True:
                        counted = count()
                        done = counted if isinstance(counted, int) else await counted
                        update(done)
                        if done >= wanted:
                            return True
                        if any(group.lost for group in self._groups.values()):
                            raise DemoFailed(f"a client process ended by itself; see {self._log}")
                        await asyncio.sleep(_PAUSE)
        except TimeoutError:
            self._narrator.tell(f"{what}: only {done} of {wanted} after {PATIENCE:.0f} s", style="bold red")
            return False


def _message_id(sent_at: datetime) -> str:
    return str(int(sent_at.timestamp() * 1000))
