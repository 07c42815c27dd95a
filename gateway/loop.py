"""The event loop of a process: the fastest there is.

Rules: without uvloop everything works, only slower.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

try:
    import uvloop
except ImportError:
    uvloop = None  # type: ignore[assignment]  # a module, or none


def fastest_loop() -> Callable[[], asyncio.AbstractEventLoop]:
    """What makes the event loop."""
    if uvloop is None:
        return asyncio.new_event_loop
    return cast("Callable[[], asyncio.AbstractEventLoop]", uvloop.new_event_loop)
