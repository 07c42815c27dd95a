"""A process of client apps: each person of its group in the meeting through `gateway.client`, as an app would be.

Rules: orders come as JSON lines on standard input, the first says who there is; observations leave as JSON lines on
standard output, each when it happened; the end of the input ends the meeting for this group.
"""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime
from typing import Any

from gateway.client import Client, Notice, connect
from gateway.core.types import TERMINAL, Capability, State, rfc3339

Order = dict[str, Any]


def report(saw: str, person: Order, **fields: object) -> None:
    """Tell the parent what this person's client saw."""
    line = {"saw": saw, "name": person["name"], "here_at": rfc3339(datetime.now(UTC)), **fields}
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


class Group:
    """The people of one process. Owned by the loop."""

    def __init__(self, brief: Order, tasks: asyncio.TaskGroup) -> None:
        self._url: str = brief["websocket"]
        self._call: str = brief["call"]
        self._people: dict[str, Order] = {person["name"]: person for person in brief["people"]}
        self._clients: dict[str, Client] = {}
        self._tasks = tasks
        self.over = asyncio.Event()

    def do(self, order: Order) -> None:
        """Carry out one order of the parent's."""
        person = self._people[order["name"]]
        match order["do"]:
            case "enter":
                self._tasks.create_task(self._attend(person))
            case "observe":
                client = self._clients[person["name"]]
                client.observe(self._call, Capability(order["capability"]), State(order["state"]), order["cause"])
            case "send" | "delete":
                self._tasks.create_task(self._write(person, order))

    async def _attend(self, person: Order) -> None:
        async with (
            connect(self._url, token=person["token"], device=person["device"], locale=person["locale"]) as client,
            asyncio.TaskGroup() as doing,
        ):
            self._clients[person["name"]] = client
            state = await client.join(self._call)
            shown_on = [each.value for each, fused in state.capabilities.items() if fused.shown_on]
            report("state", person, region=client.welcome.region, session=client.welcome.session, shown_on=shown_on)
            watching = doing.create_task(self._watch(client, person, doing))
            await self.over.wait()
            watching.cancel()

    async def _watch(self, client: Client, person: Order, doing: asyncio.TaskGroup) -> None:
        async for notice in client.notices(self._call):
            report(
                "notice",
                person,
                notice=notice.id,
                what=f"{notice.capability} {notice.change}",
                title=notice.text.title,
                locale=notice.text.locale,
            )
            doing.create_task(self._answer(client, notice, person))

    async def _answer(self, client: Client, notice: Notice, person: Order) -> None:
        confirmed = [await notice.received()]
        if notice.change not in TERMINAL:
            confirmed.append(await notice.displayed())
            await asyncio.sleep(person["pause"])
            if person["acknowledges"]:
                confirmed.append(await notice.acknowledge())
        for receipt in confirmed:
            said = {"notice": notice.id, "level": receipt.level, "entry": receipt.entry}
            report("receipt", person, session=client.welcome.session, **said)

    async def _write(self, person: Order, order: Order) -> None:
        client = self._clients[person["name"]]
        sent_at = datetime.fromisoformat(order["sent_at"])
        named = (order["thread"], order["message"], order["version"], sent_at)
        if order["do"] == "send":
            stored = await client.send_message(*named, order["content"])
        else:
            stored = await client.delete_message(*named)
        expires_at = None if stored.expires_at is None else rfc3339(stored.expires_at)
        report("stored", person, message=order["message"], version=order["version"], expires_at=expires_at)


async def main() -> None:
    """Take orders until the input ends."""
    orders = asyncio.StreamReader(limit=1 << 20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    brief = json.loads(await orders.readline() or "null")
    if brief is None:
        return
    async with asyncio.TaskGroup() as tasks:
        group = Group(brief, tasks)
        async for line in orders:
            group.do(json.loads(line))
        group.over.set()


if __name__ == "__main__":
    asyncio.run(main())
