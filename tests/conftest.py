"""What all tests share: Hypothesis on machines that others use too."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

# A slow moment of the machine is not a failure of the code; pytest's own timeout still holds.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """A name every process gives alike and can pass on: bytes may hold random masks, text what no pipe takes."""
    unfit = isinstance(val, bytes) or (isinstance(val, str) and not (val.isascii() and val.isprintable()))
    return argname if unfit else None
