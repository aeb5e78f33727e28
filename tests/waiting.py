"""Waiting for something to come true, here or in another process."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

DEADLINE = 60.0
"""Seconds: what is a moment here may be half a minute on a busy machine."""


PAUSE = 0.02
"""Seconds between two looks."""


async def until(condition: Callable[[], Any], what: str = "", seconds: float = DEADLINE) -> Any:
    """Wait until `condition()` (or what it returns, awaited) is true; return it."""
    end = time.monotonic() + seconds
    while True:
        result = condition()
        if isinstance(result, Awaitable):
            result = await result
        if result:
            return result
        if time.monotonic() > end:
            raise AssertionError(f"never happened: {what or condition}")
        await asyncio.sleep(PAUSE)


def block_until(condition: Callable[[], Any], what: str = "", seconds: float = DEADLINE) -> Any:
    """Wait as `until` does, where no event loop runs."""
    end = time.monotonic() + seconds
    while not (result := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"never happened: {what or condition}")
        time.sleep(PAUSE)
    return result
