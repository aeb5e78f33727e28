"""Server-sent events: news to a page for as long as somebody looks at it."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar
from weakref import WeakSet

from aiohttp import web

from streams.errors import GatewayUnavailable

T = TypeVar("T")

KEEP_ALIVE: Final = 10.0
"""Seconds after which something is sent though there is no news: so a page that left is noticed."""


class Events:
    """The way to one page."""

    def __init__(self, response: web.StreamResponse) -> None:
        self.response = response
        """What the handler returns in the end."""

    async def send(self, event: str, data: Any) -> None:
        """Send an event with a JSON value, or with text that is JSON already.

        ConnectionError when the page is gone.
        """
        text = data if isinstance(data, str) else json.dumps(data)
        await self.response.write(f"event: {event}\ndata: {text}\n\n".encode())

    async def wait(self, coming: Awaitable[T]) -> T:
        """Return what is coming, however long that takes; ConnectionError if the page leaves."""
        task = asyncio.ensure_future(coming)
        try:
            while not (await asyncio.wait([task], timeout=KEEP_ALIVE))[0]:
                await self.keep_alive()
            return task.result()
        finally:
            task.cancel()

    async def keep_alive(self) -> None:
        """Send nothing, and find out whether the page is still there (ConnectionError if not)."""
        await self.response.write(b":\n\n")


OPEN: Final = web.AppKey("open_events", WeakSet[asyncio.Task[Any]])


def setup(app: web.Application) -> None:
    """End what is under way when the process stops."""
    app[OPEN] = WeakSet()
    app.on_shutdown.append(_end)


@asynccontextmanager
async def events(request: web.Request) -> AsyncIterator[Events]:
    """Answer with a stream of events. Leaves quietly when the page is gone, or the broker.

    The browser asks again by itself after a moment.
    """
    response = web.StreamResponse(
        headers={
            "Content-Type": "text/event-stream",
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",  # a proxy that collects would keep the news
        }
    )
    await response.prepare(request)
    task = asyncio.current_task()
    if task is not None:
        request.app[OPEN].add(task)
    try:
        yield Events(response)
    except (ConnectionError, GatewayUnavailable):
        pass
    finally:
        if task is not None:
            request.app[OPEN].discard(task)


async def _end(app: web.Application) -> None:
    under_way = app[OPEN]
    for task in set(under_way):
        task.cancel()
