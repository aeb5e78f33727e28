"""The topics' page and its API: what every topic holds, how fast it grows, who reads it."""

import asyncio
import time
from typing import Final

from aiohttp import web

from streams.gateway import Gateway
from streams.inspection.overview import Observer, Overview
from web.operator import operator, operator_page
from web.room import ROOM

FRESH: Final = 1.0  # seconds that one look at the streams serves everybody who asks


class Lookout:
    """Looks at the streams at most once a second, however many pages are open."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._lock = asyncio.Lock()
        self._observer: Observer | None = None
        self._seen: tuple[float, Overview] | None = None

    async def look(self) -> Overview:
        """Return what there is; GatewayUnavailable while the broker is away."""
        async with self._lock:
            if self._seen is None or time.monotonic() - self._seen[0] >= FRESH:
                if self._observer is None:
                    self._observer = Observer(self._gateway.client, self._gateway.settings)
                self._seen = time.monotonic(), await self._observer.look()
            return self._seen[1]


LOOKOUT: Final = web.AppKey("lookout", Lookout)


def setup(app: web.Application) -> None:
    """Offer the page and `GET /api/streams`."""
    app[LOOKOUT] = Lookout(app[ROOM].gateway)
    app.router.add_get("/streams", operator_page("topics.html"))
    app.router.add_get("/api/streams", overview)


async def overview(request: web.Request) -> web.Response:
    """`GET /api/streams`: every topic with its partitions, and the groups of workers."""
    operator(request)
    seen = await request.app[LOOKOUT].look()
    return web.json_response(text=seen.model_dump_json())
