"""One look at all topics for everybody who asks: pages look every other second, each of them."""

import asyncio
import time
from typing import Final

from aiohttp import web

from streams.gateway import Gateway
from streams.inspection.overview import Observer, Overview
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
    """Make the lookout; it connects to nothing before somebody looks."""
    app[LOOKOUT] = Lookout(app[ROOM].gateway)
