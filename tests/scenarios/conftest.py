"""One gateway process for each file of scenarios, a call for each test, and peers that are closed after it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.scenarios.harness import Gateway
from tests.scenarios.peers import Dial

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this directory is a scenario."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.scenario)


@pytest.fixture(scope="module")
def gateway(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A running gateway that the tests of one file share; the file's `SETTINGS` override the configuration."""
    made = Gateway(tmp_path_factory.mktemp("gateway"), getattr(request.module, "SETTINGS", None))
    try:
        yield made.start()
    finally:
        made.close()


@pytest.fixture
def own_gateway(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Gateway]:
    """A gateway of the test's own, not yet started; the file's `SETTINGS` override the configuration."""
    made = Gateway(tmp_path / "gateway", getattr(request.module, "SETTINGS", None))
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
async def dial(gateway: Gateway) -> AsyncIterator[Dial]:
    """Opens peers of the shared gateway."""
    async with Dial(gateway) as opening:
        yield opening


@pytest.fixture
def call(request: pytest.FixtureRequest) -> str:
    """A call that no other test knows."""
    return f"call-{request.node.name}"
