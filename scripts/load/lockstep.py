"""The load for another program: it says when, and hears what came of it, a line each.

Rules: every line on standard input is answered by one line of JSON on standard output. First `{"ready":"tokens"}`
comes without being asked; a line has everyone connected, `{"ready":"sessions"}`; then a line `storm` drops everyone
at once and lets them come back, `stall` and `resume` make the slow sessions stop reading and read again, and any other
is a round: an event in every call, until all is proved. At the end of input the server's own word must agree.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

from .crew import Crew, Sum
from .orders import Connect, Event, Read, Round, Settle, Storm
from .plan import Plan
from .targets import PATIENCE, LoadFailed, Target
from .telling import Telling


def say(answer: dict[str, Any]) -> None:
    """One line of JSON, at once."""
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


async def listen() -> str:
    """The next line, without its end; empty at the end of input only."""
    line = await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    return line.strip() or "go" if line else ""


def answer(rounds: Sequence[Round], accepted: float) -> dict[str, Any]:
    """What is said of a round."""
    found = Sum()
    values: dict[str, list[float]] = {}
    for each in rounds:
        found.add(each.histograms)
        for kind, times in each.values.items():
            values.setdefault(kind, []).extend(times)
    parts = {kind: found.histograms[kind].parts() for kind in ("frame", "receipt", "confirm")}
    whole: dict[str, Any] = {
        "last_frame": parts["frame"]["max"],
        "last_receipt": parts["receipt"]["max"],
        "accepted": accepted,
        "seconds": max(each.seconds for each in rounds),
        "load_cpu": sum(each.cpu for each in rounds),
        "busiest": max(each.cpu / each.seconds for each in rounds),
        **parts,
        "histograms": {kind: found.histograms[kind].encode() for kind in parts},
    }
    if values:
        whole |= {"frames": values["frame"], "receipts": values["receipt"], "confirmed": values["confirm"]}
    return whole


async def obey(plan: Plan, target: Target, crew: Crew, telling: Telling) -> None:
    """Everything from the tokens on. Raises LoadFailed where something is not proved."""
    say({"ready": "tokens"})
    if not await listen():
        return
    say({"ready": "sessions", **await come(crew, Connect(plan.ramp))})
    slow = False
    while word := await listen():
        if word == "storm":
            say(await come(crew, Storm()))
        elif word in ("stall", "resume"):
            slow = word == "stall"
            await crew.do(Read(not slow))
            if not slow:
                await crew.do(Settle(PATIENCE))
            say({"reading": not slow})
        else:
            say(await turn(plan, crew, telling))
    if slow:
        await crew.do(Read(on=True))
    await crew.do(Settle(PATIENCE))
    await agree(plan, target, crew, telling)


async def agree(plan: Plan, target: Target, crew: Crew, telling: Telling) -> None:
    """Raises LoadFailed where the server's own word, or the sessions', is that something is not proved."""
    found = await crew.take()
    if found.behind or found.away:
        faults = dict(found.faults)
        raise LoadFailed(f"{found.behind} notices not proved, {found.away} sessions away; faults: {faults}")
    covered = await target.cover(telling.calls, plan.levels[-1])
    owed = telling.told * plan.sessions // plan.calls
    if covered is not None and (covered.owed != owed or covered.proved != owed):
        raise LoadFailed(f"the gateway counts {covered.proved} proofs of {covered.owed} owed, not {owed}")


async def come(crew: Crew, order: Connect | Storm) -> dict[str, Any]:
    """Everyone comes, or comes back: how long that took in all, and each."""
    done = await crew.do(order)
    found = await crew.take()
    return {
        "seconds": max(each.seconds for each in done),
        "load_cpu": sum(each.cpu for each in done),
        "busiest": max(each.cpu / each.seconds for each in done),
        "connect": found.histograms["connect"].parts(),
        "faults": dict(found.faults),
    }


async def turn(plan: Plan, crew: Crew, telling: Telling) -> dict[str, Any]:
    """One round: an event in every call, and everyone's part of it."""
    at, began_at = telling.moment(), time.perf_counter()
    crew.say(Event(at, began_at, whole=True, values=plan.values))
    try:
        async with asyncio.timeout(PATIENCE):
            await telling.tell(telling.calls, at)
            accepted = time.perf_counter() - began_at
            rounds = await crew.rounds()
    except TimeoutError:
        found = await crew.take()
        raise LoadFailed(f"not everyone had proved it after {PATIENCE:.0f} s; faults: {dict(found.faults)}") from None
    return answer(rounds, accepted)
