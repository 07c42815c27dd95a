"""The control API in one process."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from gateway.control.server import application
from tests.control.desk import (
    Room,
    desk,
)


@pytest.fixture
def room() -> Room:
    return Room()


@pytest.fixture
async def http(room: Room) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(application(desk(room)), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway.test") as client:
        yield client
