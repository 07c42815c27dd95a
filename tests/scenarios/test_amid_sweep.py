"""What is asked for while a sweep is under way is answered as at any other time."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from tests.scenarios.events import joined, message, stamp
from tests.scenarios.harness import Gateway, person

DUE = 4_000
SETTINGS = {"RETENTION__SWEEP_SECONDS": "3600"}


async def test_an_erasure_amid_a_sweep_says_what_it_erased(own_gateway: Gateway) -> None:
    """The steps of the sweep and those of the erasure do not take each other's: both counts are exact."""
    gateway, now = own_gateway.start(), datetime.now(UTC)
    await gateway.tell(
        *(message(person(f"due-{each}"), "text", sent_at=now - timedelta(days=1)) for each in range(DUE))
    )
    people = [person(f"erased-{each}") for each in range(6)]
    for each in people:
        await gateway.tell(joined("daily", each), message(each, "text", sent_at=now))
    later = {"now": stamp(now + timedelta(days=29, hours=12))}
    sweeping = asyncio.create_task(gateway.ask("POST", "/v1/retention/sweep", json=later))
    erased = [(await gateway.ask("DELETE", f"/v1/participants/{each}")).json() for each in people]
    swept = (await sweeping).json()
    assert [(each["messages"], each["presences"], len(each["certificates"])) for each in erased] == [(1, 1, 1)] * 6
    assert swept["deleted"] == DUE
